"""A completion request as it travels: in parts, never as a finished string."""

from __future__ import annotations

import re
from dataclasses import dataclass

SECRET_PLACEHOLDER = re.compile(r"<secret:[a-z0-9-]+>")
"""What stands in a prompt where a document has a secret."""
TAB = 4
"""Columns of a tab, where nothing else is said."""


@dataclass(frozen=True, slots=True)
class Snippet:
    """A piece of another place that helps at the cursor. `id` is stable while the text is, so that its tokens and KV are reused."""

    id: str
    path: str
    text: str
    source: str
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class PromptParts:
    """What surrounds the cursor.

    prefix, suffix: the text before and after it, possibly cut far away from it. typed: what stands between the prefix and the cursor: text that is
    being written, so that all the rest stays as it is from one keystroke to the next.
    path: relative to the repository, with forward slashes; repo: the repository's name.
    prefix_omitted, suffix_omitted: code points of the document that were left out already.
    """

    prefix: str
    suffix: str
    path: str = ""
    repo: str = ""
    language: str = ""
    snippets: tuple[Snippet, ...] = ()
    prefix_omitted: int = 0
    suffix_omitted: int = 0
    typed: str = ""


@dataclass(frozen=True, slots=True)
class Stops:
    """Declarative stop rules, applied by the engine on the text as it comes. The text that triggers a rule is not part of the answer.

    strings: stop where one of them begins.
    max_lines: stop at the end of that line; 1 means the rest of the current line. Blank lines before the first text do not count.
    indent: after the first newline, stop before a non-blank line indented by less than this many columns.
    after_newline_ms: once a line is complete, stop at the next line end after this much time since the first token.
    line_nats: once a line is complete, stop at the end of the last complete one when what follows the first has become less probable than this (its
    log-probability is below minus this many nats).
    word_nats: stop at the end of the last complete word when the answer has become less probable than this.
    repetition: stop when the answer only repeats itself.
    tab: a tab counts to the next column that this divides; with 1, `indent` counts characters.
    """

    strings: tuple[str, ...] = ()
    max_lines: int | None = None
    indent: int | None = None
    after_newline_ms: int | None = None
    repetition: bool = False
    tab: int = TAB
    line_nats: float | None = None
    word_nats: float | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; `role` is "system", "user" or "assistant"."""

    role: str
    content: str
