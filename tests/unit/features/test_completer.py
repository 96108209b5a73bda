"""What one keystroke leaves for the next: answers without the model, generations that are joined, work ahead."""

from __future__ import annotations

import asyncio

import pytest

from qwencoder_lsp.context.pack import Pack
from qwencoder_lsp.core.prompt import Snippet
from qwencoder_lsp.core.report import Reason
from qwencoder_lsp.core.results import Completion
from qwencoder_lsp.core.text import Snapshot
from qwencoder_lsp.features import reader
from qwencoder_lsp.features.complete import Completer
from qwencoder_lsp.settings import Settings, load
from tests.unit.features.test_complete import DEFAULTS, InProcess, document


async def ask(completer: Completer, gateway: InProcess, marked: str, settings: Settings = DEFAULTS) -> Completion:
    return await completer.complete(*document(marked), gateway, settings, document="key")


def text(completion: Completion) -> str:
    assert completion.suggestion is not None, completion.reason
    return completion.suggestion.text


async def landed(completer: Completer, gateway: InProcess, requests: int) -> None:
    """Wait until so many requests were made and have ended."""
    while len(gateway.requests) < requests or any(not f.over for f in (*completer._flights.values(), *completer._ahead.values())):  # noqa: ASYNC110
        await asyncio.sleep(0.005)


async def test_typing_what_is_suggested_asks_the_model_once() -> None:
    gateway, completer = InProcess("width * height"), Completer()
    assert text(await ask(completer, gateway, "area = |\n")) == "width * height"
    for typed in ("w", "width", "width * he"):
        known = completer.at_once(*document(f"area = {typed}|\n"), DEFAULTS)
        assert known is not None
        assert text(known) == "width * height".removeprefix(typed)
    assert len(gateway.requests) == 1


async def test_a_deleted_character_brings_the_suggestion_back() -> None:
    gateway, completer = InProcess("value"), Completer()
    await ask(completer, gateway, "x = |\n")
    await ask(completer, gateway, "x = y|\n")
    known = completer.at_once(*document("x = |\n"), DEFAULTS)
    assert known is not None
    assert text(known) == "value"


async def test_a_key_that_the_running_generation_writes_too_waits_for_it() -> None:
    gateway, completer = InProcess("answer", token_ms=20), Completer()
    first = asyncio.create_task(ask(completer, gateway, "x = |\n"))
    await gateway.asked.wait()
    assert completer.joins(*document("x = a|\n"))
    second = await ask(completer, gateway, "x = an|\n")
    assert text(second) == "swer"
    assert text(await first) == "answer"
    assert len(gateway.requests) == 1


async def test_a_key_that_it_does_not_write_starts_another_and_stops_it() -> None:
    gateway, completer = InProcess("answer", token_ms=20), Completer()
    first = asyncio.create_task(ask(completer, gateway, "x = |\n"))
    await gateway.asked.wait()
    second = await ask(completer, gateway, "x = b|\n")
    assert text(second) == "answer"
    assert (await first).reason is Reason.SUPERSEDED
    assert len(gateway.requests) == 2
    assert gateway.cancelled == [1]


async def test_who_joined_a_generation_that_a_newer_request_stopped_before_it_began_does_not_stop_that_one() -> None:
    gateway, completer = InProcess("answer"), Completer()
    places = ("x = |\n", "x = |\n", "y = |\n")  # begun in one turn of the event loop; the last one stops what the first one started
    completions = await asyncio.wait_for(asyncio.gather(*(ask(completer, gateway, place) for place in places)), 10)
    assert [completion.reason for completion in completions] == [Reason.SUPERSEDED, Reason.SUPERSEDED, Reason.SHOWN]
    assert gateway.cancelled == []


async def test_a_request_that_is_given_up_leaves_its_generation_to_the_next_key() -> None:
    gateway, completer = InProcess("answer", token_ms=20), Completer()
    first = asyncio.create_task(ask(completer, gateway, "x = |\n"))
    await gateway.asked.wait()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert text(await ask(completer, gateway, "x = a|\n")) == "nswer"
    assert len(gateway.requests) == 1


async def test_a_generation_that_nobody_waits_for_ends_soon() -> None:
    gateway, completer = InProcess("answer", token_ms=1000), Completer()
    first = asyncio.create_task(ask(completer, gateway, "x = |\n"))
    await gateway.asked.wait()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await landed(completer, gateway, 1)
    assert gateway.cancelled == [1]


