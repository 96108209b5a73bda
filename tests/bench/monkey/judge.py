"""Checks every answer against the text that its request was about, and keeps the account.

A request is stale once its document has changed. The server cannot know that before it has read the change; it surely has when it has answered a
request that was sent after the change, so a suggestion that comes later still is a fault.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.bench.monkey.mirror import offset

CANCELLED = -32800
INLINE, MENU = "textDocument/inlineCompletion", "textDocument/completion"
SPECIAL = ("<|fim", "<|endoftext", "<|file_sep", "<|repo_name", "<|im_")


@dataclass
class Asked:
    """A request under way. text, cursor: of its document when it was sent; changed: the number of the message that then changed the document."""

    number: int
    method: str
    uri: str = ""
    version: int = 0
    text: str = ""
    cursor: int = 0
    selected: tuple[int, int, str] | None = None
    cancelled: bool = False
    changed: int | None = None
    stale: bool = False
    at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Offer:
    """A suggestion that came: replace a span of `text` at `version` of the document."""

    uri: str
    version: int
    start: int
    end: int
    cursor: int
    text: str
    item: dict[str, Any]


class Judge:
    """The account of one session."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        self.faults: list[str] = []
        self.counts: Counter[str] = Counter()
        self.waiting: dict[Any, Asked] = {}
        self.offers: dict[str, Offer] = {}  # by document: the latest

    def changed(self, uri: str, number: int) -> None:
        """Message `number` changed or closed the document."""
        for asked in list(self.waiting.values()):  # the reader's thread takes from it
            if asked.uri == uri and asked.changed is None:
                asked.changed = number

    def response(self, message: dict[str, Any]) -> None:
        """A response came."""
        asked = self.waiting.pop(message["id"], None)
        if asked is None:
            self.fault("a response to nothing", str(message)[:200])
            return
        for other in list(self.waiting.values()):
            other.stale = other.stale or (other.changed is not None and other.changed < asked.number)
        if "error" in message:
            code = message["error"]["code"]
            self.counts[f"error {code}"] += 1
            if not (code == CANCELLED and asked.cancelled):
                self.fault(f"{asked.method} failed", str(message["error"])[:300])
        elif asked.method in (INLINE, MENU):
            self._completion(asked, message["result"])
        else:
            self.counts[asked.method] += 1

    def fault(self, what: str, detail: str) -> None:
        """Note what must not happen."""
        self.faults.append(f"{what}: {detail}")

    def _completion(self, asked: Asked, result: Any) -> None:
        items = [] if result is None else result["items"]
        self.counts[f"{asked.method}: {'nothing' if not items else 'a suggestion'}"] += 1
        if items and asked.stale:
            self.fault("a suggestion for a stale version", f"{asked.method} at version {asked.version}: {items}")
        for item in items:
            edit = item.get("textEdit") or {"range": item["range"], "newText": item["insertText"]}
            start, end = (offset(asked.text, edit["range"][name], self.encoding) for name in ("start", "end"))
            for problem in problems(asked, start, end, edit["newText"]):
                around = asked.text[max(0, asked.cursor - 40) : asked.cursor] + "<|>" + asked.text[asked.cursor : asked.cursor + 40]
                self.fault(problem, f"{asked.method} {around!r}, {edit}, selected {asked.selected}")
            if asked.method == INLINE and start is not None and end is not None and not asked.selected and asked.changed is None:
                self.offers[asked.uri] = Offer(asked.uri, asked.version, start, end, asked.cursor, edit["newText"], item)


def problems(asked: Asked, start: int | None, end: int | None, new: str) -> Iterator[str]:
    """What is wrong with the replacement of a range by `new`."""
    if start is None or end is None:
        yield "a range that is not in the document"
        return
    typed = asked.text[start : asked.cursor]
    if asked.selected:
        first, last, chosen = asked.selected
        typed = asked.text[start:first] + chosen if start <= first and last == asked.cursor else typed
    if not start <= asked.cursor <= end:
        yield "a range without the cursor"
    if any(end_ in asked.text[start:end] for end_ in "\r\n"):
        yield "a range over several lines"
    if not new.startswith(typed):
        yield "a text that does not begin with what is typed"
    if asked.text[:start] + new + asked.text[end:] == asked.text:
        yield "a suggestion that changes nothing"
    if any(mark in new and mark not in asked.text for mark in SPECIAL) or any("\ud800" <= c <= "\udfff" for c in new):
        yield "a text that no file may hold"
    if asked.method == INLINE and "\r" in new:
        yield "a carriage return in ghost text"
