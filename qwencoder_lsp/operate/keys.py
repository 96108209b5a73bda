"""API keys of the HTTP service: which count, and the file that holds them.

The file has one key per line, `#` begins a comment. A key that we make is not in it, only `sha256:HEX`: it has 256 random bits, so its hash
needs no salt and no stretching, and whoever reads the file cannot ask with it. Keys that the user wrote there in plain count too.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from filelock import FileLock

from qwencoder_lsp import paths
from qwencoder_lsp.errors import NotApplicable, RequestError, SettingsError
from qwencoder_lsp.gateway.keys import key_lines
from qwencoder_lsp.gateway.protocol import HASHED_KEY
from qwencoder_lsp.settings import Settings

SHORTEST_KEY = 16  # characters
PREFIX = "qc-"  # what secret scanners can look for
NAME = re.compile(r"[\w.@-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Credential:
    """One line of the file. id: the first digits of the key's SHA-256. created: ISO 8601, or empty where the user wrote the line."""

    name: str
    id: str
    created: str


def key_file(settings: Settings) -> Path:
    """The file that counts: that of the settings, else `api-keys` beside the user's settings file."""
    return Path(settings.gateway.key_file) if settings.gateway.key_file else paths.config_file().with_name("api-keys")


def load_keys(settings: Settings, environment: str) -> tuple[str, ...]:
    """The keys of the file, and of a variable, separated by commas: plain, or `sha256:HEX`.

    Raises SettingsError when the file of the settings cannot be read, others may read it, or a key is too short.
    """
    path = key_file(settings)
    lines = _lines(path) if settings.gateway.key_file or path.exists() else []
    keys = tuple(dict.fromkeys(key for key in (*map(_key, lines), *(text.strip() for text in environment.split(","))) if key))
    if short := sum(len(key) < SHORTEST_KEY for key in keys):
        raise SettingsError(f"{short} of the API keys are shorter than {SHORTEST_KEY} characters.", "Make one: qwencoder-lsp credentials create NAME")
    return keys


def credentials(path: Path) -> list[Credential]:
    """What the file holds, without the keys. Raises SettingsError."""
    return [_credential(line) for line in (_lines(path) if path.exists() else []) if _key(line)]


def create(path: Path, name: str) -> str:
    """Add a key to the file, which is made with mode 0600, and return it: it is nowhere else.

    Raises RequestError for a name that cannot be one, NotApplicable for one that is taken; SettingsError when the file cannot be read or written.
    """
    if not NAME.fullmatch(name):
        raise RequestError(f"{name!r} cannot be a key's name.", "Use letters, digits, and . _ - @.")
    with _locked(path):
        lines = _lines(path) if path.exists() else []
        if any(_credential(line).name == name for line in lines if _key(line)):
            raise NotApplicable(f"There is a key {name} already.", f"Choose another name, or: qwencoder-lsp credentials revoke {name}")
        key = PREFIX + secrets.token_urlsafe(32)
        created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        _write(path, [*lines, f"{HASHED_KEY}{_digest(key)} # {name} {created}"])
    return key


def revoke(path: Path, name: str) -> bool:
    """Remove the keys of that name or id; whether there was one. Raises SettingsError."""
    if not path.exists():
        return False
    with _locked(path):
        lines = _lines(path)
        left = [line for line in lines if not (_key(line) and name in (_credential(line).name, _credential(line).id))]
        if left != lines:
            _write(path, left)
    return left != lines


def _credential(line: str) -> Credential:
    key, _, comment = line.partition("#")
    digest = key.strip().removeprefix(HASHED_KEY) if key.strip().startswith(HASHED_KEY) else _digest(key.strip())
    name, _, created = comment.strip().partition(" ")
    return Credential(name, digest[:8], created if key.strip().startswith(HASHED_KEY) else "")


def _key(line: str) -> str:
    return line.partition("#")[0].strip()


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _lines(path: Path) -> list[str]:
    return key_lines(path, "gateway.key_file")


def _write(path: Path, lines: list[str]) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise SettingsError(f"{path} cannot be written ({error.strerror}).", "Check its permissions and the space on the disk.") from error


def _locked(path: Path) -> FileLock:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return FileLock(path.with_name(f"{path.name}.lock"), mode=0o600)
