"""The language server as a process: what it announces, how it ends, and what it does with messages that are wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from qwencoder_lsp import __version__
from tests.protocol.gateways import alive, wait
from tests.protocol.windows import URI, gateway_pid, log_text, window

HEAVY = {"llama_cpp", "numpy", "pydantic", "httpx2", "fastapi", "tree_sitter", "huggingface_hub", "llguidance", "typer", "jinja2"}


def test_the_capabilities_are_announced_whatever_the_client_says_of_itself(tmp_path: Path) -> None:
    with window(tmp_path) as w:
        answer = w.initialize({})
    capabilities = answer["capabilities"]
    assert answer["serverInfo"] == {"name": "qwencoder-lsp", "version": __version__}
    assert capabilities["inlineCompletionProvider"] == {}
    assert capabilities["completionProvider"] == {"triggerCharacters": ["."]}
    assert capabilities["codeActionProvider"]["resolveProvider"] is True
    assert "quickfix" in capabilities["codeActionProvider"]["codeActionKinds"]
    assert capabilities["diagnosticProvider"]["workspaceDiagnostics"] is True
    assert capabilities["textDocumentSync"]["change"] == 2
    assert capabilities["textDocumentSync"]["openClose"] is True
    assert capabilities["textDocumentSync"]["save"] == {"includeText": False}
    assert capabilities["positionEncoding"] == "utf-16"
    assert capabilities["workspace"]["workspaceFolders"]["supported"] is True
    assert all(command.startswith("qwencoder.") for command in capabilities["executeCommandProvider"]["commands"])
    assert {"qwencoder.accepted", "qwencoder.review", "qwencoder.edit", "qwencoder.refactor", "qwencoder.explain", "qwencoder.downloadModel"} <= set(
        capabilities["executeCommandProvider"]["commands"]
    )


def test_nothing_heavy_is_imported_before_initialize_is_answered(tmp_path: Path) -> None:
    errors = tmp_path / "stderr"
    with window(tmp_path, command=(sys.executable, "-X", "importtime", "-m", "qwencoder_lsp.lsp"), stderr=errors) as w:
        w.request("initialize", {"processId": None, "rootUri": None, "capabilities": {}})
        w.notify("exit")
        w.exit_code()
    imported = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in errors.read_text("utf-8").splitlines() if line.startswith("import time:")}
    assert "pygls" in imported
    assert not imported & HEAVY


def test_llama_cpp_is_never_imported(tmp_path: Path) -> None:
    errors = tmp_path / "stderr"
    command = (sys.executable, "-X", "importtime", "-m", "qwencoder_lsp.lsp")
    with window(tmp_path, {"default": "1"}, command=command, stderr=errors) as w:
        w.initialize()
        w.open("x = ")
        assert w.inline(0, 4)["items"]
    text = errors.read_text("utf-8")
    assert "qwencoder_lsp.gateway.client" in text, "what a request needs was imported"
    assert "llama_cpp" not in text


@pytest.mark.parametrize(("polite", "code"), [(True, 0), (False, 1)])
def test_exit_gives_0_after_shutdown_and_1_without(tmp_path: Path, polite: bool, code: int) -> None:
    with window(tmp_path) as w:
        w.initialize()
        if polite:
            assert w.request("shutdown") is None
        w.notify("exit")
        assert w.exit_code() == code


def test_the_end_of_the_input_ends_the_server_with_1(tmp_path: Path) -> None:
    with window(tmp_path) as w:
        w.initialize()
        assert w.process.stdin is not None
        w.process.stdin.close()
        assert w.exit_code() == 1


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_end_the_server_at_once(tmp_path: Path, number: signal.Signals, code: int) -> None:
    with window(tmp_path) as w:
        w.initialize()
        w.process.send_signal(number)
        assert w.exit_code() == code


def test_exit_does_not_wait_for_a_running_request(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "never", "prefill_ms": 600_000}) as w:
        w.initialize()
        w.open("x = ")
        w.begin_inline(0, 4)
        w.ready()
        w.request("shutdown")
        w.notify("exit")
        assert w.exit_code() == 0


def test_the_gateway_ends_after_its_last_window(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1"}, env={"QWENCODER_GATEWAY_LINGER_S": "0"}) as w:
        w.initialize()
        w.ready()
        pid = gateway_pid(tmp_path)
        assert pid
        w.request("shutdown")
        w.notify("exit")
        w.exit_code()
        assert wait(lambda: not alive(pid), 30)


def test_when_the_editor_is_killed_the_server_goes(tmp_path: Path) -> None:
    """Its standard input stays open here, so only watching the editor's process can tell."""
    editor = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with window(tmp_path) as w:
            w.request("initialize", {"processId": editor.pid, "rootUri": None, "capabilities": {}})
            editor.kill()
            editor.wait()
            assert w.exit_code() == 1
    finally:
        editor.kill()
        editor.wait()
        assert editor.stdin is not None
        editor.stdin.close()


def test_an_editor_in_another_process_namespace_is_not_taken_for_dead(tmp_path: Path) -> None:
    with window(tmp_path) as w:
        w.request("initialize", {"processId": 2**22 + 12345, "rootUri": None, "capabilities": {}})
        assert w.request("qwencoder/status")["kind"]


