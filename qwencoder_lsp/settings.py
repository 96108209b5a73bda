"""The settings tree: one typed field per setting, each with a sentence and a scope.

Order of precedence: command line > editor (initializationOptions, workspace/configuration) > QWENCODER_* > project file > user file > default.
A bad value from an editor is reported and keeps its default; on the command line it raises SettingsError.

Who may set a field is its scope. "project": also the project's `.qwencoder.toml`, and what the editor says for one workspace folder. "user": the
editor, for all folders. "machine": only the user's own file, the environment and the command line, because many editors let a project's files
fill in what they send to us, and we cannot see whose word it is: addresses, keys, and what is trusted. A model's file counts as such too; an
editor may name a model of the catalogue.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.config import JsonDict

from qwencoder_lsp import paths
from qwencoder_lsp.errors import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT_FILE = ".qwencoder.toml"
LARGEST = {"user": 256 << 10, "project": 8 << 10}  # bytes of a file; reading 256 KB that are made to be slow takes tomllib minutes
MACHINE: JsonDict = {"scope": "machine"}
USER: JsonDict = {"scope": "user"}
PROJECT: JsonDict = {"scope": "project"}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Completion(_Section):
    """Inline completion and completion items."""

    enabled: bool = Field(True, description="Offer completions at all.", json_schema_extra=PROJECT)
    automatic: bool = Field(True, description="Offer ghost text while typing; when off, only on explicit request.", json_schema_extra=PROJECT)
    items: bool = Field(True, description="Also offer an AI entry in the completion menu.", json_schema_extra=PROJECT)
    debounce_ms: int = Field(
        75,
        ge=0,
        le=5000,
        description="Wait this long after a keystroke before computing; less where the model answers fast, more where it is slow.",
        json_schema_extra=USER,
    )
    max_tokens: int = Field(96, ge=1, le=1024, description="Longest suggestion, in tokens.", json_schema_extra=PROJECT)
    max_lines: int = Field(12, ge=1, le=200, description="Longest suggestion, in lines.", json_schema_extra=PROJECT)
    max_prefix: int | None = Field(
        None, ge=16, le=32768, description="Tokens before the cursor; empty: chosen by the machine's speed.", json_schema_extra=USER
    )
    max_suffix: int | None = Field(
        None, ge=0, le=8192, description="Tokens after the cursor; empty: chosen by the machine's speed.", json_schema_extra=USER
    )
    candidates: int = Field(3, ge=1, le=8, description="Most suggestions to choose from on explicit request.", json_schema_extra=PROJECT)
    ahead: bool = Field(True, description="While a suggestion is shown, prepare what comes behind it.", json_schema_extra=PROJECT)
    ahead_on_battery: bool = Field(False, description="Prepare ahead on battery power too.", json_schema_extra=USER)
    eagerness: str = Field(
        "balanced",
        pattern="^(quiet|balanced|eager)$",
        description="How sure the model must be before something is shown, and of each further line of it: quiet, balanced or eager.",
        json_schema_extra=PROJECT,
    )
    languages_off: tuple[str, ...] = Field((), description="LSP language ids without completion.", json_schema_extra=PROJECT)
    paths_off: tuple[str, ...] = Field((), description="Glob patterns of paths in the workspace without completion.", json_schema_extra=PROJECT)


class Index(_Section):
    """The index of the workspace's folders."""

    enabled: bool = Field(True, description="Index the workspace folders, for completions that know other files.", json_schema_extra=PROJECT)
    snippet_tokens: int = Field(
        512, ge=0, le=16384, description="Most tokens of other files in a completion's prompt; 0: none.", json_schema_extra=PROJECT
    )


class Review(_Section):
    """Review and fixes."""

    on_save: bool = Field(False, description="Review a file each time it is saved.", json_schema_extra=PROJECT)
    max_findings: int = Field(10, ge=1, le=100, description="Most findings shown per file.", json_schema_extra=PROJECT)
    max_tokens: int = Field(1024, ge=64, le=8192, description="Longest review or fix answer, in tokens.", json_schema_extra=USER)
    preview: bool = Field(
        False, description="Have the editor show each edit of a code action for confirmation, where it can.", json_schema_extra=PROJECT
    )
    lenses: bool = Field(False, description="Show explain, test and document above each function.", json_schema_extra=PROJECT)


