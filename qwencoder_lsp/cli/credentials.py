"""credentials create, list, revoke: the keys that the HTTP service asks for."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from qwencoder_lsp.cli.options import Json, settings
from qwencoder_lsp.errors import NotApplicable
from qwencoder_lsp.operate import keys, record

Name = Annotated[str, typer.Argument(help="Who has the key: letters, digits, and . _ - @")]


def create(name: Name, as_json: Json = False) -> None:
    """Make a key and print it: it is shown this once, the file holds its hash. From the first key on, each request needs one."""
    path = keys.key_file(settings())
    key = keys.create(path, name)
    print(json.dumps({"name": name, "key": key, "file": str(path)}) if as_json else key)
    _remark()


def list_keys(as_json: Json = False) -> None:
    """Show names, ids and times of the keys, not the keys. Exit code 2 when there are none."""
    path = keys.key_file(settings())
    found = keys.credentials(path)
    if as_json:
        print(json.dumps([asdict(credential) for credential in found]))
    if not found:
        raise NotApplicable(
            f"There are no keys in {path}.", "Whoever reaches the service may use it; make one: qwencoder-lsp credentials create NAME"
        )
    if not as_json:
        print("\n".join(f"{c.id}  {c.created or 'written by hand':25}  {c.name}" for c in found))


def revoke(name: Annotated[str, typer.Argument(help="The key's name or id.")], as_json: Json = False) -> None:
    """Take a key away. Exit code 2 when there is none of that name."""
    path = keys.key_file(settings())
    if not keys.revoke(path, name):
        raise NotApplicable(f"There is no key {name} in {path}.", "See: qwencoder-lsp credentials list")
    left = len(keys.credentials(path))
    print(json.dumps({"result": "revoked", "name": name, "left": left}) if as_json else f"The key {name} is revoked; {left} are left.")
    _remark()


def _remark() -> None:
    if record.lives():
        print("The running service has its keys since its start: qwencoder-lsp manage restart", file=sys.stderr)
