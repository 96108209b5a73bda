"""One request inside the engine: what is still to be computed, what came out, and when it is over."""

from __future__ import annotations

import codecs
import time

from qwencoder_lsp.engine.constraint import Matcher
from qwencoder_lsp.engine.kvpool import Sequence
from qwencoder_lsp.engine.protocol import Chunk, Done, Generate
from qwencoder_lsp.engine.sampler import Logits, Sampler
from qwencoder_lsp.engine.stops import StopState


class Job:
    """Tokens come in one by one through `take`; text leaves in Chunks. Makes no llama.cpp call."""

    def __init__(self, request: Generate, arrival: int) -> None:
        self.request = request
        self.order = (request.priority, arrival)
        self.sequence: Sequence | None = None
        self.pending: list[int] = list(request.tokens)  # not yet in the KV memory; its last row's logits give the next token
        self.output: list[int] = []
        self.aborts = 0
        self.matcher: Matcher | None = None
        self._sampler = Sampler(request.sampling)
        self._stops = StopState(request.stops, _now_ms)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._unsent: list[tuple[int, float]] = []
        self._reused: int | None = None
        self._arrived, self._started, self._first = _now_ms(), 0.0, 0.0

    def begin(self, sequence: Sequence) -> None:
        """Continue on `sequence`, which holds a prefix of all tokens so far."""
        self.sequence = sequence
        everything = [*self.request.tokens, *self.output]
        self.pending = everything[len(sequence.tokens) :]
        if self._reused is None:  # the first time; after an eviction the request's own work does not count as reuse
            self._reused = len(sequence.tokens)
            self._started = _now_ms()

    def evicted(self) -> None:
        """The sequence was taken away; everything is to be computed again."""
        self.sequence = None
        self.pending = [*self.request.tokens, *self.output]

    def choose(self, logits: Logits) -> tuple[int, float]:
        """The next token and its log-probability, under the constraint."""
        if self.matcher and not self.matcher.done:
            logits = self.matcher.mask(logits)
        return self._sampler.pick(logits)

    def take(self, token: int, logprob: float, piece: bytes) -> tuple[Chunk | None, str]:
        """The token was chosen: what can be sent now, and why the request is over ("" while it is not)."""
        self._first = self._first or _now_ms()
        if token in self.request.stop_tokens:
            return None, "stop_token"
        if self.matcher and not self.matcher.done:
            self.matcher.accept(token)
        self.output.append(token)
        self.pending = [token]
        self._unsent.append((token, logprob))
        text, reason = self._stops.feed(self._decoder.decode(piece))
        if not reason and self.matcher and self.matcher.done and self.request.constraint and self.request.constraint.kind != "prefix":
            reason = "constraint"
        if not reason and len(self.output) >= self.request.max_tokens:
            reason = "length"
        return self._chunk(text), reason or ""

    def finish(self, reason: str) -> tuple[Chunk | None, Done]:
        """The last piece of text, and the account."""
        rest = None
        if reason in ("length", "stop_token", "constraint"):  # the other reasons cut the text; what was held back is not part of it
            text, _ = self._stops.feed(self._decoder.decode(b"", final=True))
            rest = self._chunk(text + self._stops.flush())
        now = _now_ms()
        started, first = self._started or now, self._first or now
        done = Done(
            id=self.request.id,
            reason=reason,
            prompt_tokens=len(self.request.tokens),
            reused_tokens=self._reused or 0,
            generated_tokens=len(self.output),
            queue_ms=started - self._arrived,
            prefill_ms=first - started,
            decode_ms=now - first,
        )
        return rest, done

    def _chunk(self, text: str) -> Chunk | None:
        if not text:
            return None
        sent, self._unsent = self._unsent, []
        return Chunk(self.request.id, text, tuple(t for t, _ in sent), tuple(p for _, p in sent))


def _now_ms() -> float:
    return time.monotonic() * 1000
