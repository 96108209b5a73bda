"""Tool calls in the answers of /api/chat: a call comes whole, its arguments are an object; text before the first goes out as it is written."""

from __future__ import annotations

import json
from itertools import takewhile
from typing import Any

from qwencoder_lsp.http.openai_calls import whole_message
from qwencoder_lsp.http.openai_tools import Toolbox
from qwencoder_lsp.postprocess.toolcalls import CallReader

Dict = dict[str, Any]


class Spoken:
    """One answer."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools
        self._reader = CallReader(tools.schemas)
        self._begun = False
        self._text = ""
        self._told = 0

    def feed(self, text: str) -> str:
        """What can be told now: nothing once a call has begun, because one that turns out to be wrong is text, with what stands behind it."""
        self._text += text
        if self._begun:
            return ""
        pieces = list(self._reader.feed(text))
        self._begun = not all(isinstance(piece, str) for piece in pieces)
        now = "".join(map(str, takewhile(lambda piece: isinstance(piece, str), pieces)))
        self._told += len(now)
        return now

    def finish(self, kept: str) -> Dict:
        """The last message: the calls, and the text that was not told yet. kept: what `feed` gave and the client did not get."""
        message, _ = whole_message(self._text, self._tools)
        message["content"] = kept + (message["content"] or "")[self._told :]
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
        return message
