"""How eagerly work is begun: how long to wait for the next keystroke, and whether to prepare what nobody asked for yet."""

from __future__ import annotations

import time

import psutil

from qwencoder_lsp.settings import Settings

USUAL_MS = 500.0  # a model that answers in this time is waited for as long as the setting says
LEAST, MOST = 0.2, 2.0  # times the setting, on machines that are faster or slower
SHARE = 0.2  # of a new answer in the mean
POWER_S = 30.0  # how long what is known of the power supply holds


class Pace:
    """Of one window. Where answers are there at once a keystroke is answered at once; where they take long, it is rather the last of several."""

    def __init__(self) -> None:
        self._answer_ms = USUAL_MS
        self._power = (-POWER_S, True)  # when it was looked up, and whether the machine is plugged in

    def answered(self, ms: float) -> None:
        """The model took so long for the answer to a keystroke."""
        self._answer_ms += SHARE * (ms - self._answer_ms)

    def wait_s(self, settings: Settings) -> float:
        """Seconds without another keystroke before the model is asked."""
        factor = min(MOST, max(LEAST, self._answer_ms / USUAL_MS))
        return settings.completion.debounce_ms * factor / 1000

    def prepares(self, settings: Settings) -> bool:
        """Whether to compute ahead of the user. (When other programs use the processor, the engine declines such work by itself.)"""
        return settings.completion.ahead_on_battery or self._plugged_in()

    def _plugged_in(self) -> bool:
        now = time.monotonic()
        if now - self._power[0] >= POWER_S:
            self._power = (now, plugged_in())
        return self._power[1]


def plugged_in() -> bool:
    """Whether the machine has no battery or is charging it."""
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    return battery is None or battery.power_plugged is not False
