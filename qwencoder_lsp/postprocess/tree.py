"""Syntax trees of documents that change, by tree-sitter: a changed text is parsed again only where it changed.

In: a document's name, text and LSP language id. Out: its tree. Offsets are code points; tree-sitter counts bytes of UTF-8.
"""

from __future__ import annotations

from dataclasses import dataclass

from cachetools import LRUCache
from tree_sitter import Node, Parser, Tree

from qwencoder_lsp.grammars import grammar

DOCUMENTS = 16


@dataclass(frozen=True, slots=True)
class Parsed:
    """A text and its tree. Do not change the tree."""

    language: str
    source: bytes
    tree: Tree

    @property
    def root(self) -> Node:
        """The root node."""
        return self.tree.root_node

    def with_text(self, start: int, end: int, text: str) -> Parsed:
        """The same with the bytes from `start` to `end` replaced; this one stays as it is."""
        added = encode(text)
        return _again(self, self.source[:start] + added + self.source[end:], start, end, start + len(added))


class Trees:
    """The latest tree of each document."""

    def __init__(self) -> None:
        self._latest: LRUCache[str, Parsed] = LRUCache(DOCUMENTS)

    def parse(self, uri: str, text: str, language: str) -> Parsed | None:
        """The tree of `text`; None when there is no grammar for the language."""
        known, source = self._latest.get(uri), encode(text)
        if known is not None and known.language == language:
            parsed = known if known.source == source else _reparse(known, source)
        elif found := grammar(language):
            parsed = Parsed(language, source, Parser(found).parse(source))
        else:
            return None
        self._latest[uri] = parsed
        return parsed

    def forget(self, uri: str) -> None:
        """The document was closed."""
        self._latest.pop(uri, None)


def encode(text: str) -> bytes:
    """As the trees count."""
    return text.encode("utf-8", "surrogatepass")


def _reparse(old: Parsed, source: bytes) -> Parsed:
    same = _common(old.source, source)
    behind = min(_common_end(old.source, source), min(len(old.source), len(source)) - same)
    return _again(old, source, same, len(old.source) - behind, len(source) - behind)


def _again(old: Parsed, source: bytes, start: int, old_end: int, new_end: int) -> Parsed:
    tree = old.tree.copy()
    tree.edit(start, old_end, new_end, _point(old.source, start), _point(old.source, old_end), _point(source, new_end))
    found = grammar(old.language)
    assert found is not None
    return Parsed(old.language, source, Parser(found).parse(source, tree))


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
