"""Two minutes of mixed requests, with clients that go, engines that are killed and models that change."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import soak

pytestmark = pytest.mark.model


@pytest.mark.timeout(900)
async def test_nothing_is_stuck_and_only_what_was_killed_fails(model_05b: Path) -> None:
    report = await soak.run(2, model_05b)
    print(report.table())
    assert not report.failures
    assert report.kills
    assert report.switches
    answered = {kind.split(":")[0] for kind in report.tally.ended if kind.endswith(": answered")}
    assert len(answered) >= 5, "most kinds, even on a slow machine"
