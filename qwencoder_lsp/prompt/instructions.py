"""Instruction prompts: data files with versions go in, the messages of a conversation come out.

Each file of `texts/` is one prompt as TOML: `version`, `system` (absent in later turns of a conversation) and `user`, both Jinja templates.
They run in a sandbox and see only the values that they are given; a value is never read as a template. A file of the same name in one of the given
folders takes the place of ours: of the user, or of a workspace that the user trusts.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from qwencoder_lsp.core.prompt import Message
from qwencoder_lsp.errors import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

OURS = Path(__file__).parent / "texts"
LARGEST = 64 * 1024  # bytes of a file; more is no prompt
_FENCE = re.compile("^ {0,3}(`{3,})", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Instruction:
    """One prompt. version: grows with each change of its words, so that traces and measurements can name what was asked."""

    name: str
    version: int
    system: str
    user: str

    def render(self, **values: Any) -> tuple[Message, ...]:
        """The messages: system, where there is one, and user. Raises SettingsError when a template asks for a value that it does not get."""
        try:
            parts = [(role, _environment().from_string(text).render(values).strip("\n")) for role, text in self._templates()]
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            raise SettingsError(
                f"The prompt file {self.name}.toml cannot be used ({error}).", "Correct it, or remove it to use the default."
            ) from error
        return tuple(Message(role, text) for role, text in parts)

    def placeholders(self) -> list[str]:
        """The names of the values that the templates use. Raises SettingsError when one is no template."""
        try:
            return sorted({name for _, text in self._templates() for name in meta.find_undeclared_variables(_environment().parse(text))})
        except jinja2.TemplateError as error:
            raise SettingsError(f"The prompt file {self.name}.toml cannot be used ({error}).", "Correct it.") from error

    def _templates(self) -> list[tuple[str, str]]:
        return [(role, text) for role, text in (("system", self.system), ("user", self.user)) if text]


def instruction(name: str, folders: Sequence[Path] = ()) -> Instruction:
    """The prompt `name`, from the first of `folders` that has it, else our own. Raises SettingsError when the file is none."""
    for folder in folders:
        path = folder / f"{name}.toml"
        if path.is_file():
            return _read(path)
    return _own(name)


def from_file(path: Path) -> Instruction:
    """The prompt in that file. Raises SettingsError when it is none."""
    return _read(path)


def names() -> list[str]:
    """All prompts that there are."""
    return sorted(path.stem for path in OURS.glob("*.toml"))


def fenced(code: str, language: str) -> str:
    """`code` as a Markdown code block, with a fence that is longer than any in it: what is inside cannot end the block."""
    longest = max((len(mark) for mark in _FENCE.findall(code)), default=2)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{code.rstrip()}\n{fence}"


@lru_cache(maxsize=64)
def _own(name: str) -> Instruction:
    return _read(OURS / f"{name}.toml")


def _read(path: Path) -> Instruction:
    try:
        if path.stat().st_size > LARGEST:
            raise SettingsError(f"{path} is larger than {LARGEST} bytes.", "Shorten it, or remove it to use the default.")
        fields = tomllib.loads(path.read_text("utf-8"))
        version, system, user = fields["version"], fields.get("system", ""), fields["user"]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError) as error:
        raise SettingsError(f"{path} is no prompt file ({error}).", "It needs `version` and `user`; remove it to use the default.") from error
    if not (isinstance(version, int) and isinstance(system, str) and isinstance(user, str)):
        raise SettingsError(f"{path} is no prompt file.", "`version` is a number, `system` and `user` are texts; remove it to use the default.")
    return Instruction(path.stem, version, system, user)


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    environment.filters["fenced"] = fenced
    return environment
