"""Downloads that are killed and cut at random moments: in the end a verified file or a clear error, never a wrong file under the final name."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qwencoder_lsp.models import store
from qwencoder_lsp.models.catalogue import ModelEntry, find, user_directory
from tests.unit.models.hubserver import Hub, chance, hub

KEY = "nobody/tiny/tiny.gguf"
ROUNDS = 50
FIRST_KILL_S, LAST_KILL_S = 0.005, 0.4

# Imports once, then forks a child for each line that it reads, and kills it after the seconds that the line says: fifty interpreters would spend
# the time starting. A child pulls and exits with 0, or with 1 and one sentence.
NURSERY = """
import os, sys, threading, time
from qwencoder_lsp.errors import DownloadError, ModelCorrupt
from qwencoder_lsp.models import hub, transfer
from qwencoder_lsp.models.catalogue import find
from qwencoder_lsp.models.pull import pull_entry
transfer.pause = lambda cancelled, seconds: None
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        try:
            pull_entry(find("tiny"), "huggingface", lambda progress: None, threading.Event())
        except (DownloadError, ModelCorrupt) as error:
            os.write(1, f"{error.message}|{error.hint}\\n".encode())
            os._exit(1)
        except BaseException as error:
            os.write(1, f"not clear: {error!r}|\\n".encode())
            os._exit(2)
        os._exit(0)
    time.sleep(float(line))
    os.kill(pid, 9)  # one that has ended stays until it is waited for
    _, status = os.waitpid(pid, 0)
    os.write(1, f"status {status}\\n".encode())
"""


@pytest.fixture
def server(home: Path, tiny: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub({KEY: tiny.content}) as running:
        for name, value in {"HF_ENDPOINT": running.endpoint, "NO_PROXY": "127.0.0.1,localhost", "HF_HUB_DOWNLOAD_TIMEOUT": "5"}.items():
            monkeypatch.setenv(name, value)
        yield running


def own_model(tiny: Any, *, checksum: bool) -> ModelEntry:
    """A catalogue file of the user's with the tiny model as the hub has it."""
    text = tiny.toml[: tiny.toml.index("[quantisations.sources")].replace('revision = "' + "0" * 40, 'repository = "nobody/tiny"\nrevision = "main')
    if not checksum:
        text = text[: text.index("files = ")] + 'files = [{ name = "tiny.gguf" }]\n'
    user_directory().mkdir(parents=True)
    (user_directory() / "tiny.toml").write_text(text, "utf-8")
    return find("tiny")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the test's children are forked")
@pytest.mark.parametrize("checksum", [True, False], ids=["checksum in the catalogue", "checksum of the hub"])
def test_fifty_kills_and_cuts_end_in_a_verified_file_or_a_clear_error(server: Hub, home: Path, tiny: Any, checksum: bool) -> None:
    entry = own_model(tiny, checksum=checksum)
    target, right = store.path_of(entry), hashlib.sha256(tiny.content).hexdigest()
    server.faults = chance(seed=7 + checksum)
    draw = random.Random(11 + checksum)  # noqa: S311 - the same kills in every run
    killed = finished = failed = resumed = 0
    with subprocess.Popen([sys.executable, "-c", NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as nursery:
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        for _ in range(ROUNDS):
            resumed += any((home / "data" / "models").glob("*.partial"))
            nursery.stdin.write(f"{draw.uniform(FIRST_KILL_S, LAST_KILL_S)}\n")
            nursery.stdin.flush()
            told, status = "", nursery.stdout.readline()
            if "|" in status:
                told, status = status, nursery.stdout.readline()
            code = os.waitstatus_to_exitcode(int(status.split()[1]))
            killed += code == -9
            assert code in (-9, 0, 1), told
            if code == 1:
                failed += 1
                message, _, hint = told.strip().partition("|")
                assert message.endswith("."), message
                assert hint, "the user is told what to do"
            if target.exists():
                assert hashlib.sha256(target.read_bytes()).hexdigest() == right
            if code == 0:
                finished += 1
                assert target.exists()
                assert store.verify(entry, lambda done: None) == "sound"
                target.unlink()
                store.receipt_path(target).unlink()
        nursery.stdin.close()
    print(f"{killed} killed, {failed} failed with a clear error, {finished} finished, {resumed} began with a partial file")
    assert killed > ROUNDS // 4
    assert finished
    assert resumed
