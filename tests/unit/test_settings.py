"""Who may set what: attacks by a project's files, and by what an editor passes on of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from qwencoder_lsp import settings
from qwencoder_lsp.errors import SettingsError
from qwencoder_lsp.settings_docs import SettingField, fields

ALL = {field.key: field for field in fields()}
NOT_PROJECT = [key for key, field in ALL.items() if field.scope != "project"]
MACHINE = [key for key, field in ALL.items() if field.scope == "machine"]
USER = [key for key, field in ALL.items() if field.scope == "user"]
OTHER: dict[str, Any] = {
    "gateway.host": "0.0.0.0",
    "gateway.key_file": "/srv/keys",
    "model.completion": "qwencoder-0.5b",
    "model.chat": "qwencoder-0.5b",
}


def another(field: SettingField) -> Any:
    """A value that is valid and not the default."""
    if field.key in OTHER:
        return OTHER[field.key]
    if isinstance(field.default, bool):
        return not field.default
    if field.key == "log.level":
        return "DEBUG"
    if field.key.endswith("url"):
        return "https://hostile.example"
    if isinstance(field.default, str):
        return "/srv/hostile" if "key_file" in field.key else "hostile"
    if isinstance(field.default, list | tuple):
        return ["/srv/hostile"]
    numbers = field.schema.get("minimum", 1), field.schema.get("maximum", 1000)
    return next(number for number in (*numbers, 2) if number != field.default)


def toml(key: str, value: Any) -> str:
    section, _, name = key.partition(".")
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    return f"[{section}]\n{name} = {shown}\n"


@pytest.fixture
def project(home: Path, tmp_path: Path) -> Path:
    return tmp_path


def test_addresses_keys_paths_and_trust_are_of_the_machine_and_the_model_is_no_projects() -> None:
    assert {"gateway.host", "gateway.port", "gateway.key_file", "prompts.trusted"} <= set(MACHINE)
    assert {"model.completion", "model.chat", "engine.gpu_layers", "log.save_traces"} <= set(NOT_PROJECT)
    for key, field in ALL.items():
        if field.scope != "machine":
            said = [word for word in ("host", "url", "port", "key", "file", "command", "trusted") if word in key]
            assert not said, f"{key}: is an editor's word for it enough?"


@pytest.mark.parametrize("key", NOT_PROJECT)
def test_a_projects_file_cannot_set_it(project: Path, key: str) -> None:
    (project / ".qwencoder.toml").write_text(toml(key, another(ALL[key])))
    loaded, problems = settings.load(root=project, env={})
    assert loaded == settings.Settings()
    assert [f"{key} may not be set by a project" in problem for problem in problems] == [True]


@pytest.mark.parametrize("key", NOT_PROJECT)
@pytest.mark.parametrize("camel", [True, False])
def test_an_editor_cannot_set_it_for_one_folder_as_its_project_settings_would(project: Path, key: str, camel: bool) -> None:
    sent = {ALL[key].camel_key if camel else key: another(ALL[key])}
    loaded, problems = settings.load(folder=sent, root=project, env={})
    assert loaded == settings.Settings()
    assert f"{key} may not be set by a project" in problems[0]


@pytest.mark.parametrize("key", MACHINE)
@pytest.mark.parametrize("nested", [True, False])
def test_an_editor_cannot_set_what_is_of_the_machine(home: Path, key: str, nested: bool) -> None:
    section, _, name = key.partition(".")
    value = another(ALL[key])
    loaded, problems = settings.load(editor={section: {name: value}} if nested else {key: value}, env={})
    assert loaded == settings.Settings()
    assert f"{key} may not be set by an editor" in problems[0]


@pytest.mark.parametrize("key", NOT_PROJECT)
def test_the_users_file_and_the_command_line_can_set_it(home: Path, key: str) -> None:
    value = another(ALL[key])
    section, _, name = key.partition(".")
    for loaded, problems in (settings.load(command_line={section: {name: value}}, env={}), _with_user_file(home, toml(key, value))):
        assert problems == []
        assert loaded != settings.Settings()


def _with_user_file(home: Path, text: str) -> tuple[settings.Settings, list[str]]:
    (home / "config").mkdir()
    (home / "config" / "settings.toml").write_text(text)
    return settings.load(env={})


@pytest.mark.parametrize("key", USER)
def test_an_editor_can_set_it_for_all_folders_and_repeat_it_for_each(project: Path, key: str) -> None:
    sent = {key: another(ALL[key])}
    loaded, problems = settings.load(editor=sent, folder=sent, root=project, env={})
    assert problems == []
    assert loaded != settings.Settings()


@pytest.mark.parametrize("file", ["evil.gguf", "./evil", "/srv/project/evil.GGUF", "~/evil.gguf", "sub/evil"])
def test_an_editor_cannot_choose_a_models_file(home: Path, file: str) -> None:
    for role in ("completion", "chat"):
        loaded, problems = settings.load(editor={"model": {role: file}}, env={})
        assert loaded == settings.Settings()
        assert "its file belongs in" in problems[0]


def test_a_project_and_an_editor_cannot_take_back_what_the_user_said(project: Path) -> None:
    hostile = "".join(toml(key, another(ALL[key])) for key in ("model.chat", "gateway.host", "prompts.trusted"))
    (project / ".qwencoder.toml").write_text(hostile)
    env = {"QWENCODER_MODEL": "qwencoder-1.5b", "QWENCODER_PORT": "1234"}
    loaded, _ = settings.load(root=project, env=env, editor={"gateway.port": 1}, folder={"model.chat": "x"})
    assert (loaded.model.chat, loaded.gateway.port, loaded.gateway.host, loaded.prompts.trusted) == ("qwencoder-1.5b", 1234, "127.0.0.1", ())


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no /dev/zero here")
def test_a_link_to_an_endless_device_is_not_read(project: Path) -> None:
    (project / ".qwencoder.toml").symlink_to("/dev/zero")
    _, problems = settings.load(root=project, env={})
    assert "it is not a file" in problems[0]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_is_not_waited_for(project: Path) -> None:
    os.mkfifo(project / ".qwencoder.toml")
    _, problems = settings.load(root=project, env={})
    assert "it is not a file" in problems[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"# " + bytes(range(32, 120)) * 100, "larger than 8 KB"),
        (b"a = " + b"[" * 8_000, "cannot be read"),
        (b"a" + b".a" * 4_000 + b" = 1", "a is not a settings section"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"model = 5\n", "model is not a settings section"),
        (b'"\\u001b[2J" = 1\n', "?[2_j is not a settings section"),
    ],
)
def test_a_file_that_is_made_to_hurt_is_refused_in_one_sentence(project: Path, content: bytes, said: str) -> None:
    (project / ".qwencoder.toml").write_bytes(content)
    loaded, problems = settings.load(root=project, env={})
    assert loaded == settings.Settings()
    assert said in problems[0]
    assert all(len(problem) < 500 and problem.isprintable() for problem in problems)


def test_long_values_and_names_are_cut_in_what_is_reported(project: Path) -> None:
    (project / ".qwencoder.toml").write_text(f"[completion]\nmax_lines = '{'x' * 3_000}'\n{'y' * 3_000} = 1\n")
    _, problems = settings.load(root=project, env={})
    assert len(problems) == 2
    assert all(len(problem) < 600 for problem in problems)


def test_strict_loading_names_the_first_wrong_value(home: Path) -> None:
    with pytest.raises(SettingsError, match=r"command line: gateway\.port"):
        settings.load(command_line={"gateway": {"port": 70_000}}, env={}, strict=True)
