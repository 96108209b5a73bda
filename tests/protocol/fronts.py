"""The public routes of a real gateway in tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

import httpx2
from openai import AsyncOpenAI

from qwencoder_lsp.gateway.client import GatewayClient
from qwencoder_lsp.gateway.protocol import Listening, ListenRequest
from tests.protocol.gateways import gateway, until


@dataclass
class Front:
    """A served gateway: OpenAI's client, a plain one, and the private one that sees its state."""

    client: AsyncOpenAI
    http: httpx2.AsyncClient
    private: GatewayClient

    async def busy(self, count: int) -> None:
        """Wait until so many requests run; `serve` itself is one."""
        await until(self.private, lambda s: s.active == count + 1)


@asynccontextmanager
async def front(listen: ListenRequest = ListenRequest("127.0.0.1", 0), **sections: dict[str, object]) -> AsyncIterator[Front]:  # noqa: B008
    async with gateway(**sections) as private, aclosing(private.listen(listen)) as events:
        event = await anext(events)
        assert isinstance(event, Listening)
        base = f"http://{event.address}"
        async with (
            AsyncOpenAI(base_url=f"{base}/v1", api_key=listen.keys[0] if listen.keys else "none", max_retries=0) as client,
            httpx2.AsyncClient(base_url=base, timeout=300) as http,
        ):
            yield Front(client, http, private)
