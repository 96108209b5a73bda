"""The OpenAPI document, true to the behaviour: errors have one shape whatever their status, and null means that a field is not given."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from qwencoder_lsp.http.failures import OLLAMA

Dict = dict[str, Any]

ERROR: Dict = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "code", "param"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "code": {"type": "string"},
                "param": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            },
        }
    },
}
UNTYPED = "JSON, whatever the Content-Type says, unless there is an Origin or a Sec-Fetch-Site: from a web page it must be application/json."
OLLAMA_ERROR: Dict = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}


def describe(app: FastAPI) -> None:
    """Make `app` serve its document at /openapi.json."""

    def document() -> Dict:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # how FastAPI wants it (its "Extending OpenAPI")


def _document(app: FastAPI) -> Dict:
    found = get_openapi(title=app.title, version=app.version, routes=app.routes)
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for schema in schemas.values():
        _allow_nulls(schema)
    schemas["Error"] = ERROR
    found["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    schemas["OllamaError"] = OLLAMA_ERROR
    for path, operations in found["paths"].items():
        ollama = path.startswith(OLLAMA)
        name, stream = ("OllamaError", "application/x-ndjson") if ollama else ("Error", "text/event-stream")
        error = {"description": "An error", "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}}
        for operation in operations.values():
            if ollama and "requestBody" in operation:
                operation["requestBody"]["description"] = UNTYPED
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = error
            operation["security"] = [{}, {"key": []}]
            if _streams(operation, schemas):
                for status in ("200", "202"):
                    if status in operation["responses"]:
                        operation["responses"][status]["content"][stream] = {}
    return found


def _allow_nulls(schema: Dict) -> None:
    needed = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        if name not in needed and {"type": "null"} not in field.get("anyOf", []):
            kept = {k: field.pop(k) for k in ("title", "description", "default") if k in field}
            schema["properties"][name] = {"anyOf": [field, {"type": "null"}], **kept}


def _streams(operation: Dict, schemas: Dict) -> bool:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    return "stream" in schemas.get(body.get("$ref", "").rpartition("/")[2], {}).get("properties", {})
