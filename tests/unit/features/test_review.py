import asyncio
import json
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

import pytest

from qwencoder_lsp.core.results import Severity
from qwencoder_lsp.core.text import Edit, Snapshot, Span, apply_edits
from qwencoder_lsp.errors import EngineCrashed, StaleDocument
from qwencoder_lsp.features import review as features_review
from qwencoder_lsp.features.review_changes import regions, review_changes
from qwencoder_lsp.gateway.protocol import ChatRequest, End, Event, Piece, Start
from qwencoder_lsp.settings import Settings

review = partial(features_review.review, refute=False)

CODE = "def area(w, h):\n    return w + h\n\n\ndef first(xs):\n    return xs[1]\n"
FIXED = CODE.replace("w + h", "w * h").replace("xs[1]", "xs[0]")


def snapshot(text: str = CODE, language: str = "python") -> Snapshot:
    return Snapshot("file:///a.py", text, language)


def fenced(code: str) -> str:
    return f"Here it is:\n```python\n{code}```\n"


def explained(*quotes: str, **fields: str) -> str:
    finding = {"message": "it is wrong", "category": "logic", "severity": "error", **fields}
    return json.dumps({"findings": [{"quote": quote, **finding} for quote in quotes]})


def settings(**review_settings: int) -> Settings:
    return Settings.model_validate({"review": review_settings})


async def test_what_the_model_changes_and_explains_is_a_finding(scripted: Any) -> None:
    gateway = scripted(fenced(FIXED), explained("return w + h", "return xs[1]"))
    result = await review(snapshot(), gateway, Settings())
    assert [(f.quote, f.replacement, f.message, f.category, f.severity) for f in result.findings] == [
        ("return w + h", "return w * h", "it is wrong", "logic", Severity.ERROR),
        ("return xs[1]", "return xs[0]", "it is wrong", "logic", Severity.ERROR),
    ]
    assert all(f.span.of(CODE) == f.quote for f in result.findings)
    assert apply_edits(CODE, [Edit(f.span, f.replacement or "") for f in result.findings]) == FIXED
    assert len({f.id for f in result.findings}) == 2
    assert result.dropped == {}
    assert (result.model, result.usage.prompt, result.timings.generate) == ("scripted", 20, 4.0)


async def test_the_explanations_are_asked_for_under_a_schema_in_the_same_conversation(scripted: Any) -> None:
    gateway = scripted(fenced(FIXED), explained("return w + h", "return xs[1]"))
    await review(snapshot(), gateway, Settings())
    rewrite, explain = gateway.requests
    assert rewrite.json_schema is None
    assert explain.messages[: len(rewrite.messages)] == rewrite.messages
    quotes = [item["properties"]["quote"]["const"] for item in json.loads(explain.json_schema)["properties"]["findings"]["prefixItems"]]
    assert quotes == ["return w + h", "return xs[1]"]
    assert {request.priority for request in gateway.requests} == {"REVIEW"}
    assert {request.temperature for request in gateway.requests} == {0.0}


async def test_code_that_comes_back_as_it_was_has_no_findings_and_one_request(scripted: Any) -> None:
    gateway = scripted(fenced(CODE))
    result = await review(snapshot(), gateway, Settings())
    assert result.findings == ()
    assert result.dropped == {}
    assert len(gateway.requests) == 1


async def test_changes_of_blanks_and_comments_are_no_findings(scripted: Any) -> None:
    gateway = scripted(fenced(CODE.replace("w + h", "w+h  # sum").replace("\n\n\n", "\n\n")))
    result = await review(snapshot(), gateway, Settings())
    assert result.findings == ()
    assert set(result.dropped) == {"changes no code"}


async def test_a_change_that_does_not_parse_is_dropped(scripted: Any) -> None:
    gateway = scripted(fenced(CODE.replace("w + h", "(w * h")))
    result = await review(snapshot(), gateway, Settings())
    assert result.findings == ()
    assert result.dropped == {"replacement refused: it does not parse": 1}


async def test_a_change_that_parses_only_with_another_keeps_its_message_without_a_replacement(scripted: Any) -> None:
    code = "x = (\n    a +\n    b\n)\n"
    gateway = scripted(fenced("x = [\n    a +\n    b\n]\n"), explained("x = (", ")"))
    result = await review(snapshot(code), gateway, Settings())
    assert [(f.quote, f.message, f.replacement) for f in result.findings] == [("x = (", "it is wrong", None), (")", "it is wrong", None)]


