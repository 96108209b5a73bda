"""The routes on TCP. What may come this far at all is decided in guard.py."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from qwencoder_lsp import __version__
from qwencoder_lsp.http.adapter_routes import adapter_routes
from qwencoder_lsp.http.batch_routes import batch_routes
from qwencoder_lsp.http.batch_runner import BatchRunner
from qwencoder_lsp.http.batch_store import BatchStore
from qwencoder_lsp.http.dashboard.routes import dashboard_routes
from qwencoder_lsp.http.downloads import Downloads
from qwencoder_lsp.http.failures import report_in_one_shape
from qwencoder_lsp.http.guard import ORIGINS
from qwencoder_lsp.http.llamacpp_routes import llamacpp_routes
from qwencoder_lsp.http.models_routes import models_routes
from qwencoder_lsp.http.ollama_routes import ollama_routes
from qwencoder_lsp.http.openai_routes import openai_routes
from qwencoder_lsp.http.openapi import describe
from qwencoder_lsp.http.service import Service
from qwencoder_lsp.http.tabby_routes import tabby_routes
from qwencoder_lsp.http.window_routes import team_app


def public_app(service: Service, store: BatchStore, runner: BatchRunner) -> FastAPI:
    """The application."""
    app = FastAPI(title="qwencoder-lsp", version=__version__)
    app.add_middleware(CORSMiddleware, allow_origin_regex=ORIGINS, allow_methods=["*"], allow_headers=["*"])
    report_in_one_shape(app)
    downloads = Downloads(service)
    app.include_router(models_routes(service, downloads))
    app.include_router(dashboard_routes(service, downloads))
    app.include_router(openai_routes(service))
    app.include_router(llamacpp_routes(service))
    app.include_router(adapter_routes(service))
    app.include_router(ollama_routes(service, downloads))
    app.include_router(tabby_routes(service))
    app.include_router(batch_routes(store, runner))
    app.mount("/qwencoder", team_app(service))
    describe(app)
    return app
