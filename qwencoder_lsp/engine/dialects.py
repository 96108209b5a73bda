"""How the servers that can stand behind a gateway differ, as data. What they have in common is in engine/remote.py.

Sources: vLLM's `CompletionRequest` (entrypoints/openai), SGLang's `CompletionRequest` (srt/entrypoints/openai/protocol.py), llama.cpp's
tools/server/README.md, Ollama's docs/api.md. Prompts are sent as finished text: only Ollama fills in the middle by itself, and without other files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Dialect:
    """One kind of server. owner: what its /v1/models says in `owned_by`. path: of its completions.

    names: what a parameter is called there, where it is not called as at OpenAI; None: there is none. nested: the object that parameters belong
    into. constraints: for each kind of engine.protocol.Constraint that it knows, the path of the field. schema_text: whether a schema is text.
    stops: most stop strings. lines: answers are JSON lines, not events. always: what every request holds.
    """

    name: str
    owner: str
    path: str = "/v1/completions"
    names: Mapping[str, str | None] = field(default_factory=dict)
    nested: str = ""
    constraints: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    schema_text: bool = False
    stops: int = 64
    logprobs: bool = True
    lines: bool = False
    always: Mapping[str, Any] = field(default_factory=dict)


STRICT = Dialect("an OpenAI-compatible server", "", names={"top_k": None, "min_p": None, "repeat_penalty": None, "ignore_eos": None}, stops=4)
DIALECTS = (
    Dialect(
        "vLLM",
        "vllm",
        names={"repeat_penalty": "repetition_penalty"},
        constraints={
            "json_schema": ("structured_outputs", "json"),
            "regex": ("structured_outputs", "regex"),
            "choice": ("structured_outputs", "choice"),
        },
        always={"add_special_tokens": False},
    ),
    Dialect(
        "SGLang",
        "sglang",
        names={"repeat_penalty": "repetition_penalty"},
        constraints={"json_schema": ("json_schema",), "regex": ("regex",)},
        schema_text=True,
    ),
    Dialect("llama-server", "llamacpp", constraints={"json_schema": ("json_schema",)}, always={"cache_prompt": True}),
    Dialect(
        "Ollama",
        "library",
        path="/api/generate",
        names={"max_tokens": "num_predict", "ignore_eos": None},
        nested="options",
        constraints={"json_schema": ("format",)},
        logprobs=False,
        lines=True,
        always={"raw": True},
    ),
    Dialect(
        "qwencoder-lsp",
        "qwencoder-lsp",
        constraints={"json_schema": ("response_format", "json_schema", "schema"), "regex": ("regex",), "choice": ("choice",)},
        always={"close_early": False},
    ),
)


def dialect_of(owner: str) -> Dialect:
    """The dialect of a server whose models belong to `owner`; the strictest for one that is not known."""
    return next((dialect for dialect in DIALECTS if dialect.owner == owner.lower()), STRICT)
