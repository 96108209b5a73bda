"""Inline completion: gather, render, generate, finish.

A document and a cursor go in, a suggestion or the reason for silence comes out. Gather and finish run here, beside the files; render and generate
run behind the gateway. An answer that is known already, or on its way, is taken before a new one is asked for. Knows nothing of editors.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from time import perf_counter

from qwencoder_lsp.context.gather import gather
from qwencoder_lsp.context.pack import Pack
from qwencoder_lsp.context.repository import workspace_key
from qwencoder_lsp.context.split import Splits
from qwencoder_lsp.core.prompt import Snippet
from qwencoder_lsp.core.report import Reason, Timings
from qwencoder_lsp.core.results import Completion, Suggestion
from qwencoder_lsp.core.text import Snapshot
from qwencoder_lsp.features.anchor import Anchor
from qwencoder_lsp.features.ask import Answer
from qwencoder_lsp.features.flight import Flight
from qwencoder_lsp.features.gate import silent_in, sure_part
from qwencoder_lsp.features.memory import Memory, Remembered
from qwencoder_lsp.features.pace import Pace
from qwencoder_lsp.features.policy import MOST_PARSED, ahead_rules, silence, stop_rules
from qwencoder_lsp.features.reader import Reader
from qwencoder_lsp.features.record import Asked, Made, Window, recorded
from qwencoder_lsp.features.show import show
from qwencoder_lsp.features.verdicts import Verdicts
from qwencoder_lsp.gateway.client import Gateway
from qwencoder_lsp.gateway.protocol import CompleteRequest
from qwencoder_lsp.postprocess.scope import Scope, scope_at
from qwencoder_lsp.postprocess.tree import Parsed, Trees
from qwencoder_lsp.settings import Settings

AHEAD_TOKENS = 32


Choose = Callable[[Snapshot, int, Settings, Pack], Awaitable[Pack]]
"""Finds the snippets that are best at a place of a document, given those that it has now."""


class Completer:
    """The completions of one window, and what is known of its documents from one keystroke to the next. snippets: for
    requests that belong to no open document; the others have those of `choose`."""

    def __init__(self, choose: Choose | None = None, snippets: tuple[Snippet, ...] = ()) -> None:
        self._choose = choose
        self._snippets = snippets
        self.verdicts = Verdicts()
        self._splits = Splits()
        self._trees = Trees()
        self._memory = Memory()
        self._flights: dict[str, Flight] = {}  # by document; the answer for the cursor
        self._ahead: dict[str, Flight] = {}  # the same for what comes behind a suggestion
        self.pace = Pace()
        self._readers: dict[str, Reader] = {}  # what of a document is read when nobody waits

    def at_once(self, snapshot: Snapshot, offset: int, settings: Settings, *, explicit: bool = False) -> Completion | None:
        """What can be said without the model: a reason for silence, or an answer that is known. None: ask `complete`."""
        if reason := silence(snapshot, offset, settings, explicit=explicit):
            return Completion(None, reason)
        if not explicit and (reason := silent_in(self._place(snapshot, offset)[1], settings.completion.eagerness)):
            return Completion(None, reason)
        self.verdicts.look(snapshot)
        found = None if explicit else self._known(snapshot.uri, snapshot.text, offset)
        if found is None:
            return None
        known, answer = found
        same_place = answer.text == known.answer.text
        ahead = known.ahead and same_place
        accepted = ahead or _at_line_end(answer)
        completion = self.present(snapshot, offset, answer, settings, Timings(), explicit=False, accepted=accepted)
        if completion.suggestion is None and not same_place:
            return None
        completion = recorded(completion, "ahead" if ahead else "memory", known.made, snapshot, offset, answer, settings, accepted=accepted)
        return self._wanted(snapshot, offset, completion)

    def joins(self, snapshot: Snapshot, offset: int) -> bool:
        """Whether a running generation may be the answer."""
        return self._running(snapshot, offset) is not None

    async def complete(
        self, snapshot: Snapshot, offset: int, gateway: Gateway, settings: Settings, *, explicit: bool = False, document: str | None = None
    ) -> Completion:
        """What to suggest at `offset`. explicit: the user asked for it. document: a newer request with the same key replaces this one.

        Raises QwencoderError when there is no gateway or the model cannot answer (ModelMissing, EngineCrashed, ...). When nobody waits for it any
        more, the generation stops.
        """
        if known := self.at_once(snapshot, offset, settings, explicit=explicit):
            return known
        gather_ms = 0.0
        outcome: tuple[Answer, str] | None = None
        source, flight = "joined", None if explicit else self._running(snapshot, offset)
        if flight:
            outcome = await flight.outcome(snapshot.text, offset)
            newer = self._flights.get(snapshot.uri)
            if flight.stopped and newer and newer is not flight and not newer.over:  # to ask now would stop that one
                return Completion(None, Reason.SUPERSEDED)
        if flight is None or outcome is None:
            source = "asked"
            flight, gather_ms = self._start(snapshot, offset, gateway, settings, explicit=explicit, document=document)
            asyncio.get_running_loop().call_soon(self._place, snapshot, offset)  # the tree is made while the model works
            outcome = await flight.outcome(snapshot.text, offset)
        if outcome is None:
            return Completion(None, Reason.SUPERSEDED)
        answer, rest = outcome
        if answer.replaced:
            return Completion(None, Reason.SUPERSEDED, answer.reason, answer.model, answer.usage, answer.timings)
        left = _left(answer, rest)
        completion = self.present(snapshot, offset, left, settings, replace(answer.timings, gather=gather_ms), explicit=explicit)
        completion = recorded(completion, source, _made(flight, answer), snapshot, offset, left, settings, explicit=explicit)
        return completion if explicit else self._wanted(snapshot, offset, completion)

    def shown(self, snapshot: Snapshot, suggestion: Suggestion, gateway: Gateway, settings: Settings, *, document: str | None = None) -> None:
        """The suggestion is on screen: prepare what comes behind it."""
        if not (settings.completion.ahead and self.pace.prepares(settings)):
            return
        text = snapshot.text[: suggestion.span.start] + suggestion.text + snapshot.text[suggestion.span.end :]
        accepted = replace(snapshot, text=text)
        offset = suggestion.span.start + len(suggestion.text)
        if silence(accepted, offset, settings, explicit=False):
            return
        if (found := self._known(snapshot.uri, text, offset)) and sure_part(found[1], settings.completion.eagerness):
            return
        running = self._ahead.get(snapshot.uri)
        if running and not running.over:
            if running.agrees(text, offset):
                return
            running.cancel()
        asked = self._asked(accepted, offset, settings, f"{document}:ahead" if document else None)
        request = replace(
            asked.request,
            max_tokens=min(AHEAD_TOKENS, settings.completion.max_tokens),
            stops=ahead_rules(accepted, offset, settings),
            ahead=True,
        )
        anchor = Anchor.at(snapshot.uri, text, offset)
        asked = replace(asked, request=request)
        self._ahead[snapshot.uri] = Flight(anchor, gateway.complete(request), self._landed, kept=True, asked=asked)

    def closed(self, uri: str) -> list[asyncio.Task[None]]:
        """The document is not open any more. The generations that are being stopped for it."""
        self._memory.forget(uri)
        self._trees.forget(uri)
        self._splits.forget(uri)
        self.verdicts.forget(uri)
        stopped = [flight.cancel() for flights in (self._flights, self._ahead) if (flight := flights.pop(uri, None))]
        if reader := self._readers.pop(uri, None):
            stopped += reader.stop()
        return stopped

    def _place(self, snapshot: Snapshot, offset: int) -> tuple[Parsed | None, Scope]:
        """The document's tree, and what the cursor is in."""
        parsed = self._trees.parse(snapshot.uri, snapshot.text, snapshot.language, offset) if len(snapshot.text) <= MOST_PARSED else None
        return parsed, scope_at(snapshot.text, offset, snapshot.language, parsed)

    def present(
        self, snapshot: Snapshot, offset: int, answer: Answer, settings: Settings, timings: Timings, *, explicit: bool, accepted: bool = False
    ) -> Completion:
        """The finish stage: what of an answer is shown at `offset`."""
        return show(snapshot, offset, answer, settings, *self._place(snapshot, offset), timings, explicit=explicit, accepted=accepted)

    def _known(self, uri: str, text: str, offset: int) -> tuple[Remembered, Answer] | None:
        """The newest answer that fits the cursor at `offset`, and what is left of it."""
        found = self._memory.find(uri, text, offset)
        if found is None:
            return None
        known, rest = found
        return known, _left(known.answer, rest)

    def _wanted(self, snapshot: Snapshot, offset: int, completion: Completion) -> Completion:
        """Without a suggestion that the user rejected at that place."""
        if completion.suggestion and self.verdicts.forbid(snapshot, offset, completion.suggestion.text):
            return replace(completion, suggestion=None, reason=Reason.REJECTED)
        return completion

    def _running(self, snapshot: Snapshot, offset: int) -> Flight | None:
        for flights in (self._flights, self._ahead):
            flight = flights.get(snapshot.uri)
            if flight and not flight.over and flight.agrees(snapshot.text, offset):
                return flight
        return None

    def _start(
        self, snapshot: Snapshot, offset: int, gateway: Gateway, settings: Settings, *, explicit: bool, document: str | None
    ) -> tuple[Flight, float]:
        for flights in (self._flights, self._ahead):
            if older := flights.pop(snapshot.uri, None):
                older.cancel()
        if reader := self._readers.get(snapshot.uri):
            reader.stop()
        began = perf_counter()
        asked = self._asked(snapshot, offset, settings, document)
        request = replace(
            asked.request,
            max_tokens=settings.completion.max_tokens,
            stops=stop_rules(snapshot, offset, settings, explicit=explicit),
            explicit=explicit,
        )
        gather_ms = (perf_counter() - began) * 1000

        def landed(flight: Flight, answer: Answer) -> None:
            self._landed(flight, answer)
            self.pace.answered(answer.timings.generate)
            if self.pace.prepares(settings) and (reader := self._readers.get(snapshot.uri)):
                wanted = replace(request, max_tokens=0, near=False, explicit=False, ahead=True, document=f"{document}:read")
                choose = self._choose
                reader.rest(flight.anchor, wanted, gateway, (lambda: choose(snapshot, offset, settings, reader.pack)) if choose else None)

        asked = replace(asked, request=request)
        flight = Flight(Anchor.at(snapshot.uri, snapshot.text, offset), gateway.complete(request), landed, asked=asked)
        self._flights[snapshot.uri] = flight
        return flight, gather_ms

    def _asked(self, snapshot: Snapshot, offset: int, settings: Settings, document: str | None) -> Asked:
        kept = self._splits.get(snapshot.uri, snapshot.text, offset)
        return Asked(Window.around(snapshot, offset, settings.completion), kept, self.request(snapshot, offset, settings, document))

    def request(self, snapshot: Snapshot, offset: int, settings: Settings, document: str | None) -> CompleteRequest:
        """The gather stage: what is asked at `offset`, without limits of the answer."""
        reader = self._readers.setdefault(snapshot.uri, Reader()) if document else None
        return CompleteRequest(
            gather(snapshot, offset, settings, self._splits, reader.pack.snippets if reader else self._snippets),
            model=settings.model.completion,
            document=document,
            max_prefix=settings.completion.max_prefix,
            max_suffix=settings.completion.max_suffix,
            near=reader is not None and not reader.done,
            workspace=workspace_key(snapshot.root),
        )

    def _landed(self, flight: Flight, answer: Answer) -> None:
        if not answer.replaced:
            made = _made(flight, answer)
            free = Answer(answer.text, answer.reason, answer.model, logprobs=answer.logprobs, cuts=answer.cuts, line_ends=answer.line_ends)
            self._memory.put(Remembered(flight.anchor, free, flight.kept, made))


