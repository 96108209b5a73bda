"""Which tokens come next if the text goes on copying: the predictor behind drafter.py.

Text that edits other text copies it with small changes. `Copier` finds where the end of the text occurred before, follows that source token by
token, and after a difference looks for the place where the copy goes on: behind a replaced token, behind an insertion, behind something left out.
A replacement seen once (an identifier that is renamed) is predicted at its next occurrence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

CANDIDATES = 16  # occurrences of the last two tokens that are compared, most recent first
LONGEST = 32  # a match is not measured further than this
WINDOW = 24  # source tokens behind a difference among which the copy may go on
PATIENCE = 24  # tokens without the source after which it is given up
SURE = 3  # tokens in a row that end a difference
TRUSTED = 8  # copied tokens after which a source is kept through differences
HINT_TRUSTED = 4  # the same for a source that was named from outside
SPAN = 6  # longest replacement, in tokens, that is remembered


class Occurrences:
    """The tokens of a text, and for each place the one before it with the same last two tokens."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens = list(tokens)
        self._previous = [-1] * (len(self.tokens) + 1)  # [end]: the last earlier end of the same pair
        self._last: dict[int, int] = {}
        if len(self.tokens) >= 2:
            self._index()

    def _index(self) -> None:
        # One sort instead of a loop: 30,000 tokens of a prompt in 4 ms.
        ids = np.array(self.tokens, np.int64)
        pairs = ids[:-1] << 32 | ids[1:]
        order = np.argsort(pairs, kind="stable")
        ends = order + 2
        ordered = pairs[order]
        same = ordered[1:] == ordered[:-1]
        previous = np.full(len(ids) + 1, -1, np.int64)
        previous[ends[1:][same]] = ends[:-1][same]
        self._previous = previous.tolist()
        final = np.append(~same, True)
        self._last = dict(zip(ordered[final].tolist(), ends[final].tolist(), strict=True))

    def append(self, token: int) -> None:
        """The text goes on with `token`."""
        self.tokens.append(token)
        end = len(self.tokens)
        if end < 2:
            self._previous.append(-1)
            return
        pair = self.tokens[-2] << 32 | token
        self._previous.append(self._last.get(pair, -1))
        self._last[pair] = end

    def find(self) -> tuple[int, int]:
        """Where the longest repeated end of the text ended before, the most recent of equals, and its length in tokens; (-1, 0) if nowhere."""
        t = self.tokens
        end = len(t)
        place, longest = -1, 0
        at = self._previous[end]
        for _ in range(CANDIDATES):
            if at < 0:
                break
            length = 2
            while length < LONGEST and length < at and t[at - 1 - length] == t[end - 1 - length]:
                length += 1
            if length > longest:
                place, longest = at, length
                if length == LONGEST:
                    break
            at = self._previous[at]
        return place, longest


