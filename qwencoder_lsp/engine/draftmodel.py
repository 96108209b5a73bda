"""Speculation by a small model of the same vocabulary: it writes ahead token by token, and the large one checks all of that in one step.

Where nothing can be copied (drafter.py) this pays if the large model is many times as slow as the small one. Each guess costs a decode of the small
model now and a row of the large one's step: it is made only while the time that it probably saves is longer. How often guesses are right that the
small model was so sure of is learnt (Leviathan, Kalman, Matias 2023, "Fast Inference from Transformers via Speculative Decoding", has the account
for a fixed length; here each guess has its own). What is chosen is always what the large model chooses.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from qwencoder_lsp.engine.architecture import kv_bytes_per_token
from qwencoder_lsp.engine.binding import OK, Context, Model, Vocabulary
from qwencoder_lsp.engine.kvpool import common
from qwencoder_lsp.errors import EngineFailed

Ids = npt.NDArray[np.int32]

CELLS = 16384  # of its context; a longer text is not drafted for
SEQUENCES = 4  # texts that it has read and remembers
UBATCH = 256
MOST = 16  # guesses at once
SURE = (0.5, 0.8, 0.95)  # lower ends of the classes of confidence; below the first there is class 0
PRIOR = (0.35, 0.6, 0.8, 0.95)  # how often a guess of the class is right, as long as nothing is known
WEIGHT, FADE = 8.0, 1 - 1 / 64  # of that, in guesses; of what is known, for each new guess
RECOVERY = 0.01  # of the way back to the first estimate, for each token without guesses: text changes
READING = 0.25  # of the time that the answer will probably take, for reading what the small model has not seen
LEAST_LEFT = 32  # tokens that an answer is expected to have still; more, if it has been longer already
SAMPLE = 61  # every so many-eth token is compared to tell whether two vocabularies are the same


def same_vocabulary(one: Vocabulary, other: Vocabulary) -> bool:
    """Whether ids mean the same text. The sizes of one family differ by what is padded behind the last token."""
    both = min(one.n_vocab, other.n_vocab)
    return abs(one.n_vocab - other.n_vocab) * 100 < both and all(one.piece(i) == other.piece(i) for i in range(0, both, SAMPLE))


class Confidence:
    """How often guesses of each class are right, and how often the next one is."""

    def __init__(self) -> None:
        self._right = [p * WEIGHT for p in PRIOR]
        self._seen = [WEIGHT] * len(PRIOR)
        self._first = self.next = sum(PRIOR[1:]) / len(PRIOR[1:])

    def of(self, probability: float) -> float:
        """The chance of a guess to which the small model gives this probability."""
        kind = bisect_right(SURE, probability)
        return self._right[kind] / self._seen[kind]

    def learn(self, probability: float, right: bool) -> None:
        """The fate of a guess."""
        kind = bisect_right(SURE, probability)
        self._right[kind] = self._right[kind] * FADE + right
        self._seen[kind] = self._seen[kind] * FADE + 1
        self.next += (right - self.next) / WEIGHT / 2

    def refuse(self, probability: float) -> None:
        """A guess was made and is too unsure to be checked: what the small model took for it is lost, and will be again."""
        self.next += (self.of(probability) - self.next) / WEIGHT / 2

    def recover(self) -> None:
        """Nothing was guessed for a token."""
        self.next += (self._first - self.next) * RECOVERY


@dataclass(slots=True)
class _Text:
    """What one sequence of its context holds, and when it was used."""

    tokens: Ids = field(default_factory=lambda: np.empty(0, np.int32))
    used: int = 0


@dataclass(frozen=True, slots=True)
class Need:
    """What is to be guessed for.

    key: of the request. tokens: its prompt and answer so far. answered: tokens of the latter. left: tokens that it may still have. ends: tokens
    behind which nothing follows. rows: what the step of the large model has anyway. limit: most guesses.
    """

    key: int
    tokens: Ids
    answered: int
    left: int
    ends: Collection[int]
    rows: int
    limit: int


class DraftModel:
    """Owned by the engine's thread. Raises EngineFailed when the file cannot be loaded or its vocabulary is another."""

    def __init__(self, path: Path, target: Model, *, gpu_layers: int, threads: int) -> None:
        self._model = Model(path, gpu_layers)
        if not same_vocabulary(self._model.vocabulary, target.vocabulary):
            self._model.close()
            raise EngineFailed(
                f"{path.name} cannot draft for {target.path.name}: their vocabularies differ.",
                "Set model.draft to a small model of the same family, or to nothing.",
            )
        self._model.abort_flag = target.abort_flag  # one flag breaks off whatever runs
        cells = min(CELLS, self._model.vocabulary.n_ctx_train or CELLS)
        try:
            self._context = Context(self._model, n_ctx=cells, n_seq=SEQUENCES, n_threads=threads, n_ubatch=UBATCH, n_outputs=SEQUENCES)
        except EngineFailed:  # without the memory for it the weights must not stay either
            self._model.close()
            raise
        self.bytes = self._model.bytes + cells * kv_bytes_per_token(self._model.metadata)
        self._texts = [_Text() for _ in range(SEQUENCES)]
        self._keys: dict[int, int] = {}  # request -> its sequence
        self._clock = 0
        self.confidence = Confidence()
        self._row_ms = self._token_ms = 0.0
        self._measure()

    def guess(self, need: Need, cost: Callable[[int], float]) -> list[tuple[int, float]]:
        """The next tokens with the small model's probabilities, as many as pay; fewer when it is broken off. cost(rows): milliseconds of a step
        of the large model, now."""
        value = cost(need.rows) / need.rows  # of a right guess: a row of a step that need not be made
        most = min(need.limit, MOST, need.left - 1, self._context.n_ctx - len(need.tokens) - 1)
        if most < 1 or not self._pays(1.0, need.rows, 0, value, cost):
            self.confidence.recover()
            return []
        place = self._place(need)
        unread = need.tokens[len(self._texts[place].tokens) :]
        if len(unread) * self._row_ms > READING * value * min(need.left, max(LEAST_LEFT, need.answered)) or not self._read(place, unread):
            return []
        guesses: list[tuple[int, float]] = []
        certain = 1.0
        while True:
            token, probability = self._best()
            certain *= self.confidence.of(probability)
            if token in need.ends or certain * value <= cost(need.rows + len(guesses) + 1) - cost(need.rows + len(guesses)):
                if not guesses:
                    self.confidence.refuse(probability)
                return guesses
            guesses.append((token, probability))
            if len(guesses) >= most or not self._pays(certain, need.rows, len(guesses), value, cost):
                return guesses
            if not self._read(place, np.asarray([token], np.int32)):
                return guesses

    def learn(self, guesses: list[tuple[int, float]], evaluated: int, right: int) -> None:
        """Of these guesses the first `evaluated` were looked at, and the first `right` of them were right."""
        for i, (_, probability) in enumerate(guesses[: min(evaluated, right + 1)]):
            self.confidence.learn(probability, i < right)

    def set_threads(self, count: int) -> None:
        """Compute with so many threads from now on."""
        self._context.set_threads(count)

    def close(self) -> None:
        """Free everything."""
        self._context.close()
        self._model.close()

    def _pays(self, certain: float, rows: int, made: int, value: float, cost: Callable[[int], float]) -> bool:
        """Whether one more guess probably saves more than it costs."""
        return certain * self.confidence.next * value > self._token_ms + cost(rows + made + 1) - cost(rows + made)

    def _place(self, need: Need) -> int:
        """The sequence for the request, with as much of its text as is known; at least the last token is still to be read."""
        self._clock += 1
        place = self._keys.get(need.key)
        if place is None:
            place = min(range(SEQUENCES), key=lambda i: self._texts[i].used)
            self._keys = {key: at for key, at in self._keys.items() if at != place} | {need.key: place}
            donor = max(range(SEQUENCES), key=lambda i: common(self._texts[i].tokens, need.tokens))
            if donor != place:
                shared = common(self._texts[donor].tokens, need.tokens)
                self._cut(place, 0)
                if shared:
                    self._context.copy(donor, place, 0, shared)
                self._texts[place].tokens = need.tokens[:shared].copy()
        text = self._texts[place]
        text.used = self._clock
        self._cut(place, min(common(text.tokens, need.tokens), len(need.tokens) - 1))
        others = sorted((i for i in range(SEQUENCES) if i != place), key=lambda i: self._texts[i].used)
        for other in others:
            if sum(len(t.tokens) for t in self._texts) - len(text.tokens) + len(need.tokens) + MOST <= self._context.n_ctx:
                break
            self._cut(other, 0)
        return place

    def _read(self, place: int, tokens: Ids) -> bool:
        """Compute them; False when it was broken off, what was finished stays."""
        context, text = self._context, self._texts[place]
        batch = context.batch
        for start in range(0, len(tokens), batch.size):
            part = tokens[start : start + batch.size]
            batch.clear()
            batch.add(part, len(text.tokens), place, int(start + len(part) == len(tokens)))
            begun = time.perf_counter()
            done = context.decode() == OK
            if done:
                self._timed(len(part), (time.perf_counter() - begun) * 1000)
                text.tokens = np.concatenate((text.tokens, part))
            else:
                text.tokens = np.concatenate((text.tokens, part[: max(0, context.length(place) - len(text.tokens))]))
                return False
        return True

    def _best(self) -> tuple[int, float]:
        """The most probable token behind what was read last, and its probability."""
        logits = self._context.logits(len(self._context.batch) - 1)
        token = int(logits.argmax())
        near = logits[logits > logits[token] - 12.0]  # the others do not count, and there are 150,000 of them
        return token, float(1 / np.exp(near - logits[token]).sum())

    def _cut(self, place: int, length: int) -> None:
        text = self._texts[place]
        if length < len(text.tokens) or not length:
            self._context.truncate(place, length)
            text.tokens = text.tokens[:length]

    def _timed(self, rows: int, ms: float) -> None:
        if rows == 1:
            self._token_ms += (ms - self._token_ms) / 8
        elif rows >= 16:
            self._row_ms += (ms / rows - self._row_ms) / 4

    def _measure(self) -> None:
        """What its decodes take, from a few of them."""
        tokens = np.full(UBATCH, self._model.vocabulary.tokenize("\n")[0], np.int32)
        for size, rounds in ((1, 3), (48, 2)):
            took = []
            for _ in range(rounds):
                begun = time.perf_counter()
                self._read(0, tokens[:size])
                took.append((time.perf_counter() - begun) * 1000 / size)
            self._token_ms, self._row_ms = (min(took), self._row_ms) if size == 1 else (self._token_ms, min(took))
        self._cut(0, 0)
