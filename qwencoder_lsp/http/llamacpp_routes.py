"""llama-server's own routes, for llama.vim, llama.vscode and their like: what they send and read is in its tools/server/README.md.

Slots and samplers are ours: `id_slot`, `cache_prompt` and `samplers` are ignored, and every prompt is cached.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from qwencoder_lsp import __version__
from qwencoder_lsp.core.prompt import PromptParts, Snippet
from qwencoder_lsp.engine.protocol import Chunk, Constraint, Done, Engine, Generate, Priority
from qwencoder_lsp.errors import ModelUnsuitable
from qwencoder_lsp.http.candidates import answers, candidates, candidates_of_a_hole
from qwencoder_lsp.http.failures import FieldError
from qwencoder_lsp.http.host import REMOTE
from qwencoder_lsp.http.llamacpp_bodies import DetokenizeBody, InfillBody, NativeCompletionBody, NativeSampled, TemplateBody, TokenizeBody
from qwencoder_lsp.http.llamacpp_shapes import chosen, final, partial, piece
from qwencoder_lsp.http.openai_bodies import MAX_CHOICES
from qwencoder_lsp.http.openai_fill import unread
from qwencoder_lsp.http.openai_plan import AUTO, Plan, aside, base_request, chat_model, elsewhere, fill_model, prompt_tokens, text_model
from qwencoder_lsp.http.openai_tools import conversation
from qwencoder_lsp.http.service import Service
from qwencoder_lsp.http.stream import EventStream, JsonReply
from qwencoder_lsp.prompt.budget import UNBOUNDED, Budget, answer_room, fim_budget
from qwencoder_lsp.prompt.chat import conversation_text, template_of
from qwencoder_lsp.prompt.extra import newest
from qwencoder_lsp.prompt.fim import Rendered, render_fim
from qwencoder_lsp.prompt.segments import SegmentTokenizer
from qwencoder_lsp.prompt.truncate import Dropped

Dict = dict[str, Any]
TYPED_STEP = 64  # what stands in front of the text that is typed changes only once in so many characters, or each key would read it anew


def llamacpp_routes(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["llama.cpp"])

    @router.post("/completion")
    @router.post("/completions")
    async def completion(body: NativeCompletionBody) -> Response:
        return _answer(service, body, lambda: _plan_completion(service, body))

    @router.post("/infill")
    async def infill(body: InfillBody) -> Response:
        return _answer(service, body, lambda: plan_infill(service, body))

    @router.post("/tokenize")
    async def tokenize(body: TokenizeBody) -> Dict:
        model = text_model(service, body.model)
        if model is REMOTE:
            raise ModelUnsuitable("The model runs elsewhere, and its vocabulary is not known here.", "Ask its own server.")
        tokenizer = await service.host.tokenizer(model)
        tokens = await aside(len(body.content), lambda: (tokenizer.tokenize_markup if body.parse_special else tokenizer.tokenize)(body.content))
        return {"tokens": [{"id": t, "piece": piece(tokenizer.piece(t))} for t in tokens] if body.with_pieces else tokens}

    @router.post("/detokenize")
    async def detokenize(body: DetokenizeBody) -> Dict:
        model = text_model(service, body.model)
        engine, tokenizer = await service.host.load(model)
        tokens = prompt_tokens(body.tokens, "tokens", engine, tokenizer, markup=False) if body.tokens else []
        return {"content": b"".join(map(tokenizer.piece, tokens)).decode("utf-8", "replace")}

    @router.post("/apply-template")
    async def apply_template(body: TemplateBody) -> Dict:
        tokenizer = await service.host.tokenizer(chat_model(service, body.model))
        tools = [{"type": "function", "function": tool.function.model_dump()} for tool in body.tools]
        return {"prompt": conversation_text(conversation(body.messages), tokenizer, tools)}

    @router.get("/props")
    async def props(model: str = "") -> Dict:
        found = text_model(service, model)
        tokenizer, engine = await service.host.tokenizer(found), service.host.engine(found)
        n_ctx = engine.info.max_ctx or engine.info.n_ctx if engine else min(service.settings.engine.context, tokenizer.n_ctx_train or 1 << 20)
        return {
            "default_generation_settings": {"id": 0, "n_ctx": n_ctx, "is_processing": bool(engine and engine.active), "params": {}},
            "total_slots": 1,
            "model_alias": found.name,
            "model_path": found.path.name,
            "chat_template": template_of(tokenizer),
            "modalities": {"vision": False, "audio": False},
            "build_info": f"qwencoder-lsp {__version__}",
            "is_sleeping": engine is None or not engine.loaded,
        }

    @router.get("/slots")
    async def slots() -> list[Dict]:
        """One per model; what is being worked on is not shown, because it is source text."""
        found = [(model, service.host.engine(model)) for model in service.host.models()]
        return [
            {"id": i, "model": model.name, "n_ctx": engine.info.n_ctx, "is_processing": bool(engine.active), "speculative": True}
            for i, (model, engine) in enumerate(found)
            if engine
        ]

    return router


async def _plan_completion(service: Service, body: NativeCompletionBody) -> Plan:
    if len(body.prompt) * body.n > MAX_CHOICES:
        raise FieldError("n_cmpl", f"there may be {MAX_CHOICES} answers at once, for all prompts together.")
    model = text_model(service, body.model)
    engine, tokenizer = await service.host.load(model)
    request = _base(body, engine, tokenizer, UNBOUNDED if body.limit is None else body.limit)
    request = replace(request, adapters=service.host.adapters.chosen(body, "completion", model))
    texts = await aside(sum(map(len, body.prompt)), lambda: [prompt_tokens(t, "prompt", engine, tokenizer, markup=True) for t in body.prompt])
    asked = [replace(request, tokens=tuple(tokens)) for tokens in texts]
    return Plan(model, engine, tokenizer, candidates(asked, body.n))


async def plan_infill(service: Service, body: InfillBody) -> Plan:
    """Raises QwencoderError."""
    model = fill_model(service, body.model or AUTO)
    engine, tokenizer = await service.host.load(model)
    request = _base(body, engine, tokenizer, answer_room(body.limit, engine.info.n_ctx))
    request = replace(request, adapters=service.host.adapters.chosen(body, "completion", model))
    typed = (len(body.prompt) // TYPED_STEP + 1) * TYPED_STEP
    budget = fim_budget(engine.info.prefill_speed, engine.info.n_ctx, request.max_tokens + typed)
    if body.input_extra:  # a prefix that fills the context would leave no room for what the client took the trouble to send
        room = budget.prefix + budget.snippets
        budget = replace(budget, prefix=min(budget.prefix, room * 2 // 3), snippets=max(budget.snippets, room // 3))
    size = len(body.input_prefix) + len(body.input_suffix) + len(body.prompt) + sum(len(extra.text) for extra in body.input_extra)
    prompt, dropped = await aside(size, lambda: _rendered(body, tokenizer, budget, heal=request.constraint is None))
    constraint = Constraint("heal", prompt.healed) if prompt.healed else request.constraint
    request = replace(request, tokens=tuple(prompt.tokens), constraint=constraint, priority=Priority.EXPLICIT, lane="typing")
    return Plan(model, engine, tokenizer, candidates_of_a_hole([request], body.n, body.temperature), dropped=(dropped,))


def _rendered(body: InfillBody, tokenizer: SegmentTokenizer, budget: Budget, *, heal: bool) -> tuple[Rendered, tuple[Dropped, ...]]:
    """The prompt, and what was left out of it."""
    sent = tuple(Snippet(hashlib.sha256(e.text.encode("utf-8", "replace")).hexdigest(), e.filename, e.text, "client") for e in body.input_extra)
    snippets, unseen = newest(sent, tokenizer, budget.snippets)
    parts = PromptParts(body.input_prefix, body.input_suffix, snippets=snippets, typed=body.prompt)
    prompt = render_fim(parts, tokenizer, budget, heal=heal)
    dropped = [Dropped("input_extra", 0, unseen)] if unseen else []
    return prompt, (*dropped, *unread(parts, prompt, tokenizer, "input_prefix", "input_suffix"))


def _base(body: NativeSampled, engine: Engine, tokenizer: SegmentTokenizer, max_tokens: int) -> Generate:
    """What all answers have in common; without a prompt."""
    if body.n_probs and not engine.info.n_vocab:
        raise elsewhere("n_probs")
    request = base_request(body, engine, tokenizer, max_tokens, body.n_probs or None)
    stops = replace(request.stops, indent=body.n_indent or None, tab=1, after_newline_ms=body.t_max_predict_ms or None)
    return replace(request, stops=stops)


def _answer(service: Service, body: NativeSampled, plan: Callable[[], Awaitable[Plan]]) -> Response:
    if body.stream:
        return EventStream(_stream(service, plan, body.response_fields), done=False)
    return JsonReply(lambda: _whole(service, plan, body.response_fields))


async def _stream(service: Service, prepare: Callable[[], Awaitable[Plan]], fields: Sequence[str]) -> AsyncGenerator[Dict, None]:
    with service.working():
        plan = await prepare()
        async with aclosing(answers(service.host, plan.model, plan.engine, plan.requests)) as found:
            async for index, answer in found:
                if isinstance(answer, Chunk):
                    yield partial(plan, index, answer)
                else:
                    yield chosen(final(plan, index, answer), fields)


async def _whole(service: Service, prepare: Callable[[], Awaitable[Plan]], fields: Sequence[str]) -> Dict | list[Dict]:
    with service.working():
        plan = await prepare()
        chunks: list[list[Chunk]] = [[] for _ in plan.requests]
        ended: dict[int, Done] = {}
        async with aclosing(answers(service.host, plan.model, plan.engine, plan.requests)) as found:
            async for index, answer in found:
                if isinstance(answer, Chunk):
                    chunks[index].append(answer)
                else:
                    ended[index] = answer
        rows = [chosen(final(plan, i, ended[i], said), fields) for i, said in enumerate(chunks)]
        return rows if len(rows) > 1 else rows[0]
