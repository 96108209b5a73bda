from collections.abc import AsyncGenerator, Callable

import pytest

from qwencoder_lsp.core.report import Timings, Usage
from qwencoder_lsp.gateway.protocol import ChatRequest, CompleteRequest, End, Event, Piece, Start


class ScriptedGateway:
    """Answers each chat request with the next text of its script, in pieces; remembers the requests. A text that ends in "…" was cut off."""

    def __init__(self, answers: tuple[str, ...]) -> None:
        self.answers = list(answers)
        self.requests: list[ChatRequest] = []
        self.closed = 0

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        self.requests.append(request)
        answer = self.answers.pop(0)
        text = answer.removesuffix("…")
        try:
            yield Start("scripted", Usage(prompt=10), 1.0)
            for at in range(0, len(text), 5):
                yield Piece(text[at : at + 5])
            yield End("stop_token" if text == answer else "length", Usage(prompt=10, generated=len(text)), Timings(generate=2.0))
        finally:
            self.closed += 1

    def complete(self, request: CompleteRequest) -> AsyncGenerator[Event, None]:
        raise AssertionError("review and fix do not complete")


@pytest.fixture
def scripted() -> Callable[..., ScriptedGateway]:
    """Makes a gateway that gives these answers one after the other."""
    return lambda *answers: ScriptedGateway(answers)
