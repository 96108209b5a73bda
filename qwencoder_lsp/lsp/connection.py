"""The connection to the gateway: made when first needed, kept while the window lives, made again when the gateway has gone.

In: a way to connect. Out: a client to work with, each Status of the gateway, and the loss of it. The open event stream is this window's lease
on the gateway. Knows nothing of editors.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from qwencoder_lsp.errors import GatewayError, QwencoderError
from qwencoder_lsp.lsp.tasks import spawn

if TYPE_CHECKING:
    from qwencoder_lsp.gateway.client import GatewayClient
    from qwencoder_lsp.gateway.protocol import Status

log = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0


class Connection:
    """One shared client. on_status: at each change of the gateway. on_loss: with the reason, when it is gone or cannot be had."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[GatewayClient]],
        on_status: Callable[[Status], None],
        on_loss: Callable[[QwencoderError], None],
    ) -> None:
        self._connect = connect
        self._on_status = on_status
        self._on_loss = on_loss
        self._client: GatewayClient | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._error: QwencoderError | None = None
        self._pause = FIRST_PAUSE_S
        self._not_before = 0.0

    @property
    def connected(self) -> GatewayClient | None:
        """The client, if there is one now."""
        return self._client

    async def client(self, *, explicit: bool = False) -> GatewayClient:
        """The client, connected now if need be; many callers share one attempt.

        After a failure, calls that nobody asked for (not `explicit`) fail at once for a while, which doubles with each failure: a broken
        installation must not start a process per keystroke. Raises GatewayError or SettingsError.
        """
        if self._client is None:
            if self._error and not explicit and asyncio.get_running_loop().time() < self._not_before:
                raise self._error
            if self._connecting is None:
                self._connecting = spawn(self._try())
            await asyncio.shield(self._connecting)
        if self._client is None:
            raise self._error or GatewayError("The gateway closed the connection.", "Try again.")
        return self._client

    async def run(self, work: Callable[[GatewayClient], Awaitable[T]], *, explicit: bool = False) -> T:
        """The result of `work(client)`. When the gateway turns out to be gone it is started again and the work done once more."""
        client = await self.client(explicit=explicit)
        try:
            return await work(client)
        except GatewayError as error:
            log.info("trying again after: %s", error.message)
            self._lost(client, error)
            return await work(await self.client(explicit=explicit))

    async def _try(self) -> None:
        try:
            client = await self._connect()
        except QwencoderError as error:
            self._error = error
            self._not_before = asyncio.get_running_loop().time() + self._pause
            self._pause = min(self._pause * 2, LONGEST_PAUSE_S)
            log.warning("no gateway: %s", error)
            self._on_loss(error)
        else:
            self._client, self._error, self._pause = client, None, FIRST_PAUSE_S
            spawn(self._hold(client))
        finally:
            self._connecting = None

    async def _hold(self, client: GatewayClient) -> None:
        error = GatewayError("The gateway has ended.", "It is started again at the next request.")
        try:
            async for status in client.events():
                self._on_status(status)
        except GatewayError as gone:
            log.info("%s", gone.message)
        self._lost(client, error)

    def _lost(self, client: GatewayClient, error: QwencoderError) -> None:
        """Forget the client. It is not closed: others may be reading the last words of their streams from it, and its peer is gone."""
        if self._client is client:
            self._client = None
            self._on_loss(error)
