"""bench: what this machine does with a model, measured through the same gateway that editors use."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict, dataclass
from pathlib import Path

from qwencoder_lsp import demo
from qwencoder_lsp.cli.options import Json, Model, settings, with_gateway
from qwencoder_lsp.core.prompt import Message, PromptParts, Stops
from qwencoder_lsp.features.ask import Answer, collect
from qwencoder_lsp.gateway.client import GatewayClient
from qwencoder_lsp.gateway.protocol import ChatRequest, CompleteRequest, Event, Piece
from qwencoder_lsp.settings import Settings

KEYS = 12
LINE = "\n\ndef total_of(items):\n    result = 0\n"
TYPED = "    for item "


@dataclass(frozen=True, slots=True)
class Measured:
    """One figure; more is better in tokens per second, less in milliseconds."""

    name: str
    value: float
    unit: str


def bench(as_json: Json = False, model: Model = "") -> None:
    """Measure this machine: start of the model, first ghost text in a file, ghost text per key, speed of a chat. Takes about half a minute."""
    chosen = settings(model)
    found = with_gateway(chosen, lambda client: _measure(client, chosen))
    if as_json:
        print(json.dumps([asdict(m) for m in found]))
        return
    width = max(len(m.name) for m in found)
    for m in found:
        print(f"{m.name:{width}}  {m.value:8.0f} {m.unit}")


async def _measure(client: GatewayClient, chosen: Settings) -> list[Measured]:
    source = _source()
    start = time.perf_counter()
    await collect(client.complete(_completion("x = ", chosen)))
    loaded = (time.perf_counter() - start) * 1000
    cold_ms, cold = await _timed(client, source + LINE, chosen)
    keys = [await _timed(client, source + LINE + TYPED[: i + 1], chosen) for i in range(KEYS)]
    question = (Message("user", f"Explain what this code does, file by file.\n\n{source[:3000]}"),)
    chat = await collect(client.chat(ChatRequest(question, chosen.model.chat, max_tokens=64)))
    times = sorted(ms for ms, _ in keys)
    computed = cold.usage.prompt - cold.usage.reused
    return [
        Measured("model ready for a first answer", loaded, "ms"),
        Measured(f"first ghost text in a file ({cold.usage.prompt} tokens read)", cold_ms, "ms"),
        Measured("prefill", computed / cold.timings.prefill * 1000 if cold.timings.prefill else 0.0, "tokens/s"),
        Measured("ghost text per key, median", statistics.median(times), "ms"),
        Measured("ghost text per key, slowest of 12", times[-1], "ms"),
        Measured("tokens read per key, of the whole prompt", statistics.mean(a.usage.prompt - a.usage.reused for _, a in keys), "tokens"),
        Measured("chat", (chat.usage.generated - 1) / chat.timings.decode * 1000 if chat.timings.decode else 0.0, "tokens/s"),
    ]


async def _timed(client: GatewayClient, text: str, chosen: Settings) -> tuple[float, Answer]:
    """Milliseconds to the first text, as an editor would wait for it; then the rest."""
    start, first = time.perf_counter(), 0.0

    async def noting() -> AsyncGenerator[Event, None]:
        nonlocal first
        async with aclosing(client.complete(_completion(text, chosen))) as events:
            async for event in events:
                if isinstance(event, Piece) and not first:
                    first = (time.perf_counter() - start) * 1000
                yield event

    answer = await collect(noting())
    return first or (time.perf_counter() - start) * 1000, answer


def _completion(text: str, chosen: Settings) -> CompleteRequest:
    parts = PromptParts(text, "\n\n\nprint(total_of([1, 2, 3]))\n", "bench.py", "bench", "python")
    return CompleteRequest(parts, chosen.model.completion, 16, Stops(max_lines=1), explicit=True)


def _source() -> str:
    """Some real code of ordinary length: this package's own."""
    package = Path(demo.__file__).parent.parent
    return "\n".join((package / name).read_text("utf-8") for name in ("features/complete.py", "postprocess/overlap.py"))[:6000]
