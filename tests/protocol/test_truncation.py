"""Prompts that are too long: an error by default, shortened where that is allowed, and never silently."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.protocol.fronts import front

SMALL: dict[str, object] = {"context": 512}


def text(number: int) -> str:
    return "".join(f"{i:05d}." for i in range(number))


async def test_a_prompt_that_is_too_long_is_an_error_that_counts(script: Any) -> None:
    script(default="x")
    async with front(engine=SMALL) as f:
        with pytest.raises(openai.BadRequestError, match="600 tokens, and 496 fit") as refused:
            await f.client.completions.create(model="auto", prompt=text(100))
        assert "truncation" in str(refused.value)
        with pytest.raises(openai.BadRequestError, match="fit beside"):
            await f.client.chat.completions.create(model="auto", messages=[{"role": "user", "content": text(100)}])


async def test_a_continuation_keeps_its_end_or_its_beginning_and_its_end(script: Any) -> None:
    script(rules=[{"contains": "00000.", "text": "beginning"}], default="end")
    async with front(engine=SMALL) as f:
        auto = await f.client.completions.create(model="auto", prompt=text(100), extra_body={"truncation": "auto"})
        middle = await f.client.completions.create(model="auto", prompt=["short", text(100)], n=2, extra_body={"truncation": "middle"})
        short = await f.client.completions.create(model="auto", prompt="short", extra_body={"truncation": "auto"})
        streamed = await f.client.completions.create(model="auto", prompt=text(100), stream=True, extra_body={"truncation": "auto"})
        told = [chunk.model_dump()["truncation"] async for chunk in streamed if "truncation" in chunk.model_dump()]
    assert (auto.choices[0].text, middle.choices[2].text) == ("end", "beginning")
    assert auto.model_dump()["truncation"] == {"dropped_tokens": 104, "gaps": [{"prompt": 0, "where": "prompt", "at": 0, "tokens": 104}]}
    assert middle.model_dump()["truncation"]["gaps"] == [{"prompt": 1, "where": "prompt", "at": 124, "tokens": 104}]
    assert "truncation" not in short.model_dump()
    assert told == [auto.model_dump()["truncation"]]
    assert auto.usage is not None
    assert auto.usage.prompt_tokens == 496


async def test_a_conversation_loses_its_oldest_turns_and_then_the_middle_of_the_longest(script: Any) -> None:
    script(rules=[{"contains": "tokens left out", "text": "cut"}, {"contains": "rules", "text": "turns"}])
    turns: Any = [
        {"role": "system", "content": "rules"},
        {"role": "user", "content": "a" * 300},
        {"role": "assistant", "content": "b" * 100},
        {"role": "user", "content": "last"},
    ]
    async with front(engine=SMALL) as f:
        auto = await f.client.chat.completions.create(model="auto", messages=turns, max_tokens=100, extra_body={"truncation": "auto"})
        middle = await f.client.chat.completions.create(model="auto", messages=turns, max_tokens=100, extra_body={"truncation": "middle"})
        with pytest.raises(openai.BadRequestError, match="cannot be shortened"):
            many: Any = [{"role": "user", "content": "c" * 60}] * 10
            await f.client.chat.completions.create(model="auto", messages=many, extra_body={"truncation": "middle"})
    assert (auto.choices[0].message.content, middle.choices[0].message.content) == ("turns", "cut")
    assert auto.model_dump()["truncation"]["gaps"] == [{"prompt": 0, "where": "messages.1", "at": 0, "tokens": 300}]
    (gap,) = middle.model_dump()["truncation"]["gaps"]
    assert gap["where"] == "messages.1"
    assert 0 < gap["at"] < gap["tokens"] < 300


async def test_what_a_hole_leaves_unread_is_told_whether_or_not_it_was_asked_about(script: Any) -> None:
    script(default="x")
    async with front(engine=SMALL) as f:
        filled = await f.client.completions.create(model="auto", prompt=text(200), suffix=text(200))
        gaps = {gap["where"]: gap["tokens"] for gap in filled.model_dump()["truncation"]["gaps"]}
        assert set(gaps) == {"prompt", "suffix"}
        with pytest.raises(openai.BadRequestError, match="longer than what is read"):
            await f.client.completions.create(model="auto", prompt=text(200), suffix="", extra_body={"truncation": "error"})


async def test_the_language_is_told_where_a_text_is_too_short_to_show_it(script: Any) -> None:
    script(rules=[{"contains": "-- lua\nx = ", "text": "lua"}, {"contains": "/* css */\n", "text": "css"}], default="neither")

    async def ask(prompt: Any, language: str, **fields: Any) -> str:
        answer = await f.client.completions.create(model="auto", prompt=prompt, extra_body={"language": language}, **fields)
        return str(answer.choices[0].text)

    async with front() as f:
        assert await ask("x = ", "lua") == "lua"
        assert await ask("x = 1\nx = ", "lua", suffix="\n") == "lua"
        assert await ask("x = ", "lua", suffix="\n") == "neither", "the line of the hole stands behind the suffix"
        assert await ask("", "css", suffix="}") == "css"
        assert await ask("x = ", "klingon") == "neither"
        assert await ask("x" * 300, "lua") == "neither"
        assert await ask([1, 2], "lua") == "neither"
