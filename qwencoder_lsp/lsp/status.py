"""What the user is told about the state of things: one line, a kind, and whether something is under way.

In: each Status of the gateway, the loss of it, and how the missing model is come by. Out: `qwencoder/status` objects, sent when they change, and a
progress bar while a model loads. `state` is "starting", "ready", "loading", "missing" (no completion model), "asking" (whether it may be downloaded),
"downloading", "error", or "ended" (the gateway; the next request starts it again).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from qwencoder_lsp.errors import QwencoderError
from qwencoder_lsp.lsp.editor import Editor
from qwencoder_lsp.lsp.progress import ProgressBar
from qwencoder_lsp.lsp.tasks import spawn

if TYPE_CHECKING:
    from qwencoder_lsp.gateway.protocol import Status
    from qwencoder_lsp.observe.trace import Traces

NORMAL, WARNING, ERROR, INACTIVE = "Normal", "Warning", "Error", "Inactive"  # the kinds of Copilot's didChangeStatus
NO_MODEL = "No completion model is installed."


class StatusBoard:
    """The current state of this window's service."""

    def __init__(self, editor: Editor, traces: Traces) -> None:
        self._editor = editor
        self._traces = traces
        self._gateway: Status | None = None
        self._line: dict[str, Any] = {"state": "starting", "kind": INACTIVE, "busy": True, "message": "Starting."}
        self._fetching: dict[str, Any] | None = None  # what is said in place of NO_MODEL
        self._bar: ProgressBar | None = None
        self._shown_error = ""
        self.index: Callable[[], list[dict[str, Any]]] = list  # what to say of the workspace's index

    def update(self, status: Status) -> None:
        """The gateway's state is another."""
        self._gateway = status
        self._shown_error = ""
        self._describe(status)
        loading = next((m.name for m in status.models if m.state == "loading"), None)
        if loading and self._bar is None:
            self._bar = ProgressBar(self._editor, f"Loading {loading}")
            spawn(self._bar.begin())
        elif not loading:
            self._end_bar()

    def lost(self, error: QwencoderError) -> None:
        """The gateway is gone, or cannot be started. The user sees a message of the latter once, until it runs again."""
        ended = self._gateway is not None
        self._gateway = None
        self._end_bar()
        self._say({"state": "ended" if ended else "error", "kind": INACTIVE if ended else ERROR, "busy": False, "message": str(error)})
        if not ended and not self._shown_error:
            self._shown_error = str(error)
            self._editor.show_error(error)

    def asking(self, name: str) -> None:
        """The user is asked whether a model may be downloaded."""
        self._fetching = {"state": "asking", "kind": WARNING, "busy": False, "message": f"{NO_MODEL} Shall {name} be downloaded?"}
        self._say(self._fetching)

    def downloading(self, name: str, percentage: int) -> None:
        """A model is on its way."""
        line = {"state": "downloading", "kind": NORMAL, "busy": True, "message": f"Downloading {name}: {percentage} %"}
        self._fetching = {**line, "percentage": percentage}
        self._say(self._fetching)

    def fetched(self) -> None:
        """The question was answered with no, or the download has ended."""
        self._fetching = None
        if self._gateway:
            self._describe(self._gateway)

    def as_json(self) -> dict[str, Any]:
        """The answer to the request `qwencoder/status`. `last`: the latest request for ghost text that was not overtaken; `nothing`: the latest
        empty answer."""
        return {
            **self._line,
            "gateway": asdict(self._gateway) if self._gateway else None,
            "counts": self._traces.counts(),
            "last": self._traces.last_answer("inline"),
            "nothing": self._traces.last_silence(),
            "index": self.index(),
        }

    def _describe(self, status: Status) -> None:
        line = describe(status)
        self._say(self._fetching if self._fetching and line["state"] == "missing" else line)

    def _say(self, line: dict[str, Any]) -> None:
        if line != self._line:
            self._line = line
            self._editor.tell_status(self.as_json())

    def _end_bar(self) -> None:
        if self._bar:
            self._bar.end()
            self._bar = None


def describe(status: Status) -> dict[str, Any]:
    """One line for the gateway's state: a failure first, then what is loading, then what is missing, then the model that answers."""
    by_state = {model.state: model for model in reversed(status.models)}
    if failed := by_state.get("failed"):
        return {"state": "error", "kind": ERROR, "busy": False, "message": f"{failed.name}: {failed.detail}"}
    if loading := by_state.get("loading"):
        return {"state": "loading", "kind": NORMAL, "busy": True, "message": f"Loading {loading.name}."}
    if not status.completion_model:
        return {"state": "missing", "kind": WARNING, "busy": False, "message": NO_MODEL}
    return {"state": "ready", "kind": NORMAL, "busy": False, "message": f"Ready: {status.completion_model}."}
