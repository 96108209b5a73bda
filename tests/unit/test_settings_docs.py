"""The README table, the VS Code configuration block and the JetBrains schema say what the settings tree says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qwencoder_lsp import settings, settings_docs
from qwencoder_lsp.errors import SettingsError

ROOT = Path(__file__).parents[2]


def vscode_block() -> dict[str, Any]:
    package = json.loads((ROOT / "editors/vscode/package.json").read_text("utf-8"))
    block: dict[str, Any] = package["contributes"]["configuration"]["properties"]
    return block


def test_the_readme_table_is_the_generated_one() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert settings_docs.with_table(readme) == readme, "run: python -m qwencoder_lsp.settings_docs --write"


def test_the_vscode_block_is_the_generated_one() -> None:
    assert vscode_block() == settings_docs.vscode_properties(), "run: python -m qwencoder_lsp.settings_docs --write"


def test_the_jetbrains_schema_is_the_generated_one() -> None:
    schema = json.loads((ROOT / "editors/jetbrains/lsp4ij/settings.schema.json").read_text("utf-8"))
    assert schema == settings_docs.settings_schema(), "run: python -m qwencoder_lsp.settings_docs --write"


def test_every_setting_of_the_tree_is_documented() -> None:
    leaves = {f"{section}.{name}" for section, values in settings.Settings().model_dump().items() for name in values}
    assert {field.key for field in settings_docs.fields()} == leaves


def test_the_server_accepts_every_vscode_key_with_its_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QWENCODER_HOME", str(tmp_path))
    sent = {key.removeprefix("qwencoder."): entry["default"] for key, entry in vscode_block().items() if key not in settings_docs.EXTENSION_ONLY}
    loaded, problems = settings.load(editor=sent, env={})
    assert problems == []
    assert loaded == settings.Settings()


def test_a_workspace_cannot_set_in_vscode_what_a_project_file_may_not_set() -> None:
    user_only = {f"qwencoder.{field.camel_key}" for field in settings_docs.fields() if field.scope == "user"} | settings_docs.EXTENSION_ONLY.keys()
    assert {key for key, entry in vscode_block().items() if entry["scope"] == "machine"} == user_only


def test_no_editor_is_offered_what_only_the_machine_may_set() -> None:
    machine = {f"qwencoder.{field.camel_key}" for field in settings_docs.fields() if field.scope == "machine"}
    assert machine
    assert not machine & (set(vscode_block()) | set(settings_docs.settings_schema()["properties"]))


def test_an_optional_number_becomes_one_type_with_null() -> None:
    assert settings_docs.vscode_properties()["qwencoder.engine.threads"]["type"] == ["integer", "null"]


def test_a_pipe_in_a_description_does_not_split_the_table_row() -> None:
    for row in settings_docs.readme_table().splitlines():
        assert row.replace("\\|", "").count("|") == 5


def test_only_the_text_between_the_markers_is_replaced() -> None:
    updated = settings_docs.with_table("before\n<!-- settings -->\nSTALE\n<!-- /settings -->\nafter\n")
    assert updated.startswith("before\n<!-- settings -->\n| Setting")
    assert updated.endswith("|\n<!-- /settings -->\nafter\n")
    assert "STALE" not in updated


@pytest.mark.parametrize("readme", ["", "<!-- settings -->", "<!-- /settings --><!-- settings -->"])
def test_a_readme_without_markers_is_refused(readme: str) -> None:
    with pytest.raises(SettingsError, match="markers"):
        settings_docs.with_table(readme)


def test_updating_the_extension_keeps_the_rest_of_its_package_file() -> None:
    before = {
        "name": "x",
        "capabilities": {"untrustedWorkspaces": {"supported": "limited"}},
        "contributes": {"commands": [1], "configuration": {"title": "t", "properties": {"stale": {}}}},
    }
    after = json.loads(settings_docs.with_properties(json.dumps(before)))
    assert after["contributes"].pop("configuration") == {"title": "t", "properties": settings_docs.vscode_properties()}
    assert after["capabilities"]["untrustedWorkspaces"].pop("restrictedConfigurations") == ["qwencoder.command", "qwencoder.package"]
    assert after == {"name": "x", "capabilities": {"untrustedWorkspaces": {"supported": "limited"}}, "contributes": {"commands": [1]}}
