"""Questions about this window that need no model: from the editor by requests of our own, from the command line by observe.windows.

Text of the user goes to the command line alone, and to the disk where the setting says so.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from qwencoder_lsp.errors import QwencoderError
from qwencoder_lsp.lsp.protocol import Server
from qwencoder_lsp.lsp.status import StatusBoard

if TYPE_CHECKING:
    from qwencoder_lsp.observe.trace import Entry, Traces

log = logging.getLogger(__name__)


def questions(server: Server, board: StatusBoard, traces: Traces) -> None:
    """Register the requests."""

    @server.feature("qwencoder/status")
    def status(_: Any) -> dict[str, Any]:
        return board.as_json()

    @server.feature("checkStatus")  # clients of Copilot's server ask it before anything else, and offer to sign in unless it is OK
    def signed_in(_: Any) -> dict[str, Any]:
        return {"status": "OK", "user": "local"}

    @server.feature("qwencoder/trace")
    def trace(params: Any) -> list[dict[str, Any]]:
        limit = getattr(params, "limit", 20)
        return traces.last(limit if isinstance(limit, int) else 20)

    @server.feature("qwencoder/models")
    async def models(_: Any) -> list[dict[str, Any]]:
        return await asyncio.to_thread(_models)

    @server.feature("qwencoder/document")
    def document(params: Any) -> dict[str, Any] | None:
        found = server.documents.get(str(getattr(params, "uri", "")))
        return found.fingerprint() if found else None


def answer(question: dict[str, Any], board: StatusBoard, traces: Traces) -> Any:
    """The answer to the command line: "status", "traces" (the newest `limit`, numbers only) or "trace" (of one `request`, with its record)."""
    if question.get("ask") == "status":
        return board.as_json()
    if question.get("ask") == "traces":
        return traces.last(int(question.get("limit", 1)))
    return traces.entry(str(question.get("request", "")))


def save_traces(traces: Traces, wanted: bool) -> None:
    """Have traces saved from now on, or no more."""

    def save(entry: Entry) -> None:
        asyncio.get_running_loop().run_in_executor(None, _save, entry)

    traces.save = save if wanted else None


def _models() -> list[dict[str, Any]]:
    """The models of the catalogue, with their states on this machine."""
    from qwencoder_lsp.models import choose, store

    return [{**asdict(row), "recommended": row.name == choose.recommended()} for row in store.table()]


def _save(entry: Entry) -> None:
    from qwencoder_lsp.observe import saved

    try:
        saved.save(entry)
    except (OSError, QwencoderError) as error:
        log.warning("a trace could not be saved: %s", error)
