"""The files that users copy into their editors are well-formed and agree with the server. No editor is needed."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import qwencoder_lsp
from qwencoder_lsp import settings
from qwencoder_lsp.core.languages import LANGUAGES
from tests.clients.installing import code_blocks, run

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


def test_jetbrains_mappings_cover_each_language_and_each_of_its_files() -> None:
    mappings = load(JETBRAINS / "template.json")["fileTypeMappings"]
    ids = {mapping["languageId"] for mapping in mappings}
    patterns = {pattern for mapping in mappings for pattern in mapping["fileType"]["patterns"]}
    assert [row.name for row in LANGUAGES if not ids & set(row.ids)] == []
    assert patterns == {f"*{name}" if name.startswith(".") else name for row in LANGUAGES for name in row.files}


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


def test_vscode_commands_are_declared_once_and_are_those_that_the_extension_registers() -> None:
    declared = [entry["command"] for entry in load(VSCODE / "package.json")["contributes"]["commands"]]
    registered = re.findall(r"^    '(qwencoder\.\w+)': ", (VSCODE / "src/extension.ts").read_text("utf-8"), re.MULTILINE)
    assert repeated(declared) == []
    assert sorted(declared) == sorted(registered)


def test_vscode_extension_names_only_commands_that_it_declares() -> None:
    package = (VSCODE / "package.json").read_text("utf-8")
    sources = "".join(path.read_text("utf-8") for path in (VSCODE / "src").glob("*.ts"))
    named = re.findall(r"command:(qwencoder\.\w+)", package) + re.findall(r'"command": "(qwencoder\.\w+)"', package)
    named += re.findall(r"entry\(.*'(qwencoder\.\w+)'\)", sources)
    declared = {entry["command"] for entry in load(VSCODE / "package.json")["contributes"]["commands"]}
    assert set(named) == declared & set(named)


def test_vscode_walkthrough_pages_are_there_and_are_packed() -> None:
    steps = load(VSCODE / "package.json")["contributes"]["walkthroughs"][0]["steps"]
    assert all((VSCODE / step["media"]["markdown"]).is_file() for step in steps)
    assert "!media/*.md" in (VSCODE / ".vscodeignore").read_text("utf-8").splitlines()


def test_vscode_lockfile_fits_the_package_and_names_no_download_host() -> None:
    package, lock = load(VSCODE / "package.json"), load(VSCODE / "package-lock.json")
    root = lock["packages"][""]
    for key in ("version", "dependencies", "devDependencies"):
        assert root[key] == package[key]
    assert [name for name, entry in lock["packages"].items() if "resolved" in entry] == []
    assert [name for name, entry in lock["packages"].items() if name and "integrity" not in entry] == []


def test_helix_file_and_example_are_toml_with_our_command_and_settings_that_the_server_takes() -> None:
    languages = tomllib.loads((EDITORS / "helix/languages.toml").read_text("utf-8"))
    [extra] = (tomllib.loads(block) for block in code_blocks(EDITORS / "helix/README.md", "toml"))
    server = languages["language-server"]["qwencoder"]
    assert [server["command"], *server["args"]] == ["qwencoder-lsp", "--stdio"]
    assert repeated(row["name"] for row in languages["language"]) == []
    assert all(row["language-servers"][-1] == "qwencoder" for row in languages["language"])
    assert settings.load(editor=extra["language-server"]["qwencoder"]["config"], env={})[1] == []


@pytest.mark.parametrize("path", ["emacs/qwencoder.el", "emacs/init.el", "emacs/README.md"])
def test_emacs_lisp_has_balanced_parentheses(path: str) -> None:
    text = (EDITORS / path).read_text("utf-8")
    for block in [text] if path.endswith(".el") else code_blocks(EDITORS / path, "elisp"):
        code = re.sub(r'"(\\.|[^"\\])*"|;[^\n]*', "", block)
        assert code.count("(") == code.count(")")


def test_zed_file_asks_the_default_port_for_a_text_completion() -> None:
    predictions = load(EDITORS / "zed/settings.json")["edit_predictions"]
    own = predictions[predictions["provider"]]
    assert own["api_url"] == f"http://127.0.0.1:{settings.Gateway().port}/v1/completions"
    assert own.keys() == {"api_url", "model", "prompt_format", "max_output_tokens"}  # those of Zed's settings reference


def test_sublime_file_starts_our_command() -> None:
    text = (EDITORS / "sublime/LanguageServers.sublime-settings").read_text("utf-8")
    assert json.loads(text)["qwencoder"]["command"] == ["qwencoder-lsp", "--stdio"]


def test_vim_file_is_read_by_vim_without_an_error(tmp_path: Path) -> None:
    vim = shutil.which("vim")
    if vim is None:
        pytest.skip("vim is not installed.")
    script = tmp_path / "clients.vim"
    script.write_text("let g:lsp = []\nlet g:coc = {}\nfunction! LspAddServer(s)\n let g:lsp = a:s\nendfunction\n")
    coc = tmp_path / "autoload/coc.vim"
    coc.parent.mkdir()
    coc.write_text("function! coc#config(k, v)\n let g:coc[a:k] = a:v\nendfunction\n")
    out = tmp_path / "out.json"
    dump = f"call writefile([json_encode([g:lsp, g:coc, v:errmsg])], '{out}')"
    command = [
        vim,
        "-es",
        "-u",
        "NONE",
        "-i",
        "NONE",
        "-N",
        "--cmd",
        f"set rtp^={tmp_path}",
        "-S",
        str(script),
        "-S",
        str(EDITORS / "vim/qwencoder.vim"),
    ]
    run([*command, "-c", "let g:did_coc_loaded = 1 | doautocmd VimEnter | doautocmd User LspSetup", "-c", dump, "-c", "qa!"], timeout=60)
    [server], coc_settings, error = json.loads(out.read_text("utf-8"))
    assert error == ""
    assert [server["path"], *server["args"]] == ["qwencoder-lsp", "--stdio"]
    assert coc_settings["languageserver.qwencoder"]["command"] == "qwencoder-lsp"
    assert coc_settings["inlineSuggest.autoTrigger"] is True
