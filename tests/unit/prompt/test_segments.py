"""Segments: tokenising piece by piece gives the tokens of the whole, and a keystroke costs one line."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from qwencoder_lsp.engine.vocabulary import ByteTokenizer, Tokenizer
from qwencoder_lsp.prompt import segments as module
from qwencoder_lsp.prompt.segments import SegmentTokenizer, split

if TYPE_CHECKING:
    from pathlib import Path

# Everything that Qwen's pre-tokeniser treats in its own way, and what Python and llama.cpp might not agree on.
ATOMS = ["\n", "\r\n", "\r", " ", "   ", "\t", "\x0b", "\x1c", "\u00a0", "\u2028", "\x85", "\u3000", "\u200b", "a", "Ab", "'s", "'", "é", "e\u0301"]
ATOMS += ["1", "23", "(", ")\n", "/", "-", "{", "_", "中", "😀", "<|im_end|>", "\n\n", "   \n", "//", "def f"]
TEXT = st.lists(st.sampled_from(ATOMS) | st.characters(codec="utf-8"), max_size=30).map("".join)


@lru_cache(maxsize=1)
def real_tokenizer(path: Path) -> Tokenizer:
    from qwencoder_lsp.engine.binding import load_tokenizer

    return load_tokenizer(path)


class Counting(ByteTokenizer):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def tokenize(self, text: str) -> list[int]:
        self.seen.append(text)
        return super().tokenize(text)


@given(TEXT)
def test_the_pieces_are_the_text(text: str) -> None:
    assert "".join(split(text)) == text


@given(TEXT)
def test_segment_tokens_joined_are_the_tokens_of_the_text(text: str) -> None:
    assert SegmentTokenizer(ByteTokenizer()).tokenize(text) == ByteTokenizer().tokenize(text)


@given(TEXT, st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), TEXT), max_size=6))
@settings(max_examples=300)
def test_what_is_kept_of_earlier_texts_changes_nothing(text: str, edits: list[tuple[int, int, str]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SHORT", 0)
        patch.setattr(module, "LONG_LINE", 8)
        tokenizer = SegmentTokenizer(ByteTokenizer())
        for start, end, new in edits:
            assert [segment.text for segment in tokenizer.segments(text)] == [piece for piece in split(text) if piece]
            text = text[:start] + new + text[max(start, end) :]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of what is looked at, in order."""
    lengths: list[int] = []

    def noted(text: str) -> list[str]:
        lengths.append(len(text))
        return split(text)

    monkeypatch.setattr(module, "split", noted)
    return lengths


def test_a_key_in_a_long_text_looks_at_its_last_lines_only(seen: list[int]) -> None:
    tokenizer = SegmentTokenizer(ByteTokenizer())
    text = "value = 1\n" * 400 + "x"
    for key in ("", "y", "yz", "yz\n", "yz\nq"):
        assert tokenizer.tokenize(text + key) == ByteTokenizer().tokenize(text + key)
    assert seen[0] == len(text)
    assert max(seen[1:]) < 40


def test_earlier_texts_are_kept_as_far_as_they_fit_the_newest_first(seen: list[int]) -> None:
    tokenizer = SegmentTokenizer(ByteTokenizer(), capacity=10_000)
    one, two, three = (f"value_{i} = 1\n" * 300 for i in range(3))
    huge = "other = 2\n" * 2000
    for text in (one, two, three, huge):
        tokenizer.tokenize(text)
    seen.clear()
    for text in (three, two, huge, one):
        tokenizer.tokenize(f"{text}x")
    assert max(seen[:2]) < 40
    assert seen[2:] == [len(huge) + 1, len(one) + 1]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a\nb", ["a\n", "b"]),
        ("a\n  b\n", ["a\n", "  b\n"]),
        ("a\n\n  \n\tb", ["a\n\n  \n", "\tb"]),
        ("a\n   ", ["a\n   "]),  # what is typed next may still join the newline and the blanks
        ("a\r\n \r\nb", ["a\r\n \r\n", "b"]),
        ("a\n \rb", ["a\n \rb"]),  # \s*[\r\n]+ runs over the carriage return
    ],
)
def test_a_segment_ends_behind_a_newline_when_the_next_line_begins_with_text(text: str, pieces: list[str]) -> None:
    assert split(text) == pieces


