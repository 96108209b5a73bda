"""Stop rules: what is shown, why it ends, and that the cutting of the stream into pieces does not matter."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qwencoder_lsp.core.prompt import Stops
from qwencoder_lsp.engine.stops import StopState, repeated


def run(stops: Stops, pieces: Iterable[str], times: Iterable[float] = ()) -> tuple[str, str | None]:
    """All text given out and the reason, feeding one piece per clock tick."""
    moments = iter(times)
    state = StopState(stops, lambda: next(moments, 0.0))
    shown = ""
    for piece in pieces:
        text, reason = state.feed(piece)
        shown += text
        if reason:
            return shown, reason
    return shown + state.flush(), None


def whole(stops: Stops, text: str) -> tuple[str, str | None]:
    """The rules read off the complete text: the trigger that is complete first wins."""
    triggers: list[tuple[int, int, int, str]] = []  # where the trigger ends, rank, cut, reason
    for string in stops.strings:
        triggers += [(m.start() + len(string), 0, m.start(), "stop_string") for m in re.finditer(f"(?={re.escape(string)})", text)]
    first_text = re.search(r"[^ \t\r\n]", text)
    if stops.max_lines and first_text:
        ends = [m for m in re.finditer(r"\r?\n", text) if m.start() >= first_text.start()]
        if len(ends) >= stops.max_lines:
            end = ends[stops.max_lines - 1]
            triggers.append((end.end(), 1, end.start(), "lines"))
    if stops.indent is not None:
        for gap in re.finditer(r"\r?\n[ \t\r\n]*(?=[^ \t\r\n])", text):
            indentation = gap.group().rpartition("\n")[2].replace("\r", "")
            if len(indentation.expandtabs(stops.tab)) < stops.indent:
                triggers.append((gap.end() + 1, 2, gap.start(), "indent"))
    if not triggers:
        return text, None
    _, _, cut, reason = min(triggers)
    return text[:cut], reason


TEXT = st.text(alphabet="ab \t\n\r}", max_size=40)
RULES = st.builds(
    Stops,
    strings=st.lists(st.text(alphabet="ab \n}", min_size=1, max_size=4), max_size=3).map(tuple),
    max_lines=st.none() | st.integers(1, 4),
    indent=st.none() | st.integers(0, 6),
    tab=st.sampled_from((1, 4)),
    line_nats=st.sampled_from((None, 1.0)),
    word_nats=st.sampled_from((None, 1.0)),
)


@given(RULES, TEXT, st.lists(st.integers(0, 40), max_size=12))
@example(Stops(strings=("ab}", "b")), "aab}", [2])
@example(Stops(max_lines=1), "a\r\nb", [2])
@example(Stops(indent=2), "a \r\n\n  \n b", [3, 5])
@example(Stops(strings=("\n\n",), indent=4), "a\n\nb", [2])
def test_result_equals_the_rules_applied_to_the_whole_text_for_any_chunking(stops: Stops, text: str, cuts: list[int]) -> None:
    at = [0, *sorted(min(c, len(text)) for c in cuts), len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(at)]
    assert run(stops, pieces) == whole(stops, text)
    assert run(stops, list(text)) == whole(stops, text)


def test_without_rules_every_piece_is_given_out_at_once() -> None:
    state = StopState(Stops(), lambda: 0.0)
    assert [state.feed(p) for p in ("a\r", "\n  ", "b")] == [("a\r", None), ("\n  ", None), ("b", None)]
    assert state.flush() == ""


def test_a_possible_start_of_a_stop_string_is_held_back_until_it_is_decided() -> None:
    state = StopState(Stops(strings=("```",)), lambda: 0.0)
    assert state.feed("x `") == ("x ", None)
    assert state.feed("`y `") == ("``y ", None)
    assert state.feed("``z") == ("", "stop_string")
    assert state.feed("more") == ("", "stop_string")
    assert state.flush() == ""


def test_newline_and_indentation_are_held_back_until_the_next_line_shows_its_indent() -> None:
    state = StopState(Stops(indent=4), lambda: 0.0)
    assert state.feed("a = 1\n    ") == ("a = 1", None)
    assert state.feed("b = 2\n\n  ") == ("\n    b = 2", None)
    assert state.feed("return") == ("", "indent")


def test_white_space_that_was_held_back_comes_at_the_end_when_no_rule_fired() -> None:
    assert run(Stops(indent=4), ["a\n", "    "]) == ("a\n    ", None)


@pytest.mark.parametrize(("text", "shown"), [("rest of line\nnext", "rest of line"), ("\n\n  a\nb", "\n\n  a"), ("\n\n", "\n\n")])
def test_max_lines_one_is_the_rest_of_the_line_and_leading_blank_lines_do_not_count(text: str, shown: str) -> None:
    assert run(Stops(max_lines=1), [text])[0] == shown


def test_a_tab_counts_to_the_next_fourth_column() -> None:
    assert run(Stops(indent=4), ["x\n \ty"]) == ("x\n \ty", None)
    assert run(Stops(indent=5), ["x\n \ty"]) == ("x", "indent")


def test_where_characters_are_counted_a_tab_is_one() -> None:
    assert run(Stops(indent=2, tab=1), ["x\n\t\ty"]) == ("x\n\t\ty", None)
    assert run(Stops(indent=2, tab=1), ["x\n\t}"]) == ("x", "indent")


def test_the_deadline_counts_from_the_first_token_and_waits_for_the_end_of_a_line() -> None:
    stops = Stops(after_newline_ms=600)
    assert run(stops, ["a\n", "b\n", "c", "d\n", "e"], [1000, 1599, 1601, 1700, 1800]) == ("a\nb\ncd", "time")


def test_the_deadline_does_not_fire_before_the_first_text() -> None:
    assert run(Stops(after_newline_ms=10), ["\n", "\n", "  a", "\n", "b"], [0, 50, 60, 70, 80]) == ("\n\n  a", "time")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("self.a.a" + ".a" * 40, "self.a"),
        ("x = 1\n" * 6, "x = 1\n"),
        ("return a and b and b and b and b and b and b and b and b and b and b and b", "return a and b"),
        ("[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]", None),
        ("=" * 79, None),
        ("x = 1\ny = 1\nz = 1\n", None),
        ("[0, 0, 0]", None),
    ],
)
def test_an_answer_that_only_repeats_itself_is_stopped(text: str, kept: str | None) -> None:
    at = repeated(text)
    assert (None if at is None else text[:at]) == kept


def test_repetition_ends_an_answer_only_where_asked() -> None:
    for wanted in (True, False):
        state = StopState(Stops(repetition=wanted), lambda: 0.0)
        reasons = [state.feed("x = 1\n")[1] for _ in range(8)]
        assert ("repetition" in reasons) is wanted


def unsure(stops: Stops, *pieces: tuple[str, float]) -> tuple[str, str | None, list[tuple[int, float]]]:
    """All text given out, the reason and the line ends, of pieces with their log-probabilities."""
    state, shown = StopState(stops, lambda: 0.0), ""
    for piece, logprob in pieces:
        text, reason = state.feed(piece, logprob)
        shown += text
        if reason:
            return shown, reason, state.line_ends
    return shown + state.flush(), None, state.line_ends


def test_lines_behind_the_first_end_where_they_have_become_improbable() -> None:
    rule = Stops(line_nats=1.0)
    first, second = ("first", -5.0), ("\n", -0.1)
    assert unsure(rule, first, second, ("next", -0.5), ("\n", -0.1), ("third", -0.5), (" more", -0.5)) == (
        "first\nnext",
        "unsure_line",
        [(5, 0.0), (10, -0.6)],
    )
    assert unsure(rule, first, second, ("  nex", -0.5), ("t", -0.6))[:2] == ("first", "unsure_line")
    assert unsure(rule, first, second, ("next", -0.5))[:2] == ("first\nnext", None), "what came to an end is whole"


def test_nothing_of_a_line_is_given_out_before_it_is_sure_and_blank_lines_are_none() -> None:
    state = StopState(Stops(line_nats=1.0), lambda: 0.0)
    assert state.feed("\n\na\n\n", -3.0) == ("\n\na", None)
    assert state.feed("b", -0.5) == ("", None)
    assert state.feed("\n", -0.1) == ("\n\nb", None)
    assert [at for at, _ in state.line_ends] == [3, 6]
    assert state.feed("c", -0.1) == ("", None)
    assert state.settle() == "\nc", "something else ended it"


def test_prose_ends_at_the_last_word_before_it_has_become_improbable() -> None:
    rule = Stops(word_nats=2.0)
    assert unsure(rule, ("The", -0.5), (" first", -0.5), (" by", -0.6), ("gone", -1.0))[:2] == ("The first", "unsure_word")
    assert unsure(rule, ("The", -0.5), (" first", -0.5), (" byte", -1.1))[:2] == ("The first", "unsure_word")
    assert unsure(rule, ("Th", -0.5), ("us", -1.6))[:2] == ("", "unsure_word")
    assert unsure(rule, ("one", -0.5), (" caf", -0.5), ("", -1.1))[:2] == ("one", "unsure_word"), "the first byte of a character is no text yet"
    assert unsure(rule, ("one", -0.5), (" two", -0.5))[:2] == ("one two", None)
