"""Which LoRA adapters a request is answered under, and with which scales."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from qwencoder_lsp.errors import ModelError
from qwencoder_lsp.http.failures import FieldError
from qwencoder_lsp.http.openai_bodies import Sampled
from qwencoder_lsp.models import adapters
from qwencoder_lsp.models.adapters import InstalledAdapter, parse
from qwencoder_lsp.models.choose import Choice
from qwencoder_lsp.models.store import InstalledModel
from qwencoder_lsp.settings import Settings

NONE = "none"

Scales = tuple[tuple[str, float], ...]  # files with their scales, as engine.protocol.Generate has them


class AdapterScales:
    """What is used where a request says nothing: the adapters of the settings, until scales are set at run time.

    Both count for the model that the settings mean for the role, since an adapter is made for one model. choose: as ModelHost.choose.
    """

    def __init__(self, settings: Settings, choose: Callable[[str, str], Choice]) -> None:
        self._models = {"completion": settings.model.completion, "chat": settings.model.chat}
        self._own = {"completion": settings.model.completion_adapter, "chat": settings.model.chat_adapter}
        self._choose = choose
        self._set: dict[Path, float] | None = None

    def known(self) -> list[InstalledAdapter]:
        """Those of the settings that are there, and the installed ones, by name; an adapter's place is its id."""
        found = {a.path: a for a in adapters.installed()}
        for value in self._own.values():
            path = Path(parse(value)[0])
            if path.is_absolute() and path.is_file():
                found[path] = adapters.resolve(str(path))
        return sorted(found.values(), key=lambda a: (a.name, str(a.path)))

    def scale(self, adapter: InstalledAdapter) -> float:
        """Its scale where a request says nothing; of the two roles' the larger one."""
        return max(self._scales(role).get(adapter.path, 0.0) for role in self._own)

    def usual(self, role: str, model: InstalledModel) -> Scales:
        """Where a request says nothing. role: "completion" or "chat". Raises ModelUnknown, ModelMissing when the settings' adapter is not there."""
        if self._set is None and not self._own[role]:
            return ()
        scales = self._scales(role)
        if self._set is None and not scales:
            adapters.resolve(parse(self._own[role])[0])
        return tuple((str(path), scale) for path, scale in scales.items() if scale) if self._meant(role, model) else ()

    def set(self, scales: Mapping[int, float]) -> None:
        """From now on these, by id, and no others. Raises FieldError for an id that there is not."""
        known = self.known()
        self._set = {_at(known, id_).path: scale for id_, scale in scales.items()}

    def chosen(self, body: Sampled, role: str, model: InstalledModel) -> Scales:
        """What a request to `model` is answered under. Raises FieldError, ModelUnknown, ModelMissing."""
        if body.lora is not None:
            if body.adapter:
                raise FieldError("adapter", "only one of adapter and lora can be obeyed.")
            known = self.known()
            return tuple((str(_at(known, entry.id).path), entry.scale) for entry in body.lora)
        if body.adapter == NONE:
            return ()
        if body.adapter:
            name, scale = parse(body.adapter)
            for adapter in self.known():  # by name: only the service's owner chooses files by path
                if adapter.name == name:
                    return ((str(adapter.path), scale),)
            adapters.find(name)
        return self.usual(role, model)

    def _scales(self, role: str) -> dict[Path, float]:
        """By file; only of files that are there."""
        if self._set is not None:
            return {path: scale for path, scale in self._set.items() if path.is_file()}
        name, scale = parse(self._own[role])
        try:
            return {adapters.resolve(name).path: scale} if name else {}
        except ModelError:  # a request gets to hear of it
            return {}

    def _meant(self, role: str, model: InstalledModel) -> bool:
        try:
            return self._choose(role, self._models[role]).model.path == model.path
        except ModelError:  # the settings mean none that is here
            return False


def _at(known: Sequence[InstalledAdapter], id_: int) -> InstalledAdapter:
    if not 0 <= id_ < len(known):
        raise FieldError("lora", f"there is no adapter with id {id_}.", "See: GET /lora-adapters")
    return known[id_]
