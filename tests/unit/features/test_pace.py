"""How eagerly work is begun."""

from __future__ import annotations

from typing import Any

import pytest

from qwencoder_lsp.features import pace
from qwencoder_lsp.features.pace import Pace
from qwencoder_lsp.settings import Settings, load


def settings(**completion: Any) -> Settings:
    return load({"completion": completion}, env={})[0]


def after(*answers_ms: float) -> Pace:
    found = Pace()
    for ms in answers_ms:
        found.answered(ms)
    return found


def test_at_first_the_wait_is_what_the_setting_says() -> None:
    assert Pace().wait_s(settings(debounce_ms=80)) == pytest.approx(0.08)
    assert Pace().wait_s(settings(debounce_ms=0)) == 0


def test_a_fast_model_is_asked_sooner_and_a_slow_one_later_within_limits() -> None:
    assert after(*[50.0] * 50).wait_s(settings(debounce_ms=100)) == pytest.approx(0.02)
    assert after(*[9000.0] * 50).wait_s(settings(debounce_ms=100)) == pytest.approx(0.2)
    assert 0.1 < after(*[600.0] * 50).wait_s(settings(debounce_ms=100)) < 0.13


@pytest.mark.parametrize(
    ("plugged", "wanted", "prepares"),
    [(True, {}, True), (False, {}, False), (False, {"ahead_on_battery": True}, True)],
)
def test_on_battery_nothing_is_prepared_unless_the_user_wants_it(
    monkeypatch: pytest.MonkeyPatch, plugged: bool, wanted: dict[str, bool], prepares: bool
) -> None:
    monkeypatch.setattr(pace, "plugged_in", lambda: plugged)
    assert Pace().prepares(settings(**wanted)) is prepares


def test_the_power_supply_is_not_looked_up_at_every_keystroke(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[None] = []

    def look() -> bool:
        looked.append(None)
        return True

    monkeypatch.setattr(pace, "plugged_in", look)
    found = Pace()
    for _ in range(5):
        found.prepares(settings())
    assert len(looked) == 1
