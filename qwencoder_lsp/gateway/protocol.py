"""The wire between a language server (or the command line) and the gateway: JSON over HTTP, answers as NDJSON streams.

    GET    /qwencoder/hello?nonce=N   Hello; proof = HMAC-SHA256(token, nonce) as hex, so that both sides know the token before any source is sent
    GET    /qwencoder/events          stream of Status, one per change; the open connection is the client's lease on the gateway
    GET    /qwencoder/status          Status
    POST   /qwencoder/window          the typing path: one connection per window, lines of Ask -> lines of events with the `id` of what they answer
    POST   /qwencoder/complete        CompleteRequest -> stream of events
    POST   /qwencoder/chat            ChatRequest -> stream of events
    POST   /qwencoder/models/pull     PullRequest -> stream of events
    POST   /qwencoder/listen          ListenRequest -> stream of one event; the gateway also serves on TCP while the stream is open
    POST   /qwencoder/shutdown        end the gateway
    ...    /service/...               the routes that `qwencoder-lsp serve` offers on TCP

Every route but hello needs `Authorization: Bearer TOKEN`. Stream events are objects with a `type`: "start", "chunk", "progress", "listening", "done"
or "error".
Closing a stream cancels its work.

On the window's channel both bodies are chunked and stay open, so that a key costs no connection, no headers and no routing. Each line of the request
body is an Ask: `{"id": N, "complete": CompleteRequest}` starts work, `{"id": N}` cancels it; `{"id": 0, "outcomes": [Outcome, ...]}` tells for the
history what became of requests in this window, and gets no answer. Each line of the answer is an event with the `id` of what it answers; all but the
last of a request may be held back for 2 ms, and text that follows on text may be joined to one "chunk". Work that was cancelled gets no last event.
The gateway says nothing before it is asked. Closing the connection cancels all of its work.

A client and a gateway work together when their PROTOCOL is equal, whatever the package versions.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from qwencoder_lsp.core.outcome import Outcome
from qwencoder_lsp.core.prompt import Message, PromptParts, Stops
from qwencoder_lsp.core.report import Timings, Usage

PROTOCOL = 9
HASHED_KEY = "sha256:"  # an API key of ListenRequest that is given as the hex digits of its SHA-256
SERVICE = "/service"  # under it, the routes of the HTTP service


@dataclass(frozen=True, slots=True)
class Hello:
    """Who answers on the socket."""

    protocol: int
    version: str
    pid: int
    proof: str


@dataclass(frozen=True, slots=True)
class CompleteRequest:
    """Fill in the middle. model: a name, a path or "auto". document: newest-wins key, unique per window and document; None replaces nothing.

    ahead: work for what the user may do next, which waits for everything else. max_tokens 0: only read the prompt, so that it is warm.
    near: read no more of the surroundings than takes two seconds. candidate: 0 asks for the most probable answer, other numbers for others.
    max_prefix, max_suffix: token budgets; None lets the gateway choose by the machine's measured speed. workspace: 32 hexadecimal digits that stand
    for the workspace, under which computed prefixes may be saved, since the parts went through the secret guard; empty: nothing is saved.
    """

    parts: PromptParts
    model: str = "auto"
    max_tokens: int = 64
    stops: Stops = field(default_factory=Stops)
    explicit: bool = False
    document: str | None = None
    max_prefix: int | None = None
    max_suffix: int | None = None
    ahead: bool = False
    near: bool = False
    candidate: int = 0
    workspace: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """One line to the window's channel. id: chosen by the client, not used by other work that runs there. complete None: cancel `id`, or where
    there are outcomes, note them."""

    id: int
    complete: CompleteRequest | None = None
    outcomes: tuple[Outcome, ...] = ()


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A conversation. json_schema: JSON text of a schema that the answer must satisfy. priority: a name of engine.protocol.Priority."""

    messages: tuple[Message, ...]
    model: str = "auto"
    max_tokens: int = 1024
    temperature: float = 0.0
    json_schema: str | None = None
    priority: str = "CHAT"
    document: str | None = None


@dataclass(frozen=True, slots=True)
class PullRequest:
    """Fetch a model. source: as for models.pull.pull. accepted: the licence that the user has seen and accepted."""

    name: str
    source: str = "auto"
    accepted: str = ""


@dataclass(frozen=True, slots=True)
class ListenRequest:
    """Serve on TCP. keys: clients must send one of them, each plain or as HASHED_KEY; an address that other machines reach is refused without any.
    key_concurrency, key_rate: requests of one key at once and per minute, 0 for any number. ollama_port: a second port,
    for clients that look for Ollama."""

    host: str
    port: int
    keys: tuple[str, ...] = ()
    key_concurrency: int = 0
    key_rate: int = 0
    max_body_mb: int = 32
    ollama_port: int | None = None

    def __repr__(self) -> str:
        """Without the keys."""
        return f"ListenRequest({self.host!r}, {self.port}, {len(self.keys)} keys)"


@dataclass(frozen=True, slots=True)
class ModelState:
    """One model as the gateway sees it. state: "missing", "unloaded", "loading", "ready" or "failed". evaluated: tokens computed since it started."""

    name: str
    state: str
    detail: str = ""
    pid: int | None = None
    device: str = ""
    prefill_speed: float = 0.0
    decode_speed: float = 0.0
    evaluated: int = 0


@dataclass(frozen=True, slots=True)
class Status:
    """The gateway at one moment. completion_model is what "auto" means for completion now; listening is "host:port", empty, or two of them."""

    pid: int
    version: str
    windows: int
    active: int
    completion_model: str
    chat_model: str
    listening: str = ""
    models: tuple[ModelState, ...] = ()


@dataclass(frozen=True, slots=True)
class Start:
    """First event of a stream: the prompt is rendered. `model` is the one that answers; why: what made "auto" mean it, "" where it was named.

    Of a completion also how: digest: of the prompt's token ids; max_prefix, max_suffix: the budgets that counted; shares: its tokens by part.
    """

    model: str
    usage: Usage
    render_ms: float
    digest: str = ""
    max_prefix: int = 0
    max_suffix: int = 0
    shares: dict[str, int] = field(default_factory=dict)
    why: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """More text. logprobs: one per token of the piece; tokens: their ids."""

    text: str
    logprobs: tuple[float, ...] = ()
    tokens: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long task is, in bytes. total 0 means unknown."""

    done: int
    total: int
    message: str = ""


@dataclass(frozen=True, slots=True)
class End:
    """Last event of a good stream; reason, cuts and line_ends as in engine.protocol.Done, reason "pulled" after a download."""

    reason: str
    usage: Usage = field(default_factory=Usage)
    timings: Timings = field(default_factory=Timings)
    cuts: tuple[tuple[int, float], ...] = ()
    line_ends: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Listening:
    """The gateway now also answers on TCP at `address` ("host:port"), and at `ollama` where that was asked for."""

    address: str
    ollama: str = ""


Event = Start | Piece | Progress | Listening | End

EVENT_NAMES: dict[str, type[Event]] = {"start": Start, "chunk": Piece, "progress": Progress, "listening": Listening, "done": End}
