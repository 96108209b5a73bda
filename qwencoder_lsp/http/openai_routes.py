"""POST /v1/completions, /v1/fim/completions (Mistral's), /v1/chat/completions and /v1/embeddings. Everything a request does runs inside its
response, so that a client that goes stops it wherever it is: while the model loads, in the queue, in the prefill."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.responses import Response

from qwencoder_lsp.engine.protocol import Chunk, Done, Priority
from qwencoder_lsp.http.candidates import answers
from qwencoder_lsp.http.failures import field_error
from qwencoder_lsp.http.openai_bodies import ChatBody, CompletionBody, EmbeddingBody, FillBody
from qwencoder_lsp.http.openai_embeddings import embeddings as embeddings_of
from qwencoder_lsp.http.openai_plan import Plan, plan_chat, plan_completion
from qwencoder_lsp.http.openai_shapes import ChatShape, Shape, TextShape, left_out, timings, usage
from qwencoder_lsp.http.service import Service
from qwencoder_lsp.http.stream import EventStream, JsonReply

Dict = dict[str, Any]
Prepare = Callable[[], Awaitable[tuple[Plan, Shape]]]


def openai_routes(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1")

    @router.post("/completions")
    async def completions(body: CompletionBody) -> Response:
        async def prepare() -> tuple[Plan, Shape]:
            plan = await plan_completion(service, body)
            return plan, _text_shape(plan, body)

        if body.stream:
            return EventStream(_chunks(service, prepare, with_usage=body.stream_options.include_usage))
        return JsonReply(lambda: _whole(service, prepare))

    @router.post("/fim/completions")
    async def fim_completions(body: FillBody) -> Response:
        async def prepare() -> tuple[Plan, Shape]:
            plan = await plan_completion(service, body)
            return plan, ChatShape(plan.tokenizer.piece, logprobs=False)

        if body.stream:
            return EventStream(_chunks(service, prepare, with_usage=body.stream_options.include_usage))
        return JsonReply(lambda: _whole(service, prepare))

    @router.post("/chat/completions")
    async def chat_completions(body: ChatBody) -> Response:
        async def prepare() -> tuple[Plan, Shape]:
            plan = await plan_chat(service, body)
            return plan, ChatShape(plan.tokenizer.piece, logprobs=body.logprobs, tools=plan.tools)

        if body.stream:
            return EventStream(_chunks(service, prepare, with_usage=body.stream_options.include_usage))
        return JsonReply(lambda: _whole(service, prepare))

    @router.post("/embeddings")
    async def embeddings(body: EmbeddingBody) -> Response:
        return JsonReply(lambda: embeddings_of(service, body))

    return router


async def ask_in_background(service: Service, endpoint: str, body: Dict) -> Dict:
    """The answer to `body`, sent to an endpoint of this module, when nobody else wants the engine. Raises QwencoderError."""
    try:
        if endpoint.endswith("/embeddings"):
            return await embeddings_of(service, EmbeddingBody.model_validate(body))
        read = ChatBody.model_validate(body) if endpoint.endswith("/chat/completions") else CompletionBody.model_validate(body)
    except ValidationError as error:
        raise field_error(error) from error

    async def prepare() -> tuple[Plan, Shape]:
        if isinstance(read, ChatBody):
            plan = await plan_chat(service, read)
            shape: Shape = ChatShape(plan.tokenizer.piece, logprobs=read.logprobs, tools=plan.tools)
        else:
            plan = await plan_completion(service, read)
            shape = _text_shape(plan, read)
        return replace(plan, requests=tuple(replace(r, priority=Priority.BACKGROUND, lane="bulk") for r in plan.requests)), shape

    return await _whole(service, prepare)


def _text_shape(plan: Plan, body: CompletionBody) -> TextShape:
    scored = [request.tokens for request in plan.requests] if body.echo and body.logprobs is not None else []
    echoes: list[str] = []
    if body.echo:
        texts = (t if isinstance(t, str) else b"".join(map(plan.tokenizer.piece, t)).decode("utf-8", "replace") for t in body.prompt)
        echoes = [text for text in texts for _ in range(body.n)]
    healed = [request.constraint.value if request.constraint and request.constraint.kind == "heal" else "" for request in plan.requests]
    return TextShape(plan.tokenizer.piece, body.logprobs, echoes, scored, healed)


async def _chunks(service: Service, prepare: Prepare, *, with_usage: bool) -> AsyncGenerator[dict[str, Any], None]:
    """The answers as they come: each choice's opening, its text, and its end with its timings; the usage last."""
    with service.working():
        plan, shape = await prepare()
        head = _head(plan, shape, shape.stream_object)
        if with_usage:
            head["usage"] = None
        opened: set[int] = set()
        ended: dict[int, Done] = {}
        async with aclosing(answers(service.host, plan.model, plan.engine, plan.requests)) as found:
            async for index, answer in found:
                if index not in opened:
                    opened.add(index)
                    if opening := shape.opening(index):
                        yield {**head, "choices": [opening]}
                if isinstance(answer, Chunk):
                    if piece := shape.piece(index, answer):
                        yield {**head, "choices": [piece]}
                else:
                    ended[index] = answer
                    yield {**head, "choices": [shape.final(index, answer)], "timings": timings((answer,)), **_why(plan), **left_out(plan, index)}
        if with_usage:
            yield {**head, "choices": [], "usage": _usage(plan, ended)}


async def _whole(service: Service, prepare: Prepare) -> dict[str, Any]:
    with service.working():
        plan, shape = await prepare()
        chunks: list[list[Chunk]] = [[] for _ in plan.requests]
        ended: dict[int, Done] = {}
        async with aclosing(answers(service.host, plan.model, plan.engine, plan.requests)) as found:
            async for index, answer in found:
                if isinstance(answer, Chunk):
                    chunks[index].append(answer)
                else:
                    ended[index] = answer
        choices = [shape.whole(index, chunks[index], ended[index]) for index in range(len(plan.requests))]
        account = {"usage": _usage(plan, ended), "timings": timings(list(ended.values())), **_why(plan), **left_out(plan)}
        return {**_head(plan, shape, shape.whole_object), "choices": choices, **account}


def _head(plan: Plan, shape: Shape, kind: str) -> dict[str, Any]:
    return {"id": shape.prefix + secrets.token_hex(12), "object": kind, "created": int(time.time()), "model": plan.model.name}


def _why(plan: Plan) -> dict[str, Any]:
    """What "auto" meant, for whoever left the choice to us."""
    return {"auto": {"model": plan.model.name, "why": plan.why}} if plan.why else {}


def _usage(plan: Plan, ended: dict[int, Done]) -> dict[str, Any]:
    return usage([ended[place] for place, request in enumerate(plan.requests) if request.index == 0], list(ended.values()))
