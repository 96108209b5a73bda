"""The Python client: `QwenCoder` and its asynchronous sibling `AsyncQwenCoder`.

    with QwenCoder() as coder:  # finds or starts this user's gateway; QwenCoder("http://host:11452", api_key=...) asks a service elsewhere
        print(coder.complete("def fibonacci(n):\\n    ").text)

Every method raises QwencoderError: one sentence in `message`, what to do next in `hint`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from qwencoder_lsp.context.test_files import TestFile
from qwencoder_lsp.core.prompt import Message, PromptParts, Stops
from qwencoder_lsp.core.report import Timings
from qwencoder_lsp.core.results import Review
from qwencoder_lsp.core.text import Snapshot, Span, apply_edits
from qwencoder_lsp.errors import AnswerError
from qwencoder_lsp.features import review as reviewing
from qwencoder_lsp.features.ask import Answer, add_timings, ask, collect
from qwencoder_lsp.features.document import document_all
from qwencoder_lsp.features.generate_tests import write_tests
from qwencoder_lsp.features.refactor import edit
from qwencoder_lsp.gateway.client import GatewayClient
from qwencoder_lsp.gateway.find import connect
from qwencoder_lsp.gateway.protocol import ChatRequest, CompleteRequest, Piece
from qwencoder_lsp.gateway.service import ServiceClient
from qwencoder_lsp.settings import Settings, load

__all__ = ["Answer", "AsyncQwenCoder", "Message", "QwenCoder", "Review", "Written"]

T = TypeVar("T")
FRAMEWORKS = {"python": "pytest", "go": "Go's testing package", "rust": "Rust's built-in test framework", "java": "JUnit 5"} | dict.fromkeys(
    ("javascript", "typescript"), "node:test and node:assert"
)
Messages = str | Sequence[Message]


@dataclass(frozen=True, slots=True)
class Written:
    """Code that the model wrote, as far as it passed the checks of the editor's code actions. refused: a sentence for each part that did not."""

    code: str
    model: str
    timings: Timings
    refused: tuple[str, ...] = ()


class AsyncQwenCoder:
    """Connects at the first use; close it, or use it as a context manager. Safe for many concurrent calls in one event loop."""

    def __init__(self, url: str = "", api_key: str = "", model: str = "auto", settings: Settings | None = None) -> None:
        """url: of a service elsewhere; empty: the gateway of this user, started if need be. model: for every call that names none."""
        self._settings = settings or load()[0]
        self._model = model
        self._local: GatewayClient | None = None
        self._service = ServiceClient.at(url, api_key) if url else None
        self._connecting = asyncio.Lock()

    async def complete(
        self, prefix: str, suffix: str = "", *, path: str = "", max_tokens: int = 128, stop: Sequence[str] = (), model: str = ""
    ) -> Answer:
        """The text between prefix and suffix."""
        at = prefix.rfind("\n") + 1
        parts = PromptParts(prefix[:at], suffix, path=path, typed=prefix[at:])
        request = CompleteRequest(parts, model or self._model, max_tokens, Stops(strings=tuple(stop)), explicit=True)
        return await collect((await self._connected()).complete(request))

    async def chat(
        self, messages: Messages, *, max_tokens: int = 1024, temperature: float = 0.0, json_schema: str | None = None, model: str = ""
    ) -> Answer:
        """The answer to a question or a conversation. json_schema: JSON text of a schema that the answer satisfies."""
        request = ChatRequest(_messages(messages), model or self._model, max_tokens, temperature, json_schema)
        return await ask(await self._connected(), request)

    async def stream(self, messages: Messages, *, max_tokens: int = 1024, temperature: float = 0.0, model: str = "") -> AsyncIterator[str]:
        """The answer as it comes. Closing it stops the work."""
        request = ChatRequest(_messages(messages), model or self._model, max_tokens, temperature)
        async with aclosing((await self._connected()).chat(request)) as events:
            async for event in events:
                if isinstance(event, Piece):
                    yield event.text

    async def review(self, code: str, *, language: str = "python") -> Review:
        """What is wrong with the code; spans are offsets in code points."""
        return await reviewing.review(Snapshot("untitled:code", code, language), await self._connected(), self._for_chat())

    async def generate_tests(self, code: str, *, language: str = "python", framework: str = "", module: str = "code", model: str = "") -> Written:
        """Tests of the code, which they import from `module`: checked as the editor's are. framework: empty for the usual one."""
        used = framework or FRAMEWORKS.get(language, "the usual framework")
        target = TestFile(Path(), used, f"Import what you test from the module `{module}`.")
        snapshot, settings = Snapshot("untitled:code", code, language), self._for_chat(model)
        made = await write_tests(snapshot, Span(0, len(code)), target, None, await self._connected(), settings)
        return Written(made.after, made.model, made.timings)

    async def document(self, code: str, *, language: str = "python", model: str = "") -> Written:
        """The code with documentation of the functions that had none; nothing else of it changes."""
        snapshot = Snapshot("untitled:code", code, language)
        text, fixes, refused = await document_all(snapshot, await self._connected(), self._for_chat(model))
        if refused and not fixes:
            raise AnswerError(refused[0], "Ask again, or choose a larger model.")
        return Written(text, fixes[0].model if fixes else "", add_timings(fix.timings for fix in fixes) if fixes else Timings(), refused)

    async def refactor(self, code: str, instruction: str, *, language: str = "python", model: str = "") -> Written:
        """The code, changed as the instruction says."""
        snapshot = Snapshot("untitled:code", code, language)
        fix = await edit(snapshot, Span(0, len(code)), instruction, await self._connected(), self._for_chat(model))
        return Written(apply_edits(code, fix.edits), fix.model, fix.timings)

    async def embed(self, texts: Sequence[str], *, model: str = "") -> list[list[float]]:
        """One vector of length 1 for each text."""
        return await (await self._connected()).embed(list(texts), model or self._model)

    async def models(self) -> list[str]:
        """The names of the models that can answer."""
        answer = await (await self._connected()).json("GET", "/v1/models")
        return [row["id"] for row in answer["data"]]

    async def close(self) -> None:
        """Close the connections; the gateway lives on."""
        if self._local:
            await self._local.close()
        elif self._service:
            await self._service.close()

    async def __aenter__(self) -> AsyncQwenCoder:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def _connected(self) -> ServiceClient:
        async with self._connecting:
            if self._service is None:
                self._local = await connect(self._settings)
                self._service = self._local.service
            return self._service

    def _for_chat(self, model: str = "") -> Settings:
        """The settings, with that model or this client's."""
        chosen = model or self._model
        if chosen == "auto":
            return self._settings
        return self._settings.model_copy(update={"model": self._settings.model.model_copy(update={"chat": chosen})})