async def test_what_comes_behind_a_suggestion_is_there_when_it_is_accepted() -> None:
    gateway, completer = InProcess(rules=[{"contains": "x = 1", "text": "\ny = 2"}, {"contains": "x = ", "text": "1"}]), Completer()
    marked = "x = |\n"
    first = await ask(completer, gateway, marked)
    assert first.suggestion is not None
    completer.shown(document(marked)[0], first.suggestion, gateway, DEFAULTS, document="key")
    await landed(completer, gateway, 2)
    assert gateway.requests[1].ahead
    known = completer.at_once(*document("x = 1|\n"), DEFAULTS)
    assert known is not None
    assert text(known) == "\ny = 2"
    assert len(gateway.requests) == 2


async def test_work_ahead_can_be_switched_off() -> None:
    gateway, completer = InProcess("1"), Completer()
    settings, _ = load({"completion": {"ahead": False}}, env={})
    first = await ask(completer, gateway, "x = |\n", settings)
    assert first.suggestion is not None
    completer.shown(document("x = |\n")[0], first.suggestion, gateway, settings)
    await asyncio.sleep(0.01)
    assert len(gateway.requests) == 1


async def test_who_asks_explicitly_gets_a_fresh_answer() -> None:
    gateway, completer = InProcess("1"), Completer()
    await ask(completer, gateway, "x = |\n")
    await completer.complete(*document("x = |\n"), gateway, DEFAULTS, explicit=True)
    assert len(gateway.requests) == 2


async def test_a_known_answer_that_repeats_what_now_follows_is_not_shown() -> None:
    gateway, completer = InProcess("a)"), Completer()
    assert text(await ask(completer, gateway, "f(|\n")) == "a)"
    known = completer.at_once(*document("f(|)\n"), DEFAULTS)
    assert known is not None
    assert known.suggestion is not None
    assert (text(known), known.suggestion.span.end - known.suggestion.span.start) in {("a)", 1), ("a", 0)}


async def test_the_first_request_reads_what_is_near_and_a_pause_reads_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "PAUSE_S", 0.01)
    gateway, completer = InProcess("1"), Completer()
    await ask(completer, gateway, "x = |\n")
    while len(gateway.requests) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)
    await ask(completer, gateway, "y = |\n")
    assert [(r.near, r.ahead, r.max_tokens > 0) for r in gateway.requests] == [(True, False, True), (False, True, False), (False, False, True)]


async def test_whoever_types_on_is_not_read_to() -> None:
    gateway, completer = InProcess("1"), Completer()
    for marked in ("x = |\n", "y = |\n", "z = |\n"):
        await ask(completer, gateway, marked)
    assert [r.near for r in gateway.requests] == [True, True, True]
    for stopped in completer.closed("file:///w/a.py"):
        await asyncio.wait({stopped})


async def test_snippets_are_used_once_the_model_has_read_them_and_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "PAUSE_S", 0.01)
    best = Pack((Snippet("1", "b.py", "def f(): ...\n", "imports", 1.0),))
    asked: list[Pack] = []

    async def choose(_: Snapshot, __: int, ___: Settings, old: Pack) -> Pack:
        asked.append(old)
        return best

    gateway, completer = InProcess("1"), Completer(choose)
    await ask(completer, gateway, "x = |\n")
    while len(gateway.requests) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)
    await ask(completer, gateway, "y = |\n")
    while len(asked) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)
    assert [r.parts.snippets for r in gateway.requests] == [(), best.snippets, best.snippets]
    assert asked == [Pack(), best]


async def test_whoever_types_while_snippets_are_chosen_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "PAUSE_S", 0.01)
    begun = asyncio.Event()

    async def choose(_: Snapshot, __: int, ___: Settings, old: Pack) -> Pack:
        begun.set()
        await asyncio.sleep(60)
        return old

    gateway, completer = InProcess("1"), Completer(choose)
    await ask(completer, gateway, "x = |\n")
    await begun.wait()
    assert text(await ask(completer, gateway, "y = |\n")) == "1"
    for stopped in completer.closed("file:///w/a.py"):
        await asyncio.wait({stopped})


async def test_who_takes_the_lines_that_are_shown_gets_the_next_ones_without_the_model() -> None:
    gateway, completer = InProcess("a()\n    b()\n    c()\n    d()"), Completer()
    first, offset = document("def f():\n    |\n")
    shown = await completer.complete(first, offset, gateway, DEFAULTS, document="key")
    assert text(shown) == "a()\n    b()\n    c()\n    d()"
    known = completer.at_once(*document("def f():\n    a()\n    b()|\n"), DEFAULTS)
    assert known is not None
    assert text(known) == "\n    c()\n    d()"
    assert known.source == "memory"
    assert len(gateway.requests) == 1
