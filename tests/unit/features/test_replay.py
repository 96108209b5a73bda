"""Completions are recorded as they are made, and come out the same again."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from qwencoder_lsp.context.gather import gather
from qwencoder_lsp.core.results import Completion
from qwencoder_lsp.core.text import Snapshot
from qwencoder_lsp.features.complete import Completer
from qwencoder_lsp.features.record import Record, Window
from qwencoder_lsp.features.replay import near_tie, replay
from qwencoder_lsp.settings import Completion as Limits
from qwencoder_lsp.settings import Settings
from tests.unit.features.test_complete import DEFAULTS, InProcess, document


def record_of(completion: Completion | None) -> Record:
    assert completion is not None
    assert isinstance(completion.record, Record)
    there_and_back = Record.from_json(json.loads(json.dumps(completion.record.as_json())))
    assert there_and_back == completion.record
    return there_and_back


@pytest.mark.parametrize(
    ("marked", "answer"),
    [
        ("area = |\n", "width * height"),
        ("if x:\r\n    a\r\n    |\r\nend\r\n", "b\n    c\n"),
        ("foo(|)\n", "a, b)"),
        ("x = 1\n|", ""),
        ("é = '😀" * 10_000 + "\nx = |\n" + "y = 1\r\n" * 9000, "value"),
    ],
)
async def test_every_stage_of_a_recorded_completion_comes_out_the_same(marked: str, answer: str) -> None:
    gateway, completer = InProcess(answer), Completer()
    first = record_of(await completer.complete(*document(marked), gateway, DEFAULTS, document="key"))
    stages = await replay(first, gateway)
    assert [stage.name for stage in stages] == ["gather", "render", "generate", "finish"]
    assert all(stage.same for stage in stages), stages


async def test_keys_that_are_answered_from_memory_are_recorded_with_the_request_that_made_the_answer() -> None:
    gateway, completer = InProcess("width * height"), Completer()
    await completer.complete(*document("area = |\n"), gateway, DEFAULTS, document="key")
    completion = completer.at_once(*document("area = width|\n"), DEFAULTS)
    known = record_of(completion)
    assert (known.source, known.answer.text, known.made.answer.text) == ("memory", " * height", "width * height")
    assert all(stage.same for stage in await replay(known, gateway))


async def test_what_comes_out_differently_is_said() -> None:
    gateway, completer = InProcess("width * height"), Completer()
    first = record_of(await completer.complete(*document("area = |\n"), gateway, DEFAULTS, document="key"))
    start = first.made.answer.start
    assert start is not None
    made = replace(first.made, answer=replace(first.made.answer, start=replace(start, digest="other"), tokens=(1, 2), logprobs=(-0.1, -0.1)))
    parts = replace(made.asked.request.parts, suffix="other")
    made = replace(made, asked=replace(made.asked, request=replace(made.asked.request, parts=parts)))
    changed = replace(first, made=made, outcome=replace(first.outcome, text="other"))
    stages = await replay(changed, gateway)
    assert [stage.name for stage in stages if not stage.same] == ["gather", "render", "generate", "finish"]


@pytest.mark.parametrize(
    ("first", "second", "tie"), [(-0.7, -0.72, True), (-1.5, -1.6, True), (-0.1, -0.1, False), (-0.8, -1.6, False), (-0.4, -0.75, False)]
)
def test_two_tokens_tie_only_where_neither_has_more_than_half(first: float, second: float, tie: bool) -> None:
    assert near_tie(first, second) == tie


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("limits", [Limits(), Limits(max_prefix=64, max_suffix=16), Limits(max_prefix=8000, max_suffix=4000)])
def test_a_window_of_a_large_document_gives_the_same_parts(newline: str, limits: Limits) -> None:
    draw = random.Random(0)  # noqa: S311
    text = "".join("x" * draw.randint(0, 120) + newline for _ in range(4000))
    settings = Settings(completion=limits)
    for _ in range(20):
        snapshot, offset = Snapshot("file:///a.py", text, "python"), draw.randint(0, len(text))
        window = Window.around(snapshot, offset, limits)
        again = window.snapshot()
        assert (len(again.text), again.newline) == (len(text), newline)
        assert gather(again, offset, settings) == gather(snapshot, offset, settings)
        assert window.fits(snapshot, offset)
        assert not window.fits(replace(snapshot, text=text[:-1]), offset)
