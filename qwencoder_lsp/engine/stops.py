"""Declarative stop rules on a stream of text.

Text goes in as it is generated, in any pieces; out comes what may be shown already and, at the end, which rule stopped it. What is shown does not
depend on how the text was cut into pieces, but for the rules about log-probabilities, which belong to a piece. Knows nothing of tokens or models.
The rules themselves are described at core.prompt.Stops.
"""

from __future__ import annotations

from collections.abc import Callable

from qwencoder_lsp.core.prompt import Stops

# A text ends in a repetition when the same piece, of at most LONGEST_UNIT characters, stands there so often in a row: (times, characters together),
# lines, other text, and text without a letter or digit (rulers, tables of zeros).
LONGEST_UNIT = 80
LINES, WORDS, SIGNS = (3, 24), (4, 60), (8, 200)
BLANK = " \t\r\n"


class StopState:
    """The stop rules of one answer while it is generated. `clock_ms` gives milliseconds from any fixed moment. word: the stop string that fired.

    When several rules fire, the one whose trigger is complete first wins; at the same character "stop_string", "lines", "time", in this order.
    Of several stop strings that end at the same character the longest counts. line_ends: where lines with text ended so far, as (code points from
    the start of the answer, log-probability of what stands between the end of the first one and there).
    """

    def __init__(self, stops: Stops, clock_ms: Callable[[], float]) -> None:
        self._stops = stops
        self._clock = clock_ms
        self._first_ms: float | None = None
        self._strings = tuple(sorted((s for s in stops.strings if s), key=len, reverse=True))
        self._by_line = any(rule is not None for rule in (stops.max_lines, stops.indent, stops.after_newline_ms, stops.line_nats))
        self._held = ""  # came in, but not given out yet
        self._reason: str | None = None
        self.word = ""
        self._tail = ""
        self._text_seen = False
        self._lines = 0
        self._column: int | None = None  # columns of white space since the last newline; None in the first line and behind a line's first text
        self.line_ends: list[tuple[int, float]] = []
        self._given = 0  # code points that were given out
        self._line_at = 0  # where in `_held` the last line with text ended, once there is one
        self._line_logprob = self._logprob = 0.0  # of what came behind the first line, and of everything
        self._gap: int | None = None  # where in `_held` the newline, blank lines and indentation before the next text begin

    def feed(self, text: str, logprob: float = 0.0) -> tuple[str, str | None]:
        """Take the next piece and its log-probability. Returns the text that may be given out now, and the reason once a rule fired: "stop_string",
        "lines", "indent", "time", "repetition", "unsure_line" or "unsure_word". From then on there is nothing more to give out."""
        now = self._clock()
        if self._first_ms is None:
            self._first_ms = now
        if self._reason:
            return "", self._reason
        if unsure := self._unsure(text, logprob):
            cut, self._reason = unsure
            return self._release(cut), self._reason
        seen = len(self._held)
        self._held += text
        if self._strings or self._by_line:
            for at in range(seen, len(self._held)):
                stop = self._look(at, now - self._first_ms)
                if stop:
                    cut, self._reason = stop
                    return self._release(cut), self._reason
        if self._stops.repetition:
            self._tail = (self._tail + text)[-4 * LONGEST_UNIT :]
            if repeated(self._tail) is not None:
                self._reason = "repetition"
                return self.settle(), self._reason
        return self._release(min(self._safe(), self._sure())), self._reason

    def flush(self) -> str:
        """The text still held back, at the end of a generation that no rule stopped; empty when one did."""
        return "" if self._reason else self._release(len(self._held))

    def settle(self) -> str:
        """The text still held back that only a log-probability could have taken back, where something else ended the answer."""
        return self._release(self._safe())

    def _unsure(self, text: str, logprob: float) -> tuple[int, str] | None:
        """Count the log-probability of a piece: where to cut in front of it and the reason, when it makes the answer too improbable."""
        stops = self._stops
        self._logprob += logprob
        if self.line_ends:
            self._line_logprob += logprob
            if stops.line_nats is not None and self._line_logprob < -stops.line_nats:
                return self._line_at, "unsure_line"
        if stops.word_nats is not None and self._logprob < -stops.word_nats:
            return len(self._held) if text[:1].isspace() else self._word_at(), "unsure_word"
        return None

    def _word_at(self) -> int:
        """Where in the held text its last complete word ends."""
        return max(0, *map(self._held.rfind, BLANK))

    def _look(self, at: int, elapsed_ms: float) -> tuple[int, str] | None:
        """Apply the rules to the character at `at` of the held text: where to cut and the reason, when one fires."""
        held, char = self._held, self._held[at]
        for string in self._strings:
            if held.endswith(string, 0, at + 1):
                self.word = string
                return at + 1 - len(string), "stop_string"
        if char == "\n":
            return self._line_end(at, elapsed_ms)
        if char in BLANK:
            if self._column is not None and char != "\r":
                self._column += self._stops.tab - self._column % self._stops.tab if char == "\t" else 1
            return None
        if self._stops.indent is not None and self._column is not None and self._column < self._stops.indent:
            return (at if self._gap is None else self._gap), "indent"
        self._text_seen = True
        self._column = self._gap = None
        return None

    def _line_end(self, at: int, elapsed_ms: float) -> tuple[int, str] | None:
        stops = self._stops
        end = at - 1 if at and self._held[at - 1] == "\r" else at
        if self._text_seen:
            self._lines += 1
            if self._column is None:
                self.line_ends.append((self._given + end, self._line_logprob))
                self._line_at = end
            if stops.max_lines is not None and self._lines >= stops.max_lines:
                return end, "lines"
            if stops.after_newline_ms is not None and elapsed_ms >= stops.after_newline_ms:
                return end, "time"
        self._column = 0
        if stops.indent is not None and self._gap is None:
            self._gap = end
        return None

    def _safe(self) -> int:
        """How much of the held text no rule can take back any more."""
        held = self._held
        safe = len(held) if self._gap is None else self._gap
        if self._by_line and held.endswith("\r"):
            safe = min(safe, len(held) - 1)
        for string in self._strings:
            for size in range(min(len(string) - 1, len(held)), len(held) - safe, -1):
                if string.startswith(held[len(held) - size :]):
                    safe = len(held) - size
                    break
        return safe

    def _sure(self) -> int:
        """How much of the held text no later log-probability can take back."""
        sure = len(self._held)
        if self._stops.line_nats is not None and self.line_ends:
            sure = self._line_at
        if self._stops.word_nats is not None:
            sure = min(sure, self._word_at())
        return sure

    def _release(self, size: int) -> str:
        out, self._held = self._held[:size], self._held[size:]
        self._given += len(out)
        self._line_at = max(0, self._line_at - size)
        if self._gap is not None:
            self._gap = max(0, self._gap - size)
        return out


def repeated(text: str) -> int | None:
    """Where the second of several equal pieces begins with which `text` ends; None when it does not end so."""
    for size in range(1, min(LONGEST_UNIT, len(text) // 2) + 1):
        unit = text[-size:]
        times = 1
        while text.endswith(unit, 0, len(text) - times * size):
            times += 1
        least, together = SIGNS if not any(c.isalnum() for c in unit) else LINES if "\n" in unit else WORDS
        if times >= least and times * size >= together:
            return len(text) - (times - 1) * size
    return None
