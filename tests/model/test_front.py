"""The OpenAI routes with the real 0.5B model."""

from __future__ import annotations

import asyncio
import json
import math
import tempfile
from collections.abc import AsyncIterator
from operator import mul
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from qwencoder_lsp.engine.binding import load_tokenizer
from tests.protocol.fronts import Front, front

pytestmark = [pytest.mark.model, pytest.mark.asyncio(loop_scope="module")]  # one service for all of them

ADD = "def add(a, b):\n    return"
FIRST = f"{ADD} a + b\n\n\n{ADD}"  # asked for in one test only
FILE = "".join(f"def scale_{i}(value):\n    return value * {i}\n\n\n" for i in range(10))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def f(model_05b: Path) -> AsyncIterator[Front]:
    """A service that was started with the model."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="qc-", ignore_cleanup_errors=True) as path:
        patch.setenv("QWENCODER_HOME", path)
        async with front(model={"completion": str(model_05b), "chat": str(model_05b)}) as served:
            yield served


async def complete(f: Front, prompt: Any, **fields: Any) -> Any:
    """A greedy completion."""
    return await f.client.completions.create(**{"model": "auto", "prompt": prompt, "temperature": 0, "max_tokens": 4, **fields})


async def test_code_is_continued_and_a_prompt_that_was_seen_is_not_read_again(f: Front) -> None:
    cold, warm = await complete(f, FIRST, max_tokens=3), await complete(f, FIRST, max_tokens=3)
    stream = await complete(f, FIRST, max_tokens=3, stream=True)
    streamed = "".join([chunk.choices[0].text async for chunk in stream])
    assert cold.choices[0].text == warm.choices[0].text == streamed == " a + b"
    assert cold.usage.prompt_tokens_details.cached_tokens == 0
    assert warm.usage.prompt_tokens_details.cached_tokens == warm.usage.prompt_tokens - 1
    assert warm.timings["prompt_n"] == 1
    assert cold.timings["predicted_ms"] >= cold.timings["native_ms"] > 0


async def test_text_and_its_tokens_are_the_same_prompt_also_with_special_tokens_in_it(f: Front, model_05b: Path) -> None:
    vocabulary = load_tokenizer(model_05b)
    marked = "<|im_start|>user\nSay hello.<|im_end|>\n<|im_start|>assistant\n"
    text, tokens = await complete(f, marked), await complete(f, vocabulary.tokenize_markup(marked))
    assert text.usage.prompt_tokens == tokens.usage.prompt_tokens == tokens.usage.prompt_tokens_details.cached_tokens + 1


async def test_a_suffix_fills_and_candidates_share_one_prefill(f: Front) -> None:
    several = await complete(f, f"{FILE}{ADD} a", suffix="\n\n\nprint(add(1, 2))\n", n=3, temperature=1.0, seed=1)
    assert len(several.choices) == 3
    assert several.timings["prompt_n"] < 1.5 * several.usage.prompt_tokens, "what one has read the others take over"


async def test_a_schema_is_obeyed_in_a_chat(f: Front) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer", "maximum": 120}}, "required": ["age"], "additionalProperties": False}
    form: Any = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    messages: Any = [{"role": "user", "content": "Invent a person."}]
    answer = await f.client.chat.completions.create(model="auto", messages=messages, response_format=form, max_tokens=40)
    chosen = await f.client.chat.completions.create(model="auto", messages=messages, extra_body={"choice": ["Ann", "Bob"]})
    wrong = await f.http.post("/v1/chat/completions", json={"messages": messages, "regex": "("})
    assert set(json.loads(answer.choices[0].message.content or "")) == {"age"}
    assert chosen.choices[0].message.content in ("Ann", "Bob")
    assert wrong.status_code == 400
    assert "regex" in wrong.json()["error"]["message"]


async def test_json_that_would_be_cut_off_is_brought_to_a_valid_end_and_says_so(f: Front) -> None:
    schema = {"type": "object", "properties": {"story": {"type": "string"}}, "required": ["story"], "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "story", "schema": schema}}
    body = {"messages": [{"role": "user", "content": "Tell a long story of a dragon."}], "response_format": form, "max_tokens": 24}
    whole = (await f.http.post("/v1/chat/completions", json=body)).json()
    streamed = (await f.http.post("/v1/chat/completions", json={**body, "stream": True})).text
    infill = (await f.http.post("/completion", json={"prompt": "A long story as JSON: ", "n_predict": 24, "json_schema": schema})).json()
    assert len(json.loads(whole["choices"][0]["message"]["content"])["story"]) > 20
    assert (whole["choices"][0]["finish_reason"], whole["choices"][0]["closed_early"]) == ("stop", True)
    assert whole["usage"]["completion_tokens"] <= 24
    cut = (await f.http.post("/v1/chat/completions", json={**body, "close_early": False})).json()["choices"][0]
    assert (cut["finish_reason"], "closed_early" in cut) == ("length", False)
    assert '"closed_early":true' in streamed.replace(" ", "")
    assert (set(json.loads(infill["content"])), infill["stop_type"]) == ({"story"}, "limit")


async def test_the_score_of_a_text_is_what_the_model_gives_it_when_it_writes_it(f: Front) -> None:
    written = (await complete(f, ADD, logprobs=3)).choices[0]
    scored = (await complete(f, ADD + written.text, logprobs=0, echo=True, max_tokens=0)).choices[0]
    assert scored.text == ADD + written.text
    assert scored.logprobs.token_logprobs[0] is None
    assert "".join(scored.logprobs.tokens) == scored.text
    assert [len(top) for top in written.logprobs.top_logprobs] == [3] * 4
    assert scored.logprobs.token_logprobs[-4:] == pytest.approx(written.logprobs.token_logprobs, abs=0.1)


async def test_a_text_is_scored_with_one_token_more_and_the_best_token_at_each_place(f: Front, model_05b: Path) -> None:
    end = next(iter(load_tokenizer(model_05b).special.end))
    text = ADD + (await complete(f, ADD)).choices[0].text
    alone = (await complete(f, text, logprobs=1, echo=True, max_tokens=0)).choices[0].logprobs
    more = (await complete(f, text, logprobs=1, echo=True, max_tokens=1)).choices[0]
    ended = (await complete(f, text, logprobs=1, echo=True, max_tokens=1, logit_bias={str(end): 100})).choices[0].logprobs
    assert more.text == text + more.logprobs.tokens[-1]
    for table in (more.logprobs, ended):
        assert table.tokens[:-1] == alone.tokens
        assert table.token_logprobs[1:-1] == pytest.approx(alone.token_logprobs[1:], abs=0.1)
        assert len(table.token_logprobs) == len(table.top_logprobs) == len(table.text_offset) == len(table.tokens)
    assert all(max(top.values()) == value for top, value in zip(alone.top_logprobs[-4:], alone.token_logprobs[-4:], strict=True)), "it was greedy"


async def test_candidates_for_a_hole_are_not_all_the_same(f: Front) -> None:
    hole: Any = {"model": "auto", "prompt": "import random\n\nnumber = ", "suffix": "\nprint(number)\n", "max_tokens": 12}
    one = await f.client.completions.create(**hole)
    several = await f.client.completions.create(**hole, n=4, seed=1)
    assert several.choices[0].text == one.choices[0].text
    assert len({choice.text for choice in several.choices}) > 1


async def test_a_bias_bans_a_token_and_the_end_of_text_can_be_ignored(f: Front, model_05b: Path) -> None:
    plus = load_tokenizer(model_05b).tokenize(" +")[0]
    messages: Any = [{"role": "user", "content": "Answer with one word: yes or no?"}]
    banned = await complete(f, ADD, logit_bias={str(plus): -100})
    chat: Any = {"model": "auto", "messages": messages, "temperature": 0, "max_tokens": 40}
    short = await f.client.chat.completions.create(**chat)
    long = await f.client.chat.completions.create(**chat, extra_body={"ignore_eos": True})
    assert " +" not in banned.choices[0].text
    assert (short.choices[0].finish_reason, long.choices[0].finish_reason) == ("stop", "length")
    assert long.usage is not None
    assert long.usage.completion_tokens == 40


async def test_embeddings_of_like_texts_are_alike(f: Front) -> None:
    texts = ["def add(a, b): return a + b", "def plus(x, y): return x + y", "The weather in Paris is rainy today."]
    answer = await f.client.embeddings.create(model="auto", input=texts)
    one, two, other = (row.embedding for row in answer.data)
    assert math.isclose(math.hypot(*one), 1, rel_tol=1e-3)
    assert sum(map(mul, one, two)) > sum(map(mul, one, other))


async def test_of_a_text_that_is_too_long_to_embed_ollamas_route_reads_as_much_as_the_engine_takes(f: Front) -> None:
    text = "one two three four\n" * 600
    cut = (await f.http.post("/api/embed", json={"input": text}, timeout=600)).json()
    refused = await f.http.post("/api/embed", json={"input": text, "truncate": False}, timeout=600)
    assert cut["prompt_eval_count"] == cut["truncation"]["gaps"][0]["at"] == 2048
    assert math.isclose(math.hypot(*cut["embeddings"][0]), 1, rel_tol=1e-3)
    assert refused.status_code == 400


async def test_a_dropped_prefill_makes_way_and_what_it_read_is_kept(f: Front) -> None:
    text = "".join(f"value_{i} = compute({i * 7})\n" for i in range(400))
    kept = 0
    await complete(f, "x", max_tokens=1)
    for patience in (1, 2, 4, 8):  # until at least one micro-batch of the long prompt was finished, however slow the machine is
        long = asyncio.create_task(f.http.post("/v1/completions", json={"prompt": text}, timeout=600))
        await asyncio.sleep(patience)
        long.cancel()
        await complete(f, "y", max_tokens=1)
        await f.busy(0)
        again = await complete(f, text[:1000], max_tokens=1)
        kept = again.usage.prompt_tokens_details.cached_tokens
        if kept:
            break
    assert kept >= 16


async def test_llama_servers_routes_tell_of_each_token_and_of_a_finished_schema(f: Front) -> None:
    body: dict[str, Any] = {"prompt": ADD, "temperature": 0, "n_predict": 4, "n_probs": 3}
    plain = (await f.http.post("/completion", json=body)).json()
    rows = plain["completion_probabilities"]
    assert b"".join(bytes(row["bytes"]) for row in rows).decode() == plain["content"]
    assert all(row["top_logprobs"][0]["id"] == row["id"] and len(row["top_logprobs"]) == 3 for row in rows), "greedy"
    bias = [[rows[0]["id"], False]]
    assert (await f.http.post("/completion", json={**body, "logit_bias": bias})).json()["completion_probabilities"][0]["id"] != rows[0]["id"]
    schema = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"], "additionalProperties": False}
    done = (await f.http.post("/completion", json={"prompt": "JSON: ", "n_predict": 40, "json_schema": schema, "temperature": 0})).json()
    assert (set(json.loads(done["content"])), done["stop_type"]) == ({"a"}, "eos")


async def test_infill_reads_the_newest_chunk_and_its_candidates_differ(f: Front) -> None:
    """What llama.vscode sends; each of the older chunks alone fills the room there is on a slow machine."""
    old = [{"text": f"{FILE}old_{i} = {i}\n", "filename": f"old_{i}.py"} for i in range(30)]
    new = {"text": "def multiply_by_seventeen(number):\n    return number * 17\n", "filename": "numbers.py"}
    body = {"input_prefix": "from numbers import ", "input_suffix": "\n\nprint(multiply_by_seventeen(2))\n", "input_extra": [*old, new]}
    rows = (await f.http.post("/infill", json={**body, "n_predict": 12, "n_cmpl": 3, "seed": 1})).json()
    assert rows[0]["content"].startswith("multiply_by_seventeen")
    assert [gap["where"] for gap in rows[0]["truncation"]["gaps"]] == ["input_extra"]
    settings = [row["generation_settings"] for row in rows]
    assert len({(found["temperature"], found["seed"]) for found in settings}) == 3
