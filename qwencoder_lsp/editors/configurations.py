"""What each editor is given: the files, their texts with ours in them, and what the user does next. Nothing is written here.

In: how the server is started, and the texts that are there. Out: Plans. `setup.py` shows and writes them.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwencoder_lsp import paths
from qwencoder_lsp.editors import jsonc, places
from qwencoder_lsp.errors import RequestError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MARK = ">>> qwencoder-lsp"
"""Begins a block of ours in a file that is the user's; `<<< qwencoder-lsp` ends it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """For one editor: how each file's text becomes the one with ours in it (empty text: no such file), and what to tell the user."""

    files: dict[Path, Callable[[str], str]]
    then: str


def neovim(command: list[str]) -> Plan:
    """One file of ours, which names the plugin in this installation, so that both are upgraded together."""
    text = _filled("neovim/setup.lua", command, ", ")
    return Plan(
        {places.neovim() / "plugin/qwencoder_setup.lua": lambda _: text},
        "Start Neovim, open a file and type; Tab accepts. `:checkhealth qwencoder` names what is missing, `:help qwencoder` has the rest.",
    )


def emacs(command: list[str]) -> Plan:
    """A block at the end of the init file."""
    block = _block(";;", _filled("emacs/init.el", command, " "))
    return Plan(
        {places.emacs(): lambda text: _with_block(text, block)},
        "Restart Emacs. With lsp-mode 10 there is ghost text: C-<return> accepts. For eglot: (qwencoder-eglot '(python-mode python-ts-mode)).",
    )


def vim(command: list[str]) -> Plan:
    """One file of ours."""
    source = (places.shipped("vim") / "qwencoder.vim").read_text("utf-8")
    words = ", ".join("'" + word.replace("'", "''") + "'" for word in command)
    text = source.replace("['qwencoder-lsp', '--stdio']", f"[{words}]")
    return Plan(
        {places.vim() / "qwencoder.vim": lambda _: text},
        "It needs coc.nvim or yegappan/lsp. With coc.nvim, map a key: imap <Tab> <Plug>(qwencoder-accept)",
    )


def helix(command: list[str]) -> Plan:
    """Ours behind the servers of each language that Helix has and the models know."""
    wanted = tomllib.loads((places.shipped("helix") / "languages.toml").read_text("utf-8"))
    return Plan(
        {places.helix(): lambda text: _with_languages(text, wanted["language"], command)},
        "Restart Helix. Completions are in the menu, actions behind space a. `hx --health python` lists the server.",
    )


def zed(_: list[str]) -> Plan:
    """Edit predictions from the HTTP service."""
    wanted = json.loads((places.shipped("zed") / "settings.json").read_text("utf-8"))["edit_predictions"]

    def merged(text: str) -> str:
        for key, value in wanted.items():
            text = jsonc.put(text, ("edit_predictions", key), value)
        return text

    return Plan({places.zed(): merged}, "Zed asks the HTTP service: keep `qwencoder-lsp serve` running.")


def sublime(command: list[str]) -> Plan:
    """A server of the package LSP."""
    wanted = json.loads((places.shipped("sublime") / "LanguageServers.sublime-settings").read_text("utf-8"))["qwencoder"]
    wanted["command"] = command
    return Plan(
        {places.sublime() / "LanguageServers.sublime-settings": lambda text: jsonc.put(text, ("qwencoder",), wanted)},
        "It needs the package LSP, 2.13 or newer. Run `LSP: Restart Servers` from the command palette.",
    )


def vscode(command: list[str]) -> Plan:
    """Where the extension finds this server."""
    return Plan(
        {places.vscode(): lambda text: jsonc.put(text, ("qwencoder.command",), command)},
        "Install the extension: code --install-extension FILE.vsix (how to build the file: editors/vscode/README.md).",
    )


def jetbrains(command: list[str]) -> Plan:
    """The LSP4IJ template with this server's command, in a directory of ours from which the IDE imports it."""
    source, target = places.shipped("jetbrains") / "lsp4ij", paths.setup_dir() / "lsp4ij"
    files: dict[Path, Callable[[str], str]] = {}
    for file in sorted(source.iterdir()):
        text = file.read_text("utf-8")
        if file.name == "template.json":
            line = " ".join(f'"{word}"' if " " in word else word for word in command)
            text = json.dumps({**json.loads(text), "programArgs": {"default": line}}, indent=2, ensure_ascii=False) + "\n"
        files[target / file.name] = _always(text)
    return Plan(
        files,
        f"In the IDE, with the plugin LSP4IJ: Settings > Languages & Frameworks > Language Servers > + > Template > Import from custom template..., "
        f"and pick {target}",
    )


