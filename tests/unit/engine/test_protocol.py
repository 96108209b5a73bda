"""Frames between gateway and engine."""

from __future__ import annotations

import io
import struct

import pytest

from qwencoder_lsp.core.prompt import Stops
from qwencoder_lsp.engine.protocol import (
    MAX_MESSAGE,
    Calibrated,
    Cancel,
    Chunk,
    Constraint,
    Done,
    Embed,
    EngineInfo,
    Error,
    Failed,
    FromEngine,
    Generate,
    Loaded,
    Priority,
    Ready,
    Sampling,
    Shutdown,
    ToEngine,
    Unload,
    Unloaded,
    Vectors,
    decode,
    encode,
    read_frame,
)

MESSAGES: list[ToEngine | FromEngine] = [
    Generate(7, (1, 2), 5, (3,), Stops(("\n\n",), 3, 4, 600), Sampling(0.7, 20, 0.8, 0.1, 5), Priority.REVIEW, "doc", Constraint("regex", "a+")),
    Generate(1, (), 1),
    Generate(8, (1,), 2, sampling=Sampling(logit_bias=((5, -1.5),), top_logprobs=2), lane="typing", index=1, suffix=(4, 5), score_from=0),
    Embed(9, ((1, 2), (3,))),
    Unload(),
    Cancel(7),
    Shutdown(),
    Ready(EngineInfo("m", 8192, 151936, 2, False, "CPU", 80.5, 29.0, 300.0)),
    Failed("no", "do"),
    Loaded(12.5),
    Unloaded(4096),
    Calibrated(((1, 1, 24.5), (8, 8, 90.0))),
    Chunk(8, "a", (1, 2), (-0.1, -2.0), (((1, -0.1), (3, -2.5)), ((2, -2.0), (9, -3.0)))),
    Done(8, "length", 10, 5, 0, 0.1, 2.0, 3.0, 4, 7, 6, 1, 2.5, (-0.5, -0.25), top=(((4, -0.5), (5, -1.5)), ((6, -0.25),))),
    Vectors(9, ("AAAA", "AAAA"), 3),
    Chunk(7, "é\u2028\n", (1, 2), (-0.1, -2.0)),
    Done(7, "length", 10, 5, 3, 0.1, 2.0, 3.0),
    Error(7, "request", "bad", "fix"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_every_message_survives_the_wire(message: ToEngine | FromEngine) -> None:
    body = read_frame(io.BytesIO(encode(message)))
    assert body is not None
    assert decode(body) == message


def test_the_end_of_the_stream_is_none_also_in_the_middle_of_a_frame() -> None:
    frame = encode(Cancel(1))
    assert read_frame(io.BytesIO(b"")) is None
    assert read_frame(io.BytesIO(frame[:2])) is None
    assert read_frame(io.BytesIO(frame[:-1])) is None


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"op":"nothing"}', b'{"op":"cancel"}', b'{"op":"cancel","id":1,"more":2}', b"\xff"])
def test_anything_else_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        decode(body)


def test_an_absurd_length_is_refused_before_memory_is_taken() -> None:
    with pytest.raises(ValueError, match="bytes"):
        read_frame(io.BytesIO(struct.pack(">I", MAX_MESSAGE + 1)))
