"""Ollama's routes, for clients that speak only those: what they send and read is in its docs/api.md. Streams are one JSON object per line."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from datetime import datetime, timezone
from typing import Any

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import PlainTextResponse, Response

from qwencoder_lsp.engine.protocol import Chunk, Done, Engine
from qwencoder_lsp.errors import QwencoderError, RequestError
from qwencoder_lsp.http.candidates import answers
from qwencoder_lsp.http.downloads import Downloads
from qwencoder_lsp.http.failures import field_error, ollama_failure
from qwencoder_lsp.http.models_routes import present
from qwencoder_lsp.http.ollama_bodies import Answered, EmbedBody, GenerateBody, ModelName, OllamaChatBody, PullBody
from qwencoder_lsp.http.ollama_calls import Spoken
from qwencoder_lsp.http.ollama_template import go_template
from qwencoder_lsp.http.openai_bodies import ChatBody, CompletionBody, EmbeddingBody
from qwencoder_lsp.http.openai_embeddings import embeddings
from qwencoder_lsp.http.openai_plan import chat_model, plan_chat, plan_completion, text_model
from qwencoder_lsp.http.openai_shapes import finish_reason, left_out
from qwencoder_lsp.http.service import Service
from qwencoder_lsp.http.stream import JsonReply, LineStream
from qwencoder_lsp.models.catalogue import ModelEntry, find
from qwencoder_lsp.models.store import InstalledModel
from qwencoder_lsp.prompt.chat import template_of

Dict = dict[str, Any]
Asked = Callable[[], CompletionBody | ChatBody]
Said = Callable[[str], Dict]

VERSION = "0.12.6"  # the one of Ollama whose API these routes follow; clients compare it with what they need
FAMILY = "qwen2"
MS = 1_000_000  # nanoseconds


def ollama_routes(service: Service, downloads: Downloads) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["Ollama"])

    @router.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def root() -> Response:
        return PlainTextResponse("Ollama is running")  # what its clients look for

    @router.get("/api/version")
    async def version() -> Dict:
        return {"version": VERSION}

    @router.get("/api/tags")
    async def tags() -> Dict:
        return {"models": [_row(model) for model in present(service)]}

    @router.get("/api/ps")
    async def ps() -> Dict:
        found = [(model, service.host.engine(model)) for model in service.host.models()]
        return {"models": [_loaded(service, model, engine) for model, engine in found if engine and engine.loaded]}

    @router.post("/api/show")
    async def show(body: ModelName) -> Response:
        return JsonReply(lambda: _shown(service, body), ollama_failure)

    @router.post("/api/generate")
    async def generate(body: GenerateBody) -> Response:
        return _answer(service, body, body.asked if body.prompt or body.suffix else None, lambda text: {"response": text})

    @router.post("/api/chat")
    async def chat(body: OllamaChatBody) -> Response:
        return _answer(service, body, body.asked if body.messages else None, lambda text: {"message": {"role": "assistant", "content": text}})

    @router.post("/api/embed")
    @router.post("/api/embeddings")
    async def embed(body: EmbedBody, request: Request) -> Response:
        one = request.url.path.endswith("embeddings")
        return JsonReply(lambda: _embedded(service, body, one=one), ollama_failure)

    @router.post("/api/pull")
    async def pull(body: PullBody) -> Response:
        lines = _pulled(downloads, body.model)
        return LineStream(lines, failed=ollama_failure) if body.stream else JsonReply(lambda: _last(lines), ollama_failure)

    return router


def _answer(service: Service, body: Answered, asked: Asked | None, said: Said) -> Response:
    lines = _lines(service, body, asked, said) if asked else _moved(service, body, said)
    return LineStream(lines, failed=ollama_failure) if body.stream else JsonReply(lambda: _last(lines), ollama_failure)


async def _last(lines: AsyncGenerator[Dict, None]) -> Dict:
    found: Dict = {}
    async with aclosing(lines):
        async for line in lines:
            found = line
    return found


def _checked(asked: Asked) -> CompletionBody | ChatBody:
    try:
        return asked()
    except ValidationError as error:
        raise field_error(error) from error


async def _moved(service: Service, body: Answered, said: Said) -> AsyncGenerator[Dict, None]:
    """A request without a prompt loads the model, or unloads it."""
    with service.working():
        model = chat_model(service, body.model)
        if body.unloads:
            service.host.unload(model)
        else:
            await service.host.load(model)
        yield {**_head(model), **said(""), "done": True, "done_reason": "unload" if body.unloads else "load"}


@contextmanager
def _kept(service: Service, model: InstalledModel, body: Answered) -> Iterator[None]:
    """While the model works for `body`."""
    try:
        yield
    finally:
        if body.unloads:
            service.host.unload(model)


async def _lines(service: Service, body: Answered, asked: Asked, said: Said) -> AsyncGenerator[Dict, None]:
    """The answer as it comes, and its account with the rest at the end; without a stream everything is in the last line."""
    with service.working():
        start = time.perf_counter()
        request = _checked(asked)
        # exact: num_predict is an upper limit there, for which no room is kept
        plan = await (plan_chat(service, request, exact=False) if isinstance(request, ChatBody) else plan_completion(service, request, exact=False))
        loaded = time.perf_counter()
        kept, spoken = "", Spoken(plan.tools) if plan.tools else None
        with _kept(service, plan.model, body):
            async with aclosing(answers(service.host, plan.model, plan.engine, plan.requests)) as found:
                async for _, answer in found:
                    if isinstance(answer, Chunk):
                        text = spoken.feed(answer.text) if spoken else answer.text
                        if not body.stream:
                            kept += text
                        elif text:
                            yield {**_head(plan.model), **said(text), "done": False}
                    else:
                        last, reason = {"message": spoken.finish(kept)} if spoken else said(kept), _reason(answer)
                        account = _account(answer, (time.perf_counter() - start) * 1000, (loaded - start) * 1000)
                        account |= left_out(plan)
                        yield {**_head(plan.model), **last, "done": True, "done_reason": reason, **account}


def _reason(done: Done) -> str:
    return "length" if done.reason == "closed" else finish_reason(done)


def _head(model: InstalledModel) -> Dict:
    return {"model": model.name, "created_at": datetime.now(timezone.utc).isoformat()}


def _account(done: Done, total_ms: float, load_ms: float) -> Dict:
    return {
        "total_duration": int(total_ms * MS),
        "load_duration": int(load_ms * MS),
        "prompt_eval_count": done.prompt_tokens,
        "prompt_eval_duration": int(done.prefill_ms * MS),
        "eval_count": done.generated_tokens,
        "eval_duration": int(done.decode_ms * MS),
    }


async def _embedded(service: Service, body: EmbedBody, *, one: bool) -> Dict:
    start = time.perf_counter()
    if not body.input:
        with service.working():
            await service.host.load(model := text_model(service, body.model))
        return {"embedding": []} if one else {"model": model.name, "embeddings": []}
    asked = EmbeddingBody(input=list(body.input), model=body.model, dimensions=body.dimensions)
    found = await embeddings(service, asked, truncate=body.truncate)
    if body.unloads:
        service.host.unload(text_model(service, body.model))
    vectors = [row["embedding"] for row in found["data"]]
    told = {"truncation": found["truncation"]} if "truncation" in found else {}
    if one:
        return {"embedding": vectors[0], **told}
    spent = int((time.perf_counter() - start) * 1000 * MS)
    return {
        "model": found["model"],
        "embeddings": vectors,
        "total_duration": spent,
        "load_duration": 0,
        "prompt_eval_count": found["usage"]["prompt_tokens"],
        **told,
    }


async def _pulled(downloads: Downloads, name: str) -> AsyncGenerator[Dict, None]:
    """Ollama's words for the progress of a download, which goes on when its client has gone."""
    entry = find(name)
    digest = _digest(entry)
    yield {"status": "pulling manifest"}
    async with aclosing(downloads.follow(downloads.start(entry))) as states:
        async for state in states:
            if state["state"] in ("failed", "cancelled"):
                raise RequestError(state["message"] or "The download was cancelled.")
            yield {"status": f"pulling {digest[:12]}", "digest": f"sha256:{digest}", "total": state["total"], "completed": state["done"]}
    yield {"status": "success"}


