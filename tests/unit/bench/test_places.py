"""The rules that derive the places of `quiet` and the holes of `cursor` from source files."""

from __future__ import annotations

import pytest

from tests.bench.cursor import holes
from tests.bench.quiet.places import SILENCE, WANTED, Cut, Place, choose
from tests.bench.sources.files import Source, made
from tests.bench.sources.parsed import Parsed

PYTHON = '''"""A module."""

import os


def first(path):
    """Tell whether the path is a readable file of the user."""
    # a link that points nowhere counts as missing here because nobody can read it
    if not os.path.exists(path):
        raise ValueError("the path does not exist on this machine")
    found = os.stat(path, follow_symlinks=True)
    size = found.st_size
    total = size + 1
    names = [
        "a",
    ]
    return total * len(names)
'''

JAVASCRIPT = """function load(settings) {
  // the settings that were given win over the ones of the file and of the user
  const wanted = merge(settings, defaults);
  if (wanted.enabled && wanted.limit > 0) {
    start(wanted);
    report('started');
    return wanted.limit;
  }
  throw new Error('nothing was wanted by anybody who asked');
}
"""


def source(text: str, language: str = "python", path: str = "pkg/a.py") -> Source:
    return Source("pkg", path, language, text, made(text))


def lines(kind: str, text: str = PYTHON, language: str = "python") -> list[tuple[str, str]]:
    """The cursor's line before the cursor, and what was taken away, of all places of a kind."""
    rule = (SILENCE | WANTED)[kind]
    cuts: list[Cut] = list(rule(Parsed(source(text, language))))
    return [(text[: cut.at].rpartition("\n")[2], text[cut.at : cut.until]) for cut in cuts]


@pytest.mark.parametrize(
    ("kind", "before", "removed"),
    [
        ("comment_inside", "    # a link that points nowhere counts as", ""),
        ("comment_typed", "    # a link that points nowhere counts as", " missing here because nobody can read it"),
        ("comment_end", "    # a link that points nowhere counts as missing here because nobody can read it", ""),
        ("string_inside", '        raise ValueError("the path does not', ""),
        ("string_typed", '        raise ValueError("the path does not', " exist on this machine"),
        ("string_typed", '    """Tell whether the path is a', " readable file of the user."),
        ("statement_end", "    size = found.st_size", ""),
        ("block_end", "    ]", ""),
        ("file_end", "", ""),
        ("word_inside", "    found = os.stat(path, follow_", ""),
        ("after_assign", "    size = ", "found.st_size"),
        ("after_return", "    return ", "total * len(names)"),
        ("after_paren", "    found = os.stat(", "path, follow_symlinks=True)"),
        ("after_dot", "    size = found.", "st_size"),
        ("after_operator", "    total = size + ", "1"),
        ("word_end", "    found = os.stat(path, follow_", "symlinks=True)"),
        ("block_opened", "    if not os.path.exists(path):", '\n        raise ValueError("the path does not exist on this machine")'),
    ],
)
def test_a_rule_finds_its_place_in_python(kind: str, before: str, removed: str) -> None:
    assert (before, removed) in lines(kind)


@pytest.mark.parametrize(
    ("kind", "before", "removed"),
    [
        ("comment_typed", "  // the settings that were given win over the", " ones of the file and of the user"),
        ("string_typed", "  throw new Error('nothing was wanted by", " anybody who asked"),
        ("statement_end", "    report('started');", ""),
        ("block_end", "}", ""),
        ("after_assign", "  const wanted = ", "merge(settings, defaults);"),
        ("argument_closer", "  const wanted = merge(", "settings, defaults);"),
        ("after_dot", "    return wanted.", "limit;"),
        ("body_begun", "    ", "report('started');\n    return wanted.limit;"),
        ("block_opened", "  if (wanted.enabled && wanted.limit > 0) {", "\n    start(wanted);\n    report('started');\n    return wanted.limit;"),
    ],
)
def test_a_rule_finds_its_place_between_braces(kind: str, before: str, removed: str) -> None:
    assert (before, removed) in lines(kind, JAVASCRIPT, "javascript")


def test_a_statement_in_front_of_a_deeper_line_is_not_finished() -> None:
    assert all(not before.endswith(":") for before, _ in lines("statement_end"))


def test_a_line_that_goes_on_below_is_not_cut() -> None:
    assert not any(before.startswith("    names = ") for before, _ in lines("after_assign"))


def test_a_line_of_code_in_a_comment_is_no_prose() -> None:
    assert not lines("comment_typed", "x = 1\n# for item in items: total += item.size if item else 0\ny = 2\n")


def long(text: str) -> str:
    """With enough lines above."""
    return "\n" * 10 + text


def test_kinds_and_languages_take_turns_and_a_seed_gives_the_same_places_again() -> None:
    files = [source(long(PYTHON), "python", f"pkg/{i}.py") for i in range(6)]
    files += [source(long(JAVASCRIPT), "javascript", f"pkg/{i}.js") for i in range(6)]
    places = choose(files, WANTED, 18, 3)
    assert [p.id for p in places] == [p.id for p in choose(files, WANTED, 18, 3)]
    assert [p.id for p in places] != [p.id for p in choose(files, WANTED, 18, 4)]
    assert {kind: sum(p.kind == kind for p in places) for kind in WANTED} == dict.fromkeys(WANTED, 2)
    assert {p.language for p in places} == {"python", "javascript"}


def test_a_place_is_the_file_without_what_was_taken_away() -> None:
    (place,) = choose([source(long(JAVASCRIPT), "javascript")], {"argument_closer": WANTED["argument_closer"]}, 1, 0)
    assert isinstance(place, Place)
    assert place.wanted
    assert place.suffix.startswith(")\n")  # the editor put it there
    assert ")" not in place.truth
    assert (place.prefix + place.truth + place.suffix).replace(");\n", ")\n") == long(JAVASCRIPT).replace(");\n", ")\n")


def test_generated_files_are_for_their_own_kind_only() -> None:
    text = "// Code generated by a tool. DO NOT EDIT.\n" + JAVASCRIPT * 5
    assert made(text)
    assert made("x" * 500)
    places = choose([source(text, "javascript")], SILENCE, 5, 0)
    assert [p.kind for p in places] == ["generated"]


def test_the_three_holes_of_a_name_share_its_line() -> None:
    found = holes.choose([source(long(PYTHON))], ["pkg"], 1, 0)
    inside, end, behind = found
    assert [hole.offset for hole in found] == list(holes.OFFSETS)
    assert {hole.prefix + hole.truth + hole.suffix for hole in found} == {long(PYTHON)}
    assert all(hole.suffix.startswith("\n") for hole in found)
    assert inside.truth.endswith(end.truth)
    assert end.truth[1:] == behind.truth
    assert inside.prefix[-1].isidentifier()
    assert inside.truth[0].isidentifier()
    assert not end.truth[0].isidentifier()


def test_holes_come_from_all_packages_in_turn() -> None:
    files = [Source(name, f"{i}.py", "python", long(PYTHON), False) for name in ("a", "b") for i in range(3)]
    assert [h.package for h in holes.choose(files, ["a", "b"], 4, 0)][::3] == ["a", "b", "a", "b"]
