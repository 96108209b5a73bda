"""Trees that are parsed again only where the text changed are the trees of the new text."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from tree_sitter import Node, Parser

from qwencoder_lsp.grammars import grammar
from qwencoder_lsp.postprocess.tree import Parsed, Trees, encode

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
