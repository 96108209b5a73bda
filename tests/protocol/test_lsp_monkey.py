"""Twenty seconds of the benchmark `monkey`: random typing in three encodings through a raw client."""

from __future__ import annotations

from pathlib import Path

from tests.bench.monkey.run import run


def test_random_typing_gets_every_answer_for_the_version_that_it_was_asked_for(home: Path) -> None:
    result = run(home, 20 / 60)
    assert not result.faults, result.table()
    assert result.counts["textDocument/inlineCompletion: a suggestion"] > 0 < result.counts["replays"]
