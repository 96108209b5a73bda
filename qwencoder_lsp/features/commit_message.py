"""Commit message: a diff goes in, its message comes out."""

from __future__ import annotations

import re

from qwencoder_lsp.context.mask import Mask
from qwencoder_lsp.errors import AnswerError, RequestError
from qwencoder_lsp.features.guarded import ask_about
from qwencoder_lsp.features.prompts import prompt
from qwencoder_lsp.gateway.client import Gateway
from qwencoder_lsp.gateway.protocol import ChatRequest
from qwencoder_lsp.postprocess.fences import code_block
from qwencoder_lsp.settings import Settings

CHARS_PER_TOKEN = 2.4  # of diffs
MAX_TOKENS = 256
SUMMARY = 72  # characters


async def commit_message(diff: str, root: str | None, gateway: Gateway, settings: Settings) -> tuple[str, int]:
    """The message, and how many code points of `diff` the model did not see because it is too long.

    Raises RequestError when there is no change, AnswerError when no message came, and whatever QwencoderError the gateway raises.
    """
    if not diff.strip():
        raise RequestError("Nothing is staged.", "Stage the change first: git add FILES")
    seen = shortened(diff, int((settings.engine.context - MAX_TOKENS * 2) * CHARS_PER_TOKEN))
    messages = prompt("commit_message", root, settings).render(diff=seen)
    answer = await ask_about(gateway, ChatRequest(messages, model=settings.model.chat, max_tokens=MAX_TOKENS), Mask())
    text = (code_block(answer.text) or answer.text).strip()
    if not text:
        raise AnswerError("The model wrote no message.", "Try again, or choose a larger model (model.chat).")
    summary, _, body = text.partition("\n")
    summary = summary.strip().rstrip(".")
    return (f"{summary}\n\n{body.strip()}" if body.strip() else summary), max(0, len(diff) - len(seen))


def shortened(diff: str, limit: int) -> str:
    """`diff` with at most `limit` code points: every file keeps an equal share, from its start, cut at line ends."""
    if len(diff) <= limit:
        return diff
    files = re.split(r"(?m)^(?=diff --git )", diff)
    share = limit // max(1, len(files))
    return "".join(file if len(file) <= share else file[: file.rfind("\n", 0, share) + 1] for file in files)
