"""OpenAI's /v1/files and /v1/batches. Where keys are used, what came with one is seen with that one alone, and by the machine's owner."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Form, Request, UploadFile
from fastapi.responses import FileResponse
from starlette.responses import Response

from qwencoder_lsp.errors import RequestError
from qwencoder_lsp.http.batch_runner import BatchRunner
from qwencoder_lsp.http.batch_store import UNFINISHED, Batch, BatchStore, StoredFile
from qwencoder_lsp.http.failures import FieldError, NotFound
from qwencoder_lsp.http.openai_bodies import Body

Dict = dict[str, Any]
TIMES = ("in_progress", "finalizing", "completed", "failed", "cancelling", "cancelled", "expired")


class BatchBody(Body):
    """POST /v1/batches. The window is a wish: a batch runs when nobody waits, however long that takes."""

    input_file_id: str
    endpoint: Literal["/v1/completions", "/v1/chat/completions", "/v1/embeddings"]
    completion_window: str = "24h"
    metadata: dict[str, str] = {}  # noqa: RUF012 - pydantic copies it


def _owner(request: Request) -> str:
    return str(getattr(request.state, "owner", ""))


Owner = Annotated[str, Depends(_owner)]


def batch_routes(store: BatchStore, runner: BatchRunner) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1", tags=["batch"])

    @router.post("/files")
    async def upload(owner: Owner, file: UploadFile, purpose: Annotated[str, Form()] = "batch") -> Dict:
        if purpose != "batch":
            raise FieldError("purpose", 'files are kept for "batch" only.')
        return _file(await asyncio.to_thread(store.add, file.file, file.filename or "file.jsonl", purpose, owner))

    @router.get("/files")
    async def files(owner: Owner) -> Dict:
        return _list([_file(f) for f in store.files() if _seen(f, owner)])

    @router.get("/files/{file_id}")
    async def file(file_id: str, owner: Owner) -> Dict:
        return _file(_known_file(store, file_id, owner))

    @router.get("/files/{file_id}/content", response_class=Response, responses={200: {"content": {"application/jsonl": {}}}})
    async def content(file_id: str, owner: Owner) -> FileResponse:
        found = _known_file(store, file_id, owner)
        return FileResponse(store.path(found), media_type="application/jsonl")

    @router.delete("/files/{file_id}")
    async def delete(file_id: str, owner: Owner) -> Dict:
        found = _known_file(store, file_id, owner)
        if any(b.input_file == found.id and b.status in UNFINISHED for b in store.batches()):
            raise RequestError("A batch still reads this file.", "Cancel the batch first.")
        store.delete(found)
        return {"id": found.id, "object": "file", "deleted": True}

    @router.post("/batches")
    async def begin(body: BatchBody, owner: Owner) -> Dict:
        found = store.file(body.input_file_id)
        if found is None or not _seen(found, owner):
            raise FieldError("input_file_id", "there is no such file.", "POST /v1/files keeps one.")
        batch = store.begin(body.endpoint, found, body.metadata)
        runner.start(batch)
        return shown(batch)

    @router.get("/batches")
    async def batches(owner: Owner) -> Dict:
        return _list([shown(runner.state(b.id) or b) for b in store.batches() if _seen(b, owner)])

    @router.get("/batches/{batch_id}")
    async def batch(batch_id: str, owner: Owner) -> Dict:
        return shown(_known_batch(runner, batch_id, owner))

    @router.post("/batches/{batch_id}/cancel")
    async def cancel(batch_id: str, owner: Owner) -> Dict:
        return shown(await runner.cancel(_known_batch(runner, batch_id, owner)))

    return router


def shown(batch: Batch) -> Dict:
    """A batch as OpenAI shows it."""
    problems = [{"code": p.code, "line": p.line or None, "message": p.message, "param": None} for p in batch.problems]
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": {"object": "list", "data": problems} if problems else None,
        "input_file_id": batch.input_file,
        "completion_window": "24h",
        "status": batch.status,
        "output_file_id": batch.output_file or None,
        "error_file_id": batch.error_file or None,
        "created_at": batch.created,
        "expires_at": None,
        **{f"{name}_at": batch.times.get(f"{name}_at") for name in TIMES},
        "request_counts": {"total": batch.total, "completed": batch.completed, "failed": batch.failed},
        "metadata": batch.metadata,
    }


def _file(file: StoredFile) -> Dict:
    fields = {"id": file.id, "object": "file", "bytes": file.size, "created_at": file.created, "filename": file.filename}
    return {**fields, "purpose": file.purpose, "status": "processed"}


def _list(rows: list[Dict]) -> Dict:
    ends = {"first_id": rows[0]["id"], "last_id": rows[-1]["id"]} if rows else {"first_id": None, "last_id": None}
    return {"object": "list", "data": rows, "has_more": False, **ends}


def _seen(thing: StoredFile | Batch, owner: str) -> bool:
    """Whether whoever asks may know of it; without a key it is the machine's owner."""
    return owner in ("", thing.owner)


def _known_file(store: BatchStore, id_: str, owner: str) -> StoredFile:
    if (found := store.file(id_)) and _seen(found, owner):
        return found
    raise NotFound(f"There is no file {id_!r}.", "GET /v1/files lists them.")


def _known_batch(runner: BatchRunner, id_: str, owner: str) -> Batch:
    if (found := runner.state(id_)) and _seen(found, owner):
        return found
    raise NotFound(f"There is no batch {id_!r}.", "GET /v1/batches lists them.")