class Copier:
    """A text, and the place in it that is being copied.

    at: the index of the next token to copy, -1 without a source. run: how many tokens in a row were as predicted. trusted: whether this source
    has proved itself, so that it is kept through differences.
    """

    def __init__(self, tokens: Sequence[int], hint: int | None = None) -> None:
        """hint: the index of what is expected to be copied first."""
        self._text = Occurrences(tokens)
        self.at = -1 if hint is None else hint
        self.hinted = hint is not None
        self.run = 0
        self._copied = 0
        self._gap: list[int] | None = None  # the tokens since the last difference, until SURE tokens were as predicted
        self._gap_at = 0  # the source token that was not copied
        self._queue: tuple[int, ...] = ()  # what is left of a replacement; `at` is behind what it replaces
        self._swap: tuple[int, ...] = ()  # what the replacement that was begun last replaces
        self._swaps: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._swap_firsts: dict[int, list[tuple[int, ...]]] = {}
        self._banned: set[tuple[int, ...]] = set()

    @property
    def tokens(self) -> list[int]:
        """All tokens so far; not to be changed."""
        return self._text.tokens

    @property
    def trusted(self) -> bool:
        return self._copied >= (HINT_TRUSTED if self.hinted else TRUSTED)

    def seek(self) -> None:
        """Look for a source if there is none, or for a better one than one that has not proved itself."""
        if self.at >= 0 and (self.run >= (1 if self.trusted else LONGEST) or (self.hinted and not self.trusted)):
            return
        place, length = self._text.find()
        if length > self.run and (not self.trusted or length > SURE):
            self.hinted = False
            if not self.trusted or abs(place - self.at) > WINDOW:
                self._copied = 0
                self._swaps.clear()
                self._swap_firsts.clear()
            self.at, self.run = place, length
            self._gap, self._queue = None, ()

    def predicted(self) -> Iterator[int]:
        """The next tokens, without end while there is a source: what runs into the end of the text goes on with what was predicted."""
        if self.at < 0:
            return
        tokens = self._text.tokens
        size = len(tokens)
        made: list[int] = []
        at, queue = self.at, self._queue
        while True:
            if not queue:
                swap = self._swap_at(at)
                if swap:
                    queue, at = self._swaps[swap], at + len(swap)
                else:
                    queue, at = (tokens[at] if at < size else made[at - size],), at + 1
            made.append(queue[0])
            queue = queue[1:]
            yield made[-1]

    def feed(self, token: int) -> bool:
        """The text goes on with `token`: whether that was predicted."""
        if self.at < 0:
            self._text.append(token)
            return False
        begun = self._begin()
        hit = self._queue[0] == token
        self._text.append(token)
        if hit:
            self._queue = self._queue[1:]
            self.run += 1
            self._copied += 1
            if self._gap is not None:
                self._gap.append(token)
                if self.run >= SURE:
                    self._close()
            return True
        self._differ(token, begun)
        return False

    def _begin(self) -> bool:
        """Fill the queue with what comes next. True when that begins a replacement."""
        if self._queue:
            return False
        swap = self._swap_at(self.at)
        if swap:
            self._swap, self._queue = swap, self._swaps[swap]
            self.at += len(swap)
            return True
        self._swap = ()
        self._queue = (self._text.tokens[self.at],)
        self.at += 1
        return False

    def _swap_at(self, at: int) -> tuple[int, ...]:
        tokens = self._text.tokens
        if at >= len(tokens):
            return ()
        for swap in self._swap_firsts.get(tokens[at], ()):
            if swap not in self._banned and tuple(tokens[at : at + len(swap)]) == swap:
                return swap
        return ()

    def _differ(self, token: int, begun: bool) -> None:
        wanted = self.at - max(len(self._swap), 1)  # the source token that should have been copied
        self._queue = ()
        if begun:
            self._banned.add(self._swap)
            if self._text.tokens[wanted] == token:  # copied as it stands
                self.at = wanted + 1
                self.run += 1
                return
        if not self.trusted and self._gap is None:
            self.at, self.run, self._copied, self.hinted = -1, 0, 0, False
            return
        if self._gap is None:
            self._gap, self._gap_at = [], wanted
        self._gap.append(token)
        self.run = 0
        if len(self._gap) > PATIENCE:
            self.at, self._copied, self._gap, self.hinted = -1, 0, None, False
            return
        self._resume()

    def _resume(self) -> None:
        """Set `at` to where the copy most probably goes on after the difference."""
        assert self._gap is not None
        gap, tokens = self._gap, self._text.tokens
        end = min(self._gap_at + WINDOW, len(tokens) - len(gap))
        place, longest = -1, 0
        for j in range(self._gap_at, end):
            if tokens[j] == gap[-1]:
                length = 1
                while length < len(gap) and j - length >= self._gap_at and tokens[j - length] == gap[-1 - length]:
                    length += 1
                if length > longest:
                    place, longest = j, length
        self.at, self.run = (place + 1, longest) if longest else (min(self._gap_at + 1, len(tokens) - 1), 0)

    def _close(self) -> None:
        """The difference is over: remember what replaced what."""
        assert self._gap is not None
        new = tuple(self._gap[: -self.run])
        old = tuple(self._text.tokens[self._gap_at : self.at - self.run])
        self._gap = None
        if 0 < len(old) <= SPAN and 0 < len(new) <= SPAN and old != new and old not in self._banned:
            if old not in self._swaps:
                self._swap_firsts.setdefault(old[0], []).append(old)
            self._swaps[old] = new
