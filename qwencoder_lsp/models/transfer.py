"""Fetches one file over HTTP into a PartialFile, going on where an earlier attempt stopped, with huggingface_hub's session.

The library's own download starts again after a kill (its temporary files have unique names since 1.x), so the loop is ours; connection pool,
proxy and certificate settings, offline mode and the meaning of the hub's errors are the library's.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from typing import TypeVar

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import get_session, hf_raise_for_status

from qwencoder_lsp.errors import DownloadError, ModelCorrupt
from qwencoder_lsp.models.partial import PartialFile
from qwencoder_lsp.models.progress import Monitor

ATTEMPTS = 5  # in a row without a new byte
UNREACHABLE_ATTEMPTS = 2  # of a server that nothing has come from yet: there may be another source
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 60.0
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})  # statuses after which the same request may succeed
REPORT = 1 << 20  # bytes between two reports

T = TypeVar("T")


def fetch(url: str, headers: Mapping[str, str], partial: PartialFile, monitor: Monitor, label: str) -> None:
    """Complete `partial` from `url`. Raises DownloadError when the source fails for good, ModelCorrupt when it sends another file."""

    def attempt() -> None:
        while partial.remaining:
            before = partial.written
            _stream(url, headers, partial, monitor, label)
            if partial.written == before:
                raise httpx2.RemoteProtocolError("the server sent nothing")

    persist(attempt, lambda: partial.written, monitor, label)


def persist(attempt: Callable[[], T], progress: Callable[[], int], monitor: Monitor, label: str) -> T:
    """What `attempt` returns, tried again after failures that pass, as long as progress() grows within five attempts. Raises DownloadError."""
    failed, best = 0, progress()
    while True:
        try:
            return attempt()
        except OfflineModeIsEnabled as error:
            raise DownloadError("Offline mode is on (HF_HUB_OFFLINE).", "Unset it, or use a file that you have: --source FILE") from error
        except HfHubHTTPError as error:
            if error.response.status_code not in PASSING:
                raise _refused(error) from error
            reason, wait, most = f"HTTP {error.response.status_code}", _retry_after(error.response), ATTEMPTS
        except httpx2.TransportError as error:
            reason, wait = str(error) or type(error).__name__, None
            most = UNREACHABLE_ATTEMPTS if isinstance(error, httpx2.ConnectError) and not progress() else ATTEMPTS
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise DownloadError(f"{label} cannot be used ({error}).", "Correct the address, or use a file that you have: --source FILE") from error
        if progress() > best:
            failed, best = 0, progress()
        failed += 1
        if failed >= most:
            raise DownloadError(
                f"{label} does not deliver ({reason}).", "Try again later: what is here already is kept. Or use a file that you have: --source FILE"
            )
        monitor.report(progress(), f"{label}: {reason}; trying again")
        pause(monitor.cancelled, min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (failed - 1) if wait is None else wait))
        monitor.check()


def pause(cancelled: threading.Event, seconds: float) -> None:
    """Wait, unless the pull is cancelled."""
    cancelled.wait(seconds)


def _stream(url: str, headers: Mapping[str, str], partial: PartialFile, monitor: Monitor, label: str) -> None:
    start = partial.written
    asked = {**headers, "Accept-Encoding": "identity"}  # ranges count the bytes of the file itself
    if start:
        asked["Range"] = f"bytes={start}-"
    with get_session().stream("GET", url, headers=asked, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT, follow_redirects=True) as response:
        if response.status_code == 416:
            raise ModelCorrupt(f"{label} has a shorter file than {partial.target.name}.", "Try again, or use another source.")
        hf_raise_for_status(response)
        if start and response.status_code != 206:
            partial.cut(0)  # the server sends all of it again
        elif start and not re.fullmatch(rf"bytes {start}-\d+/(\*|{partial.size})", response.headers.get("Content-Range", "")):
            raise ModelCorrupt(f"{label} sends another file than {partial.target.name}.", "Try again, or use another source.")
        told = start
        for block in response.iter_raw():  # whatever has come, so that a cut loses nothing
            partial.write(block)
            monitor.check()
            if partial.written - told >= REPORT or not partial.remaining:
                told = partial.written
                monitor.report(told, f"from {label}")


def _retry_after(response: httpx2.Response) -> float | None:
    """The seconds that the server asks to wait; a date, or nothing, is None."""
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else None


def _refused(error: HfHubHTTPError) -> DownloadError:
    status, hint = error.response.status_code, "Use another source: --source FILE"
    if isinstance(error, GatedRepoError):
        return DownloadError(
            "The publisher gives this repository only to those who have agreed to its terms.", "Agree on its page, then set HF_TOKEN."
        )
    if isinstance(error, RepositoryNotFoundError):
        return DownloadError("There is no such repository, or it is private.", "Correct its name, or set HF_TOKEN to a token that may read it.")
    if isinstance(error, RevisionNotFoundError):
        return DownloadError("The repository has no such revision.", "Correct `revision` in the model's TOML file.")
    if isinstance(error, EntryNotFoundError) or status == 404:
        return DownloadError("The file is not there any more.", hint)
    if status in (401, 403):
        return DownloadError(f"The server refuses this user (HTTP {status}).", "Set HF_TOKEN to a token that may read the repository.")
    return DownloadError(f"The server refuses (HTTP {status}).", hint)
