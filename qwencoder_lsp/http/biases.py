"""The field logit_bias, in OpenAI's form or llama.cpp's (its tools/server/README.md): [[15043, 1.0], ["Hello", -0.5], [15044, false]]."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

MOST_BIAS = 100  # as at OpenAI
ID_KEY = "^[0-9]{1,6}$"
BIAS = {"anyOf": [{"type": "number", "minimum": -MOST_BIAS, "maximum": MOST_BIAS}, {"const": False}]}
BIAS_PAIR = [{"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}]}, BIAS]
BIASES = {
    "anyOf": [
        {"type": "object", "propertyNames": {"pattern": ID_KEY}, "additionalProperties": BIAS},
        {"type": "array", "items": {"type": "array", "prefixItems": BIAS_PAIR, "minItems": 2, "maxItems": 2}},
    ]
}

Pairs = list[tuple[int | str, float]]


def _biases(value: Any) -> Pairs:
    """In one form, from that of OpenAI, an object with ids as keys, or llama.cpp's list of pairs, which may name text. false forbids."""
    pairs = [(int(k) if re.fullmatch(ID_KEY, k) else None, v) for k, v in value.items()] if isinstance(value, dict) else value
    if not isinstance(pairs, list) or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise PydanticCustomError("biases", "Input should be an object of token ids and numbers, or a list of pairs of those")
    for token, bias in pairs:
        if type(token) not in (int, str):
            raise PydanticCustomError("token", "The tokens should be ids, or text in a list of pairs")
        if bias is not False and not (type(bias) in (int, float) and -MOST_BIAS <= bias <= MOST_BIAS):
            raise PydanticCustomError("bias", "The biases should be numbers from -100 to 100, or false")
    return [(token, -math.inf if bias is False else bias) for token, bias in pairs]


Biases = Annotated[Pairs, PlainValidator(_biases), WithJsonSchema(BIASES)]
