"""trace last, trace replay: why a completion came out as it did, or did not come."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

import typer

from qwencoder_lsp.cli.options import Json, settings, with_gateway
from qwencoder_lsp.errors import RequestError
from qwencoder_lsp.features.record import Record
from qwencoder_lsp.features.replay import replay as make_again
from qwencoder_lsp.observe import saved, windows
from qwencoder_lsp.observe.trace import Entry


def last(
    limit: Annotated[int, typer.Option(help="How many requests, newest first.", min=1, max=500)] = 1,
    text: Annotated[bool, typer.Option("--text", help="Also show the recorded text: what was sent, answered and shown.")] = False,
    as_json: Json = False,
) -> None:
    """Show the stages of the latest requests of all editor windows: sources, tokens, filters, reason. Without --text numbers and codes only."""
    found = sorted((e for _, entries in windows.ask({"ask": "traces", "limit": limit}) for e in entries), key=lambda e: e["at"])[-limit:]
    if not found:
        found = [{**entry, "record": None} for entry, _ in zip(saved.load(), range(limit), strict=False)][::-1]
    if text:
        found = [_entry(e["request"]) for e in found]
    if as_json:
        print(json.dumps(found[::-1]))
        return
    if not found:
        print("No editor window runs that has answered a request, and no traces were saved (setting log.save_traces).")
    for entry in found[::-1]:
        print(describe(entry))


def replay(request: Annotated[str, typer.Argument(metavar="ID", help="A request of `qwencoder-lsp trace last`.")]) -> None:
    """Make a recorded completion again, stage by stage. Exit code 1 when one comes out differently."""
    entry = _entry(request)
    if not entry.get("record"):
        raise RequestError(f"Request {request} has no record: no answer of the model was used for it ({entry['reason']}).", "Choose another one.")
    try:
        record = Record.from_json(entry["record"])
    except ValueError:
        raise RequestError("The record was made by another version.", "Choose one that this version made.") from None
    stages = with_gateway(settings(), lambda client: make_again(record, client))
    for stage in stages:
        print(f"{stage.name:9} {'same' if stage.same else 'DIFFERENT':10} {stage.detail}")
    if not all(stage.same for stage in stages):
        raise typer.Exit(1)


def _entry(request: str) -> Entry:
    """The trace of that name with its record: of a running window, or saved."""
    for _, entry in windows.ask({"ask": "trace", "request": request}):
        if entry:
            found: Entry = entry
            return found
    for entry in saved.load(request):
        return entry
    raise RequestError(f"No request {request} is known to a running editor window or was saved.", "See: qwencoder-lsp trace last --limit 20")


def describe(entry: Entry) -> str:
    """A trace for people, one stage per line."""
    usage, timings = entry["usage"], entry["timings"]
    when = datetime.fromtimestamp(entry["at"]).strftime("%H:%M:%S")
    lines = [f"request {entry['request']}  {when}  {entry['feature']}: {entry['reason']}, {entry['total_ms']:.0f} ms"]
    if entry["source"]:
        lines[0] += f"; answer {SOURCES[entry['source']]}"
        sources = ", ".join(f"{name} {tokens}" for name, tokens in entry["shares"].items() if tokens)
        lines.append(f"  gather    {timings['gather']:.1f} ms; tokens: {sources}")
        lines.append(f"  render    {timings['render']:.1f} ms; {_omitted(usage)}")
        evaluated = usage["prompt"] - usage["reused"]
        computed = f"{usage['reused']} tokens reused, {evaluated} evaluated, {usage['generated']} generated; stopped by: {entry['detail']}"
        lines.append(
            f"  generate  {timings['generate']:.0f} ms; {computed if entry['source'] not in ('memory', 'ahead') else 'nothing: the answer was known'}"
        )
        steps = "; ".join(f"{s['name']} {s['before']} to {s['after']} characters" for s in entry["steps"]) or "nothing to change"
        sure = "unknown" if entry["signals"]["confidence"] is None else f"{entry['signals']['confidence']:.2f}"
        lines.append(f"  finish    {timings['finish']:.1f} ms; confidence {sure}; {steps}")
    elif entry["detail"]:
        lines.append(f"  {entry['detail']}")
    return "\n".join([*lines, *_text(entry.get("record"))])


SOURCES = {"memory": "from memory", "ahead": "prepared ahead", "joined": "of a running request", "asked": "asked for"}


def _omitted(usage: dict[str, Any]) -> str:
    left_out = [f"{usage[f'{name}_omitted']} of the {name}" for name in ("prefix", "suffix", "snippets") if usage[f"{name}_omitted"]]
    return "left out: " + ", ".join(left_out) + " (characters)" if left_out else "nothing left out"


def _text(record: dict[str, Any] | None) -> list[str]:
    if not record:
        return []
    made, parts = record["made"], record["made"]["asked"]["request"]["parts"]
    shown = (("prefix", parts["prefix"]), ("typed", parts["typed"]), ("suffix", parts["suffix"]), ("answer", made["answer"]["text"]))
    return [f"  --- {name}\n{text}" for name, text in (*shown, ("shown", record["outcome"]["text"]))]
