"""The bodies of the OpenAI routes. Lenient: what we do not know is ignored, and null means not given. No meaning is attached to them here.

Fields that OpenAI does not have: top_k, min_p and repeat_penalty as in llama.cpp; ignore_eos (go on behind the model's end of text);
speculate (false: draft no tokens); adapter (the name of a LoRA adapter, "NAME:SCALE", or "none") or lora (several, as in llama.cpp); json_schema as
in llama.cpp, regex and choice, or guided_json, guided_regex and guided_choice as in vLLM (what the answer must look like); close_early (whether JSON
under a schema is brought to a valid end where max_tokens comes near); truncation (what happens to a prompt that is too long: an error, a gap in its
middle, or what fits the route best); language (what the text is written in, where it does not
show). logit_bias may also be llama.cpp's list of pairs. Tabby's segments stand in the place of prompt and suffix.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from qwencoder_lsp.http.biases import Biases
from qwencoder_lsp.models.adapters import MOST_SCALE

MAX_CHOICES = 128  # as at OpenAI
MAX_INPUTS = 2048  # as at OpenAI
MAX_TOOLS = 128  # as at OpenAI
FUNCTION_NAME = r"^[^\s\"\\\\<>{}]{1,128}$"  # more than OpenAI allows: names from MCP servers have dots, colons and slashes
TEXT_OR_PARTS = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
                "required": ["type", "text"],
            },
        },
    ]
}
TEXT = {"type": "string", "minLength": 1}
IDS = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
TEXTS = {"anyOf": [TEXT, {"type": "array", "items": TEXT, "minItems": 1}]}
TEXT_OR_TOKENS = {"anyOf": [*TEXTS["anyOf"], IDS, {"type": "array", "items": IDS, "minItems": 1}]}
STRINGS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
BEFORE_A_HOLE = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}  # an empty one is fine there
PROMPTS = {"anyOf": [*BEFORE_A_HOLE["anyOf"], *TEXT_OR_TOKENS["anyOf"][-2:]]}

Tokens = list[int]


def _texts(value: Any) -> list[str | Tokens]:
    """One entry per prompt, whichever of the four forms it came in."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value:
        if all(isinstance(v, str) for v in value):
            return value
        if _is_tokens(value):
            return [value]
        if all(_is_tokens(v) and v for v in value):
            return value
    raise PydanticCustomError("texts", "Input should be a string, a list of strings, a list of token ids or a list of such lists, none of them empty")


def _is_tokens(value: Any) -> bool:
    return isinstance(value, list) and all(type(v) is int for v in value)  # isinstance would let booleans through


