"""Which of the places that models come from answer, for `doctor`. No model or name of the user's is sent."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from qwencoder_lsp import paths

WAIT_S = 4.0
PYPI = "https://pypi.org/simple"


@dataclass(frozen=True, slots=True)
class Place:
    """A server that models come from. problem: why it does not answer, or ""."""

    what: str
    host: str
    problem: str = ""


def places() -> list[Place]:
    """The hub and the package index, asked at the same time."""
    from qwencoder_lsp.models.hub import endpoint_name

    hub = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    index = package_index()
    with ThreadPoolExecutor(2) as pool:
        problems = pool.map(_problem, (f"{hub}/robots.txt", f"{index.rstrip('/')}/pip/"))
        hub_problem, index_problem = problems
    return [Place("Hugging Face", endpoint_name(), hub_problem), Place("package index", _host(index), index_problem)]


def package_index() -> str:
    """The URL of the index that pip or uv is configured to use."""
    for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        if os.environ.get(name):
            return os.environ[name]
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, cwd=paths.NEUTRAL).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return PYPI
    return told if told.startswith("http") else PYPI


def _problem(url: str) -> str:
    import httpx2
    from huggingface_hub.errors import OfflineModeIsEnabled
    from huggingface_hub.utils import get_session

    try:
        answer = get_session().request("HEAD", url, timeout=WAIT_S, follow_redirects=True)
    except OfflineModeIsEnabled:
        return "offline mode is on (HF_HUB_OFFLINE)"
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        return str(error) or type(error).__name__
    return "" if answer.status_code < 500 else f"HTTP {answer.status_code}"


def _host(url: str) -> str:
    return url.partition("://")[2].partition("/")[0].rpartition("@")[2]  # a password in a URL is nobody else's business
