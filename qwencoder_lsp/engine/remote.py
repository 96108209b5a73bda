"""A model that runs elsewhere in the place of an engine process: vLLM, SGLang, llama-server, Ollama or whatever speaks OpenAI's completions.

A Generate in the tokens of engine/pieces.py goes in, becomes a finished text and one streamed request, and chunks come out. Declarative stops, and
that the newest request of a document replaces its older one, are seen to here, because no such server knows them. Closing the connection cancels.
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from qwencoder_lsp.engine.dialects import Dialect, dialect_of
from qwencoder_lsp.engine.pieces import prompt_text
from qwencoder_lsp.engine.protocol import Chunk, Done, Embed, EngineInfo, Generate, Running, Vectors
from qwencoder_lsp.engine.stops import StopState
from qwencoder_lsp.errors import EngineBusy, EngineFailed, ModelUnsuitable, QwencoderError, RequestError

if TYPE_CHECKING:
    import httpx2

CONNECT_S, READ_S = 10.0, 600.0
CLOSED_BEFORE = 2  # connections that may turn out to be closed before one is used that is new
CONTEXT = 8192  # tokens, of a server that does not say
PREFILL_SPEED = 500.0  # tokens per second, from which budgets follow: what a server that has been put up for this does at least
Ended = Callable[[Done], None]


class RemoteEngine:
    """Make it with `connect`. ended: told the account of each request. Safe for many concurrent requests in one event loop."""

    def __init__(self, client: httpx2.AsyncClient, dialect: Dialect, info: EngineInfo, ended: Ended) -> None:
        self.info, self.alive, self.evaluated = info, True, 0
        self.pid, self.loaded = None, True
        self._client, self._dialect, self._ended = client, dialect, ended
        self._documents: dict[str, asyncio.Event] = {}
        self._running: list[Running] = []

    @classmethod
    async def connect(cls, url: str, key: str, model: str, ended: Ended) -> RemoteEngine:
        """Ask the server at `url` what it is, and for its model of that name, or its first one where none is given.

        Raises EngineFailed when nobody answers, the key is refused, or there is no such model.
        """
        import httpx2

        headers = {"authorization": f"Bearer {key}"} if key else {}
        base = url.rstrip("/").removesuffix("/v1")
        client = httpx2.AsyncClient(base_url=base, headers=headers, timeout=httpx2.Timeout(READ_S, connect=CONNECT_S))
        try:
            answer = await client.get("/v1/models")
            await _check(answer, base)
            rows = answer.json()["data"]
            found = next((row for row in rows if model in ("", row["id"])), None)
            if found is None:
                there = ", ".join(row["id"] for row in rows) or "none"
                raise EngineFailed(f"The server at {base} has no model {model!r}.", f"Set remote.model to one of: {there}.")
            dialect = dialect_of(str(found.get("owned_by", "")))
            context = await _context(client, found)
            info = EngineInfo(str(found["id"]), context, 0, 0, True, f"{dialect.name} at {base}", PREFILL_SPEED, 0.0, 0.0, context)
        except QwencoderError:
            await client.aclose()
            raise
        except (httpx2.HTTPError, ValueError, LookupError, TypeError, AttributeError) as error:
            await client.aclose()
            raise EngineFailed(f"Nothing that serves models answers at {base} ({type(error).__name__}).", "Check remote.url.") from error
        return cls(client, dialect, info, ended)

    @property
    def active(self) -> int:
        """Requests that are running."""
        return len(self._running)

    @property
    def running(self) -> tuple[Running, ...]:
        """The same requests, the oldest first."""
        return tuple(self._running)

    async def generate(self, request: Generate) -> AsyncGenerator[Chunk | Done, None]:
        """Chunks and a final Done. Closing the iterator cancels the request. Raises EngineFailed, EngineBusy, RequestError, ModelUnsuitable."""
        body = self._body(request)
        replaced = asyncio.Event()
        if request.document is not None and request.index == 0:
            if older := self._documents.get(request.document):
                older.set()
            self._documents[request.document] = replaced
        work = Running(request.priority.name, time.monotonic(), len(request.tokens))
        self._running.append(work)
        try:
            async with aclosing(self._answer(request, body, replaced)) as answers:
                async for answer in answers:
                    if isinstance(answer, Chunk):
                        work.generated += len(answer.tokens) or 1
                    else:
                        self.evaluated += answer.prompt_tokens + answer.generated_tokens
                        self._ended(answer)
                    yield answer
        finally:
            self._running.remove(work)
            if request.document is not None and self._documents.get(request.document) is replaced:
                del self._documents[request.document]

    async def embed(self, request: Embed) -> Vectors:
        """One vector per input. Raises as `generate` does."""
        body = {"model": self.info.model, "input": [prompt_text(tokens) for tokens in request.inputs]}
        try:
            async with aclosing(await self._post("/v1/embeddings", body)) as answer:
                await answer.aread()
            await _check(answer, str(self._client.base_url))
            found = answer.json()
            vectors = tuple(_packed(row["embedding"]) for row in found["data"])
            return Vectors(request.id, vectors, int(found["usage"]["prompt_tokens"]))
        except (ValueError, LookupError, TypeError) as error:
            raise ModelUnsuitable(f"{self._dialect.name} gave no vectors.", "Start it with a model for embeddings.") from error
        except _http_error() as error:
            raise self._gone(error) from error

    def unload(self) -> None:
        """Nothing: when its model leaves memory is the server's business."""

    async def stop(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _answer(self, request: Generate, body: dict[str, Any], replaced: asyncio.Event) -> AsyncGenerator[Chunk | Done, None]:
        start = time.monotonic()
        stops = StopState(request.stops, lambda: time.monotonic() * 1000)
        pending: tuple[float, ...] = ()
        reason, first, usage = "" if request.max_tokens else "length", 0.0, _Usage(len(request.tokens))
        if not reason:
            async with aclosing(_until(replaced, self._pieces(body))) as pieces:
                async for text, logprobs, ended in pieces:
                    usage.note(ended, logprobs)
                    first = first or time.monotonic()
                    emit, fired = stops.feed(text, sum(logprobs))
                    pending += logprobs
                    if emit:
                        yield Chunk(request.id, emit, (0,) * len(pending), pending)
                        pending = ()
                    if fired:
                        reason = fired
                        break
            reason = reason or ("superseded" if replaced.is_set() else usage.reason or "stop_token")
        if reason in ("length", "stop_token") and (rest := stops.flush()):
            yield Chunk(request.id, rest, (0,) * len(pending), pending)
        now = time.monotonic()
        prefill_ms, decode_ms = ((first or now) - start) * 1000, (now - first) * 1000 if first else 0.0
        yield Done(
            request.id,
            reason,
            usage.prompt,
            usage.reused,
            usage.generated,
            0.0,
            prefill_ms,
            decode_ms,
            line_ends=tuple(stops.line_ends),
            stopping_word=stops.word,
        )

    async def _pieces(self, body: dict[str, Any]) -> AsyncGenerator[tuple[str, tuple[float, ...], dict[str, Any]], None]:
        """(text, log-probabilities, the whole event) as they come. Raises QwencoderError."""
        try:
            async with aclosing(await self._post(self._dialect.path, body)) as answer:
                if answer.status_code >= 400:
                    await answer.aread()
                await _check(answer, str(self._client.base_url))
                async with aclosing(self._objects(answer.aiter_lines())) as objects:
                    async for found in objects:
                        if "error" in found:
                            raise EngineFailed(f"{self._dialect.name} failed: {_message(found)}.", "See its logs.")
                        choice = found if self._dialect.lines else next(iter(found.get("choices") or ()), {})
                        yield str(choice.get("response" if self._dialect.lines else "text") or ""), _logprobs(choice), found
        except _http_error() as error:
            raise self._gone(error) from error

    async def _post(self, path: str, body: dict[str, Any]) -> httpx2.Response:
        """The begun response, which the caller closes. Raises httpx2.HTTPError.

        llama-server closes a connection behind a stream without having said so, which is often seen only when the next request is on its way: that
        one is sent again.
        """
        import httpx2

        request = self._client.build_request("POST", path, json=body)
        for _ in range(CLOSED_BEFORE):
            try:
                return await self._client.send(request, stream=True)
            except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError):
                continue
        return await self._client.send(request, stream=True)

    async def _objects(self, lines: AsyncIterator[str]) -> AsyncGenerator[dict[str, Any], None]:
        async for line in lines:
            data = line if self._dialect.lines else line.removeprefix("data:").strip() if line.startswith("data:") else ""
            if data and data != "[DONE]":
                try:
                    yield json.loads(data)
                except ValueError as error:
                    raise EngineFailed(f"{self._dialect.name} sent something that is no JSON.", "See its logs.") from error

    def _body(self, request: Generate) -> dict[str, Any]:
        """Raises ModelUnsuitable for what this server cannot do."""
        dialect, sampling = self._dialect, request.sampling
        if request.score_from is not None or sampling.logit_bias or sampling.top_logprobs:
            raise self._cannot("score texts or weigh tokens for this service")
        values: dict[str, Any] = {"max_tokens": request.max_tokens, "temperature": sampling.temperature, "top_p": sampling.top_p}
        optional = {
            "top_k": sampling.top_k,
            "min_p": sampling.min_p,
            "presence_penalty": sampling.presence_penalty,
            "frequency_penalty": sampling.frequency_penalty,
            "repeat_penalty": 0 if sampling.repeat_penalty == 1 else sampling.repeat_penalty,
            "ignore_eos": not request.stop_tokens,
        }
        values |= {name: value for name, value in optional.items() if value}
        if sampling.seed is not None:
            values["seed"] = sampling.seed
        if request.stops.strings and len(request.stops.strings) <= dialect.stops:
            values["stop"] = list(request.stops.strings)  # those that are too many are seen to here, as all the other rules are
        named = {called: value for name, value in values.items() if (called := dialect.names.get(name, name))}
        body: dict[str, Any] = {"model": self.info.model, "prompt": prompt_text(request.tokens), "stream": True, **dialect.always}
        body |= {dialect.nested: named} if dialect.nested else named
        if not dialect.lines:
            body["stream_options"] = {"include_usage": True}
        if sampling.logprobs and dialect.logprobs and request.lane == "typing":
            body["logprobs"] = 1
        if request.constraint is not None:
            self._constrain(body, request.constraint.kind, request.constraint.value)
        return body

    def _constrain(self, body: dict[str, Any], kind: str, value: str) -> None:
        if kind in ("heal", "prefix"):  # what the answer has to begin with: here it can only stand in front of it
            body["prompt"] += value
            return
        path = self._dialect.constraints.get(kind)
        if path is None:
            words = {"json_schema": "obey a JSON schema", "regex": "obey a regular expression", "choice": "choose from a list"}
            raise self._cannot(words.get(kind, "call tools under a grammar"))
        at = body
        for name in path[:-1]:
            at = at.setdefault(name, {})
        at[path[-1]] = value if kind == "regex" or self._dialect.schema_text else json.loads(value)
        if path[0] == "response_format":
            body["response_format"]["type"] = kind

    def _cannot(self, what: str) -> ModelUnsuitable:
        return ModelUnsuitable(f"{self._dialect.name} cannot {what}.", "Leave that out, or use a model that runs here: model.chat.")

    def _gone(self, error: Exception) -> EngineFailed:
        self.alive = False  # asked anew who it is, before the next request
        return EngineFailed(f"{self._dialect.name} at {self._client.base_url} does not answer ({type(error).__name__}).", "See whether it runs.")


