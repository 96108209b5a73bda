"""A session as a person would have it in an editor: type, see ghost text, accept it, review a file, apply the fix. With the times it took."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from importlib import resources
from pathlib import Path

from qwencoder_lsp.core.text import Edit, Span, apply_edits
from qwencoder_lsp.demo.screen import Screen
from qwencoder_lsp.errors import AnswerError
from qwencoder_lsp.lsp.client import EditorClient, Ghost

# Where the person types: file, the line after which a new one is begun, and what is typed on it.
TYPED = (
    ("shop/cart.py", '"""What everything in the cart costs."""', "return "),
    ("shop/cart.py", '"""The item with the highest price, or None if the cart is empty."""', "if "),
)
REVIEWED = "shop/rates.py"
INDENT = " " * 8


def play(model: str, picture: Path | None = None) -> None:
    """Run the session and print it; picture: also write it to this SVG file.

    Raises QwencoderError when a step does not give what an editor would show.
    """
    with tempfile.TemporaryDirectory(prefix="qwencoder-demo-") as directory:
        root = Path(directory).resolve() / "sample"
        with resources.as_file(resources.files("qwencoder_lsp.demo") / "sample") as sample:
            shutil.copytree(sample, root, ignore=shutil.ignore_patterns("__pycache__"))
        asyncio.run(_play(root, model, Screen(picture)))


async def _play(root: Path, model: str, screen: Screen) -> None:
    client = EditorClient(root)
    screen.title(model)
    await client.start([sys.executable, "-m", "qwencoder_lsp.lsp"], {"QWENCODER_MODEL": model})
    try:
        for name, after, typed in TYPED:
            await _complete(client, screen, root / name, name, after, typed)
        await _review(client, screen, root / REVIEWED, REVIEWED)
    finally:
        await client.stop()
    screen.end()


async def _complete(client: EditorClient, screen: Screen, path: Path, name: str, after: str, typed: str) -> None:
    text = client.text(path) if client.is_open(path) else client.open(path, "python")
    cursor = text.index(after) + len(after)
    client.edit(path, Edit(Span(cursor, cursor), "\n" + INDENT))
    cursor += 1 + len(INDENT)
    ghost: Ghost | None = None
    with screen.working(f"typing in {name}"):
        for character in typed:  # the request after each key replaces the one before, as in an editor
            client.edit(path, Edit(Span(cursor, cursor), character))
            cursor += 1
            asking = asyncio.create_task(client.ghost(path, cursor))
            await asyncio.sleep(0.12)
        ghost = await asking
        trace = await client.trace()
    if ghost is None:
        raise AnswerError(f"There was no ghost text in {name} ({trace['reason']}).", "Run the demo again; if it repeats, see: qwencoder-lsp logs")
    screen.ghost(name, client.text(path), cursor, ghost, trace)
    client.edit(path, Edit(Span(cursor, cursor + ghost.covered), ghost.text))


async def _review(client: EditorClient, screen: Screen, path: Path, name: str) -> None:
    before = client.open(path, "python")
    with screen.working(f"reviewing {name}"):
        findings = await client.review(path)
        trace = await client.trace()
    if not findings:
        raise AnswerError(f"The review of {name} found nothing.", "Run the demo with a larger model: qwencoder-lsp demo --model NAME")
    screen.findings(name, before, findings, trace)
    with screen.working("asking for the fix"):
        edits = await client.fix(path, findings[0])
        trace = await client.trace()
    screen.fix(name, before, apply_edits(before, edits), trace)
