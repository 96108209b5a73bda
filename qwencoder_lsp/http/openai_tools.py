"""Function calling on the chat route: which tools a body offers, the conversation as a template wants it, and whether a call is valid.

Arguments are checked with jsonschema-rs: its regular expressions take linear time, whatever pattern a client sends, and it opens no connection for a
`$ref`. It checks what the grammar has enforced already, and all there is for models whose calls are not generated under one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jsonschema_rs

from qwencoder_lsp.engine.constraint import check_schema
from qwencoder_lsp.engine.protocol import Constraint
from qwencoder_lsp.engine.vocabulary import Tokenizer
from qwencoder_lsp.errors import RequestError
from qwencoder_lsp.http.failures import FieldError
from qwencoder_lsp.http.openai_bodies import ChatBody, ChatMessage, FunctionCall, FunctionName, NamedTool
from qwencoder_lsp.postprocess.toolcalls import Call
from qwencoder_lsp.prompt.tools import Tool, call_constraint


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools of one request. must: the answer has to be a call. legacy: asked for by `functions`, so that the answer has a `function_call`.
    field: the field of the body that they came in."""

    tools: tuple[Tool, ...]
    field: str
    checks: Mapping[str, jsonschema_rs.Validator]
    must: bool
    several: bool
    legacy: bool

    async def check(self) -> None:
        """Raise FieldError for a schema that arguments cannot be generated under."""
        suffix = "parameters" if self.legacy else "function.parameters"
        await check_schemas({f"{self.field}.{i}.{suffix}": {"type": "object", **tool.parameters} for i, tool in enumerate(self.tools)})

    @property
    def schemas(self) -> dict[str, Mapping[str, Any]]:
        """The schema of each tool's arguments, by name."""
        return {tool.name: tool.parameters for tool in self.tools}

    def shown(self) -> list[dict[str, Any]]:
        """As the chat template wants them."""
        return [tool.shown() for tool in self.tools]

    def constraint(self, tokenizer: Tokenizer, answer: dict[str, Any] | None) -> Constraint | None:
        """What the answer must look like; answer: the schema of one that is no call."""
        return call_constraint(self.tools, tokenizer, required=self.must, several=self.several, answer=answer)

    def problem(self, call: Call) -> str:
        """What is wrong with the arguments of a complete call; empty when nothing is."""
        try:
            self.checks[call.name].validate(json.loads(call.arguments))
        except (ValueError, RecursionError, jsonschema_rs.ValidationError) as error:
            return str(error).split("\n", 1)[0]
        return ""


def toolbox(body: ChatBody) -> Toolbox | None:
    """The tools that this body lets the model call; None when it may call none. Raises FieldError."""
    legacy = bool(body.functions) and not body.tools
    offered = body.functions if legacy else [tool.function for tool in body.tools]
    field = "functions" if legacy else "tools"
    choice = body.function_call if legacy else body.tool_choice
    if not offered:
        if not isinstance(choice, str) or choice == "required":
            raise FieldError("tool_choice", "there are no tools to choose from.", "Send tools.")
        return None
    tools = tuple(Tool(f.name, f.parameters, f.description) for f in offered)
    if len({tool.name for tool in tools}) < len(tools):
        raise FieldError(field, "two of them have the same name.")
    checks = {tool.name: _check(tool, f"{field}.{i}{'' if legacy else '.function'}.parameters") for i, tool in enumerate(tools)}
    if choice == "none":
        return None
    if isinstance(choice, NamedTool | FunctionName):
        name = choice.name if isinstance(choice, FunctionName) else choice.function.name
        tools = tuple(tool for tool in tools if tool.name == name)
        if not tools:
            raise FieldError("function_call" if legacy else "tool_choice", f"{name!r} is not one of the {field}.")
    named = not isinstance(choice, str)
    return Toolbox(tools, field, checks, named or choice == "required", body.parallel_tool_calls and not legacy and not named, legacy)


async def check_schemas(schemas: Mapping[str, dict[str, Any] | bool]) -> None:
    """Raise FieldError for the first field whose JSON schema answers cannot be generated under; the message names the keyword. In a thread: a large
    schema takes a while."""
    for field, schema in schemas.items():
        try:
            await asyncio.to_thread(check_schema, json.dumps(schema))
        except RequestError as error:
            raise FieldError(field, error.message, error.hint) from error


def _check(tool: Tool, field: str) -> jsonschema_rs.Validator:
    kind = tool.parameters.get("type", "object")
    if kind != "object":
        raise FieldError(field, f"the arguments of a function are an object, not {kind!r}.")
    try:
        return jsonschema_rs.validator_for({"type": "object", **tool.parameters}, pattern_options=jsonschema_rs.RegexOptions(), offline=True)
    except (ValueError, jsonschema_rs.ValidationError) as error:
        raise FieldError(field, f"it is not a JSON schema that can be used: {str(error).splitlines()[0]}") from error


def conversation(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """The turns of a conversation, with the tool calls of earlier answers. Raises FieldError."""
    turns = []
    for message in messages:
        role = {"developer": "system", "function": "tool"}.get(message.role, message.role)
        turn: dict[str, Any] = {"role": role, "content": message.content}
        calls = [call.function for call in message.tool_calls] + ([message.function_call] if message.function_call else [])
        if calls:
            turn["tool_calls"] = [{"type": "function", "function": _call(call)} for call in calls]
        turns.append(turn)
    return turns


def _call(call: FunctionCall) -> dict[str, Any]:
    try:
        arguments = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        arguments = call.arguments  # a client that sends what another model made of it
    return {"name": call.name, "arguments": arguments}