async def test_a_missing_line_is_shown_at_the_line_above_it(scripted: Any) -> None:
    code = "def f(a):\n    b = a + 1\n"
    gateway = scripted(fenced(code + "    return b\n"), explained("b = a + 1"))
    (finding,) = (await review(snapshot(code), gateway, Settings())).findings
    assert finding.quote == "b = a + 1"
    assert apply_edits(code, [Edit(finding.span, finding.replacement or "")]) == code + "    return b\n"


async def test_removed_lines_are_a_finding_with_an_empty_replacement(scripted: Any) -> None:
    code = "a()\nb()\nb()\nc()\nd()\n"
    gateway = scripted(fenced("a()\nb()\nc()\nd()\n"), explained("b()"))
    (finding,) = (await review(snapshot(code), gateway, Settings())).findings
    assert apply_edits(code, [Edit(finding.span, finding.replacement or "")]) == "a()\nb()\nc()\nd()\n"


async def test_deleting_most_of_the_code_is_no_finding(scripted: Any) -> None:
    code = "".join(f"x{n} = {n}\n" for n in range(10))
    result = await review(snapshot(code), scripted(fenced("x0 = 0\n")), Settings())
    assert result.dropped == {"replacement refused: too much is deleted or left out": 1}


async def test_explanations_of_other_code_and_twice_and_without_words_are_dropped_and_counted(scripted: Any) -> None:
    answer = {
        "findings": [
            {"quote": "return w - h", "message": "m", "category": "logic", "severity": "error"},
            {"quote": "return  w+h", "message": "m", "category": "logic", "severity": "error"},
            {"quote": "return w + h", "message": "m", "category": "logic", "severity": "error"},
            {"quote": "return xs[1]", "message": " ", "category": "logic", "severity": "error"},
        ]
    }
    result = await review(snapshot(), scripted(fenced(FIXED), json.dumps(answer)), Settings())
    assert [f.quote for f in result.findings] == ["return w + h"]
    assert result.dropped == {"quote not found": 1, "duplicate": 1, "no message": 1, "not explained": 1}


async def test_an_explanation_that_was_cut_off_keeps_the_complete_findings(scripted: Any) -> None:
    answer = explained("return w + h", "return xs[1]")
    gateway = scripted(fenced(FIXED), answer[: answer.index("xs[1]")] + "…")
    result = await review(snapshot(), gateway, Settings())
    assert [f.quote for f in result.findings] == ["return w + h"]
    assert result.dropped == {"not explained": 1}


async def test_code_that_was_cut_off_keeps_the_changes_before_the_cut(scripted: Any) -> None:
    gateway = scripted(fenced(FIXED)[: fenced(FIXED).index("[0]")] + "…", explained("return w + h"))
    result = await review(snapshot(), gateway, Settings())
    assert [f.quote for f in result.findings] == ["return w + h"]
    assert result.dropped == {"answer cut off": 1}


@pytest.mark.parametrize("answer", ["The code is fine.", "```python\n```", ""])
async def test_an_answer_without_code_is_counted(scripted: Any, answer: str) -> None:
    result = await review(snapshot(), scripted(answer), Settings())
    assert result.dropped == {"no code in the answer": 1}


async def test_crlf_and_tabs_survive(scripted: Any) -> None:
    code = "func f(w, h int) int {\r\n\treturn w + h\r\n}\r\n"
    gateway = scripted("```go\nfunc f(w, h int) int {\n\treturn w * h\n}\n```", explained("return w + h"))
    (finding,) = (await review(snapshot(code, "go"), gateway, Settings())).findings
    assert "\r" not in gateway.requests[0].messages[-1].content
    assert (finding.quote, finding.replacement) == ("return w + h", "return w * h")


async def test_a_language_without_a_grammar_is_reviewed_too(scripted: Any) -> None:
    gateway = scripted("```\nADD 2 TO X.\n```", explained("ADD 1 TO X."))
    (finding,) = (await review(snapshot("ADD 1 TO X.\n", "cobol"), gateway, Settings())).findings
    assert finding.replacement == "ADD 2 TO X."


