import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwencoder_lsp.core.text import Edit, Span, apply_edits
from qwencoder_lsp.postprocess.patch import UNPARSABLE, Hunk, hunks, minimal_edits, own_part, refusal, reindent, surrounding, whole_lines

LINES = st.lists(st.sampled_from(["", "a", "b", "  a", "  bb", "x = 1", "äö🙂"]), max_size=8)


def whole(text: str) -> Span:
    return Span(0, len(text))


@given(LINES, LINES, st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_the_edits_make_the_new_text_in_the_documents_line_ending(old: list[str], new: list[str], newline: str, ended: bool) -> None:
    before = newline.join(old) + (newline if ended and old else "")
    edits = minimal_edits(before, whole(before), "\n".join(new) + "\n", newline)
    after = apply_edits(before, edits)
    assert after.replace("\r\n", "\n").split("\n")[: len(new)] == [*new, ""][: max(1, len(new))][: len(new)]
    assert "\n" not in after.replace(newline, "")
    assert "\r" not in after.replace("\r\n", "")


@given(LINES, LINES)
def test_hunks_applied_together_make_the_new_text(old: list[str], new: list[str]) -> None:
    before, after = ("".join(line + "\n" for line in lines) for lines in (old, new))
    found = hunks(before, after)
    assert apply_edits(before, [Edit(hunk.span, hunk.text) for hunk in found]) == after


@given(LINES, st.lists(st.sampled_from(["\n", "\r\n"]), min_size=8, max_size=8), LINES)
def test_a_file_with_mixed_endings_keeps_them_where_nothing_changed(old: list[str], endings: list[str], added: list[str]) -> None:
    before = "".join(line + ending for line, ending in zip(old, endings, strict=False))
    new = "".join(f"{line}\n" for line in old) + "".join(f"new {line}\n" for line in added)
    edits = minimal_edits(before, whole(before), new, "\n")
    assert apply_edits(before, edits) == before + "".join(f"new {line}\n" for line in added)


def test_unchanged_text_makes_no_edits() -> None:
    text = "a\r\nb\r\n"
    assert minimal_edits(text, whole(text), "a\nb\n", "\r\n") == ()


def test_only_the_differing_characters_are_replaced() -> None:
    text = "x = 1\ny = area(a + b)\nz = 3\n"
    edits = minimal_edits(text, whole(text), "x = 1\ny = area(a * b)\nz = 3\n")
    assert edits == (Edit(Span(text.index("+"), text.index("+") + 1), "*"),)


def test_crlf_is_never_cut_in_two() -> None:
    text = "a\r\nb\r\n"
    for edit in minimal_edits(text, whole(text), "a\nc\nb\n", "\r\n"):
        assert text[edit.span.start - 1 : edit.span.start + 1] != "\r\n"
        assert text[edit.span.end - 1 : edit.span.end + 1] != "\r\n"


def test_the_last_line_without_an_ending_stays_so() -> None:
    text = "a\nb"
    assert apply_edits(text, minimal_edits(text, whole(text), "a\nc\n")) == "a\nc"
    assert apply_edits(text, minimal_edits(text, whole(text), "a\nb\nc\n")) == "a\nb\nc"


def test_edits_stay_inside_the_region() -> None:
    text = "a\nb\nc\n"
    edits = minimal_edits(text, Span(2, 4), "B\nX\n")
    assert apply_edits(text, edits) == "a\nB\nX\nc\n"


def test_an_insertion_covers_the_line_above_it_or_below_it_at_the_start() -> None:
    assert hunks("a\n\nb\n", "a\n\nx\nb\n") == [Hunk(Span(0, 3), "a\n\nx\n")]
    assert hunks("a\nb\n", "x\na\nb\n") == [Hunk(Span(0, 2), "x\na\n")]
    assert hunks("a\nb\n", "x\na\ny\nb\n") == [Hunk(Span(0, 2), "x\na\ny\n")]


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        ("def f():\n    return 1\n", "    def f():\n        return 2\n", "    def f():\n        return 1\n"),
        ("        x = 1\n", "    x = 2\n", "    x = 1\n"),
        (
            "if a:\n        b()\n    else:\n        c()",
            "    if a:\n        b()\n    else:\n        d()",
            "    if a:\n        b()\n    else:\n        c()",
        ),
        ("def f():\n    if a:\n        b()\n", "\tdef f():\n\t\tif a:\n\t\t\tc()\n", "\tdef f():\n\t\tif a:\n\t\t\tb()\n"),
        ("\tx\n", "    x\n", "    x\n"),
        ("a\r\n\r\nb\r\n", "  a\n  c\n", "  a\n\n  b\n"),
        ("\n\n", "  a\n", "\n\n"),
        ("x = 1\n", "x = 2\n", "x = 1\n"),
    ],
)
def test_new_code_takes_the_indentation_of_the_old(new: str, old: str, expected: str) -> None:
    assert reindent(new, old) == expected


