"""Gathering: bounded, anchored while typing, with an exact account of what is left out."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from qwencoder_lsp.context.gather import PREFIX, SUFFIX, gather, prefix_start, suffix_end
from qwencoder_lsp.core.prompt import PromptParts
from qwencoder_lsp.core.text import Snapshot
from qwencoder_lsp.settings import Settings, load

DEFAULTS = Settings()
TEXT = st.text(alphabet="ab\n", max_size=400)


def at_cursor(text: str, offset: int) -> PromptParts:
    return gather(Snapshot("file:///x", text), offset, DEFAULTS)


def test_a_small_document_comes_whole_with_its_names(tmp_path: Path) -> None:
    (tmp_path / "shop" / ".git").mkdir(parents=True)
    path = str(tmp_path / "shop" / "src" / "a.py")
    parts = gather(Snapshot("file:///a.py", "x = \ny = 2\n", "python", path, str(tmp_path)), 4, DEFAULTS)
    assert parts == PromptParts("", "\ny = 2\n", "src/a.py", "shop", "python", typed="x = ")


@given(TEXT, st.integers(0, 400), st.integers(1, 100))
def test_the_prefix_is_within_its_limit_and_has_a_quarter_of_it(text: str, offset: int, limit: int) -> None:
    offset = min(offset, len(text))
    start = prefix_start(text, offset, limit)
    assert 0 <= start <= offset
    assert min(offset, limit // 4) <= offset - start <= limit


@given(TEXT, st.integers(0, 400), st.integers(0, 100))
def test_the_suffix_is_within_its_limit_and_has_half_of_it(text: str, offset: int, limit: int) -> None:
    offset = min(offset, len(text))
    end = suffix_end(text, offset, limit)
    assert min(len(text) - offset, limit // 2) <= end - offset <= limit


def test_long_documents_are_cut_at_line_starts_and_line_ends() -> None:
    text = "some line of code\n" * 10_000
    parts = at_cursor(text, 90_000 + 5)
    assert text[parts.prefix_omitted - 1] == "\n"
    assert parts.suffix.endswith("\n")
    assert PREFIX // 4 <= len(parts.prefix) <= PREFIX
    assert len(parts.suffix) <= SUFFIX
    assert parts.prefix_omitted + len(parts.prefix + parts.typed + parts.suffix) + parts.suffix_omitted == len(text)


def test_typing_keeps_the_start_of_the_prefix_and_the_suffix() -> None:
    before, after = "some line of code\n" * 5_000, "\n" + "more\n" * 5_000
    typed = "x = compute(y)\n" * 3_000
    parts = [at_cursor(before + typed[:n] + after, len(before) + n) for n in range(0, len(typed), 100)]
    starts = [p.prefix_omitted for p in parts]
    assert sum(a != b for a, b in pairwise(starts)) in (2, 3)  # 45,000 characters in steps of 16,384
    assert len({p.suffix for p in parts}) == 1


def test_one_endless_line_is_cut_inside() -> None:
    parts = at_cursor("x" * 200_000, 100_000)
    assert PREFIX // 2 <= len(parts.prefix) <= PREFIX
    assert len(parts.suffix) == SUFFIX


def test_carriage_returns_do_not_travel() -> None:
    parts = at_cursor("a\r\nb\r\nc\r\n", 4)
    assert (parts.prefix, parts.typed, parts.suffix) == ("a\n", "b", "\nc\n")


def test_token_limits_in_the_settings_widen_the_parts() -> None:
    settings, _ = load({"completion": {"max_prefix": 32_000, "max_suffix": 0}}, env={})
    parts = gather(Snapshot("file:///x", "line\n" * 40_000), 100_000, settings)
    assert (len(parts.prefix), parts.suffix, parts.suffix_omitted) == (100_000, "", 100_000)


def test_secrets_on_both_sides_of_the_cursor_become_placeholders() -> None:
    key = "ghp_" + "a1B2" * 9
    text = f"first = '{key}'\nx = '{key}'  \nlast = '{key}'\n"
    parts = at_cursor(text, text.index("  \n") + 1)
    assert key not in parts.prefix + parts.typed + parts.suffix
    assert (parts.prefix, parts.typed) == ("first = '<secret:github-token>'\n", "x = '<secret:github-token>' ")
