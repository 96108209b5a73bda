"""Completion through the real language server, gateway and scripted engine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.protocol.gateways import wait
from tests.protocol.rawclient import frame
from tests.protocol.windows import INVOKED, URI, VIA, between, log_text, window

SLOW = {"default": "slow answer", "prefill_ms": 60_000}


def item(result: Any) -> dict[str, object]:
    items = result["items"]
    assert isinstance(items, list)
    assert len(items) == 1, result
    found: dict[str, object] = items[0]
    return found


def test_ghost_text_repeats_the_line_and_replaces_it_up_to_the_cursor(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "return a + b"}) as w:
        w.initialize()
        w.open("def add(a, b):\n    \n")
        found = item(w.inline(1, 4))
        assert found["insertText"] == "    return a + b"
        assert found["range"] == between((1, 0), (1, 4))


def test_accepting_runs_a_command_that_is_counted(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "return a + b"}) as w:
        w.initialize()
        w.open("def add(a, b):\n    \n")
        command = item(w.inline(1, 4))["command"]
        assert isinstance(command, dict)
        assert command["command"] == "qwencoder.accepted"
        w.request("workspace/executeCommand", {"command": command["command"], "arguments": command["arguments"]})
        counts = w.request("qwencoder/status")["counts"]
    assert counts["accepted"] == 1
    assert counts["inline: shown"] == 1


@pytest.mark.parametrize(("encoding", "column"), [("utf-8", 12), ("utf-16", 9), ("utf-32", 8)])
def test_the_cursor_behind_an_emoji_is_found_in_every_encoding(tmp_path: Path, encoding: str, column: int) -> None:
    with window(tmp_path, {"rules": [{"contains": 'say("hé😀<|cursor|>', "text": "llo"}]}) as w:
        answer = w.initialize({"general": {"positionEncodings": [encoding]}})
        assert answer["capabilities"]["positionEncoding"] == encoding
        w.open('say("hé😀")\n')
        found = item(w.inline(0, column))
        assert found["insertText"] == "llo", "VS Code shows nothing when the range covers the emoji"
        assert found["range"] == between((0, column), (0, column))


def test_the_clients_first_choice_of_encoding_wins(tmp_path: Path) -> None:
    with window(tmp_path) as w:
        assert w.initialize({"general": {"positionEncodings": ["utf-32", "utf-8"]}})["capabilities"]["positionEncoding"] == "utf-32"


def test_in_a_crlf_file_the_model_sees_and_ghost_text_holds_plain_newlines(tmp_path: Path) -> None:
    with window(tmp_path, {"rules": [{"contains": "<|fim_middle|>    <|cursor|>", "text": "b\n    c"}]}) as w:
        w.initialize()
        w.open("if x:\r\n    a\r\n    \r\nend\r\n")
        assert item(w.inline(2, 4))["insertText"] == "    b\n    c"


def test_a_byte_order_mark_and_tabs_count_as_one_column_each(tmp_path: Path) -> None:
    with window(tmp_path, {"rules": [{"contains": "\tx = <|cursor|>", "text": "1"}]}) as w:
        w.initialize()
        w.open("\ufeffdef f():\n\tx = \n")
        found = item(w.inline(1, 5))
        assert (found["insertText"], found["range"]) == ("\tx = 1", between((1, 0), (1, 5)))


def test_a_position_out_of_range_is_the_end_of_the_line_or_file(tmp_path: Path) -> None:
    with window(tmp_path, {"rules": [{"contains": "one = <|cursor|>", "text": "1"}, {"contains": "two = <|cursor|>", "text": "2"}]}) as w:
        w.initialize()
        w.open("one = \ntwo = ")
        assert item(w.inline(0, 999))["insertText"] == "one = 1"
        assert item(w.inline(999, 0))["insertText"] == "two = 2"


def test_an_incremental_edit_reaches_the_model(tmp_path: Path) -> None:
    with window(tmp_path, {"rules": [{"contains": "x = 😀y<|cursor|>", "text": "z"}]}) as w:
        w.initialize()
        w.open("x = 😀\r\n")
        w.change((0, 6), (0, 6), "y")
        assert item(w.inline(0, 7))["insertText"] == "yz"


def test_an_untitled_document_is_completed(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1"}) as w:
        w.initialize()
        w.open("x = ", uri="untitled:Untitled-1")
        assert item(w.inline(0, 4, uri="untitled:Untitled-1"))["insertText"] == "x = 1"


def test_a_document_that_is_not_open_gets_null(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1"}) as w:
        w.initialize()
        assert w.inline(0, 0, uri="file:///not/open.py") is None
        assert w.inline(0, 0, uri="untitled:not-open") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("    value = compute(x, y)\n" * 420_000, "document too large", id="10 MB"),
        pytest.param("x" * 1_000_000, "line too long", id="a line of 1 MB"),
        pytest.param("a\0b\n", "document looks binary", id="binary"),
    ],
)
def test_documents_that_are_no_source_code_get_null_and_the_next_one_is_served(tmp_path: Path, text: str, reason: str) -> None:
    with window(tmp_path, {"default": "1"}) as w:
        w.initialize()
        w.open(text)
        w.change((0, 1), (0, 1), "é😀")
        assert w.inline(0, 4) is None
        assert w.last_reason() == reason
        w.open("x = ", uri="file:///next.py")
        assert item(w.inline(0, 4, uri="file:///next.py"))["insertText"] == "x = 1"
        assert not w.all("window/showMessage")


def test_a_lone_surrogate_in_the_text_harms_nothing(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1"}) as w:
        w.initialize()
        w.open("s = '\ud83d'\nx = ")
        assert item(w.inline(1, 4))["insertText"] == "x = 1"


def test_a_newer_request_answers_the_older_with_null_though_nobody_cancelled_it(tmp_path: Path) -> None:
    with window(tmp_path, {"rules": [{"contains": "xy = <|cursor|>", "text": "2"}], **SLOW}) as w:
        w.initialize()
        w.open("x = \n")
        older = w.begin_inline(0, 4)
        w.change((0, 1), (0, 1), "y")
        newer = w.begin_inline(0, 5)
        assert w.answer(older)["result"] is None
        w.send({"method": "$/cancelRequest", "params": {"id": newer}})
        w.answer(newer)
        reasons = [record["reason"] for record in w.request("qwencoder/trace", {"limit": 10})]
    assert reasons == ["cancelled", "superseded"]


def test_twenty_keystrokes_without_cancelling_give_one_answer(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "tail"}, env={"QWENCODER_COMPLETION_DEBOUNCE_MS": "50"}) as w:
        w.initialize()
        w.open("\n")
        ids = []
        for column in range(20):
            w.change((0, column), (0, column), "x", version=column + 2)
            ids.append(w.begin_inline(0, column + 1))
        results = [w.answer(id_).get("result") for id_ in ids]
    assert results[:-1] == [None] * 19
    assert item(results[-1])["insertText"] == "x" * 20 + "tail"


def test_a_cancelled_request_is_answered_though_the_engine_is_busy(tmp_path: Path) -> None:
    with window(tmp_path, SLOW) as w:
        w.initialize()
        w.open("x = ")
        id_ = w.begin_inline(0, 4)
        while w.ready()["active"] == 0:
            time.sleep(0.02)
        w.send({"method": "$/cancelRequest", "params": {"id": id_}})
        assert w.answer(id_)["error"]["code"] == -32800
        assert w.last_reason() == "cancelled"


def test_cancelling_frees_the_engine(tmp_path: Path) -> None:
    with window(tmp_path, SLOW) as w:
        w.initialize()
        w.open("x = ")
        id_ = w.begin_inline(0, 4)
        while w.ready()["active"] == 0:
            time.sleep(0.02)
        w.send({"method": "$/cancelRequest", "params": {"id": id_}})
        assert wait(lambda: w.ready()["active"] == 0, 30)


def test_a_change_while_the_answer_is_made_makes_it_null(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1", "prefill_ms": 1500}) as w:
        w.initialize()
        w.open("x = ")
        w.ready()
        id_ = w.begin_inline(0, 4)
        w.change((0, 4), (0, 4), "2")
        assert w.answer(id_)["result"] is None
        assert w.last_reason() == "document changed"


def test_a_request_means_the_text_that_was_there_when_it_was_sent(tmp_path: Path) -> None:
    """Both messages arrive in one read; a position in the old text says nothing of the new one."""
    with window(tmp_path, {"default": "1"}) as w:
        w.initialize()
        w.open("x = \n")
        position = {"line": 0, "character": 4}
        params = {"textDocument": {"uri": URI}, "position": position, "context": {"triggerKind": INVOKED}}
        edit = {"range": between((0, 0), (0, 0)), "text": "if y:\n    "}
        change = {"textDocument": {"uri": URI, "version": 2}, "contentChanges": [edit]}
        request = frame({"id": "r", "method": "textDocument/inlineCompletion", "params": params})
        w.send_bytes(request + frame({"method": "textDocument/didChange", "params": change}))
        assert w.wait(lambda m: m.get("id") == "r")["result"] is None
        assert w.last_reason() == "document changed"


def test_a_chosen_menu_item_is_completed_as_if_it_were_accepted(tmp_path: Path) -> None:
    with window(tmp_path, {"rules": [{"contains": "print<|cursor|>", "text": "(x)"}]}) as w:
        w.initialize()
        w.open("pr\n")
        found = item(w.inline(0, 2, selectedCompletionInfo={"range": between((0, 0), (0, 2)), "text": "print"}))
        assert (found["insertText"], found["range"]) == ("print(x)", between((0, 0), (0, 2)))


def test_a_selection_that_is_no_menu_item_is_ignored(tmp_path: Path) -> None:
    """Neovim fills the field with the visual selection."""
    with window(tmp_path, {"rules": [{"contains": "x = <|cursor|>", "text": "1"}]}) as w:
        w.initialize()
        w.open("x = \ny\n")
        assert item(w.inline(0, 4, kind=INVOKED, selectedCompletionInfo={"range": between((1, 0), (1, 1)), "text": "y"}))["insertText"] == "x = 1"


def test_a_failed_automatic_request_is_null_without_a_message(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1"}, env={"QWENCODER_SCRIPT": "/nonexistent"}) as w:
        w.initialize()
        w.open("x = ")
        assert w.inline(0, 4) is None
        record = w.request("qwencoder/trace", {"limit": 1})[0]
        assert (record["reason"], record["detail"]) == ("error", "engine_failed")
        assert not w.all("window/showMessage")


def test_a_failed_invoked_request_is_null_with_one_message_that_says_what_to_do(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1"}, env={"QWENCODER_SCRIPT": "/nonexistent"}) as w:
        w.initialize()
        w.open("x = ")
        assert w.inline(0, 4, kind=INVOKED) is None
        (shown,) = w.all("window/showMessage")
        assert "Set QWENCODER_SCRIPT to a JSON file." in shown["message"]


def test_an_empty_answer_clears_the_ghost_text(tmp_path: Path) -> None:
    with window(tmp_path, {"default": ""}) as w:
        w.initialize()
        w.open("x = ")
        assert w.inline(0, 4) == {"items": []}
        assert w.last_reason() == "model had nothing to add"


def test_the_menu_gets_one_entry_behind_the_languages_own(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "bar(1,\n    2)"}) as w:
        w.initialize()
        w.open("x = foo\n")
        result = w.request("textDocument/completion", {"textDocument": {"uri": URI}, "position": {"line": 0, "character": 7}})
    found = item(result)
    assert result["isIncomplete"] is True
    assert found["label"] == "foobar(1,"
    assert found["textEdit"] == {"range": between((0, 4), (0, 7)), "newText": "foobar(1,\n    2)"}
    assert str(found["filterText"]).startswith("foo")
    assert str(found["sortText"]) > "z"
    assert found["documentation"] == "foobar(1,\n    2)"
    assert found["insertTextFormat"] == 1
    assert "insertText" not in found


def test_the_menu_and_ghost_text_do_not_replace_each_other(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1", "prefill_ms": 300}) as w:
        w.initialize()
        w.open("x = ")
        inline = w.begin_inline(0, 4)
        menu = w.begin("textDocument/completion", {"textDocument": {"uri": URI}, "position": {"line": 0, "character": 4}})
        assert item(w.answer(inline)["result"])["insertText"] == "x = 1"
        assert item(w.answer(menu)["result"])["label"] == "1"


def test_without_the_setting_the_menu_gets_nothing(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1"}) as w:
        w.initialize(initializationOptions={"completion": {"items": False}})
        w.open("x = ")
        params = {"textDocument": {"uri": URI}, "position": {"line": 0, "character": 4}}
        assert w.request("textDocument/completion", params) is None


def test_a_trace_record_holds_numbers_and_codes_and_no_text(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "secret_answer"}) as w:
        w.initialize()
        w.open("secret_source = ")
        w.inline(0, 16)
        (record,) = w.request("qwencoder/trace", {"limit": 5})
        assert record["usage"]["prompt"] > 0
        assert record["model"] == ("remote" if VIA in ("remote", "llama-server") else "scripted")
        assert record["total_ms"] > 0
        assert "secret" not in str(record)
        assert "secret" not in log_text(tmp_path)


def test_an_explicit_request_is_not_delayed(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1"}, env={"QWENCODER_COMPLETION_DEBOUNCE_MS": "5000"}) as w:
        w.initialize()
        w.open("x = ")
        automatic = w.begin_inline(0, 4, uri=URI)
        assert item(w.inline(0, 4, kind=INVOKED))["insertText"] == "x = 1"
        assert w.answer(automatic)["result"] is None
