"""One question to the chat model, collected to its end. A request goes in, the whole answer with its cost comes out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from dataclasses import astuple, dataclass, field

from qwencoder_lsp.core.report import Timings, Usage
from qwencoder_lsp.errors import StaleDocument
from qwencoder_lsp.gateway.client import Gateway
from qwencoder_lsp.gateway.protocol import ChatRequest, End, Piece, Start


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said. `cut`: it reached max_tokens before its end."""

    text: str
    cut: bool = False
    model: str = ""
    usage: Usage = field(default_factory=Usage)
    timings: Timings = field(default_factory=Timings)


async def ask(gateway: Gateway, request: ChatRequest) -> Answer:
    """The answer to `request`. Cancelling stops the generation.

    Raises StaleDocument when a newer request for the same document took its place, and whatever QwencoderError the gateway raises.
    """
    text, model, end = "", "", End("cancelled")
    events = gateway.chat(request)
    try:
        async for event in events:
            if isinstance(event, Start):
                model = event.model
            elif isinstance(event, Piece):
                text += event.text
            elif isinstance(event, End):
                end = event
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()  # a cancelled task must stop the generation now, not when the generator is collected
    if end.reason in ("superseded", "cancelled"):
        raise StaleDocument("A newer request for the same document took the place of this one.")
    return Answer(text, end.reason == "length", model, end.usage, end.timings)


def total_usage(answers: Iterable[Answer]) -> Usage:
    """The tokens of all answers together."""
    return Usage(*(sum(column) for column in zip(*(astuple(answer.usage) for answer in answers), strict=True)))


def total_timings(answers: Iterable[Answer]) -> Timings:
    """The milliseconds of all answers together; they were asked one after the other."""
    return Timings(*(sum(column) for column in zip(*(astuple(answer.timings) for answer in answers), strict=True)))
