"""Messages between the gateway and an engine process.

Each is one JSON object behind a 4-byte big-endian length, `{"op": name, ...fields}`. The gateway sends Generate, Cancel and Shutdown;
the engine sends Ready or Failed once, then Chunk and exactly one Done or Error per Generate.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass, field, fields
from enum import IntEnum
from typing import Any, BinaryIO

from qwencoder_lsp.core.prompt import Stops

HEADER = struct.Struct(">I")
MAX_MESSAGE = 64 << 20


class Priority(IntEnum):
    """Scheduling classes; a lower number goes first."""

    TYPING = 0
    EXPLICIT = 1
    CHAT = 2
    REVIEW = 3
    BACKGROUND = 4


@dataclass(frozen=True, slots=True)
class Sampling:
    """temperature 0 is greedy. top_k 0, top_p 1 and min_p 0 switch that filter off; seed None draws a fresh one."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Constraint:
    """What the text must look like. kind: "json_schema" (value: the schema as JSON text), "regex", "choice" (value: JSON list of strings)
    or "prefix" (value: text that the answer must begin with, in whatever tokens)."""

    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class Generate:
    """Continue `tokens`. The newest request with the same `document` replaces an older one; None replaces nothing."""

    id: int
    tokens: tuple[int, ...]
    max_tokens: int
    stop_tokens: tuple[int, ...] = ()
    stops: Stops = field(default_factory=Stops)
    sampling: Sampling = field(default_factory=Sampling)
    priority: Priority = Priority.CHAT
    document: str | None = None
    constraint: Constraint | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Give up request `id`; it still gets its Done, with reason "cancelled"."""

    id: int


@dataclass(frozen=True, slots=True)
class Shutdown:
    """End the process. So does closing the pipe."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What was loaded. Calibrated speeds are tokens per second on this machine (prefill over 48 tokens, one decode row)."""

    model: str
    n_ctx: int
    n_vocab: int
    n_threads: int
    gpu_offload: bool
    device: str
    prefill_speed: float
    decode_speed: float
    load_ms: float


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded."""

    info: EngineInfo


@dataclass(frozen=True, slots=True)
class Failed:
    """The model could not be loaded; the process ends. `message` and `hint` are for the user."""

    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next piece of the answer: complete characters only. logprobs: natural logs, one for each of `tokens`."""

    id: int
    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """The end of request `id`.

    reason: "stop_token", "stop_string", "lines", "indent", "time", "length", "constraint", "cancelled" or "superseded".
    The times are milliseconds; queue ends when the first prefill step starts.
    """

    id: int
    reason: str
    prompt_tokens: int
    reused_tokens: int
    generated_tokens: int
    queue_ms: float
    prefill_ms: float
    decode_ms: float


@dataclass(frozen=True, slots=True)
class Error:
    """Request `id` failed; `code` as in qwencoder_lsp.errors."""

    id: int
    code: str
    message: str
    hint: str = ""


ToEngine = Generate | Cancel | Shutdown
FromEngine = Ready | Failed | Chunk | Done | Error

_OPS: dict[str, type[Any]] = {c.__name__.lower(): c for c in (Generate, Cancel, Shutdown, Ready, Failed, Chunk, Done, Error)}


def encode(message: ToEngine | FromEngine) -> bytes:
    """The message as one frame."""
    # dataclasses.asdict would copy the thousands of tokens of a prompt one by one
    values = {f.name: getattr(message, f.name) for f in fields(message)}
    body = json.dumps({"op": type(message).__name__.lower(), **values}, ensure_ascii=False, separators=(",", ":"), default=asdict).encode()
    return HEADER.pack(len(body)) + body


def decode(body: bytes) -> ToEngine | FromEngine:
    """The message in a frame's body. Raises ValueError on anything else."""
    try:
        found = json.loads(body)
        cls = _OPS[found.pop("op")]
        for name, build in (("stops", _stops), ("sampling", lambda v: Sampling(**v)), ("info", lambda v: EngineInfo(**v))):
            if name in found:
                found[name] = build(found[name])
        if found.get("constraint"):
            found["constraint"] = Constraint(**found["constraint"])
        if "priority" in found:
            found["priority"] = Priority(found["priority"])
        for name in ("tokens", "stop_tokens", "logprobs"):
            if name in found:
                found[name] = tuple(found[name])
        message: ToEngine | FromEngine = cls(**found)
        return message
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise ValueError(f"bad engine message: {error}") from error


def _stops(fields: dict[str, Any]) -> Stops:
    return Stops(**{**fields, "strings": tuple(fields.get("strings", ()))})


def read_frame(stream: BinaryIO) -> bytes | None:
    """The next frame's body from a blocking stream, or None at its end. Raises ValueError when the length is absurd."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    (size,) = HEADER.unpack(header)
    if size > MAX_MESSAGE:
        raise ValueError(f"engine message of {size} bytes")
    body = stream.read(size)
    return body if len(body) == size else None
