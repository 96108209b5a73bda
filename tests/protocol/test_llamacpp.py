"""llama-server's own routes over a real socket, with the scripted engine: what llama.vim, llama.vscode and Continue send and read."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from qwencoder_lsp.engine.vocabulary import ByteTokenizer
from qwencoder_lsp.http.llamacpp_bodies import InfillBody
from qwencoder_lsp.http.llamacpp_routes import plan_infill
from tests.protocol.fronts import Front, front
from tests.protocol.gateways import until
from tests.protocol.test_openai_plan import service

# What llama.vim posts, with its own defaults (autoload/llama.vim): a completion, and what it sends to warm the cache.
VIM: dict[str, Any] = {
    "id_slot": 0,
    "input_prefix": "def add(a, b):\n",
    "input_suffix": "\n\nprint(add(1, 2))\n",
    "input_extra": [{"text": "def scale(x):\n    return 2 * x\n", "time": [1, 2], "filename": "scale.py"}],
    "prompt": "    ret",
    "n_predict": 128,
    "stop": [],
    "n_indent": 4,
    "top_k": 40,
    "top_p": 0.90,
    "stream": False,
    "samplers": ["top_k", "top_p", "infill"],
    "cache_prompt": True,
    "t_max_prompt_ms": 500,
    "t_max_predict_ms": 1000,
    "response_fields": [
        "content",
        "timings/prompt_n",
        "timings/prompt_ms",
        "timings/prompt_per_token_ms",
        "timings/prompt_per_second",
        "timings/predicted_n",
        "timings/predicted_ms",
        "timings/predicted_per_token_ms",
        "timings/predicted_per_second",
        "truncated",
        "tokens_cached",
    ],
}
WARM = {**VIM, "n_predict": 0, "samplers": [], "t_max_prompt_ms": 1, "t_max_predict_ms": 1, "response_fields": [""]}


async def test_llama_vim_gets_what_it_asks_for(script: Any) -> None:
    script(rules=[{"contains": "<|fim_middle|>    ret<|cursor|>", "text": "urn a + b"}], default="no")
    async with front() as f:
        warm = await f.http.post("/infill", json=WARM)
        answer = (await f.http.post("/infill", json=VIM)).json()
    assert (warm.status_code, warm.json()) == (200, {})
    assert set(answer) == set(VIM["response_fields"])
    assert answer["content"] == "urn a + b"
    assert answer["timings/predicted_n"] == len("urn a + b")
    assert answer["truncated"] is False


async def test_files_beside_come_before_the_text_at_the_cursor(script: Any) -> None:
    script(rules=[{"contains": "<|file_sep|>scale.py\ndef scale(x):\n    return 2 * x\n", "text": "seen"}], default="no")
    async with front() as f:
        assert (await f.http.post("/infill", json=VIM)).json()["content"] == "seen"


def chunks(count: int) -> list[dict[str, str]]:
    """As llama.vim sends them: the oldest first."""
    return [{"text": "".join(f"chunk {i}, line {line}\n" for line in range(10)), "filename": f"f{i}.py"} for i in range(count)]


async def test_of_too_many_files_beside_the_newest_are_read_and_the_rest_is_told(script: Any) -> None:
    script(rules=[{"contains": "<|file_sep|>f3.py\nchunk 3, line 9\n<|file_sep|>f4.py\nchunk 4, line 0\n", "text": "newest"}], default="no")
    body = {**VIM, "response_fields": [], "input_extra": chunks(5), "n_predict": 64}
    async with front(engine={"context": 1024}) as f:
        whole = (await f.http.post("/infill", json=body)).json()
        streamed = await f.http.post("/infill", json={**body, "stream": True})
        few = (await f.http.post("/infill", json={**body, "input_extra": chunks(1)})).json()
        long = (await f.http.post("/infill", json={**body, "input_prefix": "x = 1\n" * 200, "input_suffix": "y = 2\n" * 200})).json()
        hole = {"prompt": "x = 1\n" * 200, "suffix": "y", "stream": False, "options": {"num_predict": 16}}
        filled = (await f.http.post("/api/generate", json=hole)).json()
    assert whole["content"] == "newest"
    size = len("chunk 0, line 0\n")
    gap = {"prompt": 0, "where": "input_extra", "at": 0, "tokens": 39 * size}
    assert (whole["truncated"], whole["truncation"]) == (True, {"dropped_tokens": 39 * size, "gaps": [gap]})
    assert json.loads(streamed.text.strip().rpartition("data: ")[2])["truncation"] == whole["truncation"]
    assert few["truncated"] is False
    assert "truncation" not in few
    assert [gap["where"] for gap in long["truncation"]["gaps"]] == ["input_extra", "input_prefix", "input_suffix"]
    assert [gap["where"] for gap in filled["truncation"]["gaps"]] == ["prompt"]


async def test_nothing_before_the_typed_text_changes_from_key_to_key(script: Any) -> None:
    """Or each key would read all of it anew: what is typed takes room from what is read."""
    body = {**VIM, "input_prefix": "x = 1\n" * 300, "input_suffix": "y = 2\n" * 300, "input_extra": chunks(20), "n_predict": 64}
    middle = ByteTokenizer.special.fim_middle
    async with service(engine={"context": 1024}) as s:
        typed = ["return total_of_the_list"[:size] for size in range(24)]
        asked = [(await plan_infill(s, InfillBody.model_validate({**body, "prompt": text}))).requests[0].tokens for text in typed]
    assert len({tokens[: tokens.index(middle)] for tokens in asked if middle is not None}) == 1


async def test_a_key_ends_the_request_before_it(script: Any) -> None:
    script(default="x", prefill_ms=60_000)
    async with front() as f:
        request = asyncio.create_task(f.http.post("/infill", json=VIM))
        await f.busy(1)
        await until(f.private, lambda s: bool(s.models) and s.models[0].state == "ready")
        request.cancel()
        await f.busy(0)


async def test_a_completion_is_whole_streamed_or_several(script: Any) -> None:
    script(default=["one two", "three"])
    async with front() as f:
        whole = (await f.http.post("/completion", json={"prompt": "x", "n_predict": 3})).json()
        streamed = await f.http.post("/completion", json={"prompt": "x", "stream": True, "stop": [" t"]})
        several = (await f.http.post("/completions", json={"prompt": ["x", "y"], "n_predict": -1})).json()
    assert (whole["content"], whole["stop"], whole["stop_type"], whole["tokens_predicted"]) == ("one", True, "limit", 3)
    assert {"tokens_evaluated", "tokens_cached", "generation_settings", "timings", "model", "truncated"} <= set(whole)
    events = [json.loads(line.removeprefix("data: ")) for line in streamed.text.split("\n\n") if line]
    assert "".join(event["content"] for event in events) == "one"
    assert [event["stop"] for event in events] == [False] * (len(events) - 1) + [True]
    assert events[-1]["stop_type"] == "word"
    assert [row["content"] for row in several] == ["one two", "one two"]


async def test_a_line_that_is_indented_by_fewer_characters_ends_the_answer_and_a_tab_is_one(script: Any) -> None:
    """llama.vim sends how many characters of white space the cursor's line begins with."""
    script(default="return a\n\t\tb\n\t}\n}")
    async with front() as f:
        answer = (await f.http.post("/infill", json={**VIM, "prompt": "\t\t", "n_indent": 2, "response_fields": []})).json()
    assert answer["content"] == "return a\n\t\tb"


