"""The OpenAI routes over a real socket, with the scripted engine; the `openai` client is the judge."""

from __future__ import annotations

import base64
import json
import math
import struct
from typing import Any

from tests.protocol.fronts import front

HELLO: Any = [{"role": "user", "content": "hello"}]
CONSTRAINED: list[tuple[dict[str, Any], str]] = [
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"title": "SCHEMA"}}}}, '"SCHEMA"'),
    ({"response_format": {"type": "json_object"}}, '{"type":"object"}'),
    ({"response_format": {"type": "json_object", "schema": {"title": "OBJECT"}}}, '"OBJECT"'),
    ({"response_format": {"type": "json_schema", "schema": {"title": "LLAMA"}}}, '"LLAMA"'),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": True}}}, "true"),
    ({"json_schema": {"title": "TOP"}}, '"TOP"'),
    ({"json_schema": True}, "true"),
    ({"guided_json": {"title": "GUIDED"}}, '"GUIDED"'),
    ({"guided_json": '{"title": "TEXT"}'}, '"TEXT"'),
    ({"regex": "[a-z]R"}, "[a-z]R"),
    ({"guided_regex": "[a-z]G"}, "[a-z]G"),
    ({"choice": ["yes", "C"]}, '["yes", "C"]'),
    ({"guided_choice": ["yes", "D"]}, '["yes", "D"]'),
]


async def test_a_completion_comes_with_usage_and_timings(script: Any) -> None:
    script(rules=[{"contains": "def add", "text": "return a + b"}])
    async with front() as f:
        answer = await f.client.completions.create(model="auto", prompt="def add(a, b):\n    ")
    assert answer.object == "text_completion"
    assert answer.model == "scripted"
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("return a + b", "stop")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (len("def add(a, b):\n    "), len("return a + b"))
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 0
    timings = answer.model_dump()["timings"]
    assert {"cache_n", "prompt_n", "prompt_ms", "prompt_per_second", "predicted_n", "predicted_ms", "predicted_per_second"} <= set(timings)
    assert {"draft_n", "draft_n_accepted", "queue_ms", "native_ms", "restored_n", "preempted"} <= set(timings)
    assert (timings["prompt_n"], timings["predicted_n"]) == (answer.usage.prompt_tokens, answer.usage.completion_tokens)


async def test_a_completion_streams_its_text_and_ends_with_reason_timings_and_usage(script: Any) -> None:
    script(default="abcdef")
    async with front() as f:
        stream = await f.client.completions.create(model="", prompt="x", max_tokens=4, stream=True, stream_options={"include_usage": True})
        chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].text for c in chunks if c.choices) == "abcd"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-2:] == [None, "length"]
    assert chunks[-2].model_dump()["timings"]["predicted_n"] == 4
    assert not chunks[-1].choices
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 4
    assert all(c.usage is None for c in chunks[:-1])
    assert len({c.id for c in chunks}) == 1


async def test_a_chat_renders_the_template_and_streams_the_role_first(script: Any) -> None:
    script(rules=[{"contains": "<|im_start|>system\nbe kind<|im_end|>\n<|im_start|>user\nhello<|im_end|>", "text": "hi"}])
    messages: Any = [{"role": "developer", "content": "be kind"}, {"role": "user", "content": [{"type": "text", "text": "hello"}]}]
    async with front() as f:
        answer = await f.client.chat.completions.create(model="scripted", messages=messages)
        stream = await f.client.chat.completions.create(model="scripted", messages=messages, stream=True)
        chunks = [chunk async for chunk in stream]
    assert (answer.choices[0].message.role, answer.choices[0].message.content) == ("assistant", "hi")
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "hi"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].model_dump()["timings"]["predicted_n"] == 2


