"""What several commands take, and how they reach the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

from qwencoder_lsp.gateway.client import GatewayClient
from qwencoder_lsp.gateway.find import connect
from qwencoder_lsp.settings import Settings, load

T = TypeVar("T")

Model = Annotated[
    str, typer.Option("--model", envvar="QWENCODER_MODEL", help="Catalogue name or GGUF file; otherwise chosen automatically.", show_default=False)
]
Format = Annotated[Literal["text", "json"], typer.Option("--format", help="How to print it.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def settings(model: str = "", root: Path | None = None, **sections: dict[str, Any]) -> Settings:
    """The settings, with command-line options above all. Raises SettingsError on the first bad value."""
    if model:
        sections["model"] = {"completion": model, "chat": model}
    return load(command_line=sections, root=root, strict=True)[0]


def with_gateway(chosen: Settings, work: Callable[[GatewayClient], Awaitable[T]], *, start: bool = True, local: bool = False) -> T:
    """Run `work` with a connection. local: to this machine's gateway, whatever gateway.url says. Raises QwencoderError."""

    async def run() -> T:
        client = await connect(chosen, start=start, local=local)
        try:
            return await work(client)
        finally:
            await client.close()

    return asyncio.run(run())
