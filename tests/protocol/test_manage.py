"""`manage`: the service in the background, as an orchestrator handles it."""

from __future__ import annotations

import os
import plistlib
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from qwencoder_lsp.gateway import rendezvous
from qwencoder_lsp.operate import record, units
from qwencoder_lsp.operate.record import Options
from tests.protocol.gateways import alive, wait
from tests.protocol.operations import run


@pytest.fixture(autouse=True)
def nothing_is_left(script: Any) -> Iterator[None]:
    script(default="x")
    yield
    running, address = record.find_running(), rendezvous.read_address()
    for pid in (*([running.pid] if running else []), *([address.pid] if address else [])):
        os.kill(pid, signal.SIGKILL)
    assert wait(lambda: not record.lives() and not rendezvous.gateway_lives(), 10)


def health(address: str) -> Any:
    return httpx2.get(f"http://{address}/health").json()


def test_the_whole_life_of_the_service_with_its_exit_codes() -> None:
    assert run("manage", "stop").code == 2
    assert run("manage", "uninstall").code == 2
    installed = run("manage", "install", "--port", "0", "--json")
    assert (installed.code, installed.json["result"], installed.json["models"]) == (0, "installed", ["scripted"])
    assert run("manage", "install").code == 2
    started = run("manage", "start", "--wait", "--json")
    assert (started.code, started.json["models"]) == (0, ["scripted"])
    assert health(started.json["address"])["model_loaded"]
    again = run("manage", "start", "--json")
    assert (again.code, again.json["result"]) == (2, "unchanged")
    assert started.json["address"] in again.err
    restarted = run("manage", "restart", "--json")
    assert restarted.code == 0
    assert restarted.json["pid"] != started.json["pid"]
    assert not alive(started.json["pid"])
    assert health(restarted.json["address"])["status"] == "ok"
    stopped = run("manage", "stop", "--json")
    assert (stopped.code, stopped.json["gateway_ended"]) == (0, True)
    assert not alive(restarted.json["pid"])
    assert not rendezvous.gateway_lives()
    assert run("manage", "uninstall", "--json").json["result"] == "uninstalled"
    assert run("manage", "uninstall").code == 2


def test_text_for_people_says_where_it_serves_and_what_ended() -> None:
    started = run("manage", "start", "--port", "0")
    assert started.out.startswith("Serving on http://127.0.0.1:")
    assert "the gateway with it" in run("manage", "stop").out
    assert run("manage", "stop").err.strip() == "qwencoder-lsp: The service does not run. Start it: qwencoder-lsp manage start"


def test_restart_without_a_running_service_starts_it() -> None:
    assert run("manage", "restart", "--port", "0").code == 0
    assert record.find_running()


def test_a_taken_port_is_a_failure_with_a_reason_and_nothing_stays() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        failed = run("manage", "start", "--port", port, "--json")
    assert (failed.code, failed.json["result"]) == (1, "failed")
    assert f"127.0.0.1:{port} cannot be used" in failed.json["error"]["message"]
    assert not record.lives()


def test_an_address_that_others_reach_needs_a_key_at_install_and_at_start() -> None:
    for command in ("install", "start"):
        failed = run("manage", command, "--host", "0.0.0.0", "--port", "0")
        assert failed.code == 1
        assert "no API key" in failed.err


def test_a_wrong_setting_is_a_failure_and_not_mistaken_for_already_so(home: Path) -> None:
    (home / "config").mkdir()
    (home / "config" / "settings.toml").write_text("[gateway]\nport = 'many'\n")
    failed = run("manage", "start")
    assert failed.code == 1
    assert "gateway.port" in failed.err


def test_a_lost_gateway_is_replaced_and_the_service_goes_on() -> None:
    started = run("manage", "start", "--port", "0", "--json").json
    before = rendezvous.read_address()
    assert before
    os.kill(before.pid, signal.SIGKILL)
    assert wait(lambda: bool((r := record.find_running()) and r.state == "serving" and (a := rendezvous.read_address()) and a.pid != before.pid), 30)
    running = record.find_running()
    assert running
    assert running.pid == started["pid"]
    assert health(running.address)["status"] == "ok"


