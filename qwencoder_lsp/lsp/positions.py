"""Columns in the three LSP position encodings, and the code points that the rest of the package counts in.

A column counts code units of the negotiated encoding from the start of its line: bytes in UTF-8, 16-bit units in UTF-16, code points in UTF-32
(https://microsoft.github.io/language-server-protocol/specifications/lsp/3.18/specification/#position).
"""

from __future__ import annotations

import re

UTF8, UTF16, UTF32 = "utf-8", "utf-16", "utf-32"

_SURROGATES = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    """`text` with lone surrogates replaced by U+FFFD. JSON can carry them, UTF-8 cannot; all columns stay as they were."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _SURROGATES.sub("\ufffd", text)
    return text


def units(text: str, encoding: str) -> int:
    """How many code units `text` has in `encoding`."""
    if encoding == UTF32 or text.isascii():
        return len(text)
    if encoding == UTF8:
        return len(text.encode())
    return len(text.encode("utf-16-le")) // 2


def code_points(line: str, column: int, encoding: str) -> int:
    """How many code points of `line` lie before `column`.

    A column inside a character counts as the one before it; a column past the end as the end.
    """
    head = line[: max(column, 0)]  # no encoding has fewer units than code points
    if encoding == UTF32 or head.isascii():
        return len(head)
    if encoding == UTF8:
        raw = head.encode()
        cut = min(column, len(raw))
        while cut < len(raw) and raw[cut] & 0xC0 == 0x80:  # a continuation byte
            cut -= 1
        return len(raw[:cut].decode())
    raw = head.encode("utf-16-le")
    cut = min(column * 2, len(raw))
    if cut < len(raw) and raw[cut + 1] & 0xFC == 0xDC:  # the second half of a surrogate pair
        cut -= 2
    return len(raw[:cut].decode("utf-16-le"))
