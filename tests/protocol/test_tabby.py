"""Tabby's dialect over a real socket, with the scripted engine."""

from __future__ import annotations

from typing import Any

from tests.protocol.fronts import front

# As the agent of Tabby sends it (its OpenAPI document, CompletionRequest).
REQUEST: dict[str, Any] = {
    "language": "python",
    "segments": {
        "prefix": "def add(a, b):\n    return ",
        "suffix": "\n",
        "filepath": "src/add.py",
        "git_url": "https://git.example/team/sums.git",
        "declarations": [{"filepath": "src/other.py", "body": "def other(): ..."}],
        "relevant_snippets_from_changed_files": [{"filepath": "src/third.py", "body": "third = 3", "score": 0.5}],
        "clipboard": "pasted",
    },
    "temperature": 0.1,
    "seed": 7,
    "user": "u",
    "mode": "standard",
}


async def test_segments_fill_in_the_middle_with_the_snippets_of_other_files(script: Any) -> None:
    header = "<|repo_name|>sums\n<|file_sep|>src/other.py\ndef other(): ...\n<|file_sep|>src/third.py\nthird = 3\n"
    header += "<|file_sep|>src/add.py\n<|fim_prefix|>def add"
    script(rules=[{"contains": header, "text": "a + b"}])
    async with front() as f:
        answer = (await f.http.post("/v1/completions", json=REQUEST)).json()
    assert answer["id"]
    assert [(choice["index"], choice["text"]) for choice in answer["choices"]] == [(0, "a + b")]


async def test_health_pleases_tabbys_clients_and_llama_vscode(script: Any) -> None:
    async with front() as f:
        for method in ("GET", "POST"):
            found = (await f.http.request(method, "/v1/health")).json()
            assert found["status"] == "ok"
            assert found["model"] == "scripted"
            assert {"device", "arch", "cpu_info", "cpu_count"} <= set(found)
            assert set(found["version"]) == {"build_date", "build_timestamp", "git_sha", "git_describe"}


async def test_events_are_accepted(script: Any) -> None:
    async with front() as f:
        event = {"type": "select", "completion_id": "cmpl-1", "choice_index": 0, "elapsed": 5}
        assert (await f.http.post("/v1/events", json=event)).status_code == 200
        assert (await f.http.post("/v1/events", json={})).status_code == 400


async def test_bad_segments_are_named(script: Any) -> None:
    async with front() as f:
        for segments in ({"suffix": "x"}, {"prefix": 1}, {"prefix": "x", "declarations": [{}]}, "x"):
            answer = await f.http.post("/v1/completions", json={"segments": segments})
            assert answer.status_code == 400
            assert "segments" in answer.json()["error"]["message"] or "prompt" in answer.json()["error"]["message"]
        assert (await f.http.post("/v1/completions", json={})).json()["error"]["param"] == "prompt"
