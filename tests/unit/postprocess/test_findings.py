import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwencoder_lsp.core.results import Severity
from qwencoder_lsp.core.text import Span
from qwencoder_lsp.postprocess.findings import RawFinding, locate, read_findings, same_words

ITEM = {"quote": "x = 1", "message": "wrong", "category": "logic", "severity": "error", "replacement": "x = 2"}
RAW = RawFinding("x = 1", "wrong", "logic", Severity.ERROR, "x = 2")


def test_a_complete_answer_is_read() -> None:
    assert read_findings(json.dumps({"findings": [ITEM, ITEM]})) == [RAW, RAW]
    assert read_findings('{"findings": []}') == []


@given(st.integers(0, 4), st.text(max_size=20), st.integers(0, 400))
def test_an_answer_cut_anywhere_keeps_every_complete_finding(count: int, message: str, cut: int) -> None:
    items = [{**ITEM, "message": f"{message}[{{}}]"} for _ in range(count)]
    answer = json.dumps({"findings": items}, ensure_ascii=False)
    cut = min(cut, len(answer))
    complete = sum(
        len('{"findings": [') + sum(len(json.dumps(item, ensure_ascii=False)) for item in items[: n + 1]) + 2 * n <= cut for n in range(count)
    )
    assert len(read_findings(answer[:cut])) == complete


def test_text_and_fences_around_the_json_do_not_matter() -> None:
    assert read_findings("Sure:\n```json\n" + json.dumps({"findings": [ITEM]}, indent=2) + "\n```") == [RAW]


@pytest.mark.parametrize("answer", ["", "no bugs", "[]", '{"findings": "none"}', '{"findings": [1, 2]}'])
def test_anything_else_holds_no_findings(answer: str) -> None:
    assert read_findings(answer) == []


def test_missing_or_odd_fields_become_empty_and_a_warning() -> None:
    assert read_findings('{"findings": [{"quote": 3, "severity": "fatal", "replacement": null, "message": " a\\n b "}]}') == [
        RawFinding("", "a b", "", Severity.WARNING, None)
    ]


TEXT = "a = f(x)\nb = g( x,\n       y )\na = f(x)\n"


def test_an_exact_quote_is_found_without_the_blanks_around_it() -> None:
    assert locate(TEXT, "  b = g( x,\n", 0) == Span(9, 18)


def test_a_quote_with_other_blanks_is_found() -> None:
    span = locate(TEXT, "b=g(x, y)", 0)
    assert span is not None
    assert span.of(TEXT) == "b = g( x,\n       y )"


def test_two_words_do_not_run_together() -> None:
    assert locate("returnx", "return x", 0) is None
    assert locate("return  x", "return x", 0) == Span(0, 9)


@pytest.mark.parametrize(("near", "start"), [(0, 0), (10, 0), (20, 30), (99, 30), (15, 0)])
def test_of_several_places_the_nearest_is_taken(near: int, start: int) -> None:
    assert TEXT.index("a = f(x)", 1) == 30
    assert locate(TEXT, "a = f(x)", near) == Span(start, start + 8)


def test_an_exact_match_far_away_beats_a_loose_one_nearby() -> None:
    assert locate("f( x )\n\n\nf(x)", "f(x)", 0) == Span(9, 13)


def test_a_quote_outside_the_given_span_is_not_found() -> None:
    assert locate(TEXT, "a = f(x)", 0, within=Span(5, len(TEXT))) == Span(30, 38)
    assert locate(TEXT, "a = f(x)", 0, within=Span(1, 37)) is None


@pytest.mark.parametrize("quote", ["", "  \n", "nothing like it"])
def test_what_is_not_there_is_not_found(quote: str) -> None:
    assert locate(TEXT, quote, 0) is None


def test_same_words_ignores_white_space_only() -> None:
    assert same_words("a = f( x )\n", "a=f(x)")
    assert not same_words("a = f(x)", "a = f(y)")
