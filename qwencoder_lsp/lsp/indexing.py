"""The indexing process of this window: started with it, told what changes and when someone types, shown as progress.

In: settings, notifications of files, edits. Out: a process (context.indexing) that keeps the indexes of the workspace folders true. When that process
fails, the editor goes on without it, and it is started again a few times.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.uris import to_fs_path

from qwencoder_lsp.core.text import Edit
from qwencoder_lsp.lsp.progress import ProgressBar
from qwencoder_lsp.lsp.session import Session
from qwencoder_lsp.lsp.tasks import spawn
from qwencoder_lsp.paths import NEUTRAL, neutral_environment

log = logging.getLogger(__name__)

MOST_STARTS = 4
RESTART_S = 5.0
PAUSE_S, TELL_S = 2.0, 0.5  # after a keystroke the index rests so long, and is told at most so often
BAR_FROM = 200  # files; less is done before a bar could be read
GLOB = "**/*"


class Indexing:
    """Runs the process while the window lives."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._told = 0.0
        self._folders: list[str] = []
        self._bars: dict[str, ProgressBar] = {}
        self._states: dict[str, dict[str, Any]] = {}
        session.documents.follow(self._edited)

    async def start(self) -> None:
        """Begin to keep the indexes of the folders that want one; another time: when the folders have changed."""
        wanted = [root for root in self._session.documents.roots() if (await self._session.configuration.settings(root)).index.enabled]
        if wanted == self._folders and self._task:
            return
        if self._task:
            self._task.cancel()
        self._folders = wanted
        self._task = spawn(self._run(wanted)) if wanted else None

    def changed(self, uris: Sequence[str]) -> None:
        """Files came, changed or went."""
        paths = [path for uri in uris if (path := to_fs_path(uri))]
        if paths:
            self._tell({"changed": paths})

    def states(self) -> list[dict[str, Any]]:
        """What the process said last of each folder."""
        return list(self._states.values())

    def _edited(self, _: str, __: Edit) -> None:
        now = time.monotonic()
        if self._process and now - self._told > TELL_S:
            self._told = now
            self._tell({"pause": PAUSE_S})

    def _tell(self, message: dict[str, Any]) -> None:
        if self._process and self._process.stdin and not self._process.stdin.is_closing():
            self._process.stdin.write(json.dumps(message).encode() + b"\n")

    async def _run(self, folders: list[str]) -> None:
        watches = self._session.editor.can("workspace.did_change_watched_files.dynamic_registration")
        command = [sys.executable, "-m", "qwencoder_lsp.context.indexing", *([] if watches else ["--watch"]), *folders]
        for start in range(1, MOST_STARTS + 1):
            try:
                process = await asyncio.create_subprocess_exec(
                    *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, cwd=NEUTRAL, env=neutral_environment()
                )
            except OSError as error:
                log.warning("the index cannot be started (%s)", type(error).__name__)
                return
            self._process = process
            assert process.stdout
            try:
                async for line in process.stdout:
                    self._report(json.loads(line))
                log.warning("the indexing process has ended with code %d", await process.wait())
            finally:
                if process.returncode is None:
                    process.kill()  # its index is whole at any moment
                self._end_bars()
            await asyncio.sleep(RESTART_S * start)

    def _report(self, report: dict[str, Any]) -> None:
        folder = report["folder"]
        self._states[folder] = report
        if report["state"] == "scanning":
            if folder not in self._bars and report["total"] - report["done"] >= BAR_FROM:
                bar = self._bars[folder] = ProgressBar(self._session.editor, f"Indexing {Path(folder).name}")
                spawn(bar.begin(lambda: self._tell({"stop": True})))
            if folder in self._bars:
                self._bars[folder].report(f"{report['done']} of {report['total']} files", 100 * report["done"] // max(report["total"], 1))
            return
        if folder in self._bars:
            self._bars.pop(folder).end()
        log.info("index: %s", report["state"])

    def _end_bars(self) -> None:
        for bar in self._bars.values():
            bar.end()
        self._bars.clear()


async def register(session: Session) -> None:
    """Ask the editor to report changes of files, where it can."""
    if session.editor.can("workspace.did_change_watched_files.dynamic_registration"):
        options = types.DidChangeWatchedFilesRegistrationOptions([types.FileSystemWatcher(GLOB)])
        await session.editor.register(types.WORKSPACE_DID_CHANGE_WATCHED_FILES, options)
