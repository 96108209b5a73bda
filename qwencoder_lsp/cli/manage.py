"""manage install, start, stop, restart, uninstall: the HTTP service as a background process.

Exit codes: 0 done, 1 failed, 2 not applicable or already so.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from qwencoder_lsp import paths
from qwencoder_lsp.cli.models import fetch
from qwencoder_lsp.cli.options import Json, settings, with_gateway
from qwencoder_lsp.errors import GatewayError, ModelMissing, NotApplicable
from qwencoder_lsp.http.host import SCRIPTED
from qwencoder_lsp.http.listen import bind
from qwencoder_lsp.models import choose, store
from qwencoder_lsp.operate import control, record, units
from qwencoder_lsp.operate.keys import load_keys
from qwencoder_lsp.operate.record import Installed, Options, Running
from qwencoder_lsp.settings import Settings

Host = Annotated[str | None, typer.Option(help="Address to serve on; others than loopback need API keys.", envvar="QWENCODER_HOST")]
Port = Annotated[int | None, typer.Option(help="TCP port; 0 takes a free one.", envvar="QWENCODER_PORT", min=0, max=65535)]
ModelName = Annotated[str | None, typer.Option("--model", help="Catalogue name or GGUF file.", envvar="QWENCODER_MODEL")]
Timeout = Annotated[float, typer.Option(help="Seconds to wait at most.", min=1, max=3600)]
WaitForModel = Annotated[bool, typer.Option("--wait", help="Also wait until the model is loaded.")]
WaitForWork = Annotated[bool, typer.Option("--wait", help="First wait until no request is running.")]
Force = Annotated[bool, typer.Option("--force", help="End the gateway although editors use it, and kill what does not end.")]


def install(
    host: Host = None,
    port: Port = None,
    model: ModelName = None,
    service: Annotated[bool, typer.Option("--service", help="Write a systemd user unit or launchd agent, so that it starts at login.")] = False,
    no_model: Annotated[bool, typer.Option("--no-model", help="Do not fetch a missing model.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Install again, with new options.")] = False,
    as_json: Json = False,
) -> None:
    """Make ready to start: check the settings, fetch the model if it is missing, remember the options for every later start. Starts nothing."""
    if record.find_installed() and not force:
        raise NotApplicable("It is installed already.", "To change its options: qwencoder-lsp manage install --force ...")
    options = Options(host, port, _seen_from_anywhere(model))
    chosen = _settings(options)
    kind = units.kind() if service else ""
    if service and not kind:
        raise NotApplicable("There is no systemd or launchd here.", "Run without --service, and start it with: qwencoder-lsp manage start")
    _check_address(chosen, from_environment=not kind)
    names = [] if no_model else _have_models(chosen)
    if (before := record.find_installed()) and before.unit:
        _remove_unit(before)
    unit, remark = _write_unit(kind, options) if kind else ("", "")
    record.write_installed(Installed(options, unit, bool(unit and not remark)))
    told = ["Installed.", *(f"Model: {name}." for name in names)]
    if unit:
        told += [unit, f"was written. {remark}" if remark else "starts it at login."]
    _say(as_json, *told, "Start it now: qwencoder-lsp manage start", result="installed", models=names, unit=unit, remark=remark)


def start(
    host: Host = None, port: Port = None, model: ModelName = None, wait: WaitForModel = False, timeout: Timeout = 60.0, as_json: Json = False
) -> None:
    """Start the service in the background, and return when it serves. Options are those of `manage install`, unless given here."""
    if (running := record.find_running()) or record.lives():
        raise NotApplicable(f"The service runs already{_where(running)}.", "See: qwencoder-lsp status")
    _start(Options(host, port, _seen_from_anywhere(model)), wait=wait, timeout=timeout, as_json=as_json)


def stop(wait: WaitForWork = False, force: Force = False, timeout: Timeout = 20.0, as_json: Json = False) -> None:
    """End the service. The gateway ends too, unless editors use it."""
    running = record.find_running()
    if running is None:
        raise NotApplicable("The service does not run.", "Start it: qwencoder-lsp manage start")
    freed = _stop(running, wait=wait, force=force, timeout=timeout)
    _say(as_json, f"The service{_where(running)} has ended{_left(freed)}.", result="stopped", pid=running.pid, gateway_ended=freed)


def restart(
    host: Host = None,
    port: Port = None,
    model: ModelName = None,
    wait: WaitForModel = False,
    force: Force = False,
    timeout: Timeout = 60.0,
    as_json: Json = False,
) -> None:
    """Stop the service if it runs, and start it, with the options that it had unless given here."""
    options = Options(host, port, _seen_from_anywhere(model))
    if running := record.find_running():
        if not _stop(running, wait=False, force=force, timeout=timeout):
            print("Editors use the gateway, so it goes on with its settings; to end it too: --force", file=sys.stderr)
        options = options.over(running.options)
    _start(options, wait=wait, timeout=timeout, as_json=as_json)


def uninstall(force: Force = False, timeout: Timeout = 20.0, as_json: Json = False) -> None:
    """Stop the service and undo `manage install`. Models, settings and API keys stay."""
    installed, running = record.find_installed(), record.find_running()
    if installed is None and running is None:
        raise NotApplicable("It is not installed.", "")
    if running:
        _stop(running, wait=False, force=force, timeout=timeout)
    remark = _remove_unit(installed) if installed and installed.unit else ""
    record.forget_installed()
    kept = f"Kept: models in {paths.models_dir()}, settings and keys in {paths.config_file().parent}"
    _say(as_json, "Uninstalled.", remark, kept, result="uninstalled", remark=remark)


def _start(options: Options, *, wait: bool, timeout: float, as_json: bool) -> None:
    begun = time.monotonic()
    installed = record.find_installed() or Installed()
    options = options.over(installed.options)
    if installed.enabled:
        if options != installed.options:
            raise GatewayError(f"The options are in {installed.unit}.", "Change them with: qwencoder-lsp manage install --service --force ...")
        units.start(units.kind())
        running = _appeared(timeout)
    else:
        running = control.spawn(options, timeout)
    models = with_gateway(_settings(options), lambda client: control.load_models(client, timeout), start=False) if wait else []
    seconds = time.monotonic() - begun
    told = [f"Serving on http://{running.address} (process {running.pid}), after {seconds:.1f} s.", *(f"{name} is loaded." for name in models)]
    _say(as_json, *told, result="started", pid=running.pid, address=running.address, models=models, seconds=round(seconds, 3))


def _stop(running: Running, *, wait: bool, force: bool, timeout: float) -> bool:
    """Whether the gateway ended too."""
    chosen = settings()
    if wait:
        with_gateway(chosen, lambda client: control.drain(client, timeout), start=False)
    control.stop(running, timeout, force=force)
    return asyncio.run(control.free_gateway(chosen, force=force))


def _appeared(timeout: float) -> Running:
    deadline = time.monotonic() + timeout
    while not ((running := record.find_running()) and running.address):
        if time.monotonic() > deadline:
            raise GatewayError(f"The service did not answer within {timeout:.0f} s.", "See: qwencoder-lsp logs")
        time.sleep(0.1)
    return running


def _settings(options: Options) -> Settings:
    given = {name: value for name, value in (("host", options.host), ("port", options.port)) if value is not None}
    return settings(options.model or "", gateway=given)


def _check_address(chosen: Settings, *, from_environment: bool) -> None:
    """Whether it can be served on at all. A unit does not have the variables of this shell."""
    keys = load_keys(chosen, os.environ.get("QWENCODER_API_KEYS", "") if from_environment else "")
    bind(chosen.gateway.host, 0, with_keys=bool(keys))[0].close()


def _have_models(chosen: Settings) -> list[str]:
    """The models that the settings mean, fetched if they are missing; their names."""
    names = dict.fromkeys((chosen.model.completion, chosen.model.chat))
    return list(dict.fromkeys(_have_model(name) for name in names))


def _have_model(name: str) -> str:
    if name == SCRIPTED.name:
        return name
    if name == "auto":
        here = store.installed()
        if here:
            return here[0].name
        name = choose.recommended()
    try:
        return store.resolve(name).name
    except ModelMissing:
        fetch(name, "auto")
        return name


def _write_unit(kind: str, options: Options) -> tuple[str, str]:
    """Its path, and what the user has to do because the system could not be told."""
    path = units.place(kind)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(units.text(kind, options))
    except OSError as error:
        raise GatewayError(f"{path} cannot be written ({error.strerror}).", "Check its permissions.") from error
    return str(path), units.enable(kind, path)


def _remove_unit(installed: Installed) -> str:
    remark = units.disable(units.kind()) if installed.enabled else ""
    Path(installed.unit).unlink(missing_ok=True)
    return remark


def _seen_from_anywhere(model: str | None) -> str | None:
    """The service runs in another directory."""
    return Settings.model_validate({"model": {"chat": model}}).model.chat if model else None


def _where(running: Running | None) -> str:
    return f" on {running.address} (process {running.pid})" if running else ""


def _left(freed: bool) -> str:
    return ", and the gateway with it" if freed else "; editors use the gateway, which stays"


def _say(as_json: bool, *told: str, **fields: Any) -> None:
    print(json.dumps(fields) if as_json else " ".join(text for text in told if text))
