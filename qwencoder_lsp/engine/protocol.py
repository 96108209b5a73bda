"""Messages between the gateway and an engine process.

Each is one JSON object behind a 4-byte big-endian length, `{"op": name, ...fields}`; the tokens of a Generate are base64 of native 32-bit ids.
The gateway sends Generate, Embed, Cancel, Unload and Shutdown; the engine sends Ready or Failed once, then Chunk and exactly one Done or Error per
Generate, one Vectors or Error per Embed, Loaded or Unloaded whenever its model enters or leaves memory, and Calibrated when it has learnt how fast
this machine is.
"""

from __future__ import annotations

import json
import struct
from array import array
from base64 import b64decode, b64encode
from collections.abc import AsyncGenerator
from dataclasses import asdict, dataclass, field, fields
from enum import IntEnum
from typing import Any, BinaryIO, Protocol, get_args

from qwencoder_lsp.core.prompt import Stops

HEADER = struct.Struct(">I")
MAX_MESSAGE = 64 << 20
TUPLES = ("tokens", "stop_tokens", "suffix", "inputs", "logprobs", "top", "scores", "cuts", "line_ends", "costs", "vectors", "adapters")


class Priority(IntEnum):
    """Scheduling classes; a lower number goes first."""

    TYPING = 0
    EXPLICIT = 1
    CHAT = 2
    REVIEW = 3
    BACKGROUND = 4


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a token is chosen. temperature 0 is greedy; top_k 0, top_p 1 and min_p 0 switch that filter off; seed None draws a fresh one.

    repeat_penalty (1 is off) counts the last `penalty_window` tokens of prompt and answer; presence_penalty and frequency_penalty (0 is off)
    count the tokens of the answer. logit_bias: (token, added to its logit). logprobs: whether each token's log-probability is reported, which
    takes a pass over the vocabulary; top_logprobs: so many alternatives are reported with it.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int | None = None
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    penalty_window: int = 64
    logit_bias: tuple[tuple[int, float], ...] = ()
    logprobs: bool = True
    top_logprobs: int = 0


@dataclass(frozen=True, slots=True)
class Constraint:
    """What the text must look like. kind: "json_schema" (value: the schema as JSON text), "regex", "choice" (value: JSON list of strings), "lark"
    (a grammar in llguidance's dialect of Lark, from prompt.tools), "prefix" (value: text that the answer must begin with, in whatever tokens) or
    "heal" (the same with text that was taken back from the end of the prompt, so that it is not part of the answer's text). close: bring JSON to a
    valid end where max_tokens comes near, with values that need not be the model's."""

    kind: str
    value: str
    close: bool = False


@dataclass(frozen=True, slots=True)
class Generate:
    """Continue `tokens`. The newest request with the same `document` replaces an older one; None replaces nothing.

    index: which of several candidates for one prompt this is; only candidate 0 replaces older requests of its document. Candidates, like all
    requests with a common prefix, share one prefill. lane: the context that holds the KV, "typing" or "bulk"; a prompt too long for "typing"
    goes to "bulk". speculate: whether tokens may be drafted from the prompt; copies: the index in `tokens` of text that the answer may begin to
    copy. deadline_ms: end with reason "deadline" after this time in the
    engine, waiting included. suffix: the first tokens of the text behind the hole; where the answer arrives at them with a mean
    log-probability of at least suffix_min it ends before them, with reason "suffix". score_from: report in Done the
    log-probability of each of tokens[score_from:], and then generate. max_tokens 0: only that, or only compute the prompt, so that it is warm.
    workspace: the KV of the first `keep` tokens may be saved on disk under this name (32 hexadecimal digits), and what is saved there may be used;
    empty: neither.
    adapters: files of LoRA adapters with their scales.
    """

    id: int
    tokens: tuple[int, ...]
    max_tokens: int
    stop_tokens: tuple[int, ...] = ()
    stops: Stops = field(default_factory=Stops)
    sampling: Sampling = field(default_factory=Sampling)
    priority: Priority = Priority.CHAT
    document: str | None = None
    constraint: Constraint | None = None
    lane: str = "bulk"
    index: int = 0
    speculate: bool = True
    copies: int | None = None
    deadline_ms: float | None = None
    suffix: tuple[int, ...] = ()
    suffix_min: float = -1.0
    score_from: int | None = None
    workspace: str = ""
    keep: int = 0
    adapters: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Embed:
    """Turn each of `inputs` (token ids) into one vector. Runs when no completion wants the engine."""

    id: int
    inputs: tuple[tuple[int, ...], ...]
    priority: Priority = Priority.BACKGROUND


