"""The gather stage: collects what a completion prompt is made of.

A snapshot and the cursor go in, PromptParts come out. Text travels with "\\n" as its only line ending, whatever the document uses. The parts are
bounded in characters only so that a keystroke does not carry a large document; the token budgets are cut later, where the tokenizer is.
The start of the prefix is anchored: it moves in big steps from line start to line start, so that it stays the same while someone types.
Secrets become placeholders. Nothing here grows with the size of the document, except copying the part that is sent.
"""

from __future__ import annotations

from qwencoder_lsp.context.repository import locate
from qwencoder_lsp.context.secrets import redact, redact_kept
from qwencoder_lsp.context.split import Split, Splits, line_start
from qwencoder_lsp.core.prompt import PromptParts, Snippet
from qwencoder_lsp.core.text import Snapshot
from qwencoder_lsp.settings import Settings

PREFIX, SUFFIX = 32_768, 8_192  # characters when no token limit is set: about 8000 and 2000 tokens, what a fast machine reads
PER_TOKEN = 6  # more characters than a token of source code has on average (3 to 4), so that the token limit decides


def gather(snapshot: Snapshot, offset: int, settings: Settings, splits: Splits | None = None, snippets: tuple[Snippet, ...] = ()) -> PromptParts:
    """The parts around `offset` (0 to the length of the text). splits: where those of earlier keystrokes are kept. snippets: of other places."""
    text = snapshot.text
    split = splits.get(snapshot.uri, text, offset) if splits else None
    if split is None:
        split = _split(text, offset, settings)
        if splits:
            splits.put(snapshot.uri, split)
    place = locate(snapshot.path, snapshot.root)
    return PromptParts(
        prefix=redact_kept(split.prefix).replace("\r\n", "\n"),
        suffix=redact_kept(split.suffix).replace("\r\n", "\n"),
        path=place.path,
        repo=place.repo,
        language=snapshot.language,
        snippets=snippets,
        prefix_omitted=split.start,
        suffix_omitted=max(0, len(text) - offset - len(split.suffix)),
        typed=redact(text[split.cut : offset]).replace("\r\n", "\n"),
    )


def around(snapshot: Snapshot, offset: int) -> tuple[str, str]:
    """The text on both sides of `offset`, as much of it as is ever sent, with "\\n" as its only line ending."""
    start, end = prefix_start(snapshot.text, offset, PREFIX), suffix_end(snapshot.text, offset, SUFFIX)
    return snapshot.text[start:offset].replace("\r\n", "\n"), snapshot.text[offset:end].replace("\r\n", "\n")


def _split(text: str, offset: int, settings: Settings) -> Split:
    limits = settings.completion
    cut = line_start(text, offset)
    start = prefix_start(text, cut, PREFIX if limits.max_prefix is None else limits.max_prefix * PER_TOKEN)
    end = suffix_end(text, offset, SUFFIX if limits.max_suffix is None else limits.max_suffix * PER_TOKEN)
    return Split(start, text[start:cut], text[offset:end], whole=end == len(text))


def prefix_start(text: str, offset: int, limit: int) -> int:
    """Where the prefix begins: at most `limit` characters before `offset`, and at least a quarter of it where there are so many.

    ceil((offset - limit) / S) * S characters are dropped, with S = limit / 2, and the rest of the line there when it is shorter than S / 2.
    """
    if offset <= limit:
        return 0
    step = max(1, limit // 2)
    drop = -(-(offset - limit) // step) * step
    newline = text.find("\n", drop - 1, min(offset, drop + step // 2))
    return drop if newline < 0 else newline + 1


def suffix_end(text: str, offset: int, limit: int) -> int:
    """Where the suffix ends: at most `limit` characters behind `offset`, behind the last newline there when one is in the second half."""
    if len(text) - offset <= limit:
        return len(text)
    newline = text.rfind("\n", offset + limit // 2, offset + limit)
    return offset + limit if newline < 0 else newline + 1
