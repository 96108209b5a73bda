"""The finish stage of a completion: what of an answer is shown, or why nothing is.

In: where the cursor is, the model's answer, the document's syntax tree. Out: a Completion. What is certainly wrong is cut away first; whether the
rest is worth somebody's attention is decided by features.gate.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from time import perf_counter

from qwencoder_lsp.context.gather import around
from qwencoder_lsp.context.secrets import emits
from qwencoder_lsp.core.report import Reason, Step, Timings
from qwencoder_lsp.core.results import Completion, Suggestion
from qwencoder_lsp.core.text import Snapshot, Span
from qwencoder_lsp.features.ask import Answer
from qwencoder_lsp.features.gate import BY_ITSELF, hidden, signals, sure_part
from qwencoder_lsp.postprocess.finish import finish
from qwencoder_lsp.postprocess.scope import Scope
from qwencoder_lsp.postprocess.sound import soundest
from qwencoder_lsp.postprocess.tree import Parsed
from qwencoder_lsp.settings import Settings


def show(
    snapshot: Snapshot,
    offset: int,
    answer: Answer,
    settings: Settings,
    parsed: Parsed | None,
    scope: Scope,
    timings: Timings,
    *,
    explicit: bool,
    accepted: bool = False,
) -> Completion:
    """What to show of `answer` at `offset`. parsed: the tree of the snapshot, None where there is none. accepted: as in features.gate."""
    began = perf_counter()
    prefix, suffix = around(snapshot, offset)
    raw = answer.text if explicit else sure_part(answer, settings.completion.eagerness)
    ended = answer.reason if raw == answer.text else "unsure_line"
    done = finish(raw, prefix, suffix, ended)
    text, reason, steps = done.text, done.reason, done.steps
    if raw != answer.text:
        steps = (Step("unsure lines", len(answer.text), len(raw)), *steps)
    if not raw and ended in ("unsure_line", "unsure_word"):
        reason = Reason.UNSURE
    if text and parsed is not None:
        before, behind = (parsed.byte_at(snapshot.text, at) for at in (offset, offset + done.overwrite))
        text, sound = soundest(parsed, before, behind, text, whole=ended in BY_ITSELF)
        steps = steps if text == done.text else (*steps, Step("unsound end", len(done.text), len(text)))
        reason = reason if sound or explicit else Reason.BREAKS_SYNTAX
    if text and emits(prefix[prefix.rfind("\n") + 1 :], text):
        reason = Reason.SECRET
    found = signals(snapshot, offset, answer, text, scope)
    if reason is Reason.SHOWN and not explicit:
        reason = hidden(found, settings.completion.eagerness, accepted=accepted) or reason
    suggestion = None
    if reason is Reason.SHOWN:
        suggestion = Suggestion(uuid.uuid4().hex, text.replace("\n", snapshot.newline), Span(offset, offset + done.overwrite))
    timings = replace(timings, finish=(perf_counter() - began) * 1000)
    return Completion(suggestion, reason, answer.reason, answer.model, answer.usage, timings, found, steps=steps)
