"""Which prompt files count for a document: a trusted workspace's, the user's, ours, in this order."""

from __future__ import annotations

import os
from pathlib import Path

from qwencoder_lsp import paths
from qwencoder_lsp.prompt.instructions import Instruction, instruction
from qwencoder_lsp.settings import Settings

WORKSPACE = Path(".qwencoder") / "prompts"


def prompt(name: str, root: str | None, settings: Settings) -> Instruction:
    """The prompt `name` for a document in the workspace folder `root`. Raises SettingsError when its file cannot be used."""
    folders = [paths.config_file().parent / "prompts"]
    if root and any(os.path.realpath(Path(trusted).expanduser()) == os.path.realpath(root) for trusted in settings.prompts.trusted):
        folders.insert(0, Path(root) / WORKSPACE)
    return instruction(name, folders)
