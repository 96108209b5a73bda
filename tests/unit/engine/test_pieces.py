"""The vocabulary of models that run elsewhere."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from qwencoder_lsp.engine.pieces import MARKUP, PieceTokenizer, prompt_text

TOKENIZER = PieceTokenizer()


@given(st.text())
def test_text_comes_back_whole_and_its_ids_fit_into_32_bits(text: str) -> None:
    ids = TOKENIZER.tokenize(text)
    assert b"".join(map(TOKENIZER.piece, ids)).decode() == text
    assert list(array("i", ids)) == ids


@given(st.lists(st.sampled_from([*MARKUP, "<|", "fim_middle", "|>", "text"])))
def test_no_text_of_a_user_becomes_a_special_token(parts: list[str]) -> None:
    sent = prompt_text(TOKENIZER.tokenize("".join(parts)))
    assert not any(mark in sent for mark in MARKUP)


def test_special_tokens_of_a_prompt_are_spelled_out() -> None:
    markup = "<|fim_prefix|>a <|b<|fim_suffix|>\n<|fim_middle|>"
    assert prompt_text(TOKENIZER.tokenize_markup(markup)) == markup
