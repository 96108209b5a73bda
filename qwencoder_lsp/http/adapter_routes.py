"""LoRA adapters over HTTP, as llama-server has them (its tools/server/README.md). Files are added and removed on the command line."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from qwencoder_lsp.http.openai_bodies import LoraScale
from qwencoder_lsp.http.service import Service

Dict = dict[str, Any]


def adapter_routes(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["llama.cpp"])
    scales = service.host.adapters

    @router.get("/lora-adapters")
    async def adapters() -> list[Dict]:
        """All that requests can name, with the scale where they name none. `path` is the name of the file only."""
        return [{"id": i, "name": a.name, "path": a.path.name, "scale": scales.scale(a)} for i, a in enumerate(scales.known())]

    @router.post("/lora-adapters")
    async def set_scales(body: list[LoraScale]) -> Dict:
        """Until the gateway ends; adapters that are not in the list are off."""
        scales.set({entry.id: entry.scale for entry in body})
        return {"success": True}

    return router