def test_what_is_printed_or_written_to_standard_output_goes_to_standard_error(tmp_path: Path) -> None:
    noisy = (
        "import asyncio, builtins, os, subprocess, sys\n"
        "from qwencoder_lsp.lsp import documents, main\n"
        "real = documents.Documents.get\n"
        "def get(self, uri):\n"
        "    print('printed', flush=True)\n"
        "    os.write(1, b'native\\n')\n"
        "    subprocess.run([sys.executable, '-c', 'print(\"from a child\")'])\n"
        "    return real(self, uri)\n"
        "documents.Documents.get = get\n"
        "main.main()\n"
    )
    errors = tmp_path / "stderr"
    with window(tmp_path, command=(sys.executable, "-c", noisy), stderr=errors) as w:
        w.initialize()
        assert w.inline(0, 0) is None
        assert w.garbage == b""
    assert all(noise in errors.read_text("utf-8") for noise in ("printed", "native", "from a child"))


def test_a_child_of_the_server_cannot_eat_the_editors_messages(tmp_path: Path) -> None:
    greedy = (
        "import subprocess, sys\n"
        "from qwencoder_lsp.lsp import documents, main\n"
        "real = documents.Documents.get\n"
        "def get(self, uri):\n"
        "    subprocess.run([sys.executable, '-c', 'import sys; sys.stdin.read()'])\n"
        "    return real(self, uri)\n"
        "documents.Documents.get = get\n"
        "main.main()\n"
    )
    with window(tmp_path, command=(sys.executable, "-c", greedy)) as w:
        w.initialize()
        assert w.inline(0, 0) is None
        assert w.request("qwencoder/status")["kind"]


def test_a_request_whose_parameters_do_not_fit_is_refused_and_the_next_one_served(tmp_path: Path) -> None:
    with window(tmp_path) as w:
        w.initialize()
        position = {"line": 0, "character": 0}
        params = {"textDocument": {"uri": URI}, "position": position, "context": {"triggerKind": 7}}
        assert w.answer(w.begin("textDocument/inlineCompletion", params))["error"]["code"] == -32602
        assert w.answer(w.begin("no/such/method"))["error"]["code"] == -32601
        assert w.answer(w.begin("workspace/executeCommand", {"command": "qwencoder.review"}))["error"]["code"] == -32602
        assert w.inline(0, 0) is None
        assert not w.all("window/showMessage")


@pytest.mark.parametrize(
    ("message", "code"),
    [
        pytest.param(b"{not json", -32700, id="no JSON"),
        pytest.param(b"\xff\xfe\x00", -32700, id="no UTF-8"),
        pytest.param(b"[]", -32600, id="a batch"),
        pytest.param(b'{"id": 1, "method": "shutdown"}', -32600, id="no version"),
        pytest.param(b"[" * 100_000, -32700, id="nested too deep"),
    ],
)
def test_a_malformed_message_gets_the_error_of_json_rpc_and_the_next_one_is_served(tmp_path: Path, message: bytes, code: int) -> None:
    with window(tmp_path) as w:
        w.initialize()
        w.send_bytes(b"Content-Length: %d\r\n\r\n%s" % (len(message), message))
        assert w.wait(lambda m: m.get("error") and m["id"] is None)["error"]["code"] == code
        assert w.request("qwencoder/status")["kind"]


def test_headers_in_any_case_and_order_are_read(tmp_path: Path) -> None:
    with window(tmp_path) as w:
        w.initialize()
        body = json.dumps({"jsonrpc": "2.0", "id": "mine", "method": "qwencoder/status"}).encode()
        w.send_bytes(b"Content-Type: application/vscode-jsonrpc; charset=utf-8\r\ncontent-LENGTH:%d\r\n\r\n%s" % (len(body), body))
        assert w.wait(lambda m: m.get("id") == "mine")["result"]["kind"]


def test_requests_before_initialize_and_after_shutdown_are_refused(tmp_path: Path) -> None:
    with window(tmp_path) as w:
        assert w.answer(w.begin("qwencoder/status"))["error"]["code"] == -32002
        w.initialize()
        w.request("shutdown")
        assert w.answer(w.begin("qwencoder/status"))["error"]["code"] == -32600
        w.notify("exit")
        assert w.exit_code() == 0


def test_a_broken_notification_shows_no_message_and_its_text_is_not_logged(tmp_path: Path) -> None:
    with window(tmp_path) as w:
        w.initialize()
        for _ in range(3):
            w.change((0, 0), (0, 0), "secret_source", uri="file:///never/opened.py")
        assert w.request("qwencoder/status")["kind"]
        assert not w.all("window/showMessage")
    assert "KeyError" in log_text(tmp_path)
    assert "secret_source" not in log_text(tmp_path)


def test_a_log_directory_that_cannot_be_written_does_not_stop_the_server(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file where the directory should be")
    with window(tmp_path) as w:
        assert w.initialize()["serverInfo"]["name"] == "qwencoder-lsp"


def test_the_module_and_the_command_start_the_same_server(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("qwencoder-lsp")
    if not os.access(program, os.X_OK):
        pytest.skip(f"{program} is not installed")
    with window(tmp_path, command=(str(program), "--stdio")) as w:
        assert w.initialize()["serverInfo"]["name"] == "qwencoder-lsp"
        w.request("shutdown")
        w.notify("exit")
        assert w.exit_code() == 0
