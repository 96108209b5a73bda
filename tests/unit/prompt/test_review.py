import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from qwencoder_lsp.core.text import Span
from qwencoder_lsp.prompt.review import changes_text, findings_schema, windows

TEXTS = st.lists(st.sampled_from(["", "def f():", "    x = 1", "    " + "y" * 60, "z"]), max_size=60).map("\n".join)


@given(TEXTS, st.integers(40, 300))
def test_windows_hold_every_line_with_text_and_keep_the_limit(text: str, limit: int) -> None:
    found = windows(text, Span(0, len(text)), limit)
    covered = {at for window in found for at in range(window.start, window.end)}
    assert all(at in covered for at, char in enumerate(text) if not char.isspace())
    for window in found:
        part = window.of(text)
        assert len(part) <= limit or part.count("\n", 0, -1) == 0
        assert window.start == 0 or text[window.start - 1] == "\n"
        assert part.endswith("\n") or window.end == len(text)
        assert part.splitlines()[0].strip()
        assert part.splitlines()[-1].strip()


@given(TEXTS, st.integers(40, 300))
def test_windows_go_forward(text: str, limit: int) -> None:
    found = windows(text, Span(0, len(text)), limit)
    assert all(a.start < b.start and a.end < b.end for a, b in pairwise(found))


def test_a_text_within_the_limit_is_one_window_without_the_blank_lines_around_it() -> None:
    text = "\n\na\n\nb\n\n"
    assert windows(text, Span(0, len(text)), 100) == [Span(2, 7)]


def test_a_window_ends_before_the_least_indented_line_after_a_blank_one() -> None:
    text = "class A:\n    a\n\n    b\n\nclass B:\n    c\n\n    d\n"
    found = windows(text, Span(0, len(text)), 38)
    assert [window.of(text) for window in found] == ["class A:\n    a\n\n    b\n", "class B:\n    c\n\n    d\n"]


def test_without_a_border_windows_overlap() -> None:
    text = "".join(f"line {n}\n" for n in range(100))
    found = windows(text, Span(0, len(text)), 200, overlap=8)
    assert len(found) > 3
    assert all(second.start < first.end for first, second in pairwise(found))
    assert text[found[1].start : found[0].end].count("\n") == 8


def test_only_the_region_is_cut_into_windows() -> None:
    text = "a\n\nb\n\nc\n"
    assert windows(text, Span(3, 6), 100) == [Span(3, 5)]


def test_changes_are_numbered_and_marked_as_a_diff() -> None:
    assert changes_text([("x = 1\n", "x = 2\n"), ("a\n", "")]) == "1.\n- x = 1\n+ x = 2\n\n2.\n- a\n"


def test_the_schema_wants_one_finding_for_each_quote() -> None:
    schema = json.loads(findings_schema(['a = "ä"', "b"]))
    findings = schema["properties"]["findings"]
    assert (findings["minItems"], findings["maxItems"]) == (2, 2)
    assert [item["properties"]["quote"]["const"] for item in findings["prefixItems"]] == ['a = "ä"', "b"]
