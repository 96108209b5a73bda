"""What of an answer with tools is told before its end."""

from __future__ import annotations

from typing import Any

import pytest

from qwencoder_lsp.http.ollama_calls import Spoken
from qwencoder_lsp.http.openai_bodies import ChatBody
from qwencoder_lsp.http.openai_calls import whole_message
from qwencoder_lsp.http.openai_tools import Toolbox, toolbox

WEATHER = {"function": {"name": "weather", "parameters": {"properties": {"city": {"type": "string"}}, "required": ["city"]}}}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
WRONG = '<tool_call>\n{"name": "weather", "arguments": {"town": 1}}\n</tool_call>'


@pytest.fixture
def tools() -> Toolbox:
    found = toolbox(ChatBody.model_validate({"messages": [{"role": "user", "content": "x"}], "tools": [WEATHER]}))
    assert found
    return found


def read(text: str, size: int, tools: Toolbox) -> tuple[str, dict[str, Any]]:
    spoken = Spoken(tools)
    told = "".join(spoken.feed(text[at : at + size]) for at in range(0, len(text), size))
    return told, spoken.finish("")


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    "text",
    [
        "plain",
        CALL,
        f"Look:\n\n{CALL}",
        f"Look: {CALL} and {CALL} done",
        f"First {WRONG} then",
        "a < b {x} `c` ```json\n{}\n```",
        " " * 200 + CALL,
        "so " + CALL[:30],
    ],
)
def test_nothing_is_lost_or_told_twice_however_it_comes(text: str, size: int, tools: Toolbox) -> None:
    told, last = read(text, size, tools)
    whole, _ = whole_message(text, tools)
    assert told + last["content"] == (whole["content"] or "")
    assert len(last.get("tool_calls", ())) == len(whole.get("tool_calls", ()))


def test_text_is_told_up_to_the_first_call(tools: Toolbox) -> None:
    told, last = read(f"Look: {CALL} and more", 3, tools)
    assert told.strip() == "Look:"
    assert last["tool_calls"][0]["function"] == {"name": "weather", "arguments": {"city": "Oslo"}}
    assert "and more" in last["content"]


def test_a_call_that_turns_out_to_be_wrong_is_text(tools: Toolbox) -> None:
    told, last = read(f"Look: {WRONG} end", 3, tools)
    assert told + last["content"] == f"Look: {WRONG} end"
    assert "tool_calls" not in last
