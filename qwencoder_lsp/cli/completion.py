"""complete: one completion at a place in a file, for scripts and for looking into."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from qwencoder_lsp.cli.options import Json, Model, settings, with_gateway
from qwencoder_lsp.cli.place import place_in_file
from qwencoder_lsp.context.surroundings import Surroundings
from qwencoder_lsp.core.results import Completion
from qwencoder_lsp.features.complete import complete as complete_at


def complete(
    place: Annotated[str, typer.Argument(metavar="FILE:LINE:COL", help="Line and column count from 1; the column counts characters.")],
    as_json: Json = False,
    model: Model = "",
) -> None:
    """Print what would be suggested at a place. With --json also the reason, the tokens and the times of gather, render, generate and finish."""
    snapshot, offset = place_in_file(place)
    chosen = settings(model, Path(snapshot.root) if snapshot.root else None)
    wanted = chosen.index.snippet_tokens if chosen.index.enabled else 0
    snippets = Surroundings().look(snapshot, offset, wanted).pack.snippets if wanted else ()
    answer = with_gateway(chosen, lambda client: complete_at(snapshot, offset, client, chosen, explicit=True, snippets=snippets))
    if as_json:
        fields = asdict(replace(answer, record=None))
        del fields["record"]
        print(json.dumps(fields))
    else:
        print(_text(answer))


def _text(answer: Completion) -> str:
    return answer.suggestion.text if answer.suggestion else f"(nothing: {answer.reason.value}{f', {answer.detail}' if answer.detail else ''})"
