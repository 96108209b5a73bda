"""Which installed model "auto" means. Pure: installed models, measured speeds and a task in; a model, and one sentence why, out.

The rule. Of the installed models that have the role and fit into memory:

- *completion*: the largest that answers a keystroke (48 new tokens, 12 of answer) within 0.8 s;
- *chat, complex task*: the largest that answers a screen of code (1024 tokens, 256 of answer) within a minute;
- *chat, simple task*: one that is in memory already and answers a short request (256 tokens, 64 of answer) within 6 s, because loading another
  takes longer than it saves; otherwise the largest that does.

Where none is fast enough, or nothing has been measured yet, it is the smallest; without measurements a chat goes to the completion model, so that
one model in memory serves both. A task is complex when its text is longer than 4000 characters (about 1000 tokens), when the answer must follow a
schema or may call tools, or when it may be longer than 512 tokens.

A model without a measurement is judged by the measured one nearest in size, scaled by the bytes that a token reads: a decode step reads every active
weight once, and prefill multiplies by every active weight once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from qwencoder_lsp.models.calibration import Speed
from qwencoder_lsp.models.store import InstalledModel

RECOMMENDED = "qwencoder-1.5b"  # the smallest catalogue model that fills in the middle well; it also chats
COMPLEX_CHARACTERS, COMPLEX_TOKENS = 4000, 512


@dataclass(frozen=True, slots=True)
class Workload:
    """A typical request (tokens), the time in seconds that a user waits for it, and what a model that is quick enough does."""

    prefill: int
    decode: int
    limit: float
    praise: str

    def seconds(self, speed: Speed) -> float:
        """How long a model of that speed takes."""
        return self.prefill / speed.prefill + self.decode / speed.decode

    def fits(self, speed: Speed) -> bool:
        """Whether a model of that speed answers below the limit."""
        return self.seconds(speed) < self.limit


# One keystroke on a warm cache: the new tokens around the cursor, and a line of answer.
TYPING = Workload(48, 12, 0.8, "keeps up with typing")
# A review or a question about one screen of code. People wait longer for an answer they asked for, and read while it streams.
COMPLEX = Workload(1024, 256, 60.0, "answers a screen of code within a minute")
SIMPLE = Workload(256, 64, 6.0, "answers a short request within 6 s")


@dataclass(frozen=True, slots=True)
class Choice:
    """The model for a task, and why, in one sentence; "" where it was named."""

    model: InstalledModel
    why: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """What counts beside the models. speeds: by model name. memory: bytes for models, None for any amount. context: tokens of a completion's
    context. loaded: names of the models in memory."""

    speeds: Mapping[str, Speed]
    memory: int | None = None
    context: int = 8192
    loaded: Collection[str] = ()


def is_complex(characters: int, *, constrained: bool = False, max_tokens: int | None = None) -> bool:
    """Whether a chat with so many characters of text is a complex task. constrained: by a schema or tools. max_tokens: of the answer."""
    return characters > COMPLEX_CHARACTERS or constrained or (max_tokens or 0) > COMPLEX_TOKENS


def choose(role: str, installed: Sequence[InstalledModel], machine: Machine, *, complex_task: bool = True) -> Choice | None:
    """The model for `role` ("completion" or "chat"); None when none that is installed has it."""
    able = sorted((model for model in installed if model.has_role(role)), key=lambda model: model.size, reverse=True)
    if not able:
        return None
    if len(able) == 1:
        return Choice(able[0], f"It is the only installed model for {role}.")
    fitting = [model for model in able if machine.memory is None or model.memory(machine.context) <= machine.memory]
    if not fitting:
        return Choice(able[-1], f"No installed model for {role} fits into memory, and it is the smallest.")
    if not any(model.name in machine.speeds for model in installed):
        return _unmeasured(role, fitting, installed, machine)
    workload = TYPING if role == "completion" else COMPLEX if complex_task else SIMPLE
    quick = [model for model in fitting if workload.fits(_known(model, installed, machine))]
    if not quick:
        seconds = workload.seconds(_known(fitting[-1], installed, machine))
        return Choice(fitting[-1], f"No installed model {workload.praise} on this machine; it is the smallest ({seconds:.2f} s).")
    if workload is SIMPLE and (here := next((model for model in quick if model.name in machine.loaded), None)):
        return Choice(here, f"It is in memory, and {workload.praise} ({workload.seconds(_known(here, installed, machine)):.2f} s).")
    seconds = workload.seconds(_known(quick[0], installed, machine))
    room = " and fits into memory" if len(fitting) < len(able) else ""
    return Choice(quick[0], f"It is the largest installed model that {workload.praise} on this machine{room} ({seconds:.2f} s).")


def recommended() -> str:
    """The name of the model to pull when there is none for completion."""
    return RECOMMENDED


def estimate(model: InstalledModel, installed: Iterable[InstalledModel], speeds: Mapping[str, Speed]) -> Speed | None:
    """The model's measured speed, else one scaled from the measured installed model nearest in size, else None."""
    if model.name in speeds:
        return speeds[model.name]
    measured = [other for other in installed if other.name in speeds]
    if not measured:
        return None
    nearest = min(measured, key=lambda other: max(other.active_bytes / model.active_bytes, model.active_bytes / other.active_bytes))
    ratio = nearest.active_bytes / model.active_bytes
    return Speed(speeds[nearest.name].prefill * ratio, speeds[nearest.name].decode * ratio)


def _unmeasured(role: str, fitting: Sequence[InstalledModel], installed: Sequence[InstalledModel], machine: Machine) -> Choice:
    if role == "chat":
        completion = choose("completion", installed, machine)
        if completion and completion.model in fitting:
            return Choice(completion.model, "No model has been measured on this machine yet, and it serves completion too.")
    return Choice(fitting[-1], "No model has been measured on this machine yet, and it is the smallest.")


def _known(model: InstalledModel, installed: Sequence[InstalledModel], machine: Machine) -> Speed:
    speed = estimate(model, installed, machine.speeds)
    assert speed is not None, "one is measured"
    return speed
