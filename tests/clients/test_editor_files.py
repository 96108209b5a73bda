"""The files that users copy into their editors are well-formed and agree with the server. No editor is needed."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import qwencoder_lsp
from qwencoder_lsp import settings
from tests.clients.installing import code_blocks

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EDITORS = Path(__file__).parents[2] / "editors"
JETBRAINS = EDITORS / "jetbrains/lsp4ij"
VSCODE = EDITORS / "vscode"


def load(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def json_files() -> list[Path]:
    return sorted(path for path in EDITORS.rglob("*.json") if "node_modules" not in path.parts)


def repeated(values: Iterable[str]) -> list[str]:
    return [value for value, count in Counter(values).items() if count > 1]


@pytest.mark.parametrize("path", json_files(), ids=lambda path: str(path.relative_to(EDITORS)))
def test_json_file_parses(path: Path) -> None:
    assert isinstance(load(path), dict)


def test_jetbrains_template_has_the_keys_that_lsp4ij_reads() -> None:
    template = load(JETBRAINS / "template.json")
    assert {"id", "name", "programArgs", "fileTypeMappings"} <= template.keys()
    for system, command in template["programArgs"].items():
        assert system in {"default", "windows", "linux", "mac"}
        assert "qwencoder-lsp" in command
        assert "--stdio" in command


def test_jetbrains_mappings_name_each_pattern_and_each_language_once() -> None:
    mappings = load(JETBRAINS / "template.json")["fileTypeMappings"]
    assert repeated(pattern for mapping in mappings for pattern in mapping["fileType"]["patterns"]) == []
    assert repeated(mapping["languageId"] for mapping in mappings) == []
    assert all(pattern.startswith("*.") for mapping in mappings for pattern in mapping["fileType"]["patterns"])


def tasks(task: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for kind, body in task.items():
        yield kind, body
        yield from tasks(body.get("onSuccess", {}))


def test_jetbrains_installer_ends_with_the_command_that_it_has_installed() -> None:
    installer = load(JETBRAINS / "installer.json")
    assert {"id", "name", "check", "run"} <= installer.keys()
    chain = list(tasks(installer["run"]))
    assert [kind for kind, _ in chain] == ["exec", "exec", "configureServer"]
    assert all({"default", "windows"} == body["command"].keys() for _, body in chain)
    assert all(command.endswith(" --stdio") for command in chain[-1][1]["command"].values())


def test_jetbrains_example_settings_are_in_the_schema() -> None:
    known = load(JETBRAINS / "settings.schema.json")["properties"].keys()
    named = re.findall(r'"(qwencoder\.[\w.]+)"', (JETBRAINS / "README.md").read_text("utf-8"))
    assert named
    assert set(named) <= known
    assert load(JETBRAINS / "settings.json").keys() <= known


def test_vscode_package_has_the_keys_that_vscode_reads() -> None:
    package = load(VSCODE / "package.json")
    assert {"name", "publisher", "version", "engines", "main", "activationEvents", "contributes"} <= package.keys()
    assert package["main"].removeprefix("./") in package["scripts"]["build"]
    assert f"!{package['main'].removeprefix('./')}" in (VSCODE / ".vscodeignore").read_text("utf-8").splitlines()


def test_vscode_types_are_not_newer_than_the_oldest_supported_vscode() -> None:
    package = load(VSCODE / "package.json")
    assert package["engines"]["vscode"] == f"^{package['devDependencies']['@types/vscode']}"


def test_vscode_extension_and_server_have_one_version() -> None:
    assert load(VSCODE / "package.json")["version"] == qwencoder_lsp.__version__


def test_vscode_commands_are_declared_once_and_those_of_the_extension_are_registered() -> None:
    declared = [entry["command"] for entry in load(VSCODE / "package.json")["contributes"]["commands"]]
    registered = re.findall(r"registerCommand\('([\w.]+)'", (VSCODE / "src/extension.ts").read_text("utf-8"))
    assert repeated(declared) == []
    assert set(registered) <= set(declared)
    assert all(command.startswith("qwencoder.") for command in declared)


def test_vscode_lockfile_fits_the_package_and_names_no_download_host() -> None:
    package, lock = load(VSCODE / "package.json"), load(VSCODE / "package-lock.json")
    root = lock["packages"][""]
    for key in ("version", "dependencies", "devDependencies"):
        assert root[key] == package[key]
    assert [name for name, entry in lock["packages"].items() if "resolved" in entry] == []
    assert [name for name, entry in lock["packages"].items() if name and "integrity" not in entry] == []


def test_helix_example_is_toml_with_our_command_and_settings_that_the_server_takes() -> None:
    languages, extra = (tomllib.loads(block) for block in code_blocks(EDITORS / "helix/README.md", "toml"))
    server = languages["language-server"]["qwencoder"]
    assert [server["command"], *server["args"]] == ["qwencoder-lsp", "--stdio"]
    assert settings.load(editor=extra["language-server"]["qwencoder"]["config"], env={})[1] == []


def test_emacs_examples_have_balanced_parentheses_and_our_command() -> None:
    for block in code_blocks(EDITORS / "emacs/README.md", "elisp"):
        assert block.count("(") == block.count(")")
        assert '("qwencoder-lsp" "--stdio")' in block
