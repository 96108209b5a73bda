"""Keys: those that a service accepts, and the one that it is asked with. They come from private files and the environment, never from settings."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from qwencoder_lsp.errors import SettingsError

SHORTEST_KEY = 16


def api_keys(file: str, environment: str) -> tuple[str, ...]:
    """The keys of a file, one per line with # for comments, and of a variable, separated by commas. Raises SettingsError."""
    keys = tuple(dict.fromkeys([*_lines(file, "gateway.key_file"), *filter(None, map(str.strip, environment.split(",")))]))
    if short := sum(len(key) < SHORTEST_KEY for key in keys):
        raise SettingsError(f"{short} of the API keys have fewer than {SHORTEST_KEY} characters.", "Make one with: openssl rand -hex 24")
    return keys


def own_key(variable: str, file: str, setting: str) -> str:
    """The key in the environment variable, otherwise the first of the file that the setting names; empty for none. Raises SettingsError."""
    return os.environ.get(variable, "").strip() or next(iter(_lines(file, setting)), "")


def _lines(file: str, setting: str) -> list[str]:
    if not file:
        return []
    path = Path(file).expanduser()
    try:
        lines = path.read_text("utf-8").splitlines()
        shared = sys.platform != "win32" and path.stat().st_mode & 0o077
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{setting}: {path} cannot be read ({error}).", "Correct the path.") from error
    if shared:
        raise SettingsError(f"{setting}: others may read {path}.", f"Run: chmod 600 {path}")
    return [key for line in lines if (key := line.partition("#")[0].strip())]
