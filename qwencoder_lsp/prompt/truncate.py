"""Makes a prompt that is too long fit, and says what it left out. Pure.

Tokens or the turns of a conversation and a limit go in; what stays comes out, with a Dropped for each gap. Nothing is left out without one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qwencoder_lsp.engine.vocabulary import Tokenizer
from qwencoder_lsp.errors import RequestError
from qwencoder_lsp.prompt.chat import render_conversation

HEAD = 4  # a quarter of what stays is from the beginning: what it is about; the rest from the end: where it goes on
GAP = "\n[... {} tokens left out ...]\n"
SEAMS = 8  # tokens that the cuts on both sides of that sentence may cost
LEAST = 64  # tokens of one message, below which cutting it makes no sense

Turn = Mapping[str, Any]
Tools = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Dropped:
    """A gap. where: the field that it was in, with "messages.N" for a turn as it was sent; at: the tokens before the gap there; tokens: its size."""

    where: str
    at: int
    tokens: int


def too_long(size: int, limit: int, answer: int) -> RequestError:
    """What to say of a prompt of `size` tokens where `limit` fit beside `answer` tokens of answer."""
    return RequestError(
        f"The prompt has {size} tokens, and {limit} fit beside an answer of {answer}.",
        'Shorten it, lower max_tokens, or allow it to be shortened: "truncation": "auto" ("truncate": true on Ollama\'s routes).',
    )


def shortened(tokens: Sequence[int], limit: int, mode: str) -> tuple[list[int], tuple[Dropped, ...]]:
    """At most `limit` of the tokens of a text to be continued. mode "middle": its beginning and its end; "auto": its end."""
    over = len(tokens) - limit
    if over <= 0:
        return list(tokens), ()
    head = limit // HEAD if mode == "middle" else 0
    return [*tokens[:head], *tokens[head + over :]], (Dropped("prompt", head, over),)


def shortened_conversation(
    turns: Sequence[Turn], tokenizer: Tokenizer, tools: Tools, limit: int, mode: str
) -> tuple[list[Turn], list[int], tuple[Dropped, ...]]:
    """The turns that stay, with their token ids (at most `limit`), and the gaps. mode "auto": the oldest turns go, but never a system message or the
    last turn, and then, as with "middle", the middle of the longest messages. Raises RequestError when that is not enough."""
    kept = dict(enumerate(turns))
    sizes = {i: len(tokenizer.tokenize(turn["content"])) for i, turn in kept.items()}
    dropped: list[Dropped] = []
    tokens = render_conversation(list(kept.values()), tokenizer, tools)
    while mode == "auto" and len(tokens) > limit and (oldest := _oldest(kept)):
        for i in oldest:
            del kept[i]
            dropped.append(Dropped(f"messages.{i}", 0, sizes.pop(i)))
        tokens = render_conversation(list(kept.values()), tokenizer, tools)
    for i in sorted(kept, key=lambda i: -sizes[i]):
        over = len(tokens) - limit
        if over <= 0:
            break
        cost = len(tokenizer.tokenize(GAP.format(over))) + SEAMS
        gap = min(over + cost, sizes[i] - LEAST)
        if gap <= cost:
            continue
        head = (sizes[i] - gap) // HEAD
        ids = tokenizer.tokenize(kept[i]["content"])
        content = _text(tokenizer, ids[:head]) + GAP.format(gap) + _text(tokenizer, ids[head + gap :])
        kept[i] = {**kept[i], "content": content}
        dropped.append(Dropped(f"messages.{i}", head, gap))
        tokens = render_conversation(list(kept.values()), tokenizer, tools)
    if len(tokens) > limit:
        raise RequestError(f"The conversation cannot be shortened to the {limit} tokens that fit.", "Send less, or lower max_tokens.")
    return list(kept.values()), tokens, tuple(dropped)


def _oldest(kept: Mapping[int, Turn]) -> list[int]:
    """The oldest turn that may go, with the results of its calls; empty when none may."""
    order = list(kept)
    for place, i in enumerate(order[:-1]):
        if kept[i]["role"] == "system":
            continue
        end = place + 1
        while end < len(order) and kept[order[end]]["role"] == "tool":
            end += 1
        return order[place:end] if end < len(order) else []
    return []


def _text(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """The text of plain tokens; a character that a cut went through is left out."""
    return b"".join(map(tokenizer.piece, ids)).decode("utf-8", "ignore")
