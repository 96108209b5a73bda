"""Syntax trees of documents that change, by tree-sitter: a changed text is parsed again only where it changed.

In: a document's name, text, cursor and LSP language id. Out: the tree of the text around the cursor. Offsets are code points; tree-sitter counts
bytes of UTF-8.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cachetools import LRUCache
from tree_sitter import Node, Parser, Tree

from qwencoder_lsp.grammars import grammar
from qwencoder_lsp.postprocess.syntax import encode

DOCUMENTS = 16
# Code points that are parsed around the cursor. A parse takes time for each statement at the top level even where only one has changed: 7 ms for
# 4000 of them.
BEFORE, AFTER, STEP = 8_000, 2_000, 4_000
# What begins and ends strings of several lines.
_STRINGS = {
    "python": ('"""', "'''"),
    "go": ("`",),
    **dict.fromkeys(("javascript", "javascriptreact", "typescript", "typescriptreact"), ("`",)),
}
_LINE_COMMENTS_ONLY = frozenset({"python", "ruby", "shellscript", "yaml", "markdown", "html"})


@dataclass(frozen=True, slots=True)
class Parsed:
    """A text and its tree. Do not change the tree. start: where in the document the text begins."""

    language: str
    source: bytes
    tree: Tree
    start: int = 0

    def byte_at(self, text: str, offset: int) -> int:
        """The place of the document's `offset` as the tree counts."""
        return len(encode(text[self.start : offset]))

    @property
    def root(self) -> Node:
        """The root node."""
        return self.tree.root_node

    def with_text(self, start: int, end: int, text: str) -> Parsed:
        """The same with the bytes from `start` to `end` replaced; this one stays as it is."""
        added = encode(text)
        return _again(self, self.source[:start] + added + self.source[end:], start, end, start + len(added), self.start)


class Trees:
    """The latest tree of each document."""

    def __init__(self) -> None:
        self._latest: LRUCache[str, Parsed] = LRUCache(DOCUMENTS)

    def parse(self, uri: str, text: str, language: str, offset: int = 0) -> Parsed | None:
        """The tree of what is around `offset` in `text`; None when there is no grammar for the language."""
        start, end = around(text, offset, language)
        known, source = self._latest.get(uri), encode(text[start:end])
        if known is not None and known.language == language:
            parsed = replace(known, start=start) if known.source == source else _reparse(known, source, start)
        elif found := grammar(language):
            parsed = Parsed(language, source, Parser(found).parse(source), start)
        else:
            return None
        self._latest[uri] = parsed
        return parsed

    def forget(self, uri: str) -> None:
        """The document was closed."""
        self._latest.pop(uri, None)


def around(text: str, offset: int, language: str) -> tuple[int, int]:
    """Where the part to be parsed begins and ends: whole lines, the same while somebody types, and not from the middle of a string or comment on."""
    start = -(-max(0, offset - BEFORE) // STEP) * STEP
    if start:
        newline = text.find("\n", start, offset)
        start = newline + 1 if newline >= 0 else start
        for quote in _STRINGS.get(language, ()):
            if text.count(quote, 0, start) % 2:
                start = _behind(text, quote, start, offset)
        if language not in _LINE_COMMENTS_ONLY and text.rfind("/*", 0, start) > text.rfind("*/", 0, start):
            start = _behind(text, "*/", start, offset)
    dropped = max(0, len(text) - offset - AFTER) // STEP * STEP
    newline = text.find("\n", len(text) - dropped) if dropped else -1
    return start, newline + 1 if newline >= 0 else len(text)


def _behind(text: str, end: str, start: int, offset: int) -> int:
    found = text.find(end, start, offset)
    return found + len(end) if found >= 0 else start


def _reparse(old: Parsed, source: bytes, start: int) -> Parsed:
    same = _common(old.source, source)
    behind = min(_common_end(old.source, source), min(len(old.source), len(source)) - same)
    return _again(old, source, same, len(old.source) - behind, len(source) - behind, start)


def _again(old: Parsed, source: bytes, start: int, old_end: int, new_end: int, place: int) -> Parsed:
    tree = old.tree.copy()
    tree.edit(start, old_end, new_end, _point(old.source, start), _point(old.source, old_end), _point(source, new_end))
    found = grammar(old.language)
    assert found is not None
    return Parsed(old.language, source, Parser(found).parse(source, tree), place)


def _point(source: bytes, at: int) -> tuple[int, int]:
    return (source.count(b"\n", 0, at), at - source.rfind(b"\n", 0, at) - 1)


def _common(a: bytes, b: bytes) -> int:
    """The length of the longest common beginning, in a few comparisons of whole blocks."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _common_end(a: bytes, b: bytes) -> int:
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[len(a) - middle : len(a) - low] == b[len(b) - middle : len(b) - low]:
            low = middle
        else:
            high = middle - 1
    return low
