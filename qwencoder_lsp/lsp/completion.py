"""Completion requests: ghost text and menu entries, newest wins, and every empty answer with a reason in the trace.

In: the two completion requests. Out: items, an empty list when the model has nothing, None when the request no longer matters. The work itself is
`features.complete`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from lsprotocol import types

from qwencoder_lsp.core.report import Reason
from qwencoder_lsp.core.results import Completion, Suggestion
from qwencoder_lsp.core.text import Edit
from qwencoder_lsp.errors import AnswerError, ModelMissing, QwencoderError
from qwencoder_lsp.lsp.documents import Document
from qwencoder_lsp.lsp.downloads import Downloads
from qwencoder_lsp.lsp.feedback import Feedback, Offer
from qwencoder_lsp.lsp.items import Place, inline_item, menu_item, place
from qwencoder_lsp.lsp.session import Session
from qwencoder_lsp.lsp.tasks import NewestWins, spawn
from qwencoder_lsp.observe.trace import Trace

if TYPE_CHECKING:
    from qwencoder_lsp.features.complete import Choose, Completer
    from qwencoder_lsp.settings import Settings

log = logging.getLogger(__name__)

AHEAD_S = 0.05  # after an answer: the editor shows it first
INLINE, MENU = "inline", "menu"
# The model has answered: where nothing is shown then, the editor clears what it shows.
ANSWERED = frozenset(
    {
        Reason.SHOWN,
        Reason.EMPTY,
        Reason.UNSURE,
        Reason.SECRET,
        Reason.BREAKS_SYNTAX,
        Reason.NEXT_LINE,
        Reason.REPEATS_PREFIX,
        Reason.REPEATS_SUFFIX,
        Reason.REJECTED,
        Reason.NO_FIT,
    }
)

Item: TypeAlias = types.InlineCompletionItem | types.CompletionItem


@dataclass(frozen=True, slots=True)
class Wish:
    """One completion request as it arrived. revision: the document's at that moment."""

    feature: str
    document: Document
    revision: int
    offset: int
    selected: Edit | None
    explicit: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """A completion, and its suggestion in the form that the editor asked for, the best first where there are several."""

    completion: Completion
    items: tuple[Item, ...] = ()


