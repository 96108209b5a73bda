"""serve, stop, status, logs."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import Annotated

import typer

from qwencoder_lsp.cli.options import Model, settings, with_gateway
from qwencoder_lsp.errors import GatewayError
from qwencoder_lsp.gateway import rendezvous
from qwencoder_lsp.gateway.client import GatewayClient
from qwencoder_lsp.gateway.protocol import Listening
from qwencoder_lsp.operate import record
from qwencoder_lsp.operate.background import listen_request
from qwencoder_lsp.settings import Settings


def serve(
    host: Annotated[str, typer.Option(help="Address to serve on; others than loopback need API keys.", envvar="QWENCODER_HOST")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="TCP port; 0 takes a free one.", envvar="QWENCODER_PORT")] = 11452,
    ollama_port: Annotated[int | None, typer.Option(help="Also serve on this port, for clients that look for Ollama on 11434.")] = None,
    model: Model = "",
) -> None:
    """Serve over HTTP until Ctrl-C: in the gateway that the editors use, which is started if it does not run."""
    own = {"host": host, "port": port} | ({} if ollama_port is None else {"ollama_port": ollama_port})
    chosen = settings(model, gateway=own)
    with_gateway(chosen, lambda client: _serve(client, chosen), local=True)


async def _serve(client: GatewayClient, chosen: Settings) -> None:
    async with aclosing(client.listen(listen_request(chosen))) as events:
        async for event in events:
            if isinstance(event, Listening):
                also = f" and http://{event.ollama}" if event.ollama else ""
                print(f"Serving on http://{event.address}{also} (Ctrl-C ends it)\nDashboard: http://{event.address}/dashboard", flush=True)


def stop() -> None:
    """End the gateway and its engines. Editors start it again at their next request."""

    async def run(client: GatewayClient) -> int:
        pid = (await client.status()).pid
        await client.shutdown()
        return pid

    try:
        pid = with_gateway(settings(), run, start=False, local=True)
    except GatewayError:
        print("No gateway is running.")
        return
    _wait_for_its_end()
    print(f"The gateway (process {pid}) has ended.")
    if record.find_running():
        print("The service in the background starts it again; to end that: qwencoder-lsp manage stop")


def _wait_for_its_end() -> None:
    deadline = time.monotonic() + 10
    while rendezvous.gateway_lives():
        if time.monotonic() > deadline:
            raise GatewayError("The gateway has not ended within 10 s.", "See: qwencoder-lsp logs")
        time.sleep(0.05)