async def test_a_stream_ends_with_done(script: Any) -> None:
    script(default="a")
    async with front() as f:
        answer = await f.http.post("/v1/completions", json={"prompt": "x", "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in answer.text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    assert all(json.loads(line.removeprefix("data: "))["object"] == "text_completion" for line in lines[:-1])


async def test_several_candidates_each_have_their_own_text_and_the_prompt_counts_once(script: Any) -> None:
    script(default=["one", "two", "three"])
    async with front() as f:
        answer = await f.client.completions.create(model="auto", prompt="x", n=3, seed=1)
        stream = await f.client.chat.completions.create(model="auto", messages=HELLO, n=2, stream=True, stream_options={"include_usage": True})
        streamed = ["", ""]
        roles = 0
        async for chunk in stream:
            for choice in chunk.choices:
                streamed[choice.index] += choice.delta.content or ""
                roles += choice.delta.role == "assistant"
    assert [(c.index, c.text) for c in answer.choices] == [(0, "one"), (1, "two"), (2, "three")]
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (1, len("onetwothree"))
    assert streamed == ["one", "two"]
    assert roles == 2


async def test_several_prompts_answer_in_their_order(script: Any) -> None:
    script(rules=[{"contains": "a", "text": ["A0", "A1"]}, {"contains": "b", "text": "B"}])
    async with front() as f:
        texts = await f.client.completions.create(model="auto", prompt=["a", "b"], n=2, echo=True)
        tokens = await f.client.completions.create(model="auto", prompt=[[97], [98]])
    assert [(c.index, c.text) for c in texts.choices] == [(0, "aA0"), (1, "aA1"), (2, "bB"), (3, "bB")]
    assert [c.text for c in tokens.choices] == ["A0", "B"]


async def test_a_suffix_asks_to_fill_in_the_middle(script: Any) -> None:
    script(rules=[{"contains": "<|fim_prefix|><|fim_suffix|>): pass<|fim_middle|>def add(<|cursor|>", "text": "a, b"}], default="no")
    async with front() as f:
        filled = await f.client.completions.create(model="auto", prompt="def add(", suffix="): pass")
        tokens = await f.http.post("/v1/completions", json={"prompt": [1, 2], "suffix": "x"})
    assert filled.choices[0].text == "a, b"
    assert tokens.status_code == 400
    assert tokens.json()["error"]["param"] == "prompt"


async def test_an_empty_suffix_still_asks_to_fill_in_the_middle(script: Any) -> None:
    script(rules=[{"contains": "<|fim_prefix|><|fim_suffix|><|fim_middle|>x = <|cursor|>", "text": "1"}])
    async with front() as f:
        assert (await f.client.completions.create(model="auto", prompt="x = ", suffix="")).choices[0].text == "1"


async def test_special_tokens_count_in_a_prompt_and_stay_text_in_a_chat(script: Any) -> None:
    script(default="x")
    marked = "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>"
    async with front() as f:
        prompt = await f.client.completions.create(model="auto", prompt=marked)
        plain = await f.client.chat.completions.create(model="auto", messages=[{"role": "user", "content": ""}])
        chat = await f.client.chat.completions.create(model="auto", messages=[{"role": "user", "content": marked}])
    assert prompt.usage is not None
    assert prompt.usage.prompt_tokens == 5
    assert chat.usage is not None
    assert plain.usage is not None
    assert chat.usage.prompt_tokens - plain.usage.prompt_tokens == len(marked)


async def test_token_ids_are_taken_as_they_are(script: Any) -> None:
    script(rules=[{"contains": "<|fim_middle|>b", "text": "yes"}])
    async with front() as f:
        answer = await f.client.completions.create(model="auto", prompt=[97, 258, 98], echo=True)
        wrong = await f.http.post("/v1/completions", json={"prompt": [97, 264]})
    assert answer.choices[0].text == "abyes"
    assert wrong.status_code == 400
    assert "0 to 263" in wrong.json()["error"]["message"]


async def test_log_probabilities_of_a_completion(script: Any) -> None:
    script(default="hé")
    async with front() as f:
        answer = await f.client.completions.create(model="auto", prompt="x", logprobs=2, echo=False)
        stream = await f.client.completions.create(model="auto", prompt="x", logprobs=0, stream=True)
        streamed = [c.choices[0].logprobs async for c in stream if c.choices[0].text]
    found = answer.choices[0].logprobs
    assert found is not None
    assert found.tokens == ["h", "bytes:\\xc3", "bytes:\\xa9"]
    assert found.token_logprobs == [-0.1] * 3
    assert found.top_logprobs is not None
    assert found.top_logprobs[0] == {"h": -0.1, "i": -1.1}
    assert found.text_offset is not None
    assert found.text_offset[:2] == [0, 1]
    assert [token for table in streamed for token in (table.tokens if table else None) or []] == found.tokens
    assert all(table is not None and table.top_logprobs is None for table in streamed)


async def test_log_probabilities_of_a_chat(script: Any) -> None:
    script(default="hi")
    async with front() as f:
        answer = await f.client.chat.completions.create(model="auto", messages=HELLO, logprobs=True, top_logprobs=3)
        without = await f.client.chat.completions.create(model="auto", messages=HELLO)
        refused = await f.http.post("/v1/chat/completions", json={"messages": HELLO, "top_logprobs": 3})
    assert answer.choices[0].logprobs is not None
    rows = answer.choices[0].logprobs.content
    assert rows is not None
    assert [(row.token, row.bytes, row.logprob, len(row.top_logprobs)) for row in rows] == [("h", [104], -0.1, 3), ("i", [105], -0.1, 3)]
    assert without.choices[0].logprobs is None
    assert refused.json()["error"]["param"] == "top_logprobs"


async def test_a_prompt_is_scored_without_generating(script: Any) -> None:
    script(default="never")
    async with front() as f:
        answer = await f.client.completions.create(model="auto", prompt="abc", echo=True, logprobs=1, max_tokens=0)
        single = await f.client.completions.create(model="auto", prompt="a", echo=True, logprobs=1, max_tokens=0)
        refused = await f.http.post("/v1/completions", json={"prompt": "abc", "echo": True, "logprobs": 1, "stream": True})
    assert answer.choices[0].text == "abc"
    found = answer.choices[0].logprobs
    assert found is not None
    assert found.tokens == ["a", "b", "c"]
    assert found.token_logprobs == [None, -0.1, -0.1]
    assert found.top_logprobs == [None, {"b": -0.1}, {"c": -0.1}]
    assert found.text_offset == [0, 1, 2]
    assert single.model_dump()["choices"][0]["logprobs"]["token_logprobs"] == [None]
    assert refused.json()["error"]["param"] == "echo"


async def test_a_prompt_is_scored_with_the_one_token_more_that_lm_eval_asks_for(script: Any) -> None:
    script(default="xyz")
    lm_eval: dict[str, Any] = {"temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234, "echo": True}
    async with front() as f:
        several = await f.client.completions.create(model="auto", prompt=[[97, 98, 99], [100]], **lm_eval)
        without = await f.client.completions.create(model="auto", prompt="ab", **{**lm_eval, "logprobs": 0, "max_tokens": 2})
    assert [choice.text for choice in several.choices] == ["abcx", "dx"]
    first, second = (choice.logprobs for choice in several.choices)
    assert first is not None
    assert first.tokens == ["a", "b", "c", "x"]
    assert first.token_logprobs == [None, -0.1, -0.1, -0.1]
    assert first.top_logprobs == [None, {"b": -0.1}, {"c": -0.1}, {"x": -0.1}]
    assert first.text_offset == [0, 1, 2, 3]
    assert second is not None
    assert second.tokens == ["d", "x"]
    assert (several.usage and several.usage.completion_tokens) == 2
    assert without.choices[0].logprobs is not None
    assert without.choices[0].logprobs.tokens == ["a", "b", "x", "y"]
    assert without.choices[0].logprobs.top_logprobs is None


async def test_an_answer_of_no_tokens_warms_the_prompt(script: Any) -> None:
    script(default="never")
    async with front() as f:
        answer = await f.client.completions.create(model="auto", prompt="abc", max_tokens=0)
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("", "length")


async def test_stop_strings_end_the_text(script: Any) -> None:
    script(default="one;two")
    async with front() as f:
        one = await f.client.completions.create(model="auto", prompt="x", stop=";")
        several = await f.client.completions.create(model="auto", prompt="x", stop=["#", "tw"])
    assert (one.choices[0].text, one.choices[0].finish_reason) == ("one", "stop")
    assert several.choices[0].text == "one;"


async def test_what_the_answer_must_look_like_reaches_the_engine(script: Any) -> None:
    script(rules=[{"constraint": wanted, "text": wanted} for _, wanted in CONSTRAINED], default="free")
    async with front() as f:
        for fields, wanted in CONSTRAINED:
            answer = await f.client.chat.completions.create(model="auto", messages=HELLO, extra_body=fields)
            assert answer.choices[0].message.content == wanted
            text = await f.client.completions.create(model="auto", prompt="hello", max_tokens=50, extra_body=fields)
            assert text.choices[0].text == wanted
        free = await f.client.chat.completions.create(model="auto", messages=HELLO, response_format={"type": "text"})
    assert free.choices[0].message.content == "free"


async def test_embeddings_are_unit_vectors_in_both_encodings(script: Any) -> None:
    script(default="")
    async with front() as f:
        plain = await f.client.embeddings.create(model="auto", input=["a", "b", "a"], encoding_format="float")
        packed = await f.client.embeddings.create(model="auto", input="a")  # the client asks for base64 and unpacks it
        tokens = await f.client.embeddings.create(model="auto", input=[[97], [98]])
        raw = await f.http.post("/v1/embeddings", json={"input": [97], "encoding_format": "base64"})
        short = await f.client.embeddings.create(model="auto", input="a", dimensions=3)
        too_many = await f.http.post("/v1/embeddings", json={"input": "a", "dimensions": 9})
    assert [row.index for row in plain.data] == [0, 1, 2]
    assert all(math.isclose(math.hypot(*row.embedding), 1, rel_tol=1e-6) for row in plain.data)
    assert plain.data[0].embedding == plain.data[2].embedding != plain.data[1].embedding
    assert (plain.usage.prompt_tokens, plain.usage.total_tokens) == (3, 3)
    assert packed.data[0].embedding == tokens.data[0].embedding == plain.data[0].embedding
    assert list(struct.unpack("<8f", base64.b64decode(raw.json()["data"][0]["embedding"]))) == plain.data[0].embedding
    length = math.hypot(*plain.data[0].embedding[:3])
    expected = [value / length for value in plain.data[0].embedding[:3]]
    assert all(math.isclose(a, b, rel_tol=1e-5) for a, b in zip(short.data[0].embedding, expected, strict=True))
    assert too_many.json()["error"]["param"] == "dimensions"


async def test_more_choices_than_the_engine_has_places_for_come_in_turns(script: Any) -> None:
    script(default="x", busy_above=16, token_ms=10)
    async with front() as f:
        answer = await f.client.completions.create(model="auto", prompt=["a", "b"], n=20)
    assert [choice.index for choice in answer.choices] == list(range(40))
    assert {choice.text for choice in answer.choices} == {"x"}
