"""llama.vim's policy as a client of llama-server's /infill, after autoload/llama.vim at commit a1c8e6e (2026-01-31), function by function.

What the source does at a key in insert mode (s:on_move, then llama#fim): a known reply is shown, and the one behind it is asked for; then the reply
for the cursor is asked for as well, unless that very place is known. There is no delay and nothing is aborted: while a request runs, the next one
waits on a timer that each call starts anew, 100 ms. A reply is kept under four keys (with the first 0 to 3 lines of the prefix left out), and found
again up to 128 characters later when what was typed since is how it begins. t_max_predict_ms counts in the server only behind a first line break.

Left out is the ring of chunks of other text: it changes in normal mode or after 3 s without a move, which these sessions do not have.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.bench.engine.client import Call
from tests.bench.engine.peers import Peer

N_PREFIX, N_SUFFIX, N_PREDICT = 256, 64, 128  # lines, lines, tokens
MAX_LINE_SUFFIX = 8
CACHED, LOOK_BACK, SCROLLED = 250, 128, 3
RETRY_S = 0.1
FIRST_MS, AHEAD_MS = 250, 1000

Key = tuple[str, str]  # what stands before and behind a place


@dataclass(frozen=True, slots=True)
class Local:
    """What is asked about (s:fim_ctx_local): whole lines above, the line up to the cursor, what follows; `rest` is the line behind the cursor."""

    prefix: str
    middle: str
    suffix: str
    rest: str
    indent: int

    @property
    def keys(self) -> list[Key]:
        """Under which the reply is kept."""
        found, prefix = [(self.prefix + self.middle, self.suffix)], self.prefix
        for _ in range(SCROLLED):
            prefix = prefix.partition("\n")[2]
            if not prefix:
                break
            found.append((prefix + self.middle, self.suffix))
        return found


class Buffer:
    """The text, and the cursor as row and column."""

    def __init__(self, text: str, cursor: int) -> None:
        self.lines = text.split("\n")
        self.row = text.count("\n", 0, cursor)
        self.column = cursor - text.rfind("\n", 0, cursor) - 1

    def local(self, row: int, column: int, shown: Sequence[str] = (), indent: int = 0) -> Local:
        """What surrounds a place; shown: the lines on screen there, as if they were accepted, for which `indent` is kept."""
        below = "\n".join(self.lines[row + 1 : row + 1 + N_SUFFIX]) + "\n"
        if shown:
            above = self.lines[max(0, row - N_PREFIX + len(shown) - 1) : row]
            if len(shown) == 1:
                return Local("\n".join(above) + "\n", self.lines[row] + shown[0], "\n" + below, "", indent)
            above += [self.lines[row] + shown[0], *shown[1:-1]]
            return Local("\n".join(above) + "\n", shown[-1], "\n" + below, "", indent)
        line = self.lines[row]
        above_text = "\n".join(self.lines[max(0, row - N_PREFIX) : row]) + "\n"
        if not line.strip():  # the reply begins with the line
            return Local(above_text, "", "\n" + below, "", 0)
        return Local(above_text, line[:column], f"{line[column:]}\n{below}", line[column:], len(line) - len(line.lstrip()))


def rendered(content: str, buffer: Buffer) -> list[str]:
    """The lines of a reply that go on screen (s:fim_render), without what repeats the text behind the cursor."""
    lines = content.split("\n")
    while lines and not lines[-1]:
        lines.pop()
    lines = lines or [""]
    current = buffer.lines[buffer.row]
    if not current.strip():
        lead = min(len(lines[0]) - len(lines[0].lstrip()), len(current))
        current, lines[0] = lines[0][:lead], lines[0][lead:]
    before, rest = current[: buffer.column], current[buffer.column :]
    following = buffer.lines[buffer.row + 1 :]
    if len(lines) > 1 and not lines[0] and lines[1:] == following[: len(lines) - 1]:
        return [""]
    if lines == [rest]:
        return [""]
    start = next((i for i, line in enumerate(following[:-1]) if line.strip()), max(0, len(following) - 1))
    after = following[start + 1 :]
    if following and before + lines[0] == following[start]:
        second = len(lines) == 2 and bool(after) and after[0].startswith(lines[1])
        if len(lines) == 1 or second or (len(lines) > 2 and lines[1:] == after[: len(lines) - 1]):
            return [""]
    return lines


class LlamaVim:
    """One buffer. show(turn, text, free): puts a hint on screen. evaluated: tokens that the server computed for it."""

    def __init__(self, peer: Peer, show: Callable[[int, str, bool], None]) -> None:
        self._peer, self._show = peer, show
        self._cache: OrderedDict[Key, str] = OrderedDict()
        self._turn, self._buffer = -1, Buffer("", 0)
        self._acceptable = False  # whether a hint that can be accepted is on screen
        self._indent = 0
        self._running: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.evaluated = 0

    def key(self, turn: int, text: str, cursor: int) -> None:
        """The text after a key."""
        self._turn, self._buffer, self._acceptable = turn, Buffer(text, cursor), False
        self._try_hint(free=True)
        self._fim()

    async def close(self) -> None:
        """End what runs."""
        if self._timer:
            self._timer.cancel()
        if self._running:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running

    def _try_hint(self, *, free: bool) -> None:
        """Show what is known for the cursor, and ask for what comes behind it."""
        buffer = self._buffer
        local = buffer.local(buffer.row, buffer.column)
        reply = self._known(local)
        if reply is None:
            return
        lines = rendered(reply, buffer)
        if any(line.strip() for line in lines):
            self._acceptable = True
            self._show(self._turn, "\n".join(lines), free)
        shown = [*lines[:-1], lines[-1] + local.rest]
        self._fim(row=buffer.row, column=buffer.column, shown=shown)

    def _known(self, local: Local) -> str | None:
        before, behind = local.prefix + local.middle, local.suffix
        if (exact := self._get((before, behind))) is not None:
            return exact
        found, best = None, 0
        for back in range(1, min(LOOK_BACK, len(before)) + 1):
            reply = self._get((before[:-back], behind))
            if reply and reply[:back] == before[-back:] and (left := reply[back:]):
                if found is None:
                    found = left
                elif len(left) > best:
                    found, best = left, len(left)
        return found

    def _fim(self, row: int = -1, column: int = -1, shown: Sequence[str] = ()) -> None:
        """Ask for a place, the cursor's when none is given; shown: as if these lines were accepted there."""
        if self._running:
            if self._timer:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(RETRY_S, self._fim, row, column, shown)
            return
        buffer = self._buffer
        at = (row, column) if row >= 0 else (buffer.row, buffer.column)
        if at[0] >= len(buffer.lines):  # the text has become shorter since
            return
        local = buffer.local(*at, shown, self._indent)
        if len(local.rest) > MAX_LINE_SUFFIX or any(self._get(key) is not None for key in local.keys):
            return
        self._indent = local.indent
        self._running = asyncio.create_task(self._request(local, AHEAD_MS if shown else FIRST_MS))

    async def _request(self, local: Local, limit_ms: int) -> None:
        body = {
            "id_slot": 0,
            "input_prefix": local.prefix,
            "input_suffix": local.suffix,
            "input_extra": [],
            "prompt": local.middle,
            "n_predict": N_PREDICT,
            "stop": [],
            "n_indent": local.indent,
            "top_k": 40,
            "top_p": 0.90,
            "samplers": ["top_k", "top_p", "infill"],
            "stream": False,
            "cache_prompt": True,
            "t_max_prompt_ms": 500,
            "t_max_predict_ms": limit_ms,
        }
        reply = await self._peer.call(Call("/infill", body))
        if reply.ok:
            self.evaluated += int(reply.timings.get("prompt_n", 0) + reply.timings.get("predicted_n", 0))
            for key in local.keys:
                self._put(key, str(reply.body["content"]))
            if not self._acceptable:
                self._try_hint(free=False)  # what it asks for waits for the timer: this request has not ended yet
        self._running = None

    def _get(self, key: Key) -> str | None:
        if key in self._cache:
            self._cache.move_to_end(key)
        return self._cache.get(key)

    def _put(self, key: Key, content: str) -> None:
        self._cache[key] = content
        self._cache.move_to_end(key)
        if len(self._cache) > CACHED:
            self._cache.popitem(last=False)