class Prompts(_Section):
    """Instruction prompts: `prompts/NAME.toml` in the user's settings directory takes the place of ours."""

    trusted: tuple[str, ...] = Field(
        (), description="Workspace folders whose own prompts, .qwencoder/prompts/NAME.toml, are used.", json_schema_extra=MACHINE
    )


class Model(_Section):
    """Which model answers."""

    completion: str = Field(
        "auto",
        description='Model for completion: a catalogue name, the path of a GGUF file, "remote" for that of remote.url, or "auto".',
        json_schema_extra=USER,
    )
    chat: str = Field("auto", description='Model for review, fixes and chat: a name, a path, "remote" or "auto".', json_schema_extra=USER)
    draft: str = Field(
        "",
        description="Small model of the same family that writes ahead for one at least twice as large, which then answers faster: a name or a path; "
        "empty: none.",
        json_schema_extra=USER,
    )
    completion_adapter: str = Field(
        "", description="LoRA adapter for completion: an installed one's name or a GGUF file, and :SCALE where it is not 1.", json_schema_extra=USER
    )
    chat_adapter: str = Field(
        "", description="LoRA adapter for review, fixes and chat: the same; each is for the model of its role.", json_schema_extra=USER
    )

    @field_validator("completion", "chat", "draft", "completion_adapter", "chat_adapter")
    @classmethod
    def _file(cls, value: str) -> str:
        """A file is meant as seen from here; the gateway runs in another directory."""
        return str(Path(value).expanduser().absolute()) if _is_file(value) else value


class Engine(_Section):
    """How models are run."""

    threads: int | None = Field(None, ge=1, le=512, description="CPU threads; empty: the physical cores.", json_schema_extra=USER)
    gpu_layers: int = Field(-1, ge=-1, description="Layers offloaded to the GPU when the build has one; -1: all, 0: none.", json_schema_extra=USER)
    context: int = Field(8192, ge=512, le=262144, description="Context size for completions, in tokens.", json_schema_extra=USER)
    max_context: int | None = Field(
        None, ge=512, le=1048576, description="Longest prompt with its answer, in tokens; empty: what model and memory allow.", json_schema_extra=USER
    )
    memory_mb: int | None = Field(
        None, ge=256, description="Memory for all loaded models, in MB; empty: three quarters of the machine's.", json_schema_extra=USER
    )
    cache_mb: int | None = Field(
        None,
        ge=0,
        description="Memory for computed prefixes per model, in MB; empty: 1/16 of the machine's, at most 0.4 of the model's size, 256 to 4096.",
        json_schema_extra=USER,
    )
    saved_mb: int = Field(
        1024, ge=0, description="Disk for computed prefixes, so that a restart is warm, in MB; 0: nothing is saved.", json_schema_extra=USER
    )
    saved_days: float = Field(14.0, gt=0, le=3650, description="Delete saved prefixes that were not used for so many days.", json_schema_extra=USER)
    idle_unload_s: float = Field(600.0, ge=1, description="Unload a model after this many seconds without a request.", json_schema_extra=USER)


class Gateway(_Section):
    """The shared background process."""

    linger_s: float = Field(
        5.0, ge=0, le=86400, description="Seconds that the gateway stays after its last window has closed.", json_schema_extra=USER
    )
    url: str = Field(
        "",
        pattern="^(https?://[^\\s/]+.*)?$",
        description="URL of a team's gateway that answers instead of one on this machine; empty: none.",
        json_schema_extra=MACHINE,
    )
    url_key_file: str = Field("", description="File with your key for it, unless QWENCODER_GATEWAY_KEY holds it.", json_schema_extra=MACHINE)
    host: str = Field(
        "127.0.0.1", description="Address for `qwencoder-lsp serve`; any but a loopback address needs API keys.", json_schema_extra=MACHINE
    )
    port: int = Field(11452, ge=0, le=65535, description="TCP port for `qwencoder-lsp serve`.", json_schema_extra=MACHINE)
    ollama_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Second TCP port for clients that look for Ollama, whose own is 11434; empty: none.",
        json_schema_extra=MACHINE,
    )
    key_file: str = Field(
        "",
        description="File with API keys, one per line; empty: `api-keys` beside the settings file. Those in QWENCODER_API_KEYS count too.",
        json_schema_extra=MACHINE,
    )
    key_concurrency: int = Field(
        32, ge=0, description="Requests that one API key may have running at once; 0: any number.", json_schema_extra=MACHINE
    )
    key_rate: int = Field(0, ge=0, description="Requests per minute of one API key; 0: any number.", json_schema_extra=MACHINE)
    max_body_mb: int = Field(32, ge=1, le=1024, description="Largest body of an HTTP request, in MB.", json_schema_extra=MACHINE)

    @field_validator("key_file", "url_key_file")
    @classmethod
    def _file(cls, value: str) -> str:
        return str(Path(value).expanduser().absolute()) if value else value


