"""The peer's policy in the `typing` benchmark, against what llama.vim's source does."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.bench.engine.client import Call, Reply
from tests.bench.typing.llamavim import Buffer, LlamaVim, rendered


class Peer:
    """Answers /infill from a list, each after a turn of the loop or when `gate` opens."""

    def __init__(self, *answers: str) -> None:
        self.answers, self.bodies = list(answers), [dict[str, Any]() for _ in ()]
        self.gate = asyncio.Event()
        self.gate.set()

    async def call(self, call: Call) -> Reply:
        assert call.body is not None
        self.bodies.append(call.body)
        await self.gate.wait()
        return Reply(status=200, ended=1.0, body={"content": self.answers.pop(0)}, timings={"prompt_n": 3, "predicted_n": 2})


def vim(peer: Peer) -> tuple[LlamaVim, list[tuple[int, str, bool]]]:
    shown: list[tuple[int, str, bool]] = []
    return LlamaVim(peer, lambda turn, text, free: shown.append((turn, text, free))), shown  # type: ignore[arg-type]  # what it calls of a server


async def settled(client: LlamaVim) -> None:
    await asyncio.sleep(0.25)  # two of its timers
    await client.close()


def test_what_is_asked_about_are_whole_lines_and_the_line_up_to_the_cursor() -> None:
    local = Buffer("a\n  b(c)\nd", 5).local(1, 3)
    assert (local.prefix, local.middle, local.suffix, local.indent) == ("a\n", "  b", "(c)\nd\n", 2)


def test_a_blank_line_is_asked_about_from_its_start() -> None:
    local = Buffer("a\n    \nd", 6).local(1, 4)
    assert (local.prefix, local.middle, local.suffix) == ("a\n", "", "\nd\n")


def test_a_shown_hint_is_asked_behind_as_if_it_were_accepted() -> None:
    local = Buffer("a\nb = \nd", 6).local(1, 4, ["1", "c = 2"], indent=4)
    assert (local.prefix, local.middle, local.suffix, local.indent) == ("a\nb = 1\n", "c = 2", "\nd\n", 4)


def test_a_reply_is_found_again_without_the_first_three_lines() -> None:
    first, *more = Buffer("1\n2\n3\n4\n5", 9).local(4, 1).keys
    assert first == ("1\n2\n3\n4\n5", "\n\n")
    assert [before for before, _ in more] == ["2\n3\n4\n5", "3\n4\n5", "4\n5"]


def test_what_repeats_the_text_behind_the_cursor_is_not_shown() -> None:
    assert rendered(")", Buffer("f()", 2)) == [""]
    assert rendered("b", Buffer("a\n\nb\nc", 2)) == [""]
    assert rendered("\nb\nc", Buffer("a\nb\nc", 1)) == [""]
    assert rendered("b + 1\n\n", Buffer("a = \nb\nc", 4)) == ["b + 1"]


def test_the_indentation_of_a_blank_line_is_not_shown_twice() -> None:
    assert rendered("    return a", Buffer("def f():\n    ", 13)) == ["return a"]


async def test_a_reply_is_shown_and_goes_on_while_it_is_typed() -> None:
    peer = Peer("b + c", "", "", "")
    client, shown = vim(peer)
    client.key(0, "a = ", 4)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    client.key(1, "a = b", 5)
    assert shown == [(0, "b + c", False), (1, " + c", True)]
    await settled(client)
    # the reply behind the hint, and, because this very place is not known, another one for the place itself
    assert [body["prompt"] for body in peer.bodies][:1] == ["a = "]
    assert {body["prompt"] for body in peer.bodies[1:]} == {"a = b + c", "a = b"} or len(peer.bodies) == 2
    assert client.evaluated == 5 * len(peer.bodies)


async def test_while_a_request_runs_keys_wait_for_the_timer() -> None:
    peer = Peer("x", "y", "z")
    peer.gate.clear()
    client, _ = vim(peer)
    client.key(0, "a", 1)
    await asyncio.sleep(0)
    client.key(1, "ab", 2)
    client.key(2, "abc", 3)
    assert [body["prompt"] for body in peer.bodies] == ["a"]
    peer.gate.set()
    await asyncio.sleep(0.15)
    assert [body["prompt"] for body in peer.bodies][:2] == ["a", "abc"]
    await client.close()


async def test_nothing_is_asked_when_more_than_eight_characters_follow() -> None:
    peer = Peer()
    client, _ = vim(peer)
    client.key(0, "call(first, second)", 5)
    await settled(client)
    assert peer.bodies == []
