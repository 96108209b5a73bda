"""Tool calls in the messages of the chat route: whole, and as the deltas of a stream."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any

from qwencoder_lsp.errors import AnswerError
from qwencoder_lsp.http.openai_tools import Toolbox
from qwencoder_lsp.postprocess.toolcalls import Begun, CallReader, Piece

Dict = dict[str, Any]


def whole_message(text: str, tools: Toolbox) -> tuple[Dict, str]:
    """The message that `text` is, and why it ended: with calls, or as text. Calls that broke off or are wrong stay text."""
    reader = CallReader(tools.schemas)
    content = "".join(piece for piece in (*reader.feed(text), *reader.finish()) if isinstance(piece, str))
    good = [call for call in reader.calls if call.complete and not tools.problem(call)][: None if tools.several else 1]
    message: Dict = {"role": "assistant", "content": (content if len(good) == len(reader.calls) else text) or None}
    if not good:
        return {**message, "content": message["content"] or ""}, "stop"
    if tools.legacy:
        return {**message, "function_call": {"name": good[0].name, "arguments": good[0].arguments}}, "function_call"
    calls = [{"id": _id(), "type": "function", "function": {"name": call.name, "arguments": call.arguments}} for call in good]
    return {**message, "tool_calls": calls}, "tool_calls"


class CallStream:
    """One choice of a stream. Arguments go out as they are written, under the grammar that makes them valid; at the end they are checked as well."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools
        self._reader = CallReader(tools.schemas)

    def feed(self, text: str) -> Dict:
        """The delta that `text` makes; empty for none."""
        return self._delta(self._reader.feed(text))

    def finish(self) -> tuple[Dict, str]:
        """The last delta, and why the message ended. Raises AnswerError when a call that was sent is not valid."""
        delta = self._delta(self._reader.finish())
        for call in self._reader.calls:
            if call.complete and (problem := self._tools.problem(call)):
                raise AnswerError(f"The model called {call.name} with arguments that do not satisfy its schema: {problem}", "Try again.")
        if not self._reader.calls:
            return delta, "stop"
        return delta, "function_call" if self._tools.legacy else "tool_calls"

    def _delta(self, pieces: Iterable[Piece]) -> Dict:
        text = ""
        calls: dict[int, Dict] = {}
        for piece in pieces:
            if isinstance(piece, str):
                text += piece
            elif isinstance(piece, Begun):
                calls[piece.index] = {"index": piece.index, "id": _id(), "type": "function", "function": {"name": piece.name, "arguments": ""}}
            else:
                calls.setdefault(piece.index, {"index": piece.index, "function": {"arguments": ""}})["function"]["arguments"] += piece.text
        delta: Dict = {"content": text} if text else {}
        if calls and self._tools.legacy:
            delta["function_call"] = calls.get(0, {"function": {"arguments": ""}})["function"]
        elif calls:
            delta["tool_calls"] = list(calls.values())
        return delta


def _id() -> str:
    return "call_" + secrets.token_hex(12)
