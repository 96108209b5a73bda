"""The settings as this window has them.

In: initializationOptions, the client's `qwencoder` section (pulled where it answers workspace/configuration, else as it pushes it), and the files
and environment that `settings.load` reads. Out: a Settings value per workspace folder. Refused values keep their defaults and are reported once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.uris import from_fs_path

from qwencoder_lsp.lsp.documents import Documents
from qwencoder_lsp.lsp.editor import Editor

if TYPE_CHECKING:
    from qwencoder_lsp.settings import Settings

log = logging.getLogger(__name__)

SECTION = "qwencoder"
FIRST_ANSWER_S = 5.0  # a client that never answers workspace/configuration gets its completions all the same
MOST_SHOWN = 8
EXTENSION_KEYS = frozenset({"command", "package", "trace"})  # settings of the editor's extension, which share the section with ours


class Configuration:
    """Settings by workspace folder. `on_change` gets the settings outside any folder after each change."""

    def __init__(self, editor: Editor, documents: Documents, on_change: Callable[[Settings], None]) -> None:
        self._editor = editor
        self._documents = documents
        self._on_change = on_change
        self._options: dict[str, Any] = {}
        self._sections: dict[str | None, dict[str, Any]] = {}
        self._cache: dict[str | None, Settings] = {}
        self._reported: set[str] = set()
        self._loaded = asyncio.Event()

    def start(self, options: Any) -> None:
        """Take the initializationOptions."""
        self._options = leaves(options)

    async def update(self, pushed: Any = None) -> None:
        """Ask the client for its settings; where it does not answer that, take what it pushed with didChangeConfiguration."""
        if self._editor.can("workspace.configuration"):
            await self._pull()
        elif isinstance(pushed, dict):
            self._sections = {None: leaves(pushed.get(SECTION, {}))}
        self.reload()
        self._loaded.set()

    def reload(self) -> None:
        """Read everything again, because a settings file or the client's settings changed."""
        self._cache.clear()
        self._on_change(self._load(None))

    async def settings(self, root: str | None = None) -> Settings:
        """The settings for documents in the workspace folder `root`. Waits for the client's first answer."""
        if not self._loaded.is_set():
            try:
                await asyncio.wait_for(self._loaded.wait(), FIRST_ANSWER_S)
            except asyncio.TimeoutError:
                log.warning("the editor did not answer workspace/configuration within %.0f s", FIRST_ANSWER_S)
                self._loaded.set()
        return self._load(root)

    async def _pull(self) -> None:
        roots: list[str | None] = [None, *self._documents.roots()]
        try:
            answers = await self._editor.configuration(SECTION, [from_fs_path(root) if root else None for root in roots])
        except JsonRpcException as error:
            log.warning("the editor refused workspace/configuration: %s", type(error).__name__)
            return
        self._sections = {root: leaves(answer) for root, answer in zip(roots, answers, strict=False)}

    def _load(self, root: str | None) -> Settings:
        if root not in self._cache:
            from qwencoder_lsp import settings

            editor = {**self._options, **self._sections.get(None, {})}
            loaded, problems = settings.load(editor=editor, folder=self._sections.get(root, {}), root=Path(root) if root else None)
            self._cache[root] = loaded
            self._report(problems)
        return self._cache[root]

    def _report(self, problems: list[str]) -> None:
        fresh = [problem for problem in problems if problem not in self._reported]
        self._reported.update(fresh)
        if fresh:
            more = f" And {len(fresh) - MOST_SHOWN} more." if len(fresh) > MOST_SHOWN else ""
            self._editor.show(types.MessageType.Warning, "Qwen-Coder settings: " + " ".join(fresh[:MOST_SHOWN]) + more)


def leaves(tree: Any) -> dict[str, Any]:
    """A client's settings as "section.field": value.

    null means "not set" there. A client may send the section itself or an object that holds it.
    """
    if not isinstance(tree, dict):
        return {}
    if set(tree) == {SECTION}:
        return leaves(tree[SECTION])
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if key.split(".")[0] in EXTENSION_KEYS:
            continue
        flat.update({f"{key}.{name}": v for name, v in value.items()} if isinstance(value, dict) else {key: value})
    return {key: value for key, value in flat.items() if value is not None}
