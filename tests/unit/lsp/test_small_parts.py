"""Reading messages, watching processes, flattening settings, describing the state."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwencoder_lsp.core.text import Span
from qwencoder_lsp.errors import RequestError
from qwencoder_lsp.gateway.protocol import ModelState, Status
from qwencoder_lsp.lsp import diagnostics, stdio, targets
from qwencoder_lsp.lsp.configuration import leaves
from qwencoder_lsp.lsp.status import describe
from qwencoder_lsp.lsp.transport import MAX_MESSAGE, read_message
from qwencoder_lsp.prompt.review import CATEGORIES

READY = Status(1, "0", 1, 0, "m", "m", models=(ModelState("m", "ready"),))


@given(st.lists(st.binary(min_size=1), max_size=5))
def test_framed_messages_are_read_in_order_until_the_end(bodies: list[bytes]) -> None:
    stream = io.BytesIO(b"".join(b"Content-Length: %d\r\n\r\n%s" % (len(body), body) for body in bodies))
    assert [read_message(stream) for _ in bodies] == bodies
    assert read_message(stream) is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"noise\r\nContent-Length: 2\r\n\r\n{}", b"{}"),
        (b"Content-Length: x\r\n\r\nContent-Length: 2\r\n\r\n{}", b"{}"),
        (b"content-length:2\r\nContent-Type: whatever\r\n\r\n{}", b"{}"),
        (b"Content-Length: 2\n\n{}", b"{}"),
        (b"Content-Length: 5\r\n\r\n{}", None),
        (b"Content-Length: 5\r\n", None),
    ],
)
def test_strange_headers_are_survived_and_a_cut_off_message_is_the_end(data: bytes, message: bytes | None) -> None:
    assert read_message(io.BytesIO(data)) == message


def test_an_absurd_length_is_refused_before_memory_is_taken() -> None:
    with pytest.raises(ValueError, match="bytes"):
        read_message(io.BytesIO(b"Content-Length: %d\r\n\r\n" % (MAX_MESSAGE + 1)))


def test_a_process_is_alive_until_it_was_waited_for() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert stdio.is_alive(child.pid)
    child.communicate(b"\n")
    assert not stdio.is_alive(child.pid)
    assert stdio.is_alive(os.getpid())
    assert not stdio.is_alive(2**60)


@pytest.mark.parametrize(
    ("sent", "flat"),
    [
        (None, {}),
        ([1], {}),
        ({"completion": {"enabled": True}, "log.level": "INFO"}, {"completion.enabled": True, "log.level": "INFO"}),
        ({"qwencoder": {"completion": {"items": False}}}, {"completion.items": False}),
        ({"completion": {"maxPrefix": None}, "command": "x", "trace": {"server": "off"}, "trace.server": "off"}, {}),
        ({"nonsense": 5}, {"nonsense": 5}),
    ],
)
def test_a_clients_settings_become_one_level_of_names(sent: Any, flat: dict[str, Any]) -> None:
    assert leaves(sent) == flat


@pytest.mark.parametrize(
    ("status", "state", "kind", "message"),
    [
        (READY, "ready", "Normal", "Ready: m."),
        (replace(READY, models=(ModelState("m", "loading"),)), "loading", "Normal", "Loading m."),
        (replace(READY, completion_model=""), "missing", "Warning", "No completion model is installed."),
        (replace(READY, models=(ModelState("m", "failed", "out of memory"), ModelState("n", "loading"))), "error", "Error", "m: out of memory"),
    ],
)
def test_the_most_urgent_thing_is_said_first(status: Status, state: str, kind: str, message: str) -> None:
    line = describe(status)
    assert (line["state"], line["kind"], line["message"], line["busy"]) == (state, kind, message, "Loading" in message)


@pytest.mark.parametrize(
    "target", [targets.FindingTarget("file:///a", "f1"), targets.DiagnosticTarget("file:///a", 3, Span(1, 2), "message", "pylint", "W1")]
)
def test_a_target_survives_the_way_to_the_editor_and_back(target: targets.Target) -> None:
    assert targets.parse(targets.as_json(target)) == target


@pytest.mark.parametrize("data", [None, 5, "finding", {}, {"finding": {}}, {"diagnostic": {"uri": "x"}}])
def test_data_that_is_no_target_is_refused(data: Any) -> None:
    with pytest.raises(RequestError):
        targets.parse(data)


def test_every_category_of_a_finding_is_described() -> None:
    text = Path(diagnostics.__file__).with_name("categories.md").read_text("utf-8")
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == list(CATEGORIES)
