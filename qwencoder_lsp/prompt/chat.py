"""Renders a conversation to token ids with the model's own chat template.

The template (Jinja, from the GGUF file) is trusted for its special tokens only: it runs in a sandbox, and the text of a message never becomes a
special token. For that the template sees an unguessable placeholder instead of each content; its output is cut at the placeholders, the parts
between are tokenised as markup and the contents as plain text.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Sequence
from functools import lru_cache
from typing import NoReturn

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from qwencoder_lsp.core.prompt import Message
from qwencoder_lsp.engine.vocabulary import Tokenizer
from qwencoder_lsp.errors import RequestError

log = logging.getLogger(__name__)

FENCE = re.compile(r"^```[^\s`]*$", re.MULTILINE)  # what opens and what closes a block
ROLES = ("system", "user", "assistant")
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# A template is a small program from a file: these are what its expressions can raise besides Jinja's own errors.
TEMPLATE_FAULTS = (jinja2.TemplateError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RecursionError)


def render_chat(messages: Sequence[Message], tokenizer: Tokenizer) -> list[int]:
    """The ids of the conversation, up to where the assistant's answer begins. Falls back to ChatML when the template is missing or fails.

    Raises RequestError when there is no message or a role is unknown (a role becomes part of the markup).
    """
    if not messages:
        raise RequestError("The conversation is empty.", "Send at least one message.")
    for message in messages:
        if message.role not in ROLES:
            raise RequestError(f"The role {message.role!r} is unknown.", f"Use one of: {', '.join(ROLES)}.")
    nonce = secrets.token_hex(16)
    try:
        return _tokens(_render(tokenizer.chat_template or CHATML, messages, nonce), messages, nonce, tokenizer)
    except TEMPLATE_FAULTS as error:
        log.warning("The model's chat template failed (%s); ChatML is used instead.", type(error).__name__)
        return _tokens(_render(CHATML, messages, nonce), messages, nonce, tokenizer)


def code_block(messages: Sequence[Message], tokens: Sequence[int], tokenizer: Tokenizer) -> int | None:
    """Where in `tokens`, the rendered conversation, the last message's last code block with a language begins, its fence included.

    An answer that rewrites that code is likely to begin in the same way. None without such a block.
    """
    fences = FENCE.findall(messages[-1].content)
    opening = fences[(len(fences) - 1) // 2 * 2] if fences else "```"
    if opening == "```":
        return None
    needle = tokenizer.tokenize(opening)
    places = range(len(tokens) - len(needle), -1, -1)
    return next((at for at in places if tokens[at] == needle[0] and list(tokens[at : at + len(needle)]) == needle), None)


def _render(template: str, messages: Sequence[Message], nonce: str) -> str:
    turns = [{"role": message.role, "content": f"{nonce}x{i}x"} for i, message in enumerate(messages)]
    return _compiled(template).render(messages=turns, add_generation_prompt=True, bos_token="", eos_token="")


def _tokens(rendered: str, messages: Sequence[Message], nonce: str, tokenizer: Tokenizer) -> list[int]:
    """Raises ValueError when the template left a message out or used it twice."""
    parts = re.split(f"{nonce}x([0-9]+)x", rendered)
    if [int(i) for i in parts[1::2]] != list(range(len(messages))):
        raise ValueError("the template does not show every message once")
    ids: list[int] = []
    for at, part in enumerate(parts):
        ids += tokenizer.tokenize(messages[int(part)].content) if at % 2 else tokenizer.tokenize_markup(part)
    return ids


@lru_cache(maxsize=8)
def _compiled(template: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)  # as transformers' apply_chat_template sets them
    environment.globals["raise_exception"] = _raise
    return environment.from_string(template)


def _raise(message: str) -> NoReturn:
    """What templates call to refuse a conversation."""
    raise jinja2.TemplateError(message)
