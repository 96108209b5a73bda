"""Renders a conversation to token ids with the model's own chat template.

The template (Jinja, from the GGUF file) is trusted for its special tokens only: it runs in a sandbox, and no text of a client ever becomes a special
token. For that an unguessable mark stands behind each character of such text that can begin one, so that the only special tokens in what the
template writes are its own; the text between those is tokenised as plain text, without the marks.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NoReturn

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from qwencoder_lsp.core.prompt import Message
from qwencoder_lsp.engine.vocabulary import Tokenizer
from qwencoder_lsp.errors import RequestError

log = logging.getLogger(__name__)

FENCE = re.compile(r"^```[^\s`]*$", re.MULTILINE)  # what opens and what closes a block
ROLES = ("system", "user", "assistant", "tool")
# Qwen2.5's own template, which its tool calls were trained with; without the system message that it adds where there is none.
CHATML = """\
{%- if tools %}<|im_start|>system
{% if messages[0].role == "system" %}{{ messages[0].content + "\\n\\n" }}{% endif %}# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{% for tool in tools %}{{ (tool | tojson) + "\\n" }}{% endfor %}
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call><|im_end|>
{% endif %}
{%- for m in messages %}
{%- if m.role == "tool" %}
{%- if loop.first or messages[loop.index0 - 1].role != "tool" %}{{ "<|im_start|>user" }}{% endif %}
{{- "\\n<tool_response>\\n" + m.content + "\\n</tool_response>" }}
{%- if loop.last or messages[loop.index0 + 1].role != "tool" %}{{ "<|im_end|>\\n" }}{% endif %}
{%- elif not (tools and loop.first and m.role == "system") %}
{{- "<|im_start|>" + m.role + ("\\n" + m.content if m.content or not m.tool_calls else "") }}
{%- for call in m.tool_calls %}
{{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' + (call.function.arguments | tojson) + '}\\n</tool_call>' }}
{%- endfor %}
{{- "<|im_end|>\\n" }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
# A template is a small program from a file: these are what its expressions can raise besides Jinja's own errors.
TEMPLATE_FAULTS = (jinja2.TemplateError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RecursionError)
_SPECIAL = re.compile(r"<[^<>\n]{1,48}>|\[/?[A-Z_]+\]")  # whatever looks like a special token of any family: <|im_end|>, <s>, [INST]
_BEGINS = re.compile(r"[<\[]")

Turn = Mapping[str, Any]


def render_chat(messages: Sequence[Message], tokenizer: Tokenizer) -> list[int]:
    """The ids of a conversation without tools, as `render_conversation`."""
    return render_conversation([{"role": m.role, "content": m.content} for m in messages], tokenizer)


def render_conversation(turns: Sequence[Turn], tokenizer: Tokenizer, tools: Sequence[Mapping[str, Any]] = ()) -> list[int]:
    """The ids of the conversation, up to where the assistant's answer begins. Falls back to ChatML when the template is missing, fails, or knows
    nothing of tools.

    turns: role and content each, for an assistant's turn also tool_calls ({"function": {"name", "arguments": object}}). tools: as in OpenAI's API.
    Raises RequestError when there is no turn or a role is unknown (a role becomes part of the markup).
    """
    rendered, marks = _checked(turns, tokenizer, tools)
    ids: list[int] = []
    at = 0
    for match in _SPECIAL.finditer(rendered):
        found = tokenizer.tokenize_markup(match[0])
        if len(found) == 1 and found != tokenizer.tokenize(match[0]):
            ids += tokenizer.tokenize(marks.sub("", rendered[at : match.start()])) + found
            at = match.end()
    return ids + tokenizer.tokenize(marks.sub("", rendered[at:]))


def conversation_text(turns: Sequence[Turn], tokenizer: Tokenizer, tools: Sequence[Mapping[str, Any]] = ()) -> str:
    """The same as text, with special tokens spelled out: for people and programs that count, not for prompts. Raises as `render_conversation`."""
    rendered, marks = _checked(turns, tokenizer, tools)
    return marks.sub("", rendered)


def template_of(tokenizer: Tokenizer) -> str:
    """The template that conversations are rendered with, as far as nothing goes wrong in it."""
    return tokenizer.chat_template or CHATML


def code_block(last: str, tokens: Sequence[int], tokenizer: Tokenizer) -> int | None:
    """Where in `tokens`, the rendered conversation, the last code block with a language of its `last` message begins, its fence included.

    An answer that rewrites that code is likely to begin in the same way. None without such a block.
    """
    fences = FENCE.findall(last)
    opening = fences[(len(fences) - 1) // 2 * 2] if fences else "```"
    if opening == "```":
        return None
    needle = tokenizer.tokenize(opening)
    places = range(len(tokens) - len(needle), -1, -1)
    return next((at for at in places if tokens[at] == needle[0] and list(tokens[at : at + len(needle)]) == needle), None)


def _checked(turns: Sequence[Turn], tokenizer: Tokenizer, tools: Sequence[Mapping[str, Any]]) -> tuple[str, re.Pattern[str]]:
    """What the template writes, marks included, and the pattern of a mark. Raises RequestError."""
    if not turns:
        raise RequestError("The conversation is empty.", "Send at least one message.")
    for turn in turns:
        if turn["role"] not in ROLES:
            raise RequestError(f"The role {turn['role']!r} is unknown.", f"Use one of: {', '.join(ROLES)}.")
    nonce = secrets.token_hex(16)
    marks = re.compile(f"{nonce}([0-9]*)x")
    shown = [i for i, turn in enumerate(turns) if turn.get("content")]
    template = tokenizer.chat_template
    talks_of_tools = bool(tools) or any(turn["role"] == "tool" for turn in turns)
    if template and not (talks_of_tools and "tool" not in template):
        try:
            rendered = _render(template, turns, tools, nonce)
            if [int(i) for i in marks.findall(rendered) if i] != shown:
                raise ValueError("the template does not show every message once")
            return rendered, marks
        except TEMPLATE_FAULTS as error:
            log.warning("The model's chat template failed (%s); ChatML is used instead.", type(error).__name__)
    return _render(CHATML, turns, tools, nonce), marks


def _render(template: str, turns: Sequence[Turn], tools: Sequence[Mapping[str, Any]], nonce: str) -> str:
    marked = [_marked({"tool_calls": [], **turn}, nonce) for turn in turns]
    for i, turn in enumerate(marked):
        turn["content"] = f"{turn['content']}{nonce}{i}x" if turn.get("content") else ""
    return _compiled(template).render(
        messages=marked, tools=_marked(list(tools), nonce) or None, add_generation_prompt=True, bos_token="", eos_token=""
    )


def _marked(value: Any, nonce: str) -> Any:
    """A copy in which no text can begin a special token."""
    if isinstance(value, str):
        return _BEGINS.sub(rf"\g<0>{nonce}x", value)
    if isinstance(value, list | tuple):
        return [_marked(v, nonce) for v in value]
    if isinstance(value, Mapping):
        return {_marked(k, nonce): _marked(v, nonce) for k, v in value.items()}
    return value


@lru_cache(maxsize=8)
def _compiled(template: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)  # as transformers' apply_chat_template sets them
    environment.globals["raise_exception"] = _raise
    environment.filters["tojson"] = _json  # Jinja's own is for HTML
    return environment.from_string(template)


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise(message: str) -> NoReturn:
    """What templates call to refuse a conversation."""
    raise jinja2.TemplateError(message)
