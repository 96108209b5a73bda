"""Markdown of a model that loads nothing when it is shown. Pure.

Code that a model is asked about may tell it to answer with an image whose address holds other code; a preview would fetch it unasked.
"""

from __future__ import annotations

import re

# Only fences at the margin are taken for code: in lists and quotations a renderer may see their end where we do not.
_FENCED = re.compile(r"^(?P<fence>`{3,}(?=[^`\n]*$)|~{3,}).*?(?:^ {0,3}(?P=fence)[`~]*[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
JOINER = "\u2060"  # takes no room, also in `code`; between "!" and "[" it makes text of an image
_TAG = re.compile(r"<(?=[a-z][\w\-]*[\s/][^>]*=|/?(?:style|script|link|base|meta)\b)", re.IGNORECASE)


def inert(text: str) -> str:
    """`text` with its images and its HTML that has attributes as plain text; code blocks stay as they are."""
    parts: list[str] = []
    at = 0
    for block in _FENCED.finditer(text):
        parts += (_escaped(text[at : block.start()]), block[0])
        at = block.end()
    return "".join((*parts, _escaped(text[at:])))


def _escaped(text: str) -> str:
    return _TAG.sub(f"<{JOINER}", text.replace("![", f"!{JOINER}["))
