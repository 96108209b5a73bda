"""Files of the user's own as models with a name. In: a GGUF file. Out: a catalogue file in `models/` beside the user's settings that points at it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from qwencoder_lsp.errors import ModelError, RequestError
from qwencoder_lsp.models.catalogue import NAME, ModelEntry, load_catalogue, parse_model, user_directory
from qwencoder_lsp.models.store import resolve

_QUANTISATION = re.compile(r"(?:^|[-_.])((?:i?q\d\w*|b?f16|f32|mxfp4))(?=$|[-_.])", re.IGNORECASE)


def add(file: Path, name: str = "") -> ModelEntry:
    """Give the GGUF file a name (by default one made of its own), for completion and chat; the file stays where it is. Again is no error.

    Raises RequestError for a name that cannot be one or is another model's, or a path that TOML cannot hold; ModelMissing and ModelCorrupt for a file
    that is none; ModelError when that cannot be read or the catalogue file not written.
    """
    file = file.expanduser().absolute()
    name = name or re.sub(r"[^a-z0-9._]+", "-", file.stem.lower()).strip("._-")
    if not NAME.fullmatch(name):
        raise RequestError(f'"{name}" cannot be the name of a model.', "Use small letters, digits, dots, dashes and underscores: --name NAME")
    resolve(str(file))
    quantisation = found[1].upper() if (found := _QUANTISATION.search(file.stem)) else "GGUF"
    text = (
        f'name = "{name}"\ntitle = {_quoted(file.stem)}\nroles = ["completion", "chat"]\n\n'
        f"[[quantisations]]\nname = {_quoted(quantisation)}\nfiles = [{{ path = {_quoted(str(file))} }}]\n"
    )
    try:
        content = text.encode()
        [entry] = parse_model(text)
    except ValueError as error:  # a control character, or bytes that are no text
        raise RequestError(f"The path {str(file)!r} cannot be written into a catalogue file.", "Rename it.") from error
    taken = next((other for other in load_catalogue() if other.model == name), None)
    if taken == entry:
        return entry
    if taken:
        raise RequestError(
            f"There is another model named {name} already.", "Give this one a name of its own: qwencoder-lsp models add FILE --name NAME"
        )
    target = user_directory() / f"{name}.toml"
    part = target.with_name(f".{name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():  # one that is not read as it should be, or is read under another name
            raise FileExistsError(f"{target} is there")
        part.write_bytes(content)
        part.replace(target)
    except OSError as error:
        raise ModelError(f"{name} was not added: {error}.", f"Look at {user_directory()}.") from error
    return entry


def _quoted(text: str) -> str:
    """A basic TOML string; those of JSON are a subset."""
    return json.dumps(text, ensure_ascii=False)
