"""What a request cost and why it ended as it did."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Reason(str, Enum):
    """Why a completion was shown or was not. Every empty answer has one."""

    SHOWN = "shown"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"
    STALE = "document changed"
    DISABLED = "switched off"
    LANGUAGE_OFF = "language switched off"
    PATH_OFF = "path switched off"
    NOT_OPEN = "document not open"
    TOO_LARGE = "document too large"
    BINARY = "document looks binary"
    LONG_LINE = "line too long"
    MID_WORD = "the cursor is inside a word"
    EMPTY = "model had nothing to add"
    REPEATS_SUFFIX = "repeats the text after the cursor"
    REPEATS_PREFIX = "repeats the text before the cursor"
    SECRET = "would write a secret"  # noqa: S105 - says so
    UNSURE = "model not sure enough"
    IN_PROSE = "the cursor is in a comment"
    GENERATED = "generated file"
    BREAKS_SYNTAX = "would break the syntax"
    NEXT_LINE = "belongs on the next line"
    REJECTED = "rejected by the user at this place"
    NO_FIT = "does not fit on the line or the chosen menu item"
    MODEL_MISSING = "model not installed"
    LOADING = "model is loading"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Step:
    """One filter of the finish stage: how many characters went in and came out."""

    name: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request. `reused` of the `prompt` tokens were in the KV cache already, `restored` of them from host memory; of the
    `generated` ones `accepted` out of `drafted` were guessed right by speculation. preempted: steps broken off for more urgent work.
    The omitted counts are code points."""

    prompt: int = 0
    reused: int = 0
    generated: int = 0
    restored: int = 0
    drafted: int = 0
    accepted: int = 0
    preempted: int = 0
    prefix_omitted: int = 0
    suffix_omitted: int = 0
    snippets_omitted: int = 0


@dataclass(frozen=True, slots=True)
class Timings:
    """Milliseconds. gather, render, generate and finish are the four stages; the others split generate; native is the part of decode that
    was spent inside llama.cpp."""

    gather: float = 0.0
    render: float = 0.0
    generate: float = 0.0
    finish: float = 0.0
    queue: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0
    first_token: float = 0.0
    native: float = 0.0
