"""Constraints over a vocabulary of bytes: what they allow, what they force, and how they refuse what cannot be used."""

from __future__ import annotations

import json
import threading
from typing import Any

import llguidance
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwencoder_lsp.engine.constraint import MAX_TEXT, ConstraintCompiler, Matcher
from qwencoder_lsp.engine.healing import PrefixMatcher
from qwencoder_lsp.engine.protocol import Constraint, Sampling
from qwencoder_lsp.engine.sampler import Sampler
from qwencoder_lsp.errors import EngineFailed, RequestError

TOKENIZER = llguidance.LLTokenizer("byte")
N_VOCAB = 270  # more than the tokenizer has: llama.cpp pads vocabularies
END = 261
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "lines": {"type": "array", "items": {"type": "integer"}}},
    "required": ["name", "lines"],
    "additionalProperties": False,
}


def matcher(kind: str, value: Any) -> Matcher:
    return Matcher(TOKENIZER, Constraint(kind, value if isinstance(value, str) else json.dumps(value)), N_VOCAB)


def follows(m: Matcher, text: str) -> bool:
    """Whether the whole text may come next; consumes nothing."""
    data = text.encode()
    return m.validate(list(data)) == len(data)


def feed(m: Matcher, text: str) -> None:
    for byte in text.encode():
        assert m.allows(byte)
        m.accept(byte)


def refusal(kind: str, value: Any) -> str:
    with pytest.raises(RequestError) as caught:
        matcher(kind, value)
    return caught.value.message


def test_json_is_written_on_one_line_with_a_space_behind_the_separators() -> None:
    m = matcher("json_schema", SCHEMA)
    assert follows(m, '{"name": "x", "lines": [1, 2]}')
    assert not follows(m, '{"name":"x"')
    assert not follows(m, '{ "name"')
    assert not follows(m, '{\n  "name"')


def test_white_space_cannot_run_on_whatever_the_schema_asks_for() -> None:
    m = matcher("json_schema", {**SCHEMA, "x-guidance": {"whitespace_flexible": True, "whitespace_pattern": " *"}})
    assert not follows(m, '{"name":   ')


def test_a_schema_is_done_at_its_last_bracket() -> None:
    m = matcher("json_schema", SCHEMA)
    feed(m, '{"name": "x", "lines": []')
    assert not m.done
    feed(m, "}")
    assert m.done


def test_what_has_to_come_next_is_forced() -> None:
    m = matcher("json_schema", SCHEMA)
    assert bytes(m.forced()) == b'{"name": "'
    feed(m, '{"name": "x')
    assert m.forced() == []
    feed(m, '"')
    assert bytes(m.forced()) == b', "lines": ['


def test_the_mask_agrees_with_allows() -> None:
    m = matcher("json_schema", SCHEMA)
    for byte in b'{"name": "x", "lines": [1, 20]':
        row = m.mask(np.zeros(N_VOCAB, np.float32))
        assert {i for i in range(N_VOCAB) if row[i] == 0} == {i for i in range(262) if m.allows(i)}
        m.accept(byte)


def test_a_mask_keeps_the_logits_and_may_be_written_over_them() -> None:
    row = np.arange(N_VOCAB, dtype=np.float32)
    m = matcher("regex", "[a-c]")
    masked = m.mask(row)
    assert row[0] == 0
    assert np.flatnonzero(masked > -np.inf).tolist() == [97, 98, 99]
    assert masked[97] == 97
    assert m.mask(row, row) is row
    assert row.tolist() == masked.tolist()


def test_validate_counts_the_first_allowed_tokens_of_a_draft_and_consumes_none() -> None:
    m = matcher("regex", "abc")
    assert m.validate(list(b"abx")) == 2
    assert m.validate(list(b"abc")) == 3
    assert m.allows(ord("a"))


def test_the_end_is_allowed_only_where_the_constraint_is_met() -> None:
    m = matcher("regex", "a+")
    assert not m.allows(END)
    feed(m, "a")
    assert m.allows(END)
    assert not m.done


@given(st.lists(st.text(max_size=6), min_size=1, max_size=4), st.data())
def test_a_choice_takes_each_of_its_strings_and_nothing_else(choices: list[str], data: st.DataObject) -> None:
    chosen = data.draw(st.sampled_from(choices))
    m = matcher("choice", choices)
    feed(m, chosen)
    assert m.done or m.allows(END)
    other = data.draw(st.text(max_size=6))
    assert other not in choices or follows(matcher("choice", choices), other)
    if follows(matcher("choice", choices), other):
        assert any(c.startswith(other) for c in choices)


@pytest.mark.parametrize("value", ["[]", "5", "{", "[1]", '"a"'])
def test_a_choice_that_is_not_a_list_of_strings_is_refused(value: str) -> None:
    assert "choice" in refusal("choice", value)


