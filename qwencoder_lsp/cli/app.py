"""The commands and how their errors end: one sentence on stderr."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from qwencoder_lsp.cli import batch, completion, models, review, service, trace, writing
from qwencoder_lsp.cli.bench import bench
from qwencoder_lsp.cli.demo import demo
from qwencoder_lsp.cli.doctor import doctor
from qwencoder_lsp.cli.index import context, index, search
from qwencoder_lsp.cli.setup import setup
from qwencoder_lsp.errors import QwencoderError, RequestError, SettingsError

app = typer.Typer(
    name="qwencoder-lsp",
    help="Code assistance from Qwen-Coder models on your own machine. Without a command: the language server on stdio (the same as --stdio).",
    epilog="Example: qwencoder-lsp demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
model_commands = typer.Typer(
    help="List, fetch, check and delete models.", epilog="Example: qwencoder-lsp models pull qwencoder-1.5b", no_args_is_help=True
)
batch_commands = typer.Typer(
    help="Many requests at once, below anything interactive.", epilog="Example: qwencoder-lsp batch run FILE", no_args_is_help=True
)
app.add_typer(model_commands, name="models")
trace_commands = typer.Typer(help="Look into completions: why this, why nothing.", epilog="Example: qwencoder-lsp trace last", no_args_is_help=True)
app.add_typer(trace_commands, name="trace")
app.add_typer(batch_commands, name="batch")

app.command(epilog="Example: qwencoder-lsp serve --port 11452")(service.serve)
app.command(epilog="Example: qwencoder-lsp stop")(service.stop)
app.command(epilog="Example: qwencoder-lsp status --json")(service.status)
app.command(epilog="Example: qwencoder-lsp logs --tail 50 --follow")(service.logs)
app.command(epilog="Example: qwencoder-lsp complete src/app.py:12:9 --json")(completion.complete)
app.command(epilog="Example: qwencoder-lsp review --diff main --format github --fail-on error")(review.review)
app.command(epilog="Example: qwencoder-lsp tests src/cart.py:12 --write --run 'python -m pytest -q'")(writing.tests)
app.command(epilog="Example: qwencoder-lsp docs src/cart.py --write")(writing.docs)
app.command("commit-message", epilog="Example: qwencoder-lsp commit-message")(writing.commit_message)
app.command(epilog="Example: qwencoder-lsp bench --model qwencoder-1.5b")(bench)
app.command(epilog="Example: qwencoder-lsp doctor --format json")(doctor)
app.command(epilog="Example: qwencoder-lsp setup neovim")(setup)
app.command(epilog="Example: qwencoder-lsp demo --model qwencoder-1.5b")(demo)
trace_commands.command("last", epilog="Example: qwencoder-lsp trace last --limit 5")(trace.last)
trace_commands.command("replay", epilog="Example: qwencoder-lsp trace replay 3f2a9c01")(trace.replay)
app.command(epilog="Example: qwencoder-lsp index --watch")(index)
app.command(epilog="Example: qwencoder-lsp search 'def connect' --root src")(search)
app.command(epilog="Example: qwencoder-lsp context src/app.py:12:9 --tokens 1024")(context)
batch_commands.command("run", epilog="Example: qwencoder-lsp batch run questions.jsonl --output answers.jsonl")(batch.run)
model_commands.command("list", epilog="Example: qwencoder-lsp models list")(models.list_models)
model_commands.command("pull", epilog="Example: qwencoder-lsp models pull qwencoder-1.5b")(models.pull)
model_commands.command("remove", epilog="Example: qwencoder-lsp models remove qwencoder-0.5b")(models.remove)
model_commands.command("prune", epilog="Example: qwencoder-lsp models prune --dry-run")(models.prune)
model_commands.command("verify", epilog="Example: qwencoder-lsp models verify")(models.verify)
model_commands.command("path", epilog="Example: qwencoder-lsp models path qwencoder-1.5b")(models.path)


def run(arguments: list[str]) -> NoReturn:
    """Run a command and end the process with its exit code."""
    try:
        app(arguments)
    except (SettingsError, RequestError) as error:
        _fail(error, 2)
    except QwencoderError as error:
        _fail(error, 1)
    sys.exit(0)


def _fail(error: QwencoderError, code: int) -> NoReturn:
    print(f"qwencoder-lsp: {error}", file=sys.stderr)
    sys.exit(code)
