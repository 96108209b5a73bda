"""The command line as a user runs it, in processes of its own."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from qwencoder_lsp import __version__
from qwencoder_lsp.gateway import rendezvous
from tests.protocol.gateways import alive, end, wait

COMMAND = [sys.executable, "-m", "qwencoder_lsp.cli"]


def cli(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=120, check=False, cwd=cwd)


@pytest.fixture(autouse=True)
def gateway_ends(script: Any) -> Iterator[None]:
    yield
    if address := rendezvous.read_address():
        end(address.pid)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "app.py"
    path.write_text("def add(a, b):\n    \n", "utf-8")
    return path


def test_version_is_printed_without_loading_anything_heavy() -> None:
    code = "import sys; sys.argv = ['q', '--version']; from qwencoder_lsp.cli import main\ntry: main()\nfinally: print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith(f"qwencoder-lsp {__version__}\n")
    assert not {"typer", "pydantic", "pygls", "httpx2", "llama_cpp", "rich"} & set(done.stdout.split("'"))


def test_complete_prints_the_suggestion(script: Any, file: Path) -> None:
    script(default="return a + b")
    done = cli("complete", f"{file}:2:5")
    assert (done.stdout, done.returncode) == ("return a + b\n", 0)


def test_complete_as_json_tells_reason_tokens_and_the_times_of_all_stages(script: Any, file: Path) -> None:
    script(default="return a + b")
    answer = json.loads(cli("complete", f"{file}:2:5", "--json").stdout)
    assert answer["suggestion"]["text"] == "return a + b"
    assert answer["reason"] == "shown"
    assert answer["usage"]["prompt"] > 0
    assert {"gather", "render", "generate", "finish"} <= set(answer["timings"])


def test_complete_says_why_there_is_nothing(script: Any, file: Path) -> None:
    script(default="")
    assert "nothing to add" in cli("complete", f"{file}:2:5").stdout


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("app.py", "not FILE:LINE:COL"),
        ("app.py:0:1", "not FILE:LINE:COL"),
        ("app.py:9:1", "has 3 lines"),
        ("app.py:1:99", "last column is 15"),
        ("no.py:1:1", "cannot be read"),
    ],
)
def test_a_bad_place_is_wrong_usage(file: Path, place: str, message: str) -> None:
    done = cli("complete", place, cwd=file.parent)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_file_that_is_not_utf8_is_refused_by_name(file: Path) -> None:
    file.write_bytes(b"caf\xe9 = 1\n")
    done = cli("complete", f"{file}:1:1")
    assert done.returncode == 2
    assert "not UTF-8" in done.stderr


def test_an_unknown_model_fails_and_suggests_the_nearest(file: Path) -> None:
    done = cli("complete", f"{file}:2:5", "--model", "qwencoder-1.5")
    assert done.returncode == 1
    assert "qwencoder-1.5b" in done.stderr


def test_a_wrong_setting_is_wrong_usage(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWENCODER_COMPLETION_MAX_LINES", "many")
    done = cli("complete", f"{file}:2:5")
    assert done.returncode == 2
    assert "completion.max_lines = 'many'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_setting_from_the_environment_is_used(script: Any, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(default="x = 1\n    y = 2\n    z = 3")
    monkeypatch.setenv("QWENCODER_COMPLETION_MAX_LINES", "2")
    assert cli("complete", f"{file}:2:5").stdout == "x = 1\n    y = 2\n"


def test_status_and_stop_without_a_gateway() -> None:
    assert cli("status").returncode == 2
    stopped = cli("stop")
    assert (stopped.returncode, stopped.stdout) == (0, "No gateway is running.\n")


def test_serve_answers_over_http_status_shows_it_and_stop_ends_it() -> None:
    serving = subprocess.Popen([*COMMAND, "serve", "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert serving.stdout
        url = serving.stdout.readline().split()[2]
        assert httpx2.get(f"{url}/health").json()["completion_model"] == "scripted"
        status = json.loads(cli("status", "--json").stdout)["gateway"]
        assert url.endswith(status["listening"])
        stopped = cli("stop")
        assert stopped.returncode == 0
        assert wait(lambda: not alive(status["pid"]), 5)
        assert serving.wait(20) == 1, "serve says that its gateway has gone"
    finally:
        serving.kill()
        serving.wait()
        assert serving.stdout
        serving.stdout.close()


def test_ctrl_c_ends_serve_cleanly_and_the_port_is_free() -> None:
    serving = subprocess.Popen([*COMMAND, "serve", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert serving.stdout
    url = serving.stdout.readline().split()[2]
    serving.send_signal(signal.SIGINT)
    _, errors = serving.communicate(timeout=20)
    assert "Traceback" not in errors
    assert wait(lambda: _refuses(url), 10)


def _refuses(url: str) -> bool:
    try:
        httpx2.get(f"{url}/health")
    except httpx2.ConnectError:
        return True
    except httpx2.TransportError:  # taken just before the socket was closed
        return False
    return False


def test_a_taken_port_is_a_clear_error() -> None:
    first = subprocess.Popen([*COMMAND, "serve", "--port", "0"], stdout=subprocess.PIPE, text=True)
    assert first.stdout
    first.stdout.readline()
    second = cli("serve", "--port", "0")
    first.kill()
    first.wait()
    first.stdout.close()
    assert second.returncode == 2
    assert "already" in second.stderr


def test_logs_are_shown_and_followed(script: Any, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWENCODER_GATEWAY_LINGER_S", "300")  # it ends when it is told to, and not before the log is followed
    script(default="x")
    assert "no logs" in cli("logs").stderr
    cli("complete", f"{file}:2:5")
    assert "gateway" in cli("logs", "--tail", "5").stdout
    following = subprocess.Popen(
        [*COMMAND, "logs", "--tail", "0", "--follow"], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    assert following.stdout
    assert following.stdout.readline().startswith("==")
    cli("stop")
    line = ""
    deadline = time.monotonic() + 20
    while "ends" not in line and time.monotonic() < deadline:
        line = following.stdout.readline()
    following.kill()
    following.wait()
    following.stdout.close()
    assert "ends" in line


def test_models_are_listed_and_found() -> None:
    rows = json.loads(cli("models", "list", "--json").stdout)
    states = {row["name"]: row["state"] for row in rows}
    assert {"qwencoder-0.5b", "qwencoder-32b", "qwencoder-7b:q8_0", "qwencoder-next"} <= set(states)
    assert set(states.values()) == {"missing"}
    shown = cli("models", "list").stdout
    assert "qwencoder-7b " in shown
    assert "qwencoder-7b:q8_0" not in shown
    assert "qwencoder-7b:q8_0" in cli("models", "list", "--all").stdout
    assert "Qwen-Research" in shown
    missing = cli("models", "path", "qwencoder-1.5b")
    assert missing.returncode == 1
    assert "qwencoder-lsp models pull qwencoder-1.5b" in missing.stderr


def test_pulling_a_wrong_local_file_fails_and_leaves_nothing(home: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.gguf"
    wrong.write_bytes(b"GGUF" + bytes(1000))
    done = cli("models", "pull", "qwencoder-0.5b", "--source", str(wrong))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert not list((home / "data" / "models").glob("*.gguf"))


def install(home: Path, content: bytes) -> Path:
    """A model of the user's own repository with these bytes, as if it had been fetched."""
    directory, target = home / "config" / "models", home / "data" / "models" / "mine.gguf"
    directory.mkdir(parents=True)
    target.parent.mkdir(parents=True)
    file = f'{{ name = "mine.gguf", bytes = {len(content)}, sha256 = "{hashlib.sha256(content).hexdigest()}" }}'
    text = f'name = "mine"\nroles = ["chat"]\nrepository = "me/mine"\n[[quantisations]]\nname = "q"\nfiles = [{file}]\n'
    (directory / "mine.toml").write_text(text, "utf-8")
    target.write_bytes(content)
    return target


