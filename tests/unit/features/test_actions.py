from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from qwencoder_lsp.core.results import Finding, Severity
from qwencoder_lsp.core.text import Snapshot, Span, apply_edits
from qwencoder_lsp.errors import AnswerError, RequestError, StaleDocument
from qwencoder_lsp.features.commit_message import commit_message, shortened
from qwencoder_lsp.features.document import document
from qwencoder_lsp.features.explain import explain
from qwencoder_lsp.features.fix_all import Problem, fix_all
from qwencoder_lsp.features.generate_tests import generate_tests
from qwencoder_lsp.features.refactor import edit, offers, refactor
from qwencoder_lsp.settings import Settings

CODE = "import os\n\n\ndef area(w, h):\n    total = w * h\n    return total\n\n\ndef todo(a):\n    pass\n"
HERE, THERE = Span(CODE.index("total"), CODE.index("total")), Span(CODE.index("pass"), CODE.index("pass"))


def snapshot(text: str = CODE, language: str = "python", folder: Path | None = None) -> Snapshot:
    path = folder / "shape.py" if folder else None
    return Snapshot("file:///shape.py", text, language, str(path) if path else None, str(folder) if folder else None)


def real(folder: Path) -> Path:
    return folder.resolve()


def fenced(code: str) -> str:
    return f"```python\n{code}```"


def test_what_makes_sense_for_a_function_is_offered() -> None:
    assert offers(snapshot(), HERE) == {
        "fix": "Find and fix bugs in area", "simplify": "Simplify area", "types": "Add types to area", "optimise": "Optimise area",
    }  # fmt: skip
    assert offers(snapshot(), THERE) == {"implement": "Implement todo", "types": "Add types to todo"}
    assert offers(snapshot(), Span(0, 0)) == {}


async def test_a_refactoring_rewrites_the_function_at_the_cursor(scripted: Any) -> None:
    gateway = scripted(fenced("def area(w, h):\n    return w * h\n"))
    fix = await refactor(snapshot(), HERE, "simplify", gateway, Settings())
    assert apply_edits(CODE, fix.edits) == CODE.replace("    total = w * h\n    return total\n", "    return w * h\n")
    assert (fix.title, fix.calls) == ("Simplify area", 1)


async def test_a_selection_is_rewritten_and_nothing_around_it(scripted: Any) -> None:
    line = Span(CODE.index("total = w"), CODE.index("total = w") + 5)
    gateway = scripted(fenced("total = h * w\n"))
    fix = await edit(snapshot(), line, "swap the factors", gateway, Settings())
    assert apply_edits(CODE, fix.edits) == CODE.replace("w * h", "h * w")
    assert "Instruction: swap the factors" in gateway.requests[0].messages[-1].content


@pytest.mark.parametrize("words", ["", "  \n", "x" * 2001])
async def test_an_instruction_of_no_or_too_many_words_is_refused(scripted: Any, words: str) -> None:
    with pytest.raises(RequestError):
        await edit(snapshot(), HERE, words, scripted(), Settings())


async def test_an_unknown_refactoring_is_refused(scripted: Any) -> None:
    with pytest.raises(RequestError, match="not a refactoring"):
        await refactor(snapshot(), HERE, "destroy", scripted(), Settings())


async def test_a_name_that_nothing_defines_is_asked_about_once_and_then_refused(scripted: Any) -> None:
    wrong = fenced("def area(w, h):\n    return multiply(w, h)\n")
    gateway = scripted(wrong, wrong)
    with pytest.raises(AnswerError, match=r"names that nothing defines \(multiply\)"):
        await refactor(snapshot(), HERE, "simplify", gateway, Settings())
    assert "multiply" in gateway.requests[1].messages[-1].content


async def test_an_import_that_the_answer_brings_is_added_at_the_head(scripted: Any) -> None:
    gateway = scripted(fenced("import math\n\ndef area(w, h):\n    return math.prod((w, h))\n"))
    fix = await refactor(snapshot(), HERE, "simplify", gateway, Settings())
    after = apply_edits(CODE, fix.edits)
    assert after.startswith("import os\nimport math\n\n\ndef area(w, h):\n    return math.prod((w, h))\n")


