"""Whether an answer is worth somebody's attention who did not ask for it.

Numbers go in: how sure the model was, and what kind of place it is. Out comes a reason to stay silent, or None. The numbers are kept in the trace,
never the text, so that the limits can be learnt from what users take. Pure.
"""

from __future__ import annotations

import re

from qwencoder_lsp.core.report import Reason
from qwencoder_lsp.core.results import Signals
from qwencoder_lsp.core.text import Snapshot
from qwencoder_lsp.features.ask import Answer
from qwencoder_lsp.features.policy import goes_on, indent, line_around
from qwencoder_lsp.postprocess.scope import Scope

BY_ITSELF = frozenset({"stop_token", "suffix"})  # reasons of engine.protocol.Done
# The mean log-probability of an answer's tokens, below which it is not shown; between code on both sides of the cursor, in a string, and on an empty
# line behind all code, it must be higher.
LEAST_CONFIDENCE = {"quiet": -0.4, "balanced": -1.0, "eager": -10.0}
BETWEEN, IN_STRING, AT_END = 0.3, 0.5, 0.6
# How improbable (in nats) what follows the first line may become before the rest is not shown; None: all is. What the model ended by itself is shown
# whole: with that, none of 90 spans of HumanEval-Infilling was lost to the 1.5B at 1.5, and of what the 0.5B showed at 77 places of the standard
# library 32 instead of 7 of 100 characters were those that the author had written, while only a tenth of the right ones were not shown any more.
SHOWN_NATS = {"quiet": 0.7, "balanced": 1.5, "eager": None}
# Behind a finished line: what the model must make of an end there, and of its answer, to offer the next line.
BELOW_END, BELOW_CONFIDENCE = -3.0, -0.25
NEVER = -12.0  # less probable ends are not reported
# What editors insert by themselves (closing brackets, quotes, tags) and punctuation behind it.
_CLOSERS = re.compile(r"(?:[\s)\]}>\"'`.,:;{]|</[\w:.-]*>)*")


def signals(snapshot: Snapshot, offset: int, answer: Answer, text: str, scope: Scope) -> Signals:
    """The numbers of an answer of which `text` would be shown."""
    before, rest = line_around(snapshot.text, offset)
    logs = answer.logprobs
    return Signals(
        tokens=len(logs),
        confidence=answer.confidence,
        first=logs[0] if logs else None,
        least=min(logs, default=None),
        end=next((value for at, value in answer.cuts if at == 0), NEVER) if logs else None,
        characters=len(text),
        lines=text.count("\n") + 1,
        scope=scope.value,
        between=bool(before.strip()) and not _CLOSERS.fullmatch(rest),
        below=_belongs_below(before, rest, text),
        at_end=not before and not snapshot.text[offset:].strip() and bool(snapshot.text[:offset].strip()),
    )


def sure_part(answer: Answer, eagerness: str) -> str:
    """How much of an answer's text is shown: all that ended by itself or is one line, otherwise its probable lines."""
    nats = SHOWN_NATS[eagerness]
    if nats is None or answer.reason in BY_ITSELF:
        return answer.text
    return answer.text[: max((at for at, logprob in answer.line_ends if logprob >= -nats), default=None)]


def silent_in(scope: Scope, eagerness: str) -> Reason | None:
    """Why nothing is offered in such a place, or None."""
    return Reason.IN_PROSE if scope is Scope.PROSE and eagerness != "eager" else None


def hidden(found: Signals, eagerness: str, *, accepted: bool = False) -> Reason | None:
    """Why such an answer is not shown, or None.

    accepted: the text up to there was suggested, so that somebody who takes one suggestion after the other gets the next line too.
    """
    confidence = found.confidence
    if found.below and not accepted and eagerness != "eager":
        wanted = found.end is not None and found.end < BELOW_END and confidence is not None and confidence > BELOW_CONFIDENCE
        if not wanted:
            return Reason.NEXT_LINE
    if confidence is None:
        return None
    least = LEAST_CONFIDENCE[eagerness]
    least += (BETWEEN if found.between else 0.0) + (IN_STRING if found.scope == Scope.STRING.value else 0.0) + (AT_END if found.at_end else 0.0)
    return Reason.UNSURE if confidence < least else None


def _belongs_below(before: str, rest: str, text: str) -> bool:
    """Whether `text` begins with the next line although nothing on this one asks for it: its author has not gone there yet, and may be done."""
    first, newline, following = text.partition("\n")
    if first.strip() or not newline or not before.strip() or rest.strip() or goes_on(before):
        return False
    line = next((line for line in following.split("\n") if line.strip()), "")
    return indent(line) <= indent(before)
