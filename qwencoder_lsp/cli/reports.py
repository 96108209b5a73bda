"""Review findings as text, JSON, SARIF and GitHub annotations. In: findings with the files that they are in. Out: text. Pure."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from qwencoder_lsp import __version__
from qwencoder_lsp.core.results import CUT_OFF, TOO_LONG, Finding, Severity

SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_ANNOTATIONS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


@dataclass(frozen=True, slots=True)
class Reviewed:
    """One file: its path as it is to be shown, its text, what was found and dropped in it, and in how many parts it was read."""

    path: str
    text: str
    findings: tuple[Finding, ...]
    dropped: dict[str, int]
    parts: int = 1


@dataclass(frozen=True, slots=True)
class Place:
    """Lines and columns of a finding, from 1, in code points; the end column is the one behind it."""

    line: int
    column: int
    end_line: int
    end_column: int


def place(file: Reviewed, finding: Finding) -> Place:
    """Where a finding is."""
    starts = [0]
    for line in file.text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)

    def at(offset: int) -> tuple[int, int]:
        row = bisect_right(starts, offset) - 1
        return row + 1, offset - starts[row] + 1

    return Place(*at(finding.span.start), *at(finding.span.end))


def as_text(files: Sequence[Reviewed]) -> str:
    """One line per finding, as compilers write them, and the suggested change below."""
    lines = []
    for file, finding in _all(files):
        where = place(file, finding)
        lines.append(f"{file.path}:{where.line}:{where.column}: {finding.severity.value}: {finding.message} [{finding.category}]")
        if finding.replacement is not None:
            lines += [f"    - {line}" for line in finding.quote.splitlines()]
            lines += [f"    + {line}" for line in finding.replacement.splitlines()]
    count = sum(len(file.findings) for file in files)
    found = f"{count or 'no'} finding{'' if count == 1 else 's'} in {len(files)} file{'' if len(files) == 1 else 's'}"
    return "\n".join([*lines, found + _read(files)])


def _read(files: Sequence[Reviewed]) -> str:
    """In how many parts files that are longer than one answer were read, and how many of them were not judged to their end."""
    parts = sum(file.parts for file in files)
    missed = sum(file.dropped.get(CUT_OFF, 0) + file.dropped.get(TOO_LONG, 0) for file in files)
    read = f", read in {parts} parts" if parts > len(files) else ""
    return f"{read}; {missed} not judged to the end (raise review.max_tokens)" if missed else read


def as_json(files: Sequence[Reviewed]) -> str:
    """Everything, for programs."""
    found = []
    for file, finding in _all(files):
        where = place(file, finding)
        found.append(
            {
                "path": file.path,
                "line": where.line,
                "column": where.column,
                "end_line": where.end_line,
                "end_column": where.end_column,
                "severity": finding.severity.value,
                "category": finding.category,
                "message": finding.message,
                "quote": finding.quote,
                "replacement": finding.replacement,
                "id": finding.id,
            }
        )
    dropped: Counter[str] = Counter()
    for file in files:
        dropped.update(file.dropped)
    return json.dumps({"files": len(files), "parts": sum(file.parts for file in files), "findings": found, "dropped": dict(dropped)}, indent=2)


def as_github(files: Sequence[Reviewed]) -> str:
    """Workflow commands that GitHub shows at the lines of a pull request
    (https://docs.github.com/actions/reference/workflow-commands-for-github-actions)."""
    lines = []
    for file, finding in _all(files):
        where = place(file, finding)
        title = _property(f"Qwen-Coder: {finding.category}")
        at = f"file={_property(file.path)},line={where.line},endLine={where.end_line},col={where.column},endColumn={where.end_column},title={title}"
        lines.append(f"::{_ANNOTATIONS[finding.severity]} {at}::{_data(finding.message)}")
    return "\n".join(lines)


def as_sarif(files: Sequence[Reviewed]) -> str:
    """A SARIF 2.1.0 log with one run."""
    categories = sorted({finding.category for _, finding in _all(files)})
    rules = [{"id": name, "shortDescription": {"text": f"A suspected problem: {name}."}} for name in categories]
    driver = {"name": "qwencoder-lsp", "version": __version__, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(file, finding, categories) for file, finding in _all(files)],
    }
    return json.dumps({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


FORMATS: dict[str, Callable[[Sequence[Reviewed]], str]] = {"text": as_text, "json": as_json, "sarif": as_sarif, "github": as_github}
"""By the name on the command line."""


def _result(file: Reviewed, finding: Finding, categories: list[str]) -> dict[str, Any]:
    where = place(file, finding)
    region = {"startLine": where.line, "startColumn": where.column, "endLine": where.end_line, "endColumn": where.end_column}
    artifact = {"uri": _uri(file.path)}
    result: dict[str, Any] = {
        "ruleId": finding.category,
        "ruleIndex": categories.index(finding.category),
        "level": _LEVELS[finding.severity],
        "message": {"text": finding.message},
        "locations": [{"physicalLocation": {"artifactLocation": artifact, "region": region}}],
        "partialFingerprints": {"qwencoder/v1": finding.id},
    }
    if finding.replacement is not None:
        replacement = {"deletedRegion": region, "insertedContent": {"text": finding.replacement}}
        result["fixes"] = [
            {"description": {"text": finding.message}, "artifactChanges": [{"artifactLocation": artifact, "replacements": [replacement]}]}
        ]
    return result


def _all(files: Sequence[Reviewed]) -> list[tuple[Reviewed, Finding]]:
    return [(file, finding) for file in files for finding in file.findings]


def _uri(path: str) -> str:
    return ("file://" if path.startswith("/") else "") + quote(path)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