async def _shown(service: Service, body: ModelName) -> Dict:
    model = text_model(service, body.model)
    tokenizer = await service.host.tokenizer(model)
    capabilities = _capabilities(service, model, can_fill=tokenizer.special.can_fill)
    return {
        "license": model.entry.licence if model.entry else "",
        "modelfile": f"FROM {model.name}",
        "parameters": "",
        "template": go_template(template_of(tokenizer), fills="insert" in capabilities),
        "modified_at": _modified(model),
        "details": _details(model),
        "model_info": {"general.architecture": FAMILY, f"{FAMILY}.context_length": tokenizer.n_ctx_train},
        "capabilities": capabilities,
    }


def _capabilities(service: Service, model: InstalledModel, *, can_fill: bool) -> Sequence[str]:
    """In Ollama's words. insert: it fills in the middle well enough to be asked for that."""
    found = ["completion", "tools"]
    try:
        service.host.choose("completion", str(model.path) if model.entry is None else model.name)
    except QwencoderError:
        can_fill = False
    return [*found, "insert"] if can_fill else found


def _row(model: InstalledModel) -> Dict:
    return {
        "name": model.name,
        "model": model.name,
        "modified_at": _modified(model),
        "size": model.size,
        "digest": _digest(model.entry) if model.entry else hashlib.sha256(model.name.encode()).hexdigest(),
        "details": _details(model),
    }


def _digest(entry: ModelEntry) -> str:
    """What tells two models apart: the first file's SHA-256, of which the hub alone may know, otherwise that of the name."""
    return entry.files[0].sha256 or hashlib.sha256(entry.name.encode()).hexdigest()


def _loaded(service: Service, model: InstalledModel, engine: Engine) -> Dict:
    row = _row(model)
    del row["modified_at"]
    expires = datetime.fromtimestamp(time.time() + service.settings.engine.idle_unload_s, timezone.utc).isoformat()
    return {**row, "expires_at": expires, "size_vram": model.size if engine.info.gpu_offload else 0, "context_length": engine.info.n_ctx}


def _details(model: InstalledModel) -> Dict:
    return {
        "parent_model": "",
        "format": "gguf",
        "family": FAMILY,
        "families": [FAMILY],
        "parameter_size": model.entry.parameters if model.entry else "",
        "quantization_level": model.entry.quantisation if model.entry else "",
    }


def _modified(model: InstalledModel) -> str:
    try:
        changed = model.path.stat().st_mtime
    except OSError:  # it is no file, or has just been deleted
        changed = 0.0
    return datetime.fromtimestamp(changed, timezone.utc).isoformat()
