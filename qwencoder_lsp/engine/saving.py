"""Which prompts of which workspace go to disk, and when: the latest of each document, once nothing has run for a while, and at the end.

Only what the request allows is saved, and never the answer. What is being typed comes last in a prompt and is not part of it.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from qwencoder_lsp.engine.disktier import DiskTier
from qwencoder_lsp.engine.hosttier import BLOCK, HostTier, Ids, chain
from qwencoder_lsp.engine.kvpool import KVPool

QUIET_S = 30.0  # without a request, before anything is written
EXIT_S = 1.5  # for what is not written yet when the process ends
PROMPTS = 32  # of all workspaces


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is to be saved: the KV of `tokens` made under `root` in lane `lane`."""

    workspace: str
    lane: str
    root: bytes
    tokens: Ids


class Saver:
    """Used by the engine's thread only; `disk` writes in a thread of its own."""

    def __init__(self, disk: DiskTier, tier: HostTier) -> None:
        self._disk, self._tier = disk, tier
        self._prompts: OrderedDict[tuple[str, str], Prompt] = OrderedDict()  # by workspace and document, the latest last
        self._quiet_since = time.monotonic()

    @property
    def due_s(self) -> float | None:
        """Seconds until there is something to write, if nothing comes meanwhile; None: there is nothing."""
        return max(0.0, self._quiet_since + QUIET_S - time.monotonic()) if self._prompts else None

    def open(self, workspace: str) -> None:
        """A request of that workspace has come: its saved blocks may be used."""
        self._disk.open(workspace)

    def note(self, prompt: Prompt, document: str) -> None:
        """A request has ended whose KV is worth keeping."""
        self._quiet_since = time.monotonic()
        if len(prompt.tokens) < BLOCK:
            return
        self._prompts[prompt.workspace, document] = prompt
        self._prompts.move_to_end((prompt.workspace, document))
        if len(self._prompts) > PROMPTS:
            self._prompts.popitem(last=False)

    def save(self, pools: dict[str, KVPool]) -> None:
        """Hand what was noted to the disk. pools: the KV memories that are there, by lane; the rest must be in host memory already."""
        for prompt in self._prompts.values():
            if pool := pools.get(prompt.lane):
                pool.store(prompt.tokens, prompt.root)
            blocks = []
            for i, key in enumerate(chain(prompt.root, prompt.tokens)):
                block = self._tier.get(key, np.asarray(prompt.tokens[i * BLOCK : (i + 1) * BLOCK]))
                if block is None:
                    break
                blocks.append((key, block))
            if blocks:
                self._disk.put(prompt.workspace, prompt.root, blocks)
        self._prompts.clear()

    def finish(self) -> None:
        """Wait for what is being written, but not long."""
        self._disk.flush(EXIT_S)
