"""What Tabby's clients ask for besides completions, which they get from /v1/completions with `segments` (its OpenAPI document)."""

from __future__ import annotations

import os
import platform
from typing import Any

from fastapi import APIRouter
from pydantic import Field

from qwencoder_lsp import __version__
from qwencoder_lsp.http.models_routes import health_of
from qwencoder_lsp.http.openai_bodies import Body
from qwencoder_lsp.http.service import Service

Dict = dict[str, Any]


class EventBody(Body):
    """What became of a completion: type is "view", "select" or "dismiss"."""

    type: str = Field(min_length=1, max_length=100)
    completion_id: str = ""
    choice_index: int = 0


def tabby_routes(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1", tags=["Tabby"])

    @router.get("/health")
    @router.post("/health", include_in_schema=False)  # clients up to 0.2
    async def health() -> Dict:
        """The service's own health with the fields that Tabby's clients read; llama.vscode reads its `status`."""
        found = health_of(service)
        devices = [m["device"] for m in found["models"] if m["device"]]
        return {
            **found,
            "chat_model": found["chat_model"] or None,
            "device": "cpu" if not devices or "cpu" in devices[0].lower() else devices[0],
            "arch": platform.machine(),
            "cpu_info": platform.processor() or platform.machine(),
            "cpu_count": os.cpu_count() or 1,
            "accelerators": [],
            "cuda_devices": [],
            "version": {"build_date": "", "build_timestamp": "", "git_sha": "", "git_describe": f"qwencoder-lsp {__version__}"},
        }

    @router.post("/events")
    async def events(body: EventBody) -> Dict:
        """Accepted, and not kept: what a user does with a suggestion is nobody's business here."""
        return {}

    return router
