"""pygls as this server needs it: our documents instead of its own, no request without an answer, no pop-up per failing notification."""

from __future__ import annotations

import logging
import sys
from collections.abc import Generator
from contextvars import copy_context
from typing import Any, TypeVar

from lsprotocol import types
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol, lsp_method

from qwencoder_lsp import __version__
from qwencoder_lsp.lsp.documents import Documents

log = logging.getLogger(__name__)

T = TypeVar("T")

SCHEME = "qwencoder"  # of the documents whose text this server has
SERVER_NOT_INITIALIZED, INVALID_REQUEST = -32002, -32600


class Protocol(LanguageServerProtocol):
    """The protocol state of one connection."""

    _server: Server

    @property
    def is_shut_down(self) -> bool:
        """Whether the client has asked for the shutdown; `exit` then is a good end."""
        return self._shutdown

    def parse(self, value: Any, type_: type[T]) -> T:
        """A JSON value of a command's arguments as an LSP value. Raises an exception of cattrs or a TypeError when it does not fit."""
        return self._converter.structure(value, type_)

    @lsp_method(types.INITIALIZE)
    def lsp_initialize(self, params: types.InitializeParams) -> Generator[Any, Any, types.InitializeResult]:
        """Agree on capabilities, and put our documents in place of pygls's workspace."""
        result = yield from super().lsp_initialize(params)
        encoding = types.PositionEncodingKind(result.capabilities.position_encoding).value
        client, pulls = params.client_info, result.capabilities.diagnostic_provider
        if client and client.name == "Neovim" and pulls is not None:
            # Asked to refresh, Neovim 0.12 pulls the workspace alone where it can, and takes from that nothing about open buffers.
            pulls.workspace_diagnostics = False
        if result.capabilities.workspace is not None:  # pygls does not announce it
            result.capabilities.workspace.text_document_content = types.TextDocumentContentOptions(schemes=[SCHEME])
        self._server.documents.configure(self.workspace.root_uri, params.workspace_folders or (), encoding)
        self._workspace = self._server.documents
        return result

    @lsp_method(types.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: types.DidChangeTextDocumentParams) -> None:
        """Apply the changes. A plain function: pygls runs its own as a generator, for handlers that we do not have."""
        for change in params.content_changes:
            self.workspace.update_text_document(params.text_document, change)

    def handle_message(self, message: Any) -> None:
        """Serve one message. A request before `initialize` or after `shutdown` gets the error that LSP asks for.

        pygls tells requests from notifications by isinstance with a runtime protocol class, which takes longer than to apply an edit.
        """
        method, id_ = getattr(message, "method", None), getattr(message, "id", None)
        if method is not None and id_ is not None:
            if self._workspace is None and method != types.INITIALIZE:
                self._send_response(id_, error=types.ResponseError(SERVER_NOT_INITIALIZED, "The first request must be initialize."))
                return
            if self._shutdown:
                self._send_response(id_, error=types.ResponseError(INVALID_REQUEST, "The server has been shut down."))
                return
            copy_context().run(self._handle_request, id_, method, message.params)
        elif method is not None and not self._shutdown:
            copy_context().run(self._handle_notification, method, message.params)
        else:
            super().handle_message(message)


class Server(LanguageServer):
    """The pygls server object: handlers are registered on it, messages to the client leave through it."""

    protocol: Protocol

    def __init__(self, documents: Documents) -> None:
        self.documents = documents
        super().__init__("qwencoder-lsp", __version__, protocol_cls=Protocol)

    def report_server_error(self, error: Exception, source: type[Exception]) -> None:
        """Log a failure. pygls would show a message to the user, one per key when a notification handler is broken."""
        cause = sys.exc_info()[1] or error  # pygls calls this while it handles the exception that it made `error` from
        log.error("%s: %s", source.__name__, type(cause).__name__, exc_info=cause)
