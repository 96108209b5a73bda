"""The cut of a prompt: how long it stays, and when it is made anew."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwencoder_lsp.context.gather import gather
from qwencoder_lsp.context.split import MOST_TYPED, Split, Splits, line_start
from qwencoder_lsp.core.prompt import PromptParts
from qwencoder_lsp.core.text import Snapshot
from qwencoder_lsp.settings import Settings

URI = "file:///a.py"
HEAD, TAIL = "import os\n\n\ndef f(x):\n", "\n    return x\n"


def parts(text: str, splits: Splits) -> PromptParts:
    """Those for the cursor at "|"."""
    offset = text.index("|")
    return gather(Snapshot(URI, text.replace("|", ""), "python"), offset, Settings(), splits)


def test_the_line_that_is_being_written_stands_behind_the_cut() -> None:
    found = parts(HEAD + "    y = |" + TAIL, Splits())
    assert (found.prefix, found.typed, found.suffix) == (HEAD, "    y = ", TAIL)


def test_the_cut_stays_while_somebody_types_on_also_over_lines() -> None:
    splits = Splits()
    first = parts(HEAD + "    y|" + TAIL, splits)
    for typed in ("    y = x", "    y = x + 1\n", "    y = x + 1\n    z"):
        found = parts(HEAD + typed + "|" + TAIL, splits)
        assert (found.prefix, found.suffix) == (first.prefix, first.suffix)
        assert found.typed == typed


def test_brackets_that_the_editor_inserts_do_not_move_the_cut() -> None:
    splits = Splits()
    first = parts(HEAD + "    y = f|" + TAIL, splits)
    found = parts(HEAD + "    y = f(|)" + TAIL, splits)
    assert (found.prefix, found.suffix, found.typed) == (first.prefix, first.suffix, "    y = f(")


def test_a_change_below_or_above_makes_a_new_cut() -> None:
    splits = Splits()
    parts(HEAD + "    y|" + TAIL, splits)
    assert parts(HEAD + "    y|" + TAIL.replace("x", "y"), splits).suffix == TAIL.replace("x", "y")
    assert parts("# new\n" + HEAD + "    y|" + TAIL, splits).prefix == "# new\n" + HEAD


def test_elsewhere_in_the_document_the_cut_is_another() -> None:
    splits = Splits()
    parts(HEAD + "    y|" + TAIL, splits)
    assert parts("import o|s\n" + HEAD, splits).prefix == ""


@pytest.mark.parametrize("end", ["", "\n"])
def test_behind_a_cursor_that_goes_back_from_the_end_the_text_is_seen(end: str) -> None:
    splits = Splits()
    parts("a = 1\nb = 2|" + end, splits)
    found = parts("a = 1\nb = 2|\nc = 3" + end, splits)
    assert found.suffix == "\nc = 3" + end


def test_much_typed_text_becomes_part_of_the_prefix() -> None:
    splits = Splits()
    parts(HEAD + "    y|" + TAIL, splits)
    long = "    y = 1\n" * (MOST_TYPED // 10 + 1)
    assert parts(HEAD + long + "    z|" + TAIL, splits).typed == "    z"


def test_an_endless_line_is_no_typed_text() -> None:
    text = "x" * (MOST_TYPED + 1)
    assert line_start(text, len(text)) == len(text)


@given(st.text(alphabet="ab (\n)", max_size=60), st.text(alphabet="ab (\n)", max_size=30), st.data())
def test_the_parts_are_the_document(before: str, after: str, data: st.DataObject) -> None:
    splits = Splits()
    for _ in range(3):
        found = parts(before + "|" + after, splits)
        assert found.prefix + found.typed == before
        assert after.startswith(found.suffix) or set(after.partition("\n")[0]) <= set(" )")
        before += data.draw(st.text(alphabet="ab (\n)", max_size=5))


def test_of_a_closed_document_nothing_is_kept() -> None:
    splits = Splits()
    splits.put("a", Split(0, "x = ", "", whole=True))
    splits.forget("a")
    splits.forget("b")
    assert splits.get("a", "x = 1", 5) is None