async def test_types_may_change_nothing_but_types(scripted: Any) -> None:
    typed = fenced("def area(w: int, h: int) -> int:\n    total: int = w * h\n    return total\n")
    other = fenced("def area(w: int, h: int) -> int:\n    return w * h\n")
    fix = await refactor(snapshot(), HERE, "types", scripted(other, typed), Settings())
    assert "def area(w: int, h: int) -> int:\n    total: int = w * h\n" in apply_edits(CODE, fix.edits)
    assert fix.calls == 2


async def test_code_that_is_too_long_to_be_rewritten_is_refused_before_anything_is_asked(scripted: Any) -> None:
    long = "x = 1\n" * 5000
    with pytest.raises(RequestError, match="too much code"):
        await edit(snapshot(long), Span(0, len(long)), "do", scripted(), Settings())


async def test_documentation_is_asked_for_in_the_convention_of_the_file(scripted: Any) -> None:
    text = CODE.replace("def todo(a):\n", 'def todo(a):\n    """Do it.\n\n    Args:\n        a: any.\n    """\n')
    gateway = scripted(fenced('def area(w, h):\n    """Return the area."""\n    return 0\n'))
    fix = await document(snapshot(text), HERE, gateway, Settings())
    asked = gateway.requests[0].messages[-1].content
    assert "in Google's style" in asked
    assert "Do it." in asked
    assert apply_edits(text, fix.edits) == text.replace("(w, h):\n", '(w, h):\n    """Return the area."""\n')


async def test_without_words_documentation_is_asked_for_once_more_and_then_given_up(scripted: Any) -> None:
    gateway = scripted(fenced("def area(w, h):\n    return w\n"), "no")
    with pytest.raises(AnswerError, match="no documentation"):
        await document(snapshot(), HERE, gateway, Settings())
    assert len(gateway.requests) == 2
    with pytest.raises(RequestError):
        await document(snapshot(), Span(0, 0), scripted(), Settings())


TESTS = "from shape import area\n\n\ndef test_area():\n    assert area(2, 3) == 6\n"


async def test_tests_are_for_the_file_that_the_project_has_for_them(scripted: Any, tmp_path: Path) -> None:
    gateway = scripted(fenced(TESTS))
    made = await generate_tests(snapshot(folder=tmp_path), HERE, lambda _: None, gateway, Settings())
    assert (made.path, made.new, made.after, made.framework) == (real(tmp_path) / "test_shape.py", True, TESTS, "pytest")
    asked = gateway.requests[0].messages[-1].content
    assert "with pytest" in asked
    assert "`from shape import ...`" in asked


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (fenced("def test(:\n"), "does not parse"),
        (fenced("def test_a():\n    assert area(1, 2)\n"), "nothing defines"),
        (fenced("def test_a():\n    pass\n"), "checks nothing"),
        ("none", "no code block"),
        (fenced(TESTS) + "…", "cut off"),
    ],
)
async def test_tests_that_cannot_be_used_are_asked_for_once_more_and_then_refused(scripted: Any, tmp_path: Path, answer: str, reason: str) -> None:
    gateway = scripted(answer, answer)
    with pytest.raises(AnswerError, match=reason):
        await generate_tests(snapshot(folder=tmp_path), HERE, lambda _: None, gateway, Settings())
    assert len(gateway.requests) == 2


async def test_a_file_without_a_project_has_no_place_for_tests(scripted: Any) -> None:
    with pytest.raises(RequestError, match="no known place"):
        await generate_tests(snapshot(), HERE, lambda _: None, scripted(), Settings())


async def test_an_explanation_grows_as_it_is_written(scripted: Any) -> None:
    told: list[str] = []
    answer = await explain(snapshot(), HERE, scripted("It multiplies."), Settings(), grown=told.append)
    assert answer.text == told[-1] == "It multiplies."
    assert len(told) > 1
    assert all(later.startswith(earlier) for earlier, later in pairwise(told))