async def test_only_the_selected_lines_are_reviewed(scripted: Any) -> None:
    at = CODE.index("xs[1]")
    gateway = scripted(fenced("    return xs[0]\n"), explained("return xs[1]"))
    (finding,) = (await review(snapshot(), gateway, Settings(), Span(at, at + 2))).findings
    assert "area" not in gateway.requests[0].messages[-1].content
    assert finding.span.of(CODE) == "return xs[1]"


async def test_a_long_text_is_reviewed_in_windows_that_end_between_functions(scripted: Any) -> None:
    parts = [f"def f{n}(a, b):\n    total = a + b\n    return total + {n}\n" for n in range(40)]
    text = "\n\n".join(parts)
    gateway = scripted(*(["```python\n```"] * 40))
    result = await review(snapshot(text), gateway, settings(max_tokens=256))
    assert result.parts == len(gateway.requests)
    windows = [request.messages[-1].content.split("```python\n")[1].split("\n```")[0] for request in gateway.requests]
    assert len(windows) > 3
    assert all(window.startswith("def f") and "return" in window.splitlines()[-1] for window in windows)
    assert "\n\n\n".join(windows) + "\n" == text
    assert result.dropped == {"no code in the answer": len(windows)}


async def test_imports_that_the_model_puts_before_a_later_window_are_no_finding(scripted: Any) -> None:
    text = "import os\n\n\n" + CODE
    at = text.index("def first")
    gateway = scripted(fenced("import os\n\n\n" + FIXED[FIXED.index("def first") :]), explained("return xs[1]"))
    (finding,) = (await review(snapshot(text), gateway, Settings(), Span(at, len(text)))).findings
    assert finding.replacement == "return xs[0]"


async def test_an_import_that_is_missing_at_the_start_is_a_finding(scripted: Any) -> None:
    gateway = scripted(fenced("import os\n" + CODE), explained("def area(w, h):"))
    (finding,) = (await review(snapshot(), gateway, Settings())).findings
    assert finding.replacement == "import os\ndef area(w, h):"


async def test_the_same_change_in_two_overlapping_windows_is_one_finding(scripted: Any) -> None:
    body = "".join(f"    x{n} = use(x{n - 1})\n" for n in range(60))
    text = "def f():\n" + body
    first = await review(snapshot(text), seen := scripted(*["```\n```"] * 9), settings(max_tokens=256))
    windows = [request.messages[-1].content.split("```python\n")[1].split("\n```")[0] for request in seen.requests]
    shared = windows[1].splitlines()[3]
    assert shared in windows[0]
    fix = shared.replace("use(", "use(-")
    answers = [answer for window in windows for answer in _with_fix(window, shared, fix)]
    result = await review(snapshot(text), scripted(*answers), settings(max_tokens=256))
    assert [f.replacement for f in result.findings] == [fix.strip()]
    assert result.dropped == {"duplicate": 1}
    assert not first.findings


def _with_fix(window: str, line: str, fix: str) -> list[str]:
    if line not in window.splitlines():
        return [fenced(window + "\n")]
    return [fenced(window.replace(line, fix) + "\n"), explained(line.strip())]


async def test_no_more_findings_than_asked_for_and_the_rest_is_counted(scripted: Any) -> None:
    gateway = scripted(fenced(FIXED), explained("return w + h", "return xs[1]"))
    result = await review(snapshot(), gateway, settings(max_findings=1))
    assert [f.quote for f in result.findings] == ["return w + h"]
    assert result.dropped == {"more than review.max_findings": 1}


@pytest.mark.parametrize("text", ["", "\n \n"])
async def test_an_empty_document_asks_nothing(scripted: Any, text: str) -> None:
    gateway = scripted()
    assert (await review(snapshot(text), gateway, Settings())).findings == ()
    assert gateway.requests == []


async def test_a_line_that_no_window_can_hold_is_counted(scripted: Any) -> None:
    gateway = scripted()
    result = await review(snapshot("x = '" + "y" * 10_000 + "'\n"), gateway, Settings())
    assert result.dropped == {"line too long to review": 1}
    assert gateway.requests == []


