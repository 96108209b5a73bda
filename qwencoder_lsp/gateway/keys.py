"""The key that a service elsewhere is asked with, and how files of keys are read. Keys come from private files and the environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from qwencoder_lsp.errors import SettingsError


def own_key(variable: str, file: str, setting: str) -> str:
    """The key in the environment variable, otherwise the first of the file that the setting names; empty for none. Raises SettingsError."""
    if key := os.environ.get(variable, "").strip():
        return key
    lines = key_lines(Path(file).expanduser(), setting) if file else []
    return next((key for line in lines if (key := line.partition("#")[0].strip())), "")


def key_lines(path: Path, setting: str) -> list[str]:
    """The lines of a file of keys, one key per line with # for comments. Raises SettingsError when it cannot be read, or others may read it."""
    try:
        shared = sys.platform != "win32" and path.stat().st_mode & 0o077
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{setting}: {path} cannot be read ({error}).", "Correct the path.") from error
    if shared:
        raise SettingsError(f"{setting}: others may read {path}.", f"Run: chmod 600 {path}")
    return lines
