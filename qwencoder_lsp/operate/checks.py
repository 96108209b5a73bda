"""Checks of an installed product, against the real model: does it answer (smoke), do its parts work together (integration), is it fast enough
(performance). Nothing here needs a test framework or a source checkout.

In: a connection to the gateway. Out: one Result per check, as they end. The figures are those that the product promises.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

import psutil

from qwencoder_lsp.core.prompt import Message, PromptParts, Stops
from qwencoder_lsp.errors import ModelError, QwencoderError
from qwencoder_lsp.features.ask import Answer, collect
from qwencoder_lsp.gateway.client import GatewayClient
from qwencoder_lsp.gateway.protocol import ChatRequest, CompleteRequest, Piece

LIMITS_S = {"smoke": 30.0, "integration": 300.0, "performance": 600.0}

HEALTH_S = 1.0
SIMPLE_S = 2.0  # a line of code, the model loaded
COMPLEX_S = 10.0  # 48 tokens after a screen of code that the model has not seen
DECODE_CPU, DECODE_GPU = 5.0, 20.0  # tokens per second
AT_ONCE = 10
MEMORY_FACTOR, MEMORY_BESIDE = 2.0, 512 << 20  # of the model's file, and what any process and its first prefixes need
SCHEMA = {"type": "object", "properties": {"language": {"type": "string", "maxLength": 20}}, "required": ["language"], "additionalProperties": False}


@dataclass(frozen=True, slots=True)
class Result:
    """One check. detail: the figure that was seen, or why it failed."""

    group: str
    name: str
    passed: bool
    detail: str
    seconds: float


class CheckFailed(Exception):
    """What was seen is not what it should be; the message is the detail."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked. completion, chat: names, paths or "auto", as in the settings."""

    client: GatewayClient
    completion: str
    chat: str


Check = Callable[[Subject], Awaitable[str]]


async def run(subject: Subject, groups: list[str]) -> AsyncIterator[Result]:
    """The results of all checks of these groups. A group that takes longer than its limit ends with a failure."""
    for group in groups:
        deadline = time.monotonic() + LIMITS_S[group]
        for name, check in CHECKS[group]:
            began = time.monotonic()
            try:
                detail, passed = await asyncio.wait_for(check(subject), max(0.1, deadline - began)), True
            except asyncio.TimeoutError:
                detail, passed = f"not done within the {LIMITS_S[group]:.0f} s of all {group} checks", False
            except (CheckFailed, QwencoderError) as error:
                detail, passed = str(error), False
            yield Result(group, name, passed, detail, round(time.monotonic() - began, 3))


async def _health(subject: Subject) -> str:
    began = time.monotonic()
    answer = await subject.client.service.json("GET", "/health")
    seconds = time.monotonic() - began
    _demand(answer["status"] == "ok" and seconds < HEALTH_S, f"{answer['status']} after {seconds * 1000:.0f} ms")
    return f"ok after {seconds * 1000:.0f} ms"


async def _load(subject: Subject) -> str:
    answer = await subject.client.service.json("POST", "/models/load", {"model_name": "" if subject.chat == "auto" else subject.chat})
    return f"{answer['model_name']} is {answer['state']}"


async def _complete(subject: Subject) -> str:
    answer = await _fill(subject, "def add(a, b):\n", "    return ", 16)
    _demand(answer.text.strip() != "", f"an empty answer ({answer.reason})")
    return f"{answer.usage.generated} tokens of {answer.model}"


async def _chat(subject: Subject) -> str:
    answer = await _ask(subject, "Answer with one word: what language is `print(1)` written in?", 16)
    return f"{answer.usage.generated} tokens of {answer.model}"


async def _stop(subject: Subject) -> str:
    answer = await _fill(subject, "numbers = [1, 2, 3]\n", "total = ", 64, Stops(strings=("\n",)))
    _demand("\n" not in answer.text, "the answer goes on behind its stop")
    return f"stopped by {answer.reason}"


async def _stream(subject: Subject) -> str:
    pieces = 0
    async with aclosing(subject.client.chat(ChatRequest((Message("user", "Count from 1 to 10."),), subject.chat, max_tokens=32))) as events:
        async for event in events:
            pieces += isinstance(event, Piece)
    _demand(pieces > 1, f"{pieces} pieces")
    return f"{pieces} pieces"


async def _schema(subject: Subject) -> str:
    asked = ChatRequest((Message("user", "What language is `print(1)` written in?"),), subject.chat, max_tokens=48, json_schema=json.dumps(SCHEMA))
    answer = await collect(subject.client.chat(asked))
    try:
        fields = json.loads(answer.text)
    except ValueError:
        raise CheckFailed("the answer is no JSON") from None
    _demand(list(fields) == ["language"], "the answer does not satisfy its schema")
    return "an answer that satisfies its schema"


async def _reuse(subject: Subject) -> str:
    screen = "".join(f"def value_{n}():\n    return {n}\n\n\n" for n in range(40))
    await _fill(subject, screen, "def total():\n    return ", 4)
    usage = (await _fill(subject, screen, "def total():\n    return ", 4)).usage
    _demand(usage.reused * 2 > usage.prompt, f"{usage.reused} of {usage.prompt} prompt tokens were reused")
    return f"{usage.reused} of {usage.prompt} prompt tokens reused"


async def _embed(subject: Subject) -> str:
    first, second = await subject.client.service.embed(["def add(a, b)", "a tale of two cities"])
    length = math.sqrt(sum(x * x for x in first))
    _demand(abs(length - 1) < 0.01 and first != second, f"a vector of length {length:.2f}")
    return f"{len(first)} numbers, of length 1"


