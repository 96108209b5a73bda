"""The user's prompt templates: TOML files in `content/` beside the settings file, in the form of prompt/instructions.py.

A template is data: it runs in a sandbox and sees only the values that it is given, and a value is never read as a template.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from qwencoder_lsp import paths
from qwencoder_lsp.errors import NotApplicable, RequestError, SettingsError
from qwencoder_lsp.gateway.client import Gateway
from qwencoder_lsp.gateway.protocol import ChatRequest, Piece
from qwencoder_lsp.prompt.instructions import Instruction, from_file

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def folder() -> Path:
    """Where the templates are; not created here."""
    return paths.config_file().with_name("content")


def add(name: str, source: Path, *, replace: bool) -> Instruction:
    """Take a template from a file, after a look at it.

    Raises RequestError for a name that cannot be one, NotApplicable when it is there already, SettingsError when the file is no template.
    """
    if not NAME.fullmatch(name):
        raise RequestError(f"{name!r} cannot be a prompt's name.", "Use small letters, digits, and . _ -")
    prompt = from_file(source)
    prompt.placeholders()
    target = folder() / f"{name}.toml"
    if target.exists() and not replace:
        raise NotApplicable(f"There is a prompt {name} already.", "Replace it with --force.")
    partial = target.with_name(f".{name}.{os.getpid()}")
    try:
        folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        partial.write_bytes(source.read_bytes())
        partial.replace(target)
    except OSError as error:
        raise SettingsError(f"{target} cannot be written ({error.strerror}).", "Check its permissions and the space on the disk.") from error
    return from_file(target)


def names() -> list[str]:
    """The prompts that there are."""
    return sorted(path.stem for path in folder().glob("*.toml") if NAME.fullmatch(path.stem))


def find(name: str) -> Instruction:
    """The prompt of that name. Raises NotApplicable when there is none, SettingsError when its file was damaged."""
    return from_file(path_of(name))


def path_of(name: str) -> Path:
    """Its file. Raises NotApplicable when there is none."""
    path = folder() / f"{name}.toml"
    if not NAME.fullmatch(name) or not path.is_file():
        raise NotApplicable(f"There is no prompt {name}.", "See: qwencoder-lsp content list")
    return path


def request(prompt: Instruction, values: dict[str, str], model: str, max_tokens: int, temperature: float) -> ChatRequest:
    """What the model is asked. Raises RequestError that names a value which is missing or not used."""
    wanted = set(prompt.placeholders())
    if missing := sorted(wanted - values.keys()):
        raise RequestError(
            f"The prompt {prompt.name} needs a value for {', '.join(missing)}.", f"Give it: --set {missing[0]}=... or --file {missing[0]}=PATH"
        )
    if unused := sorted(values.keys() - wanted):
        raise RequestError(f"The prompt {prompt.name} has no place for {', '.join(unused)}.", f"It has: {', '.join(sorted(wanted)) or 'none'}.")
    return ChatRequest(prompt.render(**values), model, max_tokens, temperature)


async def execute(gateway: Gateway, asked: ChatRequest) -> AsyncGenerator[str, None]:
    """The answer as it comes."""
    async with aclosing(gateway.chat(asked)) as events:
        async for event in events:
            if isinstance(event, Piece):
                yield event.text
