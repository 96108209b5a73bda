"""Start with the login: a systemd user unit (Linux) or a launchd agent (macOS) for the service process.

In: the options of `manage install`. Out: the text of the file, its place, and the operating system told of it.
Sources: systemd.service(5), systemd.exec(5), sd_notify(3), launchd.plist(5). Windows has neither: `manage start` is the way there.
"""

from __future__ import annotations

import os
import plistlib
import subprocess
import sys
from pathlib import Path

from qwencoder_lsp import paths
from qwencoder_lsp.errors import GatewayError
from qwencoder_lsp.operate.record import Options

NAME = "qwencoder-lsp.service"
LABEL = "org.qwencoder-lsp.service"
COMMAND = (sys.executable, "-m", "qwencoder_lsp.operate")
PATIENCE_S = 90.0  # systemd's own limit for a start


def kind() -> str:
    """ "systemd", "launchd", or empty where there is neither."""
    return {"linux": "systemd", "darwin": "launchd"}.get(sys.platform, "")


def place(of: str) -> Path:
    """Where the file of that kind belongs for this user."""
    if of == "launchd":
        return Path.home() / "Library" / "LaunchAgents" / f"{LABEL}.plist"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user" / NAME


def text(of: str, options: Options) -> bytes:
    """The file of that kind for a service with these options."""
    environment = _environment(options)
    return _launchd(environment) if of == "launchd" else _systemd(environment).encode()


def enable(of: str, path: Path) -> str:
    """Tell the operating system of the file; empty, or one sentence on what the user has to do because it could not be told."""
    if of == "launchd":
        return _tell(["launchctl", "bootstrap", f"gui/{_uid()}", str(path)])
    return _tell(["systemctl", "--user", "daemon-reload"]) or _tell(["systemctl", "--user", "enable", NAME])


def disable(of: str) -> str:
    """Undo `enable`."""
    if of == "launchd":
        return _tell(["launchctl", "bootout", f"gui/{_uid()}/{LABEL}"])
    return _tell(["systemctl", "--user", "disable", NAME])


def start(of: str) -> None:
    """Have the operating system start the service. Returns when it serves (systemd) or has been started (launchd). Raises GatewayError."""
    command = ["launchctl", "kickstart", f"gui/{_uid()}/{LABEL}"] if of == "launchd" else ["systemctl", "--user", "start", NAME]
    if problem := _tell(command):
        raise GatewayError(problem, "See: qwencoder-lsp logs")


def _environment(options: Options) -> dict[str, str]:
    home = paths.neutral_environment().get("QWENCODER_HOME")
    return {**({"QWENCODER_HOME": home} if home else {}), **options.environment()}


def _systemd(environment: dict[str, str]) -> str:
    lines = [f"Environment={_quoted(f'{name}={value}')}" for name, value in environment.items()]
    return "\n".join(
        [
            "[Unit]",
            "Description=qwencoder-lsp: Qwen-Coder models over HTTP",
            "StartLimitIntervalSec=300",
            "StartLimitBurst=5",
            "",
            "[Service]",
            "Type=notify",
            f"ExecStart={' '.join(_quoted(word).replace('$', '$$') for word in COMMAND)}",
            "WorkingDirectory=/",
            *lines,
            "Restart=on-failure",
            "RestartSec=5",
            f"TimeoutStartSec={PATIENCE_S:.0f}",
            "TimeoutStopSec=20",
            "# Editors may be using the gateway, which ends by itself when nobody does.",
            "KillMode=process",
            "UMask=0077",
            "NoNewPrivileges=yes",
            "",
            "[Install]",
            "WantedBy=default.target",
            "",
        ]
    )


def _quoted(word: str) -> str:
    """As systemd.syntax(7) reads it back: quotes and backslashes are escaped, specifiers doubled."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def _launchd(environment: dict[str, str]) -> bytes:
    return plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": list(COMMAND),
            "WorkingDirectory": "/",
            "EnvironmentVariables": environment,
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "AbandonProcessGroup": True,  # as KillMode=process above
            "ProcessType": "Interactive",  # a background job's share of the cores would be too small for typing
            "Umask": 0o077,
        }
    )


def _uid() -> int:
    return os.getuid() if sys.platform != "win32" else 0


def _tell(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=PATIENCE_S + 10, check=False)
    except FileNotFoundError:
        return f"{command[0]} is not here; run where it is: {' '.join(command)}"
    except subprocess.TimeoutExpired:
        return f"`{' '.join(command)}` did not return."
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        return f"`{' '.join(command)}` failed: {said[-1] if said else f'status {done.returncode}'}"
    return ""