def test_a_model_is_verified_byte_by_byte(home: Path) -> None:
    target = install(home, b"GGUF and more")
    sound = cli("models", "verify", "--json")
    assert (json.loads(sound.stdout), sound.returncode) == ([{"model_name": "mine", "state": "sound"}], 0)
    target.write_bytes(b"GGUF and m0re")
    damaged = cli("models", "verify")
    assert damaged.returncode == 1
    assert "DAMAGED" in damaged.stdout
    assert "models pull mine" in damaged.stderr
    missing = cli("models", "verify", "qwencoder-7b")
    assert (missing.returncode, "not installed" in missing.stdout) == (1, True)


def test_a_file_of_ones_own_is_added_under_a_name(home: Path) -> None:
    (home / "mine.gguf").write_bytes(b"GGUF" + bytes(10))
    assert json.loads(cli("models", "add", str(home / "mine.gguf"), "--json").stdout) == {"model_name": "mine"}
    assert cli("models", "path", "mine").stdout.strip() == str(home / "mine.gguf")
    refused = cli("models", "add", str(home / "none.gguf"))
    assert (refused.returncode, "There is no model file" in refused.stderr) == (1, True)


def test_a_model_is_removed_once(home: Path) -> None:
    target = install(home, b"GGUF and more")
    done = cli("models", "remove", "mine", "--json")
    assert (json.loads(done.stdout), done.returncode) == ({"model_name": "mine", "freed_bytes": 13}, 0)
    assert not target.exists()
    again = cli("models", "remove", "mine")
    assert (again.returncode, "is not installed" in again.stderr) == (1, True)


