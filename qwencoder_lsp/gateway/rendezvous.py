"""Where a gateway and its clients meet: files in the private runtime directory, named by the wire protocol's number.

`gateway-N.json` says how to reach the running gateway; `gateway-N.lock` is held by it for as long as it lives, so the operating system
releases it even after SIGKILL; `gateway-N.start.lock` is held by a client while it starts one. Left-over files are recognised by the free lock.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from qwencoder_lsp import paths
from qwencoder_lsp.errors import GatewayError
from qwencoder_lsp.gateway.protocol import PROTOCOL

USE_UNIX_SOCKET = sys.platform != "win32"


@dataclass(frozen=True, slots=True)
class Address:
    """How to reach a gateway: a Unix socket, or a loopback port on Windows. The token is known to this user alone."""

    pid: int
    token: str
    socket: str = ""
    port: int = 0


def address_file() -> Path:
    """The file that holds the Address."""
    return paths.runtime_dir() / f"gateway-{PROTOCOL}.json"


def socket_file() -> Path:
    """The gateway's Unix socket."""
    return paths.runtime_dir() / f"gateway-{PROTOCOL}.sock"


def start_lock() -> FileLock:
    """Held by the client that starts a gateway, so that two windows do not start two."""
    return FileLock(paths.runtime_dir() / f"gateway-{PROTOCOL}.start.lock", thread_local=False)  # taken in one thread, released in another


def hold_life_lock() -> FileLock:
    """Take the lock that says that a gateway lives. Raises GatewayError when one does already."""
    lock = FileLock(paths.runtime_dir() / f"gateway-{PROTOCOL}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise GatewayError("A gateway is running already.", "See: qwencoder-lsp status") from None
    return lock


def gateway_lives() -> bool:
    """Whether some process holds the life lock."""
    try:
        hold_life_lock().release()
    except GatewayError:
        return True
    return False


def publish(port: int = 0) -> Address:
    """Called by a gateway that holds the life lock: write the Address with a fresh token, mode 0600, and return it."""
    address = Address(os.getpid(), secrets.token_urlsafe(32), "" if port else str(socket_file()), port)
    target = address_file()
    partial = target.with_suffix(f".{os.getpid()}")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(asdict(address), file)
    partial.replace(target)
    return address


def withdraw() -> None:
    """Called by a gateway at its end: remove its files."""
    address_file().unlink(missing_ok=True)
    socket_file().unlink(missing_ok=True)


def read_address() -> Address | None:
    """The published Address, or None when there is none that can be read."""
    try:
        fields = json.loads(address_file().read_text("utf-8"))
        return Address(**fields)
    except (FileNotFoundError, ValueError, TypeError):  # being replaced, or damaged: the same as none
        return None


def proof(token: str, nonce: str) -> str:
    """Shows that one knows the token without sending it: HMAC-SHA256 of the nonce, as hex."""
    return hmac.new(token.encode(), nonce.encode(), hashlib.sha256).hexdigest()
