"""An account of what the filters of the finish stage do to a text. Pure."""

from __future__ import annotations

from qwencoder_lsp.core.report import Step


class Steps:
    """Called with the name of a filter and the text before and after it; gives the latter back. `taken` are those that changed something."""

    def __init__(self) -> None:
        self.taken: list[Step] = []

    def __call__(self, name: str, before: str, after: str) -> str:
        if before != after:
            self.taken.append(Step(name, len(before), len(after)))
        return after