def test_a_killed_service_leaves_nothing_that_stands_in_the_way() -> None:
    started = run("manage", "start", "--port", "0", "--json").json
    os.kill(started["pid"], signal.SIGKILL)
    assert wait(lambda: not record.lives(), 5)
    assert run("manage", "stop").code == 2
    assert run("manage", "start", "--port", "0").code == 0


def test_a_service_that_does_not_end_is_killed_only_with_force() -> None:
    pid = run("manage", "start", "--port", "0", "--json").json["pid"]
    os.kill(pid, signal.SIGSTOP)
    stuck = run("manage", "stop", "--timeout", "1")
    assert (stuck.code, "--force" in stuck.err) == (1, True)
    assert run("manage", "stop", "--timeout", "1", "--force").code == 0
    assert wait(lambda: not alive(pid), 5)


def test_stop_can_wait_for_running_requests(script: Any) -> None:
    script(default="abcdefgh" * 4, token_ms=100)
    address = run("manage", "start", "--port", "0", "--wait", "--json").json["address"]
    ask = f"import httpx2; print(httpx2.post('http://{address}/v1/completions', json={{'prompt': 'x', 'max_tokens': 20}}, timeout=60).status_code)"
    asking = subprocess.Popen([sys.executable, "-c", ask], stdout=subprocess.PIPE, text=True)
    assert wait(lambda: "llamacpp:requests_processing 2" in httpx2.get(f"http://{address}/metrics").text, 20)
    assert run("manage", "stop", "--wait").code == 0
    assert asking.communicate(timeout=20)[0] == "200\n"


def test_the_unit_file_is_what_systemd_reads(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home))
    installed = run("manage", "install", "--service", "--port", "11999", "--json")
    assert installed.code == 0
    unit = Path(installed.json["unit"])
    assert unit == home / "xdg" / "systemd" / "user" / "qwencoder-lsp.service"
    assert f'Environment="QWENCODER_HOME={home}"' in unit.read_text()
    assert 'Environment="QWENCODER_PORT=11999"' in unit.read_text()
    if shutil.which("systemd-analyze"):
        checked = subprocess.run(["systemd-analyze", "verify", "--user", str(unit)], capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, "")
    if installed.json["remark"]:  # no user manager runs here: then the service is started without it
        assert "systemctl" in installed.json["remark"]
    assert run("manage", "uninstall").code == 0
    assert not unit.exists()


def test_special_characters_reach_systemd_as_they_are() -> None:
    unit = units.text("systemd", Options(model='/models/a "b" 100%$x\\y.gguf')).decode()
    assert r'Environment="QWENCODER_MODEL=/models/a \"b\" 100%%$x\\y.gguf"' in unit


def test_with_a_unit_the_system_starts_the_service(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = home / "tools"
    tools.mkdir()
    (tools / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {home}/told\ncase "$2" in start) exit 3;; esac\n')
    (tools / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
    assert run("manage", "install", "--service", "--json").json["remark"] == ""
    failed = run("manage", "start")
    assert failed.code == 1
    assert "`systemctl --user start qwencoder-lsp.service` failed: status 3" in failed.err
    assert "--service --force" in run("manage", "start", "--port", "1").err
    assert run("manage", "uninstall").code == 0
    told = (home / "told").read_text().splitlines()
    assert told == ["--user daemon-reload", *(f"--user {verb} qwencoder-lsp.service" for verb in ("enable", "start", "disable"))]


def test_the_launchd_agent_is_a_property_list_that_starts_it_at_login(home: Path) -> None:
    agent = plistlib.loads(units.text("launchd", Options(port=11999)))
    assert agent["ProgramArguments"][1:] == ["-m", "qwencoder_lsp.operate"]
    assert agent["EnvironmentVariables"] == {"QWENCODER_HOME": str(home), "QWENCODER_PORT": "11999"}
    assert (agent["RunAtLoad"], agent["KeepAlive"]) == (True, {"SuccessfulExit": False})


def test_systemd_is_told_when_it_serves(home: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(home / "notify"))
        told.settimeout(30)
        env = {**os.environ, "NOTIFY_SOCKET": str(home / "notify"), "QWENCODER_PORT": "0"}
        process = subprocess.Popen([*units.COMMAND], env=env)
        assert told.recv(100) == b"READY=1"
    process.terminate()
    assert process.wait(20) == 0
