from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwencoder_lsp.editors import jsonc
from qwencoder_lsp.errors import RequestError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text('aé😀"\\/', max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab ", min_size=1, max_size=3), inner, max_size=3),
    max_leaves=6,
)
DOCUMENTS = st.dictionaries(st.text("abcé", min_size=1, max_size=3), VALUES, max_size=4)
PATHS = st.lists(st.text("abcé", min_size=1, max_size=3), min_size=1, max_size=3).map(tuple)


@given(DOCUMENTS, PATHS, VALUES, st.sampled_from([None, 0, 2, 4]))
def test_the_value_is_there_afterwards_and_everything_else_is_as_before(
    document: dict[str, object], path: tuple[str, ...], value: object, indent: int | None
) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    after = jsonc.put(text, path, value)
    expected: dict[str, object] = json.loads(text)
    at = expected
    for key in path[:-1]:
        below = at.get(key)
        if not isinstance(below, dict):
            below = at[key] = {}
        at = below
    at[path[-1]] = value
    assert json.loads(after) == expected
    assert jsonc.get(after, path) == value
    assert jsonc.put(after, path, value) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '{\n  "a": 1\n}\n'),
        ("{}", '{\n  "a": 1\n}'),
        ('{ "b": 2 }', '{ "b": 2,\n  "a": 1\n}'),
        ('{\n  "b": 2, // two\n}\n', '{\n  "b": 2, // two\n  "a": 1\n}\n'),
        ('{\n  "b": 2 // two\n  // end\n}\n', '{\n  "b": 2, // two\n  // end\n  "a": 1\n}\n'),
        ('// head\n{\n  /* a */ "a": 7 // seven\n}\n// foot\n', '// head\n{\n  /* a */ "a": 1 // seven\n}\n// foot\n'),
        ('{\r\n  "b": 2\r\n}\r\n', '{\r\n  "b": 2,\r\n  "a": 1\r\n}\r\n'),
    ],
)
def test_comments_commas_and_line_endings_stay(before: str, after: str) -> None:
    assert jsonc.put(before, ("a",), 1) == after


@pytest.mark.parametrize("text", ["[]", "1", "{", "{'a': 1}{}", '{"a": f()}', "{}; x"])
def test_what_is_not_json_with_comments_is_refused(text: str) -> None:
    with pytest.raises(RequestError):
        jsonc.put(text, ("a", "b"), 1)
