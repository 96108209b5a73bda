"""Where files live: models in the data directory, calibration in the cache, logs, and the gateway's lock and socket in the runtime directory.

`QWENCODER_HOME` puts all of them under one directory.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path

import platformdirs

from qwencoder_lsp.errors import GatewayError

APP = "qwencoder-lsp"
MAX_SOCKET_PATH = 100  # sun_path holds 104 bytes on macOS, 108 on Linux


NEUTRAL = os.sep
"""Where our processes start: `python -m` takes modules from the working directory first, and that may be a workspace of anybody's making."""


def neutral_environment() -> dict[str, str]:
    """The environment for a process that starts in NEUTRAL: its home is the same."""
    home = _home()
    return {**os.environ, "QWENCODER_HOME": str(home)} if home else dict(os.environ)


def _home() -> Path | None:
    home = os.environ.get("QWENCODER_HOME")
    return Path(home).expanduser().absolute() if home else None


def models_dir() -> Path:
    """Directory of the downloaded GGUF files; not created here."""
    home = _home()
    return (home / "data" if home else Path(platformdirs.user_data_dir(APP, appauthor=False))) / "models"


def adapters_dir() -> Path:
    """Directory of the installed LoRA adapters; not created here."""
    return models_dir().parent / "adapters"


def batches_dir() -> Path:
    """Private directory of uploaded files and batches; not created here."""
    home = _home()
    return (home / "data" if home else Path(platformdirs.user_data_dir(APP, appauthor=False))) / "batches"


def cache_dir() -> Path:
    """Directory for what can be made again; not created here."""
    home = _home()
    return home / "cache" if home else Path(platformdirs.user_cache_dir(APP, appauthor=False))


def prefixes_dir() -> Path:
    """Private directory of computed prefixes by workspace; not created here."""
    return cache_dir() / "prefixes"


def log_dir() -> Path:
    """Directory of the log files; not created here."""
    home = _home()
    return home / "log" if home else Path(platformdirs.user_log_dir(APP, appauthor=False))


def traces_dir() -> Path:
    """Directory of saved traces, which hold source text; not created here."""
    home = _home()
    return home / "traces" if home else Path(platformdirs.user_state_dir(APP, appauthor=False)) / "traces"


def history_file() -> Path:
    """The history of requests: numbers only; not created here."""
    home = _home()
    return (home / "data" if home else Path(platformdirs.user_state_dir(APP, appauthor=False))) / "history.sqlite"


def service_dir() -> Path:
    """The private directory for what is known of the installed and the running service, created with mode 0700.

    Not the runtime directory: that goes with the login session, and the service stays. Raises GatewayError as `runtime_dir` does.
    """
    home = _home()
    path = home / "service" if home else Path(platformdirs.user_state_dir(APP, appauthor=False)) / "service"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_private(path)
    return path


def setup_dir() -> Path:
    """Private directory of what `qwencoder-lsp setup` wrote where; not created here."""
    home = _home()
    return (home / "data" if home else Path(platformdirs.user_data_dir(APP, appauthor=False))) / "setup"


def config_file() -> Path:
    """The user's settings file, which need not exist."""
    home = _home()
    return (home / "config" if home else Path(platformdirs.user_config_dir(APP, appauthor=False))) / "settings.toml"


def runtime_dir() -> Path:
    """The private directory for lock and socket, created with mode 0700.

    Raises GatewayError when it belongs to someone else, is a symbolic link or is open to others.
    """
    home = _home()
    path = home / "run" if home else _user_runtime_dir()
    if sys.platform != "win32" and len(bytes(path)) > MAX_SOCKET_PATH - 20:
        path = Path(tempfile.gettempdir()) / f"{APP}-{os.getuid()}-{_short(path)}"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_private(path)
    return path


def _user_runtime_dir() -> Path:
    if not sys.platform.startswith("linux"):
        return Path(platformdirs.user_runtime_dir(APP, appauthor=False))
    given = os.environ.get("XDG_RUNTIME_DIR")  # unset in containers and cron jobs, where platformdirs would warn on stderr at each start
    return Path(given) / APP if given else Path(tempfile.gettempdir()) / f"{APP}-{os.getuid()}"


def check_private(path: Path) -> None:
    """Raise GatewayError unless `path` is a real directory of this user that nobody else can enter."""
    if sys.platform == "win32":
        return  # the profile directory's access list keeps others out
    info = path.lstat()
    if not stat.S_ISDIR(info.st_mode):
        raise GatewayError(f"{path} is not a directory.", "Remove it and try again.")
    if info.st_uid != os.getuid():
        raise GatewayError(f"{path} belongs to another user.", "Set QWENCODER_HOME to a directory of your own.")
    if info.st_mode & 0o077:
        raise GatewayError(f"{path} can be entered by others (mode {info.st_mode & 0o777:o}).", f"Run: chmod 700 {path}")


def _short(path: Path) -> str:
    import hashlib

    return hashlib.sha256(bytes(path)).hexdigest()[:12]
