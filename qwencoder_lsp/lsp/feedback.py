"""What became of suggestions, as the editor tells it.

    qwencoder/didShow, qwencoder/didReject      {"id": suggestion} or {"item": the whole item}
    qwencoder/didPartiallyAccept                the same, with "acceptedLength": how much of insertText was taken so far, in UTF-16 units
    the item's command (workspace/executeCommand)   the suggestion was accepted
    textDocument/didShowCompletion {item}, textDocument/didPartiallyAcceptCompletion {item, acceptedLength}    what clients of Copilot's server send

The first four lines are ours; the aliases are those of the README of @github/copilot-language-server. LSP 3.18 itself knows the command alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cachetools import LRUCache

from qwencoder_lsp.core.outcome import ACCEPTED, DISPLAYED, PARTLY, REJECTED
from qwencoder_lsp.core.results import Suggestion
from qwencoder_lsp.core.text import Edit
from qwencoder_lsp.lsp.items import Place
from qwencoder_lsp.lsp.positions import UTF16, units
from qwencoder_lsp.lsp.session import Session

if TYPE_CHECKING:
    from qwencoder_lsp.features.complete import Completer

log = logging.getLogger(__name__)

OFFERS = 256


@dataclass(frozen=True, slots=True)
class Offer:
    """A suggestion that was sent, for which feature, where it was made, the text of its item, and how to begin the work for what comes behind it."""

    feature: str
    at: Place
    suggestion: Suggestion
    text: str
    prepare: Callable[[], object]


class Feedback:
    """Follows the latest suggestions. completer: that of this window, made when first needed."""

    def __init__(self, session: Session, completer: Callable[[], Completer]) -> None:
        self.tells_shown = False  # whether this editor says which suggestions it shows
        self._session = session
        self._completer = completer
        self._offers: LRUCache[str, Offer] = LRUCache(OFFERS)
        session.documents.follow(self._edited)

    def offered(self, offer: Offer) -> None:
        """A suggestion goes out."""
        self._offers[offer.suggestion.id] = offer

    def shown(self, id_: str) -> None:
        """The editor shows it."""
        self.tells_shown = True
        if offer := self._count(DISPLAYED, id_):
            offer.prepare()

    def accepted(self, id_: str) -> None:
        """The user took all of it."""
        if offer := self._count(ACCEPTED, id_):
            document = self._session.documents.get(offer.at.snapshot.uri)
            if document:
                self._completer().verdicts.accept(offer.at.snapshot, offer.at.offset, offer.suggestion, document.source)
            offer.prepare()

    def partly_accepted(self, id_: str, length: int) -> None:
        """The user took the first `length` UTF-16 units of the item's text."""
        offer = self._offers.get(id_)
        if offer and length >= units(offer.text, UTF16):
            self.accepted(id_)
        elif offer := self._count(PARTLY, id_):
            offer.prepare()

    def rejected(self, id_: str) -> None:
        """The user does not want it."""
        if offer := self._count(REJECTED, id_):
            self._completer().verdicts.reject(offer.at.snapshot, offer.at.offset, offer.suggestion.text)

    def _count(self, event: str, id_: str) -> Offer | None:
        offer = self._offers.get(id_)
        if offer is None:
            log.info("%s: a suggestion that is not known any more", event)
            return None
        self._session.traces.count(event, offer.feature, offer.at.snapshot.language)
        log.info("suggestion %s was %s", id_, event)
        return offer

    def _edited(self, uri: str, edit: Edit) -> None:
        if self._offers:  # nothing of the completions is loaded before the first one
            self._completer().verdicts.edited(uri, edit)


def id_of(params: Any) -> str:
    """The suggestion that a notification means; empty when it names none."""
    own = getattr(params, "id", None)
    arguments = getattr(getattr(getattr(params, "item", None), "command", None), "arguments", None)
    found = own if own is not None else arguments[0] if isinstance(arguments, list | tuple) and arguments else ""
    return found if isinstance(found, str) else ""


def length_of(params: Any) -> int:
    """The accepted length of a notification, 0 when it says none."""
    length = getattr(params, "acceptedLength", 0)
    return length if isinstance(length, int) else 0
