"""What is known of the service between commands, as JSON files in the private service directory.

`installed.json` holds what `manage install` was told; `running.json` is written by the running service, which holds `running.lock` for as long as
it lives, so that a left-over file is recognised by the free lock even after SIGKILL.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from qwencoder_lsp import paths
from qwencoder_lsp.errors import GatewayError


@dataclass(frozen=True, slots=True)
class Options:
    """What was said on the command line; None: what the settings say."""

    host: str | None = None
    port: int | None = None
    model: str | None = None

    def over(self, other: Options) -> Options:
        """These, and where they say nothing, the other's."""
        return replace(other, **{name: value for name, value in asdict(self).items() if value is not None})

    def environment(self) -> dict[str, str]:
        """As the variables that `settings.load` reads."""
        return {f"QWENCODER_{name.upper()}": str(value) for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class Installed:
    """unit: the path of the systemd unit or launchd plist that was written; empty without one. enabled: whether the system took it."""

    options: Options = field(default_factory=Options)
    unit: str = ""
    enabled: bool = False


@dataclass(frozen=True, slots=True)
class Running:
    """The service process. created: its start time as the operating system has it, so that another process with its number is not taken for it.

    state: "starting", "serving", or "restarting" after its gateway was lost; error: why the latter. address: "host:port", where it serves.
    """

    pid: int
    created: float
    options: Options
    state: str = "starting"
    address: str = ""
    since: float = 0.0
    error: str = ""


def hold_lock(patience: float = 1.0) -> FileLock:
    """Take the lock that says that the service runs, within `patience` seconds: `lives` holds it for a moment too.

    Raises GatewayError when the service does run.
    """
    lock = FileLock(paths.service_dir() / "running.lock")
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        raise GatewayError("The service is running already.", "See: qwencoder-lsp status") from None
    return lock


def lives() -> bool:
    """Whether some process holds the lock."""
    try:
        hold_lock(patience=0.1).release()
    except GatewayError:
        return True
    return False


def find_running() -> Running | None:
    """The running service; None when there is none, or it has only just begun and nothing is known of it yet."""
    fields = _read("running.json") if lives() else None
    if fields is None:
        return None
    running = Running(**{**fields, "options": Options(**fields["options"])})
    try:
        same = psutil.Process(running.pid).create_time() == running.created
    except psutil.Error:
        same = False
    return running if same else None


def write_running(running: Running) -> None:
    """Called by the service, which holds the lock."""
    _write("running.json", asdict(running))


def forget_running() -> None:
    """Called by the service, which holds the lock."""
    (paths.service_dir() / "running.json").unlink(missing_ok=True)


def find_installed() -> Installed | None:
    """What `manage install` left; None without it."""
    fields = _read("installed.json")
    return Installed(**{**fields, "options": Options(**fields["options"])}) if fields else None


def write_installed(installed: Installed) -> None:
    """Remember an installation."""
    _write("installed.json", asdict(installed))


def forget_installed() -> None:
    """Undo write_installed."""
    (paths.service_dir() / "installed.json").unlink(missing_ok=True)


def _read(name: str) -> dict[str, Any] | None:
    path = paths.service_dir() / name
    try:
        fields: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise GatewayError(f"{path} is damaged ({error}).", "Remove it and try again.") from error
    return fields


def _write(name: str, fields: dict[str, Any]) -> None:
    path: Path = paths.service_dir() / name
    partial = path.with_suffix(f".{os.getpid()}")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(fields, file)
    partial.replace(path)
