"""What a code action will fix, as the JSON that travels to the editor and back in the action's `data` or its command's arguments."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from lsprotocol import types

from qwencoder_lsp.core.text import Span
from qwencoder_lsp.errors import RequestError


@dataclass(frozen=True, slots=True)
class FindingTarget:
    """A finding of ours; it is followed through edits by its id."""

    uri: str
    id: str

    def as_json(self) -> dict[str, Any]:
        """The target as a JSON object."""
        return {"finding": asdict(self)}


@dataclass(frozen=True, slots=True)
class DiagnosticTarget:
    """A diagnostic of another server. `span` and `revision` are the document's at the time of listing."""

    uri: str
    revision: int
    span: Span
    message: str
    source: str
    code: str

    def as_json(self) -> dict[str, Any]:
        """The target as a JSON object."""
        return {"diagnostic": asdict(self)}


Target = FindingTarget | DiagnosticTarget


def parse(data: Any) -> Target:
    """The target in an action's data. Raises RequestError when it is none of ours."""
    try:
        if "finding" in data:
            return FindingTarget(**data["finding"])
        fields = data["diagnostic"]
        return DiagnosticTarget(**{**fields, "span": Span(**fields["span"])})
    except (TypeError, KeyError) as error:
        raise RequestError("This code action was not made by qwencoder-lsp.", "Open the list of actions again.") from error


def range_as_json(range_: types.Range) -> dict[str, Any]:
    """A range as a command's argument."""
    return {
        "start": {"line": range_.start.line, "character": range_.start.character},
        "end": {"line": range_.end.line, "character": range_.end.character},
    }
