"""What is kept of a completion so that it can be looked into and made again: the text around the cursor, the request, the answer, the outcome.

Records hold source text. They stay in the memory of the language server, unless the user has them saved (log.save_traces).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter

from qwencoder_lsp.context.gather import PER_TOKEN, PREFIX, SUFFIX
from qwencoder_lsp.context.split import MOST_TYPED, Split
from qwencoder_lsp.core.report import Step
from qwencoder_lsp.core.results import Completion
from qwencoder_lsp.core.text import Snapshot
from qwencoder_lsp.features.ask import Answer
from qwencoder_lsp.features.policy import MOST_PARSED
from qwencoder_lsp.gateway.protocol import CompleteRequest
from qwencoder_lsp.settings import Completion as Limits
from qwencoder_lsp.settings import Settings

AROUND = 10_002  # code points; the least that policies look at on each side (policy.MAX_LINE)


@dataclass(frozen=True, slots=True)
class Window:
    """The text around a cursor, as far as any stage looks. start: the offset at which it begins in a document of `length` code points, whose
    lines end with `newline`; offset: of the cursor in the document."""

    text: str
    start: int
    length: int
    offset: int
    newline: str
    uri: str
    language: str
    path: str | None
    root: str | None

    @classmethod
    def around(cls, snapshot: Snapshot, offset: int, limits: Limits) -> Window:
        """The window of a cursor at `offset`: the whole text where that is parsed."""
        place = (snapshot.uri, snapshot.language, snapshot.path, snapshot.root)
        if len(snapshot.text) <= MOST_PARSED:
            return cls(snapshot.text, 0, len(snapshot.text), offset, snapshot.newline, *place)
        before = max(PREFIX, AROUND, (limits.max_prefix or 0) * PER_TOKEN) + MOST_TYPED + 2
        after = max(SUFFIX, AROUND, (limits.max_suffix or 0) * PER_TOKEN) + 2
        start = offset - before if offset - before > 1 else 0  # what is left out has room for a line end, see `snapshot`
        text = snapshot.text[start : offset + after]
        return cls(text, start, len(snapshot.text), offset, snapshot.newline, *place)

    def fits(self, snapshot: Snapshot, offset: int) -> bool:
        """Whether that is the same cursor in the same text."""
        return (offset, len(snapshot.text)) == (self.offset, self.length) and snapshot.text.startswith(self.text, self.start)

    def snapshot(self) -> Snapshot:
        """A document of the same length that has the same text in the window, blanks elsewhere, and line ends of the same kind."""
        head = self.newline + " " * (self.start - len(self.newline)) if self.start else ""
        tail = " " * (self.length - self.start - len(self.text))
        return Snapshot(self.uri, head + self.text + tail, self.language, self.path, self.root)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to the model and what the gather stage made it from. split: the cut of an earlier keystroke that was kept."""

    window: Window
    split: Split | None
    request: CompleteRequest


@dataclass(frozen=True, slots=True)
class Made:
    """A request and its answer."""

    asked: Asked
    answer: Answer


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the finish stage came to: its filters, the text, how many characters behind the cursor it covers, and the reason."""

    steps: tuple[Step, ...]
    text: str
    overwrite: int
    reason: str

    @classmethod
    def of(cls, completion: Completion) -> Outcome:
        """That of a completion."""
        shown = completion.suggestion
        return cls(completion.steps, shown.text if shown else "", shown.span.end - shown.span.start if shown else 0, completion.reason.value)


@dataclass(frozen=True, slots=True)
class Record:
    """A completion that an answer of the model led to. source: as in core.results; completion: the settings; explicit, accepted: as in features.show;
    answer: what stood behind the text that was typed meanwhile."""

    source: str
    made: Made
    window: Window
    completion: Limits
    explicit: bool
    accepted: bool
    answer: Answer
    outcome: Outcome

    @property
    def settings(self) -> Settings:
        """The settings that a completion depends on, as they were."""
        return Settings(completion=self.completion)

    @property
    def size(self) -> int:
        """Code points of text that it keeps alive."""
        return len(self.window.text) + (len(self.made.asked.window.text) if self.made.asked.window is not self.window else 0)

    def as_json(self) -> dict[str, Any]:
        """The record as a JSON object."""
        fields: dict[str, Any] = _adapter().dump_python(self, mode="json")
        return fields

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Record:
        """The record of such an object. Raises ValueError when it is none."""
        return _adapter().validate_python(fields)


def recorded(
    completion: Completion,
    source: str,
    made: Made | None,
    snapshot: Snapshot,
    offset: int,
    answer: Answer,
    settings: Settings,
    *,
    explicit: bool = False,
    accepted: bool = False,
) -> Completion:
    """`completion` with its record. The rest are the fields of that."""
    if made is None:
        return replace(completion, source=source)
    window = made.asked.window if made.asked.window.fits(snapshot, offset) else Window.around(snapshot, offset, settings.completion)
    record = Record(source, made, window, settings.completion, explicit, accepted, answer, Outcome.of(completion))
    return replace(completion, source=source, shares=made.answer.start.shares if made.answer.start else {}, record=record)


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Record]:
    return TypeAdapter(Record)
