"""Tool calls in an answer, however it is cut into chunks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwencoder_lsp.postprocess.toolcalls import Begun, CallReader, More

SCHEMAS: dict[str, Any] = {
    "add": {"properties": {"a": {"type": "integer"}, "note": {"type": "string"}, "exact": {"type": "boolean"}}},
    "get.weather": {},
}
ADD, WEATHER = ("add", {"a": 1}), ("get.weather", {"city": "Oslo"})
CALL_ADD, CALL_WEATHER = '{"name": "add", "arguments": {"a": 1}}', '{"name": "get.weather", "arguments": {"city": "Oslo"}}'

FORMS = {
    "qwen": (f"<tool_call>\n{CALL_ADD}\n</tool_call>", "", [ADD]),
    "qwen, several": (f"<tool_call>\n{CALL_ADD}\n</tool_call>\n<tool_call>\n{CALL_WEATHER}\n</tool_call>", "", [ADD, WEATHER]),
    "text before": (f"Let me see.\n\n<tool_call>\n{CALL_ADD}\n</tool_call>", "Let me see.", [ADD]),
    "text behind": (f"<tool_call>\n{CALL_ADD}\n</tool_call>\nThat was it.", "That was it.", [ADD]),
    "bare": (CALL_ADD, "", [ADD]),
    "bare over lines": ('{\n  "name": "add",\n  "arguments": {\n    "a": 1\n  }\n}', "", [ADD]),
    "parameters": ('{"name": "add", "parameters": {"a": 1}}', "", [ADD]),
    "code block": (f"```json\n{CALL_ADD}\n```", "", [ADD]),
    "code blocks": (f"```json\n{CALL_ADD}\n```\n```json\n{CALL_WEATHER}\n```", "", [ADD, WEATHER]),
    "list": (f"[{CALL_ADD}, {CALL_WEATHER}]", "", [ADD, WEATHER]),
    "tools": (f"<tools>\n{CALL_ADD}\n</tools>", "", [ADD]),
    "double braces, as the template of Qwen2.5-Coder shows them": ("<tool_call>\n{" + CALL_ADD + "}\n</tool_call>", "", [ADD]),
    "xml": (
        "Now.\n<tool_call>\n<function=add>\n<parameter=a>\n1\n</parameter>\n<parameter=note>\n1\n2\n</parameter>\n"
        "<parameter=exact>\nTrue\n</parameter>\n</function>\n</tool_call>",
        "Now.",
        [("add", {"a": 1, "note": "1\n2", "exact": True})],
    ),
    "braces and quotes in strings": (
        '<tool_call>\n{"name": "add", "arguments": {"note": "}\\"{ </tool_call>"}}\n</tool_call>',
        "",
        [("add", {"note": '}"{ </tool_call>'})],
    ),
}
TEXTS = [
    "",
    "   ",
    "just text\n\n",
    '{"name": "subtract", "arguments": {"a": 1}}',  # not declared
    '{"name": "add"}',
    "```python\nd = {'name': [1, {}]}\nif a < b: pass\n```\n",
    "<tool_call>\nnothing\n</tool_call>",
    "<function=add>\n<parameter=a>\n1",  # broken off
    "{" * 3000,
    "\n" * 3000,
]


def read(text: str, size: int) -> tuple[str, CallReader]:
    """The text and the reader, fed in chunks of that size; what was told of the calls is what they are."""
    reader = CallReader(SCHEMAS)
    pieces = [piece for at in range(0, len(text), size) for piece in reader.feed(text[at : at + size])] + list(reader.finish())
    assert [(p.index, p.name) for p in pieces if isinstance(p, Begun)] == [(i, call.name) for i, call in enumerate(reader.calls)]
    for i, call in enumerate(reader.calls):
        assert "".join(p.text for p in pieces if isinstance(p, More) and p.index == i) == call.arguments
    return "".join(p for p in pieces if isinstance(p, str)), reader


@pytest.mark.parametrize("size", [1, 3, 10_000])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_call_is_understood(form: str, size: int) -> None:
    text, content, calls = FORMS[form]
    found, reader = read(text, size)
    assert [(call.name, json.loads(call.arguments)) for call in reader.calls] == calls
    assert all(call.complete for call in reader.calls)
    assert found == content


@pytest.mark.parametrize("size", [1, 3, 10_000])
@pytest.mark.parametrize("text", TEXTS)
def test_what_is_no_call_stays_as_it_is(text: str, size: int) -> None:
    found, reader = read(text, size)
    assert (found, reader.calls) == (text, [])


def test_a_call_that_breaks_off_is_incomplete() -> None:
    _, reader = read('<tool_call>\n{"name": "add", "arguments": {"a": 1', 4)
    assert [(call.arguments, call.complete) for call in reader.calls] == [('{"a": 1', False)]


def test_text_is_not_held_back_once_it_can_be_no_call() -> None:
    reader = CallReader(SCHEMAS)
    assert list(reader.feed("x = {")) == ["x ="]
    assert list(reader.feed("1: 2}")) == [" {1: 2}"]


@given(st.lists(st.sampled_from([*"{[<`\n ", '"name"', ":", '"add"', "<tool_call>", "```json", '"arguments"', "text", CALL_ADD])), st.integers(1, 9))
def test_cutting_makes_no_difference(parts: list[str], size: int) -> None:
    text = "".join(parts)
    whole, cut = read(text, len(text) or 1), read(text, size)
    assert (whole[0], whole[1].calls) == (cut[0], cut[1].calls)
