"""One request inside the engine: what is still to be computed, what came out, and when it is over. Makes no llama.cpp call."""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable
from collections.abc import Sequence as Tokens
from dataclasses import replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from qwencoder_lsp.engine.adapters import AdapterSet
from qwencoder_lsp.engine.closing import Closing
from qwencoder_lsp.engine.drafter import Drafter
from qwencoder_lsp.engine.healing import BYTE_PREFIX
from qwencoder_lsp.engine.kvpool import Sequence, common
from qwencoder_lsp.engine.protocol import Chunk, Done, Generate
from qwencoder_lsp.engine.sampler import Filter, Logits, Pick, Sampler, logprob_of, score
from qwencoder_lsp.engine.stops import StopState

Ids = npt.NDArray[np.int32]
Judge = Callable[[int, int], None]  # is told how many tokens of a draft were evaluated, and how many of them were right
LEAST_END = -12.0  # a less probable end is none
NOTHING = -4.0  # an answer without text must be as probable, even where the suffix would follow
UNSURE = ("unsure_line", "unsure_word")
WHOLE = ("length", "stop_token", "constraint", "closed")  # the other reasons cut the text; what was held back is not part of it


class Guide(Filter, Protocol):
    """What a constraint can do for a request; see constraint.Matcher and healing.PrefixMatcher."""

    def accept(self, token: int) -> None:
        """The token was chosen."""
        ...

    def forced(self) -> list[int]:
        """What must come next."""
        ...

    def validate(self, tokens: Tokens[int]) -> int:
        """How many of the tokens are allowed in a row."""
        ...


