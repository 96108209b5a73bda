"""From the body of an OpenAI request to what the engine is asked: the model, and one Generate per choice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from qwencoder_lsp.core.prompt import Stops
from qwencoder_lsp.engine.protocol import Constraint, Engine, Generate, Priority, Sampling
from qwencoder_lsp.errors import ModelMissing
from qwencoder_lsp.http.candidates import candidates, candidates_of_a_hole
from qwencoder_lsp.http.failures import FieldError
from qwencoder_lsp.http.host import REMOTE
from qwencoder_lsp.http.openai_bodies import MAX_CHOICES, ChatBody, CompletionBody, Sampled
from qwencoder_lsp.http.openai_fill import Made, fill, language_line
from qwencoder_lsp.http.openai_tools import Toolbox, check_schemas, conversation, toolbox
from qwencoder_lsp.http.service import Service
from qwencoder_lsp.models.catalogue import catalogue_name, find
from qwencoder_lsp.models.choose import Choice, is_complex
from qwencoder_lsp.models.store import InstalledModel
from qwencoder_lsp.prompt.budget import UNBOUNDED, answer_room
from qwencoder_lsp.prompt.chat import code_block, render_conversation
from qwencoder_lsp.prompt.segments import SegmentTokenizer
from qwencoder_lsp.prompt.truncate import Dropped, shortened, shortened_conversation, too_long
from qwencoder_lsp.settings import Settings

CREATIVE = 0.7  # Qwen's own recommendation for chats
AUTO = "auto"
SHORT_ANSWER = 256  # tokens that a prompt must leave room for where no limit is named, or where it is no more than a limit
BANNED = -100.0
LARGE = 1 << 15  # code points; so many take some 50 ms when they are new, and who types would wait for more

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    """requests: one per choice, in the order of the choices; candidate 0 of each prompt has index 0. tools: what the answers may call.
    why: what made "auto" mean this model. dropped: for each prompt, what of it was left out."""

    model: InstalledModel
    engine: Engine
    tokenizer: SegmentTokenizer
    requests: tuple[Generate, ...]
    tools: Toolbox | None = None
    why: str = ""
    dropped: tuple[tuple[Dropped, ...], ...] = ()


async def plan_completion(service: Service, body: CompletionBody, *, exact: bool = True) -> Plan:
    """exact: there must be room for max_tokens of answer; otherwise the answer has the room that there is. Raises QwencoderError."""
    if len(body.prompt) * body.n > MAX_CHOICES:
        raise FieldError("n", f"there may be {MAX_CHOICES} answers at once, for all prompts together.")
    await _check_format(body)
    scores = body.echo and body.logprobs is not None
    if scores and (body.stream or body.suffix is not None):
        raise FieldError("echo", "log-probabilities of the prompt are given without a suffix, and not in a stream.")
    chosen = _text_choice(service, body.model) if body.suffix is None else _fill_choice(service, body.model)
    engine, tokenizer = await service.host.load(chosen.model)
    request = base_request(body, engine, tokenizer, answer_room(body.limit, engine.info.n_ctx), body.logprobs)
    request = replace(request, adapters=service.host.adapters.chosen(body, "completion", chosen.model))
    if body.suffix is not None:
        request = replace(request, priority=Priority.EXPLICIT, lane="typing")

    def make(text: str | list[int]) -> Made:
        if body.suffix is None:
            return _continue(request, text, body, engine, tokenizer, exact=exact)
        return fill(request, text, body, engine, tokenizer, _reserved(request.max_tokens, engine.info.n_ctx, exact=exact))

    size = sum(map(len, body.prompt)) + len(body.suffix or "") + sum(len(s.body) for s in (body.segments.snippets if body.segments else ()))
    made = await aside(size, lambda: [make(text) for text in body.prompt])
    asked = [request for request, _ in made]
    requests = candidates(asked, body.n) if body.suffix is None else candidates_of_a_hole(asked, body.n, body.temperature)
    if scores:
        requests = tuple(map(_scored, requests))
    return Plan(chosen.model, engine, tokenizer, requests, why=chosen.why, dropped=tuple(dropped for _, dropped in made))


async def plan_chat(service: Service, body: ChatBody, *, exact: bool = True) -> Plan:
    """exact: as in `plan_completion`. Raises QwencoderError."""
    if body.top_logprobs and not body.logprobs:
        raise FieldError("top_logprobs", "they are given only with logprobs true.")
    tools, turns = toolbox(body), conversation(body.messages)
    if tools:
        await tools.check()
    await _check_format(body)
    told = sum(len(str(turn.get("content") or "")) for turn in turns)
    constrained = tools is not None or body.response_format.type != "text" or body.json_schema is not None or body.regex is not None
    chosen = _chat_choice(service, body.model, complex_task=is_complex(told, constrained=constrained, max_tokens=body.limit or body.max_tokens))
    engine, tokenizer = await service.host.load(chosen.model)
    shown, room = tools.shown() if tools else [], _room(engine)
    tokens, dropped = await aside(told, lambda: render_conversation(turns, tokenizer, shown)), tuple[Dropped, ...]()
    reserved = _reserved(body.limit or None, room, exact=exact)  # what is only read is read for an answer to come
    if len(tokens) > room - reserved and body.truncation == "error":
        raise too_long(len(tokens), room - reserved, reserved)
    if len(tokens) > room - reserved:
        kept, tokens, dropped = await asyncio.to_thread(shortened_conversation, turns, tokenizer, shown, room - reserved, body.truncation)
        turns = [dict(turn) for turn in kept]
    limit = min(UNBOUNDED if body.limit is None else body.limit, room - len(tokens))
    request = base_request(body, engine, tokenizer, limit, body.top_logprobs if body.logprobs else None)
    request = replace(request, adapters=service.host.adapters.chosen(body, "chat", chosen.model))
    request = replace(request, tokens=tuple(tokens), copies=code_block(turns[-1]["content"], tokens, tokenizer))
    if tools:
        if request.constraint and request.constraint.kind != "json_schema":
            raise FieldError("tools", "they cannot be combined with regex or choice.")
        answer = json.loads(request.constraint.value) if request.constraint else None
        request = replace(request, constraint=tools.constraint(tokenizer, answer))
    return Plan(chosen.model, engine, tokenizer, candidates([request], body.n), tools, chosen.why, (dropped,))


def fill_model(service: Service, field: str) -> InstalledModel:
    """The model that `field` means for filling in the middle. Raises ModelError."""
    return _fill_choice(service, field).model


def text_model(service: Service, field: str) -> InstalledModel:
    """The model that `field` means for continuing text: the one for completion where there is one, otherwise any. Raises ModelError."""
    return _text_choice(service, field).model


def chat_model(service: Service, field: str) -> InstalledModel:
    """The model that `field` means for a conversation. Raises ModelError."""
    return _chat_choice(service, field).model


def _fill_choice(service: Service, field: str) -> Choice:
    return service.host.choose("completion", named(service.settings, field, service.settings.model.completion))


def _text_choice(service: Service, field: str) -> Choice:
    name = named(service.settings, field, service.settings.model.completion)
    if name == AUTO:
        try:
            return service.host.choose("completion", name)
        except ModelMissing:
            pass  # any model continues text
    return service.host.choose("chat", name)


def _chat_choice(service: Service, field: str, *, complex_task: bool = True) -> Choice:
    return service.host.choose("chat", named(service.settings, field, service.settings.model.chat), complex_task=complex_task)


def named(settings: Settings, field: str, own: str) -> str:
    """What `field` means: the service's own choice, or a name of the catalogue, whichever way it is written. Only the service's owner chooses
    files by path. Raises ModelUnknown."""
    plain = catalogue_name(field)
    if plain in ("", AUTO):
        return own
    if plain == REMOTE.name:
        return plain
    for setting in (settings.model.completion, settings.model.chat):
        if setting != AUTO and not {field, plain}.isdisjoint((setting, Path(setting).stem)):
            return setting
    return find(field).name


async def aside(size: int, work: Callable[[], T]) -> T:
    """What `work` returns, which reads `size` code points of text: in a thread where those are many, so that the event loop goes on for who types."""
    return await asyncio.to_thread(work) if size > LARGE else work()


def prompt_tokens(text: str | list[int], field: str, engine: Engine, tokenizer: SegmentTokenizer, *, markup: bool) -> list[int]:
    """The tokens of one prompt: ids as they are, text with special tokens in it if `markup`. Raises FieldError for none."""
    if isinstance(text, str):
        tokens = tokenizer.tokenize_markup(text) if markup else tokenizer.tokenize(text)
    else:
        tokens = text
        if tokens and not engine.info.n_vocab:
            raise FieldError(field, "the model runs elsewhere, and its vocabulary is not known here.", "Send text.")
        if tokens and not (min(tokens) >= 0 and max(tokens) < engine.info.n_vocab):
            raise FieldError(field, f"token ids of this model are 0 to {engine.info.n_vocab - 1}.")
    if not tokens:
        raise FieldError(field, "it is empty.", "Send at least one token.")
    return tokens


def _room(engine: Engine) -> int:
    """Tokens of the longest prompt with its answer."""
    return engine.info.max_ctx or engine.info.n_ctx


def _reserved(limit: int | None, room: int, *, exact: bool) -> int:
    """Tokens of `room` that are kept for an answer. limit: most tokens of it, where one is named; exact: all of them must fit."""
    least = min(SHORT_ANSWER, room // 4)
    return least if limit is None else limit if exact else min(limit, least)


def _continue(request: Generate, text: str | list[int], body: CompletionBody, engine: Engine, tokenizer: SegmentTokenizer, *, exact: bool) -> Made:
    if body.language and isinstance(text, str):
        text = language_line(body.language, text) + text
    tokens = prompt_tokens(text, "prompt", engine, tokenizer, markup=True)
    reserved = _reserved(body.limit, _room(engine), exact=exact)
    room = _room(engine) - reserved
    if len(tokens) > room and body.truncation == "error":
        raise too_long(len(tokens), room, reserved)
    if room < 1:
        raise FieldError("max_tokens", f"{reserved} tokens of answer leave no room for a prompt.", "Lower it.")
    tokens, dropped = shortened(tokens, room, body.truncation)
    limit = min(UNBOUNDED if body.limit is None else body.limit, _room(engine) - len(tokens))
    return replace(request, tokens=tuple(tokens), max_tokens=limit), dropped


def base_request(body: Sampled, engine: Engine, tokenizer: SegmentTokenizer, max_tokens: int, top_logprobs: int | None) -> Generate:
    """What all choices have in common; without a prompt. top_logprobs None: the answer shows no log-probabilities at all."""
    if not engine.info.n_vocab and (body.logit_bias or top_logprobs is not None):
        raise elsewhere("logit_bias" if body.logit_bias else "logprobs")
    biases = [(token, bias) for named, bias in body.logit_bias for token in ([named] if isinstance(named, int) else tokenizer.tokenize(named))]
    if any(not 0 <= token < engine.info.n_vocab for token, _ in biases):
        raise FieldError("logit_bias", f"token ids of this model are 0 to {engine.info.n_vocab - 1}.")
    end = tuple(sorted(tokenizer.special.end))
    if body.ignore_eos:
        biases = [*(pair for pair in biases if pair[0] not in end), *((token, BANNED) for token in end)]
    sampling = Sampling(
        temperature=CREATIVE if body.temperature is None else body.temperature,
        top_k=body.top_k,
        top_p=body.top_p,
        min_p=body.min_p,
        seed=body.seed if body.seed is None or body.seed >= 0 else None,  # llama.cpp's clients send -1 for a fresh one
        repeat_penalty=body.repeat_penalty,
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
        logit_bias=tuple(biases),
        logprobs=top_logprobs is not None,
        top_logprobs=top_logprobs or 0,
    )
    return Generate(
        id=0,
        tokens=(),
        max_tokens=max_tokens,
        stop_tokens=() if body.ignore_eos else end,
        stops=Stops(strings=tuple(s for s in body.stop if s)),
        sampling=sampling,
        constraint=_constraint(body),
        speculate=body.speculate,
    )


def elsewhere(field: str) -> FieldError:
    """What to say of a field that a model needs its vocabulary for, when that is another server's."""
    return FieldError(field, "the model runs elsewhere, and its vocabulary is not known here.", "Leave it out.")


