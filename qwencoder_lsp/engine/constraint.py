"""Constrained decoding: JSON schema, regular expression, choice and Lark grammar with llguidance, a byte prefix with healing.py.

The tokenizer that llguidance needs takes one to two seconds to build, so it is made once, in a thread of its own, at the first use. So is the
automaton of each constraint: that of a large schema takes a fifth of a second (700 properties), which no keystroke is to wait for.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import llguidance
import llguidance.numpy
import numpy as np
from cachetools import LRUCache

from qwencoder_lsp.engine.closing import Closing, Exits
from qwencoder_lsp.engine.healing import BYTE_PREFIX, PrefixMatcher, VocabularyIndex
from qwencoder_lsp.engine.protocol import Constraint
from qwencoder_lsp.engine.sampler import Logits
from qwencoder_lsp.errors import EngineFailed, RequestError

# One line with a space behind ":" and ",", as models and json.dumps write it. Free white space can run until max_tokens, and where the layout is
# given, all that is not a value is forced: those tokens need no choice.
JSON_LAYOUT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}

# llguidance gives up by itself on what is too complex, each step within some 50 ms; only the number of properties costs more than linear time
# before it notices (6 s for 10,000 of them, 0.3 s for what fits into this).
MAX_TEXT = 1 << 16
LIMITS = llguidance.LLParserLimits(verbose_errors=False)

COMPILED = 16  # constraints whose automata are kept; clients send the same tools again and again

T = TypeVar("T")

# row i: what eight bits of a mask, lowest first, add to eight logits
_ADDEND = np.where(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little"), 0, -np.inf).astype(np.float32)


class Matcher:
    """Follows one answer. `mask` or `allows` before each token, `accept` after it."""

    def __init__(self, tokenizer: Any, constraint: Constraint, n_vocab: int) -> None:
        """Raises RequestError when the constraint cannot be compiled; the message names what is wrong."""
        self._matcher = llguidance.LLMatcher(tokenizer, grammar(constraint), log_level=0, limits=LIMITS)
        if self._matcher.is_error():
            raise RequestError(f"The {constraint.kind} cannot be used: {self._error()}", "Simplify it.")
        self._bits = np.zeros((n_vocab + 31) // 32, np.int32)
        self.done = False

    def closing(self, exits: Exits) -> Closing:
        """What brings this answer to its end before its limit."""
        return Closing(self._matcher, exits)

    def fresh(self) -> Matcher:
        """One for another answer under the same constraint. This one must not have accepted anything yet."""
        other = object.__new__(Matcher)
        other._matcher, other._bits, other.done = self._matcher.deep_copy(), np.zeros_like(self._bits), False
        return other

    def mask(self, logits: Logits, out: Logits | None = None) -> Logits:
        """`logits` with -inf for every token that the constraint forbids here, in `out` (which may be `logits`) or in a new array.

        Raises RequestError, as `allows` and `accept` do, where the constraint turns out to be too complex to follow or impossible to meet.
        """
        self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        self._check()
        addend = _ADDEND.take(self._bits.view(np.uint8), axis=0).reshape(-1)
        return np.add(logits, addend[: len(logits)], out=out)

    def log_total(self, logits: Logits) -> float | None:
        """Always None: log-probabilities are those among all tokens."""
        return None

    def allows(self, token: int) -> bool:
        """Whether the token may come next."""
        allowed = bool(self._matcher.validate_tokens([token]))
        self._check()
        return allowed

    def forced(self) -> list[int]:
        """The tokens that must come next, whatever the model says; empty where there is a choice."""
        return list(self._matcher.compute_ff_tokens())

    def validate(self, tokens: Sequence[int]) -> int:
        """How many of the first of `tokens` may come next, one after the other. Consumes nothing."""
        return int(self._matcher.validate_tokens(list(tokens)))

    def accept(self, token: int) -> None:
        """The token was chosen. Afterwards `done` says whether the constraint is met and nothing more may or need follow."""
        self._matcher.consume_token(token)
        self._check()
        self.done = self._matcher.is_stopped()

    def _check(self) -> None:
        # A matcher that has failed says so only here, and allows the end token: half an answer would look like a whole one.
        if self._matcher.is_error():
            raise RequestError(f"The constraint failed: {self._error()}", "Simplify it.")

    def _error(self) -> str:
        return " ".join(str(self._matcher.get_error()).split())[:300]


def grammar(constraint: Constraint) -> str:
    """The constraint in llguidance's own form. Raises RequestError for an unknown kind or unreadable value."""
    if len(constraint.value) > MAX_TEXT:
        raise RequestError(f"The {constraint.kind} has {len(constraint.value)} characters; {MAX_TEXT} are the limit.", "Shorten it.")
    try:
        if constraint.kind == "json_schema":
            return str(llguidance.LLMatcher.grammar_from_json_schema(_without_layout(constraint.value), overrides=JSON_LAYOUT))
        if constraint.kind == "regex":
            return str(llguidance.LLMatcher.grammar_from_regex(constraint.value))
        if constraint.kind == "lark":
            return str(llguidance.LLMatcher.grammar_from_lark(constraint.value))
        if constraint.kind == "choice":
            return str(llguidance.LLMatcher.grammar_from_regex("|".join(_literal(c) for c in _choices(constraint.value))))
    except (ValueError, RecursionError) as error:
        raise RequestError(f"The {constraint.kind} cannot be read: {error}", "Correct it.") from error
    raise RequestError(f"{constraint.kind!r} is not a kind of constraint.", "Use json_schema, regex, choice, lark or prefix.")


