"""Chooses how much of an answer leaves a text that can be parsed: all of it, or less. Pure.

An answer that was cut by a limit ends inside a statement or a block; a model may also close a bracket that is closed already. The text with the
answer is parsed as often as there are ways to shorten it, each time only where it changed. Syntax errors elsewhere count in all of them alike.
"""

from __future__ import annotations

from qwencoder_lsp.postprocess.overlap import PAIRS
from qwencoder_lsp.postprocess.syntax import count_errors
from qwencoder_lsp.postprocess.tree import Parsed

MOST_CUTS = 8


def soundest(parsed: Parsed, before: int, behind: int, text: str, *, whole: bool) -> tuple[str, bool]:
    """The longest beginning of `text` that leaves the fewest syntax errors, and whether they are no more than without it.

    parsed: the document; `text` stands in it in place of the bytes from `before` to `behind`. whole: the model ended it there by itself; then
    it is cut only for what is no worse than no answer at all.
    """
    none = count_errors(parsed.root)
    best, fewest = text, _errors(parsed, before, behind, text)
    if not fewest:
        return text, True
    for cut in _cuts(text):
        errors = _errors(parsed, before, behind, cut)
        if errors < fewest and (not whole or errors <= none):
            best, fewest = cut, errors
        if not fewest:
            break
    return best, fewest <= none


def _errors(parsed: Parsed, before: int, behind: int, text: str) -> int:
    return count_errors(parsed.with_text(before, behind, text).root)


def _cuts(text: str) -> list[str]:
    """Shorter versions, the longest first: without closing brackets at the end, then at the ends of lines."""
    found, cut = [], text
    while cut and cut[-1] in PAIRS:
        cut = cut[:-1]
        cut = cut.rstrip() if cut.endswith(("\n", "\t", "    ")) else cut
        found.append(cut)
    at = len(text)
    while (at := text.rfind("\n", 0, at)) > 0:
        found.append(text[:at].rstrip())
    return [cut for cut in dict.fromkeys(found) if cut.strip()][:MOST_CUTS]
