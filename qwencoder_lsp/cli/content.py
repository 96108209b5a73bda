"""content add, list, get, remove, execute: models, and the user's prompt templates."""

from __future__ import annotations

import json
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from qwencoder_lsp.cli.files import read_snapshot
from qwencoder_lsp.cli.models import fetch
from qwencoder_lsp.cli.options import Json, Model, settings, with_gateway
from qwencoder_lsp.errors import NotApplicable, RequestError
from qwencoder_lsp.gateway.client import GatewayClient
from qwencoder_lsp.gateway.protocol import ChatRequest
from qwencoder_lsp.models import catalogue, store
from qwencoder_lsp.operate import content
from qwencoder_lsp.prompt.instructions import Instruction

Kind = Annotated[Literal["model", "prompt"], typer.Argument(help="model or prompt")]
Name = Annotated[str, typer.Argument(help="A name of: qwencoder-lsp content list")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=TEXT", help="A value of the prompt.")]
File = Annotated[list[str] | None, typer.Option("--file", metavar="NAME=PATH", help="A value that is a file's text.")]


def add(
    kind: Kind,
    name: Annotated[str, typer.Argument(help="What it is called from now on; of a model its name in the catalogue.")],
    source: Annotated[str, typer.Argument(help="A prompt's TOML file with `version`, `user` and perhaps `system`; a model's source.")] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    as_json: Json = False,
) -> None:
    """Add a prompt template, or fetch a model. Exit code 2 when it is there already."""
    if kind == "model":
        if store.state(catalogue.find(name)) == "installed":
            raise NotApplicable(f"The model {name} is installed already.", "")
        fetch(name, source)
        _say(as_json, f"The model {name} is installed.", **_model(name))
        return
    if source == "auto":
        raise RequestError("A prompt comes from a file.", f"For example: qwencoder-lsp content add prompt {name} {name}.toml")
    prompt = content.add(name, Path(source), replace=force)
    _say(as_json, f"The prompt {name} is there; it needs: {', '.join(prompt.placeholders()) or 'nothing'}.", **_prompt(prompt))


def list_content(as_json: Json = False) -> None:
    """Show the prompts with what they need, and the models."""
    rows = [_prompt(content.find(name)) for name in content.names()] + [{"kind": "model", **asdict(row)} for row in store.table()]
    if as_json:
        print(json.dumps(rows))
        return
    for row in rows:
        more = (
            f"{row['state']:10} {row['title']}"
            if row["kind"] == "model"
            else f"version {row['version']}, needs {', '.join(row['needs']) or 'nothing'}"
        )
        print(f"{row['kind']:7} {row['name']:20} {more}")


def get(name: Name, as_json: Json = False) -> None:
    """Print a prompt's file, or where a model's file is. Exit code 2 when it is not here."""
    if name in _models():
        if store.state(catalogue.find(name)) != "installed":
            raise NotApplicable(f"The model {name} is not installed.", f"Fetch it: qwencoder-lsp content add model {name}")
        _say(as_json, str(store.resolve(name).path), **_model(name))
        return
    prompt = content.find(name)
    _say(as_json, content.path_of(name).read_text("utf-8").rstrip("\n"), **_prompt(prompt), system=prompt.system, user=prompt.user)


def remove(name: Name, as_json: Json = False) -> None:
    """Remove a prompt, or a model's file from this machine. Exit code 2 when it is not here."""
    if name in _models():
        path = store.path_of(catalogue.find(name))
        if not path.exists():
            raise NotApplicable(f"The model {name} is not installed.", "")
    else:
        path = content.path_of(name)
    path.unlink()
    _say(as_json, f"{name} is removed.", result="removed", name=name)


def execute(
    name: Name,
    values: Set = None,
    files: File = None,
    model: Model = "",
    max_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.", min=1, max=32768)] = 1024,
    temperature: Annotated[float, typer.Option(help="0 always gives the most probable answer.", min=0, max=2)] = 0.0,
    as_json: Json = False,
) -> None:
    """Ask the model with a prompt of yours, and print the answer as it comes."""
    given = {**dict(map(_pair, values or ())), **{key: read_snapshot(Path(path)).text for key, path in map(_pair, files or ())}}
    chosen = settings(model)
    asked = content.request(content.find(name), given, chosen.model.chat, max_tokens, temperature)
    answer = with_gateway(chosen, lambda client: _execute(client, asked, show=not as_json))
    if as_json:
        print(json.dumps({"name": name, "answer": answer}))


async def _execute(client: GatewayClient, asked: ChatRequest, *, show: bool) -> str:
    text = ""
    async with aclosing(content.execute(client, asked)) as pieces:
        async for piece in pieces:
            text += piece
            if show:
                print(piece, end="", flush=True)
    if show:
        print()
    return text


def _pair(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not equals or not name:
        raise RequestError(f"{given!r} is not NAME=VALUE.", "For example: --set name=total")
    return name, value


def _models() -> set[str]:
    return {entry.name for entry in catalogue.load_catalogue()}


def _model(name: str) -> dict[str, Any]:
    found = store.resolve(name)
    return {"kind": "model", "name": name, "path": str(found.path), "bytes": found.size}


def _prompt(prompt: Instruction) -> dict[str, Any]:
    return {"kind": "prompt", "name": prompt.name, "version": prompt.version, "needs": prompt.placeholders()}


def _say(as_json: bool, told: str, **fields: Any) -> None:
    print(json.dumps(fields) if as_json else told)