def _strings(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _content(value: Any) -> Any:
    """The text of a message that comes in parts."""
    if not isinstance(value, list):
        return value
    for part in value:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise PydanticCustomError("content", "Only parts of type text can be read")
    return "".join(part["text"] for part in value)


def _schema(value: Any) -> Any:
    """vLLM takes guided_json as text too."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise PydanticCustomError("schema", "It is not valid JSON") from error


Texts = Annotated[list[str | Tokens], BeforeValidator(_texts), WithJsonSchema(TEXT_OR_TOKENS)]
Strings = Annotated[list[str], BeforeValidator(_strings), WithJsonSchema(STRINGS)]
AnySchema = dict[str, Any] | bool  # JSON Schema 2020-12, section 4.3.2: true takes everything, false nothing
SCHEMA = {"anyOf": [{"type": "object"}, {"type": "boolean"}, {"type": "string"}]}
Schema = Annotated[AnySchema, BeforeValidator(_schema), WithJsonSchema(SCHEMA)]
Truncation = Literal["error", "middle", "auto"]
Penalty = Annotated[float, Field(ge=-2, le=2)]


class Body(BaseModel):
    """Unknown fields are ignored, and so are those that are null. A number is a number: neither text nor true is one."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value


class StreamOptions(Body):
    """include_usage: one more chunk at the end, with the usage."""

    include_usage: bool = False


class JsonSchema(Body):
    """The named schema of a response_format."""

    schema_: AnySchema = Field(alias="schema")


class ResponseFormat(Body):
    """What the answer must look like. schema: in the place of json_schema.schema, as llama.cpp has it (its tools/server/README.md)."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: JsonSchema | None = None
    schema_: AnySchema | None = Field(None, alias="schema")

    @property
    def wanted(self) -> AnySchema | None:
        """The schema that the answer must obey, where one is given."""
        if self.type == "text":
            return None
        return self.json_schema.schema_ if self.json_schema else self.schema_


class LoraScale(Body):
    """One adapter of those that GET /lora-adapters lists."""

    id: int = Field(ge=0)
    scale: float = Field(ge=-MOST_SCALE, le=MOST_SCALE)


class Sampled(Body):
    """What both kinds of completion take. The defaults of the sampling are Qwen's own recommendation."""

    model: str = ""
    n: int = Field(1, ge=1, le=MAX_CHOICES)
    temperature: float | None = Field(None, ge=0, le=10)
    top_p: float = Field(0.8, gt=0, le=1)
    top_k: int = Field(20, ge=0)
    min_p: float = Field(0.0, ge=0, le=1)
    seed: int | None = None
    presence_penalty: Penalty = 0.0
    frequency_penalty: Penalty = 0.0
    repeat_penalty: float = Field(1.0, ge=0.01, le=10)
    logit_bias: Biases = Field(default_factory=list)
    stop: Strings = Field(default_factory=list)
    stream: bool = False
    stream_options: StreamOptions = Field(default_factory=StreamOptions)
    response_format: ResponseFormat = Field(default_factory=ResponseFormat)
    json_schema: Schema | None = Field(None, validation_alias=AliasChoices("json_schema", "guided_json"))
    grammar: str = Field("", validation_alias=AliasChoices("grammar", "guided_grammar"))
    regex: str | None = Field(None, validation_alias=AliasChoices("regex", "guided_regex"))
    choice: list[str] | None = Field(None, min_length=1, validation_alias=AliasChoices("choice", "guided_choice"))
    close_early: bool = True
    ignore_eos: bool = False
    speculate: bool = True
    adapter: str = Field("", max_length=200)
    lora: list[LoraScale] | None = Field(None, max_length=16)


class TabbySnippet(Body):
    """A piece of another file, as Tabby's clients send it."""

    filepath: str = ""
    body: str


class Segments(Body):
    """What surrounds the cursor, as Tabby's clients send it (its OpenAPI document, `Segments`)."""

    prefix: str
    suffix: str = ""
    filepath: str = ""
    git_url: str = ""
    declarations: list[TabbySnippet] = Field(default_factory=list)
    relevant_snippets_from_changed_files: list[TabbySnippet] = Field(default_factory=list)
    relevant_snippets_from_recently_opened_files: list[TabbySnippet] = Field(default_factory=list)

    @property
    def snippets(self) -> list[TabbySnippet]:
        """All of them, the most useful ones first."""
        return [*self.declarations, *self.relevant_snippets_from_changed_files, *self.relevant_snippets_from_recently_opened_files]


TABBY_TOKENS = 64  # as Tabby's server has it; its clients name no limit


class CompletionBody(Sampled):
    """POST /v1/completions. With `suffix`, even an empty one, the text between prompt and suffix is asked for. n_predict: llama.cpp's max_tokens."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["prompt"]}, {"required": ["segments"]}]})

    prompt: Annotated[list[str | Tokens], BeforeValidator(_texts), WithJsonSchema(PROMPTS)] = Field(default_factory=list)
    suffix: str | None = None
    segments: Segments | None = None
    language: str = ""
    truncation: Truncation = "error"
    max_tokens: int = Field(16, ge=-1, validation_alias=AliasChoices("max_tokens", "n_predict"))
    logprobs: int | None = Field(None, ge=0, le=20)
    echo: bool = False

    @property
    def limit(self) -> int | None:
        """Most tokens of the answer; None for any number (-1)."""
        return None if self.max_tokens < 0 else self.max_tokens

    @model_validator(mode="before")
    @classmethod
    def _of_tabby(cls, value: Any) -> Any:
        if not isinstance(value, dict) or value.get("segments") is None:
            if isinstance(value, dict) and value.get("prompt") is None:
                raise PydanticCustomError("prompt", "prompt is missing")
            return value
        if value.get("prompt") is not None or value.get("suffix") is not None:
            raise PydanticCustomError("segments", "Only one of prompt and segments can be read")
        segments = value["segments"] if isinstance(value["segments"], dict) else {}
        filled = {"prompt": segments.get("prefix"), "suffix": segments.get("suffix") or ""}
        return {"max_tokens": TABBY_TOKENS, **value, **filled}


class FillBody(CompletionBody):
    """POST /v1/fim/completions, as Mistral has it: a completion with a suffix, answered as a chat is. Tabby's segments mean nothing here."""

    model_config = ConfigDict(json_schema_extra={"required": ["prompt"]})

    prompt: Annotated[list[str | Tokens], BeforeValidator(_texts), WithJsonSchema(BEFORE_A_HOLE)]
    suffix: str | None = ""
    segments: SkipJsonSchema[Segments | None] = None

    @model_validator(mode="before")
    @classmethod
    def _of_tabby(cls, value: Any) -> Any:
        return {name: given for name, given in value.items() if name != "segments"} if isinstance(value, dict) else value


class Function(Body):
    """A function that the model may call; parameters is the JSON schema of its arguments."""

    name: str = Field(pattern=FUNCTION_NAME)
    description: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)


