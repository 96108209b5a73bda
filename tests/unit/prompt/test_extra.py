"""What /infill reads of the files that a client sends along: the newest, and of the oldest of those its end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qwencoder_lsp.core.prompt import PromptParts, Snippet
from qwencoder_lsp.engine.vocabulary import ByteTokenizer, SpecialTokens
from qwencoder_lsp.prompt.budget import Budget
from qwencoder_lsp.prompt.extra import newest
from qwencoder_lsp.prompt.fim import render_fim
from qwencoder_lsp.prompt.segments import SegmentTokenizer

TEXT = st.text(alphabet="ab 1\n\téß", max_size=60)


def chunk(text: str, path: str = "f") -> Snippet:
    return Snippet(text, path, text, "client")


def read(snippets: list[Snippet], budget: int) -> tuple[list[str], int]:
    """The texts that stay, and the tokens that do not; a token is a byte, and the mark of a file with its name has three."""
    kept, dropped = newest(snippets, SegmentTokenizer(ByteTokenizer()), budget)
    return [snippet.text for snippet in kept], dropped


def test_what_fits_stays_in_the_order_in_which_it_came() -> None:
    assert read([chunk("old\n"), chunk("new\n")], 14) == (["old\n", "new\n"], 0)


def test_the_oldest_goes_first() -> None:
    assert read([chunk("old\n"), chunk("newer\n"), chunk("newest\n")], 19) == (["newer\n", "newest\n"], 4)


def test_a_chunk_that_does_not_fit_whole_keeps_its_last_lines() -> None:
    assert read([chunk("a\n"), chunk("one\ntwo\n  three\n")], 17) == (["two\n  three\n"], 6)


def test_what_is_older_than_a_chunk_that_was_cut_is_not_read() -> None:
    assert read([chunk("a\n"), chunk("a long first line\nlonger line\n"), chunk("c\n")], 26) == (["longer line\n", "c\n"], 20)


def test_a_last_line_that_is_too_long_is_passed_over() -> None:
    assert read([chunk("a\n"), chunk("x" * 600)], 20) == (["a\n"], 601)


def test_a_vocabulary_without_marks_for_files_gets_none() -> None:
    vocabulary = ByteTokenizer()
    vocabulary.special = SpecialTokens(256, 257, 258, None, None, frozenset())
    assert newest([chunk("a\n")], SegmentTokenizer(vocabulary), 100) == ((), 2)


@given(st.lists(st.builds(chunk, TEXT, st.sampled_from(("", "a.py", "ß/b.py"))), max_size=5), st.integers(0, 150))
def test_the_renderer_finds_room_for_all_of_it_and_nothing_is_lost_from_the_account(snippets: list[Snippet], budget: int) -> None:
    tokenizer = SegmentTokenizer(ByteTokenizer())
    kept, dropped = newest(snippets, tokenizer, budget)
    rendered = render_fim(PromptParts("a", "b", snippets=kept), tokenizer, Budget(10, 10, budget))
    assert rendered.usage.snippets_omitted == 0
    size = [len(s.text.encode()) + (not s.text.endswith("\n")) for s in (*snippets, *kept)]
    assert sum(size[: len(snippets)]) == sum(size[len(snippets) :]) + dropped
    ends = [s.text if s.text.endswith("\n") else s.text + "\n" for s in snippets]
    left = iter(ends)
    assert all(any(text.endswith(s.text) for text in left) for s in kept)
