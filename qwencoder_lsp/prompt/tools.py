"""The tools that a conversation may call, and the grammar that its answer is written under. Pure.

Where a call begins, whatever it is wrapped in, its name is one of the declared ones and its arguments satisfy the tool's schema: text that is no call
may go on for as long as it likes, but it cannot contain the opening of a call with other arguments. The grammar is Lark in llguidance's dialect
(https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md): a lazy lexeme ends where the opening is complete, and the schema takes over.

Formats: Qwen2.5 and Qwen3 write `<tool_call>{"name": N, "arguments": {...}}</tool_call>`, Qwen2.5-Coder often the bare object or a JSON code block;
Qwen3-Coder `<function=N><parameter=K>V</parameter></function>`, which is read (postprocess.toolcalls) but not constrained.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qwencoder_lsp.engine.constraint import JSON_LAYOUT
from qwencoder_lsp.engine.protocol import Constraint
from qwencoder_lsp.engine.vocabulary import Tokenizer

MOST_CALLS = 16  # of one answer; a small model may repeat itself
OPEN, CLOSE = "<tool_call>", "</tool_call>"
# A bare call is often laid out over several lines. Where the model is held to one, a number goes on and on, because its end would be the line's.
BLANK = r"(\n {0,40}| )?"
ANY_LAYOUT = {"whitespace_flexible": True, "whitespace_pattern": BLANK}
XML_CALL = "<function="  # in the template of a model that writes this form


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call. parameters: the JSON schema of its arguments, an object."""

    name: str
    parameters: dict[str, Any]
    description: str = ""

    def shown(self) -> dict[str, Any]:
        """As the chat template wants it."""
        return {"type": "function", "function": {"name": self.name, "description": self.description, "parameters": self.parameters}}


def call_constraint(
    tools: Sequence[Tool], tokenizer: Tokenizer, *, required: bool, several: bool, answer: dict[str, Any] | None = None
) -> Constraint | None:
    """What the answer must look like when it may, or (`required`) must, call some of `tools`; None where nothing can be said in advance.

    several: more than one call. answer: the JSON schema of an answer that is no call; without it that is any text.
    """
    if not required and answer is None and XML_CALL in tokenizer.chat_template:
        return None
    special = len(tokenizer.tokenize_markup(OPEN)) == 1  # llguidance takes what looks like a tag for a token of its own
    begin, end = (OPEN, CLOSE) if special else (json.dumps(OPEN), json.dumps(CLOSE))
    most = MOST_CALLS if several else 1
    each = range(len(tools))
    rules = [f'tagged: {begin} "\\n{{\\"name\\": \\"" ({" | ".join(f"named_{i}" for i in each)}) "}}\\n" {end}']
    rules += [f'named_{i}: {json.dumps(json.dumps(tool.name)[1:] + ", ")} "\\"arguments\\": " json_{i}' for i, tool in enumerate(tools)]
    rules += [f"json_{i}: %json {json.dumps(_schema(tool, JSON_LAYOUT))}" for i, tool in enumerate(tools)]
    if required or answer is not None:
        calls = f'tagged ("\\n" tagged){{0,{most - 1}}} "\\n"?' if most > 1 else "tagged"
        other = "" if answer is None else f" | %json {json.dumps({**answer, 'x-guidance': JSON_LAYOUT})}"
        return Constraint("lark", "\n".join(["%llguidance {}", f"start: {calls}{other}", *rules]))
    opening = "|".join(_opening(tool.name) for tool in tools)
    barred = opening if special else f"{opening}|{_literal(OPEN)}"
    rules += [
        f"PLAIN: /(.|\\n)*/ & ~/(.|\\n)*({barred})(.|\\n)*/",
        f"to_tag: PLAIN {begin}" if special else f"to_tag[lazy]: /(.|\\n)*{_literal(OPEN)}/",
        f"in_text: to_tag {' '.join(rules[0].split(' ')[2:])}",
        *(f"to_{i}[lazy]: /(.|\\n)*({_opening(tool.name)})/" for i, tool in enumerate(tools)),
        *(f"free_{i}: %json {json.dumps(_schema(tool, ANY_LAYOUT))}" for i, tool in enumerate(tools)),
        *(f'bare_{i}: to_{i} /{BLANK}/ free_{i} /{BLANK}/ "}}"' for i in each),
    ]
    start = f"start: ({' | '.join(['in_text', *(f'bare_{i}' for i in each)])}){{0,{most}}} PLAIN"
    return Constraint("lark", "\n".join(["%llguidance {}", start, *rules[1:]]))


def _schema(tool: Tool, layout: dict[str, Any]) -> dict[str, Any]:
    """The schema under which arguments are generated: an object without properties that were not declared, in the layout of a call."""
    schema = {"type": "object", **tool.parameters}
    if "properties" in schema:
        schema.setdefault("additionalProperties", False)
    return {**schema, "x-guidance": layout}


def _opening(name: str) -> str:
    """A regular expression for the beginning of a bare call, up to its arguments."""
    return rf'\{{\s*"name"\s*:\s*{_literal(json.dumps(name))}\s*,\s*"(arguments|parameters)"\s*:'


def _literal(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_ \"]", lambda m: f"\\x{{{ord(m[0]):x}}}", text)
