"""Where a completion is offered, and how long it may become.

A snapshot, the cursor and the settings go in; a reason to stay silent, or stop rules, come out. Pure, and cheap enough for every keystroke.
"""

from __future__ import annotations

import re
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from qwencoder_lsp.core.prompt import Stops
from qwencoder_lsp.core.report import Reason
from qwencoder_lsp.core.text import Snapshot
from qwencoder_lsp.engine.stops import TAB
from qwencoder_lsp.settings import Settings

AHEAD_LINES = 2
MAX_DOCUMENT = 2 << 20  # code points; larger files are data or generated
MAX_LINE = 10_000  # code points; longer lines are minified or data
# How long a suggestion may take once it has a whole line, since its first token. Someone who types reads one line; who asks waits for more.
AUTOMATIC_MS, EXPLICIT_MS = 2000, 5000
# The mean log-probability of an answer's tokens, below which it is not shown; between code on both sides of the cursor it must be higher.
LEAST_CONFIDENCE = {"quiet": -0.4, "balanced": -1.0, "eager": -10.0}
BETWEEN = 0.3
# What editors insert by themselves (closing brackets, quotes, tags) and punctuation behind it.
_CLOSERS = re.compile(r"(?:[\s)\]}>\"'`.,:;{]|</[\w:.-]*>)*")
_WORD = re.compile(r"\w\w")
_NEXT_LINE = re.compile(r"\n([ \t]*)(?=\S)")


def silence(snapshot: Snapshot, offset: int, settings: Settings, *, explicit: bool) -> Reason | None:
    """Why nothing is offered at `offset`, or None."""
    wanted, text = settings.completion, snapshot.text
    if not wanted.enabled or not (wanted.automatic or explicit):
        return Reason.DISABLED
    if snapshot.language in wanted.languages_off:
        return Reason.LANGUAGE_OFF
    if wanted.paths_off and snapshot.path and _matches(snapshot.path, snapshot.root, wanted.paths_off):
        return Reason.PATH_OFF
    if len(text) > MAX_DOCUMENT:
        return Reason.TOO_LARGE
    if "\0" in text:
        return Reason.BINARY
    before, rest = line_around(text, offset)
    if len(before) + len(rest) > MAX_LINE:
        return Reason.LONG_LINE
    if not explicit and _WORD.fullmatch(before[-1:] + rest[:1]):
        return Reason.MID_WORD
    return None


def stop_rules(snapshot: Snapshot, offset: int, settings: Settings, *, explicit: bool) -> Stops:
    """One line when the cursor is between text, otherwise up to the end of the block that the cursor's line is in.

    In front of a line's first text several lines may be wanted: with one line there, 2 of 34 good answers of the 1.5B to single-line holes were lost.
    Who asks may also get the code of an outer block, down to the indentation of the line that follows.
    """
    before, rest = line_around(snapshot.text, offset)
    after_newline_ms = EXPLICIT_MS if explicit else AUTOMATIC_MS
    if before.strip() and rest.strip():
        return Stops(max_lines=1, after_newline_ms=after_newline_ms)
    indent = _indent(before)
    if explicit and (following := _NEXT_LINE.search(snapshot.text, offset)):
        indent = min(indent, _indent(following[1]))
    return Stops(max_lines=settings.completion.max_lines, indent=indent, after_newline_ms=after_newline_ms)


def ahead_rules(snapshot: Snapshot, offset: int, settings: Settings) -> Stops:
    """The same for what is prepared before anybody has come so far."""
    rules = stop_rules(snapshot, offset, settings, explicit=False)
    return replace(rules, max_lines=min(rules.max_lines or AHEAD_LINES, AHEAD_LINES))


def unsure(snapshot: Snapshot, offset: int, settings: Settings, confidence: float | None) -> bool:
    """Whether an answer with that mean log-probability is better not shown to somebody who did not ask for it."""
    if confidence is None:
        return False
    before, rest = line_around(snapshot.text, offset)
    between = bool(before.strip()) and not _CLOSERS.fullmatch(rest)
    return confidence < LEAST_CONFIDENCE[settings.completion.eagerness] + (BETWEEN if between else 0.0)


def line_around(text: str, offset: int) -> tuple[str, str]:
    """The cursor's line before and behind the cursor, each cut at MAX_LINE + 1 code points, without the line ending."""
    start = text.rfind("\n", max(0, offset - MAX_LINE - 1), offset) + 1 or max(0, offset - MAX_LINE - 1)
    end = text.find("\n", offset, offset + MAX_LINE + 1)
    rest = text[offset : offset + MAX_LINE + 1 if end < 0 else end]
    return text[start:offset], rest.removesuffix("\r")


def _indent(line: str) -> int:
    return len(line[: len(line) - len(line.lstrip(" \t"))].expandtabs(TAB))


def _matches(path: str, root: str | None, patterns: tuple[str, ...]) -> bool:
    """A pattern without "/" names files and directories anywhere; the others are relative to the workspace folder. "*" also covers "/"."""
    file = Path(path)
    relative = file.relative_to(root) if root and file.is_relative_to(root) else file
    whole = relative.as_posix()
    return any(
        fnmatchcase(whole, pattern)
        or fnmatchcase("/" + whole, pattern)
        or ("/" not in pattern and any(fnmatchcase(p, pattern) for p in relative.parts))
        for pattern in patterns
    )
