"""Definitions in open documents whose text is newer than the index.

Documents and the words near the cursor go in, candidates come out; they take the place of what the index knows of those files.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from qwencoder_lsp.context.candidates import Candidate
from qwencoder_lsp.context.outline import Outline, outline
from qwencoder_lsp.context.secrets import redact
from qwencoder_lsp.core.text import Snapshot

MOST_TEXT = 200_000  # code points; larger documents are left to the index
MOST_LINES = 40
SCORE = 0.7  # of a definition whose name is used on the cursor's line, and which nothing in the index speaks for


def with_unsaved(found: Sequence[Candidate], documents: Sequence[Snapshot], here: Snapshot, words: dict[str, float]) -> list[Candidate]:
    """The candidates, where those from files that are open here are as their text is now. words: name -> weight, as in context.usage."""
    out = list(found)
    for document in documents:
        path = _path(document, here)
        if path is None or document.uri == here.uri or len(document.text) > MOST_TEXT:
            continue
        text, known = _read(document.text, document.language)
        lines = text.split("\n")
        indexed = max((c.score for c in found if c.path == path and c.source != "edits"), default=0.0)
        fresh = [
            Candidate(
                path, s.line, s.end, "definitions", f"{s.name} is used (not saved)", max(SCORE * min(1.0, words[s.name]), indexed),
                "\n".join(lines[s.line : s.end]) + "\n" if s.end - s.line <= MOST_LINES else f"{s.signature}\n", f"{s.signature}\n",
            )
            for s in known.symbols
            if s.name in words and s.kind not in ("field", "variable")
        ]  # fmt: skip
        if fresh:
            out = [c for c in out if c.path != path or c.source == "edits"] + fresh
    return out


@lru_cache(maxsize=16)
def _read(text: str, language: str) -> tuple[str, Outline]:
    clean = redact(text.replace("\r\n", "\n"))
    return clean, outline(clean, language)


def _path(document: Snapshot, here: Snapshot) -> str | None:
    if document.path is None or here.root is None or not Path(document.path).is_relative_to(here.root):
        return None
    return Path(document.path).relative_to(here.root).as_posix()
