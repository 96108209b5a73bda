"""JSON that comes near its limit: what is forced then is short, valid, and only as much as it takes."""

from __future__ import annotations

import json
import random
from typing import Any

import jsonschema_rs
import llguidance
import numpy as np
import pytest

from qwencoder_lsp.engine.closing import WATCH, Closing, Exits
from qwencoder_lsp.engine.constraint import Matcher
from qwencoder_lsp.engine.protocol import Constraint

TOKENIZER = llguidance.LLTokenizer("byte")
EXITS = Exits(TOKENIZER)
N_VOCAB = 262
TREE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
            "required": ["name", "children"],
            "additionalProperties": False,
        }
    },
}
SCHEMAS: dict[str, Any] = {
    "anything": True,
    "object": {"type": "object"},
    "tree": TREE,
    "list": {"type": "array", "items": {"type": "integer"}},
    "long enough": {"type": "array", "items": {"type": "string", "minLength": 3}, "minItems": 2},
    "number": {"type": "number", "multipleOf": 0.25, "exclusiveMinimum": 0},
    "even": {"type": "integer", "minimum": 1, "multipleOf": 2},
    "time": {"type": "string", "format": "date-time"},
    "pattern": {"type": "string", "pattern": "^[a-c]{3}-x+$"},
    "enum": {"type": "object", "properties": {"kind": {"enum": ["first", "second"]}, "more": {"type": "string"}}, "required": ["kind"]},
    "optional before required": {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "null"}, "c": {"type": "boolean"}},
        "required": ["c"],
        "additionalProperties": False,
    },
}


def answer(schema: Any, limit: int, choose: random.Random | None) -> tuple[str, bool, bool]:
    """(text, whether it ended, whether it was closed early) of a model that likes every allowed token as much, or without a generator always the
    last of them: a string that never ends."""
    matcher = Matcher(TOKENIZER, Constraint("json_schema", json.dumps(schema)), N_VOCAB)
    closing = matcher.closing(EXITS)
    out: list[int] = []
    while len(out) < limit:
        row = matcher.mask(np.zeros(N_VOCAB, np.float32))
        allowed = [int(token) for token in np.flatnonzero(row == 0) if token < 127 or token == EXITS.end]
        token = choose.choice(allowed) if choose else allowed[-1]
        token = closing.choose(token, limit - len(out))
        if token == EXITS.end:
            return bytes(out).decode(), True, closing.early
        matcher.accept(token)
        out.append(token)
        if matcher.done:
            return bytes(out).decode(), True, closing.early
    return bytes(out).decode(), False, closing.early


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("limit", [50, 70, 200])
def test_an_answer_is_whole_and_valid_within_its_limit_whatever_the_model_likes(name: str, limit: int) -> None:
    schema = SCHEMAS[name]
    check = jsonschema_rs.validator_for(schema, validate_formats=True)
    for seed in range(6):
        text, ended, _ = answer(schema, limit, random.Random(seed) if seed else None)  # noqa: S311 - a test
        assert ended, text
        assert len(text) <= limit
        check.validate(json.loads(text))


def test_an_answer_that_would_have_fitted_is_left_alone() -> None:
    matcher = Matcher(TOKENIZER, Constraint("json_schema", json.dumps(TREE)), N_VOCAB)
    closing = matcher.closing(EXITS)
    text = b'{"name": "root", "children": []}'
    for place, byte in enumerate(text):
        assert closing.choose(byte, len(text) - place) == byte
        matcher.accept(byte)
    assert matcher.done
    assert not closing.early


def test_one_token_less_changes_the_answer_only_where_it_must() -> None:
    matcher = Matcher(TOKENIZER, Constraint("json_schema", json.dumps(TREE)), N_VOCAB)
    closing = matcher.closing(EXITS)
    text, out = b'{"name": "root", "children": []}', b""
    while not matcher.done:
        byte = closing.choose(text[min(len(out), len(text) - 1)] if text.startswith(out) else ord("x"), len(text) - 1 - len(out))
        matcher.accept(byte)
        out += bytes([byte])
    assert out == b'{"name": "roo", "children": []}'
    assert closing.early


def test_what_cannot_fit_is_left_as_it_is() -> None:
    matcher = Matcher(TOKENIZER, Constraint("json_schema", json.dumps(TREE)), N_VOCAB)
    closing = matcher.closing(EXITS)
    assert closing.choose(ord("{"), 10) == ord("{")
    assert not closing.early


def test_far_from_the_limit_nothing_is_looked_for() -> None:
    closing = Closing(None, EXITS)  # there is no matcher to be asked
    assert closing.choose(7, WATCH + 1) == 7
