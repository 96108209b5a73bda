"""One request to the model, collected to its end. A stream or a question goes in, the whole answer with its cost comes out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import astuple, dataclass, field

from qwencoder_lsp.core.report import Timings, Usage
from qwencoder_lsp.errors import StaleDocument
from qwencoder_lsp.gateway.client import Gateway
from qwencoder_lsp.gateway.protocol import ChatRequest, End, Event, Piece, Start


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said. reason: why it ended, as in engine.protocol.Done; logprobs: natural logs, one per token; cuts, line_ends: as there;
    tokens: their ids; start: how the prompt was rendered."""

    text: str
    reason: str
    model: str = ""
    usage: Usage = field(default_factory=Usage)
    timings: Timings = field(default_factory=Timings)
    logprobs: tuple[float, ...] = ()
    cuts: tuple[tuple[int, float], ...] = ()
    line_ends: tuple[tuple[int, float], ...] = ()
    tokens: tuple[int, ...] = ()
    start: Start | None = None

    @property
    def confidence(self) -> float | None:
        """The mean log-probability of the tokens; None without any."""
        return sum(self.logprobs) / len(self.logprobs) if self.logprobs else None

    @property
    def cut(self) -> bool:
        """Whether it reached max_tokens before its end."""
        return self.reason == "length"

    @property
    def replaced(self) -> bool:
        """Whether a newer request took its place."""
        return self.reason in ("superseded", "cancelled")


async def collect(events: AsyncGenerator[Event, None], grown: Callable[[str], None] = lambda _: None) -> Answer:
    """A stream of the gateway up to its end. grown: told the text so far after each piece.

    Raises whatever QwencoderError the stream raises; cancelling stops the generation.
    """
    text, logprobs, tokens, start, end = "", list[float](), list[int](), Start("", Usage(), 0.0), End("cancelled")
    async with aclosing(events):  # a cancelled task must stop the generation now, not when the generator is collected
        async for event in events:
            if isinstance(event, Start):
                start = event
            elif isinstance(event, Piece):
                text += event.text
                logprobs += event.logprobs
                tokens += event.tokens
                grown(text)
            elif isinstance(event, End):
                end = event
    return Answer(text, end.reason, start.model, end.usage, end.timings, tuple(logprobs), end.cuts, end.line_ends, tuple(tokens), start)


async def ask(gateway: Gateway, request: ChatRequest) -> Answer:
    """The answer to `request`. Cancelling stops the generation.

    Raises StaleDocument when a newer request for the same document took its place, and whatever QwencoderError the gateway raises.
    """
    answer = await collect(gateway.chat(request))
    if answer.replaced:
        raise StaleDocument("A newer request for the same document took the place of this one.")
    return answer


def total_usage(answers: Iterable[Answer]) -> Usage:
    """The tokens of all answers together."""
    return add_usage(answer.usage for answer in answers)


def total_timings(answers: Iterable[Answer]) -> Timings:
    """The milliseconds of all answers together; they were asked one after the other."""
    return add_timings(answer.timings for answer in answers)


def add_usage(parts: Iterable[Usage]) -> Usage:
    """The sum, count by count."""
    return Usage(*(sum(column) for column in zip(*map(astuple, parts), strict=True)))


def add_timings(parts: Iterable[Timings]) -> Timings:
    """The sum, stage by stage."""
    return Timings(*(sum(column) for column in zip(*map(astuple, parts), strict=True)))