async def test_why_an_answer_ended_is_told_in_llama_servers_words(script: Any) -> None:
    script(rules=[{"contains": "slow", "text": "a\nb\nc"}], default="a b\nc", token_ms=2)
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"prompt": "x"}, "eos", ""),
        ({"prompt": "x", "n_predict": 1}, "limit", ""),
        ({"prompt": "x", "n_indent": 1}, "limit", ""),
        ({"prompt": "slow", "t_max_predict_ms": 1}, "limit", ""),
        ({"prompt": "x", "stop": ["no", " b"]}, "word", " b"),
    ]
    async with front() as f:
        for body, kind, word in cases:
            whole = (await f.http.post("/completion", json=body)).json()
            streamed = await f.http.post("/completion", json={**body, "stream": True})
            last = json.loads([line for line in streamed.text.split("\n\n") if line][-1].removeprefix("data: "))
            assert [(end["stop_type"], end["stopping_word"]) for end in (whole, last)] == [(kind, word)] * 2, body


async def test_n_probs_asks_for_the_tokens_with_their_alternatives_whole_and_streamed(script: Any) -> None:
    script(default="hé")
    body: dict[str, Any] = {"prompt": "x", "n_probs": 2}
    async with front() as f:
        rows = (await f.http.post("/completion", json=body)).json()["completion_probabilities"]
        filled = (await f.http.post("/infill", json={**VIM, "n_probs": 1, "response_fields": []})).json()["completion_probabilities"]
        streamed = await f.http.post("/completion", json={**body, "stream": True})
        without = (await f.http.post("/completion", json={"prompt": "x"})).json()
    assert [row["id"] for row in rows] == [0x68, 0xC3, 0xA9]
    assert rows[0] == {"id": 0x68, "token": "h", "bytes": [0x68], "logprob": -0.1, "top_logprobs": rows[0]["top_logprobs"]}
    assert rows[0]["top_logprobs"] == [
        {"id": 0x68, "token": "h", "bytes": [0x68], "logprob": -0.1},
        {"id": 0x69, "token": "i", "bytes": [0x69], "logprob": -1.1},
    ]
    assert (rows[1]["token"], rows[1]["bytes"]) == ("", [0xC3]), "a part of a character has no text"
    assert [len(row["top_logprobs"]) for row in filled] == [1] * 3
    events = [json.loads(line.removeprefix("data: ")) for line in streamed.text.split("\n\n") if line]
    assert [row for event in events[:-1] for row in event["completion_probabilities"]] == rows
    assert "completion_probabilities" not in {**events[-1], **without}


