"""`credentials`, `content`, `info` and `test` in a fresh home: exit codes, text and JSON."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from qwencoder_lsp.gateway import rendezvous
from qwencoder_lsp.operate import checks, keys
from qwencoder_lsp.operate.checks import Subject
from tests.protocol.gateways import alive, gateway, wait
from tests.protocol.operations import run

TEMPLATE = """version = 3
system = "You rename things."
user = "Rename {{ name }} in: {{ code }}"
"""
HOSTILE = "{{ ''.__class__.__mro__ }} {% include '/etc/passwd' %}"


@pytest.fixture(autouse=True)
def ended(script: Any) -> Iterator[None]:
    script(default="x y z")
    yield
    run("manage", "stop", "--force")
    if address := rendezvous.read_address():
        os.kill(address.pid, signal.SIGTERM)
        assert wait(lambda: not alive(address.pid), 10)


def test_a_key_is_shown_once_and_its_file_is_private_and_does_not_hold_it(home: Path) -> None:
    assert run("credentials", "list").code == 2
    made = run("credentials", "create", "laptop", "--json")
    assert made.code == 0
    key, file = made.json["key"], Path(made.json["file"])
    assert key.startswith("qc-")
    assert file.stat().st_mode & 0o777 == 0o600
    assert not [path for path in home.rglob("*") if path.is_file() and key.encode() in path.read_bytes()]
    again = run("credentials", "create", "laptop")
    assert (again.code, "laptop already" in again.err) == (2, True)
    assert run("credentials", "create", "two words").code == 1
    second = run("credentials", "create", "ci").out.strip()
    assert second not in (key, "")
    (first, other) = run("credentials", "list", "--json").json
    assert (first["name"], other["name"]) == ("laptop", "ci")
    assert first["created"].startswith("20")
    assert key not in run("credentials", "list").out
    assert run("credentials", "revoke", other["id"]).code == 0
    assert run("credentials", "revoke", "ci").code == 2
    assert run("credentials", "revoke", "laptop", "--json").json["left"] == 0


def test_the_service_asks_for_the_keys_that_were_made_and_no_longer_for_a_revoked_one() -> None:
    key = run("credentials", "create", "laptop").out.strip()
    run("credentials", "create", "ci")
    address = run("manage", "start", "--port", "0", "--json").json["address"]
    digest = keys.credentials(keys.key_file(_settings()))[0].id

    def status(given: str) -> int:
        return httpx2.get(f"http://{address}/v1/models", headers={"X-Api-Key": given}).status_code

    assert [status(given) for given in (key, key + "x", f"sha256:{digest}", "")] == [200, 401, 401, 401]
    assert run("status").code == 0, "health needs no key"
    revoked = run("credentials", "revoke", "laptop")
    assert "manage restart" in revoked.err
    address = run("manage", "restart", "--json").json["address"]
    assert status(key) == 401


def test_the_hash_in_the_file_is_no_key(home: Path) -> None:
    run("credentials", "create", "laptop")
    line = (home / "config" / "api-keys").read_text().split()[0]
    address = run("manage", "start", "--port", "0", "--json").json["address"]
    assert httpx2.get(f"http://{address}/v1/models", headers={"X-Api-Key": line}).status_code == 401


def test_lines_that_the_user_wrote_stay_and_a_file_that_others_read_is_refused(home: Path) -> None:
    file = home / "config" / "api-keys"
    file.parent.mkdir()
    file.write_text("# the team\nplain-key-of-the-user  # Ann\n")
    file.chmod(0o600)
    run("credentials", "create", "laptop")
    assert [row["name"] for row in run("credentials", "list", "--json").json] == ["Ann", "laptop"]
    assert run("credentials", "revoke", "laptop").code == 0
    assert file.read_text() == "# the team\nplain-key-of-the-user  # Ann\n"
    file.chmod(0o644)
    assert (run("credentials", "list").code, run("manage", "start", "--port", "0").code) == (1, 1)


def _settings() -> Any:
    from qwencoder_lsp.settings import load

    return load()[0]


def test_a_prompt_is_added_listed_shown_executed_and_removed(home: Path, tmp_path: Path, script: Any) -> None:
    script(rules=[{"contains": "Rename total in: 1 + 1", "text": "sum = 1 + 1"}], default="other")
    file, code = tmp_path / "rename.toml", tmp_path / "code.py"
    file.write_text(TEMPLATE)
    code.write_text("1 + 1")
    assert run("content", "execute", "rename").code == 2
    added = run("content", "add", "prompt", "rename", str(file), "--json")
    assert (added.code, added.json["needs"]) == (0, ["code", "name"])
    assert run("content", "add", "prompt", "rename", str(file)).code == 2
    assert run("content", "add", "prompt", "rename", str(file), "--force").code == 0
    listed = run("content", "list", "--json").json
    assert [(row["kind"], row["name"]) for row in listed if row["kind"] == "prompt"] == [("prompt", "rename")]
    assert "needs code, name" in run("content", "list").out
    assert run("content", "get", "rename").out == TEMPLATE
    answered = run("content", "execute", "rename", "--set", "name=total", "--file", f"code={code}", "--json")
    assert (answered.code, answered.json["answer"]) == (0, "sum = 1 + 1")
    assert run("content", "execute", "rename", "--set", "name=total", "--file", f"code={code}").out == "sum = 1 + 1\n"
    assert run("content", "remove", "rename").code == 0
    assert run("content", "remove", "rename").code == 2
    assert run("content", "get", "rename").code == 2


def test_a_value_is_data_and_never_a_template(tmp_path: Path, script: Any) -> None:
    script(rules=[{"contains": f"Rename {HOSTILE} in: x", "text": "as it is"}], default="rendered")
    file = tmp_path / "rename.toml"
    file.write_text(TEMPLATE)
    run("content", "add", "prompt", "rename", str(file))
    assert run("content", "execute", "rename", "--set", f"name={HOSTILE}", "--set", "code=x").out == "as it is\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "name=x"], "needs a value for code"),
        (["--set", "name=x", "--set", "code=y", "--set", "more=z"], "has no place for more"),
        (["--set", "name"], "is not NAME=VALUE"),
        (["--file", "code=/nowhere"], "cannot be read"),
    ],
)
def test_wrong_values_are_named(tmp_path: Path, arguments: list[str], said: str) -> None:
    file = tmp_path / "rename.toml"
    file.write_text(TEMPLATE)
    run("content", "add", "prompt", "rename", str(file))
    failed = run("content", "execute", "rename", *arguments)
    assert (failed.code, said in failed.err) == (1, True)


@pytest.mark.parametrize("text", ["user = 'no version'", "version = 1\nuser = '{{ broken'", "not toml", "version = 1\nuser = 5"])
def test_a_file_that_is_no_prompt_is_refused_and_not_kept(home: Path, tmp_path: Path, text: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text)
    assert run("content", "add", "prompt", "bad", str(file)).code == 1
    assert run("content", "add", "prompt", "../escape", str(file)).code == 1
    assert not list(home.rglob("bad*"))


def test_models_are_content_too() -> None:
    assert run("content", "get", "qwencoder-1.5b").code == 2
    assert run("content", "remove", "qwencoder-1.5b").code == 2
    assert run("content", "add", "model", "no-such-model").code == 1
    assert {"qwencoder-0.5b", "qwencoder-1.5b"} <= {row["name"] for row in run("content", "list", "--json").json}


def test_info_tells_an_orchestrator_ports_order_times_and_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWENCODER_PORT", "11999")
    facts = run("info", "--json")
    assert facts.code == 0
    assert facts.json["ports"][0]["port"] == 11999
    assert facts.json["timeouts_s"]["test_smoke"] == 30
    assert {"order", "dependencies", "priority", "estimates_s", "exit_codes"} <= set(facts.json)
    assert "port 11999" in run("info").out


def test_every_command_that_info_names_exists() -> None:
    for command in run("info", "--json").json["commands"].values():
        words = [word for word in command.split()[1:] if not word.startswith("-") and word != "json"]
        assert run(*words, "--help").code == 0, command


def test_smoke_passes_here_and_says_so_by_line_and_as_json() -> None:
    done = run("test", "smoke", "--json")
    assert done.code == 0
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [row["name"] for row in rows] == ["health", "model loads", "completion", "chat"]
    assert all(row["passed"] and row["group"] == "smoke" for row in rows)
    text = run("test").out.splitlines()
    assert text[0].startswith("ok    smoke        health")
    assert text[-1].startswith("4 passed, 0 failed")


def test_an_answer_that_is_not_good_enough_fails_the_check_and_the_command(script: Any) -> None:
    script(default="")
    done = run("test", "smoke")
    assert done.code == 1
    assert "FAIL  smoke        completion" in done.out
    assert "2 passed, 2 failed" in done.out


def test_without_a_model_nothing_can_be_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QWENCODER_MODEL")
    done = run("test", "smoke", "--json")
    assert done.code == 2
    assert "models pull" in done.err


async def test_performance_checks_measure_against_the_promises(script: Any) -> None:
    async with gateway() as client:
        results = [result async for result in checks.run(Subject(client, "scripted", "scripted"), ["performance"])]
    assert {result.name: result.passed for result in results} == dict.fromkeys((name for name, _ in checks.CHECKS["performance"]), True)
    assert any("tokens/s" in result.detail for result in results)


async def test_a_group_that_takes_too_long_ends_with_failures(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    script(default="a" * 400, token_ms=1000)
    monkeypatch.setitem(checks.LIMITS_S, "performance", 2.0)
    async with gateway() as client:
        results = [result async for result in checks.run(Subject(client, "scripted", "scripted"), ["performance"])]
    assert not results[0].passed
    assert "not done within" in results[0].detail
    assert len(results) == len(checks.CHECKS["performance"])
