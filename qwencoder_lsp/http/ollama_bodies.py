"""The bodies of Ollama's routes (its docs/api.md), and the requests in OpenAI's words that they stand for. Lenient: what is unknown is ignored."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field, ValidationInfo, WithJsonSchema, field_validator
from pydantic_core import PydanticCustomError

from qwencoder_lsp.http.failures import FieldError
from qwencoder_lsp.http.openai_bodies import FUNCTION_NAME, MAX_INPUTS, Body, ChatBody, CompletionBody, Strings, ToolBody

FIM_MARKUP = re.compile(r"<\|fim_(prefix|suffix|middle)\|>")
TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": MAX_INPUTS}]}
Format = Annotated[dict[str, Any] | Literal["", "json"], WithJsonSchema({"anyOf": [{"type": "object"}, {"type": "string", "enum": ["", "json"]}]})]


def _texts(value: Any) -> Any:
    """The texts, whichever way they came."""
    if isinstance(value, str):
        return [value] if value else []
    return value


Texts = Annotated[list[Annotated[str, Field(min_length=1)]], BeforeValidator(_texts), WithJsonSchema(TEXTS)]


class Options(Body):
    """Ollama's "Valid Parameters and Values", as far as they mean something here; the size of the context is the service's own."""

    num_predict: int = Field(-1, ge=-2)
    temperature: float | None = Field(None, ge=0, le=10)
    top_k: int | None = Field(None, ge=0)
    top_p: float | None = Field(None, gt=0, le=1)
    min_p: float | None = Field(None, ge=0, le=1)
    repeat_penalty: float | None = Field(None, ge=0.01, le=10)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    seed: int | None = None
    stop: Strings = Field(default_factory=list)

    def sampled(self) -> dict[str, Any]:
        """In OpenAI's words."""
        return self.model_dump(exclude_none=True, exclude={"num_predict"})


class ModelName(Body):
    """Which model, by its name here or in Ollama's library. Older clients say `name`."""

    model: str = Field("", validation_alias=AliasChoices("model", "name"))


class Kept(ModelName):
    """What loads a model. keep_alive 0 unloads it afterwards, other values are the service's own business."""

    keep_alive: int | float | str | None = None

    @property
    def unloads(self) -> bool:
        """Whether it asks for the model to leave memory."""
        return self.keep_alive in (0, "0", "0s", "0m", "0h")


class Answered(Kept):
    """What /api/generate and /api/chat have in common. truncate: a prompt that is too long is shortened. think: none of these models does, and
    clients that get told so, in Ollama's words, ask again without it (its server/routes.go)."""

    stream: bool = True
    truncate: bool = True
    think: bool | str = False
    format: Format = ""
    options: Options = Field(default_factory=Options)

    @field_validator("think")
    @classmethod
    def _no_thought(cls, value: bool | str, found: ValidationInfo) -> bool | str:
        if value:
            raise PydanticCustomError("think", '"{model}" does not support thinking', {"model": found.data.get("model", "")})
        return value

    def sampled(self) -> dict[str, Any]:
        """In OpenAI's words."""
        body = {"model": self.model, "truncation": "auto" if self.truncate else "error", **self.options.sampled()}
        if isinstance(self.format, dict):
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": self.format}}
        elif self.format:
            body["response_format"] = {"type": "json_object"}
        return body


class GenerateBody(Answered):
    """POST /api/generate. raw: the prompt is complete; otherwise it becomes a turn of a conversation, unless it has a suffix or holds FIM tokens."""

    prompt: str = ""
    suffix: str = ""
    system: str = ""
    raw: bool = False
    images: list[Any] = Field(default_factory=list)

    def asked(self) -> CompletionBody | ChatBody:
        """The request that it stands for. Raises FieldError."""
        if self.images:
            raise FieldError("images", "these models read text only.")
        body = self.sampled()
        if self.suffix or self.raw or FIM_MARKUP.search(self.prompt):
            fill = {"suffix": self.suffix} if self.suffix else {}
            return CompletionBody.model_validate({**body, **fill, "prompt": self.prompt, "max_tokens": max(-1, self.options.num_predict)})
        turns = [{"role": "system", "content": self.system}] if self.system else []
        return _chat(body, [*turns, {"role": "user", "content": self.prompt}], self.options)


class OllamaCall(Body):
    """A call of an earlier answer; arguments is an object, not text."""

    name: str = Field(pattern=FUNCTION_NAME)
    arguments: dict[str, Any] = Field(default_factory=dict)


class OllamaToolCall(Body):
    """One of the calls of an earlier answer."""

    function: OllamaCall


class OllamaMessage(Body):
    """One turn."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    images: list[Any] = Field(default_factory=list)
    tool_calls: list[OllamaToolCall] = Field(default_factory=list)


class OllamaChatBody(Answered):
    """POST /api/chat."""

    messages: list[OllamaMessage] = Field(default_factory=list)
    tools: list[ToolBody] = Field(default_factory=list, max_length=128)

    def asked(self) -> ChatBody:
        """The request that it stands for. Raises FieldError."""
        turns = []
        for message in self.messages:
            if message.images:
                raise FieldError("images", "these models read text only.")
            calls = [{"function": {"name": c.function.name, "arguments": json.dumps(c.function.arguments)}} for c in message.tool_calls]
            turns.append({"role": message.role, "content": message.content, "tool_calls": calls})
        return _chat({**self.sampled(), "tools": [tool.model_dump() for tool in self.tools]}, turns, self.options)


class EmbedBody(Kept):
    """POST /api/embed, and the older /api/embeddings with its `prompt`. An empty text alone, or no text, only loads the model. truncate: of a text
    that is too long the beginning is read."""

    input: Texts = Field(validation_alias=AliasChoices("input", "prompt"), max_length=MAX_INPUTS)
    dimensions: int | None = Field(None, ge=1)
    truncate: bool = True


class PullBody(ModelName):
    """POST /api/pull."""

    stream: bool = True


def _chat(body: dict[str, Any], messages: list[dict[str, Any]], options: Options) -> ChatBody:
    limit = {} if options.num_predict < 0 else {"max_tokens": max(1, options.num_predict)}
    return ChatBody.model_validate({**body, **limit, "messages": messages})
