"""Requests about files: what is a secret in them does not reach the model.

A request goes in whose messages quote documents, the answer comes out. Placeholders are sent; where the answer is written back into the document that
it is about, the secrets are put back.
"""

from __future__ import annotations

from dataclasses import replace

from qwencoder_lsp.context.mask import Mask
from qwencoder_lsp.core.prompt import Message
from qwencoder_lsp.features.ask import Answer, ask
from qwencoder_lsp.gateway.client import Gateway
from qwencoder_lsp.gateway.protocol import ChatRequest


def hidden(request: ChatRequest, mask: Mask) -> ChatRequest:
    """The request with placeholders, of which `mask` knows what they stand for."""
    messages = tuple(Message(message.role, mask.hidden(message.content)) for message in request.messages)
    schema = request.json_schema and mask.hidden_json(request.json_schema)
    return replace(request, messages=messages, json_schema=schema)


async def ask_about(gateway: Gateway, request: ChatRequest, mask: Mask, *, write_back: bool = False) -> Answer:
    """The answer to `request`. mask: of this conversation. write_back: the answer goes into the document that is quoted, so its secrets are put back.

    Raises as `ask`. Cancelling stops the generation.
    """
    request = hidden(request, mask)
    answer = await ask(gateway, request)
    return replace(answer, text=mask.revealed(answer.text, json_text=request.json_schema is not None)) if write_back else answer
