"""Which files git leaves out, by the rules of its `.gitignore` files, and of our `.qwencoderignore` which has the same syntax and the last word.

The lines of ignore files go in, a verdict on a path comes out. As gitignore(5) has it, but for one thing that only matters to who tracks an ignored
file: nothing is asked about what is tracked. git itself is not run: a workspace's configuration can make it run programs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

FILES = (".gitignore", ".qwencoderignore")  # the later one decides
# What nobody wants in an index, also where no rule says so: other people's code and what tools leave behind.
ALWAYS = """
.git/\n.hg/\n.svn/\n.jj/\nnode_modules/\n__pycache__/\n.venv/\n.tox/\n.nox/\n.mypy_cache/\n.ruff_cache/\n.pytest_cache/\n.hypothesis/\n.gradle/\n.idea/
.vs/\n.next/\n.nuxt/\n.terraform/\n.eggs/\n*.egg-info/\nbower_components/\nDerivedData/\n.DS_Store
"""
_LITERAL = re.compile(r"[^*?\[\\]+")


class Rules:
    """The rules of one directory, `base`: a path relative to the workspace with forward slashes, "" for the workspace folder itself."""

    def __init__(self, base: str, lines: Iterable[str]) -> None:
        self._base = base
        self._names: dict[str, tuple[int, bool, bool]] = {}  # name -> number, negated, directories only
        self._suffixes: dict[str, tuple[int, bool, bool]] = {}  # the same for "*.pyc"
        self._patterns: list[tuple[int, bool, bool, re.Pattern[str]]] = []
        for number, line in enumerate(lines):
            self._add(number, line)
        self._patterns.reverse()

    def verdict(self, path: str, name: str, *, directory: bool) -> bool | None:
        """Whether the path, relative to the workspace, is left out; None when no rule here speaks of it."""
        best, out = -1, None
        for number, negated, only in self._simple(name):
            if number > best and (directory or not only):
                best, out = number, not negated
        relative = path[len(self._base) + 1 :] if self._base else path
        for number, negated, only, pattern in self._patterns:
            if number < best:
                break
            if (directory or not only) and pattern.fullmatch(relative):
                return not negated
        return out

    def _simple(self, name: str) -> Iterable[tuple[int, bool, bool]]:
        if name in self._names:
            yield self._names[name]
        if self._suffixes:
            for at, c in enumerate(name):
                if c == "." and (found := self._suffixes.get(name[at:])):
                    yield found

    def _add(self, number: int, line: str) -> None:
        pattern = _stripped(line)
        if not pattern or pattern.startswith("#"):
            return
        negated = pattern.startswith("!")
        pattern = pattern[1:] if negated else pattern
        only = pattern.endswith("/")
        pattern = pattern[:-1] if only else pattern
        anchored = "/" in pattern
        pattern = pattern.removeprefix("/")
        if not pattern:
            return
        rule = (number, negated, only)
        if not anchored and _LITERAL.fullmatch(pattern) and pattern not in self._names:
            self._names[pattern] = rule
        elif not anchored and pattern.startswith("*.") and _LITERAL.fullmatch(pattern[1:]) and pattern[1:] not in self._suffixes:
            self._suffixes[pattern[1:]] = rule
        elif (compiled := _compiled(pattern, anchored=anchored)) is not None:
            self._patterns.append((*rule, compiled))


class Ignore:
    """The rules in force in one directory: those of the directories above it, the nearest first."""

    def __init__(self, rules: tuple[Rules, ...]) -> None:
        self._rules = rules

    @classmethod
    def of(cls, root: Path) -> Ignore:
        """The rules that hold in a workspace folder because of what lies above and beside it."""
        found: list[Rules] = [Rules("", ALWAYS.splitlines())]
        found.append(Rules("", _lines(Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "git" / "ignore")))
        top = next((d for d in (root, *root.parents) if (d / ".git").exists()), None)
        if top is not None:
            found.append(_Above(root.relative_to(top).as_posix(), _lines(top / ".git" / "info" / "exclude")))
            between = [d for d in root.parents if d == top or top in d.parents]
            for directory in reversed(between):
                for name in FILES:
                    found.append(_Above(root.relative_to(directory).as_posix(), _lines(directory / name)))
        return cls(tuple(reversed(found)))

    def within(self, directory: Path, path: str, present: Iterable[str]) -> Ignore:
        """The rules in `directory`, whose path in the workspace is `path`. present: which of FILES are in it."""
        own = tuple(Rules(path, _lines(directory / name)) for name in reversed(FILES) if name in present)
        return Ignore(own + self._rules) if own else self

    def leaves_out(self, path: str, name: str, *, directory: bool) -> bool:
        """Whether the entry `name` at `path` is left out."""
        for rules in self._rules:
            verdict = rules.verdict(path, name, directory=directory)
            if verdict is not None:
                return verdict
        return False


class _Above(Rules):
    """The rules of a directory above the workspace folder, which is at `below` in it."""

    def __init__(self, below: str, lines: Iterable[str]) -> None:
        super().__init__("", lines)
        self._below = "" if below == "." else below + "/"

    def verdict(self, path: str, name: str, *, directory: bool) -> bool | None:
        return super().verdict(self._below + path, name, directory=directory)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8", "replace").removeprefix("\ufeff").splitlines()
    except OSError:  # none there, or not for us: then it says nothing
        return []


def _stripped(line: str) -> str:
    """The line without its trailing spaces, but for one that a backslash keeps."""
    bare = line.rstrip(" \t\r\n")
    return bare + " " if bare.endswith("\\") and not bare.endswith("\\\\") and bare != line.rstrip("\r\n") else bare


def _compiled(pattern: str, *, anchored: bool) -> re.Pattern[str] | None:
    """The pattern as a regular expression over the path; None where it is not one (an open bracket)."""
    out = [] if anchored else ["(?:.*/)?"]
    at = 0
    while at < len(pattern):
        if pattern.startswith("**/", at) and (at == 0 or pattern[at - 1] == "/"):
            out.append("(?:.*/)?")
            at += 3
        elif pattern.startswith("/**", at) and at + 3 == len(pattern):
            out.append("/.+")
            at += 3
        elif pattern[at] == "*":
            out.append("[^/]*")
            at += 1
        elif pattern[at] == "?":
            out.append("[^/]")
            at += 1
        elif pattern[at] == "[":
            end = pattern.find("]", at + (3 if pattern[at + 1 : at + 2] in ("!", "^") else 2))
            if end < 0:
                return None
            inner = pattern[at + 1 : end]
            negated = inner[:1] in ("!", "^")
            inner = inner[1:] if negated else inner
            out.append(f"(?!/)[{'^' if negated else ''}{_class(inner)}]")
            at = end + 1
        else:
            if pattern[at] == "\\" and at + 1 < len(pattern):
                at += 1
            out.append(re.escape(pattern[at]))
            at += 1
    try:
        return re.compile("".join(out), re.DOTALL)
    except re.error:  # a range such as [z-a]
        return None


def _class(inner: str) -> str:
    """What stands in brackets, with what Python would understand in another way escaped."""
    return re.sub(r"[\[\]^&~|]|\\(?!.)", lambda m: "\\" + m[0], inner)
