"""POST /v1/embeddings: texts or token ids in, one vector of length 1 for each out."""

from __future__ import annotations

import base64
import math
import struct
from typing import Any

from qwencoder_lsp.engine.protocol import Embed
from qwencoder_lsp.http.failures import FieldError
from qwencoder_lsp.http.openai_bodies import EmbeddingBody
from qwencoder_lsp.http.openai_plan import aside, prompt_tokens, text_model
from qwencoder_lsp.http.openai_shapes import truncation
from qwencoder_lsp.http.service import Service
from qwencoder_lsp.prompt.truncate import Dropped


async def embeddings(service: Service, body: EmbeddingBody, *, truncate: bool = False) -> dict[str, Any]:
    """The answer in OpenAI's shape. dimensions: the first so many numbers of each vector, made one of length 1 again. truncate: of a text that is
    too long only the beginning is read, and the answer has an account of the rest. Raises QwencoderError."""
    with service.working():
        model = text_model(service, body.model)
        engine, tokenizer = await service.host.load(model)
        size = sum(map(len, body.input))
        inputs = await aside(size, lambda: tuple(tuple(prompt_tokens(text, "input", engine, tokenizer, markup=False)) for text in body.input))
        limit = engine.info.embed_ctx or max(map(len, inputs))
        for index, tokens in enumerate(inputs):
            if len(tokens) > limit and not truncate:
                raise FieldError("input", f"text {index} has {len(tokens)} tokens, and {limit} can be embedded.", "Split it.")
        found = await engine.embed(Embed(0, tuple(tokens[:limit] for tokens in inputs)))
        rows: list[dict[str, Any]] = []
        for index, vector in enumerate(found.vectors):
            values = _floats(vector)
            if body.dimensions is not None and body.dimensions > len(values):
                raise FieldError("dimensions", f"the vectors of {model.name} have {len(values)}.", "Ask for as many or fewer.")
            if body.dimensions is not None and body.dimensions < len(values):
                values = _shortened(values, body.dimensions)
            rows.append({"object": "embedding", "index": index, "embedding": _base64(values) if body.encoding_format == "base64" else values})
        account = {"prompt_tokens": found.tokens, "total_tokens": found.tokens}
        left_out = ((index, Dropped("input", limit, len(tokens) - limit)) for index, tokens in enumerate(inputs) if len(tokens) > limit)
        return {"object": "list", "data": rows, "model": model.name, "usage": account, **truncation(left_out)}


def _shortened(values: list[float], size: int) -> list[float]:
    length = math.hypot(*values[:size])
    return [value / length if length else 0.0 for value in values[:size]]


def _floats(vector: str) -> list[float]:
    data = base64.b64decode(vector)
    return list(struct.unpack(f"<{len(data) // 4}f", data))


def _base64(values: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode("ascii")
