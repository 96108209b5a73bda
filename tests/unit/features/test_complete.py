"""Completion from the snapshot to the suggestion, with the real renderer and the scripted engine in this process."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from qwencoder_lsp.core.report import Reason, Timings, Usage
from qwencoder_lsp.core.results import Completion
from qwencoder_lsp.core.text import Edit, Snapshot, Span, apply_edits
from qwencoder_lsp.engine.protocol import Cancel, Chunk, Constraint, Done, FromEngine, Generate
from qwencoder_lsp.engine.scripted import ScriptedEngine
from qwencoder_lsp.engine.vocabulary import ByteTokenizer
from qwencoder_lsp.errors import ModelMissing, QwencoderError
from qwencoder_lsp.features.complete import complete
from qwencoder_lsp.gateway.protocol import ChatRequest, CompleteRequest, End, Event, Piece, Start
from qwencoder_lsp.prompt.budget import Budget
from qwencoder_lsp.prompt.fim import render_fim
from qwencoder_lsp.prompt.segments import SegmentTokenizer
from qwencoder_lsp.settings import Settings, load

DEFAULTS = Settings()
TIMINGS = Timings(render=1.0, generate=9.0, queue=2.0, prefill=3.0, decode=4.0, first_token=5.0)


class InProcess:
    """A gateway without its process: renders as the real one does and runs a scripted engine. Keeps the requests that it saw."""

    def __init__(self, text: str = "", **script: Any) -> None:
        self.requests: list[CompleteRequest] = []
        self.cancelled: list[int] = []
        self.asked = asyncio.Event()
        self.failure: QwencoderError | None = None
        self._answers: dict[int, asyncio.Queue[FromEngine]] = {}
        self._loop = asyncio.get_running_loop()
        self._ids = itertools.count(1)
        self._engine = ScriptedEngine({"default": text, **script}, self._receive)

    def _receive(self, message: FromEngine) -> None:
        assert isinstance(message, Chunk | Done)
        self._loop.call_soon_threadsafe(self._answers[message.id].put_nowait, message)

    async def complete(self, request: CompleteRequest) -> AsyncGenerator[Event, None]:
        self.requests.append(request)
        if self.failure:
            raise self.failure
        prompt = render_fim(request.parts, SegmentTokenizer(ByteTokenizer()), Budget(1000, 200))
        id_ = next(self._ids)
        answers = self._answers[id_] = asyncio.Queue()
        yield Start("scripted", prompt.usage, 1.0, str(hash(tuple(prompt.tokens))), 1000, 200, prompt.shares)
        healed = Constraint("heal", prompt.healed) if prompt.healed else None
        self._engine.post(
            Generate(
                *(id_, tuple(prompt.tokens), request.max_tokens, prompt.stop_tokens, request.stops),
                document=request.document,
                constraint=healed,
            )
        )
        self.asked.set()
        try:
            while isinstance(answer := await answers.get(), Chunk):
                yield Piece(answer.text, answer.logprobs, answer.tokens)
        except (asyncio.CancelledError, GeneratorExit):
            self._engine.post(Cancel(id_))
            self.cancelled.append(id_)
            while isinstance(await answers.get(), Chunk):  # the engine owes a Done even so; its thread must not outlive the test's event loop
                pass
            raise
        assert isinstance(answer, Done)
        yield End(
            answer.reason,
            Usage(answer.prompt_tokens, 0, answer.generated_tokens, prompt.usage.prefix_omitted),
            TIMINGS,
            answer.cuts,
            answer.line_ends,
        )

    def chat(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        raise AssertionError("completion does not chat")


def document(marked: str, language: str = "python") -> tuple[Snapshot, int]:
    return Snapshot("file:///w/a.py", marked.replace("|", "", 1), language, "/w/a.py", "/w", 1), marked.index("|")


def accepted(marked: str, completion: Completion) -> str:
    assert completion.suggestion is not None
    text = document(marked)[0].text
    return apply_edits(text, [Edit(completion.suggestion.span, completion.suggestion.text)])


async def test_a_suggestion_with_its_cost() -> None:
    gateway = InProcess("a + b\n")
    completion = await complete(*document("def add(a, b):\n    return |\n"), gateway, DEFAULTS)
    assert completion.suggestion is not None
    assert completion.suggestion.text == "a + b"
    assert completion.suggestion.span == Span(26, 26)
    assert (completion.reason, completion.detail, completion.model) == (Reason.SHOWN, "stop_token", "scripted")
    assert completion.usage == Usage(prompt=29, generated=6)
    assert completion.timings.gather > 0 < completion.timings.finish
    assert (completion.timings.render, completion.timings.generate, completion.timings.first_token) == (1.0, 9.0, 5.0)


async def test_two_suggestions_have_different_ids() -> None:
    gateway = InProcess("a")
    ids = {(await complete(*document("x = |"), gateway, DEFAULTS)).suggestion for _ in range(2)}
    assert len(ids) == 2


async def test_the_request_carries_the_parts_and_the_settings() -> None:
    gateway = InProcess("1")
    settings, _ = load({"completion": {"max_tokens": 7, "max_prefix": 300, "max_suffix": 20}, "model": {"completion": "some-model"}}, env={})
    await complete(*document("x = |\ny = 2\n"), gateway, settings, explicit=True, document="window:a.py")
    request = gateway.requests[0]
    assert (request.parts.typed, request.parts.suffix, request.parts.path, request.parts.language) == ("x = ", "\ny = 2\n", "a.py", "python")
    assert (request.model, request.max_tokens, request.max_prefix, request.max_suffix) == ("some-model", 7, 300, 20)
    assert (request.explicit, request.document) == (True, "window:a.py")


@pytest.mark.parametrize(
    ("marked", "answer", "result"),
    [
        ("def f():|\n", "\n    a = 1\n    return a\n\ndef g():\n    pass", "def f():\n    a = 1\n    return a\n\ndef g():\n    pass\n"),
        ("def f():\n    |\n", "a = 1\n    return a\n\ndef g():", "def f():\n    a = 1\n    return a\n"),
        ("print(|)\n", "a, b)\nprint(c)", "print(a, b)\n"),
        ("call(|)\r\nx\r\n", "a,\n    b", "call(a,)\r\nx\r\n"),
        ("if a:\r\n    |\r\n", "b()\n    c()", "if a:\r\n    b()\r\n    c()\r\n"),
    ],
)
async def test_accepting_gives_the_document(marked: str, answer: str, result: str) -> None:
    completion = await complete(*document(marked), InProcess(answer), DEFAULTS)
    assert accepted(marked, completion) == result


@pytest.mark.parametrize(
    ("marked", "answer", "reason"),
    [
        ("x = |\n", "", Reason.EMPTY),
        ("f(|)\n", ")", Reason.REPEATS_SUFFIX),
        ("token = |\n", "'<secret:github-token>'", Reason.SECRET),
        ("token = |\n", "'ghp_" + "a1B2" * 9 + "'", Reason.SECRET),
        ("a = 1\n|\n", "a = 1\n", Reason.REPEATS_PREFIX),
    ],
)
async def test_silence_after_an_answer_has_a_reason_and_its_cost(marked: str, answer: str, reason: Reason) -> None:
    completion = await complete(*document(marked), InProcess(answer), DEFAULTS)
    assert (completion.suggestion, completion.reason) == (None, reason)
    assert completion.usage.prompt > 0
    assert completion.timings.generate > 0


async def test_where_nothing_is_offered_the_model_is_not_asked() -> None:
    gateway = InProcess("x")
    completion = await complete(*document("va|lue"), gateway, DEFAULTS)
    assert (completion.reason, gateway.requests) == (Reason.MID_WORD, [])
    assert (await complete(*document("va|lue"), gateway, DEFAULTS, explicit=True)).suggestion


async def test_a_newer_request_for_the_document_replaces_the_older_one() -> None:
    gateway = InProcess("answer", token_ms=20)
    older = asyncio.create_task(complete(*document("x = |"), gateway, DEFAULTS, document="key"))
    await gateway.asked.wait()
    newer = await complete(*document("x = a|"), gateway, DEFAULTS, document="key")
    assert ((await older).suggestion, (await older).reason) == (None, Reason.SUPERSEDED)
    assert newer.reason is Reason.SHOWN


async def test_cancelling_stops_the_generation() -> None:
    gateway = InProcess("answer", token_ms=1000)
    task = asyncio.create_task(complete(*document("x = |"), gateway, DEFAULTS))
    await gateway.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gateway.cancelled == [1]


async def test_a_missing_model_is_an_error_and_no_completion() -> None:
    gateway = InProcess()
    gateway.failure = ModelMissing("The model is not installed.")
    with pytest.raises(ModelMissing):
        await complete(*document("x = |"), gateway, DEFAULTS)
