"""Trees that are parsed again only where the text changed are the trees of the new text."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from tree_sitter import Node, Parser

from qwencoder_lsp.grammars import grammar
from qwencoder_lsp.postprocess.syntax import encode
from qwencoder_lsp.postprocess.tree import AFTER, BEFORE, STEP, Parsed, Trees, around

SOURCE = 'def größe(x):\n    """Ä."""\n    return {"a": [x, 1], \'b\': f"{x}"}\n\n\nclass A:\n    y = 1\n'


def shape(node: Node) -> str:
    return f"{node.type}{node.start_byte}-{node.end_byte}({' '.join(shape(child) for child in node.children)})"


def fresh(text: str) -> str:
    found = grammar("python")
    assert found is not None
    return shape(Parser(found).parse(encode(text)).root_node)


def parsed(trees: Trees, text: str) -> Parsed:
    found = trees.parse("a", text, "python")
    assert found is not None
    return found


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 90), st.integers(0, 12), st.sampled_from(["", "x", "(", ")\n", '"', "ü", "    ", "\n"])), max_size=8))
def test_after_any_edits_the_tree_is_that_of_the_text(edits: list[tuple[int, int, str]]) -> None:
    trees, text = Trees(), SOURCE
    for at, removed, added in edits:
        text = text[:at] + added + text[at + removed :]
        found = parsed(trees, text)
        assert found.source == encode(text)
        assert found.root.end_byte <= len(found.source)
    # What an incremental parse makes of broken text may differ from a fresh one; of whole text it may not.
    parsed(trees, text)
    assert shape(parsed(trees, SOURCE).root) == fresh(SOURCE)


def test_a_trial_leaves_the_document_as_it_is() -> None:
    document = parsed(Trees(), SOURCE)
    before = shape(document.root)
    tried = document.with_text(0, 3, "class")
    assert tried.source.startswith(b"class gr")
    assert shape(document.root) == before


def test_another_document_and_another_language_have_trees_of_their_own() -> None:
    trees = Trees()
    python, go = trees.parse("a", "x = 1\n", "python"), trees.parse("a", "x = 1\n", "go")
    assert python is not None
    assert go is not None
    assert python.root.type == "module"
    assert go.root.type == "source_file"
    assert trees.parse("a", "x = 1\n", "brainfuck") is None


def test_random_typing_in_a_long_text_is_followed() -> None:
    draw, trees = random.Random(1), Trees()  # noqa: S311 - typing
    text = SOURCE * 50
    for _ in range(50):
        at = draw.randrange(len(text))
        text = text[:at] + draw.choice("abc ()") + text[at:]
        assert parsed(trees, text).source == encode(text)


def test_of_a_long_text_only_what_is_around_the_cursor_is_parsed_and_it_stays_while_somebody_types() -> None:
    head, tail = "value = 1\n" * 4000, "\n" + "other = 2\n" * 4000
    places = set()
    for typed in ("x", "xy", "xyz = f("):
        text, offset = head + typed + tail, len(head) + len(typed)
        start, end = around(text, offset, "python")
        places.add((start, len(text) - end))
        assert offset - BEFORE <= start <= offset - BEFORE + STEP + 10
        assert AFTER <= end - offset <= AFTER + STEP + 10
        assert text[start - 1] == text[end - 1] == "\n"
        trees = Trees()
        found = trees.parse("a", text, "python", offset)
        assert found is not None
        assert found.source[: found.byte_at(text, offset)].endswith(typed.encode())
    assert len(places) == 1


def test_a_part_does_not_begin_inside_of_a_string_or_a_comment() -> None:
    code = "value = 1\n" * 4000
    for language, opened, closed in (("python", '"""', '"""'), ("typescript", "`", "`"), ("c", "/*", "*/")):
        inside = opened + "\n" + "prose here\n" * 1500 + closed + "\n"
        text = code[:20000] + inside + code
        offset = 20000 + len(inside) + 3000
        start, _ = around(text, offset, language)
        assert text[:start].endswith(closed)
