"""The parts of the requirements bench that judge."""

from __future__ import annotations

from pathlib import Path

from tests.bench.asked import Records
from tests.bench.fim.judge import passes
from tests.bench.report import Report
from tests.bench.requirements.coding import Item, compare

ITEM = Item(
    "x/0", 'from typing import List\n\n\ndef add(a: int, b: int) -> int:\n    """Add."""\n', "def check(f):\n    assert f(1, 2) == 3\n", "add"
)


def test_the_code_of_an_answer_is_run_with_the_imports_of_its_question() -> None:
    right = "Sure:\n```python\ndef add(a: int, b: int) -> int:\n    x: List[int] = [a, b]\n    return sum(x)\n```\nDone."
    assert passes(ITEM.program(right))
    assert not passes(ITEM.program(right.replace("sum(x)", "0")))
    assert not passes(ITEM.program("I do not know."))
    assert not passes(ITEM.program("")), "the head alone is no answer"


def test_code_that_broke_off_or_stands_alone_is_run_as_it_is() -> None:
    assert passes(ITEM.program("```python\ndef add(a, b):\n    return a + b\n"))
    assert passes(ITEM.program("def add(a, b):\n    return a + b\n"))


def judged(ours: str, peer: str) -> Report:
    items = [Item(str(i), "", "", "") for i in range(len(ours))]
    records, report = Records(None), Report("t")
    for side, marks in (("ours", ours), ("peer", peer)):
        for item, mark in zip(items, marks, strict=True):
            records.put(f"{side} {item.id}", {"passed": mark == "+"})
    compare(items, records, report)
    return report


def test_fewer_right_answers_are_missed_only_when_chance_does_not_explain_them() -> None:
    assert judged("-+++", "++++").figures[-1].verdict == "met"
    assert judged("-" * 8, "+" * 8).figures[-1].verdict == "MISSED"
    assert judged("+" * 8, "-" * 8).figures[-1].verdict == "met"


def test_a_figure_that_cannot_be_measured_here_says_why_and_is_not_missed(tmp_path: Path) -> None:
    report = Report("t")
    report.lack("tokens/s, GPU", "", "needs a GPU", 20, "min")
    report.add("start", 61, "s", 1, 60, "max")
    assert [figure.verdict for figure in report.figures] == ["needs a GPU", "MISSED"]
    assert "needs a GPU" in report.table()
