"""LoRA adapters over HTTP and on the command line: what can be named, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qwencoder_lsp import paths, settings
from tests.protocol.fronts import front


def install(name: str) -> Path:
    path = paths.adapters_dir() / f"{name}.gguf"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"GGUF" + name.encode())
    return path


async def test_adapters_are_listed_as_soon_as_their_file_is_there_and_scales_are_set_by_id(script: Any, home: Path) -> None:
    script(default="x")
    own = home / "own.gguf"
    own.write_bytes(b"GGUF")
    async with front(model={"chat_adapter": f"{own}:0.5"}) as f:
        before = (await f.http.get("/lora-adapters")).json()
        install("style")
        both = (await f.http.get("/lora-adapters")).json()
        changed = await f.http.post("/lora-adapters", json=[{"id": 1, "scale": 0.25}])
        after = (await f.http.get("/lora-adapters")).json()
    assert before == [{"id": 0, "name": "own", "path": "own.gguf", "scale": 0.5}]
    assert [(a["id"], a["name"], a["scale"]) for a in both] == [(0, "own", 0.5), (1, "style", 0.0)]
    assert changed.json() == {"success": True}
    assert [a["scale"] for a in after] == [0.0, 0.25], "what is not in the list is off"


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"adapter": "gone"}, 404, "no adapter named"),
        ({"adapter": "../style"}, 404, "no adapter named"),
        ({"adapter": "style:inf"}, 400, "no scale"),
        ({"lora": [{"id": 7, "scale": 1.0}]}, 400, "no adapter with id 7"),
        ({"lora": [{"id": 0, "scale": 1000.0}]}, 400, "scale"),
        ({"adapter": "style", "lora": [{"id": 0, "scale": 1.0}]}, 400, "only one of adapter and lora"),
    ],
)
async def test_what_cannot_be_used_is_refused_with_the_reason(script: Any, fields: dict[str, Any], status: int, said: str) -> None:
    script(default="x")
    install("style")
    async with front() as f:
        reply = await f.http.post("/v1/completions", json={"prompt": "a", **fields})
        unknown = await f.http.post("/lora-adapters", json=[{"id": 7, "scale": 1.0}])
        good = await f.http.post("/v1/completions", json={"prompt": "a", "adapter": "style:0.5"})
    assert (reply.status_code, said in reply.json()["error"]["message"]) == (status, True)
    assert unknown.status_code == 400
    assert good.status_code == 200


async def test_an_adapter_of_the_settings_that_is_not_there_is_an_error_where_it_would_count(script: Any, home: Path) -> None:
    script(default="x")
    async with front(model={"completion_adapter": str(home / "gone.gguf")}) as f:
        completion = await f.http.post("/v1/completions", json={"prompt": "a"})
        without = await f.http.post("/v1/completions", json={"prompt": "a", "adapter": "none"})
        chat = await f.http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "a"}]})
    assert (completion.status_code, without.status_code, chat.status_code) == (404, 200, 200)
    assert "gone.gguf" in completion.json()["error"]["message"]


def test_a_project_cannot_choose_an_adapter(home: Path) -> None:
    (home / settings.PROJECT_FILE).write_text('[model]\ncompletion_adapter = "evil.gguf"\nchat_adapter = "evil.gguf"\n')
    found, problems = settings.load(root=home)
    assert (found.model.completion_adapter, found.model.chat_adapter) == ("", "")
    assert len([p for p in problems if "may not be set by a project" in p]) == 2


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "qwencoder_lsp.cli", "adapters", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_the_command_line_adds_lists_and_removes(home: Path) -> None:
    file = home / "style.gguf"
    file.write_bytes(b"GGUF" + bytes(60))
    assert "No adapter is installed" in run("list").stdout
    assert run("add", str(file), "--name", "mine").returncode == 0
    assert [a["name"] for a in json.loads(run("list", "--json").stdout)] == ["mine"]
    assert "mine" in run("list").stdout
    wrong = run("remove", "yours")
    assert (wrong.returncode, "Installed: mine" in wrong.stderr) == (1, True)
    assert run("remove", "mine").returncode == 0
    assert json.loads(run("list", "--json").stdout) == []
