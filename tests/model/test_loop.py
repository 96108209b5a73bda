"""The engine's loop in this process, with lanes so small that requests get into each other's way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from qwencoder_lsp.engine import lanes as lanes_module
from qwencoder_lsp.engine.lanes import BULK
from qwencoder_lsp.engine.loop import MAX_JOBS
from qwencoder_lsp.engine.protocol import (
    Cancel,
    Chunk,
    Constraint,
    Done,
    Embed,
    Error,
    Loaded,
    Priority,
    Sampling,
    Unload,
    Unloaded,
    Vectors,
)
from qwencoder_lsp.engine.step import Step
from tests.model.running import CODE, Running, serving

pytestmark = pytest.mark.model


@pytest.fixture
def running(model_05b: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(lanes_module, "BULK_CTX", 512)
    with serving(model_05b) as engine:
        yield engine


def test_a_prompt_too_long_for_the_lane_makes_it_larger_and_what_runs_there_goes_on(running: Running) -> None:
    alone, _ = running.end(running.post("def add(a, b):\n    return", 24, speculate=False))
    small = running.post("def add(a, b):\n    return", 24, speculate=False)
    running.until(lambda m: isinstance(m, Chunk) and m.id == small)
    long = running.tokens(CODE)[:700]
    large = running.post(long, 2)
    ends = running.ends(small, large)
    assert running.engine.lanes is not None
    assert running.engine.lanes[BULK].context.n_ctx >= 1024
    assert (ends[small][1].generated_tokens, ends[large][1].generated_tokens) == (24, 2)  # type: ignore[union-attr]
    assert alone.startswith(" a + b")


def test_a_prompt_longer_than_any_lane_is_refused_with_the_limit(running: Running) -> None:
    id = running.post((100,) * 2048, 1)
    _, error = running.ends(id)[id]
    assert isinstance(error, Error)
    assert "the context holds 2048" in error.message


def test_requests_that_do_not_fit_together_all_end(running: Running) -> None:
    """Each needs most of the lane: one waits, or moves out to host memory and comes back."""
    texts = [running.tokens(CODE)[i * 300 : i * 300 + 260] for i in range(3)]
    ids = [running.post(text, 60, speculate=False) for text in texts]
    assert [d.generated_tokens for _, d in running.ends(*ids).values()] == [60] * 3  # type: ignore[union-attr]


def test_a_keystroke_takes_the_cells_of_nobody_who_types_and_still_is_answered_first(running: Running) -> None:
    review = running.post(running.tokens(CODE)[:400], 40, priority=Priority.REVIEW)
    typing = running.post("def add(a, b):\n    return", 4, priority=Priority.TYPING, lane="typing", document="doc")
    order = [m.id for m in running.until(lambda m: isinstance(m, Done) and m.id == review) if isinstance(m, Done)]
    assert order == [typing, review]


def test_an_unloaded_model_comes_back_with_its_prefixes(running: Running) -> None:
    prompt = running.tokens(CODE)[:300]
    before, _ = running.end(running.post(prompt, 4, speculate=False))
    running.engine.post(Unload())
    gone = running.until(lambda m: isinstance(m, Unloaded))[-1]
    assert isinstance(gone, Unloaded)
    assert gone.host_bytes > 0
    id = running.post(prompt, 4, speculate=False)
    assert isinstance(running.until(lambda m: isinstance(m, Loaded))[-1], Loaded)
    after, done = running.end(id)
    assert done.restored_tokens >= 256
    assert after == before


def test_candidates_of_one_prompt_share_its_prefill_and_do_not_replace_each_other(running: Running) -> None:
    prompt = running.tokens(CODE)[:200]
    ids = [running.post(prompt, 4, document="doc", lane="typing", index=i) for i in range(3)]
    ends = running.ends(*ids)
    assert all(isinstance(d, Done) and d.reason == "length" for _, d in ends.values())
    assert sorted(d.reused_tokens for _, d in ends.values())[1:] == [199, 199]  # type: ignore[union-attr]


def test_an_answer_ends_where_the_text_behind_the_hole_begins(running: Running) -> None:
    suffix = running.tokens("\n\n\ndef sub(a, b):\n    return a - b")[:4]
    text, done = running.end(running.post(CODE[-400:] + "def add(a, b):\n    return", 30, suffix=suffix, suffix_min=-6.0))
    assert done.reason == "suffix"
    assert text.strip()
    assert "def" not in text


def test_scores_are_the_log_probabilities_of_the_given_tokens(running: Running) -> None:
    good, bad = "def add(a, b):\n    return a + b", "def add(a, b):\n    return purple"
    scores = []
    for text in (good, bad):
        start = len(running.tokens("def add(a, b):\n    return"))
        _, done = running.end(running.post(text, 0, score_from=start))
        assert len(done.scores) == len(running.tokens(text)) - start
        scores.append(done.scores[0])
    assert scores[0] > scores[1] + 2


def test_a_deadline_ends_a_request_with_what_it_has(running: Running) -> None:
    _, done = running.end(running.post("x = 1\n", 4000, deadline_ms=700.0, speculate=False))
    assert done.reason == "deadline"


def test_a_prompt_can_be_warmed_without_an_answer(running: Running) -> None:
    prompt = running.tokens(CODE)[:100]
    text, done = running.end(running.post(prompt, 0))
    assert (text, done.reason, done.generated_tokens) == ("", "length", 0)
    assert running.end(running.post(prompt, 1))[1].reused_tokens == 99


def test_copied_text_is_drafted_and_comes_out_the_same(running: Running) -> None:
    question = "<|im_start|>user\nRepeat this code exactly:\n" + CODE[:400] + "<|im_end|>\n<|im_start|>assistant\n"
    tokens = tuple(running.vocabulary.tokenize_markup(question))
    plain, _ = running.end(running.post(tokens, 60, speculate=False))
    drafted, done = running.end(running.post(tokens, 60))
    assert drafted == plain
    assert done.accepted_tokens > 20


def test_rows_of_nothing_that_fill_a_tile_change_no_answer_and_leave_nothing(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, padded = running.tokens(CODE)[:430], list[int]()
    plain = running.end(running.post(tokens, 1, score_from=420))[1].scores
    run = Step.run

    def noted(step: Step) -> int:
        padded.append(step.padding)
        return run(step)

    monkeypatch.setattr(Step, "run", noted)
    other = running.tokens("x = 1\n") + tokens
    running.end(running.post(other[:370], 0))
    scores = running.end(running.post(other[:432], 1, score_from=422))[1].scores
    assert max(padded) > 0
    assert len(scores) == len(plain[:10])
    assert scores == pytest.approx(plain[:10], abs=0.5)
    for lane in ("typing", "bulk"):
        assert running.engine.lanes and running.engine.lanes[lane].context.length(running.engine.lanes[lane].pool.scratch) == 0


@pytest.mark.filterwarnings("ignore:llama_token_get_attr is deprecated")  # llguidance still calls it
def test_drafts_and_forced_tokens_obey_a_schema(running: Running) -> None:
    schema = (
        '{"type":"object","properties":{"first":{"enum":["a"]},"second":{"enum":["b"]}},"required":["first","second"],"additionalProperties":false}'
    )
    text, done = running.end(running.post("JSON: ", 40, constraint=Constraint("json_schema", schema)))
    assert text == '{"first": "a", "second": "b"}'
    assert done.accepted_tokens > 0


def test_embeddings_of_several_texts_come_in_order_and_a_cancelled_one_never(running: Running) -> None:
    running.engine.post(Embed(500, (running.tokens(CODE)[:300],)))
    running.engine.post(Cancel(500))
    running.engine.post(Embed(501, (running.tokens("def add(a, b)"), running.tokens("the weather"))))
    vectors = running.until(lambda m: isinstance(m, Vectors) and m.id == 501)[-1]
    assert isinstance(vectors, Vectors)
    assert len(set(vectors.vectors)) == 2


def test_one_request_more_than_may_wait_is_told_that_the_engine_is_busy(running: Running) -> None:
    ids = [running.post("x", 1) for _ in range(MAX_JOBS * 3)]
    ends = [end for _, end in running.ends(*ids).values()]
    refused = [e for e in ends if isinstance(e, Error)]
    assert all(e.code == "engine_busy" for e in refused)
    assert sum(isinstance(e, Done) for e in ends) >= MAX_JOBS


def test_a_warm_prompt_that_another_request_completes_ends_too(running: Running) -> None:
    prompt = running.tokens(CODE)[:400]
    warm = running.post(prompt, 0, priority=Priority.BACKGROUND)
    chat = running.post(prompt + running.tokens("# end"), 2)
    ends = running.ends(warm, chat)
    assert ends[warm][1].reason == "length"  # type: ignore[union-attr]


def test_an_odd_request_fails_alone(running: Running) -> None:
    good = running.post("def add(a, b):\n    return", 8, speculate=False)
    odd = running.post("x", 3, sampling=Sampling(temperature=1.0, seed=-1))
    ends = running.ends(good, odd)
    assert isinstance(ends[odd][1], Error)
    assert ends[good][1].generated_tokens == 8  # type: ignore[union-attr]


@pytest.mark.filterwarnings("ignore:llama_token_get_attr is deprecated")
def test_a_model_can_go_while_a_constraint_is_being_built(running: Running) -> None:
    prompt = running.tokens("def add(a, b):\n    return")  # now: the vocabulary goes with the model
    id = running.post(prompt, 4, constraint=Constraint("json_schema", '{"type":"object"}'))
    running.engine.post(Cancel(id))
    running.engine.post(Unload())
    running.until(lambda m: isinstance(m, Unloaded))
    assert running.end(running.post(prompt, 2))[1].reason == "length"


def test_work_ahead_is_declined_while_other_programs_need_the_machine(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running.engine._threads, "observe", lambda _: None)
    running.engine._threads.busy = True
    ahead = running.post(CODE[:200], 4, priority=Priority.BACKGROUND, document="a:ahead")
    batch = running.post(CODE[:200], 4, priority=Priority.BACKGROUND)
    key = running.post(CODE[:200], 4, priority=Priority.TYPING, document="a")
    ends = running.ends(ahead, batch, key)
    assert [ends[id][1].reason for id in (ahead, batch, key)] == ["cancelled", "length", "length"]  # type: ignore[union-attr]
