"""The grammar of an answer that may call tools, followed byte by byte."""

from __future__ import annotations

import pytest

from qwencoder_lsp.engine.constraint import Matcher
from qwencoder_lsp.engine.vocabulary import ByteTokenizer
from qwencoder_lsp.prompt.tools import MOST_CALLS, Tool, call_constraint
from tests.unit.engine.test_constraint import N_VOCAB, TOKENIZER

TOOLS = [
    Tool("get-weather", {"properties": {"city": {"type": "string"}}, "required": ["city"]}),
    Tool('od"d', {"type": "object", "properties": {"n": {"type": "integer"}}}),
    Tool("ping", {}),
]
OSLO = '<tool_call>\n{"name": "get-weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
ODD = '<tool_call>\n{"name": "od\\"d", "arguments": {"n": 1}}\n</tool_call>'
PING = '<tool_call>\n{"name": "ping", "arguments": {}}\n</tool_call>'


def obeys(text: str, *, required: bool = False, several: bool = True, answer: dict[str, object] | None = None) -> bool:
    """Whether an answer may be `text`."""
    constraint = call_constraint(TOOLS, ByteTokenizer(), required=required, several=several, answer=answer)
    assert constraint is not None
    matcher = Matcher(TOKENIZER, constraint, N_VOCAB)
    for byte in text.encode():
        if not matcher.allows(byte):
            return False
        matcher.accept(byte)
    return matcher.done or matcher.allows(TOKENIZER.eos_token)


@pytest.mark.parametrize("text", [OSLO, ODD, PING, f"{OSLO}\n{ODD}"])
def test_calls_of_declared_tools_are_allowed(text: str) -> None:
    assert obeys(text)
    assert obeys(text, required=True)


@pytest.mark.parametrize(
    "text",
    [
        OSLO.replace("get-weather", "get-time"),
        OSLO.replace('"city"', '"town"'),
        OSLO.replace('"Oslo"', "1"),
        OSLO.replace('"city": "Oslo"', ""),
        OSLO.replace("}}", '}, "more": 1}'),
        '{"name": "get-weather", "arguments": {"town": "Oslo"}}',
        '```json\n{\n  "name": "get-weather",\n  "parameters": {"town": 1}}\n```',
    ],
)
def test_nothing_that_looks_like_a_call_escapes_its_schema(text: str) -> None:
    assert not obeys(text)
    assert not obeys(text, required=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No tool is needed: {}\n",
        '{"name": "someone", "arguments": {"town": "Oslo"}}',
        'The answer is {"name": "get-weather"}.',
        f"I will look.\n\n{OSLO}\nWait.",
        '```json\n{\n  "name": "get-weather",\n  "arguments": {"city": "Oslo"}}\n```',
        '```json\n{\n  "name": "get-weather",\n  "arguments": {\n    "city": "Oslo"\n  }\n}\n```',
    ],
)
def test_text_is_free_unless_a_call_is_required(text: str) -> None:
    assert obeys(text)
    assert not obeys(text, required=True)


def test_the_number_of_calls_is_bounded() -> None:
    assert obeys(OSLO, several=False)
    assert not obeys(f"{OSLO}\n{OSLO}", several=False)
    assert not obeys(f"{OSLO}\n{OSLO}", several=False, required=True)
    assert obeys("\n".join([PING] * MOST_CALLS), required=True)
    assert not obeys("\n".join([PING] * (MOST_CALLS + 1)), required=True)


def test_an_answer_that_is_no_call_has_its_own_schema() -> None:
    answer: dict[str, object] = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "additionalProperties": False}
    assert obeys(OSLO, answer=answer)
    assert obeys('{"ok": true}', answer=answer)
    assert not obeys("yes", answer=answer)


def test_calls_in_xml_are_not_constrained_unless_one_is_required() -> None:
    tokenizer = ByteTokenizer()
    tokenizer.chat_template = "... <function=name> ..."
    assert call_constraint(TOOLS, tokenizer, required=False, several=True) is None
    assert call_constraint(TOOLS, tokenizer, required=True, several=True) is not None
