"""`python -m tests.bench quiet`: how often something is shown where silence is right, and where a suggestion is right; the language server as it is
shipped, with the automatic trigger, beside the bare prompt to the model's own stop, which is silent when it writes nothing but white space.

The files are the running interpreter's standard library and pinned packages of the index, which `--fetch` downloads into `--sources` (14 MB).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter

from qwencoder_lsp.models.store import resolve
from tests.bench import asked
from tests.bench.asked import Record, Records, similarity
from tests.bench.engine.peers import to_its_end
from tests.bench.fim.paths import Middle
from tests.bench.quiet.places import SILENCE, WANTED, Place, choose
from tests.bench.sources.files import packaged, standard_library
from tests.bench.sources.packages import LANGUAGES

MODEL = "qwencoder-1.5b"
PATHS = ("raw", "ours")
COUNT, QUICK = 96, 3  # of each group
BARS = {"quiet_rate": 85.0, "show_rate": 85.0}
RAW_TOKENS = 48  # whether there is something to show, and how near it is, the first line tells


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    asked.arguments(parser, MODEL, PATHS, f"places of each group; 0: {COUNT}", f"{QUICK} places of each group")


def main(options: argparse.Namespace) -> int:
    """0 when every place was asked about, 2 when something is missing for that."""
    if problem := asked.lacking(options, LANGUAGES):
        print(problem, file=sys.stderr)
        return 2
    sources = packaged(LANGUAGES, options.sources, options.seed) + standard_library(options.seed)
    count = options.sample or (QUICK if options.quick else COUNT)
    places = [place for rules in (SILENCE, WANTED) for place in choose(sources, rules, count, options.seed)]
    model, records = resolve(options.model).path, Records(options.resume)
    openers = {path: asked.raw(model, options.peer, RAW_TOKENS) if path == "raw" else asked.ours(model) for path in options.paths.split(",")}
    to_its_end(asked.measure(places, openers, records, _record))
    found = {path: _figures([records[f"{path} {place.id}"] for place in places]) for path in openers}
    print(f"quiet, {model.name}, seed {options.seed}: places at which something is shown, in percent")
    print(_table(found))
    if options.json:
        options.json.write_text(json.dumps({"quiet": found}, indent=1) + "\n", "utf-8")
    return 0


def _record(place: Place, middle: Middle) -> Record:
    shown = bool(middle.text.strip())
    reason = "shown" if shown else middle.note or "blank"
    return {
        "verdict": f"{reason}, {'right' if shown == place.wanted else 'WRONG'}",
        "kind": place.kind,
        "language": place.language,
        "wanted": place.wanted,
        "shown": shown,
        "reason": reason,
        "signals": middle.signals,
        "similarity": similarity(_first(middle.text), _first(place.truth)) if shown and place.wanted else None,
        "text": middle.text,
        "truth": place.truth,
    }


def _first(text: str) -> str:
    """Its first line that is not blank."""
    return next((line.strip() for line in text.split("\n") if line.strip()), "")


def _figures(found: list[Record]) -> Record:
    silence, wanted = [r for r in found if not r["wanted"]], [r for r in found if r["wanted"]]
    near = [r["similarity"] for r in wanted if r["shown"]]
    return {
        "quiet_rate": round(100 - _share(silence)["shown"], 1),
        "show_rate": _share(wanted)["shown"],
        "n_quiet": len(silence),
        "n_show": len(wanted),
        "similarity": round(sum(near) / max(1, len(near)), 3),
        "reasons": dict(Counter(r["reason"] for r in found if not r["shown"])),
        "kinds": {kind: _share([r for r in found if r["kind"] == kind]) for kind in (*SILENCE, *WANTED)},
        "silence": _by_language(silence),
        "wanted": _by_language(wanted),
    }


def _by_language(found: list[Record]) -> dict[str, dict[str, float]]:
    return {language: _share([r for r in found if r["language"] == language]) for language in sorted({r["language"] for r in found})}


def _share(found: list[Record]) -> dict[str, float]:
    return {"shown": round(100 * sum(r["shown"] for r in found) / max(1, len(found)), 1), "n": len(found)}


def _table(found: dict[str, Record]) -> str:
    first = next(iter(found.values()))
    lines = [f"{'':18}{'n':>5}" + "".join(f"{path:>8}" for path in found)]

    def block(title: str, part: str, names: dict[str, object]) -> None:
        lines.append(title)
        for name in names:
            if n := first[part].get(name, {"n": 0})["n"]:
                lines.append(f"  {name:16}{n:5}" + "".join(f"{figures[part][name]['shown']:8.0f}" for figures in found.values()))

    block("silence is right", "kinds", dict(SILENCE))
    block("", "silence", first["silence"])
    block("a suggestion is right", "kinds", dict(WANTED))
    block("", "wanted", first["wanted"])
    for path, f in found.items():
        lines.append(f"{path}: quiet rate {f['quiet_rate']}, show rate {f['show_rate']}, similarity of what is shown there {f['similarity']}")
        lines.append(f"  silent because: {f['reasons']}")
    if "ours" in found:
        for name, bar in BARS.items():
            value = found["ours"][name]
            lines.append(f"{name}: {value:.1f}, bar >= {bar:g}: {'met' if value >= bar else 'MISSED'}")
    return "\n".join(lines)
