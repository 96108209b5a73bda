"""Prompts of exact lengths from real source text: the standard library of the running interpreter. The same key gives the same text."""

from __future__ import annotations

import ast
import os
import random
import re
from dataclasses import dataclass
from pathlib import Path

from qwencoder_lsp.engine.binding import load_tokenizer

SKIP = {"test", "tests", "site-packages", "dist-packages", "idlelib", "lib2to3", "pydoc_data", "encodings", "__pycache__"}
SMALLEST = 6_000  # bytes of a source file that is of use
CHARS = 8  # no text here has more characters per token
KEYS = 5  # tokens typed at a hole, with more to come on the line
WORD = re.compile(r"(?<=[ .(])[a-z_]{6,}")


@dataclass(frozen=True, slots=True)
class Hole:
    """A place to type at: what stands before it, what is typed there token by token (each entry holds the ones before), and what follows after
    the end of the line."""

    prefix: str
    typed: tuple[str, ...]
    suffix: str


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the corpus and a local name in it that can be changed."""

    source: str
    name: str


class Corpus:
    """Texts and token ids for one model's vocabulary."""

    def __init__(self, model: Path) -> None:
        self._vocabulary = load_tokenizer(model)
        root = Path(os.__file__).parent
        files = sorted(p for p in root.rglob("*.py") if not SKIP & set(p.relative_to(root).parts[:-1]))
        texts = (p.read_text("utf-8", "replace") for p in files if p.stat().st_size >= SMALLEST)
        self._texts = [text for text in texts if text.isascii()]  # so that a cut between tokens is one between characters

    def text(self, tokens: int, *key: object) -> str:
        """Source text of so many tokens, from the start of a line."""
        return self._cut(self._somewhere(tokens, key), tokens)

    def ids(self, tokens: int, *key: object) -> list[int]:
        """The ids of such a text, exactly so many."""
        return self._vocabulary.tokenize(self._somewhere(tokens, key))[:tokens]

    def hole(self, prefix: int, suffix: int, *key: object) -> Hole:
        """A place with so many tokens before it and behind it."""
        source = self._somewhere(prefix + suffix + 200, key)
        head = self._cut(source, prefix)
        for found in WORD.finditer(source, len(head)):
            end = source.index("\n", found.end())
            pieces = [self._spelled([i]) for i in self._vocabulary.tokenize(source[found.start() : end])]
            if len(pieces) > KEYS:
                typed = tuple("".join(pieces[: i + 1]) for i in range(KEYS))
                before = self._vocabulary.tokenize(source[: found.start()])[-prefix:]
                return Hole(self._spelled(before), typed, self._cut(source[end:], suffix))
        raise ValueError("no line that is long enough")

    def function(self, *key: object) -> Function:
        """A top-level function or method of 17 to 24 lines with a name that occurs at least three times."""
        draw = random.Random(repr(key))  # noqa: S311 - a choice of text
        while True:
            source = draw.choice(self._texts)
            found = [f for node in ast.walk(_parsed(source)) if isinstance(node, ast.FunctionDef) and (f := _usable(source, node))]
            if found:
                return draw.choice(found)

    def _somewhere(self, tokens: int, key: tuple[object, ...]) -> str:
        draw = random.Random(repr(key))  # noqa: S311 - a choice of text
        enough = [text for text in self._texts if len(text) >= tokens * 6]
        source = draw.choice(enough)
        start = source.index("\n", draw.randrange(len(source) - tokens * 5 - 400)) + 1
        return source[start:]

    def _cut(self, source: str, tokens: int) -> str:
        return self._spelled(self._vocabulary.tokenize(source[: tokens * CHARS + 100])[:tokens])

    def _spelled(self, ids: list[int]) -> str:
        return b"".join(map(self._vocabulary.piece, ids)).decode("ascii")


def _parsed(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError:
        return ast.Module([], [])


def _usable(source: str, node: ast.FunctionDef) -> Function | None:
    if not 17 <= (node.end_lineno or 0) - node.lineno + 1 <= 24 or node.decorator_list:
        return None
    lines = source.splitlines()[node.lineno - 1 : node.end_lineno]
    stored = [n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store) and len(n.id) > 1]
    text = "\n".join(line[node.col_offset :] for line in lines)
    names = [name for name in dict.fromkeys(stored) if len(re.findall(rf"\b{name}\b", text)) >= 3]
    return Function(text, names[0]) if names else None
