"""Policy: where nothing is offered and why, and how long a suggestion may become."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwencoder_lsp.core.prompt import Stops
from qwencoder_lsp.core.report import Reason
from qwencoder_lsp.core.text import Snapshot
from qwencoder_lsp.features.policy import MAX_DOCUMENT, MAX_LINE, line_around, silence, stop_rules
from qwencoder_lsp.settings import Settings, load


def settings(**completion: Any) -> Settings:
    return load({"completion": completion}, env={})[0]


def at_cursor(marked: str, language: str = "python", path: str | None = "/srv/src/a.py") -> tuple[Snapshot, int]:
    """The cursor is where `|` stands."""
    return Snapshot("file:///a", marked.replace("|", "", 1), language, path, "/srv"), marked.index("|")


@pytest.mark.parametrize(
    ("marked", "reason"),
    [
        ("x = |", None),
        ("foo(|)", None),
        ('print("|")', None),
        ("def f(|):", None),
        ("if (x|) {", None),
        ("<div>|</div>", None),
        ("x = |  \ny = 2", None),
        ("x = | y", None),
        ("foo(|bar)", None),
        ("va|lue", Reason.MID_WORD),
        ("x_|1", Reason.MID_WORD),
        ("|return x", None),
    ],
)
def test_while_typing_nothing_is_offered_inside_a_word(marked: str, reason: Reason | None) -> None:
    assert silence(*at_cursor(marked), settings(), explicit=False) is reason
    assert silence(*at_cursor(marked), settings(), explicit=True) is None


@pytest.mark.parametrize(
    ("completion", "automatic", "explicit"),
    [
        ({"enabled": False}, Reason.DISABLED, Reason.DISABLED),
        ({"automatic": False}, Reason.DISABLED, None),
        ({"languages_off": ["go", "python"]}, Reason.LANGUAGE_OFF, Reason.LANGUAGE_OFF),
        ({"paths_off": ["src/*.py"]}, Reason.PATH_OFF, Reason.PATH_OFF),
        ({"paths_off": ["**/a.py"]}, Reason.PATH_OFF, Reason.PATH_OFF),
        ({"paths_off": ["a.*"]}, Reason.PATH_OFF, Reason.PATH_OFF),
        ({"paths_off": ["src"]}, Reason.PATH_OFF, Reason.PATH_OFF),
        ({"paths_off": ["src/**"]}, Reason.PATH_OFF, Reason.PATH_OFF),
        ({"paths_off": ["work", "*.md", "/src/b*"]}, None, None),
    ],
)
def test_settings_can_switch_it_off(completion: dict[str, Any], automatic: Reason | None, explicit: Reason | None) -> None:
    assert silence(*at_cursor("x = |"), settings(**completion), explicit=False) is automatic
    assert silence(*at_cursor("x = |"), settings(**completion), explicit=True) is explicit


def test_a_document_without_a_path_is_not_matched() -> None:
    assert silence(*at_cursor("x = |", path=None), settings(paths_off=["*"]), explicit=False) is None


@pytest.mark.parametrize(
    ("marked", "reason"),
    [
        ("|" + "line\n" * (MAX_DOCUMENT // 5 + 1), Reason.TOO_LARGE),
        ("ELF\0|", Reason.BINARY),
        ("x" * 6000 + "|" + "y" * 6000, Reason.LONG_LINE),
        ("x" * 20_000 + "\n|", None),
    ],
)
def test_documents_that_are_not_written_by_hand_are_left_alone(marked: str, reason: Reason | None) -> None:
    assert silence(*at_cursor(marked), settings(), explicit=True) is reason


@given(st.text(alphabet="ab\r\n", max_size=60), st.integers(0, 60))
def test_the_line_around_the_cursor_is_the_documents_line(text: str, offset: int) -> None:
    offset = min(offset, len(text))
    before, rest = line_around(text, offset)
    assert before == text[:offset].rpartition("\n")[2]
    assert rest == text[offset:].partition("\n")[0].removesuffix("\r")


def test_the_line_around_the_cursor_is_bounded() -> None:
    before, rest = line_around("x" * 1_000_000, 500_000)
    assert (len(before), len(rest)) == (MAX_LINE + 1, MAX_LINE + 1)


@pytest.mark.parametrize(
    ("marked", "stops"),
    [
        ("foo(|)", Stops(max_lines=1, after_newline_ms=3000, repetition=True, line_nats=4.0)),
        ("    if x:|\n", Stops(max_lines=12, indent=4, after_newline_ms=3000, repetition=True, line_nats=4.0)),
        ("\tif x {|\r\n", Stops(max_lines=12, indent=4, after_newline_ms=3000, repetition=True, line_nats=4.0)),
        ("    |return x", Stops(max_lines=12, indent=4, after_newline_ms=3000, repetition=True, line_nats=4.0)),
        ("|", Stops(max_lines=12, indent=0, after_newline_ms=3000, repetition=True, line_nats=4.0)),
    ],
)
def test_one_line_between_text_and_the_block_elsewhere(marked: str, stops: Stops) -> None:
    assert stop_rules(*at_cursor(marked), settings(), explicit=False) == stops


@pytest.mark.parametrize(("following", "indent"), [("\n\n    return x\n", 4), ("\n        more()\n", 8), ("\n            deeper()\n", 8), ("", 8)])
def test_behind_a_finished_line_the_outer_block_may_follow_down_to_the_line_that_follows(following: str, indent: int) -> None:
    assert stop_rules(*at_cursor(f"        call()|{following}"), settings(), explicit=False).indent == indent
    for marked in (f"        |{following}", f"        if x:|{following}"):
        assert stop_rules(*at_cursor(marked), settings(), explicit=True).indent == indent
        assert stop_rules(*at_cursor(marked), settings(), explicit=False).indent == 8


def test_in_prose_words_must_be_probable_too_but_not_in_its_code() -> None:
    for text, wanted in (
        ("# Title\n\nThe ", 2.0),
        ("# Title\n\n```python\nx = ", None),
        ("a\n```\nb\n```\n\nThe ", 2.0),
        ("```\nx = ", None),
        ("a\n~~~\nx = ", None),
    ):
        snapshot = Snapshot("file:///a.md", text, "markdown")
        assert stop_rules(snapshot, len(text), settings(), explicit=False).word_nats == wanted
        assert stop_rules(snapshot, len(text), settings(), explicit=True).word_nats is None
        assert stop_rules(snapshot, len(text), settings(eagerness="eager"), explicit=False).word_nats is None


def test_who_asks_waits_longer() -> None:
    explicit = stop_rules(*at_cursor("|"), settings(max_lines=3), explicit=True)
    assert explicit == Stops(max_lines=3, indent=0, after_newline_ms=5000, repetition=True)


@pytest.mark.parametrize(
    "head",
    ["// Code generated by protoc-gen-go. DO NOT EDIT.\n", "# @generated by buildifier\n", "/* This file was automatically generated by SWIG */\n"],
)
def test_a_generated_file_is_left_alone_unless_somebody_asks(head: str) -> None:
    snapshot, offset = at_cursor(head + "x = |\n")
    assert silence(snapshot, offset, settings(), explicit=False) is Reason.GENERATED
    assert silence(snapshot, offset, settings(), explicit=True) is None
