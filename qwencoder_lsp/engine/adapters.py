"""The LoRA adapters (https://arxiv.org/abs/2106.09685) that are loaded beside a model. They are loaded when a request first wants them.

All rows of a step are computed under one set of adapters, and KV made under one set is never used under another: see roots.py.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwencoder_lsp.engine.binding import Model
from qwencoder_lsp.engine.roots import fingerprint
from qwencoder_lsp.errors import RequestError

log = logging.getLogger(__name__)

MOST = 16  # stay loaded while nothing uses them


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """A loaded file. handle: llama.cpp's."""

    path: str
    fingerprint: bytes
    handle: Any


AdapterSet = tuple[tuple[Adapter, float], ...]


class Adapters:
    """Used by the engine's thread only."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._loaded: dict[str, Adapter] = {}  # by path, the one used last at the end
        self._replaced: list[Adapter] = []  # their files have changed

    def choose(self, wanted: Iterable[tuple[str, float]]) -> AdapterSet:
        """The adapters in these files with their scales; those with scale 0 are left out. Raises RequestError when one cannot be used."""
        scales: dict[str, float] = {}
        for path, scale in wanted:
            if path in scales:
                raise RequestError(f"The adapter {Path(path).name} is named twice.", "Name it once.")
            scales[path] = scale
        return tuple((self._load(path), scale) for path, scale in sorted(scales.items()) if scale)

    @property
    def stale(self) -> bool:
        """Whether `tidy` has something to do."""
        return bool(self._gone())

    def tidy(self) -> None:
        """Free those whose files have gone or changed, and those unused for longest. No context may have one, and no request may be running."""
        for adapter in self._gone():
            if self._loaded.get(adapter.path) is adapter:
                del self._loaded[adapter.path]
            self._model.free_adapter(adapter.handle)
            log.info("adapter %s is freed", Path(adapter.path).name)
        self._replaced.clear()

    def _gone(self) -> list[Adapter]:
        loaded = list(self._loaded.values())
        return [*self._replaced, *(a for i, a in enumerate(loaded) if i < len(loaded) - MOST or _print(a.path) != a.fingerprint)]

    def _load(self, path: str) -> Adapter:
        found = _print(path)
        if found is None:
            raise RequestError(f"There is no adapter file {path}.", "See: qwencoder-lsp adapters list")
        adapter = self._loaded.pop(path, None)
        if adapter is not None and adapter.fingerprint != found:
            self._replaced.append(adapter)
            adapter = None
        if adapter is None:
            adapter = Adapter(path, found, self._model.load_adapter(Path(path)))
            log.info("adapter %s is loaded", Path(path).name)
        self._loaded[path] = adapter
        return adapter


def _print(path: str) -> bytes | None:
    try:
        return fingerprint(Path(path))
    except OSError:
        return None
