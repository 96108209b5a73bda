"""What the dashboard shows: the state of the service now, and what its history comes to. The numbers are the same for everybody who looks."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from typing import Any, Literal

import psutil

from qwencoder_lsp.errors import HistoryError
from qwencoder_lsp.http.downloads import Downloads
from qwencoder_lsp.http.models_routes import resident
from qwencoder_lsp.http.service import Service
from qwencoder_lsp.observe.history import Summary

Dict = dict[str, Any]
Period = Literal["hour", "day", "week", "month"]

SECONDS: dict[Period, int] = {"hour": 3600, "day": 86400, "week": 7 * 86400, "month": 30 * 86400}
BARS: dict[Period, int] = {"hour": 60, "day": 48, "week": 56, "month": 60}
FRESH_S = 1.5  # whoever asks within this time gets the same summary: many viewers cost no more than one
REST = 20  # and a summary that takes long is not made again before so many times that: it must not take a core from the model
MOST_RUNNING = 50


class Figures:
    """Of one service."""

    def __init__(self, service: Service, downloads: Downloads) -> None:
        self._service, self._downloads = service, downloads
        self._known: dict[Period, tuple[float, Summary]] = {}  # until when it counts
        self._asking = asyncio.Lock()

    async def now(self, period: Period) -> Dict:
        """Everything, as JSON. A history that cannot be read leaves its part out and says why."""
        history, problem = None, ""
        try:
            history = asdict(await self._summary(period))
        except HistoryError as error:
            problem = str(error)
        problem = problem or self._service.recorder.problem
        on_disk = self._service.settings.history.enabled
        return {**self._state(), "period": period, "history": history, "history_on_disk": on_disk, "history_problem": problem}

    async def _summary(self, period: Period) -> Summary:
        async with self._asking:
            until, known = self._known.get(period, (0.0, None))
            began = time.monotonic()
            if known is None or began > until:
                # Bars begin at round times, so that they do not flicker from one look to the next.
                width = SECONDS[period] / BARS[period]
                end = (time.time() // width + 1) * width
                known = await self._service.recorder.summary(end - SECONDS[period], end, BARS[period])
                now = time.monotonic()
                self._known[period] = (now + max(FRESH_S, REST * (now - began)), known)
            return known

    def _state(self) -> Dict:
        service, status, memory = self._service, self._service.status, psutil.virtual_memory()
        now = time.monotonic()
        models = [{**asdict(model), "resident_bytes": resident(model.pid)} for model in status.models]
        running = [
            {"model": model, "work": r.work, "seconds": round(now - r.since, 1), "prompt": r.prompt, "generated": r.generated}
            for model, r in service.host.running()
        ]
        pulls = [
            {"model_name": name, "state": "running", "done": p.done, "total": p.total, "message": p.message} for name, p in service.pulls.items()
        ]
        return {
            "at": time.time(),
            "started": service.started,
            "version": status.version,
            "pid": status.pid,
            "windows": status.windows,
            "listening": status.listening,
            "auto": {role: service.host.explain(role) for role in ("completion", "chat")},
            "memory": {
                "total_bytes": memory.total,
                "available_bytes": memory.available,
                "engines_bytes": sum(model["resident_bytes"] for model in models),
                "gateway_bytes": resident(status.pid),
            },
            "models": models,
            "running": running[:MOST_RUNNING],
            "running_count": len(running),
            "downloads": [*pulls, *(download.shown() for download in self._downloads.all())],
        }