class Endless:
    """A gateway whose answer never ends, or ends for another reason."""

    def __init__(self, end: str | None = None) -> None:
        self.end = end
        self.closed = False
        self.begun = asyncio.Event()

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        try:
            yield Start("m", End("").usage, 0.0)
            yield Piece("x")
            self.begun.set()
            if self.end == "crash":
                raise EngineCrashed("The engine ended.")
            if self.end:
                yield End(self.end)
            else:
                await asyncio.Event().wait()
        finally:
            self.closed = True

    def complete(self, request: Any) -> AsyncGenerator[Event, None]:
        raise AssertionError


async def test_cancelling_a_review_closes_the_stream() -> None:
    gateway = Endless()
    task = asyncio.create_task(review(snapshot(), gateway, Settings()))
    await gateway.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gateway.closed


async def test_a_newer_review_of_the_document_ends_this_one() -> None:
    with pytest.raises(StaleDocument):
        await review(snapshot(), Endless("superseded"), Settings())


async def test_errors_of_the_gateway_reach_the_caller() -> None:
    with pytest.raises(EngineCrashed):
        await review(snapshot(), Endless("crash"), Settings())


async def test_changes_that_the_model_takes_back_are_neither_explained_nor_shown(scripted: Any) -> None:
    half = CODE.replace("w + h", "w * h")
    gateway = scripted(fenced(FIXED), fenced(half), explained("return w + h"))
    result = await features_review.review(snapshot(), gateway, Settings())
    assert [f.quote for f in result.findings] == ["return w + h"]
    assert result.dropped == {"refuted": 1}
    assert [span.of(CODE) for span in result.refuted] == ["return xs[1]"]
    rewrite, refute, explain = gateway.requests
    assert "return w * h" in refute.messages[-1].content
    assert explain.messages[: len(rewrite.messages)] == rewrite.messages
    assert "return xs[1]\n+" not in explain.messages[-1].content


async def test_when_all_is_taken_back_nothing_is_explained(scripted: Any) -> None:
    gateway = scripted(fenced(FIXED), fenced(CODE))
    result = await features_review.review(snapshot(), gateway, Settings())
    assert (result.findings, result.dropped, len(gateway.requests)) == ((), {"refuted": 2}, 2)


@pytest.mark.parametrize("answer", ["I think", fenced(FIXED), fenced(CODE) + "…"])
async def test_an_answer_without_code_the_same_code_or_half_of_it_refutes_nothing(scripted: Any, answer: str) -> None:
    gateway = scripted(fenced(FIXED), answer, explained("return w + h", "return xs[1]"))
    assert len((await features_review.review(snapshot(), gateway, Settings())).findings) == 2


async def test_a_change_that_uses_a_name_that_nothing_defines_is_dropped(scripted: Any) -> None:
    gateway = scripted(fenced(CODE.replace("w + h", "w * height")))
    assert (await review(snapshot(), gateway, Settings())).dropped == {"replacement refused: it uses names that nothing defines": 1}


async def test_a_review_of_a_change_keeps_findings_on_changed_lines_and_shows_the_function_around_them(scripted: Any) -> None:
    text = CODE.replace("    return w + h\n", "    w = w + 0\n    return w + h\n")
    at = text.index("    return w + h")
    answer = "def area(w, h):\n    w = w\n    return w * h\n"
    gateway = scripted(fenced(answer), "", explained("w = w + 0", "return w + h"))
    result = await review_changes(snapshot(text), [Span(at, at + 17)], gateway, Settings())
    assert [f.quote for f in result.findings if "return" in f.quote or f.span.end > at]
    assert "xs[1]" not in gateway.requests[0].messages[-1].content
    assert "w = w + 0" in gateway.requests[0].messages[-1].content


def test_the_regions_of_a_change_do_not_overlap_and_hold_whole_functions() -> None:
    first, second = CODE.index("return w"), CODE.index("return xs")
    assert [span.of(CODE) for span in regions(snapshot(), [Span(first, first + 3)])] == ["def area(w, h):\n    return w + h\n"]
    assert len(regions(snapshot(), [Span(first, first + 3), Span(second, second + 3)])) == 2
    assert [span.of(CODE) for span in regions(snapshot(), [Span(first, second)])] == [CODE]
    assert regions(snapshot("\n\n"), [Span(0, 1)]) == []
