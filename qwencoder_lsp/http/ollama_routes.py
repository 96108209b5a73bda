"""Ollama's routes, for clients that speak only those: what they send and read is in its docs/api.md. Streams are one JSON object per line."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
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
from qwencoder_lsp.http.openai_bodies import ChatBody, CompletionBody, EmbeddingBody
from qwencoder_lsp.http.openai_calls import whole_message
from qwencoder_lsp.http.openai_embeddings import embeddings
from qwencoder_lsp.http.openai_plan import Plan, chat_model, plan_chat, plan_completion, text_model
from qwencoder_lsp.http.openai_shapes import finish_reason, truncation
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
    lines = _lines(service, asked, said, whole=not body.stream) if asked else _moved(service, body, said)
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


async def _lines(service: Service, asked: Asked, said: Said, *, whole: bool) -> AsyncGenerator[Dict, None]:
    """The answer as it comes and its account at the end; whole: everything in the last line. Calls of tools come whole, as Ollama has them."""
    with service.working():
        start = time.perf_counter()
        request = _checked(asked)
        plan = await (plan_chat(service, request) if isinstance(request, ChatBody) else plan_completion(service, request))
        loaded = time.perf_counter()
        text = ""
        async with aclosing(answers(service.host, plan.model, plan.engine, plan.requests)) as found:
            async for _, answer in found:
                if isinstance(answer, Chunk):
                    text += answer.text
                    if not whole and plan.tools is None:
                        yield {**_head(plan.model), **said(answer.text), "done": False}
                else:
                    last, reason = said(text if whole else ""), finish_reason(answer)
                    if plan.tools:
                        last = {"message": _message(text, plan)}
                    account = _account(answer, (time.perf_counter() - start) * 1000, (loaded - start) * 1000)
                    yield {**_head(plan.model), **last, "done": True, "done_reason": reason, **account, **truncation(plan)}


def _message(text: str, plan: Plan) -> Dict:
    """The message with its calls, whose arguments are objects here."""
    assert plan.tools is not None
    message, _ = whole_message(text, plan.tools)
    message["content"] = message["content"] or ""
    for call in message.get("tool_calls", ()):
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return message


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
    found = await embeddings(service, EmbeddingBody(input=list(body.input), model=body.model, dimensions=body.dimensions))
    vectors = [row["embedding"] for row in found["data"]]
    if one:
        return {"embedding": vectors[0]}
    spent = int((time.perf_counter() - start) * 1000 * MS)
    return {
        "model": found["model"],
        "embeddings": vectors,
        "total_duration": spent,
        "load_duration": 0,
        "prompt_eval_count": found["usage"]["prompt_tokens"],
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
    return {
        "license": model.entry.licence if model.entry else "",
        "modelfile": f"FROM {model.name}",
        "parameters": "",
        "template": template_of(tokenizer),
        "modified_at": _modified(model),
        "details": _details(model),
        "model_info": {"general.architecture": FAMILY, f"{FAMILY}.context_length": tokenizer.n_ctx_train},
        "capabilities": _capabilities(service, model, can_fill=tokenizer.special.can_fill),
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
