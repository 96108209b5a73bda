"""Fixtures that all tests share: an isolated home, the scripted engine, and the real models (fetched when missing)."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from qwencoder_lsp import paths
from qwencoder_lsp.errors import DownloadError
from qwencoder_lsp.models.catalogue import find
from qwencoder_lsp.models.pull import pull
from qwencoder_lsp.models.store import path_of

settings.register_profile("qwencoder", deadline=None)  # how long an example takes says how busy the machine is
settings.load_profile("qwencoder")

SHARED_MODELS = path_of(find("qwencoder-0.5b")).parent  # of the user, not of a test's home

TOGETHER = {"model": "model", "clients": "editors", "browser": "editors"}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """With pytest-xdist: all tests with a model run in one worker, one after another, and all with an editor; the others wherever there is time.

    A scheduler of our own, because `--dist loadgroup` does nothing with pytest 9.2 (xdist 3.8 writes an attribute that is no longer read).
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFolder(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            return TOGETHER.get(nodeid.split("/")[1], nodeid)

    return ByFolder(config, log)


def _model(name: str) -> Path:
    target = SHARED_MODELS / find(name).file
    if target.exists() and target.stat().st_size == find(name).bytes:
        return target
    try:
        return pull(name, "auto", lambda _: None, threading.Event())
    except DownloadError as error:
        if os.environ.get("QWENCODER_TEST_OFFLINE"):
            pytest.skip(f"{name} is not here and cannot be fetched: {error}")
        raise


@pytest.fixture(scope="session")
def model_05b() -> Path:
    """The 0.5B Instruct model: plumbing and speed, not quality."""
    return _model("qwencoder-0.5b")


@pytest.fixture(scope="session")
def model_15b() -> Path:
    """The 1.5B Instruct model: anything about quality."""
    return _model("qwencoder-1.5b")


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of its own for settings, logs, cache and sockets, short enough for a Unix socket; no setting of the user reaches the test."""
    for name in [n for n in os.environ if n.startswith("QWENCODER_") and not n.startswith("QWENCODER_TEST")]:
        monkeypatch.delenv(name)
    path = Path(tempfile.mkdtemp(prefix="qc-"))
    monkeypatch.setenv("QWENCODER_HOME", str(path))
    assert paths.cache_dir().is_relative_to(path)
    yield path
    shutil.rmtree(path, ignore_errors=True)  # a process that is just ending may still write its log


Script = Callable[..., None]


@pytest.fixture
def script(home: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Choose the scripted engine, and write its script: `script(default="text", rules=[...], token_ms=0)`. Call again to change the answers of
    engines that start later."""
    file = home / "script.json"
    monkeypatch.setenv("QWENCODER_MODEL", "scripted")
    monkeypatch.setenv("QWENCODER_SCRIPT", str(file))

    def write(**fields: Any) -> None:
        file.write_text(json.dumps(fields), "utf-8")

    write(default="")
    return write