class QwenCoder:
    """The same for programs without an event loop: it runs one in a thread of its own. Safe to use from any thread."""

    def __init__(self, url: str = "", api_key: str = "", model: str = "auto", settings: Settings | None = None) -> None:
        """As AsyncQwenCoder."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="QwenCoder", daemon=True)
        self._coder = AsyncQwenCoder(url, api_key, model, settings)
        self._thread.start()

    def complete(self, prefix: str, suffix: str = "", *, path: str = "", max_tokens: int = 128, stop: Sequence[str] = (), model: str = "") -> Answer:
        """The text between prefix and suffix."""
        return self._run(self._coder.complete(prefix, suffix, path=path, max_tokens=max_tokens, stop=stop, model=model))

    def chat(
        self, messages: Messages, *, max_tokens: int = 1024, temperature: float = 0.0, json_schema: str | None = None, model: str = ""
    ) -> Answer:
        """The answer to a question or a conversation. json_schema: JSON text of a schema that the answer satisfies."""
        return self._run(self._coder.chat(messages, max_tokens=max_tokens, temperature=temperature, json_schema=json_schema, model=model))

    def stream(self, messages: Messages, *, max_tokens: int = 1024, temperature: float = 0.0, model: str = "") -> Iterator[str]:
        """The answer as it comes. Closing it stops the work."""
        pieces = self._coder.stream(messages, max_tokens=max_tokens, temperature=temperature, model=model)
        try:
            while (piece := self._run(_next(pieces))) is not None:
                yield piece
        finally:
            self._run(_closed(pieces))

    def review(self, code: str, *, language: str = "python") -> Review:
        """What is wrong with the code; spans are offsets in code points."""
        return self._run(self._coder.review(code, language=language))

    def generate_tests(self, code: str, *, language: str = "python", framework: str = "", module: str = "code", model: str = "") -> Written:
        """Tests of the code, which they import from `module`: checked as the editor's are. framework: empty for the usual one."""
        return self._run(self._coder.generate_tests(code, language=language, framework=framework, module=module, model=model))

    def document(self, code: str, *, language: str = "python", model: str = "") -> Written:
        """The code with documentation of the functions that had none; nothing else of it changes."""
        return self._run(self._coder.document(code, language=language, model=model))

    def refactor(self, code: str, instruction: str, *, language: str = "python", model: str = "") -> Written:
        """The code, changed as the instruction says."""
        return self._run(self._coder.refactor(code, instruction, language=language, model=model))

    def embed(self, texts: Sequence[str], *, model: str = "") -> list[list[float]]:
        """One vector of length 1 for each text."""
        return self._run(self._coder.embed(texts, model=model))

    def models(self) -> list[str]:
        """The names of the models that can answer."""
        return self._run(self._coder.models())

    def close(self) -> None:
        """Close the connections and end the thread; the gateway lives on."""
        if self._thread.is_alive():
            self._run(self._coder.close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def __enter__(self) -> QwenCoder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:  # Ctrl-C here stops the work there
            future.cancel()
            raise


def _messages(given: Messages) -> tuple[Message, ...]:
    return (Message("user", given),) if isinstance(given, str) else tuple(given)


async def _next(pieces: AsyncIterator[str]) -> str | None:
    return await anext(pieces, None)


async def _closed(pieces: AsyncIterator[str]) -> None:
    if hasattr(pieces, "aclose"):
        await pieces.aclose()