class Remote(_Section):
    """A server elsewhere that runs the model."""

    url: str = Field(
        "",
        pattern="^(https?://[^\\s/]+.*)?$",
        description="URL of a vLLM, SGLang, llama-server or Ollama that answers instead of a model on this machine; empty: none.",
        json_schema_extra=MACHINE,
    )
    model: str = Field("", description="Name of the model there; empty: its first one.", json_schema_extra=MACHINE)
    key_file: str = Field("", description="File with the key for that server, unless QWENCODER_REMOTE_KEY holds it.", json_schema_extra=MACHINE)

    @field_validator("key_file")
    @classmethod
    def _file(cls, value: str) -> str:
        return str(Path(value).expanduser().absolute()) if value else value


class History(_Section):
    """The history of requests behind the dashboard: numbers and outcomes, never text."""

    enabled: bool = Field(True, description="Keep the history on disk; when off, in memory until the gateway ends.", json_schema_extra=USER)
    days: int = Field(30, ge=1, le=3650, description="Forget what is older than this many days.", json_schema_extra=USER)
    max_mb: int = Field(64, ge=1, le=4096, description="Forget the oldest when the history takes more than this, in MB.", json_schema_extra=USER)


class Log(_Section):
    """Logging. Source text is never logged at INFO or above, and saved only where `save_traces` says so."""

    level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="DEBUG, INFO, WARNING or ERROR.", json_schema_extra=USER)
    save_traces: bool = Field(False, description="Save how completions were made, with source text, in a private directory.", json_schema_extra=USER)


class Settings(_Section):
    """All settings."""

    completion: Completion = Field(default_factory=Completion)
    index: Index = Field(default_factory=Index)
    review: Review = Field(default_factory=Review)
    prompts: Prompts = Field(default_factory=Prompts)
    model: Model = Field(default_factory=Model)
    engine: Engine = Field(default_factory=Engine)
    gateway: Gateway = Field(default_factory=Gateway)
    history: History = Field(default_factory=History)
    remote: Remote = Field(default_factory=Remote)
    log: Log = Field(default_factory=Log)


ENV_ALIASES = {
    "QWENCODER_MODEL": (("model", "completion"), ("model", "chat")),
    "QWENCODER_HOST": (("gateway", "host"),),
    "QWENCODER_PORT": (("gateway", "port"),),
    "QWENCODER_LOG": (("log", "level"),),
}
KEYS = frozenset({"QWENCODER_REMOTE_KEY", "QWENCODER_GATEWAY_KEY"})  # of servers elsewhere
ENV_OTHER = {"QWENCODER_HOME", "QWENCODER_SCRIPT", "QWENCODER_API_KEYS", *KEYS}  # read by paths.py, the scripted engine and `serve`


MAY_SET = {"project": {"project"}, "editor": {"project", "user"}, "user": {"project", "user", "machine"}}  # source -> scopes


def load(
    editor: dict[str, Any] | None = None,
    root: Path | None = None,
    env: dict[str, str] | None = None,
    strict: bool = False,
    folder: dict[str, Any] | None = None,
    command_line: dict[str, Any] | None = None,
) -> tuple[Settings, list[str]]:
    """The settings from all sources, and one sentence for each value that was refused (it keeps the next source's value).

    editor: what the editor sent, nested or with dotted keys, names in snake_case or camelCase. root: the workspace folder.
    folder: what the editor says for that folder, in the same form; it may repeat what `editor` says, and otherwise set what a project may.
    strict: raise SettingsError on the first refused value instead.
    """
    problems: list[str] = []
    merged: dict[str, dict[str, Any]] = {}
    sent = _flatten(editor or {})
    own = {key: value for key, value in _flatten(folder or {}).items() if key not in sent or value != sent[key]}
    for source, leaves, may in (
        _file(paths.config_file(), "user", problems),
        _file(root / PROJECT_FILE, "project", problems) if root else ("", {}, ""),
        ("environment", _environment(dict(os.environ) if env is None else env, problems), "user"),
        ("editor", sent, "editor"),
        ("editor, for this folder", own, "project"),
        ("command line", _flatten(command_line or {}), "user"),
    ):
        for (section, field), value in leaves.items():
            problem = _refusal(section, field, value, may)
            if problem:
                problems.append(f"{source}: {problem}")
            else:
                merged.setdefault(section, {})[field] = value
    if strict and problems:
        raise SettingsError(problems[0], "Correct it, or remove it to use the default.")
    return Settings.model_validate(merged), problems


