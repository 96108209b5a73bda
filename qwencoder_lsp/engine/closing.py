"""An answer under a JSON schema that comes near its limit is brought to its end: half an object is of no use to anybody.

A short way to the end is known at every token, and a token after which none would fit into what is left is not taken. The way is looked for by
trying, at each place, what closes first: brackets and quotes, then the values that are one token long, then digits. An automaton cannot say how far
it is from its end, so several orders are tried; where none arrives, the answer goes on as if this did not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

WATCH = 96  # tokens from the limit from which on the way is kept known; objects that need more at once can still be cut
BRACKETS, QUOTE = ("}", "]"), '"'
VALUES = ("Z", "null", "true", "false")  # Z ends a time, whose fraction could go on for ever
DIGITS = ("0123456789", "1234567890", "9876543210")  # of a number: 0 is a multiple of everything, 1 and 9 reach what 0 does not


class Exits:
    """What a vocabulary offers for closing an answer. Reads every token once: 0.1 s."""

    def __init__(self, tokenizer: Any) -> None:
        """tokenizer: llguidance's LLTokenizer."""
        self.tokenizer = tokenizer
        self.end = int(tokenizer.eos_token)
        self.brackets, (self.quote,) = self._single(tokenizer, BRACKETS), self._single(tokenizer, QUOTE)
        self.values = self._single(tokenizer, VALUES)
        self.orders = [self._single(tokenizer, tuple(digits)) for digits in DIGITS]
        lengths = [len(tokenizer.decode_bytes([token])) for token in range(tokenizer.vocab_size)]
        self.lengths = np.array(lengths, np.int32)

    @staticmethod
    def _single(tokenizer: Any, texts: Sequence[str]) -> list[int]:
        return [tokens[0] for text in texts if len(tokens := tokenizer.tokenize_str(text)) == 1]


class Closing:
    """Keeps one answer's way out known, from WATCH tokens before its limit on."""

    def __init__(self, matcher: Any, exits: Exits) -> None:
        """matcher: the answer's own (llguidance's LLMatcher), which somebody else lets consume what is chosen."""
        self._matcher = matcher
        self._exits = exits
        self._bits = np.zeros((len(exits.lengths) + 31) // 32, np.int32)
        self._way: list[int] | None = None
        self.early = False  # whether a token was refused

    def choose(self, token: int, left: int) -> int:
        """`token`, which the constraint allows, or the next one of the way out where the end would be too far behind it.

        left: how many tokens the answer may still have, this one included.
        """
        if left > WATCH:
            return token
        if self._way is None:
            self._way = self._search(left) or []  # empty: none was found, and none is looked for again
        if self._way and token != self._way[0]:
            found = self._search(left - 1, token)
            self.early = self.early or found is None
            self._way = self._way if found is None else [token, *found]
        return self._way.pop(0) if self._way else token

    def _search(self, limit: int, first: int | None = None) -> list[int] | None:
        """At most `limit` tokens from here, or from behind `first`, to the end; None where none were found."""
        for digits in self._exits.orders:
            for fill in (1, -1):  # what is neither a bracket nor a digit: the shortest token, then the longest, for a text that is too short
                matcher = self._matcher.deep_copy()
                if first is not None:
                    matcher.consume_token(first)
                if (way := self._walk(matcher, limit, digits, fill)) is not None:
                    return way
        return None

    def _walk(self, matcher: Any, limit: int, digits: list[int], fill: int) -> list[int] | None:
        way: list[int] = []
        while not matcher.is_stopped():
            step = list(matcher.compute_ff_tokens()) or [self._closer(matcher, digits, fill)]
            way += step
            if len(way) > limit or not matcher.consume_tokens(step):
                return None
        return None if matcher.is_error() else way

    def _closer(self, matcher: Any, digits: list[int], fill: int) -> int:
        """The one of the allowed tokens that promises to end the soonest."""
        if matcher.is_accepting():
            return self._exits.end
        matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        exits = self._exits
        within_text = all(map(self._allowed, exits.brackets))  # outside of it only one of them can close something
        wanted = (exits.quote, *digits) if within_text else (*exits.brackets, exits.quote, *exits.values, *digits)
        if (closer := next(filter(self._allowed, wanted), None)) is not None:
            return closer
        allowed = np.flatnonzero(np.unpackbits(self._bits.view(np.uint8), bitorder="little")[: len(exits.lengths)])
        return int(allowed[np.argmin(fill * exits.lengths[allowed])]) if len(allowed) else exits.end

    def _allowed(self, token: int) -> bool:
        return bool(self._bits[token >> 5] >> (token & 31) & 1)
