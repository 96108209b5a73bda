"""A request inside the engine, driven by made-up logits: where it ends, and what it tells of other ends."""

from __future__ import annotations

import numpy as np
import pytest

from qwencoder_lsp.core.prompt import Stops
from qwencoder_lsp.engine.job import Job
from qwencoder_lsp.engine.protocol import Generate, Sampling
from qwencoder_lsp.engine.sampler import Logits

PIECES = [b"a", b"b", b"\n", b"x", b"y", b"<end>"]
A, B, NEWLINE, X, Y, END = range(6)
SUFFIX = (NEWLINE, X, Y)


def row(*best: int, end: float = -9.0) -> Logits:
    """Logits whose best token is `best[0]`, then `best[1]`, ...; end: that of the end token."""
    logits = np.full(len(PIECES), -20.0, np.float32)
    for rank, token in enumerate(best):
        logits[token] = -float(rank)
    logits[END] = max(logits[END], end)
    return logits


def job(max_tokens: int = 8) -> Job:
    return Job(Generate(1, (A, B), max_tokens, stop_tokens=(END,), suffix=SUFFIX, speculate=False), 1, PIECES.__getitem__)


def step(found: Job, *rows: Logits) -> str:
    """One step: the drafted tokens' rows, as the engine computes them."""
    draft = found.draft(lambda _: 1.0, 1, 0, 8)
    assert len(rows) == len(draft) + 1
    return found.verify(draft, lambda i: rows[i])[1]


def test_an_answer_that_arrives_at_the_suffix_ends_before_it() -> None:
    found = job()
    assert step(found, row(A)) == ""
    assert step(found, row(NEWLINE)) == ""
    assert step(found, row(X), row(Y), row(A)) == "suffix"
    chunk, done = found.finish("suffix")
    assert chunk is not None
    assert (chunk.text, done.reason) == ("a", "suffix")


def test_an_answer_that_only_begins_like_the_suffix_goes_on() -> None:
    found = job()
    step(found, row(A))
    step(found, row(NEWLINE))
    assert step(found, row(B, end=-9.0), row(Y), row(A)) == ""
    assert found.output == [A, NEWLINE, B]


@pytest.mark.parametrize(("end", "reason"), [(-1.0, "suffix"), (-9.0, "")])
def test_no_text_at_all_is_an_answer_only_where_the_end_is_probable(end: float, reason: str) -> None:
    found = job()
    assert step(found, row(NEWLINE, end=end)) == ""
    assert step(found, row(X), row(Y), row(A)) == reason


def test_the_account_tells_where_else_the_answer_might_have_ended() -> None:
    found = job()
    step(found, row(A, end=-30.0))
    step(found, row(B, end=-2.0))
    assert step(found, row(END)) == "stop_token"
    _, done = found.finish("stop_token")
    assert [at for at, _ in done.cuts] == [1, 2]
    assert done.cuts[0][1] == pytest.approx(-2.1, abs=0.1)
    assert done.cuts[1][1] == pytest.approx(0.0, abs=0.1)


def test_what_another_model_guesses_is_checked_where_nothing_is_copied_and_its_fate_is_told() -> None:
    found = Job(Generate(1, (A, B), 8, stop_tokens=(END,)), 1, PIECES.__getitem__)
    fate: list[tuple[int, int]] = []
    found.offer([X, Y, A], lambda drafted, right: fate.append((drafted, right)))
    draft = found.draft(lambda _: 1.0, 1, 2, 8)
    assert draft == [X, Y], "no more than fit"
    rows = (row(X), row(B), row(A))
    assert found.verify(draft, lambda i: rows[i]) == (1, "")
    assert found.output == [X, B]
    assert fate == [(2, 1)]
    assert found.draft(lambda _: 1.0, 1, 2, 8) == [], "an offer is for the next tokens only"


def test_what_has_become_improbable_is_no_part_of_the_answer_nor_are_its_tokens() -> None:
    sampling = Sampling(logprobs=True)
    found = Job(Generate(1, (A, B), 8, stop_tokens=(END,), stops=Stops(line_nats=1.0), sampling=sampling, speculate=False), 1, PIECES.__getitem__)
    chunks = []
    for logits in (row(A), row(NEWLINE), row(B)):
        step(found, logits)
        chunks.append(found.chunk())
    assert step(found, np.zeros(len(PIECES), np.float32)) == "unsure_line", "every token is as probable as the others"
    last, done = found.finish("unsure_line")
    assert [(chunk.text, chunk.tokens) for chunk in (*chunks, last) if chunk] == [("a", (A,))]
    assert done.line_ends == ((1, 0.0),)