PLANS: dict[str, Callable[[list[str]], Plan]] = {
    "neovim": neovim,
    "vscode": vscode,
    "jetbrains": jetbrains,
    "emacs": emacs,
    "helix": helix,
    "zed": zed,
    "sublime": sublime,
    "vim": vim,
}


def _always(text: str) -> Callable[[str], str]:
    return lambda _: text


def _filled(name: str, command: list[str], separator: str) -> str:
    """A shipped file with the place of its directory and the command in it; strings of Lua and Emacs Lisp are written as JSON writes them."""
    file = places.shipped(name)
    words = separator.join(json.dumps(word, ensure_ascii=False) for word in command)
    return file.read_text("utf-8").replace("@FILES@", json.dumps(str(file.parent), ensure_ascii=False)[1:-1]).replace("@COMMAND@", words)


def _block(comment: str, text: str) -> str:
    return f"{comment} {MARK}: written by `qwencoder-lsp setup`, taken away by its --undo\n{text}{comment} {MARK.replace('>', '<')}\n"


def _with_block(text: str, block: str) -> str:
    own = re.compile(rf"^[^\n]*{re.escape(MARK)}.*?{re.escape(MARK.replace('>', '<'))}\n", re.DOTALL | re.MULTILINE)
    if own.search(text):
        return own.sub(lambda _: block, text, count=1)
    joint = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    return f"{text}{joint}{block}"


def _with_languages(text: str, wanted: list[dict[str, Any]], command: list[str]) -> str:
    """languages.toml with our server and its name in each language's list. Raises RequestError where that is not possible without harm."""
    tree = _toml(text)
    added = ""
    if "qwencoder" not in tree.get("language-server", {}):
        program, *arguments = (json.dumps(word, ensure_ascii=False) for word in command)
        added += f"\n[language-server.qwencoder]\ncommand = {program}\nargs = [{', '.join(arguments)}]\n"
    present = {row["name"]: row for row in tree.get("language", [])}
    for row in wanted:
        if row["name"] not in present:
            added += f'\n[[language]]\nname = "{row["name"]}"\nlanguage-servers = {json.dumps(row["language-servers"])}\n'
        elif "qwencoder" not in _names(present[row["name"]].get("language-servers", [])):
            text = _with_server(text, row)
    joint = "" if not text or text.endswith("\n") else "\n"
    result = f"{text}{joint}{added}" if text else added.lstrip("\n")
    now = {row["name"]: row for row in _toml(result).get("language", [])}
    if missing := [row["name"] for row in wanted if "qwencoder" not in _names(now[row["name"]].get("language-servers", []))]:
        raise RequestError(
            f"The languages {', '.join(missing)} in it have a form that is not changed for you.", 'Add "qwencoder" to their language-servers.'
        )
    return result


def _with_server(text: str, row: dict[str, Any]) -> str:
    """The text with our server last in the list of a language that the user has configured; without a list, the one that Helix has."""
    start = re.search(rf'^\[\[language\]\]\s*\n(?:(?!\[).*\n)*?name\s*=\s*"{re.escape(row["name"])}"[^\n]*\n?', text, re.MULTILINE)
    if start is None:
        return text
    end = re.compile(r"^\[", re.MULTILINE).search(text, start.end())
    body = text[start.start() : end.start() if end else len(text)]
    listed = re.compile(r"^(language-servers\s*=\s*\[)([^\]]*?)(,?\s*\])", re.MULTILINE)
    if listed.search(body):
        changed = listed.sub(lambda m: f'{m[1]}{m[2]}{", " if m[2].strip() else ""}"qwencoder"{m[3]}', body, count=1)
    else:
        head = start.end() - start.start()
        line = f"language-servers = {json.dumps(row['language-servers'])}\n"
        changed = body[:head] + ("" if body[:head].endswith("\n") else "\n") + line + body[head:]
    return text[: start.start()] + changed + text[start.start() + len(body) :]


def _names(servers: list[Any]) -> list[str]:
    return [server if isinstance(server, str) else server["name"] for server in servers]


def _toml(text: str) -> dict[str, Any]:
    try:
        tree: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RequestError(f"It is not TOML ({error}).", "Correct it, then try again.") from error
    return tree
