"""A small model that writes ahead, with the real 0.5B: here it is as large as the one that it drafts for, whose steps are said to be slow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from qwencoder_lsp.engine import draftmodel
from qwencoder_lsp.engine.binding import Model
from qwencoder_lsp.engine.costs import Costs
from qwencoder_lsp.engine.draftmodel import CELLS, MOST, SEQUENCES, Confidence, DraftModel, Need
from qwencoder_lsp.engine.protocol import Loaded, Unload, Unloaded
from qwencoder_lsp.errors import EngineFailed
from tests.model.running import serving
from tests.model.tiny import write_model

pytestmark = pytest.mark.model

SLOW = Costs([(1, 1, 2000.0), (2, 2, 2010.0), (4, 4, 2020.0), (8, 8, 2030.0), (16, 16, 2040.0), (32, 32, 2100.0)])
QUESTION = "def fibonacci(n):\n"
NUMBERS = 'NAMES = {1: "one", 2: "two", 3: "three", 4: "four",'
ALIKE = 6  # tokens; further on two choices may be as good, and how many rows a step has decides between them


@pytest.fixture(scope="module")
def target(model_05b: Path) -> Iterator[Model]:
    model = Model(model_05b, 0)
    yield model
    model.close()


@pytest.fixture
def draft(target: Model) -> Iterator[DraftModel]:
    model = DraftModel(target.path, target, gpu_layers=0, threads=2)
    yield model
    model.close()


def need(target: Model, text: str, key: int = 1, **fields: int) -> Need:
    tokens = np.asarray(target.vocabulary.tokenize(text), np.int32)
    values = {"answered": 0, "left": 200, "rows": 1, "limit": 31} | fields
    return Need(key, tokens, ends=target.vocabulary.special.end, **values)


def tokens(guesses: list[tuple[int, float]]) -> list[int]:
    return [token for token, _ in guesses]


def test_it_guesses_what_the_same_model_would_write(draft: DraftModel, target: Model) -> None:
    first = draft.guess(need(target, QUESTION), SLOW.draft)
    assert 1 < len(first) <= MOST
    text = b"".join(target.vocabulary.piece(t) for t in tokens(first)).decode()
    assert text.startswith("    if n")
    again = draft.guess(need(target, QUESTION + text), SLOW.draft)
    whole = b"".join(target.vocabulary.piece(t) for t in tokens(again)).decode()
    assert whole
    assert tokens(draft.guess(need(target, QUESTION, key=2), SLOW.draft))[:ALIKE] == tokens(first)[:ALIKE], "another request with the same text"


def test_it_guesses_nothing_where_that_does_not_pay(draft: DraftModel, target: Model) -> None:
    assert draft.guess(need(target, QUESTION), Costs([(1, 1, 29.0)]).draft) == [], "the model that it drafts for is as fast"
    assert draft.guess(need(target, QUESTION, left=1), SLOW.draft) == [], "the answer ends with the next token"
    assert draft.guess(need(target, QUESTION * 400, left=8), Costs([(1, 1, 500.0), (16, 16, 510.0)]).draft) == [], "reading takes longer"
    assert draft.guess(need(target, QUESTION * (CELLS // 4)), SLOW.draft) == [], "the text is longer than its memory"


def test_wrong_guesses_make_it_silent_and_time_makes_it_try_again(draft: DraftModel, target: Model) -> None:
    slow = Costs([(1, 1, 200.0), (2, 2, 240.0)]).draft
    wanted, rounds = need(target, QUESTION), 0
    while guesses := draft.guess(wanted, slow):
        draft.learn(guesses, len(guesses), 0)
        rounds += 1
        assert rounds < 60
    assert rounds > 2
    assert any(draft.guess(wanted, slow) for _ in range(400))


def test_guesses_too_unsure_to_be_checked_make_it_silent_too() -> None:
    confidence = Confidence()
    before = confidence.next
    for _ in range(60):
        confidence.refuse(0.2)
    assert confidence.next < before / 2
    for _ in range(400):
        confidence.recover()
    assert confidence.next > 0.95 * before


def test_more_texts_than_it_can_remember_at_once_are_read_again(draft: DraftModel, target: Model) -> None:
    texts = [f"# {i}\n" + QUESTION for i in range(SEQUENCES + 2)]
    alone = [tokens(draft.guess(need(target, text, key=i), SLOW.draft)) for i, text in enumerate(texts)]
    again = [tokens(draft.guess(need(target, text, key=i), SLOW.draft)) for i, text in enumerate(texts)]
    assert [found[:ALIKE] for found in again] == [found[:ALIKE] for found in alone]


def test_long_texts_make_way_for_each_other(target: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draftmodel, "CELLS", 768)
    draft = DraftModel(target.path, target, gpu_layers=0, threads=2)
    long = "    # one more line of a long text\n" * 50 + QUESTION
    found = [draft.guess(need(target, f"# {i}\n{long}", key=i, answered=200), SLOW.draft) for i in (1, 2, 3, 1)]
    draft.close()
    assert all(found)
    assert tokens(found[0])[:ALIKE] == tokens(found[3])[:ALIKE]


def test_what_is_broken_off_goes_on_where_it_was(draft: DraftModel, target: Model) -> None:
    wanted = need(target, QUESTION)
    plain = draft.guess(wanted, SLOW.draft)
    target.abort_flag.raise_()
    assert draft.guess(need(target, "x = 1\n" + QUESTION, key=2), SLOW.draft) == []
    target.abort_flag.clear()
    assert tokens(draft.guess(wanted, SLOW.draft))[:ALIKE] == tokens(plain)[:ALIKE]


def test_a_model_with_other_words_is_refused(target: Model, tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match="their vocabularies differ"):
        DraftModel(write_model(tmp_path / "tiny.gguf"), target, gpu_layers=0, threads=2)


def test_answers_are_the_same_with_and_without_it(model_05b: Path) -> None:
    with serving(model_05b, SLOW.points) as plain:
        text, _ = plain.end(plain.post(NUMBERS, 40))
    with serving(model_05b, SLOW.points, model_05b) as engine:
        drafted, done = engine.end(engine.post(NUMBERS, 40))
    assert drafted == text
    assert done.drafted_tokens >= done.accepted_tokens >= 10


def test_two_answers_at_once_and_an_unloaded_model(model_05b: Path) -> None:
    with serving(model_05b, SLOW.points, model_05b) as engine:
        question = engine.tokens(NUMBERS)  # the vocabulary goes with the model
        alone = engine.end(engine.post(question, 24))[0]
        one, two = engine.post(question, 24), engine.post("def add(a, b):\n    return", 24)
        ends = engine.ends(one, two)
        assert ends[one][0] == alone
        assert ends[two][0].startswith(" a + b")
        engine.engine.post(Unload())
        engine.until(lambda message: isinstance(message, Unloaded))
        later = engine.post(question, 24)
        engine.until(lambda message: isinstance(message, Loaded))
        assert engine.end(later)[0] == alone


def test_an_engine_whose_draft_model_is_none_of_its_family_answers_without(model_05b: Path, tmp_path: Path) -> None:
    with serving(model_05b, SLOW.points, write_model(tmp_path / "tiny.gguf")) as engine:
        text, done = engine.end(engine.post("def add(a, b):\n    return", 4))
    assert text.startswith(" a + b")
    assert not done.drafted_tokens