async def _tokens(subject: Subject) -> str:
    text = "naïve = '✓'  # ünïcödé\n"
    tokens = (await subject.client.service.json("POST", "/tokenize", {"content": text}))["tokens"]
    back = (await subject.client.service.json("POST", "/detokenize", {"tokens": tokens}))["content"]
    _demand(back == text, "the text did not come back")
    return f"{len(tokens)} tokens and back"


async def _unknown(subject: Subject) -> str:
    try:
        await subject.client.service.json("POST", "/v1/completions", {"model": "no-such-model", "prompt": "x", "max_tokens": 1})
    except ModelError:
        return "refused by name"
    except QwencoderError as error:
        raise CheckFailed(f"refused otherwise: {error}") from error
    raise CheckFailed("an unknown model was answered")


async def _cancel(subject: Subject) -> str:
    before = (await subject.client.status()).active
    events = subject.client.chat(ChatRequest((Message("user", "Write a long story."),), subject.chat, max_tokens=2000))
    await anext(events)
    await events.aclose()
    began = time.monotonic()
    while (await subject.client.status()).active > before:
        _demand(time.monotonic() - began < 5, "it runs on 5 s after its client has gone")
        await asyncio.sleep(0.02)
    return f"ended {(time.monotonic() - began) * 1000:.0f} ms after its client had gone"


async def _simple(subject: Subject) -> str:
    began = time.monotonic()
    await _fill(subject, "import math\n\ndef area(radius):\n", "    return ", 12)
    return _within(time.monotonic() - began, SIMPLE_S)


async def _complex(subject: Subject) -> str:
    seed = time.time_ns() % 9973  # a text that no cache holds
    screen = "".join(f"def step_{seed}_{n}(value):\n    return value * {n} + {seed}\n\n\n" for n in range(8))
    began = time.monotonic()
    await _fill(subject, screen, "def all_steps(value):\n    ", 48)
    return _within(time.monotonic() - began, COMPLEX_S)


async def _decode(subject: Subject) -> str:
    answer = await _ask(subject, "Explain what a hash table is.", 96)
    speed = (answer.usage.generated - 1) * 1000 / max(answer.timings.decode, 0.001)
    device = next((m.device for m in (await subject.client.status()).models if m.state == "ready"), "")
    bar = DECODE_CPU if device.lower().startswith(("cpu", "scripted")) else DECODE_GPU
    _demand(speed >= bar, f"{speed:.1f} tokens/s on {device}, promised {bar:.0f}")
    return f"{speed:.1f} tokens/s on {device} (at least {bar:.0f})"


async def _at_once(subject: Subject) -> str:
    began = time.monotonic()
    asked = [_ask(subject, f"What is {n} plus {n}? Answer with the number.", 8) for n in range(AT_ONCE)]
    health = asyncio.create_task(_health(subject))
    await asyncio.gather(*asked)
    return f"{AT_ONCE} answers within {time.monotonic() - began:.1f} s, meanwhile /health {await health}"


async def _memory(subject: Subject) -> str:
    rows = {row["id"]: row["meta"]["size"] for row in (await subject.client.service.json("GET", "/v1/models"))["data"]}
    ready = [m for m in (await subject.client.status()).models if m.state == "ready" and m.pid and rows.get(m.name)]
    told = []
    for model in ready:
        assert model.pid
        used = psutil.Process(model.pid).memory_info().rss
        seen = f"{model.name}: {used / 2**30:.1f} GB for a file of {rows[model.name] / 2**30:.1f} GB (at most twice that and 0.5 GB)"
        _demand(used <= MEMORY_FACTOR * rows[model.name] + MEMORY_BESIDE, seen)
        told.append(seen)
    return ", ".join(told) or "no model with a file is loaded"


async def _fill(subject: Subject, prefix: str, typed: str, max_tokens: int, stops: Stops | None = None) -> Answer:
    parts = PromptParts(prefix, "\n", path="example.py", typed=typed)
    return await collect(subject.client.complete(CompleteRequest(parts, subject.completion, max_tokens, stops or Stops(), explicit=True)))


async def _ask(subject: Subject, question: str, max_tokens: int) -> Answer:
    answer = await collect(subject.client.chat(ChatRequest((Message("user", question),), subject.chat, max_tokens)))
    _demand(answer.text.strip() != "", f"an empty answer ({answer.reason})")
    return answer


def _within(seconds: float, limit: float) -> str:
    _demand(seconds < limit, f"{seconds:.2f} s, promised {limit:.0f} s")
    return f"{seconds:.2f} s (below {limit:.0f})"


def _demand(held: bool, otherwise: str) -> None:
    if not held:
        raise CheckFailed(otherwise)


CHECKS: dict[str, list[tuple[str, Check]]] = {
    "smoke": [("health", _health), ("model loads", _load), ("completion", _complete), ("chat", _chat)],
    "integration": [
        ("stops where told", _stop),
        ("streams", _stream),
        ("JSON schema", _schema),
        ("prompt is reused", _reuse),
        ("embeddings", _embed),
        ("tokens round trip", _tokens),
        ("unknown model", _unknown),
        ("cancellation", _cancel),
    ],
    "performance": [
        ("simple completion", _simple),
        ("complex completion", _complex),
        ("decoding", _decode),
        ("simultaneous requests", _at_once),
        ("memory", _memory),
    ],
}
