"""Tokenises text piece by piece with a cache, so that a keystroke costs the tokens of one line.

Text goes in, segments (a piece of text with its token ids) come out; the ids of all segments in a row are the ids of the whole text.
Knows nothing of prompts or windows.

Why this is exact: BPE merges never cross the pieces of the pre-tokeniser, so text may be cut wherever such a piece always ends. Qwen's pattern is
    (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+
(`pre_tokenizer` in tokenizer.json of Qwen/Qwen2.5-Coder). `\\s*[\\r\\n]+` runs on over blank lines, so a piece surely ends behind a newline
only when the next line begins with text, indented or not. Inside a line a piece ends behind every digit, and where an ASCII word ends.
"""

from __future__ import annotations

import re
import threading
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from itertools import accumulate

from cachetools import LRUCache

from qwencoder_lsp.engine.vocabulary import Tokenizer

LONG_LINE = 512
_LINE = re.compile(r"[^\S\r\n]*\S")
_LINES = re.compile(rf"(?<=\n)(?={_LINE.pattern})")
_WORDS = re.compile(r".{256,1024}?(?:(?<=[0-9])|(?<=[A-Za-z])(?=[ -/:-@\[-`{-~]))|.{1,1024}", re.DOTALL)
_MARKS = re.compile(r"<[^<>\n]{1,48}>|\[/?[A-Z_]+\]")  # whatever looks like a special token of any family: <|im_end|>, <s>, [INST]
SHORT = 512  # code points; below that it does not pay to compare with earlier texts
RECENT = 8  # texts: the prefix and the suffix of a few documents
CACHED_CHARACTERS = 2 << 20  # about half a million tokens, 40 MB with their ids


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of text and its token ids."""

    text: str
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Cut:
    """A text and its segments."""

    text: str
    segments: list[Segment]

    def kept(self, text: str) -> tuple[int, int]:
        """How many of the segments are also the first ones of `text`, and where they end: at the last line start that both have, with that line."""
        low, high = 0, min(len(self.text), len(text))
        while low < high:  # comparing slices is far faster than a loop over characters
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.text[low:middle] == text[low:middle] else (low, middle - 1)
        ends = list(accumulate(len(segment.text) for segment in self.segments))
        for index in range(bisect_right(ends, low) - 1, 0, -1):
            if self.segments[index - 1].text.endswith("\n") and _LINE.match(self.segments[index].text):
                return index, ends[index - 1]
        return 0, 0


def split(text: str) -> list[str]:
    """`text` in pieces that can be tokenised apart: lines with the blank lines behind them, and parts of lines that are longer than 512 characters.

    A line without an ASCII word end in 1024 characters is cut all the same; its tokens there are valid, but may not be the usual ones.
    """
    pieces: list[str] = []
    for line in _LINES.split(text):
        if len(line) <= LONG_LINE:
            pieces.append(line)
        else:
            pieces += _WORDS.findall(line)
    return pieces


class SegmentTokenizer:
    """A Tokenizer that remembers the segments it has seen and the latest texts, at most `capacity` characters of each. Safe to call from any thread;
    none waits while another tokenises."""

    def __init__(self, tokenizer: Tokenizer, capacity: int = CACHED_CHARACTERS) -> None:
        self.special = tokenizer.special
        self.n_ctx_train = tokenizer.n_ctx_train
        self.chat_template = tokenizer.chat_template
        self._tokenizer = tokenizer
        self._capacity = capacity
        self._lock = threading.Lock()  # of what is remembered
        self._marks: LRUCache[str, int | None] = LRUCache(4096)
        self._recent: deque[_Cut] = deque(maxlen=RECENT)
        self._cache: LRUCache[str, Segment] = LRUCache(capacity, getsizeof=lambda segment: len(segment.text))

    def segments(self, text: str) -> list[Segment]:
        """`text` in segments, in order; special tokens in it stay text. Empty text has none."""
        if len(text) < SHORT:
            return self._cut(text)
        known = self._take(text)
        if known is None:
            fresh = _Cut(text, self._cut(text))
        else:
            kept, at = known.kept(text)
            fresh = _Cut(text, known.segments[:kept] + self._cut(text[at:]))
        self._keep(fresh)
        return fresh.segments

    def tokenize(self, text: str) -> list[int]:
        """Ids of plain text; special tokens in the text stay text."""
        return [token for segment in self.segments(text) for token in segment.tokens]

    def tokenize_markup(self, text: str) -> list[int]:
        """Ids of trusted text, in which special tokens count. llama.cpp, too, cuts at special tokens first, and tokenises what is between as text."""
        ids: list[int] = []
        at = 0
        for match in _MARKS.finditer(text):
            mark = self._mark(match[0])
            if mark is not None:
                ids += self.tokenize(text[at : match.start()])
                ids.append(mark)
                at = match.end()
        return ids + self.tokenize(text[at:])

    def piece(self, token: int) -> bytes:
        """The token's bytes; empty for control tokens."""
        return self._tokenizer.piece(token)

    def _take(self, text: str) -> _Cut | None:
        """The latest text that seems to be an earlier state of this one; no longer kept."""
        with self._lock:
            # By half of the text, because files of one project have the same header.
            known = next((known for known in self._recent if text.startswith(known.text[: len(known.text) // 2])), None)
            if known:
                self._recent.remove(known)
            return known

    def _keep(self, cut: _Cut) -> None:
        if len(cut.text) > self._capacity:
            return
        with self._lock:
            self._recent.appendleft(cut)
            while sum(len(kept.text) for kept in self._recent) > self._capacity:
                self._recent.pop()

    def _cut(self, text: str) -> list[Segment]:
        return [self._segment(piece) for piece in split(text) if piece]

    def _mark(self, spelling: str) -> int | None:
        """The special token of that spelling."""
        with self._lock:
            if spelling in self._marks:
                return self._marks[spelling]
        ids = self._tokenizer.tokenize_markup(spelling)
        mark = ids[0] if len(ids) == 1 and ids != self._tokenizer.tokenize(spelling) else None
        with self._lock:
            self._marks[spelling] = mark
        return mark

    def _segment(self, piece: str) -> Segment:
        with self._lock:
            found = self._cache.get(piece)
        if found is None:
            found = Segment(piece, tuple(self._tokenizer.tokenize(piece)))
            if len(piece) <= self._capacity:
                with self._lock:
                    self._cache[piece] = found
        return found
