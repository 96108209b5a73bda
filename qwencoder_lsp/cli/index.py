"""index, search, context: the workspace index from the command line."""

from __future__ import annotations

import json
import queue
import sqlite3
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from qwencoder_lsp.cli.options import Json
from qwencoder_lsp.cli.place import place_in_file
from qwencoder_lsp.context.indexer import Indexer, Scan
from qwencoder_lsp.context.indexing import stand_back, watch
from qwencoder_lsp.context.pack import tokens
from qwencoder_lsp.context.reading import Index
from qwencoder_lsp.context.surroundings import Look, Surroundings
from qwencoder_lsp.errors import IndexUnavailable

Folder = Annotated[Path, typer.Argument(help="A project's folder.", show_default="the current one")]
Root = Annotated[Path, typer.Option("--root", help="The project's folder.", show_default="the current one")]


def index(
    folder: Folder = Path(),
    watch_: Annotated[bool, typer.Option("--watch", help="Go on and follow changes, until Ctrl-C.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Only show what the index holds.")] = False,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Make it anew.")] = False,
    as_json: Json = False,
) -> None:
    """Index a folder, or bring its index up to date. Editors do this by themselves."""
    root = _folder(folder)
    if status:
        _show(Index(root).status(), as_json)
        return
    indexer = Indexer(root)
    try:
        if rebuild:
            indexer.store.rebuild()
        done = _scan(indexer)
        print(json.dumps(asdict(done)) if as_json else _scanned(root, done))
        if watch_:
            _watch(root, indexer)
    finally:
        indexer.close()


def search(
    text: Annotated[str, typer.Argument(help="What to look for, letter by letter; case counts when it has a capital.")],
    root: Root = Path(),
    limit: Annotated[int, typer.Option(min=1, help="Most lines.")] = 100,
    as_json: Json = False,
) -> None:
    """Search the index: first where that name is defined, then every line that holds the text. Exit code 1 when there is nothing."""
    found = Index(_folder(root))
    try:
        definitions = found.definitions(text, limit)
        hits = found.search(text, limit)
    except sqlite3.Error as error:
        raise IndexUnavailable(f"The index cannot be read ({error}).", "Run: qwencoder-lsp index") from error
    if as_json:
        print(json.dumps({"definitions": [asdict(d) for d in definitions], "lines": [asdict(h) for h in hits]}))
    else:
        for d in definitions:
            print(f"{d.path}:{d.line + 1}: [{d.kind}] {d.signature}")
        for hit in hits:
            print(f"{hit.path}:{hit.line + 1}: {hit.text}")
    if not definitions and not hits:
        raise typer.Exit(1)


def context(
    place: Annotated[str, typer.Argument(metavar="FILE:LINE:COL", help="Line and column count from 1; the column counts characters.")],
    budget: Annotated[int, typer.Option("--tokens", min=16, help="Room for other files, in tokens.")] = 512,
    root: Root = Path(),
    as_json: Json = False,
) -> None:
    """Print what of other files a completion at a place would be given, with source, score and reason, and what was left out."""
    snapshot, offset = place_in_file(place, _folder(root))
    look = Surroundings().look(snapshot, offset, budget)
    print(json.dumps(_as_json(look)) if as_json else _as_text(look, budget))


def _folder(folder: Path) -> Path:
    root = folder.absolute()
    if not root.is_dir():
        raise IndexUnavailable(f"{root} is no folder.", "Name a project's folder.")
    return root


def _watch(root: Path, indexer: Indexer) -> None:
    stand_back()
    changes: queue.Queue[list[str]] = queue.Queue()
    threading.Thread(target=watch, args=([root], changes), daemon=True).start()
    print("Following changes (Ctrl-C ends it)", flush=True)
    while True:
        paths = changes.get()
        names = [p.relative_to(root).as_posix() for p in map(Path, paths) if p.is_relative_to(root) and p != root]
        done = indexer.update(names)
        if done.parsed or done.removed:
            print(f"{done.parsed} files read, {done.removed} removed, {1000 * done.seconds:.0f} ms", flush=True)


def _scan(indexer: Indexer) -> Scan:
    """With a progress bar on a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("indexing", total=None)
        return indexer.scan(lambda done, total: bar.update(task, completed=done, total=total))


def _scanned(root: Path, done: Scan) -> str:
    left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(done.skipped.items()))
    speed = f", {done.lines / done.seconds:.0f} lines/s" if done.lines and done.seconds else ""
    read = f"{done.parsed} read ({done.lines} lines{speed}), {done.removed} removed, {done.seconds:.1f} s"
    return f"{root}: {done.files} files, {read}" + (f"\nleft out: {left_out}" if left_out else "")


def _show(status: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(status))
        return
    print(f"folder     {status['folder']}\nindex      {status['file']} ({status['bytes'] / 1e6:.1f} MB)")
    print(f"content    {status['files']} files, {status['lines']} lines, {status['symbols']} symbols")
    print("languages  " + ", ".join(f"{name or 'none'} {lines}" for name, lines in status["languages"].items()))
    print("left out   " + (", ".join(f"{count} {reason}" for reason, count in status["skipped"].items()) or "nothing"))


def _as_json(look: Look) -> dict[str, Any]:
    return {
        "snippets": [{**asdict(s), "tokens": tokens(s.text)} for s in look.pack.snippets],
        "chosen": [asdict(c) for c in look.pack.chosen],
        "left_out": [asdict(c) for c in look.pack.left_out],
        "late": look.late,
        "ms": look.ms,
    }


def _as_text(look: Look, budget: int) -> str:
    used = sum(tokens(s.text) for s in look.pack.snippets)
    parts = [f"{s.path}  (about {tokens(s.text)} tokens, score {s.score:.2f})\n{_indented(s.text)}" for s in look.pack.snippets]
    parts.append(f"about {used} of {budget} tokens, found in {look.ms:.0f} ms" + (f"; late: {', '.join(look.late)}" if look.late else ""))
    why = [f"  {c.score:.2f}  {c.source:12} {c.path}:{c.line + 1}  {c.reason}" for c in look.pack.chosen]
    out = [f"  {c.score:.2f}  {c.source:12} {c.path}:{c.line + 1}  {c.reason}" for c in look.pack.left_out]
    return "\n".join([*parts, "chosen:", *why, *(["left out, no room:", *out] if out else [])])


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.split("\n")[:-1])
