"""`python -m tests.bench context --folder DIR`: what other files are worth: calls and attributes whose definition is in another file of the package.

Each hole is the rest of a line from such a name on, in a file that is indexed without it. Asked with no context, with llama.vim's ring (64-line
chunks of files that were open), with plain BM25 over 16-line chunks, and with ours; the same model, the same budget of context tokens, greedy.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import json
import math
import os
import random
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

from qwencoder_lsp.context.gather import gather
from qwencoder_lsp.context.indexer import Indexer
from qwencoder_lsp.context.pack import tokens
from qwencoder_lsp.context.surroundings import Surroundings
from qwencoder_lsp.core.prompt import Snippet, Stops
from qwencoder_lsp.core.text import Snapshot
from qwencoder_lsp.features.ask import collect
from qwencoder_lsp.gateway.client import GatewayClient
from qwencoder_lsp.gateway.find import connect
from qwencoder_lsp.gateway.protocol import CompleteRequest
from qwencoder_lsp.models.store import resolve
from qwencoder_lsp.settings import load

KINDS = ("none", "ring", "bm25", "ours")
PREFIX, SUFFIX, CHUNK = 512, 128, 64
WORD = re.compile(r"[^\W\d]\w{2,}")


@dataclass(frozen=True)
class Hole:
    """The rest of a line of `path` from `start` to `end`."""

    path: str
    text: str
    start: int
    end: int


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--folder", type=Path, required=True, help="a folder with one package")
    parser.add_argument("--model", default="qwencoder-1.5b", help="a catalogue name or a GGUF file")
    parser.add_argument("--sample", type=int, default=30, help="holes")
    parser.add_argument("--budget", type=int, default=512, help="tokens of context")
    parser.add_argument("--kinds", default=",".join(KINDS), help="some of: " + ", ".join(KINDS))
    parser.add_argument("--seed", type=int, default=0, help="another seed, other holes")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")


def main(options: argparse.Namespace) -> int:
    """0 when all holes were asked."""
    model = resolve(options.model).path
    with tempfile.TemporaryDirectory(prefix="qc-") as scratch:
        root = Path(scratch) / options.folder.name
        shutil.copytree(options.folder, root, ignore=lambda _, names: [n for n in names if n.endswith((".so", ".pyc"))])
        rng = random.Random(options.seed)  # noqa: S311 - a choice of places
        os.environ["QWENCODER_HOME"] = f"{scratch}/home"
        options.model = str(model)
        holes = list(_holes(root, options.sample, rng))
        found = asyncio.run(_answers(root, holes, options, rng))
    print(f"{len(holes)} holes in {options.folder.name}, {model.name}, {options.budget} tokens of context")
    table = {}
    for kind, answers in found.items():
        exact = sum(a == h.text[h.start : h.end].strip() for a, h in zip(answers, holes, strict=True))
        similar = sum(SequenceMatcher(None, a, h.text[h.start : h.end].strip()).ratio() for a, h in zip(answers, holes, strict=True))
        table[kind] = {"em": 100 * exact / len(holes), "es": 100 * similar / len(holes), "n": len(holes)}
        print(f"{kind:6} exact match {table[kind]['em']:5.1f}  edit similarity {table[kind]['es']:5.1f}")
    if options.json:
        options.json.write_text(json.dumps({"context": table}, indent=1) + "\n", "utf-8")
    return 0


def _holes(root: Path, count: int, rng: random.Random) -> Iterator[Hole]:
    files = [p for p in root.rglob("*.py") if p.stat().st_size < 60_000]
    rng.shuffle(files)
    for file in files:
        text = file.read_text("utf-8", "replace")
        uses = _uses(text, root, file)
        if uses and count:
            count -= 1
            start, end = rng.choice(uses)
            yield Hole(file.relative_to(root).as_posix(), text, start, end)


def _uses(text: str, root: Path, file: Path) -> list[tuple[int, int]]:
    """Calls of names, and attributes of modules, that the file imports from the same package: from the name to the end of the line."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return []
    own = {p.stem for p in root.rglob("*.py")} | {p.name for p in root.rglob("*") if p.is_dir()}
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[-1] in own):
            names |= {a.asname or a.name for a in node.names}
    lines = text.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    found = []
    for node in ast.walk(tree):
        at: ast.Name | ast.Attribute | None = None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            at = node.func
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names:
            at = node
        if at is not None and at.end_lineno == at.lineno and lines[at.lineno - 1].isascii():
            column = at.col_offset if isinstance(at, ast.Name) else (at.end_col_offset or 0) - len(at.attr)
            line = lines[at.lineno - 1]
            if line[:column].strip() and 6 < len(line) - column < 100:
                found.append((starts[at.lineno - 1] + column, starts[at.lineno - 1] + len(line)))
    return found