@dataclass(frozen=True, slots=True)
class Cancel:
    """Give up request `id`; a Generate still gets its Done, with reason "cancelled"."""

    id: int


@dataclass(frozen=True, slots=True)
class Unload:
    """Free the model once nothing runs; computed prefixes stay in host memory. The next request loads it again."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """End the process. So does closing the pipe."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What was loaded. Calibrated speeds are tokens per second on this machine (prefill over 48 tokens, one decode row).

    n_ctx: tokens of the typing lane; max_ctx: the longest prompt with its answer that any lane can hold;
    embed_ctx: the longest text to embed. 0: not known.
    """

    model: str
    n_ctx: int
    n_vocab: int
    n_threads: int
    gpu_offload: bool
    device: str
    prefill_speed: float
    decode_speed: float
    load_ms: float
    max_ctx: int = 0
    embed_ctx: int = 0


@dataclass(frozen=True, slots=True)
class Ready:
    """The engine takes requests; its model is loaded."""

    info: EngineInfo


@dataclass(frozen=True, slots=True)
class Loaded:
    """The model is in memory again, after `load_ms` milliseconds."""

    load_ms: float


@dataclass(frozen=True, slots=True)
class Unloaded:
    """The model has left memory; `host_bytes` of computed prefixes are kept."""

    host_bytes: int


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What steps cost on this machine: (rows, of them with logits, milliseconds) of a decode, in ascending order."""

    costs: tuple[tuple[int, int, float], ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """The model could not be loaded; the process ends. `message` and `hint` are for the user."""

    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next piece of the answer: complete characters only. logprobs: natural logs, one for each of `tokens`, where Sampling.logprobs is set.

    top: for each of `tokens` the most probable (token, logprob) pairs, best first; empty unless Sampling.top_logprobs asked for them.
    """

    id: int
    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    top: tuple[tuple[tuple[int, float], ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """The end of request `id`.

    reason: "stop_token", "stop_string", "lines", "indent", "time", "repetition", "unsure_line", "unsure_word", "length", "constraint", "closed"
    (brought to the end of its constraint because max_tokens came near), "suffix", "deadline", "scored", "cancelled" or "superseded".
    The times are milliseconds; queue ends when the first prefill step starts. reused: prompt tokens that were in the KV memory, `restored` of
    them from host memory. drafted, accepted: tokens guessed by speculation and those of them that were right. preempted: steps that were
    broken off for something more urgent. evaluated: rows computed for this request, wrong guesses included.
    native_ms: the part of decode_ms spent inside llama_decode. scores: what Generate.score_from asked for; top: for each of them the most
    probable (token, logprob) pairs, as in Chunk. cuts, where there is a suffix:
    (code points of the answer, log-probability that it ended there instead of going on), in front of each token where that is not next to nothing.
    line_ends: (code points of the answer, log-probability of what stands between the end of its first line and there), where lines with text end.
    held_bytes: what the model's computed prefixes in host memory take now. stopping_word: the stop string, with reason "stop_string".
    """

    id: int
    reason: str
    prompt_tokens: int
    reused_tokens: int
    generated_tokens: int
    queue_ms: float
    prefill_ms: float
    decode_ms: float
    restored_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    preempted: int = 0
    native_ms: float = 0.0
    scores: tuple[float, ...] = ()
    cuts: tuple[tuple[int, float], ...] = ()
    line_ends: tuple[tuple[int, float], ...] = ()
    evaluated_tokens: int = 0
    held_bytes: int = 0
    top: tuple[tuple[tuple[int, float], ...], ...] = ()
    stopping_word: str = ""


@dataclass(frozen=True, slots=True)
class Vectors:
    """The answer to an Embed: one vector per input, of length 1, as base64 of little-endian float32."""

    id: int
    vectors: tuple[str, ...]
    tokens: int


@dataclass(frozen=True, slots=True)
class Error:
    """Request `id` failed; `code` as in qwencoder_lsp.errors."""

    id: int
    code: str
    message: str
    hint: str = ""


@dataclass(slots=True)
class Running:
    """A request that the engine works on, or that waits for it. work: its Priority; since: of time.monotonic; prompt, generated: tokens."""

    work: str
    since: float
    prompt: int
    generated: int = 0


class Engine(Protocol):
    """A model that answers, in a process of ours (engine/supervise.py) or elsewhere (engine/remote.py). pid: of that process. loaded: whether
    the model is in memory. evaluated: tokens computed since it started."""

    info: EngineInfo
    loaded: bool
    evaluated: int

    @property
    def pid(self) -> int | None: ...

    @property
    def alive(self) -> bool:
        """Whether it can take requests."""
        ...

    @property
    def active(self) -> int:
        """Requests that are running or waiting."""
        ...

    @property
    def running(self) -> tuple[Running, ...]:
        """The same requests, the oldest first."""
        ...

    def generate(self, request: Generate) -> AsyncGenerator[Chunk | Done, None]:
        """Chunks and a final Done. Closing the iterator cancels the request. Raises QwencoderError."""
        ...

    async def embed(self, request: Embed) -> Vectors:
        """One vector per input. Raises QwencoderError."""
        ...

    def unload(self) -> None:
        """Let the model leave memory once nothing runs."""
        ...

    async def stop(self) -> None:
        """End it."""
        ...


ToEngine = Generate | Embed | Cancel | Unload | Shutdown
FromEngine = Ready | Failed | Loaded | Unloaded | Calibrated | Chunk | Done | Vectors | Error

_OPS: dict[str, type[Any]] = {c.__name__.lower(): c for c in (*get_args(ToEngine), *get_args(FromEngine))}


def encode(message: ToEngine | FromEngine) -> bytes:
    """The message as one frame."""
    # dataclasses.asdict would copy the thousands of tokens of a prompt one by one, and so many numbers are slow to write in decimal
    values = {f.name: getattr(message, f.name) for f in fields(message)}
    if isinstance(message, Generate):
        values["tokens"] = b64encode(array("i", message.tokens)).decode("ascii")
    body = json.dumps({"op": type(message).__name__.lower(), **values}, ensure_ascii=False, separators=(",", ":"), default=asdict).encode()
    return HEADER.pack(len(body)) + body


def decode(body: bytes) -> ToEngine | FromEngine:
    """The message in a frame's body. Raises ValueError on anything else."""
    try:
        found = json.loads(body)
        cls = _OPS[found.pop("op")]
        for name, build in (("stops", _stops), ("sampling", _sampling), ("info", lambda v: EngineInfo(**v))):
            if name in found:
                found[name] = build(found[name])
        if found.get("constraint"):
            found["constraint"] = Constraint(**found["constraint"])
        if "priority" in found:
            found["priority"] = Priority(found["priority"])
        if cls is Generate:
            found["tokens"] = tuple(array("i", b64decode(found["tokens"], validate=True)))
        for name in TUPLES:
            if isinstance(found.get(name), list):
                found[name] = _tuple(found[name])
        message: ToEngine | FromEngine = cls(**found)
        return message
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise ValueError(f"bad engine message: {error}") from error


def _tuple(value: list[Any]) -> tuple[Any, ...]:
    """JSON arrays as tuples, at every depth. A prompt's thousands of ids are not looked at one by one."""
    return tuple(_tuple(v) for v in value) if value and isinstance(value[0], list) else tuple(value)


def _sampling(fields: dict[str, Any]) -> Sampling:
    return Sampling(**{**fields, "logit_bias": _tuple(fields.get("logit_bias", []))})


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
