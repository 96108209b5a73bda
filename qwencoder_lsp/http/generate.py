"""Render and generate: request parts in, events out. The middle two of the four stages."""

from __future__ import annotations

import hashlib
import time
from array import array
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from qwencoder_lsp.core.report import Timings, Usage
from qwencoder_lsp.engine.disktier import WORKSPACE
from qwencoder_lsp.engine.protocol import Chunk, Constraint, Done, Engine, Generate, Priority, Sampling
from qwencoder_lsp.errors import RequestError
from qwencoder_lsp.gateway.protocol import ChatRequest, CompleteRequest, End, Event, Piece, Start
from qwencoder_lsp.http.candidates import hole_sampling
from qwencoder_lsp.http.host import ModelHost
from qwencoder_lsp.models.choose import is_complex
from qwencoder_lsp.prompt.budget import fim_budget
from qwencoder_lsp.prompt.chat import render_chat
from qwencoder_lsp.prompt.fim import render_fim

DRAWN = Sampling(top_k=20, top_p=0.9)  # without effect on the most probable candidate


async def complete(host: ModelHost, request: CompleteRequest) -> AsyncGenerator[Event, None]:
    """Fill in the middle: Start, Piece..., End. Raises QwencoderError."""
    chosen = host.choose("completion", request.model)
    engine, tokenizer = await host.load(chosen.model)
    start = time.perf_counter()
    reserved = request.max_tokens + len(request.parts.typed)  # at most one token per character
    speed, others = engine.info.prefill_speed, bool(request.parts.snippets)
    budget = fim_budget(speed, engine.info.n_ctx, reserved, request.max_prefix, request.max_suffix, near=request.near, snippets=others)
    prompt = render_fim(request.parts, tokenizer, budget)
    render_ms = (time.perf_counter() - start) * 1000
    generate = Generate(
        id=0,
        tokens=tuple(prompt.tokens),
        max_tokens=request.max_tokens,
        stop_tokens=tuple(prompt.stop_tokens),
        stops=request.stops,
        priority=Priority.BACKGROUND if request.ahead else Priority.EXPLICIT if request.explicit else Priority.TYPING,
        document=request.document,
        lane="typing",
        constraint=Constraint("heal", prompt.healed) if prompt.healed else None,
        suffix=prompt.suffix if len(prompt.suffix) > 1 else (),
        sampling=hole_sampling(replace(DRAWN, seed=request.candidate), request.candidate),
        index=request.candidate,
        workspace=_checked(request.workspace),
        keep=0 if request.ahead and request.max_tokens else len(prompt.tokens) - prompt.shares["typed"],  # a suggestion is no text of the user's yet
        adapters=host.adapters.usual("completion", chosen.model),
    )
    digest = _digest(prompt.tokens)
    start_event = Start(chosen.model.name, prompt.usage, render_ms, digest, budget.prefix, budget.suffix, prompt.shares, chosen.why)
    async with aclosing(_run(engine, generate, start_event)) as events:
        async for event in events:
            yield event


async def chat(host: ModelHost, request: ChatRequest) -> AsyncGenerator[Event, None]:
    """Answer a conversation: Start, Piece..., End. Raises QwencoderError."""
    asked = sum(len(message.content) for message in request.messages)
    hard = is_complex(asked, constrained=request.json_schema is not None, max_tokens=request.max_tokens)
    chosen = host.choose("chat", request.model, complex_task=hard)
    engine, tokenizer = await host.load(chosen.model)
    start = time.perf_counter()
    tokens = render_chat(request.messages, tokenizer)
    render_ms = (time.perf_counter() - start) * 1000
    if request.priority not in Priority.__members__:
        raise RequestError(f"{request.priority!r} is not a priority.", f"Use one of: {', '.join(Priority.__members__)}.")
    generate = Generate(
        id=0,
        tokens=tuple(tokens),
        max_tokens=request.max_tokens,
        stop_tokens=tuple(tokenizer.special.end),
        sampling=Sampling(temperature=request.temperature, top_k=20, top_p=0.8),  # Qwen's own recommendation; without effect at temperature 0
        priority=Priority[request.priority],
        document=request.document,
        constraint=Constraint("json_schema", request.json_schema) if request.json_schema else None,
        adapters=host.adapters.usual("chat", chosen.model),
    )
    rendered = Start(chosen.model.name, Usage(prompt=len(tokens)), render_ms, why=chosen.why)
    async with aclosing(_run(engine, generate, rendered)) as events:
        async for event in events:
            yield event


async def _run(engine: Engine, request: Generate, rendered: Start) -> AsyncGenerator[Event, None]:
    yield rendered
    start = time.perf_counter()
    first = 0.0
    async with aclosing(engine.generate(request)) as answers:
        async for answer in answers:
            if isinstance(answer, Chunk):
                first = first or (time.perf_counter() - start) * 1000
                yield Piece(answer.text, answer.logprobs, answer.tokens)
            else:
                generate_ms = (time.perf_counter() - start) * 1000
                yield _end(answer, rendered.usage, Timings(render=rendered.render_ms, generate=generate_ms, first_token=first))


def _checked(workspace: str) -> str:
    """It becomes the name of a directory."""
    if workspace and not WORKSPACE.fullmatch(workspace):
        raise RequestError("workspace must be 32 hexadecimal digits.", "Correct the request.")
    return workspace


def _digest(tokens: list[int]) -> str:
    return hashlib.sha256(array("i", tokens).tobytes()).hexdigest()[:16]


def _end(done: Done, usage: Usage, timings: Timings) -> End:
    return End(
        done.reason,
        replace(
            usage,
            prompt=done.prompt_tokens,
            reused=done.reused_tokens,
            generated=done.generated_tokens,
            restored=done.restored_tokens,
            drafted=done.drafted_tokens,
            accepted=done.accepted_tokens,
            preempted=done.preempted,
        ),
        replace(timings, queue=done.queue_ms, prefill=done.prefill_ms, decode=done.decode_ms, native=done.native_ms),
        done.cuts,
        done.line_ends,
    )
