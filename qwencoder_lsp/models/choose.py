"""Which installed model "auto" means. Pure: installed models and measured speeds in, a model out.

A model without a measurement is judged by the measured one nearest in size, scaled by file size: a decode step reads every weight once,
and prefill multiplies by every weight once, so both cost about the same per byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from qwencoder_lsp.models.calibration import Speed
from qwencoder_lsp.models.store import InstalledModel

RECOMMENDED = "qwencoder-1.5b"  # the smallest catalogue model that fills in the middle well; it also chats


@dataclass(frozen=True, slots=True)
class Workload:
    """A typical request (tokens) and the time in seconds that a user waits for it."""

    prefill: int
    decode: int
    limit: float

    def fits(self, speed: Speed) -> bool:
        """Whether a model of that speed answers below the limit."""
        return self.prefill / speed.prefill + self.decode / speed.decode < self.limit


# One keystroke on a warm cache: the new tokens around the cursor, and a line of answer.
TYPING = Workload(prefill=48, decode=12, limit=0.8)
# A review or a question about one screen of code. People wait longer for an answer they asked for, and read while it streams.
CHAT = Workload(prefill=1024, decode=256, limit=60.0)


def completion_model(installed: Sequence[InstalledModel], speeds: Mapping[str, Speed]) -> InstalledModel | None:
    """The largest model with the role "completion" that keeps up with typing, else the smallest one; None when there is none.

    speeds: by model name. Without any measurement it is the smallest.
    """
    return _largest_that_fits((model for model in installed if model.has_role("completion")), TYPING, installed, speeds)


def chat_model(installed: Sequence[InstalledModel], speeds: Mapping[str, Speed]) -> InstalledModel | None:
    """The largest model with the role "chat" that answers a screen of code within a minute, else the smallest one; None when there is none.

    Without any measurement it is the completion model if that one chats, so that one model in memory serves both.
    """
    chatting = [model for model in installed if model.has_role("chat")]
    completion = completion_model(installed, speeds)
    if completion in chatting and not any(model.name in speeds for model in installed):
        return completion
    return _largest_that_fits(chatting, CHAT, installed, speeds)


def reason(role: str, chosen: InstalledModel, installed: Sequence[InstalledModel], speeds: Mapping[str, Speed]) -> str:
    """Why "auto" means `chosen` for `role`: one sentence."""
    workload, what = (TYPING, "keeps up with typing") if role == "completion" else (CHAT, "answers a screen of code within a minute")
    others = [model for model in installed if model.has_role(role)]
    if len(others) == 1:
        return f"It is the only installed model for {role}."
    speed = estimate(chosen, installed, speeds)
    if speed is None:
        return "No model has been measured on this machine yet, and it is the smallest."
    seconds = workload.prefill / speed.prefill + workload.decode / speed.decode
    if workload.fits(speed):
        return f"It is the largest installed model that {what} on this machine ({seconds:.2f} s)."
    return f"No installed model {what} on this machine; it is the smallest ({seconds:.2f} s)."


def recommended() -> str:
    """The name of the model to pull when completion_model finds none."""
    return RECOMMENDED


def estimate(model: InstalledModel, installed: Iterable[InstalledModel], speeds: Mapping[str, Speed]) -> Speed | None:
    """The model's measured speed, else one scaled by size from the measured installed model nearest in size, else None."""
    if model.name in speeds:
        return speeds[model.name]
    measured = [other for other in installed if other.name in speeds]
    if not measured:
        return None
    nearest = min(measured, key=lambda other: max(other.size / model.size, model.size / other.size))
    ratio = nearest.size / model.size
    return Speed(speeds[nearest.name].prefill * ratio, speeds[nearest.name].decode * ratio)


def _largest_that_fits(
    candidates: Iterable[InstalledModel], workload: Workload, installed: Sequence[InstalledModel], speeds: Mapping[str, Speed]
) -> InstalledModel | None:
    by_size = sorted(candidates, key=lambda model: model.size, reverse=True)
    for model in by_size:
        speed = estimate(model, installed, speeds)
        if speed is not None and workload.fits(speed):
            return model
    return by_size[-1] if by_size else None