def _file(path: Path, may: str, problems: list[str]) -> tuple[str, dict[tuple[str, str], Any], str]:
    try:
        return str(path), _flatten(tomllib.loads(_read(path, LARGEST[may]).decode())), may
    except FileNotFoundError:
        pass
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        problems.append(f"{path}: cannot be read ({error}); its settings are ignored.")
    return str(path), {}, may


def _read(path: Path, largest: int) -> bytes:
    """A plain file of sensible size. Raises OSError; what might never end, a device or a pipe, is not read."""
    with open(path, "rb", opener=_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError("it is not a file")
        data = file.read(largest + 1)
    if len(data) > largest:
        raise OSError(f"it is larger than {largest >> 10} KB")
    return data


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _is_file(model: str) -> bool:
    return "/" in model or os.sep in model or ".gguf" in model.lower()  # an adapter's scale may follow


def _flatten(tree: dict[str, Any]) -> dict[tuple[str, str], Any]:
    leaves: dict[tuple[str, str], Any] = {}
    for key, value in tree.items():
        section, _, field = _snake(key).partition(".")
        if field:
            leaves[section, field] = value
        elif isinstance(value, dict):
            leaves.update({(section, _snake(name)): v for name, v in value.items()})
        else:
            leaves[section, ""] = value
    return leaves


def _snake(name: str) -> str:
    return "".join("_" + c.lower() if c.isupper() else c for c in name)


def _environment(env: dict[str, str], problems: list[str]) -> dict[tuple[str, str], Any]:
    names = dict(ENV_ALIASES)
    for section, info in Settings.model_fields.items():
        assert isinstance(info.annotation, type)
        for field in info.annotation.model_fields:
            names[f"QWENCODER_{section}_{field}".upper()] = ((section, field),)
    leaves: dict[tuple[str, str], Any] = {}
    for name in sorted(n for n in env if n.startswith("QWENCODER_") and n not in ENV_OTHER):
        if name in names:
            leaves.update({target: _parse(env[name]) for target in names[name]})
        else:
            problems.append(f"environment: {name} is not a setting.")
    return leaves


def _parse(text: str) -> Any:
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text


def _refusal(section: str, field: str, value: Any, may: str) -> str:
    """Why this value cannot be taken from a source of that kind, or an empty string."""
    info = Settings.model_fields.get(section)
    if info is None or not field:
        return f"{_short(section)} is not a settings section (there are: {', '.join(Settings.model_fields)})."
    cls = info.annotation
    assert isinstance(cls, type) and issubclass(cls, _Section)
    if field not in cls.model_fields:
        return f"{section}.{_short(field)} is not a setting (in {section}: {', '.join(cls.model_fields)})."
    extra = cls.model_fields[field].json_schema_extra
    assert isinstance(extra, dict)
    if extra["scope"] not in MAY_SET[may]:
        whose = "a project" if may == "project" else "an editor"
        return f"{section}.{field} may not be set by {whose}; it belongs in {paths.config_file()}."
    if may == "editor" and section == "model" and isinstance(value, str) and _is_file(value):
        return f"{section}.{field}: an editor may name a model, but its file belongs in {paths.config_file()}."
    try:
        cls.model_validate({field: value})
    except ValidationError as error:
        return f"{section}.{field} = {_short(repr(value))}: {error.errors()[0]['msg']}."
    return ""


def _short(text: str) -> str:
    """What a file or an editor says may be long, and hold anything."""
    shown = "".join(c if c.isprintable() else "?" for c in text)
    return shown if len(shown) <= 80 else f"{shown[:80]}..."
