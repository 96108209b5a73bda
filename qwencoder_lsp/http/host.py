"""The models behind the gateway: which one a request means, its tokenizer, its engine process. Starts engines on demand, unloads idle models.

An unloaded model's engine process stays: it holds the prefixes that were computed, so that the model is warm as soon as it is loaded again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from qwencoder_lsp import paths
from qwencoder_lsp.engine.costs import Costs
from qwencoder_lsp.engine.pieces import PieceTokenizer
from qwencoder_lsp.engine.process import PREFILL_ROWS, EngineSpec, memory_bytes, usable_cores
from qwencoder_lsp.engine.protocol import Calibrated, Done, Engine, Running
from qwencoder_lsp.engine.supervise import EngineEvent, EngineProcess
from qwencoder_lsp.engine.vocabulary import ByteTokenizer
from qwencoder_lsp.errors import ModelMissing, ModelUnsuitable, QwencoderError
from qwencoder_lsp.gateway.keys import own_key
from qwencoder_lsp.gateway.protocol import ModelState
from qwencoder_lsp.http.adapters import AdapterScales
from qwencoder_lsp.models import calibration, choose, store
from qwencoder_lsp.models.choose import Choice, Machine
from qwencoder_lsp.models.store import InstalledModel
from qwencoder_lsp.prompt.segments import SegmentTokenizer
from qwencoder_lsp.settings import Settings

CHOICE_S = 1.0  # a choice of "auto" holds for this long: it reads the disk, and keystrokes come faster than models
RETRY_S = 10.0  # a model that failed to load is not tried again for this long, or each keystroke would start a process
DRAFT_SHARE = 0.5  # of the bytes that a model reads for each token, at most, for one that writes ahead for it
MEMORY_SHARE = 0.75  # of the machine's memory, for all loaded models
CACHE_SHARE, CACHE_OF_MODEL = 1 / 16, 0.4  # of the machine's memory; of the model's file, so that an engine stays below twice its size
LEAST_CACHE, MOST_CACHE = 256 << 20, 4 << 30
SCRIPTED = InstalledModel("scripted", Path("scripted"), 0, None)
REMOTE = InstalledModel("remote", Path("remote"), 0, None)  # the model at remote.url
WEIGHTLESS = (SCRIPTED, REMOTE)


@dataclass(slots=True)
class Slot:
    """What is known of one model since the gateway started."""

    model: InstalledModel
    tokenizer: SegmentTokenizer | None = None
    engine: Engine | None = None
    loading: bool = False
    unloading: bool = False
    starting: asyncio.Task[None] | None = None
    failure: QwencoderError | None = None
    failed_at: float = 0.0
    used: float = 0.0

    @property
    def resident(self) -> bool:
        """Whether the model is in memory and is to stay there."""
        return self.engine is not None and self.engine.alive and self.engine.loaded and not self.unloading


class ModelHost:
    """`changed` is called whenever `states` may have changed, `ended` with a model's name and the account of each request that has ended."""

    def __init__(self, settings: Settings, changed: Callable[[], None], ended: Callable[[str, Done], None] = lambda model, done: None) -> None:
        self._settings = settings
        self._changed = changed
        self._ended = ended
        self._threads = settings.engine.threads or usable_cores()
        self._slots: dict[str, Slot] = {}
        self._chosen: dict[tuple[str, bool], tuple[float, Choice]] = {}
        self.adapters = AdapterScales(settings, self.choose)

    def choose(self, role: str, requested: str, *, complex_task: bool = True) -> Choice:
        """The model that `requested` (a name, a path or "auto") means for `role` ("completion" or "chat"), and why.

        Raises ModelUnknown, ModelMissing, ModelCorrupt; ModelUnsuitable when the catalogue says that it cannot do this.
        """
        if requested == SCRIPTED.name:
            return Choice(SCRIPTED)
        if requested == REMOTE.name or (requested == "auto" and self._settings.remote.url):
            if not self._settings.remote.url:
                raise ModelMissing("There is no remote model.", "Set remote.url.")
            return Choice(REMOTE, "It is set by remote.url." if requested == "auto" else "")
        if requested != "auto":
            model = store.resolve(requested)
            if role == "completion" and model.entry is not None and not model.has_role(role):
                raise ModelUnsuitable(f"{model.name} does not fill in the middle well enough for completion.", f"Use {choose.recommended()}.")
            return Choice(model)
        at, known = self._chosen.get((role, complex_task), (-CHOICE_S, None))
        if known and time.monotonic() - at < CHOICE_S:
            return known
        here = store.installed()
        loaded = {slot.model.name for slot in self._slots.values() if slot.resident or slot.loading}
        machine = Machine(calibration.load(here, self._threads), self._budget(), self._settings.engine.context, loaded)
        chosen = choose.choose(role, here, machine, complex_task=complex_task)
        if chosen is None:
            name = choose.recommended()
            raise ModelMissing("No model for this is installed.", f"Run: qwencoder-lsp models pull {name}")
        self._chosen[role, complex_task] = time.monotonic(), chosen
        return chosen

    async def load(self, model: InstalledModel) -> tuple[Engine, SegmentTokenizer]:
        """The model's engine and tokenizer, started if they are not there. A start goes on when its caller is cancelled: the next one wants it.

        Raises EngineFailed; ModelUnsuitable when the model does not fit into memory; ModelError when that of model.draft is not there.
        """
        slot = self._slots.setdefault(str(model.path), Slot(model))
        slot.used = time.monotonic()
        slot.unloading = False  # a request that comes before the engine has unloaded the model keeps it there
        if slot.failure and time.monotonic() - slot.failed_at < RETRY_S:
            raise slot.failure
        if slot.starting is None and (slot.engine is None or not slot.engine.alive):
            slot.starting = asyncio.create_task(self._start(slot))
            slot.starting.add_done_callback(lambda task: task.cancelled() or task.exception())  # it may have lost everyone who waited
        if slot.starting is not None:
            await asyncio.shield(slot.starting)
        elif not slot.resident:
            self._make_room(slot)
        assert slot.engine is not None and slot.tokenizer is not None
        return slot.engine, slot.tokenizer

    def states(self) -> tuple[ModelState, ...]:
        """Every model asked for so far."""
        return tuple(_state(slot) for slot in self._slots.values())

    def running(self) -> list[tuple[str, Running]]:
        """What the engines have to do now, each with its model."""
        return [(slot.model.name, work) for slot in self._slots.values() if slot.engine and slot.engine.alive for work in slot.engine.running]

    async def unload_idle(self) -> None:
        """Let models leave memory that nobody used for engine.idle_unload_s."""
        for slot in self._slots.values():
            if slot.engine and slot.engine.active:
                slot.used = time.monotonic()
            elif slot.resident and time.monotonic() - slot.used > self._settings.engine.idle_unload_s:
                self._unload(slot)

    async def tokenizer(self, model: InstalledModel) -> SegmentTokenizer:
        """The model's vocabulary, without its weights."""
        slot = self._slots.setdefault(str(model.path), Slot(model))
        if slot.tokenizer is None:
            slot.tokenizer = await _tokenizer(model)
        return slot.tokenizer

    def models(self) -> tuple[InstalledModel, ...]:
        """Every model asked for so far."""
        return tuple(slot.model for slot in self._slots.values())

    def engine(self, model: InstalledModel) -> Engine | None:
        """The model's engine, where one runs."""
        slot = self._slots.get(str(model.path))
        return slot.engine if slot and slot.engine and slot.engine.alive else None

    def unload(self, model: InstalledModel) -> str:
        """Let the model leave memory as soon as nothing runs; the state that it is in then."""
        slot = self._slots.get(str(model.path))
        if slot is None or not slot.resident:
            return "unloaded"
        self._unload(slot)
        return "unloading"

    async def forget(self, path: Path) -> bool:
        """End the engine of the model in that file, which is about to go. False when it has work."""
        slot = self._slots.get(str(path))
        if slot and (slot.loading or (slot.engine and slot.engine.active)):
            return False
        self._chosen.clear()
        if slot:
            del self._slots[str(path)]
            await self._stop(slot)
        return True

    def explain(self, role: str) -> dict[str, str]:
        """Which model "auto" means for `role`, and why."""
        wanted = self._settings.model.completion if role == "completion" else self._settings.model.chat
        try:
            chosen = self.choose(role, wanted)
        except QwencoderError as error:
            return {"model": "", "why": str(error)}
        return {"model": chosen.model.name, "why": chosen.why or f"It is set by model.{role}."}

    async def close(self) -> None:
        """Stop all engines."""
        for slot in self._slots.values():
            if slot.starting is not None:
                slot.starting.cancel()
                await asyncio.gather(slot.starting, return_exceptions=True)
            await self._stop(slot)

    async def _start(self, slot: Slot) -> None:
        slot.loading, slot.failure, slot.engine = True, None, None
        self._changed()
        try:
            self._make_room(slot)
            if slot.tokenizer is None:
                slot.tokenizer = await _tokenizer(slot.model)
            slot.engine = await (self._connect(slot) if slot.model is REMOTE else self._spawn(slot))
        except QwencoderError as error:
            slot.failure, slot.failed_at = error, time.monotonic()
            raise
        finally:
            slot.loading, slot.starting = False, None
            self._changed()

    async def _spawn(self, slot: Slot) -> Engine:
        return await EngineProcess.start(self._spec(slot), paths.log_dir() / "engine.log", lambda event: self._note(slot, event))

    async def _connect(self, slot: Slot) -> Engine:
        from qwencoder_lsp.engine.remote import RemoteEngine  # with its HTTP client, which few need

        remote = self._settings.remote
        key = own_key("QWENCODER_REMOTE_KEY", remote.key_file, "remote.key_file")
        return await RemoteEngine.connect(remote.url, key, remote.model, lambda done: self._note(slot, done))

    def _make_room(self, wanted: Slot) -> None:
        """Unload models that were used longest ago until `wanted` fits into memory beside those that work.

        Raises ModelUnsuitable when it never can.
        """
        budget = self._budget()
        if self._memory(wanted) > budget and wanted.model not in WEIGHTLESS:
            need, have = self._memory(wanted) / 2**30, budget / 2**30
            raise ModelUnsuitable(
                f"{wanted.model.name} needs about {need:.1f} GB of memory, and {have:.1f} GB may be used.",
                "Take a smaller model, or raise engine.memory_mb.",
            )
        resident = [s for s in self._slots.values() if (s.resident or s.loading) and s is not wanted]
        used = sum(self._memory(s) for s in resident) + self._memory(wanted)
        for slot in sorted((s for s in resident if s.engine and not s.engine.active), key=lambda s: s.used):
            if used <= budget:
                break
            self._unload(slot)
            used -= self._memory(slot)

    def _memory(self, slot: Slot) -> int:
        """Bytes that it is expected to take, with what writes ahead for it."""
        context, draft = self._settings.engine.context, self._draft(slot.model)
        return slot.model.memory(context) + (draft.memory(context) if draft else 0)

    def _draft(self, model: InstalledModel) -> InstalledModel | None:
        """The model that writes ahead for this one: that of model.draft, where it is much smaller. Raises ModelError."""
        if not self._settings.model.draft or model in WEIGHTLESS:
            return None
        draft = store.resolve(self._settings.model.draft)
        return draft if draft.active_bytes <= DRAFT_SHARE * model.active_bytes else None

    def _budget(self) -> int:
        """Bytes for all loaded models."""
        limit = self._settings.engine.memory_mb
        return int(memory_bytes() * MEMORY_SHARE) if limit is None else limit << 20

    def _unload(self, slot: Slot) -> None:
        assert slot.engine is not None
        slot.unloading = True
        slot.engine.unload()

    def _spec(self, slot: Slot) -> EngineSpec:
        assert slot.tokenizer is not None
        engine = self._settings.engine
        trained = slot.tokenizer.n_ctx_train or engine.context
        known = calibration.load([slot.model], self._threads).get(slot.model.name)
        draft = self._draft(slot.model)
        share = min(memory_bytes() * CACHE_SHARE, slot.model.size * CACHE_OF_MODEL)
        cache = min(MOST_CACHE, max(LEAST_CACHE, int(share))) if engine.cache_mb is None else engine.cache_mb << 20
        return EngineSpec(
            slot.model.name,
            str(slot.model.path),
            min(engine.context, trained),
            self._threads,
            engine.gpu_layers,
            known.costs if known else (),
            engine.max_context or (1 << 20),
            cache,
            str(paths.prefixes_dir()),
            engine.saved_mb << 20,
            engine.saved_days,
            (engine.memory_mb or 0) << 20,
            str(draft.path) if draft else "",
        )

    def _note(self, slot: Slot, event: EngineEvent) -> None:
        """What the engine tells of its model."""
        if isinstance(event, Done):
            self._ended(slot.model.name, event)
        elif isinstance(event, Calibrated):
            self._remember(slot, event.costs)
        else:
            slot.unloading = False
            self._changed()

    def _remember(self, slot: Slot, costs: tuple[tuple[int, int, float], ...]) -> None:
        if slot.model is not SCRIPTED and slot.engine is not None:  # it may be stopping
            speed = speed_of(costs)
            slot.engine.info = replace(slot.engine.info, prefill_speed=speed.prefill, decode_speed=speed.decode)
            calibration.save(slot.model, self._threads, speed)
            self._changed()

    async def _stop(self, slot: Slot) -> None:
        engine, slot.engine = slot.engine, None
        if engine:
            await engine.stop()
            self._changed()


def speed_of(costs: tuple[tuple[int, int, float], ...]) -> calibration.Speed:
    """The two speeds by which models are chosen, of a table of costs."""
    table = Costs(costs)
    return calibration.Speed(PREFILL_ROWS * 1000 / table.table(PREFILL_ROWS), 1000 / table.table(1), costs)


async def _tokenizer(model: InstalledModel) -> SegmentTokenizer:
    if model is SCRIPTED:
        return SegmentTokenizer(ByteTokenizer())
    if model is REMOTE:
        return SegmentTokenizer(PieceTokenizer())

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
    if engine is None or not engine.alive or not engine.loaded:
        return ModelState(name, "unloaded")
    info = engine.info
    return ModelState(name, "ready", "", engine.pid, info.device, info.prefill_speed, info.decode_speed, engine.evaluated)
