"""doctor: what this machine is, what would be chosen on it and why, what is reachable, and what to do next, in plain words."""

from __future__ import annotations

import json
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import psutil
import typer

from qwencoder_lsp import __version__, paths
from qwencoder_lsp.cli.options import with_gateway
from qwencoder_lsp.engine.devices import Build, probe
from qwencoder_lsp.engine.process import memory_bytes, usable_cores
from qwencoder_lsp.errors import GatewayError, QwencoderError
from qwencoder_lsp.models import catalogue, choose, store
from qwencoder_lsp.models.calibration import cpu_model
from qwencoder_lsp.models.catalogue import ModelEntry
from qwencoder_lsp.settings import Settings, load

if TYPE_CHECKING:
    from qwencoder_lsp.http.host import ModelHost

OFFLOAD = {
    "NVIDIA": ("CUDA", 'CMAKE_ARGS="-DGGML_CUDA=on"'),
    "AMD": ("ROCm", 'CMAKE_ARGS="-DGGML_HIP=on"'),
    "Apple": ("Metal", 'CMAKE_ARGS="-DGGML_METAL=on"'),
}


class Format(str, Enum):
    """How the answer is written."""

    text = "text"
    json = "json"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. state: "ok", "note" (it works, but not as well as it could) or "problem". next: what to do, or ""."""

    subject: str
    state: str
    text: str
    next: str = ""


def doctor(format: Annotated[Format, typer.Option(help="text or json.")] = Format.text) -> None:
    """Look at hardware, llama.cpp, models, gateway and network, and say what to do next. Exit code 1 when completions cannot work as it stands."""
    found = list(examine())
    bad = any(finding.state == "problem" for finding in found)
    print(json.dumps({"ok": not bad, "findings": [asdict(finding) for finding in found]}) if format is Format.json else as_text(found))
    if bad:
        raise typer.Exit(1)


def as_text(found: list[Finding]) -> str:
    """For people."""
    marks = {"ok": "  ", "note": "! ", "problem": "X "}
    lines = [f"{marks[finding.state]}{finding.subject:12} {finding.text}" for finding in found]
    steps = [finding.next for finding in found if finding.next]
    lines.append("")
    if steps:
        lines += ["What to do next:", *(f"  {number}. {step}" for number, step in enumerate(steps, 1))]
    else:
        lines.append("Everything is in order.")
    return "\n".join(lines)


def examine() -> Iterator[Finding]:
    """Everything, in the order in which it matters."""
    from qwencoder_lsp.http.host import ModelHost

    settings, problems = load()
    problems += catalogue.read_catalogue().problems
    build = probe()
    yield _machine()
    yield from _llama(build, gpus())
    host = ModelHost(settings, lambda: None)
    yield from _models(host, settings)
    yield _gateway(settings)
    yield from _reachable()
    yield _disk()
    for problem in problems:
        yield Finding("settings", "note", problem, "Correct that file.")


def _machine() -> Finding:
    memory = psutil.virtual_memory()
    size = f"{memory_bytes() / 2**30:.1f} GiB of memory, {memory.available / 2**30:.1f} GiB available"
    system = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}; qwencoder-lsp {__version__}"
    return Finding("machine", "ok", f"{cpu_model()}, {usable_cores()} usable cores; {size}. {system}.")


def _llama(build: Build, here: list[str]) -> Iterator[Finding]:
    reinstall = "pip install --force-reinstall --no-cache-dir --no-binary llama-cpp-python llama-cpp-python"
    pinned = f"{reinstall}=={build.version}" if build.version else reinstall
    if build.problem:
        yield Finding("llama.cpp", "problem", f"The installed llama.cpp cannot be used. {build.problem}", f"Build it for this machine: {pinned}")
        return
    backends = ", ".join(dict.fromkeys(device.backend for device in build.devices)) or "CPU"
    yield Finding("llama.cpp", "ok", f"llama-cpp-python {build.version}, built for {backends}.")
    devices = [device for device in build.devices if device.kind != "CPU"]
    for device in devices:
        sizes = f"{device.memory / 2**30:.1f} GiB, {device.free / 2**30:.1f} GiB free"
        yield Finding("GPU", "ok", f"{device.name} ({device.backend}, {sizes}). Models run on it as far as they fit.")
    if not devices and here:
        vendor = here[0]
        backend, arguments = OFFLOAD[vendor]
        text = f"There is a GPU of {vendor}, but this llama.cpp was not built for {backend} or does not find it: models run on the CPU."
        yield Finding("GPU", "note", text, f"Build llama.cpp for it: {arguments} {pinned}")
    elif not devices:
        yield Finding("GPU", "ok", "None was found; models run on the CPU.")


def gpus(proc: Path = Path("/proc"), devices: Path = Path("/sys/class/drm")) -> list[str]:
    """Makers of GPUs that llama.cpp has a back end for and that this machine has, as the system tells: keys of OFFLOAD."""
    if sys.platform == "darwin":
        return ["Apple"] if platform.machine() == "arm64" else []
    found = []
    if shutil.which("nvidia-smi") or (proc / "driver" / "nvidia" / "version").exists():
        found.append("NVIDIA")
    for vendor in devices.glob("card*/device/vendor"):
        try:
            if vendor.read_text("ascii").strip() == "0x1002" and "AMD" not in found:  # its PCI id
                found.append("AMD")
        except OSError:
            continue  # a card that this user may not look at
    return found


def _models(host: ModelHost, settings: Settings) -> Iterator[Finding]:
    here = store.installed()
    names = ", ".join(f"{model.name} ({model.size / 1e9:.1f} GB)" for model in here) or "none"
    yield Finding("models", "ok", f"Installed: {names}.")
    for row in store.table():
        if row.state in ("damaged", "partial"):
            word = "damaged" if row.state == "damaged" else "not complete"
            yield Finding("models", "note", f"{row.name} is {word}.", f"qwencoder-lsp models pull {row.name}")
    for role in ("completion", "chat"):
        chosen = host.explain(role)
        if chosen["model"]:
            yield Finding(role, "ok", f"{chosen['model']}. {chosen['why']}")
        elif role == "completion":
            entry = recommended(settings)
            size = f"{entry.bytes / 1e9:.1f} GB, {entry.memory(settings.engine.context) / 1e9:.1f} GB of memory"
            yield Finding(role, "problem", chosen["why"], f"Fetch {entry.title} ({size}): qwencoder-lsp models pull {entry.name}")
        else:
            yield Finding(role, "note", chosen["why"])


def recommended(settings: Settings) -> ModelEntry:
    """The model to fetch when there is none: the one that `auto` starts with, or the one that the settings name."""
    wanted = settings.model.completion
    try:
        return catalogue.find(choose.recommended() if wanted == "auto" else wanted)
    except QwencoderError:
        return catalogue.find(choose.recommended())


def _gateway(settings: Settings) -> Finding:
    try:
        now = with_gateway(settings, lambda client: client.status(), start=False)
    except GatewayError:
        return Finding("gateway", "ok", "It does not run; the first editor window or request starts it.")
    loaded = ", ".join(f"{model.name}: {model.state}" for model in now.models) or "no model asked for yet"
    return Finding("gateway", "ok", f"Process {now.pid} serves {now.windows} windows; {loaded}.")


def _reachable() -> Iterator[Finding]:
    from qwencoder_lsp.cli.reach import places

    found = places()
    for place in found:
        text = f"{place.host} answers." if not place.problem else f"{place.host} does not answer ({place.problem})."
        yield Finding(place.what, "note" if place.problem else "ok", text)
    if all(place.problem for place in found):
        step = "To install a model without a network: qwencoder-lsp models pull NAME --source FILE"
        yield Finding("network", "note", "No place that models come from can be reached.", step)


def _disk() -> Finding:
    directory = paths.models_dir()
    there = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(there).free
    text = f"{free / 1e9:.1f} GB are free in {directory}."
    if free < catalogue.find(choose.recommended()).bytes * 2 and not store.installed():
        return Finding("disk", "note", text, "Free some space, or set QWENCODER_HOME to a directory on another disk.")
    return Finding("disk", "ok", text)
