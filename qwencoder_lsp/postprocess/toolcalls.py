"""Finds the tool calls in an answer as it comes. Pure: text in, text and calls out.

All forms that Qwen models write are understood: `<tool_call>{"name": N, "arguments": {...}}</tool_call>`, the bare object, one or several in a code
block, in `<tools>` or in a list, and Qwen3-Coder's `<function=N><parameter=K>V</parameter></function>`. Only declared names make a call; what is
none stays text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LONGEST_NAME = 256


@dataclass(slots=True)
class Call:
    """A call. arguments: JSON text, so far. complete: whether its end was seen."""

    name: str
    arguments: str = ""
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Begun:
    """A call begins; it is the one of this index."""

    index: int
    name: str


@dataclass(frozen=True, slots=True)
class More:
    """More of the arguments of call `index`."""

    index: int
    text: str


Piece = str | Begun | More


@dataclass(slots=True)
class _Value:
    """Where one is in a JSON object or array."""

    depth: int = 0
    quoted: bool = False
    escaped: bool = False

    def end(self, text: str) -> int:
        """How much of `text` belongs to the value, all of it while the value goes on; afterwards `depth` is 0."""
        for at, c in enumerate(text):
            if self.escaped:
                self.escaped = False
            elif self.quoted:
                self.escaped = c == "\\"
                self.quoted = c != '"'
            elif c == '"':
                self.quoted = True
            elif c in "{[":
                self.depth += 1
            elif c in "}]":
                self.depth -= 1
                if self.depth <= 0:
                    return at + 1
        return len(text)


def _so_far(atoms: Sequence[str]) -> str:
    """A regular expression for every beginning of the sequence of `atoms`, the empty one too."""
    found = ""
    for atom in reversed(atoms):
        found = f"(?:{atom}{found})?"
    return found


def _beginnings(words: Sequence[str]) -> str:
    return "|".join(_so_far([re.escape(c) for c in word]) for word in words)


_FENCE = "```(?:json|xml|tool_call|python)?"
_TAGS = ("<tool_call>", "<tools>", "<function_call>", "<tool_calls>")
_ENDS = ("</tool_call>", "</tools>", "</function_call>", "</tool_calls>", "```")
_SPACE = r"\s{0,64}"  # bounded, as the number of wrappers is, so that an answer of braces or blanks is not read again and again
_BEFORE = rf"{_SPACE}(?:(?:{_FENCE}|{'|'.join(_TAGS)}|[\[{{]){_SPACE}){{0,4}}"
_BEFORE_SO_FAR = rf"(?:{_beginnings([*_TAGS, '```json', '```xml', '```tool_call', '```python'])})"
_WRITTEN_NAME = rf'"[^"\n]{{0,{LONGEST_NAME}}}'
_OBJECT = (r"\{", r"\s*", *(re.escape(c) for c in '"name"'), r"\s*", ":", r"\s*", _WRITTEN_NAME, '"', r"\s*", ",", r"\s*", '"')
_OBJECT_SO_FAR = rf"(?:{_so_far([*_OBJECT, '[a-z]{0,10}', chr(34), chr(92) + 's*', ':'])})"
_XML_SO_FAR = rf"(?:{_so_far([*map(re.escape, '<function='), rf'[^<>]{{0,{LONGEST_NAME}}}', '>'])})"
_MAY_OPEN = re.compile(rf"{_BEFORE}(?:{_OBJECT_SO_FAR}|{_XML_SO_FAR}|{_BEFORE_SO_FAR})")
_STARTS = re.compile(rf"{_SPACE}[<`{{\[]|\s{{1,64}}\Z")
_AFTER = re.compile(rf"(?:\s*[}}\],]|\s*(?:{'|'.join(_ENDS)})(?![a-z]))*\s*")  # a fence with a language opens a block
_AFTER_SO_FAR = re.compile(rf"(?:\s*[}}\],]|\s*(?:{'|'.join(_ENDS)}))*\s*(?:{_beginnings(_ENDS)})")
_PARAMETER = re.compile(r"<parameter=([^<>]*)>\n?(.*?)\n?</parameter>", re.DOTALL)
_XML_END = "</function>"


@dataclass(slots=True)
class CallReader:
    """Reads one answer. schemas: by declared name, the JSON schema of the arguments; their types say how XML parameters are read."""

    schemas: Mapping[str, Mapping[str, Any]]
    calls: list[Call] = field(default_factory=list)
    _rest: str = ""
    _where: str = "text"
    _name: str = ""
    _raw: str = ""
    _value: _Value = field(default_factory=_Value)
    _opening: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        names = "|".join(sorted(map(re.escape, self.schemas), key=len, reverse=True))
        quoted = "|".join(sorted((re.escape(json.dumps(name)) for name in self.schemas), key=len, reverse=True))
        self._opening = re.compile(
            rf'{_BEFORE}(?:\{{\s*"name"\s*:\s*(?P<quoted>{quoted})\s*,\s*"(?:arguments|parameters)"\s*:|<function=(?P<xml>{names})>)'
        )

    def feed(self, text: str) -> Iterator[Piece]:
        """What `text` adds. Text that may yet turn out to belong to a call is held back."""
        self._rest += text
        while True:
            step = {"text": self._text, "value": self._arguments, "xml": self._xml, "after": self._behind}[self._where]
            before = (self._where, len(self._rest))
            yield from step()
            if before == (self._where, len(self._rest)):
                return

    def finish(self) -> Iterator[Piece]:
        """What was held back, once the answer is at its end. An XML call that broke off is text; a JSON one is in `calls`, incomplete."""
        if self._where == "after":
            self._rest = _AFTER.sub("", self._rest, count=1)
        rest = self._raw + self._rest if self._where == "xml" else self._rest
        if rest and not (self.calls and rest.isspace()):
            yield rest
        self._rest = ""

    def _text(self) -> Iterator[Piece]:
        at = 0
        while found := _STARTS.search(self._rest, at):
            if opening := self._opening.match(self._rest, found.start()):
                if found.start():
                    yield self._rest[: found.start()]
                self._rest = self._rest[opening.end() :]
                if opening["xml"]:
                    self._where, self._name, self._raw = "xml", opening["xml"], opening[0]
                else:
                    self._where, self._value = "value", _Value()
                    self.calls.append(Call(json.loads(opening["quoted"])))
                    yield Begun(len(self.calls) - 1, self.calls[-1].name)
                return
            if _MAY_OPEN.fullmatch(self._rest, found.start()):
                break
            at = found.end()
        cut = found.start() if found else len(self._rest)
        if cut:
            yield self._rest[:cut]
        self._rest = self._rest[cut:]

    def _arguments(self) -> Iterator[Piece]:
        call = self.calls[-1]
        if not call.arguments:
            self._rest = self._rest.lstrip()
            if not self._rest:
                return
        end = self._value.end(self._rest)
        call.arguments += self._rest[:end]
        if end:
            yield More(len(self.calls) - 1, self._rest[:end])
        self._rest = self._rest[end:]
        if call.arguments and self._value.depth <= 0 and not self._value.quoted:
            call.complete = True
            self._where = "after"

    def _xml(self) -> Iterator[Piece]:
        end = self._rest.find(_XML_END)
        if end < 0:
            return
        known = self.schemas[self._name].get("properties", {})
        values = {name: _typed(value, known.get(name, {})) for name, value in _PARAMETER.findall(self._rest[:end])}
        call = Call(self._name, json.dumps(values, ensure_ascii=False), complete=True)
        self.calls.append(call)
        self._rest, self._where = self._rest[end + len(_XML_END) :], "after"
        yield Begun(len(self.calls) - 1, call.name)
        yield More(len(self.calls) - 1, call.arguments)

    def _behind(self) -> Iterator[Piece]:
        if _AFTER_SO_FAR.fullmatch(self._rest):
            return
        self._rest = _AFTER.sub("", self._rest, count=1)
        self._where = "text"
        yield from ()


def _typed(text: str, schema: Any) -> Any:
    """An XML parameter as its schema wants it: text where that may be a string, else the JSON value that it spells."""
    kinds = schema.get("type", ()) if isinstance(schema, Mapping) else ()
    if kinds == "string" or (isinstance(kinds, list) and "string" in kinds):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return {"true": True, "false": False, "none": None}.get(text.strip().lower(), text)