def _made(flight: Flight, answer: Answer) -> Made | None:
    return Made(flight.asked, answer) if flight.asked else None


def _at_line_end(answer: Answer) -> bool:
    """Whether what is left of an answer begins with the next line: somebody who has taken those above gets this one too."""
    return bool(answer.line_ends) and answer.line_ends[0][0] == 0


def _left(answer: Answer, rest: str) -> Answer:
    """The same when its beginning was typed: lines are as probable as they are behind that."""
    typed = len(answer.text) - len(rest)
    ends = [(at - typed, value) for at, value in answer.line_ends if at >= typed]
    line_ends = tuple((at, value - ends[0][1]) for at, value in ends)
    return replace(answer, text=rest, cuts=tuple((at - typed, value) for at, value in answer.cuts if at >= typed), line_ends=line_ends)


async def complete(
    snapshot: Snapshot,
    offset: int,
    gateway: Gateway,
    settings: Settings,
    *,
    explicit: bool = False,
    document: str | None = None,
    snippets: tuple[Snippet, ...] = (),
) -> Completion:
    """A single completion, with nothing known from before but `snippets`; see Completer.complete. Cancelling stops the generation."""
    completer = Completer(snippets=snippets)
    try:
        return await completer.complete(snapshot, offset, gateway, settings, explicit=explicit, document=document)
    finally:
        if stopped := completer.closed(snapshot.uri):
            await asyncio.wait(stopped)  # the gateway is told before the caller closes it
