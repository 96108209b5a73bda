from typing import Any

import pytest

from qwencoder_lsp.core.results import Finding, Severity
from qwencoder_lsp.core.text import Snapshot, Span, apply_edits
from qwencoder_lsp.errors import AnswerError, RequestError, StaleDocument
from qwencoder_lsp.features.fix import fix_diagnostic, fix_finding
from qwencoder_lsp.features.rewrite import region_at
from qwencoder_lsp.settings import Settings

CODE = "import os\n\n\nclass A:\n    def area(self, w, h):\n        total = w + h\n        return totl\n\n    def name(self):\n        return 'a'\n"
AREA = "def area(self, w, h):\n    total = w + h\n    return total\n"


def snapshot(text: str = CODE, language: str = "python") -> Snapshot:
    return Snapshot("file:///a.py", text, language)


def at(what: str, text: str = CODE) -> Span:
    return Span(text.index(what), text.index(what) + len(what))


def fenced(code: str) -> str:
    return f"```python\n{code}```"


async def fixed(gateway: Any, text: str = CODE, what: str = "totl", language: str = "python") -> str:
    fix = await fix_diagnostic(snapshot(text, language), at(what, text), f"undefined name '{what}'", "ruff", "F821", gateway, Settings())
    return apply_edits(text, fix.edits)


async def test_a_diagnostic_is_fixed_in_its_function_with_the_least_edit(scripted: Any) -> None:
    gateway = scripted(fenced(AREA))
    fix = await fix_diagnostic(snapshot(), at("totl"), "undefined name 'totl'", "ruff", "F821", gateway, Settings())
    assert apply_edits(CODE, fix.edits) == CODE.replace("totl", "total")
    assert [edit.text for edit in fix.edits] == ["a"]
    assert (fix.title, fix.model, fix.timings.generate) == ("Fix: undefined name 'totl'", "scripted", 2.0)


async def test_the_model_is_told_the_problem_the_line_the_code_and_what_is_around(scripted: Any) -> None:
    gateway = scripted(fenced(AREA))
    await fixed(gateway)
    (request,) = gateway.requests
    asked = request.messages[-1].content
    assert "undefined name 'totl' (ruff F821)" in asked
    assert "`return totl`" in asked
    assert "\ndef area(self, w, h):\n    total = w + h\n    return totl\n" in asked
    assert "import os" in asked
    assert "def name(self)" in asked
    assert request.priority == "CHAT"


async def test_crlf_is_kept_and_not_shown_to_the_model(scripted: Any) -> None:
    gateway = scripted(fenced(AREA))
    text = CODE.replace("\n", "\r\n")
    assert await fixed(gateway, text) == text.replace("totl", "total")
    assert "\r" not in gateway.requests[0].messages[-1].content


async def test_an_answer_at_another_indentation_is_moved(scripted: Any) -> None:
    text = CODE.replace("    ", "\t")
    assert await fixed(scripted(fenced(AREA)), text) == text.replace("totl", "total")


async def test_an_answer_that_does_not_parse_is_asked_for_again_with_the_parsers_words(scripted: Any) -> None:
    gateway = scripted(fenced(AREA.replace("w + h", "(w + h")), fenced(AREA))
    assert await fixed(gateway) == CODE.replace("totl", "total")
    first, again = gateway.requests
    assert again.messages[: len(first.messages)] == first.messages
    assert "it does not parse (line 6: '(' was never closed)" in again.messages[-1].content


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (fenced(AREA.replace("return total", "return (total")), "does not parse"),
        (fenced(AREA.replace("total\n", "totl\n")), "changes nothing"),
        ("Use total.", "no code block"),
        (fenced(AREA) + "…", "cut off"),
        (fenced("def area(self, w, h):\n    # ... existing code\n    return total\n"), "leaves code out"),
    ],
)
async def test_a_bad_answer_given_twice_is_refused_with_its_reason(scripted: Any, answer: str, reason: str) -> None:
    gateway = scripted(answer, answer)
    with pytest.raises(AnswerError, match=reason):
        await fixed(gateway)
    assert len(gateway.requests) == 2


