"""Constrained decoding: JSON schema, regular expression and choice with llguidance, a byte prefix with healing.py.

The tokenizer that llguidance needs takes one to two seconds to build, so it is made once, in a thread of its own, at the first use.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any

import llguidance
import llguidance.numpy
import numpy as np

from qwencoder_lsp.engine.healing import PrefixMatcher, VocabularyIndex
from qwencoder_lsp.engine.protocol import Constraint
from qwencoder_lsp.engine.sampler import Logits
from qwencoder_lsp.errors import EngineFailed, RequestError

# One line with a space behind ":" and ",", as models and json.dumps write it. Free white space can run until max_tokens, and where the layout is
# given, all that is not a value is forced: those tokens need no choice.
JSON_LAYOUT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}

# row i: what eight bits of a mask, lowest first, add to eight logits
_ADDEND = np.where(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little"), 0, -np.inf).astype(np.float32)


class Matcher:
    """Follows one answer. `mask` or `allows` before each token, `accept` after it."""

    def __init__(self, tokenizer: Any, constraint: Constraint, n_vocab: int) -> None:
        """Raises RequestError when the constraint cannot be compiled; the message names what is wrong."""
        self._matcher = llguidance.LLMatcher(tokenizer, grammar(constraint))
        if self._matcher.is_error():
            raise RequestError(f"The {constraint.kind} cannot be used: {self._matcher.get_error()}", "Simplify it.")
        self._prefix_only = constraint.kind == "prefix"
        self._bits = np.zeros((n_vocab + 31) // 32, np.int32)
        self.done = False

    def mask(self, logits: Logits, out: Logits | None = None) -> Logits:
        """`logits` with -inf for every token that the constraint forbids here, in `out` (which may be `logits`) or in a new array."""
        self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        addend = _ADDEND.take(self._bits.view(np.uint8), axis=0).reshape(-1)
        return np.add(logits, addend[: len(logits)], out=out)

    def allows(self, token: int) -> bool:
        """Whether the token may come next."""
        return bool(self._matcher.validate_tokens([token]))

    def forced(self) -> list[int]:
        """The tokens that must come next, whatever the model says; empty where there is a choice."""
        return list(self._matcher.compute_ff_tokens())

    def validate(self, tokens: Sequence[int]) -> int:
        """How many of the first of `tokens` may come next, one after the other. Consumes nothing."""
        return int(self._matcher.validate_tokens(list(tokens)))

    def accept(self, token: int) -> None:
        """The token was chosen. Afterwards `done` says whether the constraint is met and nothing more may or need follow."""
        self._matcher.consume_token(token)
        if self._matcher.is_error():
            raise RequestError(f"The constraint failed: {self._matcher.get_error()}", "Simplify it.")
        self.done = self._matcher.is_accepting() if self._prefix_only else self._matcher.is_stopped()


def grammar(constraint: Constraint) -> str:
    """The constraint in llguidance's own form. Raises RequestError for an unknown kind or unreadable value."""
    try:
        if constraint.kind == "json_schema":
            return str(llguidance.LLMatcher.grammar_from_json_schema(constraint.value, overrides=JSON_LAYOUT))
        if constraint.kind == "regex":
            return str(llguidance.LLMatcher.grammar_from_regex(constraint.value))
        if constraint.kind == "choice":
            return str(llguidance.LLMatcher.grammar_from_regex("|".join(re.escape(c) for c in json.loads(constraint.value))))
        if constraint.kind == "prefix":
            return str(llguidance.LLMatcher.grammar_from_regex(f"(?s:{re.escape(constraint.value)}.*)"))
    except ValueError as error:
        raise RequestError(f"The {constraint.kind} cannot be read: {error}", "Correct it.") from error
    raise RequestError(f"{constraint.kind!r} is not a kind of constraint.", "Use json_schema, regex, choice or prefix.")


class ConstraintCompiler:
    """Builds Matchers once the tokenizer is there."""

    def __init__(
        self, make_tokenizer: Callable[[], Any], n_vocab: int, on_ready: Callable[[], None], pieces: Callable[[], Sequence[bytes]] | None = None
    ) -> None:
        """pieces: the bytes of every token, empty for control tokens; with it, a prefix does not wait for the tokenizer."""
        self._make = make_tokenizer
        self._n_vocab = n_vocab
        self._on_ready = on_ready
        self._pieces = pieces
        self._index: VocabularyIndex | None = None
        self._tokenizer: Any = None
        self._failure: Exception | None = None
        self._thread: threading.Thread | None = None

    @property
    def ready(self) -> bool:
        """Whether `matcher` may be called. The first look starts the build; `on_ready` is called from its thread at its end."""
        if self._tokenizer is None and self._thread is None:
            self._thread = threading.Thread(target=self._build, name="constraint tokenizer", daemon=True)
            self._thread.start()
        return self._tokenizer is not None or self._failure is not None

    def matcher(self, constraint: Constraint) -> Matcher | PrefixMatcher:
        """A fresh Matcher. Raises RequestError, or EngineFailed when llguidance cannot read this vocabulary."""
        if constraint.kind == "prefix" and self._pieces is not None:
            if self._index is None:
                self._index = VocabularyIndex(self._pieces())
            return PrefixMatcher(self._index, constraint.value.encode("utf-8", "surrogatepass"))
        if self._failure:
            raise EngineFailed(f"Constrained answers do not work with this model: {self._failure}", "Take another model for review and fixes.")
        return Matcher(self._tokenizer, constraint, self._n_vocab)

    def _build(self) -> None:
        try:
            self._tokenizer = self._make()
        except Exception as error:  # whatever it is, the waiting requests must be told
            self._failure = error
        self._on_ready()