METHOD = "    def f(self):\n        return 1\n"


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        (
            "import a\n\n\nclass A:\n    def e(self):\n        x()\n\n    def f(self):\n        return 2\n\n    def g(self):\n        y()\n",
            METHOD,
            METHOD.replace("1", "2"),
        ),
        ("import a\n\n@property\n# why\ndef f(self):\n    return 2\n", METHOD, "@property\n# why\ndef f(self):\n    return 2\n"),
        ("def f(self, x=None):\n    return 2\n", METHOD, "def f(self, x=None):\n    return 2\n"),
        ("f();\nvoid g() {\n  x();\n}\n\nint h;\n", "void g() {\n  y();\n}\n", "void g() {\n  x();\n}\n"),
        ("if a:\n    b()\nelse:\n    c()\nd()\n", "if a:\n    b()\nelse:\n    x()\n", "if a:\n    b()\nelse:\n    c()\nd()\n"),
        ("something else\n", METHOD, "something else\n"),
        ("x\n", "\n", "x\n"),
    ],
)
def test_what_was_only_repeated_from_around_is_left_out(new: str, old: str, expected: str) -> None:
    assert own_part(new, old) == expected


@pytest.mark.parametrize(
    ("span", "covered"),
    [
        (Span(0, 0), "ab\n"),
        (Span(1, 2), "ab\n"),
        (Span(1, 3), "ab\n"),
        (Span(1, 4), "ab\ncd\r\n"),
        (Span(3, 3), "cd\r\n"),
        (Span(8, 8), "ef"),
        (Span(9, 9), "ef"),
    ],
)
def test_a_span_grows_to_whole_lines(span: Span, covered: str) -> None:
    assert whole_lines("ab\ncd\r\nef", span).of("ab\ncd\r\nef") == covered


BLOCK = "x = 1\n\ndef f():\n    a()\n\n    b()\ny = 2\nz = 3\n"


def test_indentation_holds_a_block_together() -> None:
    at = BLOCK.index("b()")
    assert surrounding(BLOCK, Span(at, at + 3)).of(BLOCK) == "def f():\n    a()\n\n    b()\n"


def test_without_indentation_a_blank_line_ends_the_block() -> None:
    at = BLOCK.index("x")
    assert surrounding(BLOCK, Span(at, at)).of(BLOCK) == "x = 1\n"
    assert surrounding("a\nb\nc", Span(2, 3)).of("a\nb\nc") == "a\nb\nc"
    assert surrounding("", Span(0, 0)) == Span(0, 0)


def test_a_block_has_at_most_so_many_lines_on_each_side() -> None:
    text = "".join(f"line {n}\n" for n in range(30))
    at = text.index("line 15")
    assert surrounding(text, Span(at, at), most=2).of(text) == "".join(f"line {n}\n" for n in range(13, 18))


PROGRAM = "def f(a):\n    b = a\n    c = b\n    d = c\n    e = d\n    return e\n"


def refused(new: str, text: str = PROGRAM, language: str = "python") -> str | None:
    return refusal(text, minimal_edits(text, whole(text), new), whole(text), language)


def test_a_good_change_is_not_refused() -> None:
    assert refused(PROGRAM.replace("= d", "= d + 1")) is None


def test_nothing_but_blanks_is_refused() -> None:
    assert refused(PROGRAM) == "it changes nothing"
    assert refused(PROGRAM.replace("= d", "= d   ") + "\n\n") == "it changes nothing"


def test_more_syntax_errors_than_before_are_refused_with_the_parsers_words() -> None:
    reason = refused(PROGRAM.replace("return e", "return (e"))
    assert reason is not None
    assert reason.startswith(UNPARSABLE)
    assert "line 6" in reason


def test_as_many_syntax_errors_as_before_are_not_refused() -> None:
    broken = PROGRAM.replace("b = a", "b = (a")
    assert refused(broken.replace("return e", "return d"), broken) is None
    assert refused(PROGRAM, broken) is None


def test_deleting_most_of_a_region_is_refused() -> None:
    assert refused("def f(a):\n    return a\n") == "it deletes 4 of 6 lines"
    assert refused("import b\n", "import a\nimport b\n") is None


@pytest.mark.parametrize("comment", ["# ... rest of the code", "# existing code unchanged", "# ..."])
def test_code_left_out_behind_a_comment_is_refused(comment: str) -> None:
    assert refused(PROGRAM.replace("    d = c\n", f"    {comment}\n")) == "it leaves code out behind a comment"


def test_a_comment_that_was_there_is_not_held_against_the_change() -> None:
    text = PROGRAM.replace("    d = c\n", "    d = c  # ...\n")
    assert refused(text.replace("d = c ", "d = b "), text) is None


def test_without_a_grammar_syntax_is_not_asked() -> None:
    assert refused("((\n", "x\n", "cobol") is None
