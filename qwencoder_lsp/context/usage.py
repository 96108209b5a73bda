"""What the code around the cursor uses: which words, how near they are, and of what type its variables are as far as the text says. Pure.

Text and a cursor go in. Nothing is parsed here: the text at a cursor is broken more often than not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ABOVE, BELOW = 30, 10  # lines around the cursor that are looked at
NEAR = 6.0  # lines within which a word loses half of its weight
OCCURRENCES = 30  # of a variable's lines
REACH = 20_000  # code points in front of the cursor in which a variable's type is looked for

_WORD = re.compile(r"[^\W\d]\w*")
_RECEIVER = re.compile(r"([^\W\d][\w.]*?)(?:\.|->|::|\?\.)(\w*)$")
_USED = re.compile(r"\b([^\W\d]\w*)(?:\.|->|::|\?\.)(\w+)")
_WRAPPER = r"(?:(?:Optional|type|Type|list|List|Sequence|Iterable|Annotated|Array)\[|&?(?:mut\s+)?(?:Vec<|Option<|Box<|Arc<|Rc<)?)?"
_NAME = r"(?<![\w.])(?P<name>[^\W\d][\w.]*)"
_DECLARATIONS = (
    re.compile(rf"{_NAME}\s*:\s*[\"']?{_WRAPPER}(?P<type>[^\W\d][\w.]*)"),
    # only a capital tells a constructor from a function, whose result is not known
    re.compile(rf"{_NAME}(?:\s*:[^=\n]+)?\s*:?=\s*(?:await\s+)?(?:new\s+|&)?(?P<type>(?:[^\W\d]\w*\.)*[A-Z]\w*(?:::\w+)?)\s*[({{]"),
    re.compile(r"\b(?P<type>[A-Z]\w*)(?:<[^<>\n]*>)?\s*[*&]?\s+[*&]?(?P<name>[^\W\d]\w*)\b(?!\.)"),
    re.compile(r"\bwith\s+(?P<type>[^\W\d][\w.]*)\([^\n]*\)\s+as\s+(?P<name>[^\W\d]\w*)\b"),
)
_CLASS = re.compile(r"(?m)^([ \t]*)(?:export\s+|default\s+|abstract\s+|public\s+|final\s+)*class\s+(\w+)([^\n{:]*(?:\([^)]*\))?)")
_WORDS_OF_LANGUAGES = """
and as assert async await break case catch class const continue def default del do elif else enum except export extends false finally fn for from
func function global go if impl implements import in interface is lambda let match mod mut new nil none nonlocal not null or package pass private
protected public pub raise return self static struct super switch then this throw true try type typeof use using var void where while with yield int
str bool float list dict set tuple string number boolean char long short double any object print len range string none optional
"""
_KEYWORDS = frozenset(_WORDS_OF_LANGUAGES.split())


@dataclass(frozen=True, slots=True)
class Usage:
    """What is used. words: name -> weight in (0, 2].

    receiver, member: the variable of which a member is being written, and what is written of the member. members: pairs of
    a variable or module and a member of it that stand near the cursor."""

    words: dict[str, float]
    receiver: str
    member: str
    members: dict[tuple[str, str], float]


def usage(text: str, offset: int) -> Usage:
    """What is used around `offset`. The words of the cursor's line count double."""
    start = _lines_up(text, offset, ABOVE)
    end = _lines_down(text, offset, BELOW)
    line_start = text.rfind("\n", 0, offset) + 1
    words: dict[str, float] = {}
    members: dict[tuple[str, str], float] = {}
    above = text[start:line_start].split("\n")[:-1]
    below = text[offset:end].split("\n")
    rows = [(text[line_start:offset], 2.0)]
    rows += [(row, 1 / (1 + distance / NEAR)) for distance, row in enumerate(reversed(above), 1)]
    rows += [(row, 0.6 / (1 + distance / NEAR)) for distance, row in enumerate(below, 1)]
    for row, weight in rows:
        for word in _WORD.findall(row):
            if len(word) > 1 and word.lower() not in _KEYWORDS:
                words[word] = max(words.get(word, 0.0), weight)
        for pair in _USED.findall(row):
            members[pair] = max(members.get(pair, 0.0), weight)
    match = _RECEIVER.search(text, max(line_start, offset - 200), offset)
    return Usage(words, match[1] if match else "", match[2] if match else "", members)


def type_of(variable: str, text: str, offset: int) -> str:
    """The name of the variable's type by its annotation, its declaration or the constructor that it was assigned from, the last one before the
    cursor; "" when the text does not say. `self.x` and `this.x` are variables too."""
    start, at = max(0, offset - REACH), offset
    for _ in range(OCCURRENCES):
        at = text.rfind(variable, start, at)
        if at < 0:
            return ""
        row_start = text.rfind("\n", 0, at) + 1
        row_end = text.find("\n", at)
        row = text[row_start : min(offset, len(text) if row_end < 0 else row_end)]
        for pattern in _DECLARATIONS:
            for match in pattern.finditer(row):
                if match["name"] == variable and (name := _type_name(match["type"])):
                    return name
        at = row_start
    return ""


def _type_name(value: str) -> str:
    last = value.split("::", maxsplit=1)[0].rsplit(".", maxsplit=1)[-1]
    return "" if last.lower() in _KEYWORDS else last


def enclosing_class(text: str, offset: int) -> tuple[str, list[str]]:
    """The name of the class around the cursor by indentation, and the names that its head mentions as bases; ("", []) outside of one."""
    indent = _indent(text, offset)
    for match in reversed(list(_CLASS.finditer(text, 0, offset))):
        if len(match[1].expandtabs(4)) < indent:
            return match[2], [w for w in _WORD.findall(match[3]) if w not in ("extends", "implements", "metaclass")]
    return "", []


def _indent(text: str, offset: int) -> int:
    line = text[text.rfind("\n", 0, offset) + 1 : offset]
    if not line.strip():
        return max(len(line.expandtabs(4)), 1)
    return len(line.expandtabs(4)) - len(line.expandtabs(4).lstrip())


def _lines_up(text: str, offset: int, lines: int) -> int:
    at = offset
    for _ in range(lines + 1):
        at = text.rfind("\n", 0, at)
        if at < 0:
            return 0
    return at + 1


def _lines_down(text: str, offset: int, lines: int) -> int:
    at = offset
    for _ in range(lines + 1):
        at = text.find("\n", at)
        if at < 0:
            return len(text)
        at += 1
    return at
