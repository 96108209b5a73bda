"""`qwencoder-lsp trace` and `status` against a running editor window."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

from tests.protocol.gateways import wait
from tests.protocol.windows import Window, log_text, window

TEXT = "def secret(a, b):\n    \n"


def cli(w: Window, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("QWENCODER_")} | {"QWENCODER_HOME": str(w.home)}
    command = [sys.executable, "-m", "qwencoder_lsp.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=env)


def test_the_stages_of_the_last_request_are_shown_in_numbers_and_its_text_on_request_alone(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "return a + b\n\n"}) as w:
        w.initialize()
        w.open(TEXT)
        w.inline(1, 4)
        told = cli(w, "trace", "last").stdout
        assert "inline: shown" in told
        assert "answer asked for" in told
        assert "tokens: prefix 18" in told
        assert "0 tokens reused" in told
        assert "stopped by: stop_token" in told
        assert "confidence -0.10; blank end 14 to 12 characters" in told
        assert "secret" not in told
        whole = cli(w, "trace", "last", "--text").stdout
        assert "--- prefix\ndef secret(a, b):" in whole
        assert "--- shown\nreturn a + b" in whole
        (entry,) = json.loads(cli(w, "trace", "last", "--json").stdout)
        assert "record" not in entry
        assert "secret" not in log_text(tmp_path)


def test_a_request_is_made_again_and_one_without_an_answer_is_refused(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "return a + b"}) as w:
        w.initialize()
        w.open(TEXT)
        w.inline(1, 4)
        (entry,) = w.request("qwencoder/trace", {"limit": 1})
        done = cli(w, "trace", "replay", entry["request"])
        assert done.returncode == 0, done
        assert [line.split()[:2] for line in done.stdout.splitlines()] == [[name, "same"] for name in ("gather", "render", "generate", "finish")]
        assert w.inline(0, 7) is None
        (entry,) = w.request("qwencoder/trace", {"limit": 1})
        done = cli(w, "trace", "replay", entry["request"])
        assert (done.returncode, done.stdout) == (2, "")
        assert "the cursor is inside a word" in done.stderr
        assert cli(w, "trace", "replay", "ffffffff").returncode == 2


def test_an_answer_that_comes_out_differently_ends_with_code_1(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "return a + b"}, env={"QWENCODER_LOG_SAVE_TRACES": "true"}) as w:
        w.initialize()
        w.open(TEXT)
        w.inline(1, 4)
        assert wait(lambda: len(list((tmp_path / "traces").glob("*.json"))) == 1, 20)
        w.request("shutdown")
        w.notify("exit")
        assert w.exit_code() == 0
        assert not list((tmp_path / "run").glob("window-*"))
        (file,) = (tmp_path / "traces").glob("*.json")
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        entry = json.loads(file.read_text("utf-8"))
        assert "inline: shown" in cli(w, "trace", "last").stdout, "of the saved ones, since no window runs"
        entry["record"]["outcome"]["text"] = "return b"
        file.write_text(json.dumps(entry), "utf-8")
        done = cli(w, "trace", "replay", entry["request"])
        assert done.returncode == 1
        assert "finish    DIFFERENT" in done.stdout
        file.write_text(json.dumps({**entry, "record": {"version": 0}}), "utf-8")
        done = cli(w, "trace", "replay", entry["request"])
        assert (done.returncode, "another version" in done.stderr) == (2, True)


def test_nothing_is_saved_without_the_setting(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1"}) as w:
        w.initialize()
        w.open("x = ")
        w.inline(0, 4)
        assert "inline: shown" in cli(w, "trace", "last").stdout
        assert not (tmp_path / "traces").exists()


def test_every_empty_answer_has_its_reason_in_status_log_and_editor(tmp_path: Path) -> None:
    with window(tmp_path, {"default": ""}) as w:
        w.initialize()
        w.open("value = \n")
        w.inline(0, 8)
        w.inline(0, 2)
        w.inline(0, 0, uri="file:///not/open.py")
        told = cli(w, "status").stdout
        status = json.loads(cli(w, "status", "--json").stdout)
        reasons = ("model had nothing to add", "the cursor is inside a word", "document not open")
        for reason in reasons:
            assert f"1  inline: {reason}" in told
            assert f": {reason}" in log_text(tmp_path)
        assert "the latest empty answer: document not open" in told
        assert status["editors"][0]["counts"] == {f"inline: {reason}": 1 for reason in reasons}
        assert w.request("qwencoder/status")["nothing"]["reason"] == "document not open"


def test_without_a_window_or_saved_traces_it_says_so(tmp_path: Path) -> None:
    with window(tmp_path, {"default": ""}) as w:
        assert "No editor window runs" in cli(w, "trace", "last").stdout
