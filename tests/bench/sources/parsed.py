"""A source file with its syntax tree, and what the rules for places ask of it. Offsets are characters, which are bytes in these files."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator
from functools import cache, cached_property
from importlib import import_module

from tree_sitter import Language, Node, Parser

from qwencoder_lsp.grammars import GRAMMARS
from tests.bench.sources.files import Source

_LEADER = re.compile(r"[\s/*#!]*")
_PROSE_WORD = re.compile(r"[A-Za-z][a-z'-]*[.,:!?]?")
_CODE = re.compile(r"[{}=<>();_|\\/@#\[\]\"`$%&*+]")


@cache
def _parser(language: str) -> Parser:
    module, function = GRAMMARS[language]
    return Parser(Language(getattr(import_module(module), function)()))


class Parsed:
    """One file. nodes: all of its tree, in the order of the text."""

    def __init__(self, source: Source) -> None:
        self.source, self.text = source, source.text
        self.lines = source.text.split("\n")
        self._starts = [0]
        for line in self.lines:
            self._starts.append(self._starts[-1] + len(line) + 1)
        self._tree = _parser(source.language).parse(source.text.encode())

    @cached_property
    def nodes(self) -> list[Node]:
        return list(self._walk())

    @cached_property
    def comment_rows(self) -> set[int]:
        """Lines that begin inside a comment."""
        rows: set[int] = set()
        for node in self.nodes:
            if "comment" in node.type:
                first = node.start_point.row + (not self._begins_line(node))
                last = self.row(node.end_byte - 1)
                rows.update(row for row in range(first, last + 1) if self.lines[row].strip())
        return rows

    def row(self, offset: int) -> int:
        """The line that an offset is in."""
        return bisect.bisect_right(self._starts, offset) - 1

    def start(self, row: int) -> int:
        """Where a line begins."""
        return self._starts[row]

    def end(self, row: int) -> int:
        """Where it ends, in front of its line break."""
        return self._starts[row] + len(self.lines[row])

    def indent(self, row: int) -> int:
        """The width of its indentation."""
        line = self.lines[row].expandtabs(4)
        return len(line) - len(line.lstrip())

    def statement(self, node: Node) -> Node | None:
        """The node that is the whole line that `node` is in, so that what is cut from the line leaves nothing behind on others."""
        row = node.start_point.row
        top = node
        while (parent := top.parent) and parent.start_point.row == row and parent.end_point.row == row and parent.parent:
            top = parent
        whole = self._begins_line(top) and top.end_byte == self.start(row) + len(self.lines[row].rstrip())
        return top if whole and "comment" not in top.type else None

    def prose(self, row: int, least: int) -> tuple[int, int] | None:
        """Where the words of a comment's or string's line begin and end, if it has so many and nothing but words."""
        line = self.lines[row]
        found = _LEADER.match(line)
        assert found is not None
        return self.words(self.start(row) + found.end(), self.start(row) + len(line.rstrip()), least)

    def words(self, start: int, end: int, least: int) -> tuple[int, int] | None:
        """The same for a stretch of text."""
        text = self.text[start:end]
        words = text.split()
        ordinary = sum(bool(_PROSE_WORD.fullmatch(word)) for word in words)
        return (start, end) if len(words) >= least and not _CODE.search(text) and ordinary >= 0.8 * len(words) else None

    def middle_word(self, start: int, end: int) -> int:
        """Behind the middle one of the words between two offsets."""
        ends = [found.end() for found in re.finditer(r"\S+", self.text[start:end])]
        return start + ends[(len(ends) - 1) // 2]

    def _begins_line(self, node: Node) -> bool:
        return not self.lines[node.start_point.row][: node.start_point.column].strip()

    def _walk(self) -> Iterator[Node]:
        cursor = self._tree.walk()
        while True:
            assert cursor.node is not None
            yield cursor.node
            if cursor.goto_first_child():
                continue
            while not cursor.goto_next_sibling():
                if not cursor.goto_parent():
                    return