def _without_layout(schema: str) -> str:
    """The schema without a white space pattern of its own, which llguidance lets win over JSON_LAYOUT; true as the object that it stands for, because
    options need one."""
    if schema == "true":
        return "{}"
    if "whitespace_pattern" not in schema:
        return schema
    read = json.loads(schema)
    if isinstance(read, dict) and isinstance(options := read.get("x-guidance"), dict):
        options.pop("whitespace_pattern", None)
    return json.dumps(read)


def _choices(value: str) -> list[str]:
    choices = json.loads(value)
    if not isinstance(choices, list) or not choices or not all(isinstance(c, str) for c in choices):
        raise ValueError("it must be a JSON list of one or more strings")
    return choices


def _literal(text: str) -> str:
    """A regular expression for exactly this text. Python's re.escape also escapes what Rust's regex does not let be escaped."""
    return "".join(c if c.isascii() and c.isalnum() else f"\\x{{{ord(c):x}}}" for c in text)


def check_schema(schema: str) -> None:
    """Raise RequestError, with the keyword in its message, for a JSON schema that answers cannot be generated under."""
    found = llguidance.LLMatcher.validate_grammar(grammar(Constraint("json_schema", schema)), limits=LIMITS)
    if found:
        raise RequestError(f"The schema cannot be used: {' '.join(found.split())[:300]}.", "Leave out what it names.")


class ConstraintCompiler:
    """Builds Matchers. What they need is made in the background at its first use; `on_ready` is then called from another thread."""

    def __init__(self, make_tokenizer: Callable[[], Any], n_vocab: int, on_ready: Callable[[], None], pieces: Callable[[], Sequence[bytes]]) -> None:
        """make_tokenizer: llguidance's LLTokenizer. pieces: the bytes of every token, empty for control tokens; prefixes need only these."""
        self._n_vocab = n_vocab
        self._on_ready = on_ready
        self._exits = _Background(lambda: Exits(make_tokenizer()), lambda: None)  # whoever waits for it waits for a constraint
        self._index = _Background(lambda: VocabularyIndex(pieces()), on_ready)
        self._compiled: LRUCache[Constraint, _Background[Matcher]] = LRUCache(COMPILED)

    def ready_for(self, constraint: Constraint) -> bool:
        """Whether `matcher(constraint)` may be called. The first look starts what has to be built: 0.4 s for a prefix, up to 2 s for the others."""
        if constraint.kind in BYTE_PREFIX:
            return self._index.ready
        self._exits.start()  # here, where there is one thread, and not in those of several constraints
        return self._compiling(constraint).ready

    def matcher(self, constraint: Constraint) -> Matcher | PrefixMatcher:
        """A fresh Matcher. Raises RequestError, or EngineFailed when this vocabulary cannot be read."""
        try:
            if constraint.kind in BYTE_PREFIX:
                return PrefixMatcher(self._index.get(), constraint.value.encode("utf-8", "surrogatepass"))
            return self._compiling(constraint).get().fresh()
        except _BuildError as error:
            raise EngineFailed(f"Constrained answers do not work with this model: {error}", "Take another model for review and fixes.") from error

    def closing(self, constraint: Constraint, matcher: Matcher | PrefixMatcher) -> Closing | None:
        """What brings the answer that `matcher` follows to its end before its limit, where that is wanted."""
        return matcher.closing(self._exits.get()) if constraint.close and isinstance(matcher, Matcher) else None

    def close(self) -> None:
        """Wait for what is being built, since it reads the model's vocabulary, and free it: 50 MB that no collector of Python's sees."""
        parts: list[_Background[Any]] = [*self._compiled.values(), self._exits, self._index]
        for part in parts:
            part.close()
        self._compiled.clear()

    def _compiling(self, constraint: Constraint) -> _Background[Matcher]:
        if constraint not in self._compiled:
            self._compiled[constraint] = _Background(lambda: Matcher(self._exits.get().tokenizer, constraint, self._n_vocab), self._on_ready)
        return self._compiled[constraint]


class _BuildError(Exception):
    pass


class _Background(Generic[T]):
    """A value that a thread of its own makes, once."""

    def __init__(self, make: Callable[[], T], on_ready: Callable[[], None]) -> None:
        self._make = make
        self._on_ready = on_ready
        self._thread: threading.Thread | None = None
        self._value: T | None = None
        self._failure: Exception | None = None

    def start(self) -> None:
        """Begin, if that has not been done."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="constraint build", daemon=True)
            self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether it is made, or has failed. The first look starts it."""
        self.start()
        return self._value is not None or self._failure is not None

    def close(self) -> None:
        """Wait until nothing is being built, and drop the value."""
        if self._thread:
            self._thread.join()
        self._value, self._failure = None, RuntimeError("closed")

    def get(self) -> T:
        """The value; waits for it. Raises _BuildError with what went wrong."""
        if not self.ready and self._thread:
            self._thread.join()
        if isinstance(self._failure, RequestError | _BuildError):
            raise self._failure
        if self._value is None:
            raise _BuildError(str(self._failure))
        return self._value

    def _run(self) -> None:
        try:
            self._value = self._make()
        except Exception as error:  # whatever it is, the waiting requests must be told
            self._failure = error
        self._on_ready()
