"""The settings tree as documentation: the README table, the VS Code configuration block and the JSON schema for JetBrains.

In: `settings.Settings`. Out: Markdown text and JSON-ready dicts; `--write` puts them into a source checkout. It knows no values, only fields.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwencoder_lsp.errors import SettingsError
from qwencoder_lsp.settings import Settings

MARKERS = ("<!-- settings -->", "<!-- /settings -->")
PREFIX = "qwencoder"

WHO = {"machine": "file", "user": "editor", "project": "project"}

# The client reads these two itself, per document, so a `[python]` block can override them.
PER_LANGUAGE = {"completion.enabled", "completion.automatic"}

# Settings of the extension, not of the server.
EXTENSION_ONLY: dict[str, dict[str, Any]] = {
    f"{PREFIX}.command": {
        "type": ["array", "null"],
        "items": {"type": "string"},
        "minItems": 1,
        "default": None,
        "description": "The command that starts the language server, and its arguments; empty: the server that the extension has installed, "
        "else qwencoder-lsp of the PATH.",
        "scope": "machine",
    },
    f"{PREFIX}.package": {
        "type": "string",
        "default": "qwencoder-lsp",
        "description": "What pip installs as the language server: a requirement, a URL, or the path of a wheel or of a clone of the repository.",
        "scope": "machine",
    },
}


@dataclass(frozen=True, slots=True)
class SettingField:
    """One setting. schema: its JSON schema without default and description; scope: "machine", "user" or "project"."""

    section: str
    name: str
    scope: str
    default: Any
    description: str
    schema: dict[str, Any]

    @property
    def key(self) -> str:
        """The dotted name used in settings files: `section.field_name`."""
        return f"{self.section}.{self.name}"

    @property
    def camel_key(self) -> str:
        """The dotted name used in editors: `section.fieldName`."""
        return f"{self.section}." + re.sub(r"_(\w)", lambda m: m[1].upper(), self.name)


def fields() -> Iterator[SettingField]:
    """All settings in the order of the tree."""
    for section, defaults in Settings():
        for name, raw in defaults.model_json_schema()["properties"].items():
            schema = {key: value for key, value in raw.items() if key not in {"title", "default", "description", "scope"}}
            yield SettingField(section, name, raw["scope"], raw["default"], raw["description"], _flat(schema))


def for_editors() -> Iterator[SettingField]:
    """Those that an editor may set."""
    return (field for field in fields() if field.scope != "machine")


def readme_table() -> str:
    """The settings as a Markdown table, one row per setting."""
    rows = ["| Setting | Default | Who may set it | Meaning |", "| --- | --- | --- | --- |"]
    for field in fields():
        default = "not set" if field.default is None else f"`{json.dumps(field.default)}`"
        rows.append(f"| `{field.key}` | {default} | {WHO[field.scope]} | {field.description.replace('|', chr(92) + '|')} |")
    return "\n".join(rows)


def vscode_properties() -> dict[str, dict[str, Any]]:
    """`contributes.configuration.properties` of the VS Code extension.

    A workspace is a project: what a project may not set has scope "machine", which VS Code does not read from workspace settings
    (https://code.visualstudio.com/api/references/contribution-points#Configuration-property-schema).
    """
    return dict(EXTENSION_ONLY) | {
        f"{PREFIX}.{field.camel_key}": {
            **field.schema,
            "default": field.default,
            "description": field.description,
            "scope": "machine" if field.scope == "user" else "language-overridable" if field.key in PER_LANGUAGE else "resource",
        }
        for field in for_editors()
    }


def settings_schema() -> dict[str, Any]:
    """`settings.schema.json` of the LSP4IJ template: the keys as a user writes them there."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "LSP4IJ/qwencoder-lsp/settings.schema.json",
        "title": "Settings of qwencoder-lsp",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            f"{PREFIX}.{field.camel_key}": {**field.schema, "default": field.default, "description": field.description} for field in for_editors()
        },
    }


def with_table(readme: str) -> str:
    """The README text with the table between the markers replaced. Raises SettingsError when the markers are missing."""
    begin, end = (readme.find(marker) for marker in MARKERS)
    if not 0 <= begin < end:
        raise SettingsError(f"The README lacks the markers {MARKERS[0]} and {MARKERS[1]}.", "Put both in, each on a line of its own.")
    return f"{readme[: begin + len(MARKERS[0])]}\n{readme_table()}\n{readme[end:]}"


def with_properties(package: str) -> str:
    """The text of the extension's package.json with its configuration block, and what an untrusted workspace may not set, replaced."""
    tree = json.loads(package)
    tree["contributes"]["configuration"]["properties"] = vscode_properties()
    tree["capabilities"]["untrustedWorkspaces"]["restrictedConfigurations"] = list(EXTENSION_ONLY)
    return _json(tree)


def main() -> None:
    """Print the table, or with `--write` update the documents of the checkout that holds this file."""
    parser = argparse.ArgumentParser(prog="python -m qwencoder_lsp.settings_docs", description=__doc__)
    parser.add_argument("--write", action="store_true", help="update README.md and the files under editors/")
    if not parser.parse_args().write:
        print(readme_table())
        return
    root = Path(__file__).parents[1]
    (root / "editors/jetbrains/lsp4ij/settings.schema.json").write_text(_json(settings_schema()), "utf-8")
    for path, update in ((root / "editors/vscode/package.json", with_properties), (root / "README.md", with_table)):
        path.write_text(update(path.read_text("utf-8")), "utf-8")


def _json(tree: dict[str, Any]) -> str:
    return json.dumps(tree, indent=2, ensure_ascii=False) + "\n"


def _flat(schema: dict[str, Any]) -> dict[str, Any]:
    """`anyOf: [X, null]` as X with type [X, "null"], the form that settings editors show as a plain input."""
    if "anyOf" not in schema:
        return schema
    (real,) = (option for option in schema["anyOf"] if option != {"type": "null"})
    return {**real, "type": [real["type"], "null"]}


if __name__ == "__main__":
    main()
