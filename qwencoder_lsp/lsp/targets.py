"""What a code action will do, as the JSON that travels to the editor and back in the action's `data` or its command's arguments.

`span` and `revision` are the document's at the time of listing; a document of another revision makes the target stale.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from lsprotocol import types

from qwencoder_lsp.core.text import Span
from qwencoder_lsp.errors import RequestError


@dataclass(frozen=True, slots=True)
class FindingTarget:
    """Fix a finding of ours; it is followed through edits by its id."""

    uri: str
    id: str


@dataclass(frozen=True, slots=True)
class DiagnosticTarget:
    """Fix a diagnostic of another server."""

    uri: str
    revision: int
    span: Span
    message: str
    source: str
    code: str


@dataclass(frozen=True, slots=True)
class AllTarget:
    """Fix all findings of ours in the document, and these diagnostics."""

    uri: str
    revision: int
    diagnostics: tuple[DiagnosticTarget, ...] = ()


@dataclass(frozen=True, slots=True)
class RefactorTarget:
    """Carry out a refactoring of features.refactor, "document" or "tests" at a span."""

    uri: str
    revision: int
    span: Span
    name: str


@dataclass(frozen=True, slots=True)
class EditTarget:
    """Carry out the user's own instruction at a span."""

    uri: str
    revision: int
    span: Span
    instruction: str


Target = FindingTarget | DiagnosticTarget | AllTarget | RefactorTarget | EditTarget

_KINDS: dict[str, type[Any]] = {
    "finding": FindingTarget,
    "diagnostic": DiagnosticTarget,
    "all": AllTarget,
    "refactor": RefactorTarget,
    "edit": EditTarget,
}
_NAMES = {cls: name for name, cls in _KINDS.items()}


def as_json(target: Target) -> dict[str, Any]:
    """The target as a JSON object."""
    return {_NAMES[type(target)]: asdict(target)}


def parse(data: Any) -> Target:
    """The target in an action's data. Raises RequestError when it is none of ours."""
    try:
        ((name, fields),) = data.items()
        target: Target = _parsed(_KINDS[name], fields)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise RequestError("This code action was not made by qwencoder-lsp.", "Open the list of actions again.") from error
    return target


def _parsed(cls: type[Any], fields: dict[str, Any]) -> Any:
    values = dict(fields)
    if "span" in values:
        values["span"] = Span(**values["span"])
    if cls is AllTarget:
        values["diagnostics"] = tuple(_parsed(DiagnosticTarget, one) for one in values["diagnostics"])
    return cls(**values)


def range_as_json(range_: types.Range) -> dict[str, Any]:
    """A range as a command's argument."""
    return {
        "start": {"line": range_.start.line, "character": range_.start.character},
        "end": {"line": range_.end.line, "character": range_.end.character},
    }
