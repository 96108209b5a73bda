"""The models behind the gateway: which one a request means, its tokenizer, its engine process. Starts engines on demand and stops idle ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qwencoder_lsp import paths
from qwencoder_lsp.engine.process import EngineSpec, usable_cores
from qwencoder_lsp.engine.protocol import Done
from qwencoder_lsp.engine.supervise import EngineProcess
from qwencoder_lsp.engine.vocabulary import ByteTokenizer
from qwencoder_lsp.errors import ModelMissing, ModelUnsuitable, QwencoderError
from qwencoder_lsp.gateway.protocol import ModelState
from qwencoder_lsp.models import calibration, choose, store
from qwencoder_lsp.models.store import InstalledModel
from qwencoder_lsp.prompt.segments import SegmentTokenizer
from qwencoder_lsp.settings import Settings

MAX_LOADED = 2
RETRY_S = 10.0  # a model that failed to load is not tried again for this long, or each keystroke would start a process
PREFILL_SAMPLE, DECODE_SAMPLE = 32, 8  # tokens; shorter runs say little
FASTER = 1.2
SCRIPTED = InstalledModel("scripted", Path("scripted"), 0, None)


@dataclass(slots=True)
class Slot:
    """What is known of one model since the gateway started."""

    model: InstalledModel
    lock: asyncio.Lock
    tokenizer: SegmentTokenizer | None = None
    engine: EngineProcess | None = None
    loading: bool = False
    failure: QwencoderError | None = None
    failed_at: float = 0.0
    used: float = 0.0


class ModelHost:
    """`changed` is called whenever `states` may have changed."""

    def __init__(self, settings: Settings, changed: Callable[[], None]) -> None:
        self._settings = settings
        self._changed = changed
        self._threads = settings.engine.threads or usable_cores()
        self._slots: dict[str, Slot] = {}

    def choose(self, role: str, requested: str) -> InstalledModel:
        """The model that `requested` (a name, a path or "auto") means for `role` ("completion" or "chat").

        Raises ModelUnknown, ModelMissing, ModelCorrupt; ModelUnsuitable when the catalogue says that it cannot do this.
        """
        if requested == SCRIPTED.name:
            return SCRIPTED
        if requested != "auto":
            model = store.resolve(requested)
            if role == "completion" and model.entry is not None and not model.has_role(role):
                raise ModelUnsuitable(f"{model.name} does not fill in the middle well enough for completion.", f"Use {choose.recommended()}.")
            return model
        here = store.installed()
        speeds = calibration.load(here, self._threads)
        chosen = choose.completion_model(here, speeds) if role == "completion" else choose.chat_model(here, speeds)
        if chosen is None:
            name = choose.recommended()
            raise ModelMissing("No model for this is installed.", f"Run: qwencoder-lsp models pull {name}")
        return chosen

    async def load(self, model: InstalledModel) -> tuple[EngineProcess, SegmentTokenizer]:
        """The model's engine and tokenizer, started if they are not there. Raises EngineFailed."""
        slot = self._slots.setdefault(str(model.path), Slot(model, asyncio.Lock()))
        slot.used = time.monotonic()
        async with slot.lock:
            if slot.failure and time.monotonic() - slot.failed_at < RETRY_S:
                raise slot.failure
            if slot.engine is None or not slot.engine.alive:
                await self._start(slot)
            assert slot.engine is not None and slot.tokenizer is not None
            return slot.engine, slot.tokenizer

    def observe(self, model: InstalledModel, done: Done) -> None:
        """Learn from a finished request that the machine is faster than it seemed at calibration, when others may have used its cores."""
        known = calibration.load([model], self._threads).get(model.name)
        if model is SCRIPTED or known is None:
            return
        computed = done.prompt_tokens - done.reused_tokens
        prefill = computed / done.prefill_ms * 1000 if computed >= PREFILL_SAMPLE else 0.0
        decode = (done.generated_tokens - 1) / done.decode_ms * 1000 if done.generated_tokens >= DECODE_SAMPLE else 0.0
        if max(prefill / known.prefill, decode / known.decode) > FASTER:
            calibration.save(model, self._threads, calibration.Speed(max(prefill, known.prefill), max(decode, known.decode)))

    def states(self) -> tuple[ModelState, ...]:
        """Every model asked for so far."""
        return tuple(_state(slot) for slot in self._slots.values())

    async def unload_idle(self) -> None:
        """Stop engines that nobody used for engine.idle_unload_s."""
        for slot in self._slots.values():
            if slot.engine and slot.engine.active:
                slot.used = time.monotonic()
            elif slot.engine and time.monotonic() - slot.used > self._settings.engine.idle_unload_s:
                await self._stop(slot)

    async def close(self) -> None:
        """Stop all engines."""
        for slot in self._slots.values():
            await self._stop(slot)

    async def _start(self, slot: Slot) -> None:
        slot.loading, slot.failure, slot.engine = True, None, None
        self._changed()
        try:
            await self._make_room(slot)
            if slot.tokenizer is None:
                slot.tokenizer = await _tokenizer(slot.model)
            slot.engine = await EngineProcess.start(self._spec(slot), paths.log_dir() / "engine.log")
            self._remember_speed(slot)
        except QwencoderError as error:
            slot.failure, slot.failed_at = error, time.monotonic()
            raise
        finally:
            slot.loading = False
            self._changed()

    async def _make_room(self, wanted: Slot) -> None:
        running = [s for s in self._slots.values() if s.engine and s.engine.alive and s is not wanted]
        for slot in sorted((s for s in running if s.engine and not s.engine.active), key=lambda s: s.used)[: len(running) - MAX_LOADED + 1]:
            await self._stop(slot)

    def _spec(self, slot: Slot) -> EngineSpec:
        assert slot.tokenizer is not None
        engine = self._settings.engine
        n_ctx = min(engine.context, slot.tokenizer.n_ctx_train or engine.context)
        known = calibration.load([slot.model], self._threads).get(slot.model.name)
        speeds = (known.prefill, known.decode) if known else (0.0, 0.0)
        return EngineSpec(slot.model.name, str(slot.model.path), n_ctx, self._threads, engine.gpu_layers, *speeds)

    def _remember_speed(self, slot: Slot) -> None:
        assert slot.engine is not None
        info = slot.engine.info
        if slot.model is not SCRIPTED and not calibration.load([slot.model], self._threads):
            calibration.save(slot.model, self._threads, calibration.Speed(info.prefill_speed, info.decode_speed))

    async def _stop(self, slot: Slot) -> None:
        engine, slot.engine = slot.engine, None
        if engine:
            await engine.stop()
            self._changed()


async def _tokenizer(model: InstalledModel) -> SegmentTokenizer:
    if model is SCRIPTED:
        return SegmentTokenizer(ByteTokenizer())

    def load() -> SegmentTokenizer:
        from qwencoder_lsp.engine.binding import load_tokenizer

        return SegmentTokenizer(load_tokenizer(model.path))

    return await asyncio.to_thread(load)


def _state(slot: Slot) -> ModelState:
    name, engine = slot.model.name, slot.engine
    if slot.loading:
        return ModelState(name, "loading")
    if slot.failure:
        return ModelState(name, "failed", str(slot.failure))
    if engine is None or not engine.alive:
        return ModelState(name, "unloaded")
    info = engine.info
    return ModelState(name, "ready", "", engine.pid, info.device, info.prefill_speed, info.decode_speed)
