"""An answer whose bytes begin with given bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwencoder_lsp.engine.healing import PrefixMatcher, VocabularyIndex
from qwencoder_lsp.engine.protocol import Sampling
from qwencoder_lsp.engine.sampler import Sampler
from qwencoder_lsp.errors import RequestError

byte_strings = st.lists(st.sampled_from(b"ab\x00\xff"), max_size=5).map(bytes)
vocabularies = st.lists(byte_strings, min_size=1, max_size=30)

PIECES = [b"", b"d", b"de", b"def", b" ", b"    ", b"  ", b"\n", b"e", b"f", b" def", b"\xc3", b"\xa9", "é".encode(), b"print", b"pr", b"p", b"r"]
INDEX = VocabularyIndex(PIECES)


def allowed(matcher: PrefixMatcher, pieces: list[bytes] = PIECES) -> set[bytes]:
    row = matcher.mask(np.zeros(len(pieces), np.float32))
    return {pieces[i] for i in np.flatnonzero(row == 0)}


def token(piece: bytes) -> int:
    return PIECES.index(piece)


@given(vocabularies, byte_strings)
def test_exactly_the_tokens_that_fit_are_allowed(pieces: list[bytes], prefix: bytes) -> None:
    matcher = PrefixMatcher(VocabularyIndex(pieces), prefix)
    fitting = [not prefix or (bool(p) and (p.startswith(prefix) or prefix.startswith(p))) for p in pieces]
    assert [matcher.allows(i) for i in range(len(pieces))] == fitting
    assert (matcher.mask(np.zeros(len(pieces), np.float32)) == 0).tolist() == fitting


@given(vocabularies, byte_strings, st.data())
def test_every_answer_begins_with_the_prefix(pieces: list[bytes], prefix: bytes, data: st.DataObject) -> None:
    matcher = PrefixMatcher(VocabularyIndex(pieces), prefix)
    text = b""
    while not matcher.done:
        fitting = [i for i in range(len(pieces)) if matcher.allows(i)]
        if not fitting:
            return  # this vocabulary cannot spell it
        chosen = data.draw(st.sampled_from(fitting))
        matcher.accept(chosen)
        text += pieces[chosen]
    assert text.startswith(prefix)


@given(vocabularies, byte_strings, st.lists(st.integers(0, 29), max_size=8))
def test_validate_counts_what_accept_would_take(pieces: list[bytes], prefix: bytes, draft: list[int]) -> None:
    draft = [t % len(pieces) for t in draft]
    matcher, follower = PrefixMatcher(VocabularyIndex(pieces), prefix), PrefixMatcher(VocabularyIndex(pieces), prefix)
    count = 0
    for chosen in draft:
        if not follower.allows(chosen):
            break
        follower.accept(chosen)
        count += 1
    assert matcher.validate(draft) == count


def test_a_prefix_may_be_spelled_in_any_tokens_and_overshot() -> None:
    assert allowed(PrefixMatcher(INDEX, b"de")) == {b"d", b"de", b"def"}


def test_indentation_is_healed() -> None:
    assert allowed(PrefixMatcher(INDEX, b"  ")) == {b" ", b"  ", b"    "}
    matcher = PrefixMatcher(INDEX, b"     d")
    for piece in (b"    ", b" def"):
        matcher.accept(token(piece))
    assert matcher.done


def test_a_character_may_be_spelled_in_the_tokens_of_its_bytes() -> None:
    matcher = PrefixMatcher(INDEX, "é".encode())
    assert allowed(matcher) == {b"\xc3", "é".encode()}
    matcher.accept(token(b"\xc3"))
    assert not matcher.done
    assert allowed(matcher) == {b"\xa9"}


def test_control_tokens_are_not_allowed_until_the_prefix_is_there() -> None:
    matcher = PrefixMatcher(INDEX, b"d")
    assert not matcher.allows(0)
    matcher.accept(token(b"d"))
    assert matcher.done
    assert matcher.allows(0)


def test_the_empty_prefix_is_met_at_once() -> None:
    assert PrefixMatcher(INDEX, b"").done


def test_a_token_that_does_not_fit_is_refused() -> None:
    with pytest.raises(RequestError):
        PrefixMatcher(INDEX, b"d").accept(token(b"print"))
    assert not PrefixMatcher(INDEX, b"d").allows(len(PIECES) + 5)


def test_what_can_be_spelled_in_one_way_only_is_forced() -> None:
    assert PrefixMatcher(INDEX, b"\xc3").forced() == []  # "é" begins with it as well
    matcher = PrefixMatcher(INDEX, b"\xc3\xa9x")
    matcher.accept(token(b"\xc3"))
    assert matcher.forced() == [token(b"\xa9")]


def test_a_mask_may_be_written_over_its_logits() -> None:
    row = np.arange(len(PIECES), dtype=np.float32)
    expected = PrefixMatcher(INDEX, b"p").mask(row)
    assert row[0] == 0
    assert PrefixMatcher(INDEX, b"p").mask(row, row) is row
    assert row.tolist() == expected.tolist()


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_sampler_keeps_to_the_prefix_and_is_free_behind_it(temperature: float) -> None:
    row = np.zeros(len(PIECES), np.float32)
    row[token(b"print")] = 8
    sampler, matcher = Sampler(Sampling(temperature=temperature, seed=1)), PrefixMatcher(INDEX, b"def")
    text = b""
    while not matcher.done:
        pick = sampler.pick(row, matcher)
        matcher.accept(pick.token)
        text += PIECES[pick.token]
    assert text.startswith(b"def")
    assert {PIECES[sampler.pick(row, matcher).token] for _ in range(20)} >= {b"print"}
