from __future__ import annotations

import json

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
    traces.count("accepted")
    assert len(traces.last(10_000)) == trace.KEPT
    assert traces.counts() == {"inline: model had nothing to add": trace.KEPT + 1, "accepted": 1}


def test_no_number_of_records_is_too_strange_to_ask_for() -> None:
    traces = Traces()
    traces.add(Trace("a", "inline", Reason.SHOWN))
    assert traces.last(0) == []
    assert traces.last(-1) == []
