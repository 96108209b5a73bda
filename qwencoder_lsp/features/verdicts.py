"""What the user thought of suggestions: one that was rejected is not offered again where it stood, until the text of its line changes.

A rejection is what the client says, or an acceptance that was undone at once. To type something else is none: it says nothing of the place. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cachetools import LRUCache

from qwencoder_lsp.core.results import Suggestion
from qwencoder_lsp.core.text import Edit, Snapshot, Span

DOCUMENTS, PER_DOCUMENT = 64, 32


@dataclass(frozen=True, slots=True)
class _Rejected:
    """A text that is not wanted at `offset`. line: the span of the cursor's line, with its text before and behind the cursor."""

    offset: int
    line: Span
    around: str
    text: str


@dataclass(frozen=True, slots=True)
class _Accepted:
    before: str
    after: str
    offset: int
    text: str


class Verdicts:
    """The rejections that still count, and the latest acceptance of each document."""

    def __init__(self) -> None:
        self._rejected: LRUCache[str, tuple[_Rejected, ...]] = LRUCache(DOCUMENTS)
        self._accepted: LRUCache[str, _Accepted] = LRUCache(DOCUMENTS)

    def reject(self, snapshot: Snapshot, offset: int, text: str) -> None:
        """`text` was shown at `offset` and is not wanted."""
        line = _line(snapshot.text, offset)
        found = _Rejected(offset, line, line.of(snapshot.text), text)
        older = self._rejected.get(snapshot.uri, ())
        self._rejected[snapshot.uri] = (*[other for other in older if other != found], found)[-PER_DOCUMENT:]

    def accept(self, snapshot: Snapshot, offset: int, suggestion: Suggestion, now: str) -> None:
        """`suggestion`, made for the snapshot, was taken. now: the document's text; where the editor made another one of it, undoing is not seen."""
        span = suggestion.span
        after = snapshot.text[: span.start] + suggestion.text + snapshot.text[span.end :]
        if after == now:
            self._accepted[snapshot.uri] = _Accepted(snapshot.text, after, offset, suggestion.text)

    def look(self, snapshot: Snapshot) -> bool:
        """The document is seen as it is now. Whether the latest acceptance was undone, and nothing else was done since."""
        taken = self._accepted.get(snapshot.uri)
        if taken is None or snapshot.text == taken.after:
            return False
        del self._accepted[snapshot.uri]
        if undone := snapshot.text == taken.before:
            self.reject(snapshot, taken.offset, taken.text)
        return undone

    def forbid(self, snapshot: Snapshot, offset: int, text: str) -> bool:
        """Whether `text` was rejected at `offset`."""
        around = _line(snapshot.text, offset).of(snapshot.text)
        return any((r.offset, r.around, r.text) == (offset, around, text) for r in self._rejected.get(snapshot.uri, ()))

    def edited(self, uri: str, edit: Edit) -> None:
        """The document changed; spans refer to the text before."""
        if (known := self._rejected.get(uri)) and (edit.text or edit.span.start < edit.span.end):
            self._rejected[uri] = tuple(moved for each in known if (moved := _moved(each, edit)))

    def forget(self, uri: str) -> None:
        """The document was closed."""
        self._rejected.pop(uri, None)
        self._accepted.pop(uri, None)


def _moved(rejected: _Rejected, edit: Edit) -> _Rejected | None:
    """Where it stands after `edit`; None when that touched its line."""
    line = rejected.line
    if edit.span.start > line.end:
        return rejected
    if edit.span.end >= line.start:
        return None
    shift = len(edit.text) - (edit.span.end - edit.span.start)
    return replace(rejected, offset=rejected.offset + shift, line=Span(line.start + shift, line.end + shift))


def _line(text: str, offset: int) -> Span:
    end = text.find("\n", offset)
    return Span(text.rfind("\n", 0, offset) + 1, len(text) if end < 0 else end)
