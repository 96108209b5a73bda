"""Files of the user's own as models with a name. In: a GGUF file. Out: a catalogue file in `models/` beside the user's settings that points at it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from qwencoder_lsp.errors import ModelCorrupt, ModelError, ModelMissing, RequestError
from qwencoder_lsp.models.catalogue import NAME, ModelEntry, load_catalogue, parse_model, user_directory
from qwencoder_lsp.models.store import GGUF_MAGIC

_QUANTISATION = re.compile(r"(?:^|[-_.])((?:i?q\d\w*|b?f16|f32|mxfp4))(?=$|[-_.])", re.IGNORECASE)


def add(file: Path, name: str = "") -> ModelEntry:
    """Give the GGUF file a name (by default one made of its own), for completion and chat; the file stays where it is. Again is no error.

    Raises RequestError for a name that cannot be one or is another model's, ModelMissing and ModelCorrupt for a file that is none, ModelError when
    the catalogue file cannot be written.
    """
    file = file.expanduser().absolute()
    name = name or re.sub(r"[^a-z0-9._]+", "-", file.stem.lower()).strip("._-")
    if not NAME.fullmatch(name):
        raise RequestError(f'"{name}" cannot be the name of a model.', "Use small letters, digits, dots, dashes and underscores: --name NAME")
    _check(file)
    quantisation = found[1].upper() if (found := _QUANTISATION.search(file.stem)) else "GGUF"
    text = (
        f'name = "{name}"\ntitle = {_quoted(file.stem)}\nroles = ["completion", "chat"]\n\n'
        f"[[quantisations]]\nname = {_quoted(quantisation)}\nfiles = [{{ path = {_quoted(str(file))} }}]\n"
    )
    [entry] = parse_model(text)
    taken = next((other for other in load_catalogue() if other.model == name), None)
    if taken == entry:
        return entry
    if taken:
        raise RequestError(f"There is another model named {name} already.", "Give this one a name of its own: --name NAME")
    try:
        user_directory().mkdir(parents=True, exist_ok=True)
        with (user_directory() / f"{name}.toml").open("x", encoding="utf-8") as target:
            target.write(text)
    except (OSError, UnicodeEncodeError) as error:
        raise ModelError(f"{name} was not added: {error}.", f"Look at {user_directory()}.") from error
    return entry


def _check(file: Path) -> None:
    try:
        with file.open("rb") as stream:
            magic = stream.read(len(GGUF_MAGIC))
    except OSError as error:
        raise ModelMissing(f"{file} cannot be read: {error.strerror}.", "Name a GGUF file that you may read.") from error
    if magic != GGUF_MAGIC:
        raise ModelCorrupt(f"{file} is not a GGUF file.", "Choose a model file in GGUF format, or fetch one: qwencoder-lsp models list")


def _quoted(text: str) -> str:
    """A basic TOML string; those of JSON are a subset."""
    return json.dumps(text, ensure_ascii=False)
