"""Model downloads: never without the user's consent, which is asked for once per session.

In: the wish for a model. Out: a question with the model's size and licence, then a progress bar with a cancel button.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from lsprotocol import types

from qwencoder_lsp.errors import LicenceNotAccepted, ModelError, QwencoderError
from qwencoder_lsp.lsp.configuration import Configuration
from qwencoder_lsp.lsp.connection import Connection
from qwencoder_lsp.lsp.editor import Editor
from qwencoder_lsp.lsp.progress import ProgressBar, with_progress
from qwencoder_lsp.lsp.status import StatusBoard
from qwencoder_lsp.lsp.tasks import spawn

if TYPE_CHECKING:
    from qwencoder_lsp.gateway.client import GatewayClient
    from qwencoder_lsp.gateway.protocol import Status
    from qwencoder_lsp.models.catalogue import ModelEntry

log = logging.getLogger(__name__)

DOWNLOAD, NOT_NOW = "Download", "Not now"


class Downloads:
    """Offers and fetches models."""

    def __init__(self, editor: Editor, configuration: Configuration, connection: Connection, board: StatusBoard) -> None:
        self._editor = editor
        self._configuration = configuration
        self._connection = connection
        self._board = board
        self._asked = False
        self._running: set[str] = set()

    def consider(self, status: Status) -> None:
        """Offer the completion model when the gateway has none."""
        if not status.completion_model:
            self.offer()

    def offer(self) -> None:
        """Ask, once per session, whether the missing completion model may be fetched. Returns at once."""
        if not self._asked:
            self._asked = True
            spawn(self._offer())

    async def download(self, name: str | None = None, *, asked: bool = False) -> None:
        """Fetch a model of the catalogue, by default the one for completion. The user sees progress, and any error; before, what licence it is
        under, where that restricts what they may do and they have not been `asked`."""
        try:
            entry = await self._entry(name)
            if entry.name in self._running or not (asked or await self._licence_accepted(entry)):
                return
            self._running.add(entry.name)
            try:
                await with_progress(self._editor, f"Downloading {entry.title}", lambda bar: self._fetch(entry, bar))
            finally:
                self._running.discard(entry.name)
                self._board.fetched()
                client = await self._connection.client(explicit=True)
                self._board.update(await client.status())
        except QwencoderError as error:
            self._editor.show_error(error)

    def add(self, file: str) -> str | None:
        """The name that a GGUF file of the user's has from now on; None, after telling the user, when it can have none."""
        from qwencoder_lsp.models import own

        try:
            return own.add(Path(file)).name
        except QwencoderError as error:
            self._editor.show_error(error)
            return None

    async def _offer(self) -> None:
        settings = await self._configuration.settings()
        if not settings.completion.enabled:
            return
        try:
            entry = await self._entry(None)
        except ModelError as error:
            self._editor.show_error(error)  # the settings name a model that nobody can fetch
            return
        question = f"{entry.title} is not installed ({entry.bytes / 1e9:.1f} GB, {entry.licence}, from {entry.repository}). Download it now?"
        self._board.asking(entry.title)
        try:
            answer = await self._editor.ask(question, DOWNLOAD, NOT_NOW)
        finally:
            self._board.fetched()
        if answer == DOWNLOAD:
            await self.download(entry.name, asked=True)

    async def _licence_accepted(self, entry: ModelEntry) -> bool:
        from qwencoder_lsp.models.pull import check_licence

        try:
            check_licence(entry, "")
        except LicenceNotAccepted as error:
            return await self._editor.ask(f"{error.message} Do you accept it, and download the model?", DOWNLOAD, NOT_NOW) == DOWNLOAD
        return True

    async def _entry(self, name: str | None) -> ModelEntry:
        """The catalogue's entry of that name, or of the configured completion model. Raises ModelUnknown."""
        from qwencoder_lsp.models import catalogue, choose

        wanted = name or (await self._configuration.settings()).model.completion
        return catalogue.find(choose.recommended() if wanted == "auto" else wanted)

    async def _fetch(self, entry: ModelEntry, bar: ProgressBar) -> None:
        from qwencoder_lsp.gateway.protocol import Progress, PullRequest

        async def pull(client: GatewayClient) -> None:
            async for event in client.pull(PullRequest(entry.name, accepted=entry.licence)):
                if isinstance(event, Progress):
                    percentage = 100 * event.done // (event.total or entry.bytes)
                    bar.report(event.message, percentage)
                    self._board.downloading(entry.title, percentage)

        await self._connection.run(pull, explicit=True)
        log.info("model %s is installed", entry.name)
        self._editor.show(types.MessageType.Info, f"{entry.title} is installed.")
