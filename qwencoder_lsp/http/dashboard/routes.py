"""GET /dashboard, a page that holds nothing, and GET /dashboard/data, what it shows; the second is protected like every other route."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from importlib import resources
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from qwencoder_lsp.http.dashboard.figures import Figures, Period
from qwencoder_lsp.http.downloads import Downloads
from qwencoder_lsp.http.service import Service


def dashboard_routes(service: Service, downloads: Downloads) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["service"])
    figures = Figures(service, downloads)

    @router.get("/dashboard", include_in_schema=False)
    async def dashboard() -> Response:
        page, policy = _page()
        headers = {
            "content-security-policy": policy,
            "cache-control": "no-cache",
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
            "cross-origin-opener-policy": "same-origin",
        }
        return Response(page, media_type="text/html; charset=utf-8", headers=headers)

    @router.get("/dashboard/data")
    async def data(period: Period = "day") -> dict[str, Any]:
        return await figures.now(period)

    return router


@lru_cache(maxsize=1)
def _page() -> tuple[str, str]:
    """The page with its style and script in it, and the policy that lets a browser run these and nothing else."""
    folder = resources.files(__package__)
    page, style, script = (folder.joinpath(name).read_text("utf-8") for name in ("page.html", "page.css", "page.js"))
    policy = (
        f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page.replace("{{style}}", style).replace("{{script}}", script), policy


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"
