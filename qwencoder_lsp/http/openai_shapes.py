"""Answers in the shapes of the OpenAI routes: choices and their log-probabilities, usage, what was left out, and llama.cpp's timings. Plain
dictionaries, no models: a token of a stream passes through here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any, Protocol

from qwencoder_lsp.engine.protocol import Chunk, Done
from qwencoder_lsp.http.openai_calls import CallStream, whole_message
from qwencoder_lsp.http.openai_plan import Plan
from qwencoder_lsp.http.openai_tools import Toolbox
from qwencoder_lsp.prompt.truncate import Dropped

Dict = dict[str, Any]
Piece = Callable[[int], bytes]
LOWEST = -9999.0  # what OpenAI writes for a log-probability that is too small; JSON has no infinity


class Shape(Protocol):
    """How one route writes its choices. `index` is the place of the choice."""

    prefix: str
    whole_object: str
    stream_object: str

    def opening(self, index: int) -> Dict | None:
        """What a stream says of a choice before its first text."""
        ...

    def piece(self, index: int, chunk: Chunk) -> Dict | None:
        """What a chunk adds, in a stream; None when that is nothing yet."""
        ...

    def final(self, index: int, done: Done) -> Dict:
        """The end of a choice, in a stream. Raises AnswerError when what was sent turns out to be wrong."""
        ...

    def whole(self, index: int, chunks: Sequence[Chunk], done: Done) -> Dict:
        """A choice at once."""
        ...


class TextShape:
    """/v1/completions. echoes: the text to show before each choice. scored: the tokens of each choice's prompt, where their scores are wanted.
    healed: for each choice the text that its first tokens begin with, which is not part of its text."""

    prefix = "cmpl-"
    whole_object = stream_object = "text_completion"

    def __init__(
        self, piece: Piece, logprobs: int | None, echoes: Sequence[str], scored: Sequence[Sequence[int]], healed: Sequence[str] = ()
    ) -> None:
        self._piece, self._logprobs, self._echoes, self._scored = piece, logprobs, echoes, scored
        self._starts = dict(enumerate(map(len, echoes)))
        self._offsets = {index: self._starts.get(index, 0) - len(text) for index, text in enumerate(healed)} if healed else dict(self._starts)

    def opening(self, index: int) -> Dict | None:
        """The echo."""
        return self._choice(index, self._echoes[index], None, None) if self._echoes else None

    def piece(self, index: int, chunk: Chunk) -> Dict:
        return self._choice(index, chunk.text, None if self._logprobs is None else self._table(index, (chunk,)), None)

    def final(self, index: int, done: Done) -> Dict:
        return self._choice(index, "", None, finish_reason(done)) | closed(done)

    def whole(self, index: int, chunks: Sequence[Chunk], done: Done) -> Dict:
        text = (self._echoes[index] if self._echoes else "") + "".join(chunk.text for chunk in chunks)
        table = None
        if self._scored:
            read, written = self._scores(self._scored[index], done), self._table(index, chunks)
            table = {name: written[name] if read[name] is None else read[name] + written[name] for name in read}
        elif self._logprobs is not None:
            table = self._table(index, chunks)
        return self._choice(index, text, table, finish_reason(done)) | closed(done)

    def _choice(self, index: int, text: str, logprobs: Dict | None, reason: str | None) -> Dict:
        return {"text": text, "index": index, "logprobs": logprobs, "finish_reason": reason}

    def _table(self, index: int, chunks: Sequence[Chunk]) -> Dict:
        tokens: list[str] = []
        offsets: list[int] = []
        tops: list[Dict] = []
        start = self._starts.get(index, 0)
        at = self._offsets.get(index, start)
        for chunk in chunks:
            for place, token in enumerate(chunk.tokens):
                data = self._piece(token)
                tokens.append(spelled(data))
                offsets.append(max(start, at - _goes_on(data)))
                at += _begun(data)
                tops.append(self._top(chunk.top[place], token, chunk.logprobs[place]) if chunk.top else {})
        self._offsets[index] = at
        values = [max(value, LOWEST) for chunk in chunks for value in chunk.logprobs]
        return {"tokens": tokens, "token_logprobs": values, "top_logprobs": tops if self._logprobs else None, "text_offset": offsets}

    def _scores(self, prompt: Sequence[int], done: Done) -> Dict:
        pieces = [self._piece(token) for token in prompt]
        tokens = [spelled(data) for data in pieces]
        begun = [0, *accumulate(map(_begun, pieces))]
        offsets = [max(0, at - _goes_on(data)) for at, data in zip(begun, pieces, strict=False)]
        values = [None, *(max(score, LOWEST) for score in done.scores)]  # nothing stands before the first
        tops = [None, *map(self._top, done.top, prompt[1:], done.scores)] if self._logprobs else None
        return {"tokens": tokens, "token_logprobs": values, "top_logprobs": tops, "text_offset": offsets}

    def _top(self, top: Sequence[tuple[int, float]], token: int, value: float) -> Dict:
        """The most probable tokens and the one that stands there, which may be another (OpenAI's reference, `logprobs` of completions). Of tokens
        that are spelled alike the most probable one counts."""
        found: Dict = {}
        for t, p in (*top, (token, value)):
            found.setdefault(spelled(self._piece(t)), max(p, LOWEST))
        return found


class ChatShape:
    """/v1/chat/completions. tools: what the answers may call."""

    prefix = "chatcmpl-"
    whole_object, stream_object = "chat.completion", "chat.completion.chunk"

    def __init__(self, piece: Piece, *, logprobs: bool, tools: Toolbox | None = None) -> None:
        self._piece, self._logprobs, self._tools = piece, logprobs, tools
        self._calls: dict[int, CallStream] = {}

    def opening(self, index: int) -> Dict:
        """The role."""
        return self._delta(index, {"role": "assistant", "content": ""}, None, None)

    def piece(self, index: int, chunk: Chunk) -> Dict | None:
        if self._tools is None:
            delta: Dict = {"content": chunk.text}
        elif not (delta := self._stream(index, self._tools).feed(chunk.text)) and not self._logprobs:
            return None
        return self._delta(index, delta, self._table((chunk,)), None)

    def final(self, index: int, done: Done) -> Dict:
        if self._tools is None:
            return self._delta(index, {}, None, finish_reason(done)) | closed(done)
        delta, reason = self._stream(index, self._tools).finish()
        return self._delta(index, delta, None, finish_reason(done) if finish_reason(done) == "length" else reason)

    def whole(self, index: int, chunks: Sequence[Chunk], done: Done) -> Dict:
        text, reason = "".join(chunk.text for chunk in chunks), finish_reason(done)
        message: Dict = {"role": "assistant", "content": text}
        if self._tools:
            message, called = whole_message(text, self._tools)
            reason = reason if reason == "length" else called
        return {"index": index, "message": message, "logprobs": self._table(chunks), "finish_reason": reason, **closed(done)}

    def _stream(self, index: int, tools: Toolbox) -> CallStream:
        if index not in self._calls:
            self._calls[index] = CallStream(tools)
        return self._calls[index]

    def _delta(self, index: int, delta: Dict, logprobs: Dict | None, reason: str | None) -> Dict:
        return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}

    def _table(self, chunks: Sequence[Chunk]) -> Dict | None:
        if not self._logprobs:
            return None
        rows = []
        for chunk in chunks:
            for place, (token, value) in enumerate(zip(chunk.tokens, chunk.logprobs, strict=True)):
                tops = [self._row(t, p) for t, p in chunk.top[place]] if chunk.top else []
                rows.append({**self._row(token, value), "top_logprobs": tops})
        return {"content": rows}

    def _row(self, token: int, value: float) -> Dict:
        data = self._piece(token)
        return {"token": spelled(data), "logprob": max(value, LOWEST), "bytes": list(data)}


def _begun(data: bytes) -> int:
    """How many characters begin in these bytes of UTF-8."""
    return sum(byte & 0xC0 != 0x80 for byte in data)


def _goes_on(data: bytes) -> bool:
    """Whether they begin within a character."""
    return bool(data) and data[0] & 0xC0 == 0x80


def spelled(data: bytes) -> str:
    """A token as text; one that is only a part of a character as OpenAI writes it: bytes:\\xe2\\x82."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


def finish_reason(done: Done) -> str:
    """OpenAI knows two ends of a text. Where nothing was to be generated, the length was the reason."""
    return "length" if done.reason in ("length", "scored") else "stop"


def closed(done: Done) -> Dict:
    """Our own word for an answer that satisfies its schema only because it was brought to its end before max_tokens: a choice says `closed_early`."""
    return {"closed_early": True} if done.reason == "closed" else {}


def usage(prompts: Sequence[Done], every: Sequence[Done]) -> Dict:
    """The account in OpenAI's words. prompts: the first choice of each prompt."""
    read = sum(done.prompt_tokens for done in prompts)
    written = sum(done.generated_tokens for done in every)
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
        "prompt_tokens_details": {"cached_tokens": sum(done.reused_tokens for done in prompts)},
    }