async def test_a_bias_may_name_a_token_or_text_and_false_forbids(script: Any) -> None:
    """llama.cpp's form beside OpenAI's; what a bias does is the sampler's."""
    script(default="x")
    good: list[Any] = [[[97, 1.0]], [[97, False], ["text", -1]], [], {"97": 1}, {"97": False}]
    bad: list[Any] = [[[97]], [[97, True]], [[97, "1"]], [[97, 101]], [[None, 1]], [[999_999, 1]], [[-1, 1]], {"text": 1}, 97, [97]]
    async with front() as f:
        for path in ("/completion", "/v1/completions"):
            for bias in good:
                assert (await f.http.post(path, json={"prompt": "x", "logit_bias": bias})).status_code == 200, bias
            for bias in bad:
                answer = await f.http.post(path, json={"prompt": "x", "logit_bias": bias})
                assert (answer.status_code, answer.json()["error"]["param"]) == (400, "logit_bias"), bias


async def test_n_cmpl_asks_for_several_answers_in_one_list(script: Any) -> None:
    """llama.vscode sends `n_cmpl: 3` by default, and reads the list."""
    script(default=["a + b", "b + a", "sum"])
    async with front() as f:
        several = (
            await f.http.post("/infill", json={**VIM, "n_cmpl": 3, "response_fields": ["content", "index", "generation_settings/temperature"]})
        ).json()
        whole = (await f.http.post("/completion", json={"prompt": "x", "n_cmpl": 2, "n": 1})).json()
        streamed = await f.http.post("/infill", json={**VIM, "n_cmpl": 2, "stream": True, "response_fields": []})
        too_many = await f.http.post("/infill", json={**VIM, "n_cmpl": 129})
    assert [row["content"] for row in several] == ["a + b", "b + a", "sum"]
    assert [row["index"] for row in several] == [0, 1, 2]
    first, *others = [row["generation_settings/temperature"] for row in several]
    assert first == 0 < min(others), "all would be the same"
    assert [row["content"] for row in whole] == ["a + b", "b + a"]
    events = [json.loads(line.removeprefix("data: ")) for line in streamed.text.split("\n\n") if line]
    assert ["".join(e["content"] for e in events if e["index"] == i) for i in (0, 1)] == ["a + b", "b + a"]
    assert too_many.status_code == 400


async def test_text_becomes_tokens_and_back(script: Any) -> None:
    async with front() as f:
        tokens = (await f.http.post("/tokenize", json={"content": "a<|im_end|>"})).json()["tokens"]
        plain = (await f.http.post("/tokenize", json={"content": "<|im_end|>", "parse_special": False})).json()["tokens"]
        pieces = (await f.http.post("/tokenize", json={"content": "é", "with_pieces": True})).json()["tokens"]
        back = (await f.http.post("/detokenize", json={"tokens": [104, 105]})).json()
        nothing = (await f.http.post("/detokenize", json={"tokens": []})).json()
        wrong = await f.http.post("/detokenize", json={"tokens": [9999]})
    assert tokens == [97, 262]
    assert len(plain) == len("<|im_end|>")
    assert pieces == [{"id": 0xC3, "piece": [0xC3]}, {"id": 0xA9, "piece": [0xA9]}], "a part of a character has no text"
    assert (back, nothing) == ({"content": "hi"}, {"content": ""})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "tokens")


async def test_the_template_can_be_applied_without_an_answer(script: Any) -> None:
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "hi <|im_end|>"}]}
    async with front() as f:
        plain = (await f.http.post("/apply-template", json=body)).json()["prompt"]
        tools = (await f.http.post("/apply-template", json={**body, "tools": [{"function": {"name": "f"}}]})).json()["prompt"]
    assert plain == "<|im_start|>user\nhi <|im_end|><|im_end|>\n<|im_start|>assistant"
    assert '"name": "f"' in tools


async def test_props_and_slots_show_sizes_and_no_text(script: Any) -> None:
    script(default="x")
    async with front() as f:
        asleep = (await f.http.get("/props?model=scripted&autoload=false")).json()
        await f.http.post("/completion", json={"prompt": "a secret"})
        awake, slots = (await f.http.get("/props")).json(), await f.http.get("/slots")
    assert (asleep["is_sleeping"], awake["is_sleeping"]) == (True, False)
    assert awake["default_generation_settings"]["n_ctx"] == slots.json()[0]["n_ctx"] > 0
    assert "im_start" in awake["chat_template"]
    assert "secret" not in slots.text