@pytest.mark.parametrize(
    "schema",
    [
        '{"type":',
        "[1, 2]",
        '{"type": "strin"}',
        '{"$ref": "http://example.com/x"}',
        '{"type": "string", "format": "nope"}',
        '{"items":' * 2000 + "{}" + "}" * 2000,
        json.dumps({"allOf": [{"anyOf": [{"properties": {f"a{i}{j}": {"type": "string"}}} for j in range(6)]} for i in range(12)]}),
        '{"type": "integer", "multipleOf": 999983, "minimum": 12345, "maximum": 99999999999}',
        json.dumps({"properties": {f"property{i}": {"type": "string"} for i in range(10_000)}}),
    ],
    ids=["cut off", "a list", "unknown type", "remote", "unknown format", "deep", "product", "large automaton", "long"],
)
def test_a_schema_that_cannot_be_used_is_refused_with_a_short_reason(schema: str) -> None:
    assert 0 < len(refusal("json_schema", schema)) < 400


@pytest.mark.parametrize(
    "schema",
    [
        '{"type": "array", "minItems": 1000000000}',
        '{"type": "string", "minLength": 1000000}',
        '{"pattern": "((a{1,99}){1,99}){1,99}"}',
    ],
)
def test_an_extreme_schema_is_compiled_without_unfolding_it(schema: str) -> None:
    assert matcher("json_schema", schema).mask(np.zeros(N_VOCAB, np.float32)).max() == 0


@pytest.mark.parametrize("pattern", ["(a", "(?=a)b", "a" * (MAX_TEXT + 1)])
def test_a_regex_that_cannot_be_used_is_refused(pattern: str) -> None:
    assert "regex" in refusal("regex", pattern)


def test_an_unknown_kind_is_refused() -> None:
    assert "'poem'" in refusal("poem", "x")


def test_a_forbidden_token_fails_the_request() -> None:
    with pytest.raises(RequestError):
        matcher("regex", "abc").accept(ord("x"))


def test_a_schema_that_nothing_meets_fails_the_request() -> None:
    with pytest.raises(RequestError, match="constraint failed"):
        matcher("json_schema", '{"$ref": "#"}').mask(np.zeros(N_VOCAB, np.float32))


def test_a_schema_that_is_too_complex_to_follow_fails_the_request_instead_of_ending_it() -> None:
    m = matcher("json_schema", {"properties": {f"p{i}": {"type": "string"} for i in range(1500)}})
    with pytest.raises(RequestError, match="constraint failed"):
        m.accept(ord("{"))
    with pytest.raises(RequestError, match="constraint failed"):
        Sampler(Sampling()).pick(np.eye(1, N_VOCAB, END, dtype=np.float32)[0], m)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=1, seed=3), Sampling(temperature=1, top_p=0.9, seed=3)])
def test_the_sampler_writes_what_the_schema_describes(sampling: Sampling) -> None:
    random = np.random.default_rng(2)
    m, sampler, text = matcher("json_schema", {"type": "array", "items": {"enum": [1, 22]}, "maxItems": 5}), Sampler(sampling), b""
    while not m.done:
        token = sampler.pick(random.normal(size=N_VOCAB).astype(np.float32), m).token
        if token == END:
            break
        m.accept(token)
        text += bytes([token])
    assert set(json.loads(text)) <= {1, 22}


PIECES = [bytes([i]) for i in range(256)] + [b""] * 14


def test_a_prefix_waits_for_the_vocabulary_but_not_for_the_tokenizer() -> None:
    ready, never = threading.Event(), threading.Event()
    compiler = ConstraintCompiler(never.wait, N_VOCAB, ready.set, lambda: PIECES)
    prefix = Constraint("prefix", "é")
    assert compiler.ready_for(prefix) or ready.wait(10)
    assert compiler.ready_for(prefix)
    m = compiler.matcher(prefix)
    assert isinstance(m, PrefixMatcher)
    assert [i for i in range(N_VOCAB) if m.allows(i)] == [0xC3]
    never.set()


def test_a_schema_waits_for_the_tokenizer() -> None:
    ready, go = threading.Event(), threading.Event()

    def make() -> Any:
        go.wait(10)
        return TOKENIZER

    compiler = ConstraintCompiler(make, N_VOCAB, ready.set, lambda: PIECES)
    regex = Constraint("regex", "a")
    assert not compiler.ready_for(regex)
    go.set()
    assert ready.wait(10)
    assert compiler.ready_for(regex)
    assert compiler.matcher(regex).allows(ord("a"))


def test_a_tokenizer_that_cannot_be_built_fails_every_request_with_its_reason() -> None:
    ready = threading.Event()

    def broken() -> Any:
        raise ValueError("no such vocabulary")

    compiler = ConstraintCompiler(broken, N_VOCAB, ready.set, lambda: PIECES)
    assert compiler.ready_for(Constraint("regex", "a")) or ready.wait(10)
    with pytest.raises(EngineFailed, match="no such vocabulary"):
        compiler.matcher(Constraint("regex", "a"))