@contextmanager
def serving() -> Iterator[None]:
    """A gateway that serves."""
    with subprocess.Popen([*COMMAND, "serve", "--port", "0"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("Serving on")
            yield
        finally:
            process.send_signal(signal.SIGINT)


def test_a_model_is_removed_by_the_gateway_that_runs(home: Path) -> None:
    target = install(home, b"GGUF and more")
    with serving():
        assert cli("models", "remove", "mine").returncode == 0
        assert not target.exists()
        assert cli("models", "remove", "mine").returncode == 1


def test_prune_deletes_what_interrupted_downloads_left_and_nothing_else(home: Path) -> None:
    target = install(home, b"GGUF and more")
    (target.with_name("mine.gguf.0123456789abcdef.partial")).write_bytes(b"GGUF")
    (target.with_name("gone.gguf.json")).write_text("{}")
    (target.with_name("mine.gguf.wheel")).mkdir()
    (target.with_name("of-the-user.gguf")).write_bytes(b"GGUF")
    planned = json.loads(cli("models", "prune", "--dry-run", "--json").stdout)
    assert (len(planned["files"]), planned["freed_bytes"], planned["deleted"]) == (3, 6, False)
    assert cli("models", "prune").returncode == 0
    assert {path.name for path in target.parent.iterdir()} == {"mine.gguf", "of-the-user.gguf", "downloads.lock"}
    assert "nothing to delete" in cli("models", "prune").stdout


def test_a_licence_that_is_not_free_is_shown_before_anything_is_fetched(home: Path) -> None:
    done = cli("models", "pull", "qwencoder-3b")
    assert done.returncode == 1
    assert "Qwen-Research" in done.stderr
    assert "--accept Qwen-Research" in done.stderr
    assert not (home / "data").exists()


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["serve"],
        ["stop"],
        ["status"],
        ["logs"],
        ["complete"],
        ["demo"],
        ["doctor"],
        ["review"],
        ["tests"],
        ["docs"],
        ["commit-message"],
        ["models"],
        ["models", "list"],
        ["models", "pull"],
        ["models", "path"],
        ["models", "remove"],
        ["models", "prune"],
        ["models", "verify"],
        ["info"],
        ["test"],
        *(["manage", verb] for verb in ("install", "start", "stop", "restart", "uninstall")),
        *(["credentials", verb] for verb in ("create", "list", "revoke")),
        *(["content", verb] for verb in ("add", "list", "get", "remove", "execute")),
    ],
)
def test_every_command_has_help_with_an_example(command: list[str]) -> None:
    done = cli(*command, "--help")
    assert done.returncode == 0
    assert "Example: qwencoder-lsp" in done.stdout


def test_an_unknown_command_is_wrong_usage() -> None:
    assert cli("frobnicate").returncode == 2


def test_modules_of_a_workspace_are_never_run(script: Any, file: Path) -> None:
    script(default="return a + b")
    hostile = file.parent / "qwencoder_lsp"
    for part in ("", "http", "engine"):
        (hostile / part).mkdir(exist_ok=True)
        (hostile / part / "__init__.py").write_text(f"open({str(file.parent / 'run')!r}, 'w')\nraise SystemExit(3)\n", "utf-8")
    command = Path(sys.executable).with_name("qwencoder-lsp")
    done = subprocess.run([command, "complete", "app.py:2:5"], capture_output=True, text=True, timeout=120, check=False, cwd=file.parent)
    assert (done.stdout, done.returncode) == ("return a + b\n", 0)
    assert not (file.parent / "run").exists()


def test_doctor_without_a_model_says_what_to_fetch(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"HF_ENDPOINT": "http://127.0.0.1:9", "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "NO_PROXY": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("QWENCODER_MODEL")
    (home / "config" / "models").mkdir(parents=True)
    (home / "config" / "models" / "bad.toml").write_text("name =")
    done = cli("doctor")
    assert done.returncode == 1
    assert "No model for this is installed" in done.stdout
    assert "qwencoder-lsp models pull qwencoder-1.5b" in done.stdout
    assert "--source FILE" in done.stdout, "nothing can be reached"
    assert "bad.toml is ignored" in done.stdout
    told = json.loads(cli("doctor", "--format", "json").stdout)
    assert told["ok"] is False
    assert {"machine", "llama.cpp", "GPU", "completion", "chat", "gateway", "disk"} <= {finding["subject"] for finding in told["findings"]}


def test_doctor_of_a_machine_in_order_ends_with_0(script: Any) -> None:
    done = cli("doctor")
    assert (done.returncode, "scripted. It is set by model.completion." in done.stdout) == (0, True)