class Completions:
    """Answers completion requests."""

    def __init__(self, session: Session, downloads: Downloads, choose: Choose) -> None:
        self._choose = choose
        self._session = session
        self._downloads = downloads
        self._newest = NewestWins()
        self._completer: Completer | None = None
        self._window = secrets.token_hex(8)
        self.feedback = Feedback(session, self._completions)

    async def inline(self, params: types.InlineCompletionParams) -> types.InlineCompletionList | None:
        """Ghost text. None leaves the editor's current ghost text alone, an empty list clears it."""
        document = self._open(INLINE, params.text_document.uri)
        if document is None:
            return None
        info = params.context.selected_completion_info
        selected = Edit(document.span(info.range), info.text) if info else None
        explicit = params.context.trigger_kind == types.InlineCompletionTriggerKind.Invoked
        wish = Wish(INLINE, document, document.revision, document.offset(params.position), selected, explicit)
        outcome = await self._answer(wish)
        if outcome is None:
            return None
        return types.InlineCompletionList([item for item in outcome.items if isinstance(item, types.InlineCompletionItem)])

    async def menu(self, params: types.CompletionParams) -> types.CompletionList | None:
        """One entry for the completion menu. The list is incomplete always, so that the editor asks again at the next key."""
        document = self._open(MENU, params.text_document.uri)
        if document is None:
            return None
        wish = Wish(MENU, document, document.revision, document.offset(params.position), None, explicit=False)
        outcome = await self._answer(wish)
        if outcome is None:
            return None
        items = [item for item in outcome.items if isinstance(item, types.CompletionItem)]
        return types.CompletionList(is_incomplete=True, items=items)

    def closed(self, uri: str) -> None:
        """The document is not open any more."""
        if self._completer:
            self._completer.closed(uri)

    async def _answer(self, wish: Wish) -> Outcome | None:
        """The outcome, kept in the trace; None when the answer must be null."""
        started = time.perf_counter()
        outcome = Outcome(Completion(None, Reason.CANCELLED))
        try:
            done = await self._newest.run((wish.feature, wish.document.uri), self._work(wish))
            outcome = done or Outcome(Completion(None, Reason.SUPERSEDED))
            if outcome.items and not self._session.documents.is_current(wish.document, wish.revision):  # while the work handed over its result
                outcome = Outcome(replace(outcome.completion, suggestion=None, reason=Reason.STALE))
        finally:
            self._trace(wish, outcome.completion, (time.perf_counter() - started) * 1000)
        if outcome.completion.reason is Reason.MODEL_MISSING:
            self._downloads.offer()
        return outcome if outcome.completion.reason in ANSWERED else None

    def _open(self, feature: str, uri: str) -> Document | None:
        document = self._session.documents.get(uri)
        if document is None:
            self._session.traces.add(Trace("-", feature, Reason.NOT_OPEN))
        return document

    async def _work(self, wish: Wish) -> Outcome:
        try:
            return await self._complete(wish)
        except QwencoderError as error:
            failure = error
        except Exception as error:  # whatever breaks in a keystroke's work, the editor must get its null and no error message
            log.exception("completion failed")
            failure = AnswerError(f"The completion failed ({type(error).__name__}).", "See: qwencoder-lsp logs")
        if wish.explicit:
            self._session.editor.show_error(failure)
        reason = Reason.MODEL_MISSING if isinstance(failure, ModelMissing) else Reason.ERROR
        return Outcome(Completion(None, reason, failure.code))

    async def _complete(self, wish: Wish) -> Outcome:
        settings = await self._session.configuration.settings(self._session.documents.root_of(wish.document.uri))
        if wish.feature == MENU and not settings.completion.items:
            return Outcome(Completion(None, Reason.DISABLED))
        from qwencoder_lsp.features.policy import MAX_DOCUMENT

        if not self._session.documents.is_current(wish.document, wish.revision):
            return Outcome(Completion(None, Reason.STALE))
        if wish.document.length > MAX_DOCUMENT:  # known without making a snapshot, which takes 30 ms for 10 MB with an emoji in them
            return Outcome(Completion(None, Reason.TOO_LARGE))
        completer = self._completions()
        at = place(self._session.documents.snapshot(wish.document), wish.offset, wish.selected)
        key = f"{self._window}:{wish.document.uri}"
        if wish.explicit:
            return await self._candidates(wish, at, settings, key)
        completion = completer.at_once(at.snapshot, at.offset, settings)
        if completion is None:
            if not completer.joins(at.snapshot, at.offset):
                await asyncio.sleep(completer.pace.wait_s(settings))
                if not self._session.documents.is_current(wish.document, wish.revision):
                    return Outcome(Completion(None, Reason.STALE))
            completion = await self._session.connection.run(lambda client: completer.complete(at.snapshot, at.offset, client, settings, document=key))
        return self._outcome(wish, at, (completion,), settings, key)

    async def _candidates(self, wish: Wish, at: Place, settings: Settings, key: str) -> Outcome:
        from qwencoder_lsp.features.candidates import candidates

        completer = self._completions()
        if (known := completer.at_once(at.snapshot, at.offset, settings, explicit=True)) is None:
            found = await self._session.connection.run(
                lambda client: candidates(completer, at.snapshot, at.offset, client, settings, document=key), explicit=True
            )
        else:
            found = (known,)
        return self._outcome(wish, at, found, settings, key)

    def _outcome(self, wish: Wish, at: Place, found: tuple[Completion, ...], settings: Settings, key: str) -> Outcome:
        """The completions as items, the first one followed."""
        completion = found[0]
        if completion.suggestion and not self._session.documents.is_current(wish.document, wish.revision):
            return Outcome(replace(completion, suggestion=None, reason=Reason.STALE))
        if completion.suggestion is None:
            return Outcome(completion)
        make = inline_item if wish.feature == INLINE else menu_item
        items = [(c.suggestion, item) for c in found if c.suggestion and (item := make(wish.document, at, c.suggestion))]
        if not items:
            return Outcome(replace(completion, suggestion=None, reason=Reason.NO_FIT))
        for suggestion, item in items:
            self._offer(wish, at, suggestion, item, settings, key, first=item is items[0][1])
        return Outcome(completion, tuple(item for _, item in items))

    def _offer(self, wish: Wish, at: Place, suggestion: Suggestion, item: Item, settings: Settings, key: str, *, first: bool) -> None:
        """Follow a suggestion, and once it is on screen work for what may come next. An editor that does not tell shows what it gets."""

        async def work(pause: float) -> None:
            await asyncio.sleep(pause)
            documents = self._session.documents
            if documents.get(wish.document.uri) is not wish.document or (pause and not documents.is_current(wish.document, wish.revision)):
                return
            try:
                client = await self._session.connection.client()
            except QwencoderError:  # whoever asks for a completion is told
                return
            self._completions().shown(at.snapshot, suggestion, client, settings, document=key)

        text = item.text_edit.new_text if isinstance(item, types.CompletionItem) and item.text_edit else str(item.insert_text)
        self.feedback.offered(Offer(wish.feature, at, suggestion, text, lambda: spawn(work(0.0))))
        if first and not self.feedback.tells_shown:
            spawn(work(AHEAD_S))

    def _completions(self) -> Completer:
        """Made at the first completion, so that nothing of it slows the start."""
        if self._completer is None:
            from qwencoder_lsp.features.complete import Completer

            self._completer = Completer(self._choose)
        return self._completer

    def _trace(self, wish: Wish, completion: Completion, total_ms: float) -> None:
        id_ = completion.suggestion.id if completion.suggestion else "-"
        trace = Trace(
            id_,
            wish.feature,
            completion.reason,
            completion.detail,
            completion.model,
            completion.usage,
            completion.timings,
            total_ms,
            completion.signals,
            completion.source,
            completion.shares,
            completion.steps,
            wish.document.language_id or "",
        )
        # The answer goes out in the next turn of the loop, before its timers: nobody waits for our log.
        asyncio.get_running_loop().call_later(0, self._session.traces.add, trace, completion.record)