def _scored(request: Generate) -> Generate:
    """The same, with the scores of its prompt. Nothing stands before the first token. One token more, as lm-eval's local-completions asks for, is one
    even where it ends the text: that client leaves out the last of the scores (its LocalCompletionsAPI.parse_logprobs)."""
    stop_tokens = () if request.max_tokens == 1 else request.stop_tokens
    return replace(request, score_from=1 if len(request.tokens) > 1 else None, stop_tokens=stop_tokens)


def _constraint(body: Sampled) -> Constraint | None:
    """What the answer must look like. Raises FieldError for what cannot be obeyed."""
    if body.grammar:
        raise FieldError("grammar", "GBNF grammars are not served.", "Use json_schema, regex or choice.")
    form = body.response_format
    found: list[Constraint] = []
    if form.wanted is not None:
        found.append(Constraint("json_schema", json.dumps(form.wanted), body.close_early))
    elif form.type == "json_object":
        found.append(Constraint("json_schema", '{"type":"object"}', body.close_early))
    elif form.type == "json_schema":
        raise FieldError("response_format.json_schema", "the schema is missing.")
    if body.json_schema is not None:
        found.append(Constraint("json_schema", json.dumps(body.json_schema), body.close_early))
    if body.regex is not None:
        found.append(Constraint("regex", body.regex))
    if body.choice is not None:
        found.append(Constraint("choice", json.dumps(body.choice)))
    if len(found) > 1:
        field = "response_format" if body.json_schema is None else "json_schema"
        raise FieldError(field, "only one of response_format, json_schema, regex and choice can be obeyed.")
    return found[0] if found else None


async def _check_format(body: Sampled) -> None:
    form = body.response_format
    name = "response_format.json_schema.schema" if form.json_schema else "response_format.schema"
    given = {name: form.wanted, "json_schema": body.json_schema}
    await check_schemas({field: schema for field, schema in given.items() if schema is not None})
