"""The engine's loop in this process, for tests: what is posted, and what it sends."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from qwencoder_lsp.engine.costs import Costs, Point
from qwencoder_lsp.engine.hosttier import HostTier
from qwencoder_lsp.engine.lanes import Lanes
from qwencoder_lsp.engine.loop import Engine
from qwencoder_lsp.engine.protocol import Chunk, Done, Error, FromEngine, Generate, Shutdown

COSTS = ((1, 1, 29.0), (48, 1, 320.0))
CODE = "".join(f"def scale_{i}(value):\n    return value * {i}\n\n\n" for i in range(120))


class Running:
    """An engine with what it sends."""

    def __init__(self, engine: Engine, sent: queue.Queue[FromEngine]) -> None:
        self.engine, self.sent = engine, sent
        assert engine.lanes is not None
        self.vocabulary = engine.lanes.vocabulary
        self._ids = iter(range(1, 1000))

    def tokens(self, text: str) -> tuple[int, ...]:
        return tuple(self.vocabulary.tokenize(text))

    def post(self, text: str | tuple[int, ...], max_tokens: int, **fields: object) -> int:
        id = next(self._ids)
        tokens = self.tokens(text) if isinstance(text, str) else text
        self.engine.post(Generate(id, tokens, max_tokens, **fields))  # type: ignore[arg-type]  # the test's keywords
        return id

    def until(self, found: Callable[[FromEngine], bool]) -> list[FromEngine]:
        """What is sent up to and with the first message that is meant."""
        messages = []
        while True:
            messages.append(self.sent.get(timeout=300))
            if found(messages[-1]):
                return messages

    def ends(self, *ids: int) -> dict[int, tuple[str, Done | Error]]:
        """Text and end of each request."""
        texts, ends = dict.fromkeys(ids, ""), dict[int, Done | Error]()
        while len(ends) < len(ids):
            message = self.sent.get(timeout=300)
            if isinstance(message, Chunk) and message.id in texts:
                texts[message.id] += message.text
            elif isinstance(message, Done | Error) and message.id in texts:
                ends[message.id] = message
        return {id: (texts[id], ends[id]) for id in ids}

    def end(self, id: int) -> tuple[str, Done]:
        text, done = self.ends(id)[id]
        assert isinstance(done, Done), done
        return text, done


@contextmanager
def serving(model: Path, costs: Sequence[Point] = COSTS, draft: Path | None = None) -> Iterator[Running]:
    """An engine with small lanes, which is ended with the test. draft: a model that writes ahead."""
    tier, sent = HostTier(64 << 20), queue.Queue[FromEngine]()

    def load(on_ready: Callable[[], None]) -> Lanes:
        return Lanes(model, gpu_layers=0, threads=2, n_ctx=512, max_ctx=2048, tier=tier, on_ready=on_ready, draft=draft)

    engine = Engine(load, Costs(costs), 2, sent.put)
    thread = threading.Thread(target=engine.run)
    thread.start()
    try:
        yield Running(engine, sent)
    finally:
        engine.post(Shutdown())
        thread.join()
        if engine.lanes:
            engine.lanes.close()