async def test_an_answer_that_deletes_most_of_the_region_is_refused(scripted: Any) -> None:
    text = "def f(a):\n" + "".join(f"    b{n} = a\n" for n in range(8)) + "    return bb\n"
    answer = fenced("def f(a):\n    return a\n")
    with pytest.raises(AnswerError, match="deletes 8 of 10 lines"):
        await fixed(scripted(answer, answer), text, "bb")


async def test_a_document_that_did_not_parse_may_be_left_with_fewer_errors(scripted: Any) -> None:
    text = "def f(:\n    pass\n\n\ndef g(a):\n    return (a\n"
    gateway = scripted(fenced("def g(a):\n    return a\n"))
    fix = await fix_diagnostic(snapshot(text), at("(a\n", text), "'(' was never closed", "", "", gateway, Settings())
    assert apply_edits(text, fix.edits) == text.replace("(a\n", "a\n")


async def test_a_language_without_a_grammar_takes_the_lines_around(scripted: Any) -> None:
    text = "IF A\n    ADD 1 TO B.\n\nSTOP.\n"
    gateway = scripted("```\nIF A\n    ADD 1 TO C.\n```")
    assert await fixed(gateway, text, "B.", "cobol") == text.replace("B.", "C.")


def test_the_region_is_the_function_then_the_statement_then_the_line() -> None:
    lines = "".join(f"    x{n} = {n}\n" for n in range(100))
    text = f"def f():\n{lines}    y = [\n        z,\n    ]\n"
    assert region_at(snapshot(text), at("z,", text), 10_000).of(text) == text
    assert region_at(snapshot(text), at("z,", text), 500).of(text) == "    y = [\n        z,\n    ]\n"
    assert region_at(snapshot(text), at("z,", text), 15).of(text) == "        z,\n"
    assert region_at(snapshot(text), at("    y", text), 500).of(text) == "    y = [\n        z,\n    ]\n"
    with pytest.raises(RequestError):
        region_at(snapshot(text), at("z,", text), 5)


def finding(text: str = CODE, quote: str = "return totl", replacement: str | None = "return total") -> Finding:
    return Finding("1", "logic", Severity.ERROR, "The name is wrong.", quote, at(quote, text), replacement)


async def test_a_findings_own_replacement_is_used_without_asking_the_model(scripted: Any) -> None:
    gateway = scripted()
    fix = await fix_finding(snapshot(), finding(), gateway, Settings())
    assert apply_edits(CODE, fix.edits) == CODE.replace("totl", "total")
    assert [edit.text for edit in fix.edits] == ["a"]
    assert fix.title == "Fix: The name is wrong."
    assert gateway.requests == []


async def test_a_finding_is_found_again_when_text_above_it_was_added(scripted: Any) -> None:
    moved = "# new\n" + CODE
    fix = await fix_finding(snapshot(moved), finding(), scripted(), Settings())
    assert apply_edits(moved, fix.edits) == moved.replace("totl", "total")


async def test_a_finding_whose_code_is_gone_is_stale(scripted: Any) -> None:
    with pytest.raises(StaleDocument):
        await fix_finding(snapshot(CODE.replace("totl", "other")), finding(), scripted(), Settings())


@pytest.mark.parametrize("replacement", [None, "return (total", "return totl"])
async def test_without_a_replacement_that_verifies_the_model_is_asked(scripted: Any, replacement: str | None) -> None:
    gateway = scripted(fenced(AREA))
    fix = await fix_finding(snapshot(), finding(replacement=replacement), gateway, Settings())
    assert apply_edits(CODE, fix.edits) == CODE.replace("totl", "total")
    assert "The name is wrong." in gateway.requests[0].messages[-1].content


async def test_a_long_message_makes_a_short_title(scripted: Any) -> None:
    fix = await fix_diagnostic(snapshot(), at("totl"), "very long\n" * 40, "", "", scripted(fenced(AREA)), Settings())
    assert len(fix.title) <= 85
    assert "\n" not in fix.title
