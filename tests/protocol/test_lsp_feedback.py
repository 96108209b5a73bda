"""What the editor tells of suggestions: by the item's command, by notifications of our own, and by those of Copilot's clients."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.protocol.windows import INVOKED, Window, window


def item(result: Any) -> dict[str, Any]:
    (found,) = result["items"]
    assert isinstance(found, dict)
    return found


def counts(w: Window) -> dict[str, int]:
    found: dict[str, int] = w.request("qwencoder/status")["counts"]
    return found


def test_a_rejected_suggestion_is_not_offered_again_until_its_line_changes(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "value"}) as w:
        w.initialize()
        w.open("x = \ny = 1\n")
        w.notify("qwencoder/didReject", {"item": item(w.inline(0, 4))})
        assert w.inline(0, 4) == {"items": []}
        assert w.last_reason() == "rejected by the user at this place"
        w.change((1, 5), (1, 5), "2", version=2)
        assert w.inline(0, 4) == {"items": []}, "another line was changed"
        w.change((0, 4), (0, 4), "z", version=3)
        w.change((0, 4), (0, 5), "", version=4)
        assert item(w.inline(0, 4))["insertText"] == "x = value"
        assert counts(w)["rejected"] == 1


def test_who_asks_gets_what_was_rejected(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "value"}) as w:
        w.initialize()
        w.open("x = ")
        w.notify("qwencoder/didReject", {"id": item(w.inline(0, 4))["command"]["arguments"][0]})
        assert w.inline(0, 4) == {"items": []}
        assert item(w.inline(0, 4, kind=INVOKED))["insertText"] == "x = value"


def test_a_rejection_is_of_the_place_not_of_the_text(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "value"}) as w:
        w.initialize()
        w.open("x = \ny = \n")
        w.notify("qwencoder/didReject", {"item": item(w.inline(0, 4))})
        assert item(w.inline(1, 4))["insertText"] == "y = value"


def test_to_undo_an_acceptance_at_once_is_a_rejection(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "value"}) as w:
        w.initialize()
        w.open("x = \n")
        found = item(w.inline(0, 4))
        w.change((0, 4), (0, 4), "value", version=2)
        w.request("workspace/executeCommand", found["command"])
        w.change((0, 4), (0, 9), "", version=3)
        assert w.inline(0, 4) == {"items": []}
        assert w.last_reason() == "rejected by the user at this place"


def test_to_type_something_else_is_no_rejection(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "value"}) as w:
        w.initialize()
        w.open("x = \n")
        assert item(w.inline(0, 4))
        w.change((0, 4), (0, 4), "other", version=2)
        w.inline(0, 9)
        w.change((0, 4), (0, 9), "", version=3)
        assert item(w.inline(0, 4))["insertText"] == "x = value"


@pytest.mark.parametrize("method", ["qwencoder/didPartiallyAccept", "textDocument/didPartiallyAcceptCompletion"])
def test_taking_all_of_it_word_by_word_is_an_acceptance_in_the_end(tmp_path: Path, method: str) -> None:
    with window(tmp_path, {"default": "'😀' + value"}) as w:
        w.initialize()
        w.open("x = ")
        found = item(w.inline(0, 4))
        w.notify(method, {"item": found, "acceptedLength": len("x = '??'")})
        w.notify(method, {"item": found, "acceptedLength": len("x = '??' + value")})
        found_counts = counts(w)
    assert (found_counts["partly accepted"], found_counts["accepted"]) == (1, 1)


def test_behind_what_an_editor_shows_work_is_done_ahead_and_not_behind_the_rest_once_it_tells(tmp_path: Path) -> None:
    rules = [{"contains": "value<|cursor|>", "text": " + 1"}, {"contains": "other<|cursor|>", "text": " + 2"}]
    with window(tmp_path, {"rules": [*rules, {"contains": "x = <|cursor|>", "text": "value"}], "default": "other"}) as w:
        w.initialize()
        w.open("x = \ny = \n")
        w.notify("textDocument/didShowCompletion", {"item": item(w.inline(0, 4))})
        time.sleep(1)
        w.change((0, 4), (0, 4), "value", version=2)
        assert item(w.inline(0, 9))["insertText"] == "x = value + 1"
        assert w.request("qwencoder/trace", {"limit": 1})[0]["source"] in ("ahead", "joined")
        assert item(w.inline(1, 4))["insertText"] == "y = other"
        time.sleep(1)
        w.change((1, 4), (1, 4), "other", version=3)
        assert item(w.inline(1, 9))["insertText"] == "y = other + 2"
        assert w.request("qwencoder/trace", {"limit": 1})[0]["source"] == "asked"
        assert counts(w)["displayed"] == 1


@pytest.mark.parametrize(
    "params", [{}, {"id": 5}, {"id": "gone"}, {"item": None}, {"item": {"command": {"arguments": []}}}, {"item": {"command": "x"}}]
)
def test_news_of_no_suggestion_harm_nothing(tmp_path: Path, params: Any) -> None:
    with window(tmp_path, {"default": "1"}) as w:
        w.initialize()
        w.open("x = ")
        for method in ("qwencoder/didReject", "textDocument/didShowCompletion", "qwencoder/didPartiallyAccept"):
            w.notify(method, {**params, "acceptedLength": "much"})
        assert item(w.inline(0, 4))["insertText"] == "x = 1"
        assert set(counts(w)) == {"inline: shown"}
        assert not w.all("window/showMessage")


def test_a_client_of_copilots_server_is_signed_in_and_may_say_where_the_focus_is(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1"}) as w:
        w.initialize()
        w.notify("textDocument/didFocus", {"textDocument": {"uri": "file:///a.py"}})
        w.notify("textDocument/didFocus", {})
        assert w.request("checkStatus", {})["status"] == "OK"
        assert not w.all("window/showMessage")
