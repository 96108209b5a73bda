"""llama.vim's policy (autoload/llama.vim, January 2026, as its source describes it) as a client of llama-server's /infill.

A request at every key without delay, one at a time: while one runs, the next try is 100 ms later. Replies are cached by what surrounds the cursor,
and found again while what they say is typed, up to 128 characters back. When a hint is on screen, the reply behind it is fetched ahead. Context of
other files (its ring) comes from yanks, saves and jumps over 32 lines, which these sessions do not have.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable

from tests.bench.engine.client import Call
from tests.bench.engine.peers import Peer

N_PREFIX, N_SUFFIX, N_PREDICT = 256, 64, 128
MAX_LINE_SUFFIX = 8
CACHED, LOOK_BACK = 250, 128
RETRY_S = 0.1
FIRST_MS, AHEAD_MS = 250, 1000

Context = tuple[str, str, str]  # lines above, the line before the cursor, what follows


def context(text: str, cursor: int) -> Context:
    """What it looks at."""
    above, _, line = text[:cursor].rpartition("\n")
    below = text[cursor:].split("\n")
    return "\n".join(above.split("\n")[-N_PREFIX:]), line, "\n".join(below[: N_SUFFIX + 1])


class LlamaVim:
    """One buffer. show(turn, text, free): puts a hint on screen. evaluated: tokens that the server computed for it."""

    def __init__(self, peer: Peer, show: Callable[[int, str, bool], None]) -> None:
        self._peer, self._show = peer, show
        self._cache: OrderedDict[Context, str] = OrderedDict()
        self._turn, self._text, self._cursor = -1, "", 0
        self._running: asyncio.Task[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self.evaluated = 0

    def key(self, turn: int, text: str, cursor: int) -> None:
        """The text after a key."""
        self._turn, self._text, self._cursor = turn, text, cursor
        if len(text[cursor:].split("\n", maxsplit=1)[0]) > MAX_LINE_SUFFIX:
            return
        if not self._hint(free=True):
            self._ask(text, cursor, FIRST_MS)

    async def close(self) -> None:
        """End what runs."""
        if self._retry:
            self._retry.cancel()
        if self._running:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running

    def _hint(self, *, free: bool) -> bool:
        """Show what is known for the cursor, and fetch what comes behind it."""
        found = self._known(context(self._text, self._cursor))
        shown = self._filtered(found)
        if not shown:
            return found is not None
        self._show(self._turn, shown, free)
        self._ask(self._text[: self._cursor] + shown + self._text[self._cursor :], self._cursor + len(shown), AHEAD_MS)
        return True

    def _known(self, place: Context) -> str | None:
        if (exact := self._cache.get(place)) is not None:
            return exact
        above, line, below = place
        before = f"{above}\n{line}"
        best = ""
        for back in range(1, min(LOOK_BACK, len(before))):
            typed = before[-back:]
            up, _, part = before[:-back].rpartition("\n")
            reply = self._cache.get((up, part, below))
            if reply and reply.startswith(typed) and len(reply) - back > len(best):
                best = reply[back:]
        return best or None

    def _filtered(self, reply: str | None) -> str:
        """Without what repeats the text behind the cursor."""
        if not reply or not reply.strip():
            return ""
        rest, *following = self._text[self._cursor :].split("\n")
        first, *more = reply.split("\n")
        below = next((line for line in following if line.strip()), "")
        if rest and reply == rest:
            return ""
        if not more and first.strip() and first == below:
            return ""
        if more and not first.strip() and more[0] == below and (len(more) == 1 or following[1 : len(more)] == more[1:]):
            return ""
        return reply.rstrip("\n")

    def _ask(self, text: str, cursor: int, limit_ms: int) -> None:
        place = context(text, cursor)
        if place in self._cache:
            return
        if self._running and not self._running.done():
            if limit_ms == FIRST_MS:
                if self._retry:
                    self._retry.cancel()
                self._retry = asyncio.get_running_loop().call_later(RETRY_S, self._again)
            return
        self._running = asyncio.create_task(self._request(place, limit_ms))

    def _again(self) -> None:
        if not self._hint(free=False):
            self._ask(self._text, self._cursor, FIRST_MS)

    async def _request(self, place: Context, limit_ms: int) -> None:
        above, line, below = place
        blank = not line.strip()
        body = {
            "id_slot": 0,
            "input_prefix": f"{above}\n",
            "prompt": "" if blank else line,
            "input_suffix": below,
            "input_extra": [],
            "n_predict": N_PREDICT,
            "n_indent": len(line) - len(line.lstrip()),
            "top_k": 40,
            "top_p": 0.90,
            "samplers": ["top_k", "top_p", "infill"],
            "stream": False,
            "cache_prompt": True,
            "t_max_prompt_ms": 500,
            "t_max_predict_ms": limit_ms,
        }
        reply = await self._peer.call(Call("/infill", body))
        self.evaluated += int(reply.timings.get("prompt_n", 0) + reply.timings.get("predicted_n", 0))
        if not reply.ok:
            return
        content = str(reply.body["content"])
        if blank and content.startswith(line):  # it writes the line from its start
            content = content[len(line) :]
        self._cache[place] = content
        if len(self._cache) > CACHED:
            self._cache.popitem(last=False)
        self._running = None
        self._hint(free=False)
