"""How much of an answer of several lines is shown to somebody who did not ask."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qwencoder_lsp.core.report import Reason, Timings
from qwencoder_lsp.core.results import Completion
from qwencoder_lsp.core.text import Snapshot
from qwencoder_lsp.features.ask import Answer
from qwencoder_lsp.features.complete import _left
from qwencoder_lsp.features.show import show
from qwencoder_lsp.postprocess.scope import Scope
from qwencoder_lsp.settings import load

# The log-probability of each line behind the first one is -1.
LINES = Answer("a()\nb()\nc()\nd()", "lines", logprobs=(-0.1, -0.1), line_ends=((3, 0.0), (7, -1.0), (11, -2.0), (15, -3.0)))


def shown(answer: Answer, eagerness: str = "balanced", *, explicit: bool = False) -> Completion:
    settings = load(command_line={"completion": {"eagerness": eagerness}}, strict=True)[0]
    snapshot = Snapshot("file:///w/a.py", "def f():\n    ", "python")
    return show(snapshot, len(snapshot.text), answer, settings, None, Scope.CODE, Timings(), explicit=explicit)


def text(completion: Completion) -> str:
    assert completion.suggestion is not None, completion.reason
    return completion.suggestion.text


@pytest.mark.parametrize(("eagerness", "wanted"), [("quiet", "a()"), ("balanced", "a()\nb()"), ("eager", LINES.text)])
def test_lines_are_shown_as_far_as_they_are_probable(eagerness: str, wanted: str) -> None:
    completion = shown(LINES, eagerness)
    assert text(completion) == wanted
    assert [(step.name, step.after) for step in completion.steps] == ([("unsure lines", len(wanted))] if wanted != LINES.text else [])


@pytest.mark.parametrize("ended", ["stop_token", "suffix"])
def test_what_the_model_ended_by_itself_is_shown_whole(ended: str) -> None:
    assert text(shown(replace(LINES, reason=ended))) == LINES.text


def test_who_asks_sees_everything() -> None:
    assert text(shown(LINES, explicit=True)) == LINES.text


def test_who_types_a_line_sees_the_lines_that_are_probable_behind_it() -> None:
    for rest, wanted in (("()\nb()\nc()\nd()", "()\nb()"), ("b()\nc()\nd()", "b()\nc()"), ("c()\nd()", "c()\nd()"), ("d()", "d()")):
        assert text(shown(_left(LINES, rest))) == wanted


def test_prose_that_ends_before_its_first_word_has_a_reason() -> None:
    completion = shown(Answer("", "unsure_word", logprobs=(-3.0,)))
    assert (completion.suggestion, completion.reason) == (None, Reason.UNSURE)
