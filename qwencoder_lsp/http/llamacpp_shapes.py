"""Answers in the shapes of llama-server's own routes (its tools/server/server-task.cpp, `to_json_non_oaicompat`). Plain dictionaries, no models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qwencoder_lsp.engine.protocol import Chunk, Done
from qwencoder_lsp.http.openai_plan import Plan
from qwencoder_lsp.http.openai_shapes import timings

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
    }


def final(plan: Plan, index: int, text: str, done: Done) -> Dict:
    """Answer `index` at once, or with an empty text the end of its stream."""
    sampling = plan.requests[index].sampling
    return {
        "index": index,
        "content": text,
        "id_slot": 0,
        "stop": True,
        "stop_type": STOP_TYPES.get(done.reason, "none"),
        "stopping_word": done.stopping_word,
        "model": plan.model.name,
        "tokens_predicted": done.generated_tokens,
        "tokens_evaluated": done.prompt_tokens,
        "tokens_cached": done.prompt_tokens + done.generated_tokens,
        "truncated": False,
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
    }


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