async def _answers(root: Path, holes: list[Hole], options: argparse.Namespace, rng: random.Random) -> dict[str, list[str]]:
    settings, _ = load(command_line={"model": {"completion": options.model}, "completion": {"max_prefix": PREFIX, "max_suffix": SUFFIX}})
    chunks = _chunks(root) if "bm25" in options.kinds else []
    indexer, surroundings = Indexer(root), Surroundings()
    indexer.scan()
    client = await connect(settings)
    lease = asyncio.create_task(_hold(client))
    found: dict[str, list[str]] = {kind: [] for kind in options.kinds.split(",")}
    try:
        for number, hole in enumerate(holes, 1):
            cut = hole.text[: hole.start] + hole.text[hole.end :]
            file = root / hole.path
            file.write_text(cut, "utf-8")
            indexer.update([hole.path])
            snapshot = Snapshot(file.as_uri(), cut, "python", str(file), str(root))
            for kind, answers in found.items():
                snippets = _snippets(kind, snapshot, hole, options.budget, surroundings, chunks, rng)
                parts = gather(snapshot, hole.start, settings, snippets=snippets)
                request = CompleteRequest(
                    parts, options.model, max_tokens=32, stops=Stops(max_lines=1), explicit=True, max_prefix=2 * options.budget, max_suffix=SUFFIX
                )
                answers.append((await collect(client.complete(request))).text.strip())
            file.write_text(hole.text, "utf-8")
            indexer.update([hole.path])
            truth = hole.text[hole.start : hole.end].strip()
            print(f"{number}/{len(holes)} {truth!r}: " + " ".join(f"{k}{'+' if v[-1] == truth else '-'}" for k, v in found.items()), file=sys.stderr)
    finally:
        lease.cancel()
        await client.close()
        indexer.close()
    return found


async def _hold(client: GatewayClient) -> None:
    """Keep the gateway while its events are listened to."""
    async for _ in client.events():
        pass


def _snippets(
    kind: str, snapshot: Snapshot, hole: Hole, budget: int, surroundings: Surroundings, chunks: list[Snippet], rng: random.Random
) -> tuple[Snippet, ...]:
    if kind == "none":
        return ()
    if kind == "ours":
        return surroundings.look(snapshot, hole.start, budget).pack.snippets
    if kind == "ring":
        return _fitting(_ring(snapshot, rng), budget)
    words = Counter(WORD.findall(snapshot.text[max(0, hole.start - 1500) : hole.start]))
    others = [c for c in chunks if c.path != hole.path]
    return _fitting(_bm25(words, others), budget)


def _ring(snapshot: Snapshot, rng: random.Random) -> list[Snippet]:
    """llama.vim keeps chunks of 64 lines around places in files that were open or left: three files of the same folder, at places drawn by lot."""
    folder = Path(snapshot.path or "").parent
    files = [p for p in sorted(folder.glob("*.py")) if str(p) != snapshot.path and p.stat().st_size > 200]
    out = []
    for file in rng.sample(files, min(3, len(files))):
        lines = file.read_text("utf-8", "replace").split("\n")
        first = max(0, rng.randrange(len(lines)) - CHUNK // 2)
        out.append(Snippet(file.name, file.name, "\n".join(lines[first : first + CHUNK]) + "\n", "ring"))
    return out


def _chunks(root: Path) -> list[Snippet]:
    out = []
    for file in root.rglob("*.py"):
        lines = file.read_text("utf-8", "replace").split("\n")
        path = file.relative_to(root).as_posix()
        out += [Snippet(f"{path}:{i}", path, "\n".join(lines[i : i + CHUNK // 4]) + "\n", "bm25") for i in range(0, len(lines), CHUNK // 4)]
    return out


def _bm25(query: Counter[str], chunks: list[Snippet]) -> list[Snippet]:
    """Robertson and Zaragoza 2009, k1 = 1.2, b = 0.75."""
    counts = [Counter(WORD.findall(c.text)) for c in chunks]
    mean = sum(sum(c.values()) for c in counts) / max(1, len(counts))
    holds = Counter(w for c in counts for w in c)
    idf = {w: math.log(1 + (len(chunks) - holds[w] + 0.5) / (holds[w] + 0.5)) for w in query if w in holds}

    def score(count: Counter[str]) -> float:
        length = 1.2 * (0.25 + 0.75 * sum(count.values()) / mean)
        return sum(value * count[w] * 2.2 / (count[w] + length) for w, value in idf.items() if w in count)

    ranked = sorted(zip(map(score, counts), range(len(chunks)), strict=True), reverse=True)
    return [chunks[i] for _, i in ranked[:12]]


def _fitting(snippets: list[Snippet], budget: int) -> tuple[Snippet, ...]:
    """As many as fit, the last one cut at a line."""
    out: list[Snippet] = []
    left = budget
    for snippet in snippets:
        lines = snippet.text.split("\n")
        while lines and tokens("\n".join(lines)) + 12 > left:
            lines.pop()
        if not lines:
            break
        out.append(Snippet(snippet.id, snippet.path, "\n".join(lines) + "\n", snippet.source))
        left -= tokens(out[-1].text) + 12
    return tuple(out)