async def test_a_problem_is_explained_with_its_words(scripted: Any) -> None:
    gateway = scripted("Because.")
    await explain(snapshot(), HERE, gateway, Settings(), problem="unused variable 'total'")
    assert "unused variable 'total'" in gateway.requests[0].messages[-1].content
    with pytest.raises(AnswerError):
        await explain(snapshot(), HERE, scripted(" "), Settings())
    with pytest.raises(RequestError):
        await explain(snapshot("x = 1\n" * 9000), Span(0, 50_000), scripted(), Settings())


BAD = "def f(a):\n    return aa\n\n\ndef g(b):\n    return bb\n"


def problem(name: str) -> Problem:
    return Problem(Span(BAD.index(name), BAD.index(name) + 2), f"undefined name '{name}'", "pyflakes", "F821")


async def test_all_problems_are_fixed_from_the_end_to_the_start_in_one_set_of_edits(scripted: Any) -> None:
    finding = Finding("1", "logic", Severity.ERROR, "wrong", "return aa", Span(14, 23), "return a")
    gateway, told = scripted(fenced("def g(b):\n    return b\n")), list[int]()
    repair = await fix_all(snapshot(BAD), [finding, problem("bb")], gateway, Settings(), told.append)
    assert apply_edits(BAD, repair.fix.edits) == BAD.replace("aa", "a").replace("bb", "b")
    assert (repair.fixed, repair.problems, repair.fix.calls, told) == (2, 2, 1, [1, 2])


async def test_a_problem_that_cannot_be_fixed_is_left_and_the_others_are_fixed(scripted: Any) -> None:
    gateway = scripted("no", "no", fenced("def f(a):\n    return a\n"))
    repair = await fix_all(snapshot(BAD), [problem("aa"), problem("bb")], gateway, Settings())
    assert apply_edits(BAD, repair.fix.edits) == BAD.replace("aa", "a")
    assert (repair.fixed, repair.problems) == (1, 2)
    with pytest.raises(AnswerError):
        await fix_all(snapshot(BAD), [problem("bb")], scripted("no", "no"), Settings())


async def test_a_second_problem_in_code_that_was_just_rewritten_is_not_fixed_twice(scripted: Any) -> None:
    twice = [problem("bb"), Problem(problem("bb").span, "again")]
    repair = await fix_all(snapshot(BAD), twice, scripted(fenced("def g(b):\n    return b\n")), Settings())
    assert (repair.fixed, repair.problems) == (1, 2)


async def test_a_commit_message_is_tidied_and_tells_what_was_not_looked_at(scripted: Any) -> None:
    message = "```\nAdd it.\n\nIt was missing.\n```"
    assert await commit_message("diff --git a/x b/x\n+x\n", None, scripted(message), Settings()) == ("Add it\n\nIt was missing.", 0)
    long = "diff --git a/x b/x\n" + "+line\n" * 9000
    text, unseen = await commit_message(long, None, scripted("Add it"), Settings())
    assert text == "Add it"
    assert unseen > 0
    with pytest.raises(RequestError):
        await commit_message(" ", None, scripted(), Settings())
    with pytest.raises(AnswerError):
        await commit_message("+x", None, scripted(" "), Settings())


def test_a_long_diff_keeps_the_start_of_every_file() -> None:
    diff = "".join(f"diff --git a/{name} b/{name}\n" + f"+{name}\n" * 1000 for name in "ab")
    short = shortened(diff, 500)
    assert len(short) <= 500
    assert short.count("diff --git") == 2
    assert short.endswith("\n")


async def test_a_request_that_a_newer_one_replaced_is_stale(scripted: Any) -> None:
    class Replaced:
        async def chat(self, request: Any) -> Any:
            from qwencoder_lsp.gateway.protocol import End

            yield End("superseded")

    with pytest.raises(StaleDocument):
        await explain(snapshot(), HERE, Replaced(), Settings())  # type: ignore[arg-type]  # all that is asked of it
