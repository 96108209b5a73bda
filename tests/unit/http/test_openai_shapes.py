"""What is hard to bring about with an engine: improbable tokens, several choices in one account, errors of our own making."""

from __future__ import annotations

import json
import logging
import math

import pytest

from qwencoder_lsp.engine.protocol import Chunk, Done
from qwencoder_lsp.engine.vocabulary import ByteTokenizer
from qwencoder_lsp.errors import EngineBusy, EngineCrashed, EngineFailed, ModelCorrupt, ModelMissing, ModelUnsuitable, QwencoderError, RequestError
from qwencoder_lsp.http.failures import FieldError, failure
from qwencoder_lsp.http.openai_shapes import ChatShape, TextShape, timings, usage

PIECE = ByteTokenizer().piece


def done(prompt: int, reused: int, generated: int, prefill_ms: float = 100.0, decode_ms: float = 50.0) -> Done:
    return Done(1, "length", prompt, reused, generated, 2.0, prefill_ms, decode_ms, drafted_tokens=4, accepted_tokens=3, native_ms=40.0)


def test_a_log_probability_without_a_number_still_makes_valid_json() -> None:
    chunk = Chunk(1, "a", (97,), (-math.inf,), (((98, -math.inf),),))
    for choice in (TextShape(PIECE, 1, (), ()).piece(0, chunk), ChatShape(PIECE, logprobs=True).piece(0, chunk)):
        assert "-9999.0" in json.dumps(choice, allow_nan=False)


def test_text_offsets_go_on_over_the_chunks_of_a_choice() -> None:
    shape = TextShape(PIECE, 0, ("ab", "ab"), ())
    tables = [shape.piece(index, Chunk(1, "x", (120,), (-0.1,)))["logprobs"] for index in (0, 0, 1)]
    assert [table["text_offset"] for table in tables] == [[2], [3], [2]]


def test_text_offsets_are_places_in_the_text_not_in_the_tokens_spelling() -> None:
    shape = TextShape(PIECE, 0, (), (), ("re",))
    table = shape.piece(0, Chunk(1, "té!", tuple("reté!".encode()), (-0.1,) * 6))["logprobs"]
    assert table["text_offset"] == [0, 0, 0, 1, 1, 2], "what was taken back is in front of the text; both bytes of é are its one place"
    scored = TextShape(PIECE, 0, (), (tuple("é!".encode()),)).whole(0, (), done(3, 0, 0))["logprobs"]
    assert scored["text_offset"] == [0, 0, 1]


def test_the_account_of_several_choices_counts_a_prompt_once_and_all_work() -> None:
    one, two = done(10, 0, 5), done(10, 9, 7, prefill_ms=300.0, decode_ms=100.0)
    assert usage([one], [one, two]) == {
        "prompt_tokens": 10,
        "completion_tokens": 12,
        "total_tokens": 22,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    found = timings([one, two])
    assert (found["prompt_n"], found["cache_n"], found["predicted_n"], found["draft_n"], found["draft_n_accepted"]) == (11, 9, 12, 8, 6)
    assert (found["prompt_ms"], found["predicted_ms"], found["predicted_per_second"]) == (300.0, 100.0, 120.0)


def test_an_account_without_time_has_no_speed() -> None:
    found = timings([done(1, 0, 0, 0.0, 0.0)])
    assert (found["prompt_per_second"], found["predicted_per_second"]) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (RequestError("m"), 400, "invalid_request_error"),
        (FieldError("n", "m"), 400, "invalid_request_error"),
        (ModelUnsuitable("m"), 400, "invalid_request_error"),
        (ModelMissing("m"), 404, "invalid_request_error"),
        (EngineBusy("m"), 429, "rate_limit_error"),
        (EngineFailed("m"), 503, "unavailable_error"),
        (EngineCrashed("m"), 503, "unavailable_error"),
        (ModelCorrupt("m"), 500, "server_error"),
        (QwencoderError("m"), 500, "server_error"),
    ],
)
def test_each_error_has_its_status(error: QwencoderError, status: int, kind: str) -> None:
    found = failure(error)
    assert (found.status, found.body["error"]["type"]) == (status, kind)
    assert ("retry-after" in found.headers) == (status == 429)


def test_an_error_that_is_not_ours_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        found = failure(RuntimeError("a secret"))
    assert found.status == 500
    assert "secret" not in json.dumps(found.body)
    assert "a secret" in caplog.text
