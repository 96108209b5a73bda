"""Progress bars: long work that the user can watch and cancel, where the editor can show that."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from lsprotocol import types

from qwencoder_lsp.lsp.editor import Editor

T = TypeVar("T")


class ProgressBar:
    """One progress bar. Does nothing in an editor that has none."""

    def __init__(self, editor: Editor, title: str) -> None:
        self._editor = editor
        self._title = title
        self._token = f"qwencoder-{secrets.token_hex(8)}"
        self._open = self._ended = False

    async def begin(self, on_cancel: Callable[[], Any] | None = None) -> None:
        """Show the bar. With `on_cancel` it has a cancel button, which calls that."""
        self._open = await self._editor.create_progress(self._token) and not self._ended
        if self._open:
            if on_cancel:
                self._editor.on_progress_cancelled(self._token, on_cancel)
            self._editor.progress(self._token, types.WorkDoneProgressBegin(self._title, cancellable=on_cancel is not None))

    def report(self, message: str, percentage: int | None = None) -> None:
        """Show how far it is, in per cent where that is known."""
        if self._open:
            self._editor.progress(self._token, types.WorkDoneProgressReport(message=message, percentage=percentage))

    def end(self) -> None:
        """Take the bar away, or keep it from coming up."""
        self._ended = True
        if self._open:
            self._open = False
            self._editor.progress(self._token, types.WorkDoneProgressEnd())
            self._editor.forget_progress(self._token)


async def with_progress(editor: Editor, title: str, work: Callable[[ProgressBar], Coroutine[Any, Any, T]]) -> T | None:
    """The result of `work` while a bar with a cancel button shows; None when the user cancelled it. Cancelling this call cancels `work`."""
    bar = ProgressBar(editor, title)

    async def run() -> T:
        return await work(bar)

    task = asyncio.get_running_loop().create_task(run())
    try:
        await bar.begin(task.cancel)
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        raise
    finally:
        bar.end()
    return None if task.cancelled() else task.result()
