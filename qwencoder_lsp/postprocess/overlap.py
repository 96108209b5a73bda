"""Finds what an answer repeats of the text around the cursor. Pure; all text has "\\n" as its only line ending.

Single characters are compared exactly; whole lines are also the same when they differ in the blanks inside, the kind of quotes or a comma or
semicolon at the end, as a model varies what it has just read. A closing bracket is no repetition when it closes a bracket that the answer itself
opened.
"""

from __future__ import annotations

PAIRS = {")": "(", "]": "[", "}": "{"}
QUOTES = "\"'`"
CLOSERS = frozenset(")]}>,;: \t\n" + QUOTES)
TELLING = 16  # a line of so many characters is hardly there twice by chance
_VARIED = str.maketrans("'`", '""', " \t")


def repeated_tail(text: str, suffix: str) -> int:
    """Where the end of `text` begins that is also the start of `suffix`; the length of `text` when there is none. The longest one counts.

    Words count as a whole. Operators alone are no repetition, nor is what ends behind a bracket that it opens: there the answer was meant to end.
    """
    for start in range(max(0, len(text) - len(suffix)), len(text)):
        tail = text[start:]
        if (
            suffix.startswith(tail)
            and not (start and _joins(text[start - 1], tail))
            and not _joins(tail[-1], suffix[len(tail) :])
            and (any(c.isalnum() for c in tail) or CLOSERS.issuperset(tail))
            and not unclosed(tail)
            and not closes(text[:start], tail)
        ):
            return start
    return len(text)


def repeated_lines(text: str, before: str, suffix: str) -> int | None:
    """Where the first line of `text` begins (at the newline in front of it) from which on it writes again the lines of `suffix`, or None.

    before: the cursor's line up to the cursor. A line counts with its indentation. Either all that follows is repeated (the last line may be
    incomplete), or two lines are, or a long one.
    """
    following = [line.rstrip() for line in suffix.split("\n")]
    following[0] = (before + following[0]).rstrip() if following[0] and not before.strip() else ""
    following = [line for line in following if line]
    if not following:
        return None
    lines = text.split("\n")
    at = 0
    for i, line in enumerate(lines):
        full = (before + line if i == 0 else line).rstrip()
        if _same(full, following[0]):
            cut = max(0, at - 1)
            run = _run([x.rstrip() for x in lines[i + 1 :] if x.strip()], following[1:])
            telling = run is None or run > 0 or len(full.strip()) >= TELLING
            if telling and not closes(text[:cut], line):
                return cut
        at += len(line) + 1
    return None


def covered_closers(text: str, rest: str) -> int:
    """How many characters of `rest`, the cursor's line behind the cursor, the answer writes itself.

    All of them, when they are only closing quotes and brackets (as editors insert them) and `text` closes the same ones, otherwise 0.
    """
    wanted = rest.rstrip()
    if not wanted or not set(wanted) <= {*PAIRS, *QUOTES, " ", "\t"}:
        return 0
    closed = _closed_outside(text, wanted.lstrip()[0])
    needed = [c for c in wanted if not c.isspace()]
    return len(wanted) if closed[: len(needed)] == needed else 0


def repeats_lines_above(text: str, prefix: str) -> bool:
    """Whether all that `text` adds are the lines just above once more. Lines of brackets alone do not count."""
    if text.lstrip(" \t").startswith("\n"):
        above, added = prefix, text
    else:
        above, _, before = prefix.rpartition("\n")
        added = before + text
    lines = [line.rstrip() for line in added.split("\n") if line.strip()]
    last = above.rstrip("\n").rsplit("\n", 4 * len(lines))
    seen = [line.rstrip() for line in last if line.strip()]
    return any(c.isalnum() for c in text) and bool(lines) and seen[-len(lines) :] == lines


def unclosed(text: str) -> list[str]:
    """The brackets that `text` opens and does not close."""
    opened: list[str] = []
    for char in text:
        if char in PAIRS.values():
            opened.append(char)
        elif opened and PAIRS.get(char) == opened[-1]:
            opened.pop()
    return opened


def closes(text: str, tail: str) -> bool:
    """Whether a closing bracket in `tail` closes one that `text` opens."""
    opened = unclosed(text)
    depth = len(opened)
    for char in tail:
        if char in PAIRS.values():
            depth += 1
        elif char in PAIRS and depth:
            depth -= 1
            if depth < len(opened):
                return True
    return False


def _same(line: str, other: str) -> bool:
    """Whether two lines, without blanks at their ends, say the same at the same indentation. Short ones must be equal."""
    if line == other:
        return True
    a, b = line.lstrip(), other.lstrip()
    if line[: len(line) - len(a)] != other[: len(other) - len(b)]:
        return False
    plain = a.translate(_VARIED).rstrip(",;")
    return len(plain) >= TELLING and plain == b.translate(_VARIED).rstrip(",;")


def _joins(left: str, right: str) -> bool:
    """Whether the cut between them is inside a word."""
    return bool(right) and (left.isalnum() or left == "_") and (right[0].isalnum() or right[0] == "_")


def _run(lines: list[str], following: list[str]) -> int | None:
    """How many of `lines` are equal to `following` from the start; None when that is all of them, the last of several perhaps incomplete."""
    for i, line in enumerate(lines):
        if i >= len(following) or not _same(line, following[i]):
            last = i == len(lines) - 1 and i < len(following) and following[i].startswith(line)
            return None if last else i
    return None


def _closed_outside(text: str, first: str) -> list[str]:
    """The quotes and brackets, in order, that `text` closes but does not open. When `first` is a quote, the text begins inside a string of it."""
    closed: list[str] = []
    opened: list[str] = []
    quote, own = (first, False) if first in QUOTES else ("", True)
    escaped = False
    for char in text:
        if escaped or char == "\\":
            escaped = not escaped
        elif quote:
            if char == quote:
                closed += [] if own else [char]
                quote, own = "", True
        elif char in QUOTES:
            quote = char
        elif char in PAIRS.values():
            opened.append(char)
        elif char in PAIRS:
            if opened and opened[-1] == PAIRS[char]:
                opened.pop()
            else:
                closed.append(char)
    return closed
