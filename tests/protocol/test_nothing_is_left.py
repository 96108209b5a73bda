"""After an editor was killed, nothing of ours runs on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from qwencoder_lsp.gateway import rendezvous
from tests.protocol.gateways import alive, wait

# An editor that opens a file, gets ghost text, says which processes there are, and waits to be killed.
EDITOR = """
import json, os, time
from tests.protocol.rawclient import RawClient
from tests.bench.server import inline, open_document, started
client = RawClient(dict(os.environ))
started(client)
open_document(client, "x = ")
assert inline(client, 0, 4)["items"]
print(json.dumps(client.process.pid), flush=True)
time.sleep(600)
"""


def test_ten_seconds_after_the_editor_was_killed_server_gateway_and_engine_are_gone(script: Any, home: Path) -> None:
    script(default="1")
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(root)}
    editor = subprocess.Popen([sys.executable, "-c", EDITOR], stdout=subprocess.PIPE, env=env, cwd=root)
    assert editor.stdout
    server = json.loads(editor.stdout.readline())
    address = rendezvous.read_address()
    assert address is not None
    engine = _children(address.pid)
    ours = [server, address.pid, *engine]
    assert len(ours) == 3
    assert all(alive(pid) for pid in ours)
    editor.send_signal(signal.SIGKILL)
    editor.wait()
    editor.stdout.close()
    assert wait(lambda: not any(alive(pid) for pid in ours), 10), [pid for pid in ours if alive(pid)]
    assert not rendezvous.gateway_lives()


def _children(pid: int) -> list[int]:
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text("ascii").split()]
