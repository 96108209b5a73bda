"""What can be done with the code at the cursor, through the real language server, gateway and scripted engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.protocol.test_lsp_review import PUSHED, RESOLVES, applied
from tests.protocol.windows import URI, Window, between, window

CODE = "import os\n\n\ndef total(items):\n    result = 0\n    for item in items:\n        result += item\n    return result\n"
FUNCTION = CODE[CODE.index("def total") :]
SIMPLE = "def total(items):\n    return sum(items)\n"
AT = between((5, 8), (5, 8))
RULES = [
    {"contains": "simpler and easier", "text": f"```python\n{SIMPLE}```"},
    {"contains": "a docstring", "text": '```python\ndef total(items):\n    """Return the sum of the items."""\n    return 42\n```'},
    {
        "contains": "Write tests",
        "text": "```python\nimport pytest\nfrom shop.cart import total\n\n\ndef test_total():\n    assert total([1]) == 1\n```",
    },
    {"contains": "Instruction: use sum", "text": f"```python\n{SIMPLE}```"},
    {"contains": "Explain this", "text": "It **adds** the items."},
    {"contains": "missing types", "text": "```python\ndef total(items: list[int]) -> int:\n    return sum(items)\n```"},
]
SCRIPT = {"rules": RULES}
FULL = {
    "workspace": {"workspaceEdit": {"documentChanges": True, "resourceOperations": ["create"], "changeAnnotationSupport": {}}},
    "textDocument": {"codeAction": RESOLVES},
}


def listed(w: Window, range_: Any = AT, uri: str = URI, **context: Any) -> dict[str, dict[str, Any]]:
    """The actions by the last part of their kind."""
    params = {"textDocument": {"uri": uri}, "range": range_, "context": {"diagnostics": [], **context}}
    return {str(a["kind"]).rpartition(".")[2]: a for a in w.request("textDocument/codeAction", params)}


def resolved(w: Window, action: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = w.request("codeAction/resolve", action)
    return result


def project(folder: Path) -> tuple[str, str]:
    """A project on disk; its URI and that of its source file."""
    (folder / "project" / "shop").mkdir(parents=True)
    (folder / "project" / "shop" / "cart.py").write_text(CODE, "utf-8")
    (folder / "project" / "tests").mkdir()
    return (folder / "project").as_uri(), (folder / "project" / "shop" / "cart.py").as_uri()


def test_a_function_can_be_simplified_with_an_annotated_versioned_edit_of_its_own_lines(tmp_path: Path) -> None:
    with window(tmp_path, SCRIPT) as w:
        w.initialize(FULL)
        w.open(CODE)
        action = listed(w)["simplify"]
        edit = resolved(w, action)["edit"]
    (change,) = edit["documentChanges"]
    assert (action["title"], action["kind"], action["tags"]) == ("Simplify total with Qwen-Coder", "refactor.rewrite.qwencoder.simplify", [1])
    assert change["textDocument"] == {"uri": URI, "version": 1}
    assert applied(change["edits"], CODE) == CODE.replace(FUNCTION, SIMPLE)
    assert all(e["annotationId"] == "qwencoder" for e in change["edits"])
    assert edit["changeAnnotations"]["qwencoder"]["label"] == "Simplify total"
    assert edit["changeAnnotations"]["qwencoder"]["needsConfirmation"] is False


def test_the_user_can_have_every_edit_shown_first(tmp_path: Path) -> None:
    with window(tmp_path, SCRIPT) as w:
        w.initialize(FULL, initializationOptions={"review.preview": True})
        w.open(CODE)
        assert resolved(w, listed(w)["simplify"])["edit"]["changeAnnotations"]["qwencoder"]["needsConfirmation"] is True


def test_documentation_is_added_and_the_code_that_came_with_it_is_not(tmp_path: Path) -> None:
    with window(tmp_path, SCRIPT) as w:
        w.initialize(PUSHED)
        w.open(CODE)
        (change,) = resolved(w, listed(w)["document"])["edit"]["documentChanges"]
    assert applied(change["edits"], CODE) == CODE.replace("items):\n", 'items):\n    """Return the sum of the items."""\n')


def test_a_types_edit_that_changes_more_than_types_is_refused_and_said(tmp_path: Path) -> None:
    with window(tmp_path, SCRIPT) as w:
        w.initialize(PUSHED)
        w.open(CODE)
        assert "edit" not in resolved(w, listed(w)["types"])
        assert "it changes more than the types" in w.notification("window/showMessage")["message"]


def test_tests_go_into_a_new_file_where_the_project_has_its_tests(tmp_path: Path) -> None:
    root, uri = project(tmp_path)
    with window(tmp_path, SCRIPT) as w:
        w.initialize(FULL, rootUri=root)
        w.open(CODE, uri)
        action = listed(w, uri=uri)["tests"]
        create, change = resolved(w, action)["edit"]["documentChanges"]
    assert action["title"] == "Write tests for total with Qwen-Coder"
    assert (create["kind"], create["uri"], create["options"]) == ("create", f"{root}/tests/test_cart.py", {"ignoreIfExists": True})
    assert change["textDocument"] == {"uri": create["uri"], "version": None}
    assert "assert total([1]) == 1" in change["edits"][0]["newText"]
    assert not (tmp_path / "project" / "tests" / "test_cart.py").exists(), "the editor makes the file, not the server"


def test_tests_are_added_to_the_file_that_is_there_without_doubling_its_imports(tmp_path: Path) -> None:
    root, uri = project(tmp_path)
    there = "from shop.cart import total\n\n\ndef test_nothing():\n    assert total([]) == 0\n"
    (tmp_path / "project" / "tests" / "test_cart.py").write_text(there, "utf-8")
    with window(tmp_path, SCRIPT) as w:
        w.initialize(FULL, rootUri=root)
        w.open(CODE, uri)
        (change,) = resolved(w, listed(w, uri=uri)["tests"])["edit"]["documentChanges"]
    after = applied(change["edits"], there)
    assert after.startswith("from shop.cart import total\nimport pytest\n\n\ndef test_nothing")
    assert after.count("import total") == 1
    assert after.endswith("\n\n\ndef test_total():\n    assert total([1]) == 1\n")


def test_an_editor_that_cannot_make_files_is_not_offered_tests(tmp_path: Path) -> None:
    root, uri = project(tmp_path)
    with window(tmp_path, SCRIPT) as w:
        w.initialize(PUSHED, rootUri=root)
        w.open(CODE, uri)
        assert "tests" not in listed(w, uri=uri)


def test_the_light_bulb_is_asked_for_problems_only(tmp_path: Path) -> None:
    with window(tmp_path, SCRIPT) as w:
        w.initialize(FULL)
        w.open(CODE)
        assert listed(w, triggerKind=2) == {}
        assert "simplify" in listed(w, triggerKind=1)


def command(w: Window, name: str, *arguments: Any) -> None:
    w.request("workspace/executeCommand", {"command": name, "arguments": list(arguments)})


def test_an_instruction_is_carried_out_by_a_command_and_applied_by_the_editor(tmp_path: Path) -> None:
    with window(tmp_path, SCRIPT) as w:
        w.answers["workspace/applyEdit"] = lambda _: {"applied": True}
        w.initialize(PUSHED)
        w.open(CODE)
        command(w, "qwencoder.edit", URI, AT, "use sum")
        edit = w.notification("workspace/applyEdit")["edit"]
    assert applied(edit["documentChanges"][0]["edits"], CODE) == CODE.replace(FUNCTION, SIMPLE)


@pytest.mark.parametrize("arguments", [[], [URI], [URI, AT], [URI, AT, 5], [URI, "here", "use sum"]])
def test_a_command_with_wrong_arguments_is_refused(tmp_path: Path, arguments: list[Any]) -> None:
    with window(tmp_path, SCRIPT) as w:
        w.initialize(PUSHED)
        w.open(CODE)
        answer = w.answer(w.begin("workspace/executeCommand", {"command": "qwencoder.edit", "arguments": arguments}))
    assert answer["error"]["code"] == -32602


def test_an_edit_that_the_editor_refuses_is_said(tmp_path: Path) -> None:
    with window(tmp_path, SCRIPT) as w:
        w.answers["workspace/applyEdit"] = lambda _: {"applied": False}
        w.initialize(PUSHED)
        w.open(CODE)
        command(w, "qwencoder.refactor", URI, AT, "simplify")
        assert "did not apply the edit" in w.notification("window/showMessage")["message"]


def test_an_explanation_is_a_private_file_that_the_editor_is_asked_to_show(tmp_path: Path) -> None:
    with window(tmp_path, SCRIPT) as w:
        w.answers["window/showDocument"] = lambda _: {"success": True}
        w.initialize({**PUSHED, "window": {"showDocument": {"support": True}}})
        w.open(CODE)
        command(w, "qwencoder.explain", URI, AT)
        file = Path(w.notification("window/showDocument")["uri"].removeprefix("file://"))
    assert file.read_text("utf-8") == "It **adds** the items.\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_an_explanation_is_a_document_of_ours_where_the_client_has_those(tmp_path: Path) -> None:
    with window(tmp_path, SCRIPT) as w:
        w.answers["window/showDocument"] = lambda _: {"success": True}
        offered = w.initialize({"workspace": {"textDocumentContent": {}}, "window": {"showDocument": {"support": True}}})
        w.open(CODE)
        command(w, "qwencoder.explain", URI, AT)
        uri = w.notification("window/showDocument")["uri"]
        w.notification("workspace/textDocumentContent/refresh", lambda p: p["uri"] == uri)
        text = w.request("workspace/textDocumentContent", {"uri": uri})["text"]
    assert offered["capabilities"]["workspace"]["textDocumentContent"] == {"schemes": ["qwencoder"]}
    assert uri.startswith("qwencoder:")
    assert text == "It **adds** the items.\n"


def test_lenses_stand_above_functions_only_when_they_are_switched_on(tmp_path: Path) -> None:
    with window(tmp_path, SCRIPT) as w:
        w.initialize(FULL)
        w.open(CODE)
        assert w.request("textDocument/codeLens", {"textDocument": {"uri": URI}}) == []
    with window(tmp_path, SCRIPT) as w:
        w.initialize(FULL, initializationOptions={"review.lenses": True})
        w.open(CODE)
        lenses = w.request("textDocument/codeLens", {"textDocument": {"uri": URI}})
    assert [(lens["command"]["title"], lens["range"]["start"]["line"]) for lens in lenses] == [("Explain", 3), ("Test", 3), ("Document", 3)]


def test_fix_all_repairs_what_can_be_repaired_and_says_how_much(tmp_path: Path) -> None:
    code = "def f(a):\n    return aa\n\n\ndef g(b):\n    return bb\n"
    rules = [
        {"contains": "undefined name 'bb'", "text": "```python\ndef g(b):\n    return b\n```"},
        {"contains": "undefined name 'aa'", "text": "I cannot."},
    ]
    theirs = [
        {"range": between((line, 11), (line, 13)), "message": f"undefined name '{name}'", "source": "pyflakes"}
        for line, name in ((1, "aa"), (5, "bb"))
    ]
    with window(tmp_path, {"rules": rules}) as w:
        w.initialize(PUSHED)
        w.open(code)
        action = listed(w, between((0, 0), (6, 0)), diagnostics=theirs)["fixAll"]
        (change,) = resolved(w, action)["edit"]["documentChanges"]
        said = w.notification("window/showMessage")["message"]
    assert action["title"] == "Fix all 2 problems with Qwen-Coder"
    assert applied(change["edits"], code) == code.replace("bb", "b")
    assert said == "Qwen-Coder fixed 1 of 2 problems."


@pytest.mark.parametrize(("name", "expected"), [("Neovim", False), ("Visual Studio Code", True)])
def test_neovim_which_forgets_its_buffers_over_the_workspace_is_not_offered_to_pull_it(tmp_path: Path, name: str, expected: bool) -> None:
    with window(tmp_path, SCRIPT) as w:
        offered = w.initialize(FULL, clientInfo={"name": name})["capabilities"]["diagnosticProvider"]
    assert offered["workspaceDiagnostics"] is expected


def test_a_finding_explains_itself_on_hover_and_a_workspace_pull_reports_it_once(tmp_path: Path) -> None:
    wrong, right = "return items[1]", "return items[0]"
    code = f"def first(items):\n    {wrong}\n"
    finding = {"quote": wrong, "message": "It returns the second <b>item</b>.", "category": "logic", "severity": "error"}
    rules = [
        {"contains": "You made these changes", "text": json.dumps({"findings": [finding]})},
        {"contains": "fails its tests", "text": f"```python\n{code.replace(wrong, right)}```"},
    ]
    pulls = {
        "workspace": {"diagnostics": {"refreshSupport": True}},
        "textDocument": {"diagnostic": {}, "hover": {"contentFormat": ["markdown"]}},
    }
    with window(tmp_path, {"rules": rules}) as w:
        w.initialize(pulls)
        w.open(code)
        command(w, "qwencoder.review", URI)
        here = {"textDocument": {"uri": URI}, "position": {"line": 1, "character": 6}}
        hover = w.request("textDocument/hover", here)
        nothing = w.request("textDocument/hover", {**here, "position": {"line": 0, "character": 0}})
        (report,) = w.request("workspace/diagnostic", {"previousResultIds": []})["items"]
        again = w.request("workspace/diagnostic", {"previousResultIds": [{"uri": URI, "value": report["resultId"]}]})["items"]
        w.notify("textDocument/didClose", {"textDocument": {"uri": URI}})
        (closed,) = w.request("workspace/diagnostic", {"previousResultIds": [{"uri": URI, "value": report["resultId"]}]})["items"]
    assert hover["contents"]["kind"] == "markdown"
    assert "It returns the second \\<b\\>item\\</b\\>." in hover["contents"]["value"]
    assert f"- {wrong}\n+ {right}" in hover["contents"]["value"]
    assert nothing is None
    assert (report["uri"], len(report["items"]), again, closed["items"]) == (URI, 1, [], [])
