"""The service's own routes: its health, its models, and its figures."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

import psutil
from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse
from pydantic import Field
from starlette.responses import Response

from qwencoder_lsp import __version__
from qwencoder_lsp.errors import ModelError, ModelMissing, ModelUnknown, RequestError
from qwencoder_lsp.http.downloads import Downloads
from qwencoder_lsp.http.failures import FieldError, failure, shape
from qwencoder_lsp.http.openai_bodies import Body
from qwencoder_lsp.http.openai_plan import AUTO, chat_model, text_model
from qwencoder_lsp.http.service import Service
from qwencoder_lsp.http.stream import EventStream, JsonReply
from qwencoder_lsp.models import store
from qwencoder_lsp.models.catalogue import ModelEntry, catalogue_name, find, load_catalogue
from qwencoder_lsp.models.store import InstalledModel
from qwencoder_lsp.observe.metrics import CONTENT_TYPE

Dict = dict[str, Any]
Name = Annotated[str, Path(min_length=1, max_length=200)]


class ModelBody(Body):
    """Which model; an empty name or "auto" is the one of the settings."""

    model_name: str = ""


class DownloadBody(Body):
    """Which model of the catalogue, and in which quantisation; an empty one takes the model's first. accept_licence: the licence that the user has
    seen and accepted, where it is not Apache-2.0. stream: tell of the progress as it goes."""

    model_name: str = Field(min_length=1)
    quantization: str = ""
    accept_licence: str = ""
    stream: bool = False


def models_routes(service: Service, downloads: Downloads) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["service"])
    started = int(time.time())

    @router.get("/health")
    async def health() -> Dict:
        return health_of(service)

    @router.get("/metrics", response_class=Response, responses={200: {"content": {CONTENT_TYPE: {}}}})
    async def metrics() -> Response:
        models = {m.name: (m.state == "ready", resident(m.pid)) for m in service.status.models}
        return Response(service.metrics.text(service.active, models), media_type=CONTENT_TYPE)

    @router.get("/v1/models")
    async def openai_models() -> Dict:
        return {"object": "list", "data": [row(m, started) for m in present(service)]}

    @router.get("/v1/models/{name}")
    async def openai_model(name: Name) -> Response:
        found = next((m for m in present(service) if m.name in (name, catalogue_name(name))), None)
        if found is None:
            entry = find(name)  # says what there is instead
            raise ModelMissing(f"The model {entry.name} is not installed.", "Fetch it: POST /models/download")
        return JSONResponse(row(found, started))

    @router.get("/models")
    async def models() -> Dict:
        loaded = {m.name: m.state for m in service.status.models}
        rows = [_entry_row(entry, loaded.get(entry.name, "unloaded"), service.settings.engine.context) for entry in load_catalogue()]
        return {
            "object": "list",
            "data": [row(m, started) for m in present(service)],
            "models": rows,
            "auto": {role: service.host.explain(role) for role in ("completion", "chat")},
        }

    @router.post("/models/download", status_code=202)
    async def download(body: DownloadBody) -> Response:
        entry = find(body.model_name)
        if body.quantization:
            try:
                entry = find(f"{entry.model}:{body.quantization}")
            except ModelUnknown as error:
                raise FieldError("quantization", error.message, error.hint) from error
        begun = downloads.start(entry, body.accept_licence)
        return EventStream(downloads.follow(begun)) if body.stream else JSONResponse(begun.shown(), 202)

    @router.get("/models/download")
    async def all_downloads() -> Dict:
        return {"downloads": [download.shown() for download in downloads.all()]}

    @router.get("/models/download/{name}")
    async def one_download(name: Name) -> Response:
        found = downloads.get(name)
        return JSONResponse(found.shown()) if found else _no_download(name)

    @router.delete("/models/download/{name}")
    async def cancel_download(name: Name) -> Response:
        found = downloads.get(name)
        if found is None:
            return _no_download(name)
        found.cancelled.set()
        return JSONResponse(found.shown())

    @router.post("/models/load")
    async def load(body: ModelBody) -> Response:
        async def work() -> Dict:
            with service.working():
                model = chat_model(service, body.model_name)
                await service.host.load(model)
                return {"model_name": model.name, "state": "ready"}

        return JsonReply(work)

    @router.post("/models/unload")
    async def unload(body: ModelBody) -> Dict:
        model = chat_model(service, body.model_name)
        return {"model_name": model.name, "state": service.host.unload(model)}

    @router.delete("/models/{name}")
    async def delete(name: Name) -> Response:
        entry = find(name)
        if not await service.host.forget(store.path_of(entry)):
            return JSONResponse(shape(f"{entry.name} is at work.", "conflict_error", "model_in_use"), 409)
        freed = await asyncio.to_thread(store.remove, entry)
        service.changed()
        return JSONResponse({"model_name": entry.name, "state": "deleted", "freed_bytes": freed})

    return router


def present(service: Service) -> list[InstalledModel]:
    """The models that requests can name: those of the settings, which may lie outside the catalogue, and the installed ones."""
    own = []
    for choose in (text_model, chat_model):
        try:
            own.append(choose(service, AUTO))
        except (ModelError, RequestError):  # not installed; a request for it gets the reason
            continue
    return list({m.name: m for m in (*own, *store.installed())}.values())


def row(model: InstalledModel, created: int) -> Dict:
    """A model as OpenAI's clients and llama.cpp's read it."""
    meta = {"size": model.size, "n_ctx_train": model.entry.context if model.entry else None}
    return {"id": model.name, "object": "model", "created": created, "owned_by": "qwencoder-lsp", "meta": meta}


def _entry_row(entry: ModelEntry, state: str, context: int) -> Dict:
    here = store.state(entry)
    return {
        "model_name": entry.name,
        "base_model": entry.model,
        "title": entry.title,
        "parameters": entry.parameters,
        "quantization": entry.quantisation,
        "size": entry.bytes,
        "memory": entry.memory(context),
        "context": entry.context,
        "licence": entry.licence,
        "roles": sorted(entry.roles),
        "state": state if here == "installed" else here,
    }


def health_of(service: Service) -> Dict:
    """Who is there, with which models and how much memory."""
    status, memory = service.status, psutil.virtual_memory()
    models = [{"name": m.name, "state": m.state, "device": m.device, "resident_bytes": resident(m.pid)} for m in status.models]
    return {
        "status": "ok",
        "version": __version__,
        "model": status.completion_model or status.chat_model,
        "model_loaded": any(m.state == "ready" for m in status.models),
        "completion_model": status.completion_model,
        "chat_model": status.chat_model,
        "models": models,
        "memory": {"total_bytes": memory.total, "available_bytes": memory.available, "engines_bytes": sum(m["resident_bytes"] for m in models)},
    }


def resident(pid: int | None) -> int:
    """Bytes of memory that a process takes; 0 for none."""
    try:
        return int(psutil.Process(pid).memory_info().rss) if pid else 0
    except psutil.Error:  # it has just ended
        return 0


def _no_download(name: str) -> Response:
    found = failure(ModelMissing(f"No download of {name!r} has been asked for.", "POST /models/download begins one."))
    return JSONResponse(found.body, found.status)