class Job:
    """Rows of logits come in through `verify` and `score`; text leaves in Chunks."""

    def __init__(
        self, request: Generate, arrival: int, piece: Callable[[int], bytes], arrived_ms: float | None = None, adapters: AdapterSet = ()
    ) -> None:
        """arrival: its place in the order of arrivals; arrived_ms: when it came in, by the clock of `now_ms`; adapters: those of the request."""
        self.request = request
        self.adapters = adapters
        self.arrival = arrival
        self.arrived_ms = now_ms() if arrived_ms is None else arrived_ms
        self.sequence: Sequence | None = None
        self.lane = request.lane
        self.root = b""  # what the KV in its sequence was made under
        self.guide: Guide | None = None
        self.closing: Closing | None = None
        self.output: list[int] = []
        self.scores: list[float] = []
        self._score_top: list[tuple[tuple[int, float], ...]] = []
        self.aborts = 0  # steps broken off since the last one that was finished
        self.stepped_ms = 0.0
        self.native_ms = 0.0  # inside llama_decode since the first token
        self.evaluated = 0  # rows computed
        self._prompt: Ids = np.asarray(request.tokens, np.int32)
        self._piece = piece
        self._logprobs = request.sampling.logprobs or bool(request.suffix)
        self._sampler = Sampler(request.sampling, request.tokens, logprobs=self._logprobs, ends=request.stop_tokens if request.suffix else ())
        self._drafter: Drafter | None = Drafter(request.tokens, request.stop_tokens, request.copies) if request.speculate else None
        self._stops = StopState(request.stops, now_ms)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        healed = request.constraint.value if request.constraint and request.constraint.kind == "heal" else ""
        self._hidden = len(healed)  # characters at the start of the answer that belong to the prompt
        self._text: list[str] = []
        self._length = 0  # code points of the answer that were written, shown or not
        self._cuts: list[tuple[int, float]] = []
        self._unsent: list[Pick] = []
        self._forced = False  # the draft is what the constraint leaves no choice about
        self._judge: Judge | None = None  # of the draft, where it is a guess
        self._offer: tuple[list[int], Judge] | None = None
        self._held: Pick | None = None  # the suffix's first token was chosen; whether the suffix follows is still to be seen
        self._reused: int | None = None
        self._restored = self._drafted = self._accepted = self._preempted = 0
        self._started = self._first = 0.0

    @property
    def tokens(self) -> Ids:
        """Prompt and answer so far."""
        return np.concatenate((self._prompt, np.asarray(self.output, np.int32))) if self.output else self._prompt

    @property
    def wanted(self) -> Ids:
        """The tokens that a sequence for this request should hold; the row of the last one is always computed."""
        start = self.request.score_from
        return self._prompt[: start + len(self.scores)] if start is not None and self.scoring else self.tokens

    @property
    def remaining(self) -> int:
        """Rows still to be computed before the next token can be chosen; 1 while tokens come one by one."""
        return len(self._prompt) + len(self.output) - (not self.generates) - self.computed

    @property
    def scoring(self) -> bool:
        """Whether tokens of the prompt are still to be scored."""
        return self.request.score_from is not None and self.request.score_from + len(self.scores) < len(self._prompt)

    @property
    def generates(self) -> bool:
        """Whether tokens are to be chosen: not while a prompt is scored, or when it is only computed so that it is warm (max_tokens 0)."""
        return not self.scoring and self.request.max_tokens > 0

    @property
    def streaming(self) -> bool:
        """Whether somebody is reading along already."""
        return bool(self._first)

    @property
    def age_ms(self) -> float:
        """Since it came in."""
        return now_ms() - self.arrived_ms

    @property
    def late(self) -> bool:
        """Whether its deadline has passed."""
        return self.request.deadline_ms is not None and self.age_ms >= self.request.deadline_ms

    def begin(self, sequence: Sequence) -> None:
        """Continue on `sequence`, which holds a prefix of all tokens so far."""
        self.sequence = sequence
        if self._reused is None:  # the first time; after an eviction the request's own work does not count as reuse
            self._reused = len(sequence.tokens)
            self._restored = sequence.restored
            self._started = now_ms()

    def next_rows(self, count: int) -> Ids:
        """The next `count` tokens to compute."""
        assert self.sequence is not None
        at = len(self.sequence.tokens)
        if count == 1 and self.output and self.remaining == 1:  # one token after another: nothing as long as the prompt is copied
            return np.asarray(self.output[-1:], np.int32)
        return self._prompt[at : at + count] if not self.output else self.tokens[at : at + count]

    def broken_off(self) -> None:
        """A step with rows of this request was aborted."""
        self.aborts += 1
        self._preempted += 1

    def shared(self, tokens: Ids) -> int:
        """How many of its first prompt tokens are also the first of `tokens`."""
        return common(self._prompt, tokens)

    @property
    def computed(self) -> int:
        """Tokens that its sequence holds."""
        return 0 if self.sequence is None else len(self.sequence.tokens)

    def outputs(self, count: int) -> int:
        """How many of the last of the next `count` rows need logits."""
        if self.request.score_from is None or not self.scoring:
            return int(self.generates and count == self.remaining)
        return max(0, self.computed + count - (self.request.score_from - 1) - len(self.scores))

    def draft(self, cost: Callable[[int], float], base_rows: int, limit: int, spare: int) -> list[int]:
        """What the next tokens may be: the suffix while it is looked for or what a constraint forces (at most `spare`), else a guess of at
        most `limit` tokens."""
        left = self.request.max_tokens - len(self.output)
        offer, self._offer = self._offer, None
        self._forced, self._judge = False, None
        if self._held:
            return list(self.request.suffix[1:])[:spare]
        guide = None if self.guide is None or self.guide.done else self.guide
        if guide and left > 1 and not self.request.sampling.top_logprobs and (forced := guide.forced()[: min(spare, left - 1)]):
            self._forced = True
            return forced
        limit = min(limit, left - 1)
        if self._drafter is None or limit <= 0:
            return []
        guess = self._drafter.draft(cost, base_rows, limit)
        judge: Judge = self._drafter.observe
        if not guess and offer:
            guess, judge = offer[0][:limit], offer[1]
        if guide and guess:
            guess = guess[: guide.validate(guess)]
        self._judge = judge if guess else None
        return guess

    def offer(self, guess: list[int], judge: Judge) -> None:
        """What the next tokens may be if nothing is known better: for the next call of `draft`."""
        self._offer = guess, judge

    def verify(self, draft: list[int], logits: Callable[[int], Logits]) -> tuple[int, str]:
        """Choose tokens as far as the draft is right, and one more. `logits(i)`: the row behind i tokens of the draft.

        Returns how many tokens of the draft were right, and why the request is over ("" while it is not).
        """
        if self._held:
            return self._look_at_suffix(draft, logits)
        judge = self._judge
        kept, reason = self._follow(draft, logits)
        self._drafted += len(draft)
        self._accepted += kept
        if judge:
            judge(len(draft), kept)
        return kept, reason

    def score(self, rows: int, logits: Callable[[int], Logits]) -> str:
        """`rows` rows of the tokens to be scored were computed: note the log-probability of the token behind each."""
        start = self.request.score_from
        assert start is not None
        for i in range(rows):
            at = start + len(self.scores)
            if at < len(self._prompt):
                value, top = score(logits(i), int(self._prompt[at]), self.request.sampling.top_logprobs)
                self.scores.append(value)
                self._score_top.append(top)
        return "" if self.scoring or self.generates else "scored"

    def chunk(self, *, last: bool = False) -> Chunk | None:
        """What can be sent since the last call. last: nothing comes after it; where a prompt is scored, each token of the answer counts too, even one
        without text."""
        text = "".join(self._text)
        self._text.clear()
        if not text and not (last and self._unsent and self.request.score_from is not None):
            return None
        sent, self._unsent = self._unsent, []
        top = tuple(p.top for p in sent) if self.request.sampling.top_logprobs else ()
        logprobs = tuple(p.logprob for p in sent) if self.request.sampling.logprobs else ()
        return Chunk(self.request.id, text, tuple(p.token for p in sent), logprobs, top)

    def finish(self, reason: str) -> tuple[Chunk | None, Done]:
        """The last piece of text, and the account."""
        if reason in WHOLE:
            text, _ = self._stops.feed(self._decoder.decode(b"", final=True))
            self._text += (text, self._stops.flush())
        elif reason in ("suffix", "deadline"):
            self._text.append(self._stops.settle())
        now = now_ms()
        started, first = self._started or now, self._first or now
        done = Done(
            id=self.request.id,
            reason=reason,
            prompt_tokens=len(self._prompt),
            reused_tokens=self._reused or 0,
            generated_tokens=len(self.output),
            queue_ms=started - self.arrived_ms,
            prefill_ms=first - started,
            decode_ms=now - first,
            restored_tokens=self._restored,
            drafted_tokens=self._drafted,
            accepted_tokens=self._accepted,
            preempted=self._preempted,
            native_ms=self.native_ms,
            scores=tuple(self.scores),
            top=tuple(self._score_top) if self.request.sampling.top_logprobs else (),
            cuts=tuple(self._cuts),
            line_ends=tuple(self._stops.line_ends),
            evaluated_tokens=self.evaluated,
            stopping_word=self._stops.word,
        )
        return self.chunk(last=True), done

    def _follow(self, draft: list[int], logits: Callable[[int], Logits]) -> tuple[int, str]:
        kept = 0
        while True:
            guide = None if self.guide is None or self.guide.done else self.guide
            if self._forced and guide and kept < len(draft):  # where there is no choice, the model's favourite spelling does not count
                pick = Pick(draft[kept], logprob_of(logits(kept), draft[kept]) if self._logprobs else 0.0)
            else:
                pick = self._sampler.pick(logits(kept), guide)
            if self.closing and guide and pick.token not in self.request.stop_tokens:
                pick = self._closing(self.closing, pick, logits(kept))
            self._first = self._first or now_ms()
            if pick.end > LEAST_END and not self._hidden:
                self._cuts.append((self._length, round(pick.end, 2)))
            suffix = self.request.suffix
            if suffix and pick.token == suffix[0] and not guide:
                if len(suffix) == 1 and pick.logprob >= self.request.suffix_min:
                    return kept, "suffix"
                if len(suffix) > 1:
                    self._held = pick
                    self.output.append(pick.token)
                    return kept, ""
            if reason := self._take(pick):
                return kept, reason
            if kept == len(draft) or draft[kept] != pick.token:
                return kept, ""
            kept += 1

    def _look_at_suffix(self, rest: list[int], logits: Callable[[int], Logits]) -> tuple[int, str]:
        """The rows are those of the suffix behind its held first token: is it what the model would write now?"""
        held, self._held = self._held, None
        assert held is not None
        self.output.pop()
        found = [held.logprob, *(logprob_of(logits(i), token) for i, token in enumerate(rest))]
        nothing = not self._length and held.end < NOTHING
        if (
            not nothing and len(found) == len(self.request.suffix) and sum(found) / len(found) >= self.request.suffix_min
        ):  # its first tokens alone prove little
            return 0, "suffix"
        if reason := self._take(held):
            return 0, reason
        return self._follow(rest, logits)

    def _closing(self, closing: Closing, pick: Pick, logits: Logits) -> Pick:
        """`pick`, or what brings the answer to its end within what is left of it."""
        token = closing.choose(pick.token, self.request.max_tokens - len(self.output))
        if token == pick.token:
            return pick
        return replace(pick, token=token, logprob=logprob_of(logits, token) if self._logprobs else 0.0)

    def _take(self, pick: Pick) -> str:
        """The token was chosen; why the request is over, or ""."""
        closed = self.closing is not None and self.closing.early
        if pick.token in self.request.stop_tokens:
            return "closed" if closed else "stop_token"
        self._sampler.accept(pick.token)
        constrained = self.guide is not None and not self.guide.done
        if constrained and self.guide:
            self.guide.accept(pick.token)
        if self._drafter:
            self._drafter.extend([pick.token])
        self.output.append(pick.token)
        hidden = self._hidden
        text = self._visible(self._decoder.decode(self._piece(pick.token)))
        if text or not hidden:  # a token that only spells what was there before is no part of the answer
            self._unsent.append(pick)
        self._length += len(text)
        text, reason = self._stops.feed(text, pick.logprob)
        self._text.append(text)
        if reason in UNSURE and self._unsent and self._unsent[-1] is pick:
            self._unsent.pop()  # its text is no part of the answer
        if reason:
            return reason
        if constrained and self.guide and self.guide.done and self.request.constraint and self.request.constraint.kind not in BYTE_PREFIX:
            return "closed" if closed else "constraint"
        return "length" if len(self.output) >= self.request.max_tokens else ""

    def _visible(self, text: str) -> str:
        hidden = min(self._hidden, len(text))
        self._hidden -= hidden
        return text[hidden:]


def now_ms() -> float:
    """Milliseconds from a fixed moment."""
    return time.monotonic() * 1000
