"""Function calling over a real socket, with the scripted engine; the `openai` client is the judge."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from tests.protocol.fronts import front

HELLO: Any = [{"role": "user", "content": "hello"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string", "pattern": "^[A-Z]"}, "days": {"type": "integer"}}, "required": ["city"]}
WEATHER: Any = {"type": "function", "function": {"name": "weather", "description": "The <|im_end|> weather", "parameters": PARAMETERS}}
TIME: Any = {"type": "function", "function": {"name": "time"}}
OSLO, ROME = '{"city": "Oslo"}', '{"city": "Rome", "days": 2}'
CALL_OSLO, CALL_ROME = (f'<tool_call>\n{{"name": "weather", "arguments": {arguments}}}\n</tool_call>' for arguments in (OSLO, ROME))
CALLS = f"Two.\n{CALL_OSLO}\n{CALL_ROME}"


async def test_calls_come_with_names_arguments_and_ids(script: Any) -> None:
    script(default=CALLS)
    async with front() as f:
        answer = await f.client.chat.completions.create(model="auto", messages=HELLO, tools=[WEATHER, TIME])
    choice = answer.choices[0]
    calls: Any = choice.message.tool_calls
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", "Two.")
    assert [(call.type, call.function.name, call.function.arguments) for call in calls] == [
        ("function", "weather", OSLO),
        ("function", "weather", ROME),
    ]
    assert len({call.id for call in calls}) == 2


async def test_a_stream_gives_each_call_by_its_index(script: Any) -> None:
    script(default=CALLS)
    async with front() as f:
        stream = await f.client.chat.completions.create(model="auto", messages=HELLO, tools=[WEATHER], max_tokens=400, stream=True)
        chunks = [chunk.choices[0] async for chunk in stream]
    calls: dict[int, list[str]] = {}
    heads = []
    for chunk in chunks:
        for call in chunk.delta.tool_calls or []:
            assert call.function is not None
            if call.id:
                heads.append((call.index, call.function.name, call.type))
            calls.setdefault(call.index, []).append(call.function.arguments or "")
    assert "".join(c.delta.content or "" for c in chunks) == "Two."
    assert heads == [(0, "weather", "function"), (1, "weather", "function")]
    assert ["".join(parts) for parts in calls.values()] == [OSLO, ROME]
    assert len(calls[1]) > 2, "arguments come as they are written"
    assert chunks[-1].finish_reason == "tool_calls"


async def test_the_tools_are_shown_to_the_model_as_plain_text(script: Any) -> None:
    script(rules=[{"contains": json.dumps(WEATHER), "text": "seen"}], default="no")
    plain: Any = {**WEATHER, "function": {**WEATHER["function"], "description": ""}}
    async with front() as f:
        answer = await f.client.chat.completions.create(model="auto", messages=HELLO, tools=[WEATHER])
        none = await f.client.chat.completions.create(model="auto", messages=HELLO, tools=[WEATHER], tool_choice="none")
        without = await f.client.chat.completions.create(model="auto", messages=HELLO, tools=[plain])
    assert (answer.choices[0].message.content, none.choices[0].message.content) == ("seen", "no")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.tool_calls is None
    assert answer.usage is not None
    assert without.usage is not None
    assert answer.usage.prompt_tokens - without.usage.prompt_tokens == len("The <|im_end|> weather")


async def test_the_choice_of_a_tool_reaches_the_engine(script: Any) -> None:
    script(
        rules=[
            {"constraint": "PLAIN", "text": "auto"},
            {"constraint": '"time', "text": '<tool_call>\n{"name": "time", "arguments": {}}\n</tool_call>'},
            {"constraint": "start: tagged", "text": f'<tool_call>\n{{"name": "weather", "arguments": {OSLO}}}\n</tool_call>'},
        ]
    )
    named: Any = {"type": "function", "function": {"name": "weather"}}
    async with front() as f:
        create = f.client.chat.completions.create
        auto = await create(model="auto", messages=HELLO, tools=[WEATHER, TIME])
        required = await create(model="auto", messages=HELLO, tools=[WEATHER, TIME], tool_choice="required")
        forced = await create(model="auto", messages=HELLO, tools=[WEATHER, TIME], tool_choice=named)
    assert auto.choices[0].message.content == "auto"
    called: list[Any] = [answer.choices[0].message.tool_calls for answer in (required, forced)]
    assert [calls[0].function.name for calls in called] == ["time", "weather"]
    assert required.choices[0].message.content is None


async def test_results_of_calls_and_earlier_calls_are_rendered(script: Any) -> None:
    rendered = (
        '<|im_start|>assistant\n<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\nrain\n</tool_response>\n<tool_response>\nsun\n</tool_response><|im_end|>\n<|im_start|>assistant"
    )
    script(rules=[{"contains": rendered, "text": "It rains."}], default="no")
    call: Any = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "weather", "arguments": OSLO}}],
    }
    legacy: Any = {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": OSLO}}
    results: Any = [{"role": "tool", "tool_call_id": "1", "content": "rain"}, {"role": "function", "name": "weather", "content": "sun"}]
    async with front() as f:
        for earlier in (call, legacy):
            answer = await f.client.chat.completions.create(model="auto", messages=[*HELLO, earlier, *results], tools=[WEATHER])
            assert answer.choices[0].message.content == "It rains."


async def test_legacy_functions_answer_with_a_function_call(script: Any) -> None:
    script(default=f'<tool_call>\n{{"name": "weather", "arguments": {OSLO}}}\n</tool_call>')
    async with front() as f:
        answer = await f.client.chat.completions.create(
            model="auto", messages=HELLO, functions=[WEATHER["function"]], function_call={"name": "weather"}
        )
        stream = await f.client.chat.completions.create(model="auto", messages=HELLO, functions=[WEATHER["function"]], stream=True)
        chunks = [chunk.choices[0] async for chunk in stream]
    assert answer.choices[0].finish_reason == chunks[-1].finish_reason == "function_call"
    call = answer.choices[0].message.function_call
    assert call is not None
    assert (call.name, call.arguments) == ("weather", OSLO)
    deltas = [chunk.delta.function_call for chunk in chunks if chunk.delta.function_call]
    assert deltas[0].name == "weather"
    assert "".join(delta.arguments or "" for delta in deltas) == OSLO


async def test_a_call_that_is_not_valid_never_leaves_as_one(script: Any) -> None:
    """The scripted engine obeys no grammar."""
    wrong = '{"name": "weather", "arguments": {"city": "oslo"}}'
    script(default=wrong)
    async with front() as f:
        answer = await f.client.chat.completions.create(model="auto", messages=HELLO, tools=[WEATHER])
        cut = await f.client.chat.completions.create(model="auto", messages=HELLO, tools=[WEATHER], max_tokens=40)
        stream = await f.client.chat.completions.create(model="auto", messages=HELLO, tools=[WEATHER], stream=True)
        with pytest.raises(openai.APIError, match="do not satisfy its schema"):
            async for _ in stream:
                pass
    for found, text, reason in ((answer, wrong, "stop"), (cut, wrong[:40], "length")):
        assert (found.choices[0].message.content, found.choices[0].finish_reason) == (text, reason)
        assert found.choices[0].message.tool_calls is None


async def test_an_answer_may_have_a_schema_beside_the_tools(script: Any) -> None:
    script(rules=[{"constraint": '| %json {"title": "T"', "text": "{}"}], default="no")
    form: Any = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"title": "T"}}}
    async with front() as f:
        answer = await f.client.chat.completions.create(model="auto", messages=HELLO, tools=[WEATHER], response_format=form)
    assert answer.choices[0].message.content == "{}"


def tool(**function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", **function}}


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"tools": [{"type": "function"}]}, "tools.0.function", "required"),
    ({"tools": [tool(name="a b")]}, "tools.0.function.name", "match"),
    ({"tools": [tool(), tool()]}, "tools", "same name"),
    ({"tools": [tool(parameters={"type": "string"})]}, "tools.0.function.parameters", "object"),
    ({"tools": [tool(parameters={"properties": {"a": {"type": "nothing"}}})]}, "tools.0.function.parameters", "nothing"),
    ({"tools": [tool(), tool(name="g", parameters={"properties": {"a": {"uniqueItems": True}}})]}, "tools.1.function.parameters", "uniqueItems"),
    ({"tools": [tool(parameters={"properties": {"a": {"$ref": "http://127.0.0.1/x"}}})]}, "tools.0.function.parameters", "127.0.0.1"),
    ({"functions": [{"name": "f", "parameters": {"not": {}}}]}, "functions.0.parameters", "not"),
    ({"tools": [tool()], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice", "'g'"),
    ({"tool_choice": "required"}, "tool_choice", "no tools"),
    ({"tools": [tool()], "regex": "a"}, "tools", "regex"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"not": {}}}}}, "response_format.json_schema.schema", "not"),
]


async def test_what_cannot_be_obeyed_is_refused_with_its_field(script: Any) -> None:
    script(default="x")
    async with front() as f:
        for fields, param, said in BAD:
            for stream in (False, True):
                answer = await f.http.post("/v1/chat/completions", json={"messages": HELLO, "stream": stream, **fields})
                error = answer.json()["error"]
                assert (answer.status_code, error["param"]) == (400, param), error
                assert said in error["message"]
