"""Settings from the editor: pulled, pushed, or given with initialize; wrong ones are reported once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qwencoder_lsp.features.prompts import prompt
from qwencoder_lsp.settings import load
from tests.protocol.gateways import wait
from tests.protocol.windows import Window, window

PULLS = {"workspace": {"configuration": True}}
REGISTERS = {"workspace": {"configuration": True, "didChangeConfiguration": {"dynamicRegistration": True}}}


def offers(w: Window, uri: str = "file:///srv/project/example.py") -> bool:
    """Whether the window gets ghost text."""
    result = w.inline(0, 4, uri=uri)
    return bool(result and result["items"])


def test_initialization_options_are_taken_nested_dotted_and_in_camel_case(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1"}) as w:
        w.initialize(initializationOptions={"completion": {"languagesOff": ["python"]}, "completion.maxLines": 3})
        w.open("x = ")
        assert not offers(w)
        assert w.last_reason() == "language switched off"
        assert not w.all("window/showMessage")


def test_a_client_that_answers_configuration_requests_is_asked_for_the_section(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1"}) as w:
        asked: list[Any] = []

        def answer(params: Any) -> Any:
            asked.extend(params["items"])
            return [{"completion": {"enabled": False}} for _ in params["items"]]

        w.answers["workspace/configuration"] = answer
        w.initialize(PULLS)
        w.open("x = ")
        assert not offers(w)
    assert asked[0]["section"] == "qwencoder"


def test_each_workspace_folder_has_its_own_settings(tmp_path: Path) -> None:
    off, on = (tmp_path / "off").as_uri(), (tmp_path / "on").as_uri()
    with window(tmp_path, {"default": "1"}) as w:
        w.answers["workspace/configuration"] = lambda p: [{"completion": {"enabled": item.get("scopeUri") != off}} for item in p["items"]]
        w.initialize(PULLS, workspaceFolders=[{"uri": off, "name": "off"}, {"uri": on, "name": "on"}])
        for folder in (off, on):
            w.open("x = ", uri=f"{folder}/a.py")
        assert not offers(w, f"{off}/a.py")
        assert offers(w, f"{on}/a.py")


def test_a_change_in_the_editor_takes_effect(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1"}) as w:
        enabled = False
        w.answers["workspace/configuration"] = lambda p: [{"completion": {"enabled": enabled}}] * len(p["items"])
        w.initialize(REGISTERS)
        w.open("x = ")
        assert not offers(w)
        registered = w.notification("client/registerCapability")
        assert registered["registrations"][0]["method"] == "workspace/didChangeConfiguration"
        enabled = True
        w.notify("workspace/didChangeConfiguration", {"settings": None})
        assert wait(lambda: offers(w), 30)


def test_a_change_in_the_editor_has_code_lenses_asked_for_again(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1"}) as w:
        lenses = False
        w.answers["workspace/configuration"] = lambda p: [{"review": {"lenses": lenses}}] * len(p["items"])
        w.initialize({"workspace": {"configuration": True, "codeLens": {"refreshSupport": True}}})
        w.open("def f():\n    pass\n")
        params = {"textDocument": {"uri": "file:///srv/project/example.py"}}
        assert w.request("textDocument/codeLens", params) == []
        lenses = True
        w.notify("workspace/didChangeConfiguration", {"settings": None})
        w.wait(lambda message: message.get("method") == "workspace/codeLens/refresh")
        assert [lens["command"]["title"] for lens in w.request("textDocument/codeLens", params)] == ["Explain", "Document"]


def test_a_client_that_only_pushes_its_settings_is_heard(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1"}) as w:
        w.initialize()
        w.open("x = ")
        assert offers(w)
        w.notify("workspace/didChangeConfiguration", {"settings": {"qwencoder": {"completion": {"enabled": False}}}})
        assert not offers(w)


def test_wrong_settings_are_reported_once_and_keep_their_defaults(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1"}) as w:
        wrong = {"completion": {"maxLines": 0, "enabled": "perhaps"}, "nonsense": {"a": 1}}
        w.answers["workspace/configuration"] = lambda p: [wrong] * len(p["items"])
        w.initialize(PULLS, initializationOptions=wrong)
        w.open("x = ")
        assert offers(w)
        w.notify("workspace/didChangeConfiguration", {"settings": wrong})
        assert offers(w)
        (shown,) = w.all("window/showMessage")
    assert shown["type"] == 2
    for name in ("completion.max_lines", "completion.enabled", "nonsense"):
        assert shown["message"].count(name) == 1


def test_null_and_the_extensions_own_settings_are_no_mistakes(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1"}) as w:
        section = {"completion": {"maxPrefix": None}, "command": ["qwencoder-lsp"], "package": "qwencoder-lsp", "trace": {"server": "off"}}
        w.answers["workspace/configuration"] = lambda p: [section] * len(p["items"])
        w.initialize(PULLS)
        w.open("x = ")
        assert offers(w)
        assert not w.all("window/showMessage")


def test_a_client_that_never_answers_gets_its_completions_all_the_same(tmp_path: Path) -> None:
    with window(tmp_path, {"default": "1"}) as w:
        w.deaf_to = {"workspace/configuration"}
        w.initialize(PULLS)
        w.open("x = ")
        assert offers(w)


def test_a_projects_settings_file_counts_but_cannot_choose_the_model(tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    settings_file = root / ".qwencoder.toml"
    settings_file.write_text("[completion]\nenabled = false\n[model]\ncompletion = 'evil'\n")
    with window(tmp_path, {"default": "1"}) as w:
        w.initialize(workspaceFolders=[{"uri": root.as_uri(), "name": "project"}])
        uri = (root / "a.py").as_uri()
        w.open("x = ", uri=uri)
        assert not offers(w, uri)
        (shown,) = w.all("window/showMessage")
        assert "model.completion may not be set by a project" in shown["message"]
        settings_file.write_text("")
        w.notify("textDocument/didSave", {"textDocument": {"uri": settings_file.as_uri()}})
        assert offers(w, uri)


HOSTILE = {
    "model": {"completion": "qwencoder-0.5b", "chat": "./evil.gguf"},
    "gateway": {"host": "0.0.0.0", "port": 1, "keyFile": "keys"},
    "prompts": {"trusted": ["/srv"]},
    "command": ["./evil"],
}
REFUSED = ("model.completion", "model.chat", "gateway.host", "gateway.port", "gateway.key_file", "prompts.trusted")


def test_a_folders_settings_from_the_editor_cannot_change_model_addresses_keys_or_trust(tmp_path: Path) -> None:
    """As `.vscode/settings.json` would reach us through a client that does not hold workspace settings back."""
    folder = (tmp_path / "project").as_uri()
    with window(tmp_path, {"default": "1"}) as w:
        w.answers["workspace/configuration"] = lambda p: [HOSTILE if item.get("scopeUri") == folder else {} for item in p["items"]]
        w.initialize(PULLS, workspaceFolders=[{"uri": folder, "name": "project"}])
        w.open("x = ", uri=f"{folder}/a.py")
        assert offers(w, f"{folder}/a.py")
        assert w.ready()["completion_model"] == "scripted"
        shown = " ".join(message["message"] for message in w.all("window/showMessage"))
    assert all(f"editor, for this folder: {name} may not be set by a project" in shown for name in REFUSED)


def test_initialization_options_and_pushed_settings_cannot_change_addresses_keys_trust_or_a_models_file(tmp_path: Path) -> None:
    hostile = {**HOSTILE, "model": {"completion": "/srv/project/evil.gguf", "chat": "./evil.gguf"}}
    with window(tmp_path, {"default": "1"}) as w:
        w.initialize(initializationOptions=hostile)
        w.open("x = ")
        assert offers(w)
        w.notify("workspace/didChangeConfiguration", {"settings": {"qwencoder": hostile}})
        assert offers(w)
        assert w.ready()["completion_model"] == "scripted"
        shown = " ".join(message["message"] for message in w.all("window/showMessage"))
    assert all(name in shown for name in REFUSED)


def test_a_project_cannot_make_its_own_prompts_trusted(home: Path, tmp_path: Path) -> None:
    root = tmp_path / "project"
    (root / ".qwencoder" / "prompts").mkdir(parents=True)
    (root / ".qwencoder" / "prompts" / "review.toml").write_text("version = 1\nuser = 'HOSTILE {{ code }}'\n")
    (root / ".qwencoder.toml").write_text(f"[prompts]\ntrusted = ['{root}', '.', '/']\n")
    for sources in ({"root": root}, {"editor": {"prompts.trusted": [str(root)]}, "root": root}, {"folder": {"prompts": {"trusted": [str(root)]}}}):
        chosen, problems = load(**sources, env={})
        assert problems
        assert "HOSTILE" not in prompt("review", str(root), chosen).user
