"""From a rewritten region to minimal edits. Knows lines, indentation and line endings; of languages only what `syntax` counts.

In: a document's text, the span of a region of whole lines, and the region's new text as a model wrote it (any line ending, any indentation).
Out: edits whose application changes nothing but what the model changed, or the reason why the new text is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

from qwencoder_lsp.core.prompt import SECRET_PLACEHOLDER
from qwencoder_lsp.core.text import Edit, Span, apply_edits
from qwencoder_lsp.postprocess import syntax

_ELISION = re.compile(
    r"(#|//|/\*|--).*(\.\.\.|…|\b(rest of|remaining|existing|previous|same as|unchanged|omitted)\b.*\b(code|file|function|method|class|lines?)\b)",
    re.IGNORECASE,
)
"""A comment that stands for code that was not written out."""
UNPARSABLE = "it does not parse"
CHANGES_NOTHING = "it changes nothing"
_ABOVE = ("@", "#", "//", "/*", "*")  # how decorators, attributes and comments begin
_ALIKE = 0.6  # difflib ratio from which two lines are taken for versions of one
_TAB = 4  # columns; only used to compare indentation of one style with the other


@dataclass(frozen=True, slots=True)
class Hunk:
    """A changed run of lines: `span` covers whole lines of the old text, `text` is their new text."""

    span: Span
    text: str


def whole_lines(text: str, span: Span) -> Span:
    """`span` grown to whole lines, with the line ending of the last one. An empty span covers its line."""
    start = text.rfind("\n", 0, span.start) + 1
    last = max(span.start, span.end - 1)
    end = text.find("\n", last)
    return Span(start, len(text) if end < 0 else end + 1)


def surrounding(text: str, span: Span, most: int = 10) -> Span:
    """Whole lines around `span` that indentation holds together, at most `most` on each side.

    Upwards to the first line that is indented less than the span's line, which is taken too; downwards as long as lines are not indented less than
    the span's line. A blank line ends both where the indentation is none.
    """
    home = whole_lines(text, span)
    width = _width(_indent(home.of(text)))
    start, end = home.start, home.end
    for _ in range(most):
        above = whole_lines(text, Span(start - 1, start - 1)) if start else home
        line = above.of(text)
        if not start or (not line.strip() and not width):
            break
        start = above.start
        if line.strip() and _width(_indent(line)) < width:
            break
    for _ in range(most):
        below = whole_lines(text, Span(end, end))
        line = below.of(text)
        if end >= len(text) or (_width(_indent(line)) < width if line.strip() else not width):
            break
        end = below.end
    return Span(start, end)


def own_part(new: str, old: str) -> str:
    """The part of `new` that stands for `old`, when a model also repeated what it was shown around it, or put imports before it.

    It begins at the line that is most like the first line of `old`, with the decorators and comments right above it. Where `old` is one block
    (every later line is indented deeper than its first one, or closes a bracket), the part ends with that block.
    """
    lines, old_lines = _lines(new), [line for line in _lines(old) if line.strip()]
    if not old_lines:
        return new
    first = old_lines[0].strip()
    alike = [SequenceMatcher(None, first, line.strip(), autojunk=False).ratio() for line in lines]
    at = alike.index(max(alike))
    if alike[at] < _ALIKE:
        return new
    start, end = at, len(lines)
    while start and lines[start - 1].lstrip().startswith(_ABOVE):
        start -= 1
    if all(_within(line, old_lines[0]) for line in old_lines[1:]):
        end = next((n for n in range(at + 1, end) if lines[n].strip() and not _within(lines[n], lines[at])), end)
    return "\n".join(lines[start:end]).rstrip("\n") + "\n"


def reindent(new: str, old: str) -> str:
    """`new` moved as a whole to the indentation of `old`, and to its style (tabs or spaces). Line endings become "\\n".

    The first non-blank lines of both are laid on each other. When the other lines of `new` are indented as those of `old` are already (a model that
    began its answer after the indentation), only the first line moves.
    """
    lines = _lines(new)
    unit = _unit(old)
    width = _width(_indent(next((line for line in _lines(old) if line.strip()), "")))
    filled = [i for i, line in enumerate(lines) if line.strip()]
    if not filled:
        return "\n".join(lines)
    first = filled[0]
    shift = width - _width(_indent(lines[first]))
    rest, old_rest = _rest_width(lines), _rest_width(_lines(old))
    alone = shift > 0 and rest is not None and old_rest is not None and rest >= old_rest
    restyle = unit is not None and any(unit != style for line in lines if (style := _style(line)))
    for i in filled:
        move = shift if i == first or not alone else 0
        if move or restyle:
            columns = max(0, _width(_indent(lines[i])) + move)
            lines[i] = _blank(columns, unit or " ") + lines[i].lstrip(" \t")
    return "\n".join(lines)


def hunks(old: str, new: str, newline: str = "\n") -> list[Hunk]:
    """The line-based difference. Lines are compared without their endings; new lines get `newline`, unchanged ones keep what they had.

    An insertion takes the nearest line with text above it into its span (below it, at the start), so that each hunk has something to show.
    The last line of `old` keeps its own ending, also when that is none.
    """
    a, b = _keep(old), _lines(new)
    if b and not b[-1]:
        b.pop()
    starts = [0]
    for line in a:
        starts.append(starts[-1] + len(line))
    found: list[Hunk] = []
    for i, j, k, m in _changed(a, b):
        ended = [line + newline for line in b[k:m]]
        for n, line in enumerate(a[i:j][: len(ended)]):
            if line.removesuffix("\n").removesuffix("\r") != b[k + n]:
                break
            ended[n] = line if line.endswith("\n") else ended[n]
        text = "".join(ended)
        if i < j == len(a) and not a[-1].endswith("\n"):  # the text ends without a line ending, and so must the new one
            text = text.removesuffix(newline)
        found.append(Hunk(Span(starts[i], starts[j]), text))
    return found


def minimal_edits(text: str, region: Span, new: str, newline: str = "\n") -> tuple[Edit, ...]:
    """Edits of `text` that turn its `region` (whole lines) into `new`: line by line, and in each line only what differs."""
    edits: list[Edit] = []
    for hunk in hunks(region.of(text), new, newline):
        start, end = region.start + hunk.span.start, region.start + hunk.span.end
        old_lines, new_lines = _keep(text[start:end]), _keep(hunk.text)
        if len(old_lines) != len(new_lines):
            old_lines, new_lines = [text[start:end]], [hunk.text]
        for before, after in zip(old_lines, new_lines, strict=True):
            edits += _narrowed(start, before, after)
            start += len(before)
    return tuple(edits)


def refusal(text: str, edits: tuple[Edit, ...], region: Span, language: str, *, may_shrink: bool = False) -> str | None:
    """Why `edits` of `region` must not be applied to `text`, as the end of a sentence; None when nothing speaks against them.

    They are refused when they change nothing but blanks, delete most of a region of six lines or more (unless it `may_shrink`), abbreviate code
    ("... rest of the code"), write a placeholder of a secret, or leave more syntax errors than there were (then the reason begins with UNPARSABLE).
    A language without a grammar skips the last rule.
    """
    after = apply_edits(text, edits)
    growth = len(after) - len(text)
    old, new = region.of(text), after[region.start : region.end + growth]
    if [line.rstrip() for line in _lines(old) if line.strip()] == [line.rstrip() for line in _lines(new) if line.strip()]:
        return CHANGES_NOTHING
    old_count, new_count = (sum(1 for line in _lines(part) if line.strip()) for part in (old, new))
    if old_count >= 6 and new_count * 2 < old_count and not (may_shrink and new_count):
        return f"it deletes {old_count - new_count} of {old_count} lines"
    if any(_ELISION.search(edit.text) and not _ELISION.search(edit.span.of(text)) for edit in edits):
        return "it leaves code out behind a comment"
    if any(set(SECRET_PLACEHOLDER.findall(edit.text)) - set(SECRET_PLACEHOLDER.findall(text)) for edit in edits):
        return "it writes a placeholder where a secret belongs"
    errors, errors_after = syntax.parse_errors(text, language), syntax.parse_errors(after, language)
    if errors is not None and errors_after is not None and errors_after > errors:
        return f"{UNPARSABLE} ({syntax.first_error(after, language)})"
    return None


def _changed(a: list[str], b: list[str]) -> list[tuple[int, int, int, int]]:
    """Line ranges of `a` and `b` that differ, insertions with their neighbour; ranges that then overlap are one."""
    ranges: list[tuple[int, int, int, int]] = []
    for tag, *where in SequenceMatcher(None, [line.removesuffix("\n").removesuffix("\r") for line in a], b, autojunk=False).get_opcodes():
        i, j, k, m = where
        if tag == "equal":
            continue
        if i == j and not any(line.strip() for line in a[:i]):
            grow = next((n for n, line in enumerate(a[j:], 1) if line.strip()), len(a) - j)
            j, m = j + grow, m + grow
        elif i == j:
            grow = next(n for n, line in enumerate(reversed(a[:i]), 1) if line.strip())
            i, k = i - grow, k - grow
        if ranges and i < ranges[-1][1]:
            i, k = ranges[-1][0], ranges[-1][2]
            ranges.pop()
        ranges.append((i, j, k, m))
    return ranges


def _narrowed(start: int, before: str, after: str) -> list[Edit]:
    """One edit without the common head and tail, at most; "\\r\\n" is never cut in two."""
    if before == after:
        return []
    head = 0
    while head < min(len(before), len(after)) and before[head] == after[head]:
        head += 1
    if head and before[head - 1] == "\r":
        head -= 1
    tail = 0
    while tail < min(len(before), len(after)) - head and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    if tail and before[len(before) - tail] == "\n" and (before[: len(before) - tail].endswith("\r") or after[: len(after) - tail].endswith("\r")):
        tail -= 1
    return [Edit(Span(start + head, start + len(before) - tail), after[head : len(after) - tail])]


def _lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").split("\n")


def _keep(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def _width(indent: str) -> int:
    columns = 0
    for char in indent:
        columns = columns + 1 if char == " " else columns - columns % _TAB + _TAB
    return columns


def _style(line: str) -> str:
    return _indent(line)[:1]


def _rest_width(lines: list[str]) -> int | None:
    """The least indentation behind the first non-blank line, in columns; None when nothing follows."""
    return min([_width(_indent(line)) for line in lines if line.strip()][1:], default=None)


def _within(line: str, head: str) -> bool:
    """Whether `line` belongs to the block that `head` begins."""
    return _width(_indent(line)) > _width(_indent(head)) or line.lstrip().startswith((")", "]", "}"))


def _unit(text: str) -> str | None:
    """The blank that indents most lines of `text`, or None when no line is indented."""
    styles = [style for line in _lines(text) if (style := _style(line))]
    return max(" \t", key=styles.count) if styles else None


def _blank(columns: int, unit: str) -> str:
    return " " * columns if unit == " " else "\t" * (columns // _TAB) + " " * (columns % _TAB)