def left_out(plan: Plan, index: int | None = None) -> Dict:
    """The account of what was left out of the prompt of a choice, or of all prompts; see `truncation`."""
    per_prompt = len(plan.requests) // max(1, len(plan.dropped))
    wanted = (number for number in range(len(plan.dropped)) if index is None or index // per_prompt == number)
    return truncation((number, gap) for number in wanted for gap in plan.dropped[number])


def truncation(gaps: Iterable[tuple[int, Dropped]]) -> Dict:
    """What was left out of the prompts, each gap with the number of its prompt; nothing where nothing was. at: the tokens before the gap."""
    rows = [{"prompt": number, "where": gap.where, "at": gap.at, "tokens": gap.tokens} for number, gap in gaps]
    return {"truncation": {"dropped_tokens": sum(row["tokens"] for row in rows), "gaps": rows}} if rows else {}


def timings(every: Sequence[Done]) -> Dict:
    """The account in llama.cpp's words, and a few of ours. Choices that ran at once have the tokens of all and the time of the longest."""
    evaluated = sum(done.prompt_tokens - done.reused_tokens for done in every)
    generated = sum(done.generated_tokens for done in every)
    prompt_ms, predicted_ms = max(done.prefill_ms for done in every), max(done.decode_ms for done in every)
    return {
        "cache_n": sum(done.reused_tokens for done in every),
        "prompt_n": evaluated,
        "prompt_ms": prompt_ms,
        "prompt_per_token_ms": prompt_ms / evaluated if evaluated else 0.0,
        "prompt_per_second": evaluated / prompt_ms * 1000 if prompt_ms else 0.0,
        "predicted_n": generated,
        "predicted_ms": predicted_ms,
        "predicted_per_token_ms": predicted_ms / generated if generated else 0.0,
        "predicted_per_second": generated / predicted_ms * 1000 if predicted_ms else 0.0,
        "draft_n": sum(done.drafted_tokens for done in every),
        "draft_n_accepted": sum(done.accepted_tokens for done in every),
        "queue_ms": max(done.queue_ms for done in every),
        "native_ms": max(done.native_ms for done in every),
        "restored_n": sum(done.restored_tokens for done in every),
        "preempted": sum(done.preempted for done in every),
    }
