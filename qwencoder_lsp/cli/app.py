"""The commands and how their errors end: one sentence on stderr."""

from __future__ import annotations

import json
import sys
from typing import NoReturn

import typer

from qwencoder_lsp.cli import adapters, batch, completion, content, credentials, manage, models, review, service, trace, writing
from qwencoder_lsp.cli.bench import bench
from qwencoder_lsp.cli.demo import demo
from qwencoder_lsp.cli.doctor import doctor
from qwencoder_lsp.cli.index import context, index, search
from qwencoder_lsp.cli.info import info
from qwencoder_lsp.cli.logs import logs
from qwencoder_lsp.cli.setup import setup
from qwencoder_lsp.cli.status import status
from qwencoder_lsp.cli.test import test
from qwencoder_lsp.errors import NotApplicable, QwencoderError, RequestError, SettingsError, to_wire

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
adapter_commands = typer.Typer(help="LoRA adapters.", epilog="Example: qwencoder-lsp adapters add style.gguf", no_args_is_help=True)
app.add_typer(adapter_commands, name="adapters")
manage_commands = typer.Typer(
    help="The HTTP service in the background. Exit codes: 0 done, 1 failed, 2 not applicable or already so.",
    epilog="Example: qwencoder-lsp manage start --wait",
    no_args_is_help=True,
)
app.add_typer(manage_commands, name="manage")
credential_commands = typer.Typer(
    help="API keys of the HTTP service.", epilog="Example: qwencoder-lsp credentials create laptop", no_args_is_help=True
)
app.add_typer(credential_commands, name="credentials")
content_commands = typer.Typer(
    help="Your models and prompt templates.", epilog="Example: qwencoder-lsp content execute rename --set name=total", no_args_is_help=True
)
app.add_typer(content_commands, name="content")

app.command(epilog="Example: qwencoder-lsp serve --port 11452")(service.serve)
app.command(epilog="Example: qwencoder-lsp stop")(service.stop)
app.command(epilog="Example: qwencoder-lsp status --format json")(status)
app.command(epilog="Example: qwencoder-lsp logs --since 10m --follow")(logs)
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
model_commands.command("add", epilog="Example: qwencoder-lsp models add ~/models/mine-q6_k.gguf")(models.add)
model_commands.command("prune", epilog="Example: qwencoder-lsp models prune --dry-run")(models.prune)
model_commands.command("verify", epilog="Example: qwencoder-lsp models verify")(models.verify)
adapter_commands.command("list", epilog="Example: qwencoder-lsp adapters list")(adapters.list_adapters)
adapter_commands.command("add", epilog="Example: qwencoder-lsp adapters add style.gguf --name style")(adapters.add)
adapter_commands.command("remove", epilog="Example: qwencoder-lsp adapters remove style")(adapters.remove)
model_commands.command("path", epilog="Example: qwencoder-lsp models path qwencoder-1.5b")(models.path)
manage_commands.command("install", epilog="Example: qwencoder-lsp manage install --model qwencoder-1.5b --service")(manage.install)
manage_commands.command("start", epilog="Example: qwencoder-lsp manage start --wait --timeout 60")(manage.start)
manage_commands.command("stop", epilog="Example: qwencoder-lsp manage stop --wait")(manage.stop)
manage_commands.command("restart", epilog="Example: qwencoder-lsp manage restart --model qwencoder-0.5b")(manage.restart)
manage_commands.command("uninstall", epilog="Example: qwencoder-lsp manage uninstall --force")(manage.uninstall)
credential_commands.command("create", epilog="Example: qwencoder-lsp credentials create laptop")(credentials.create)
credential_commands.command("list", epilog="Example: qwencoder-lsp credentials list --json")(credentials.list_keys)
credential_commands.command("revoke", epilog="Example: qwencoder-lsp credentials revoke laptop")(credentials.revoke)
content_commands.command("add", epilog="Example: qwencoder-lsp content add prompt rename rename.toml")(content.add)
content_commands.command("list", epilog="Example: qwencoder-lsp content list --json")(content.list_content)
content_commands.command("get", epilog="Example: qwencoder-lsp content get rename")(content.get)
content_commands.command("remove", epilog="Example: qwencoder-lsp content remove rename")(content.remove)
content_commands.command("execute", epilog="Example: qwencoder-lsp content execute rename --set name=total --file code=src/cart.py")(content.execute)
app.command(epilog="Example: qwencoder-lsp info --json")(info)
app.command("test", epilog="Example: qwencoder-lsp test smoke --json")(test)

# Their exit codes are 0 done, 1 failed, 2 not applicable or already so: what orchestrators act on.
OPERATION = frozenset({"manage", "status", "logs", "info", "test", "content", "credentials"})


def run(arguments: list[str]) -> NoReturn:
    """Run a command and end the process with its exit code."""
    operation = bool(OPERATION & set(arguments[:1]))
    try:
        app(arguments)
    except NotApplicable as error:
        _fail(error, 2, arguments)
    except (SettingsError, RequestError) as error:
        _fail(error, 1 if operation else 2, arguments)
    except QwencoderError as error:
        _fail(error, 1, arguments)
    sys.exit(0)


def _fail(error: QwencoderError, code: int, arguments: list[str]) -> NoReturn:
    """One sentence on stderr; an operation that was asked for JSON also says it on stdout."""
    if OPERATION & set(arguments[:1]) and ("--json" in arguments or "json" in arguments):
        print(json.dumps({"result": "unchanged" if code == 2 else "failed", "error": to_wire(error)}))
    print(f"qwencoder-lsp: {error}", file=sys.stderr)
    sys.exit(code)
