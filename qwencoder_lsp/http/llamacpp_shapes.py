"""Answers in the shapes of llama-server's own routes (its tools/server/server-task.cpp, `to_json_non_oaicompat`). Plain dictionaries, no models."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any

from qwencoder_lsp.engine.protocol import Chunk, Done
from qwencoder_lsp.http.openai_plan import Plan
from qwencoder_lsp.http.openai_shapes import LOWEST, left_out, timings

Dict = dict[str, Any]
# server-context.cpp, `process_token`: both of its own rules are limits, and a grammar that is complete leaves the end of text as the only token.
STOP_TYPES = {
    "length": "limit",
    "scored": "limit",
    "indent": "limit",
    "time": "limit",
    "stop_string": "word",
    "stop_token": "eos",
    "constraint": "eos",
    "closed": "limit",
}


def partial(plan: Plan, index: int, chunk: Chunk) -> Dict:
    """What a chunk adds to answer `index`, in a stream."""
    return {
        "index": index,
        "content": chunk.text,
        "tokens": list(chunk.tokens),
        "stop": False,
        "id_slot": 0,
        "model": plan.model.name,
        **_probabilities(plan, index, (chunk,)),
    }


def final(plan: Plan, index: int, done: Done, chunks: Sequence[Chunk] = ()) -> Dict:
    """Answer `index` at once, or without chunks the end of its stream."""
    sampling, dropped = plan.requests[index].sampling, left_out(plan, index)
    return {
        "index": index,
        "content": "".join(chunk.text for chunk in chunks),
        "id_slot": 0,
        "stop": True,
        "stop_type": STOP_TYPES.get(done.reason, "none"),
        "stopping_word": done.stopping_word,
        "model": plan.model.name,
        "tokens_predicted": done.generated_tokens,
        "tokens_evaluated": done.prompt_tokens,
        "tokens_cached": done.prompt_tokens + done.generated_tokens,
        "truncated": bool(dropped),
        **dropped,
        "generation_settings": {
            "n_ctx": plan.engine.info.n_ctx,
            "n_predict": plan.requests[index].max_tokens,
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "min_p": sampling.min_p,
            "seed": sampling.seed,
        },
        "timings": timings((done,)),
        **_probabilities(plan, index, chunks),
    }


def _probabilities(plan: Plan, index: int, chunks: Sequence[Chunk]) -> Dict:
    """The tokens with their log-probabilities and alternatives, as `probs_vector_to_json` writes them; nothing where nobody asked for them."""
    if not plan.requests[index].sampling.logprobs:
        return {}
    rows = [
        {**_row(plan, token, value), "top_logprobs": [_row(plan, *pair) for pair in top]}
        for chunk in chunks
        for token, value, top in zip(chunk.tokens, chunk.logprobs, chunk.top, strict=True)
    ]
    return {"completion_probabilities": rows} if rows else {}


def _row(plan: Plan, token: int, logprob: float) -> Dict:
    data = plan.tokenizer.piece(token)
    text, _ = codecs.utf_8_decode(data, "replace", False)  # a character that is not complete is left out
    return {"id": token, "token": text, "bytes": list(data), "logprob": max(logprob, LOWEST)}


def chosen(answer: Dict, fields: Sequence[str]) -> Dict:
    """Only the fields that were asked for; a member of another goes to the top, under its whole path."""
    if not fields:
        return answer
    found: Dict = {}
    for path in fields:
        value: Any = answer
        for name in path.split("/"):
            value = value.get(name) if isinstance(value, dict) else None
        if value is not None:
            found[path] = value
    return found


def piece(data: bytes) -> str | list[int]:
    """A token of /tokenize: its text, or its bytes where they are only a part of a character (README, "POST /tokenize")."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return list(data)