async def test_what_is_not_served_is_refused(script: Any) -> None:
    script(default="x")
    bodies: list[tuple[str, dict[str, Any], str]] = [
        ("/completion", {"prompt": "x", "grammar": "root ::= x"}, "grammar"),
        ("/completion", {"prompt": "x", "json_schema": {}, "regex": "a"}, "json_schema"),
        ("/completion", {}, "prompt"),
        ("/completion", {"prompt": ["x"] * 65, "n_cmpl": 2}, "n_cmpl"),
        ("/infill", {**VIM, "n_probs": 101}, "n_probs"),
        ("/infill", {"input_prefix": "x"}, "input_suffix"),
    ]
    async with front() as f:
        for path, body, param in bodies:
            answer = await f.http.post(path, json=body)
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_mistrals_fim_route_answers_as_a_chat(script: Any) -> None:
    """Continue's openai and mistral providers read choices[0].delta.content from it."""
    script(rules=[{"contains": "<|fim_suffix|>)<|fim_middle|>f(<|cursor|>", "text": "x"}], default="no")
    async with front() as f:
        whole = (await f.http.post("/v1/fim/completions", json={"prompt": "f(", "suffix": ")"})).json()
        streamed = await f.http.post("/v1/fim/completions", json={"prompt": "f(", "suffix": ")", "stream": True})
    assert whole["choices"][0]["message"]["content"] == "x"
    events = [json.loads(line.removeprefix("data: ")) for line in streamed.text.split("\n\n")[:-2]]
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in events) == "x"


def as_curl_sends(body: dict[str, Any], path: str = "/infill") -> bytes:
    """The bytes of llama.vim's `curl --silent --no-buffer --request POST --url URL --header "Content-Type: application/json" --data @-`, with the
    body as Vim's json_encode writes it."""
    data = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:11452\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n"
    expect = "Expect: 100-continue\r\n" if len(data) > 1 << 20 else ""
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(data)}\r\n{expect}\r\n".encode() + data


async def curl(f: Front, data: bytes, *, killed_after: float | None = None) -> tuple[int, Any]:
    """Status and body; (0, None) for one that is killed after so many seconds."""
    reader, writer = await asyncio.open_connection(f.http.base_url.host, f.http.base_url.port)
    try:
        writer.write(data)
        if killed_after is not None:
            await asyncio.sleep(killed_after)
            return 0, None
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        return int(head.split()[1]), json.loads(await reader.readexactly(length))
    finally:
        writer.close()


async def test_llama_vims_bytes_are_answered_and_killed_curls_stop_their_work(script: Any) -> None:
    script(rules=[{"contains": "slow", "text": "never " * 1000}], default="a + b", token_ms=1)
    instruct: dict[str, Any] = {"id_slot": 0, "messages": [{"role": "user", "content": "héllo\t\u0001"}]}
    instruct |= {"min_p": 0.1, "temperature": 0.1, "samplers": [], "stream": False}
    async with front() as f:
        assert await curl(f, as_curl_sends(WARM)) == (200, {})
        status, answer = await curl(f, as_curl_sends(VIM))
        assert (status, set(answer)) == (200, set(VIM["response_fields"]))
        for after in (0, 0.005, 0.05, 0.2):
            await curl(f, as_curl_sends({**VIM, "prompt": "slow"}), killed_after=after)
            await f.busy(0)
        typed = as_curl_sends(VIM)
        for end in (10, len(typed) // 2, len(typed) - 1):
            await curl(f, typed[:end], killed_after=0.01)
        status, warmed = await curl(f, as_curl_sends({**instruct, "n_predict": 0}, "/v1/chat/completions"))
        assert (status, warmed["usage"]["completion_tokens"]) == (200, 0)
        status, answer = await curl(f, as_curl_sends(instruct, "/v1/chat/completions"))
        assert (status, answer["choices"][0]["message"]["content"]) == (200, "a + b")
        await f.busy(0)


async def test_a_hole_is_filled_in_a_small_context_when_no_length_is_named(script: Any) -> None:
    script(default="answer")
    async with front(engine={"context": 1024}) as f:
        answers = [
            await f.http.post("/infill", json={"input_prefix": "x = ", "input_suffix": "\n"}),
            await f.http.post("/api/generate", json={"prompt": "x = ", "suffix": "\n", "stream": False}),
            await f.http.post("/api/generate", json={"prompt": "x = ", "raw": True, "stream": False}),
        ]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert [answer.json().get("content", answer.json().get("response")) for answer in answers] == ["answer"] * 3