class ToolBody(Body):
    """One of the tools."""

    type: Literal["function"] = "function"
    function: Function


class FunctionName(Body):
    """The function that must be called, as the legacy function_call has it."""

    name: str


class NamedTool(Body):
    """The tool that must be called."""

    type: Literal["function"] = "function"
    function: FunctionName


class FunctionCall(Body):
    """A call of an earlier answer; arguments is JSON text."""

    name: str = Field(pattern=FUNCTION_NAME)
    arguments: str = "{}"


class ToolCall(Body):
    """One of the calls of an earlier answer."""

    id: str = ""
    function: FunctionCall


class ChatMessage(Body):
    """One turn; its content is a string or a list of text parts. tool and function: the result of a call."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Annotated[str, BeforeValidator(_content), WithJsonSchema(TEXT_OR_PARTS)] = ""
    tool_calls: list[ToolCall] = Field(default_factory=list)
    function_call: FunctionCall | None = None


class ChatBody(Sampled):
    """POST /v1/chat/completions. n_predict wins over max_tokens, as in llama.cpp (its oaicompat_chat_params_parse); 0: only read the conversation, as
    llama.vim does while an instruction is typed; -1, which LM Studio's examples send as max_tokens: any number of tokens."""

    n_predict: int | None = Field(None, ge=-1)
    truncation: Truncation = "error"
    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=-1, validation_alias=AliasChoices("max_completion_tokens", "max_tokens"))
    logprobs: bool = False
    top_logprobs: int = Field(0, ge=0, le=20)
    tools: list[ToolBody] = Field(default_factory=list, max_length=MAX_TOOLS)
    tool_choice: Literal["none", "auto", "required"] | NamedTool = "auto"
    parallel_tool_calls: bool = True
    functions: list[Function] = Field(default_factory=list, max_length=MAX_TOOLS)
    function_call: Literal["none", "auto"] | FunctionName = "auto"

    @property
    def limit(self) -> int | None:
        """Most tokens of the answer; None where no limit is named."""
        asked = self.max_tokens if self.n_predict is None else self.n_predict
        return None if asked is None or asked < 0 else asked


class EmbeddingBody(Body):
    """POST /v1/embeddings."""

    input: Annotated[Texts, Field(max_length=MAX_INPUTS)]
    model: str = ""
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1)
