"""Constrained decoding with llguidance: JSON schema, regular expression, choice, byte prefix.

The tokenizer that llguidance needs takes one to two seconds to build, so it is made once, in a thread of its own, at the first use.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from typing import Any

import llguidance
import llguidance.numpy
import numpy as np

from qwencoder_lsp.engine.protocol import Constraint
from qwencoder_lsp.engine.sampler import Logits
from qwencoder_lsp.errors import EngineFailed, RequestError


class Matcher:
    """Follows one answer. `mask` before each token, `accept` after it."""

    def __init__(self, tokenizer: Any, constraint: Constraint, n_vocab: int) -> None:
        """Raises RequestError when the constraint cannot be compiled; the message names what is wrong."""
        self._matcher = llguidance.LLMatcher(tokenizer, grammar(constraint))
        if self._matcher.is_error():
            raise RequestError(f"The {constraint.kind} cannot be used: {self._matcher.get_error()}", "Simplify it.")
        self._prefix_only = constraint.kind == "prefix"
        self._bitmask = llguidance.numpy.allocate_token_bitmask(1, n_vocab)
        self.done = False

    def mask(self, logits: Logits) -> Logits:
        """A copy of `logits` with -inf for every token that the constraint forbids here."""
        llguidance.numpy.fill_next_token_bitmask(self._matcher, self._bitmask)
        allowed = logits[np.newaxis, :].copy()
        llguidance.numpy.apply_token_bitmask_inplace(allowed, self._bitmask)
        row: Logits = allowed[0]
        return row

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
            return str(llguidance.LLMatcher.grammar_from_json_schema(constraint.value))
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

    def __init__(self, make_tokenizer: Callable[[], Any], n_vocab: int, on_ready: Callable[[], None]) -> None:
        self._make = make_tokenizer
        self._n_vocab = n_vocab
        self._on_ready = on_ready
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

    def matcher(self, constraint: Constraint) -> Matcher:
        """A fresh Matcher. Raises RequestError, or EngineFailed when llguidance cannot read this vocabulary."""
        if self._failure:
            raise EngineFailed(f"Constrained answers do not work with this model: {self._failure}", "Take another model for review and fixes.")
        return Matcher(self._tokenizer, constraint, self._n_vocab)

    def _build(self) -> None:
        try:
            self._tokenizer = self._make()
        except Exception as error:  # whatever it is, the waiting requests must be told
            self._failure = error
        self._on_ready()
