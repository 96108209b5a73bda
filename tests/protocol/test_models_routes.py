"""The service's own routes over a real socket: health, models, downloads, metrics."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import filelock

from qwencoder_lsp.models.catalogue import find
from qwencoder_lsp.models.store import path_of
from tests.protocol.fronts import front
from tests.protocol.gateways import until

SMALL = "qwencoder-0.5b"


def install(name: str) -> Path:
    """A file that looks like the model."""
    target = path_of(find(name))
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        file.write(b"GGUF")
        file.truncate(find(name).bytes)
    return target


async def test_health_says_what_is_loaded_and_how_much_memory_there_is(script: Any) -> None:
    script(default="x")
    async with front() as f:
        before = (await f.http.get("/health")).json()
        await f.client.completions.create(model="auto", prompt="x")
        after = (await f.http.get("/v1/health")).json()
    assert (before["status"], before["model_loaded"], before["model"]) == ("ok", False, "scripted")
    assert after["model_loaded"] is True
    assert after["models"][0]["resident_bytes"] > 1 << 20
    assert after["memory"]["engines_bytes"] == after["models"][0]["resident_bytes"]
    assert after["memory"]["total_bytes"] > after["memory"]["available_bytes"] > 0


async def test_models_are_loaded_unloaded_and_listed(script: Any) -> None:
    script(default="x")
    async with front() as f:
        listed = (await f.http.get("/models")).json()
        assert (await f.http.post("/models/load", json={})).json() == {"model_name": "scripted", "state": "ready"}
        assert (await f.private.status()).models[0].state == "ready"
        assert (await f.http.post("/models/unload", json={"model_name": "scripted"})).json()["state"] == "unloading"
        await until(f.private, lambda s: s.models[0].state == "unloaded")
        assert (await f.http.post("/models/unload", json={})).json()["state"] == "unloaded"
        unknown = await f.http.post("/models/load", json={"model_name": "gpt-4"})
        missing = await f.http.post("/models/load", json={"model_name": SMALL})
        own = await f.client.models.retrieve("scripted")
    assert {row["model_name"]: row["state"] for row in listed["models"]}[SMALL] == "missing"
    assert listed["auto"]["chat"] == {"model": "scripted", "why": "It is set by model.chat."}
    assert [row["id"] for row in listed["data"]] == ["scripted"] == [own.id]
    assert (unknown.status_code, missing.status_code) == (404, 404)
    assert "models pull" in missing.json()["error"]["message"]


async def test_auto_says_why(home: Path) -> None:
    install(SMALL)
    async with front() as f:
        auto = (await f.http.get("/models")).json()["auto"]
    assert auto["chat"] == {"model": SMALL, "why": "It is the only installed model for chat."}
    assert auto["completion"]["model"] == ""
    assert "models pull" in auto["completion"]["why"]


async def test_an_installed_model_can_be_deleted(home: Path) -> None:
    file = install(SMALL)
    async with front() as f:
        assert (await f.http.delete(f"/models/{SMALL}")).json() == {"model_name": SMALL, "state": "deleted", "freed_bytes": find(SMALL).bytes}
        again, unknown = await f.http.delete(f"/models/{SMALL}"), await f.http.delete("/models/gpt-4")
    assert not file.exists()
    assert (again.status_code, unknown.status_code) == (404, 404)


async def test_a_download_is_followed_and_its_failure_told(script: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    async with front() as f:
        begun = await f.http.post("/models/download", json={"model_name": SMALL, "quantization": "q4_k_m"})
        assert (begun.status_code, begun.json()["state"]) == (202, "running")
        followed = await f.http.post("/models/download", json={"model_name": SMALL, "stream": True}, timeout=120)
        events = [json.loads(line.removeprefix("data: ")) for line in followed.text.split("\n\n") if line.startswith("data: {")]
        polled = (await f.http.get(f"/models/download/{SMALL}")).json()
        every = (await f.http.get("/models/download")).json()["downloads"]
        wrong = await f.http.post("/models/download", json={"model_name": SMALL, "quantization": "q2_k"})
        restricted = await f.http.post("/models/download", json={"model_name": "qwencoder-3b"})
        none = await f.http.get("/models/download/other")
    assert events[-1]["state"] == "failed"
    assert events[-1]["total"] == find(SMALL).bytes
    assert polled == every[0] == events[-1]
    assert wrong.json()["error"]["param"] == "quantization"
    assert (restricted.status_code, restricted.json()["error"]["code"]) == (403, "licence")
    assert "Qwen-Research" in restricted.json()["error"]["message"]
    assert (none.status_code, none.json()["error"]["code"]) == (404, "model_not_found")


async def test_a_download_can_be_cancelled(home: Path) -> None:
    target = path_of(find(SMALL))
    target.parent.mkdir(parents=True)
    with filelock.FileLock(target.with_name("downloads.lock")):  # so that it waits, as for another program
        async with front() as f:
            await f.http.post("/models/download", json={"model_name": SMALL})
            follow = asyncio.create_task(f.http.post("/models/download", json={"model_name": SMALL, "stream": True}, timeout=60))
            await f.busy(1)
            assert (await f.http.delete(f"/models/download/{SMALL}")).status_code == 200
            events = (await follow).text
            assert (await f.http.get(f"/models/download/{SMALL}")).json()["state"] == "cancelled"
            assert (await f.http.delete("/models/download/other")).status_code == 404
    assert '"state":"cancelled"' in events
    assert not target.exists()


async def test_metrics_count_what_engines_did(script: Any) -> None:
    script(default="abc")
    async with front() as f:
        await f.client.completions.create(model="auto", prompt="xy")
        answer = await f.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    assert 'llamacpp:prompt_tokens_total{model="scripted"} 2.0' in lines
    assert 'llamacpp:tokens_predicted_total{model="scripted"} 3.0' in lines
    assert 'qwencoder_requests_total{model="scripted",reason="stop_token"} 1.0' in lines
    assert 'qwencoder_model_loaded{model="scripted"} 1.0' in lines
    assert 'qwencoder_prefix_cache_bytes{model="scripted"} 0.0' in lines
    assert "llamacpp:requests_processing 1.0" in lines, "`serve` itself is one"
