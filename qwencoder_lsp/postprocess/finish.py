"""The finish stage: turns a raw answer into something worth showing, or says why not.

The answer and the text around the cursor go in (with "\\n" as their only line ending), the text to insert comes out. Pure; knows nothing of
editors, tokens or models.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from qwencoder_lsp.core.report import Reason, Step
from qwencoder_lsp.engine.stops import repeated
from qwencoder_lsp.postprocess.overlap import covered_closers, repeated_lines, repeated_tail, repeats_lines_above
from qwencoder_lsp.postprocess.steps import Steps
from qwencoder_lsp.postprocess.trim import AT_LINE_END, LIMITS, drop_open_end, drop_unfinished_line, open_line, trim_end


@dataclass(frozen=True, slots=True)
class Finished:
    """Insert `text` at the cursor in place of the `overwrite` characters behind it, all on the cursor's line. The text is empty, and only then, when
    `reason` is not SHOWN; otherwise it is not blank. steps: the filters that changed the answer."""

    text: str
    overwrite: int
    reason: Reason
    steps: tuple[Step, ...] = field(default=(), compare=False)


def finish(raw: str, prefix: str, suffix: str, ended: str) -> Finished:
    """What to show of `raw` between `prefix` and `suffix`; `ended` is why the generation ended, as in engine.protocol.Done."""
    note = Steps()
    done = _finish(raw, prefix, suffix, ended, note)
    return replace(done, steps=tuple(note.taken))


def _finish(raw: str, prefix: str, suffix: str, ended: str, note: Steps) -> Finished:
    raw = note("carriage return", raw, raw.replace("\r\n", "\n").partition("\r")[0])
    before = prefix[prefix.rfind("\n") + 1 :]
    rest = suffix.partition("\n")[0]
    text = note("repetition", raw, raw[: repeated(raw)] if ended in ("repetition", "length") else raw)
    text = note("unfinished line", text, drop_unfinished_line(text) if ended == "length" else text)
    at_line_end = ended in AT_LINE_END or text != raw
    text = note("open end", text, drop_open_end(text) if ended in LIMITS else text)
    text = note("blank end", text, trim_end(text, rest))
    if not text.strip():
        return Finished("", 0, Reason.EMPTY)
    cut = repeated_lines(text, before, suffix)
    if cut is not None:
        text, at_line_end = note("repeated lines", text, text[:cut]), True
    text = note("blank end", text, trim_end(text, rest))
    tail = repeated_tail(text, suffix)
    overwrite = covered_closers(text, rest) if tail == len(text) else 0
    text = note("repeated tail", text, trim_end(text[:tail], rest))
    if not text.strip():
        return Finished("", 0, Reason.REPEATS_SUFFIX)
    if repeats_lines_above(text, prefix):
        note("repeated lines above", text, "")
        return Finished("", 0, Reason.REPEATS_PREFIX)
    return Finished(note("line opened", text, open_line(text, before, rest)) if at_line_end else text, overwrite, Reason.SHOWN)
