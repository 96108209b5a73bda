from __future__ import annotations

import json
from typing import Any

from qwencoder_lsp.core.report import Reason, Usage
from qwencoder_lsp.observe import trace
from qwencoder_lsp.observe.trace import Trace, Traces


def test_the_newest_records_come_first_and_are_json() -> None:
    traces = Traces()
    for number in range(3):
        traces.add(Trace(str(number), "inline", Reason.SHOWN, usage=Usage(prompt=number)))
    last = traces.last(2)
    assert [record["id"] for record in last] == ["2", "1"]
    assert json.loads(json.dumps(last))[0]["usage"]["prompt"] == 2
    assert last[0]["reason"] == "shown"


def test_only_so_many_records_are_kept_but_all_are_counted() -> None:
    traces = Traces()
    for _ in range(trace.KEPT + 1):
        traces.add(Trace("-", "inline", Reason.EMPTY))
    traces.count("accepted", "inline", "python")
    assert len(traces.last(10_000)) == trace.KEPT
    assert traces.counts() == {"inline: model had nothing to add": trace.KEPT + 1, "accepted": 1}


def test_the_latest_answer_is_of_the_feature_that_was_asked_for_and_was_not_overtaken() -> None:
    traces = Traces()
    traces.add(Trace("-", "inline", Reason.UNSURE, model="m", total_ms=12.0))
    traces.add(Trace("-", "inline", Reason.SUPERSEDED))
    traces.add(Trace("-", "review", Reason.SHOWN))
    last = traces.last_answer("inline")
    assert last
    assert (last["reason"], last["model"], last["total_ms"]) == (Reason.UNSURE.value, "m", 12.0)
    assert traces.last_answer("menu") is None


def test_no_number_of_records_is_too_strange_to_ask_for() -> None:
    traces = Traces()
    traces.add(Trace("a", "inline", Reason.SHOWN))
    assert traces.last(0) == []
    assert traces.last(-1) == []


class Kept:
    """A record of `size` code points."""

    def __init__(self, size: int) -> None:
        self.size = size

    def as_json(self) -> dict[str, Any]:
        return {"size": self.size}


def added(traces: Traces, size: int) -> str:
    made = Trace("-", "inline", Reason.SHOWN)
    traces.add(made, Kept(size))
    return made.request


def record(traces: Traces, request: str) -> object:
    entry = traces.entry(request)
    assert entry is not None
    return entry["record"]


def test_records_go_with_the_oldest_first_by_number_and_by_size_and_the_newest_always_stays() -> None:
    traces = Traces()
    first = added(traces, 1)
    assert record(traces, first) == {"size": 1}
    others = [added(traces, 1) for _ in range(trace.RECORDS)]
    assert record(traces, first) is None
    assert record(traces, others[0]) == {"size": 1}
    huge = added(traces, 2 * trace.RECORDED)
    assert record(traces, others[-1]) is None
    assert record(traces, huge) == {"size": 2 * trace.RECORDED}
    assert traces.entry("unknown") is None


def test_the_latest_empty_answer_is_told_with_its_reason() -> None:
    traces = Traces()
    assert traces.last_silence() is None
    traces.add(Trace("-", "inline", Reason.MID_WORD))
    traces.add(Trace("a", "inline", Reason.SHOWN))
    found = traces.last_silence()
    assert found is not None
    assert (found["feature"], found["reason"]) == ("inline", "the cursor is inside a word")


def test_what_is_to_be_saved_is_what_has_a_record() -> None:
    traces, saved = Traces(), list[trace.Entry]()
    traces.save = saved.append
    traces.add(Trace("-", "inline", Reason.MID_WORD))
    request = added(traces, 3)
    assert [(entry["request"], entry["record"]) for entry in saved] == [(request, {"size": 3})]
