"""Packs fit their budget, hold no line twice, and change only for something better."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qwencoder_lsp.context.candidates import Candidate
from qwencoder_lsp.context.pack import FILE_TOKENS, Pack, follow, pack, tokens


def candidate(path: str, line: int, end: int, score: float, text: str = "x = 1\n", short: str = "") -> Candidate:
    return Candidate(path, line, end, "imports", "why", score, text, short)


CANDIDATES = st.lists(
    st.builds(
        lambda path, line, size, score, text, short: candidate(path, line, line + size, score, text, short),
        st.sampled_from("abc"),
        st.integers(0, 60),
        st.integers(1, 20),
        st.floats(0, 2),
        st.text("ab\n", min_size=1, max_size=400),
        st.one_of(st.just(""), st.text("ab", min_size=1, max_size=40)),
    ),
    max_size=12,
).map(lambda cs: sorted(cs, key=lambda c: -c.score))


@given(CANDIDATES, st.integers(16, 400))
def test_a_pack_fits_and_holds_no_line_twice(candidates: list[Candidate], budget: int) -> None:
    made = pack(candidates, budget)
    assert sum(tokens(s.text) for s in made.snippets) <= budget + FILE_TOKENS
    lines = [(c.path, line) for c in made.chosen for line in range(c.line, c.end)]
    assert len(lines) == len(set(lines))
    assert not set(made.chosen) & set(made.left_out)


@given(CANDIDATES, st.integers(16, 400))
def test_a_pack_that_is_still_the_best_is_the_same_pack(candidates: list[Candidate], budget: int) -> None:
    made = pack(candidates, budget)
    if made.snippets:
        assert follow(made, pack(candidates, budget), candidates) is made


def test_a_head_stands_for_a_definition_that_has_no_room() -> None:
    big = candidate("a", 0, 40, 1.0, "def f():\n" + "    pass\n" * 40, "def f():\n")
    assert pack([big], 40).snippets[0].text == "def f():\n"
    assert pack([big], 400).snippets[0].text == big.text


def test_what_is_worth_little_is_left_out_even_when_there_is_room() -> None:
    assert pack([candidate("a", 0, 1, 0.05)], 400) == Pack()


def test_the_pieces_of_a_file_stand_in_its_order() -> None:
    made = pack([candidate("a", 9, 10, 1.0, "later\n"), candidate("b", 0, 1, 0.9, "other\n"), candidate("a", 1, 2, 0.8, "first\n")], 400)
    assert [(s.path, s.text) for s in made.snippets] == [("a", "first\n\nlater\n"), ("b", "other\n")]


def test_what_has_no_room_is_named() -> None:
    big = candidate("b", 0, 90, 0.9, "y" * 4000)
    assert pack([candidate("a", 0, 1, 1.0), big], 60).left_out == (big,)


def test_a_slightly_better_pack_does_not_take_the_place_of_what_was_read() -> None:
    a, b, c = (candidate(p, 0, 1, s) for p, s in (("a", 1.0), ("b", 0.9), ("c", 0.3)))
    old = pack([a, b], 400)
    assert follow(old, pack([a, b, c], 400), [a, b, c]) is old


def test_a_much_better_pack_keeps_what_both_have_in_front() -> None:
    old = pack([candidate("a", 0, 1, 1.0), candidate("b", 0, 1, 0.9)], 400)
    today = [candidate("c", 0, 1, 2.0), candidate("d", 0, 1, 1.5), candidate("b", 0, 1, 1.2)]
    assert [s.path for s in follow(old, pack(today, 400), today).snippets] == ["b", "c", "d"]
