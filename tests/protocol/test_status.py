"""`status` and `logs` for people and for those who watch over it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qwencoder_lsp.operate import record, state
from tests.protocol.gateways import gateway, wait
from tests.protocol.operations import run


@pytest.fixture(autouse=True)
def ended(script: Any) -> Iterator[None]:
    script(default="x")
    yield
    run("manage", "stop", "--force")


def test_nothing_runs_is_exit_code_2_in_text_and_json() -> None:
    text = run("status")
    assert (text.code, "qwencoder-lsp manage start" in text.out) == (2, True)
    found = run("status", "--format", "json")
    assert found.code == 2
    assert (found.json["state"], found.json["service"], found.json["gateway"]) == ("stopped", None, None)


def test_a_running_service_shows_its_address_models_memory_and_speed_of_answer() -> None:
    started = run("manage", "start", "--port", "0", "--wait", "--json").json
    found = run("status", "--json")
    assert found.code == 0
    now = found.json
    assert (now["state"], now["service"]["address"], now["service"]["state"]) == ("running", started["address"], "serving")
    assert now["service"]["health_ms"] < 5000
    assert now["gateway"]["models"][0]["state"] == "ready"
    assert now["memory"]["engines"]["scripted"] > 0
    assert now["memory"]["gateway"] > 0
    text = run("status").out
    assert f"serving on {started['address']}" in text
    assert "memory      scripted" in text


def test_a_service_that_does_not_answer_is_a_failure() -> None:
    started = run("manage", "start", "--port", "0", "--json").json
    gateway_pid = run("status", "--json").json["gateway"]["pid"]
    os.kill(gateway_pid, signal.SIGSTOP)
    try:
        found = run("status", "--json")
    finally:
        os.kill(gateway_pid, signal.SIGCONT)
    assert found.code == 1
    assert f"does not answer on {started['address']}" in found.json["problems"][0]
    assert "The gateway does not answer" in found.json["problems"][1]


def test_a_lost_gateway_that_does_not_come_back_is_told(home: Path) -> None:
    started = run("manage", "start", "--port", "0", "--json").json
    pid = run("status", "--json").json["gateway"]["pid"]
    (home / "run").chmod(0o755)  # no gateway starts in a directory that others can enter
    os.kill(pid, signal.SIGKILL)
    try:
        assert wait(lambda: bool((r := record.find_running()) and r.state == "restarting"), 20)
    finally:
        (home / "run").chmod(0o700)
    assert record.find_running()
    assert "the gateway is lost" in run("logs", "--since", "1m").out
    assert wait(lambda: bool((r := record.find_running()) and r.state == "serving"), 60)
    assert started["pid"] == run("status", "--json").json["service"]["pid"]


async def test_a_failed_model_is_a_failure_with_its_reason(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = home / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    monkeypatch.setenv("QWENCODER_MODEL", str(broken))
    async with gateway() as client:
        with pytest.raises(Exception, match="broken"):
            await client.service.json("POST", "/models/load", {"model_name": ""})
        found = run("status", "--json")
        assert found.code == 1
        assert found.json["problems"][0].startswith("broken: ")
        assert "problem     broken: " in run("status").out


def test_logs_are_for_all_processes_as_text_and_json() -> None:
    assert run("logs").code == 2
    run("manage", "start", "--port", "0", "--wait")
    text = run("logs", "--tail", "50")
    assert text.code == 0
    assert "gateway.log" in text.out
    assert "serving on" in text.out
    rows = [line for line in run("logs", "--json").out.splitlines() if '"service"' in line]
    assert '"level": "INFO"' in rows[0]
    assert "serving" not in run("logs", "--since", "2099-01-01").out
    assert run("logs", "--since", "tomorrow").code == 1


@pytest.mark.parametrize(
    ("address", "url"), [("127.0.0.1:1", "http://127.0.0.1:1"), ("0.0.0.0:1", "http://127.0.0.1:1"), ("[::]:1", "http://[::1]:1")]
)
def test_a_service_on_every_address_is_reached_on_loopback(address: str, url: str) -> None:
    assert state.url_of(address) == url