class _Usage:
    """The account of one request: the server's where it gives one, otherwise what was counted here."""

    def __init__(self, prompt: int) -> None:
        self.prompt, self.generated, self.reused, self.reason = prompt, 0, 0, ""

    def note(self, event: dict[str, Any], logprobs: tuple[float, ...]) -> None:
        """Take what an event says."""
        self.generated += max(1, len(logprobs))
        reason = event.get("done_reason") or next((choice.get("finish_reason") for choice in event.get("choices") or ()), None)
        if usage := event.get("usage"):
            self.prompt, self.generated = usage.get("prompt_tokens", self.prompt), usage.get("completion_tokens", self.generated)
            self.reused = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        elif "eval_count" in event:
            self.prompt, self.generated = event.get("prompt_eval_count", self.prompt), event["eval_count"]
        if reason:
            self.reason = "length" if reason == "length" else "stop_token"


async def _until(replaced: asyncio.Event, pieces: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    """What comes until a newer request takes the place of this one."""
    waiting = asyncio.ensure_future(replaced.wait())
    try:
        while True:
            coming = asyncio.ensure_future(anext(pieces))
            try:
                await asyncio.wait((coming, waiting), return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not coming.done():
                    coming.cancel()
                    await asyncio.gather(coming, return_exceptions=True)
            if coming.cancelled():
                return
            try:
                yield coming.result()
            except StopAsyncIteration:
                return
    finally:
        waiting.cancel()
        await pieces.aclose()


async def _context(client: httpx2.AsyncClient, row: dict[str, Any]) -> int:
    """Tokens of a prompt with its answer."""
    if known := row.get("max_model_len") or (row.get("meta") or {}).get("n_ctx"):
        return int(known)
    if row.get("owned_by") == "llamacpp":
        props = await client.get("/props")
        if props.status_code == 200:
            return int(props.json()["default_generation_settings"]["n_ctx"])
    return CONTEXT


async def _check(answer: httpx2.Response, base: str) -> None:
    """Raise what the status means."""
    status = answer.status_code
    if status < 400:
        return
    try:
        said = _message(answer.json())
    except ValueError:
        said = f"status {status}"
    if status in (401, 403):
        raise EngineFailed(f"The server at {base} refuses the key: {said}.", "Set QWENCODER_REMOTE_KEY or remote.key_file.")
    if status == 429:
        raise EngineBusy(f"The server at {base} has too much to do: {said}.", "Try again in a moment.")
    if status < 500:
        raise RequestError(f"The server at {base} refuses the request: {said}.", "See remote.url and remote.model.")
    raise EngineFailed(f"The server at {base} failed: {said}.", "See its logs.")


def _message(body: Any) -> str:
    error = body.get("error", body) if isinstance(body, dict) else body
    found = error.get("message", error) if isinstance(error, dict) else error
    return str(found).rstrip(".")[:500]


def _logprobs(choice: dict[str, Any]) -> tuple[float, ...]:
    """As OpenAI sends them, or as llama-server does."""
    found = choice.get("logprobs") or {}
    values = found.get("token_logprobs") or [row.get("logprob") for row in found.get("content") or ()]
    return tuple(float(value) for value in values if value is not None)


def _packed(vector: list[float]) -> str:
    length = sum(value * value for value in vector) ** 0.5 or 1.0
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *(value / length for value in vector))).decode("ascii")


def _http_error() -> type[Exception]:
    import httpx2

    return httpx2.HTTPError