def test_a_long_line_is_cut_behind_digits_and_words() -> None:
    pieces = split("value_12, " * 200)
    assert len(pieces) > 3
    assert all(len(p) <= 1024 and (p[-1].isalnum() or p is pieces[-1]) for p in pieces)


def test_a_keystroke_tokenises_only_the_changed_line() -> None:
    counting = Counting()
    tokenizer = SegmentTokenizer(counting)
    lines = [f"line {i}\n" for i in range(300)]
    tokenizer.tokenize("".join(lines))
    counting.seen.clear()
    lines[150] = "line 150x\n"
    tokenizer.tokenize("".join(lines))
    assert counting.seen == ["line 150x\n"]


def test_the_cache_is_bounded_in_characters() -> None:
    counting = Counting()
    tokenizer = SegmentTokenizer(counting, capacity=20)
    for text in ("aaaaaaaaaa\n", "bbbbbbbbbb\n", "a text longer than the whole cache\n", "aaaaaaaaaa\n"):
        tokenizer.tokenize(text)
    assert counting.seen.count("aaaaaaaaaa\n") == 2


def test_markup_and_special_tokens_are_those_of_the_vocabulary() -> None:
    tokenizer = SegmentTokenizer(ByteTokenizer())
    assert tokenizer.tokenize_markup("<|im_end|>") == [262]
    assert tokenizer.tokenize("<|im_end|>") == list(b"<|im_end|>")
    assert tokenizer.special is ByteTokenizer.special
    assert (tokenizer.n_ctx_train, tokenizer.chat_template) == (ByteTokenizer.n_ctx_train, ByteTokenizer.chat_template)


@pytest.mark.model
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXT, st.integers(1, 300))
@example("x = 1\n\n\n    y", 1)
@example(")\n  \n  foo", 1)
def test_segment_tokens_joined_are_the_tokens_of_the_text_with_the_real_vocabulary(model_05b: Path, text: str, times: int) -> None:
    real = real_tokenizer(model_05b)
    repeated = (text * times)[:4000]
    assume(all(len(piece) < 1024 for piece in split(repeated)))  # cut all the same, see `split`
    assert SegmentTokenizer(real).tokenize(repeated) == real.tokenize(repeated)


MARKS = ["<|im_start|>", "<|fim_middle|>", "<|no_such|>", "<div>", "<", "|>", "[INST]", "<|", "a < b"]
MARKED = st.lists(st.sampled_from(ATOMS + MARKS), max_size=30).map("".join)


@given(MARKED)
def test_special_tokens_in_trusted_text_become_their_ids(text: str) -> None:
    assert SegmentTokenizer(ByteTokenizer()).tokenize_markup(text) == ByteTokenizer().tokenize_markup(text)


@pytest.mark.model
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=MARKED)
def test_trusted_text_in_pieces_has_the_tokens_of_the_whole_with_the_real_vocabulary(model_05b: Path, text: str) -> None:
    real = real_tokenizer(model_05b)
    assert SegmentTokenizer(real).tokenize_markup(text) == real.tokenize_markup(text)


def test_many_threads_may_tokenise_at_once() -> None:
    tokenizer = SegmentTokenizer(ByteTokenizer(), capacity=4000)
    texts = ["".join(f"<|im_end|>file {i} line {j}\n" for j in range(40)) for i in range(24)]

    def work(start: int) -> None:
        for i in range(120):
            text = texts[(start + i) % len(texts)]
            assert tokenizer.tokenize_markup(text) == ByteTokenizer().tokenize_markup(text)

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(work, range(0, 24, 3)))
    finally:
        sys.setswitchinterval(usual)
