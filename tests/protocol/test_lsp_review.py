"""Review, diagnostics, code actions and fixes through the real language server, gateway and scripted engine."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pygls.uris import to_fs_path

from tests.protocol.windows import URI, Window, between, log_text, window

CODE = "def first(items):\n    return items[1]\n\n\ndef last(items):\n    return items[-1]\n"
WRONG, RIGHT = "return items[1]", "return items[0]"
MESSAGE = "It returns the second item."
EXPLAINED = {"findings": [{"quote": WRONG, "message": MESSAGE, "category": "logic", "severity": "error"}]}
REVIEW = {
    "rules": [
        {"contains": "You made these changes", "text": json.dumps(EXPLAINED)},
        {"contains": "fails its tests", "text": f"```python\n{CODE.replace(WRONG, RIGHT)}```"},
        {"contains": "has a problem", "text": f"```python\n{CODE[: CODE.index('def last')].replace(WRONG, RIGHT).rstrip()}\n```"},
    ]
}
NOTHING = {"rules": [{"contains": "fails its tests", "text": f"```python\n{CODE}```"}]}
FOUND = between((1, 4), (1, 19))

LITERALS: dict[str, Any] = {"codeActionLiteralSupport": {"codeActionKind": {"valueSet": []}}}
RESOLVES = {**LITERALS, "resolveSupport": {"properties": ["edit"]}, "dataSupport": True, "tagSupport": {"valueSet": [1]}}
PUSHED = {"workspace": {"workspaceEdit": {"documentChanges": True}}, "textDocument": {"codeAction": RESOLVES}}
PULLED = {
    "workspace": {"workspaceEdit": {"documentChanges": True}, "diagnostics": {"refreshSupport": True}},
    "textDocument": {"codeAction": RESOLVES, "diagnostic": {}},
}


def review(w: Window, *arguments: Any) -> None:
    w.request("workspace/executeCommand", {"command": "qwencoder.review", "arguments": [URI, *arguments]})


def pull(w: Window, previous: str | None = None) -> dict[str, Any]:
    report: dict[str, Any] = w.request("textDocument/diagnostic", {"textDocument": {"uri": URI}, "previousResultId": previous})
    return report


def actions(w: Window, range_: Any, diagnostics: Any = (), only: list[str] | None = None) -> list[dict[str, Any]]:
    context = {"diagnostics": list(diagnostics), **({"only": only} if only else {})}
    found: list[dict[str, Any]] = w.request("textDocument/codeAction", {"textDocument": {"uri": URI}, "range": range_, "context": context})
    return found


def fixes(w: Window, range_: Any = FOUND, diagnostics: Any = ()) -> list[dict[str, Any]]:
    return actions(w, range_, diagnostics, only=["quickfix"])


def applied(edits: list[dict[str, Any]], text: str) -> str:
    """`text` after LSP text edits; columns are those of ASCII text."""
    lines = text.splitlines(keepends=True)

    def offset(position: dict[str, int]) -> int:
        return sum(map(len, lines[: position["line"]])) + position["character"]

    for edit in sorted(edits, key=lambda e: offset(e["range"]["start"]), reverse=True):
        text = text[: offset(edit["range"]["start"])] + edit["newText"] + text[offset(edit["range"]["end"]) :]
    return text


def test_a_review_pushes_diagnostics_and_their_fix_repairs_the_text(tmp_path: Path) -> None:
    with window(tmp_path, REVIEW) as w:
        w.initialize(PUSHED)
        w.open(CODE)
        review(w)
        published = w.notification("textDocument/publishDiagnostics")
        (diagnostic,) = published["diagnostics"]
        (action,) = fixes(w, diagnostics=[diagnostic])
        resolved = w.request("codeAction/resolve", action)
        (change,) = resolved["edit"]["documentChanges"]
    assert (published["uri"], published["version"]) == (URI, 1)
    assert diagnostic["range"] == FOUND
    assert (diagnostic["source"], diagnostic["code"], diagnostic["severity"]) == ("qwencoder", "logic", 1)
    assert diagnostic["message"] == MESSAGE
    page, _, section = diagnostic["codeDescription"]["href"].partition("#")
    assert f"## {section}\n" in Path(to_fs_path(page) or "").read_text("utf-8")
    assert (action["title"], action["kind"], action["tags"]) == (f"Fix: {MESSAGE}", "quickfix", [1])
    assert action["diagnostics"] == [diagnostic]
    assert "edit" not in action
    assert change["textDocument"] == {"uri": URI, "version": 1}
    assert applied(change["edits"], CODE) == CODE.replace(WRONG, RIGHT)


@pytest.mark.parametrize("capabilities", [PULLED, PUSHED], ids=["pulled", "pushed"])
def test_a_dismissed_finding_goes_and_does_not_come_back_with_the_next_review(tmp_path: Path, capabilities: dict[str, Any]) -> None:
    def shown(w: Window) -> list[Any]:
        found: list[Any] = pull(w)["items"] if capabilities is PULLED else w.all("textDocument/publishDiagnostics")[-1]["diagnostics"]
        return found

    with window(tmp_path, REVIEW) as w:
        w.initialize(capabilities)
        w.open(CODE)
        review(w)
        found = shown(w)
        (dismissal,) = actions(w, FOUND, found, only=["qwencoder.dismiss"])
        w.request("workspace/executeCommand", dismissal["command"])
        w.request("workspace/executeCommand", dismissal["command"])  # twice is not an error
        gone = shown(w)
        review(w)
        again = shown(w)
    assert (len(found), gone, again) == (1, [], [])
    assert (dismissal["title"], dismissal["diagnostics"]) == (f"Dismiss: {MESSAGE}", found)


def test_a_client_that_pulls_is_told_to_pull_and_gets_nothing_pushed(tmp_path: Path) -> None:
    with window(tmp_path, REVIEW) as w:
        w.initialize(PULLED)
        w.open(CODE)
        empty = pull(w)
        review(w)
        w.wait(lambda m: m.get("method") == "workspace/diagnostic/refresh")
        full = pull(w, empty["resultId"])
        same = pull(w, full["resultId"])
        assert not w.all("textDocument/publishDiagnostics")
    assert (empty["kind"], empty["items"]) == ("full", [])
    assert [item["message"] for item in full["items"]] == [MESSAGE]
    assert same == {"kind": "unchanged", "resultId": full["resultId"]}


def test_a_client_that_cannot_be_told_to_pull_gets_pushes_and_empty_reports(tmp_path: Path) -> None:
    with window(tmp_path, REVIEW) as w:
        w.initialize({"textDocument": {"diagnostic": {}}})
        w.open(CODE)
        review(w)
        assert w.notification("textDocument/publishDiagnostics")["diagnostics"]
        assert pull(w)["items"] == []


def test_diagnostics_move_with_edits_above_and_vanish_with_edits_inside(tmp_path: Path) -> None:
    with window(tmp_path, REVIEW) as w:
        w.initialize(PULLED)
        w.open(CODE)
        review(w)
        before = pull(w)
        w.change((0, 0), (0, 0), "# 😀 a comment\n")
        (moved,) = pull(w, before["resultId"])["items"]
        assert moved["range"] == between((2, 4), (2, 19))
        w.change((2, 18), (2, 18), "2")
        assert pull(w)["items"] == []


def test_pushed_diagnostics_follow_edits_and_are_cleared_when_the_file_closes(tmp_path: Path) -> None:
    with window(tmp_path, REVIEW) as w:
        w.initialize(PUSHED)
        w.open(CODE)
        review(w)
        w.change((0, 0), (0, 0), "\n\n", version=7)
        moved = w.notification("textDocument/publishDiagnostics", lambda p: p["version"] == 7)
        assert moved["diagnostics"][0]["range"] == between((3, 4), (3, 19))
        w.notify("textDocument/didClose", {"textDocument": {"uri": URI}})
        assert w.notification("textDocument/publishDiagnostics", lambda p: not p["diagnostics"])["uri"] == URI


def test_typing_on_during_a_review_moves_its_findings(tmp_path: Path) -> None:
    with window(tmp_path, {**REVIEW, "prefill_ms": 700}) as w:
        w.initialize(PULLED)
        w.open(CODE)
        id_ = w.begin("workspace/executeCommand", {"command": "qwencoder.review", "arguments": [URI]})
        w.ready()
        w.change((0, 0), (0, 0), "import os\n")
        assert "error" not in w.answer(id_)
        assert [item["range"] for item in pull(w)["items"]] == [between((2, 4), (2, 19))]


def test_a_review_of_a_selection_looks_only_there(tmp_path: Path) -> None:
    only_last = {
        "rules": [{"contains": "def first", "text": "no"}, {"contains": "fails its tests", "text": f"```python\n{CODE[CODE.index('def last') :]}```"}]
    }
    with window(tmp_path, only_last) as w:
        w.initialize(PUSHED)
        w.open(CODE)
        offered = [a["command"] for a in actions(w, between((4, 0), (5, 4))) if "selection" in a["title"]]
        w.request("workspace/executeCommand", {"command": offered[0]["command"], "arguments": offered[0]["arguments"]})
        assert w.last_reason() == "model had nothing to add"
        record = w.request("qwencoder/trace", {"limit": 1})[0]
    assert record["feature"] == "review"


def test_a_review_that_finds_nothing_says_so(tmp_path: Path) -> None:
    with window(tmp_path, NOTHING) as w:
        w.initialize(PUSHED)
        w.open(CODE)
        review(w)
        assert "found nothing" in w.notification("window/showMessage")["message"]


def test_a_review_of_a_file_that_is_not_open_is_refused_with_the_next_step(tmp_path: Path) -> None:
    with window(tmp_path, REVIEW) as w:
        w.initialize(PUSHED)
        review(w)
        assert "Open it and try again." in w.notification("window/showMessage")["message"]


def test_a_running_review_shows_progress_and_can_be_cancelled(tmp_path: Path) -> None:
    with window(tmp_path, {**REVIEW, "prefill_ms": 60_000}) as w:
        w.initialize({**PUSHED, "window": {"workDoneProgress": True}})
        w.open(CODE)
        id_ = w.begin("workspace/executeCommand", {"command": "qwencoder.review", "arguments": [URI]})
        begun = w.notification("$/progress", lambda p: p["value"]["kind"] == "begin" and "Reviewing" in p["value"]["title"])
        assert begun["value"] == {"kind": "begin", "title": "Reviewing example.py", "cancellable": True}
        w.notify("window/workDoneProgress/cancel", {"token": begun["token"]})
        assert w.answer(id_)["result"] is None
        w.notification("$/progress", lambda p: p["token"] == begun["token"] and p["value"]["kind"] == "end")
        assert not w.all("textDocument/publishDiagnostics")


@pytest.mark.parametrize("wanted", [True, False])
def test_saving_reviews_only_when_the_setting_says_so(tmp_path: Path, wanted: bool) -> None:
    with window(tmp_path, REVIEW) as w:
        w.initialize(PULLED, initializationOptions={"review.onSave": wanted})
        w.open(CODE)
        w.notify("textDocument/didSave", {"textDocument": {"uri": URI}})
        if wanted:
            w.wait(lambda m: m.get("method") == "workspace/diagnostic/refresh")
        assert [item["message"] for item in pull(w)["items"]] == [MESSAGE] * wanted


def test_a_diagnostic_of_another_server_gets_a_fix(tmp_path: Path) -> None:
    theirs = {"range": between((1, 17), (1, 18)), "message": "index 1 is the second item", "source": "pylint", "code": "W123", "severity": 2}
    with window(tmp_path, REVIEW) as w:
        w.initialize(PUSHED)
        w.open(CODE)
        (action,) = fixes(w, theirs["range"], [theirs])
        resolved = w.request("codeAction/resolve", action)
        (change,) = resolved["edit"]["documentChanges"]
    assert action["title"] == "Fix with Qwen-Coder: index 1 is the second item"
    assert applied(change["edits"], CODE) == CODE.replace(WRONG, RIGHT)


def test_a_client_without_versioned_edits_gets_plain_ones(tmp_path: Path) -> None:
    with window(tmp_path, REVIEW) as w:
        w.initialize({"textDocument": {"codeAction": {**LITERALS, "resolveSupport": {"properties": ["edit"]}}}})
        w.open(CODE)
        review(w)
        (action,) = fixes(w)
        edit = w.request("codeAction/resolve", action)["edit"]
    assert "tags" not in action
    assert applied(edit["changes"][URI], CODE) == CODE.replace(WRONG, RIGHT)


@pytest.mark.parametrize("literals", [True, False])
def test_a_client_that_cannot_resolve_gets_a_command_that_applies_the_fix(tmp_path: Path, literals: bool) -> None:
    with window(tmp_path, REVIEW) as w:
        w.answers["workspace/applyEdit"] = lambda _: {"applied": True}
        w.initialize({"textDocument": {"codeAction": LITERALS if literals else {}}})
        w.open(CODE)
        review(w)
        (action,) = fixes(w)
        command = action["command"] if literals else action
        w.request("workspace/executeCommand", {"command": command["command"], "arguments": command["arguments"]})
        (asked,) = w.all("workspace/applyEdit")
        assert applied(asked["edit"]["changes"][URI], CODE) == CODE.replace(WRONG, RIGHT)
        assert not w.all("window/showMessage")


def test_an_edit_that_the_client_does_not_apply_is_reported(tmp_path: Path) -> None:
    with window(tmp_path, REVIEW) as w:
        w.answers["workspace/applyEdit"] = lambda _: {"applied": False}
        w.initialize({"textDocument": {"codeAction": LITERALS}})
        w.open(CODE)
        review(w)
        command = fixes(w)[0]["command"]
        w.request("workspace/executeCommand", {"command": command["command"], "arguments": command["arguments"]})
        assert "did not apply" in w.notification("window/showMessage")["message"]


def test_a_fix_of_a_diagnostic_is_refused_when_the_file_changed_since_it_was_offered(tmp_path: Path) -> None:
    theirs = {"range": between((1, 17), (1, 18)), "message": "wrong index", "source": "pylint"}
    with window(tmp_path, REVIEW) as w:
        w.initialize(PUSHED)
        w.open(CODE)
        (action,) = fixes(w, theirs["range"], [theirs])
        w.change((0, 0), (0, 0), "\n")
        assert "edit" not in w.request("codeAction/resolve", action)
        (shown,) = w.all("window/showMessage")
        assert "changed" in shown["message"]
        assert w.last_reason() == "document changed"


def test_a_fix_is_refused_when_the_file_changes_while_it_is_made(tmp_path: Path) -> None:
    theirs = {"range": between((1, 17), (1, 18)), "message": "wrong index", "source": "pylint"}
    with window(tmp_path, {**REVIEW, "prefill_ms": 1000}) as w:
        w.initialize(PUSHED)
        w.open(CODE)
        w.ready()
        (action,) = fixes(w, theirs["range"], [theirs])
        id_ = w.begin("codeAction/resolve", action)
        w.change((5, 0), (5, 0), " ")
        assert "edit" not in w.answer(id_)["result"]
        assert "changed while the edit was made" in w.notification("window/showMessage")["message"]


def test_a_fix_that_the_model_cannot_make_is_reported_with_the_next_step(tmp_path: Path) -> None:
    theirs = {"range": between((1, 17), (1, 18)), "message": "wrong index"}
    with window(tmp_path, {"default": "I cannot do that."}) as w:
        w.initialize(PUSHED)
        w.open(CODE)
        (action,) = fixes(w, theirs["range"], [theirs])
        assert "edit" not in w.request("codeAction/resolve", action)
        assert "cannot be used" in w.notification("window/showMessage")["message"]


def test_data_of_somebody_elses_action_is_refused(tmp_path: Path) -> None:
    with window(tmp_path, REVIEW) as w:
        w.initialize(PUSHED)
        strange: list[Any] = [None, 5, {"finding": {"x": 1}}, {"diagnostic": {}}]
        for data in strange:
            assert "edit" not in w.request("codeAction/resolve", {"title": "x", "data": data})
        assert len(w.all("window/showMessage")) == 4


def test_only_the_kinds_that_were_asked_for_are_offered(tmp_path: Path) -> None:
    with window(tmp_path, REVIEW) as w:
        w.initialize(PUSHED)
        w.open(CODE)
        review(w)
        kinds = {only: {a["kind"] for a in actions(w, FOUND, only=[only])} for only in ("quickfix", "source", "qwencoder", "refactor")}
        everything = {a["kind"] for a in actions(w, FOUND)}
    refactorings = {f"refactor.rewrite.qwencoder.{name}" for name in ("fix", "simplify", "types", "optimise", "document")}
    assert kinds == {
        "quickfix": {"quickfix"},
        "source": {"source.qwencoder.review"},
        "qwencoder": {"qwencoder.review", "qwencoder.explain", "qwencoder.dismiss"},
        "refactor": refactorings,
    }
    assert everything == {"quickfix", "source.qwencoder.review", *kinds["qwencoder"], *refactorings}


def test_neither_the_reviewed_text_nor_the_findings_are_logged(tmp_path: Path) -> None:
    with window(tmp_path, REVIEW) as w:
        w.initialize(PUSHED)
        w.open(CODE)
        review(w)
        w.request("codeAction/resolve", fixes(w)[0])
    assert "review" in log_text(tmp_path)
    assert MESSAGE not in log_text(tmp_path)
    assert "items" not in log_text(tmp_path)


def changed_file(folder: Path, before: str, after: str) -> str:
    """The URI of a file of a repository, committed with the text `before`, that now has the text `after`."""
    folder.mkdir()
    file = folder / "example.py"
    file.write_text(before)
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    for arguments in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "one"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)
    file.write_text(after)
    return file.as_uri()


@pytest.mark.parametrize(("before", "findings"), [(CODE.replace(WRONG, RIGHT), 1), (CODE.replace("items[-1]", "items[-2]"), 0)])
def test_a_review_of_changes_reports_what_stands_on_changed_lines(tmp_path: Path, before: str, findings: int) -> None:
    uri = changed_file(tmp_path / "repo", before, CODE)
    with window(tmp_path, REVIEW) as w:
        w.initialize(PUSHED)
        w.open(CODE, uri)
        assert w.request("workspace/executeCommand", {"command": "qwencoder.reviewChanges", "arguments": [uri]}) == findings
        published = w.notification("textDocument/publishDiagnostics")
        told = [message["message"] for message in w.all("window/showMessage")]
    assert len(published["diagnostics"]) == findings
    assert told == [] if findings else ["Qwen-Coder found nothing to report in example.py."]


def test_a_review_of_changes_wants_the_file_saved(tmp_path: Path) -> None:
    uri = changed_file(tmp_path / "repo", CODE, CODE)
    with window(tmp_path, REVIEW) as w:
        w.initialize(PUSHED)
        w.open(f"# more\n{CODE}", uri)
        assert w.request("workspace/executeCommand", {"command": "qwencoder.reviewChanges", "arguments": [uri]}) is None
        assert "is not saved" in w.notification("window/showMessage")["message"]
