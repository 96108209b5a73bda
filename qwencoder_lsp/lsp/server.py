"""Puts the language server together: one object per concern, and the LSP methods that reach them.

Everything here happens before `initialize` is answered, so nothing heavy may be imported; settings, HTTP and the features
come in after `initialized`.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams

from qwencoder_lsp.errors import QwencoderError
from qwencoder_lsp.lsp import stdio
from qwencoder_lsp.lsp.actions import DISMISS, EDIT, EXPLAIN, FIX, KINDS, REFACTOR, REVIEW, REVIEW_CHANGES, Actions
from qwencoder_lsp.lsp.completion import Completions
from qwencoder_lsp.lsp.configuration import SECTION, Configuration
from qwencoder_lsp.lsp.connection import Connection
from qwencoder_lsp.lsp.diagnostics import Diagnostics
from qwencoder_lsp.lsp.documents import Documents
from qwencoder_lsp.lsp.downloads import Downloads
from qwencoder_lsp.lsp.editor import Editor
from qwencoder_lsp.lsp.explanations import Explanations
from qwencoder_lsp.lsp.feedback import id_of, length_of
from qwencoder_lsp.lsp.hovers import Hovers
from qwencoder_lsp.lsp.indexing import Indexing
from qwencoder_lsp.lsp.indexing import register as watch_files
from qwencoder_lsp.lsp.items import ACCEPTED
from qwencoder_lsp.lsp.lenses import Lenses
from qwencoder_lsp.lsp.outcomes import Outcomes
from qwencoder_lsp.lsp.protocol import Server
from qwencoder_lsp.lsp.questions import answer, questions, save_traces
from qwencoder_lsp.lsp.reviews import Reviews
from qwencoder_lsp.lsp.session import Session
from qwencoder_lsp.lsp.status import StatusBoard
from qwencoder_lsp.lsp.surroundings import OtherFiles
from qwencoder_lsp.lsp.tasks import spawn
from qwencoder_lsp.observe import log as log_file
from qwencoder_lsp.observe import windows
from qwencoder_lsp.observe.trace import Traces

if TYPE_CHECKING:
    from qwencoder_lsp.gateway.client import GatewayClient
    from qwencoder_lsp.gateway.protocol import Status
    from qwencoder_lsp.settings import Settings

DOWNLOAD, ADD = "qwencoder.downloadModel", "qwencoder.addModel"
PROJECT_SETTINGS = ".qwencoder.toml"
# Only "." opens the menu: after "(", ":" or "{" people press Enter for a new line, and an open menu would take that as its choice.
TRIGGERS = ["."]
HEAVY = (
    "gateway.find",
    "features.complete",
    "features.review",
    "features.fix_all",
    "features.refactor",
    "features.document",
    "features.generate_tests",
    "features.explain",
)


def create() -> Server:
    """The language server, ready to serve."""
    documents, traces = Documents(), Traces()
    server = Server(documents)
    editor = Editor(server)
    board = StatusBoard(editor, traces)

    def on_settings(settings: Settings) -> None:
        log_file.set_level(settings.log.level)
        save_traces(traces, settings.log.save_traces)

    async def connect() -> GatewayClient:
        from qwencoder_lsp.gateway import find

        return await find.connect(await configuration.settings())

    def on_status(status: Status) -> None:
        board.update(status)
        downloads.consider(status)

    configuration = Configuration(editor, documents, on_settings)
    connection = Connection(connect, on_status, board.lost)
    outcomes = Outcomes(connection)
    traces.tell = outcomes.note
    downloads = Downloads(editor, configuration, connection, board)
    diagnostics = Diagnostics(editor, documents)
    session = Session(editor, documents, configuration, connection, traces)
    others, indexing = OtherFiles(session), Indexing(session)
    board.index = indexing.states
    completions = Completions(session, downloads, others.choose)
    reviews = Reviews(session, diagnostics)
    actions = Actions(session, diagnostics)
    explanations = Explanations(session)

    _lifecycle(server, session, board, indexing, outcomes)
    _synchronisation(server, editor, configuration, diagnostics, completions, reviews, indexing)
    _workspace(server, configuration, indexing, others)
    _completion(server, completions)
    _diagnostics(server, diagnostics, Hovers(session, diagnostics))
    _actions(server, actions, Lenses(session), explanations)
    _completion_commands(server, completions, downloads)
    _review_commands(server, editor, reviews)
    _action_commands(server, actions, explanations)
    questions(server, board, traces)
    return server


def _lifecycle(server: Server, session: Session, board: StatusBoard, indexing: Indexing, outcomes: Outcomes) -> None:
    @server.feature(types.INITIALIZE)
    def initialize(params: types.InitializeParams) -> None:
        session.editor.introduce(params)
        session.configuration.start(params.initialization_options)
        stdio.end_with(params.process_id)

    @server.feature(types.INITIALIZED)
    async def initialized(_: types.InitializedParams) -> None:
        await asyncio.to_thread(_import, "settings")
        await session.configuration.update()
        await asyncio.to_thread(_import, *HEAVY)
        stdio.at_end(await windows.listen(lambda question: answer(question, board, session.traces)))
        spawn(_register(session))
        spawn(indexing.start())
        try:
            await session.connection.client()
        except QwencoderError:  # the status board has told the user
            return

    @server.feature(types.SHUTDOWN)
    async def shutdown(_: Any) -> None:
        await outcomes.flush()

    @server.feature(types.EXIT)
    def exit_(*_: Any) -> None:
        stdio.end(0 if server.protocol.is_shut_down else 1)


def _import(*names: str) -> None:
    for name in names:
        importlib.import_module(f"qwencoder_lsp.{name}")
    gc.freeze()  # modules stay; the collector need not look at them again in the middle of a keystroke


async def _register(session: Session) -> None:
    """Ask for the notifications that clients send only to servers which register for them."""
    editor = session.editor
    if editor.can("workspace.did_change_configuration.dynamic_registration"):
        await editor.register(types.WORKSPACE_DID_CHANGE_CONFIGURATION, types.DidChangeConfigurationRegistrationOptions(SECTION))
    await watch_files(session)


def _synchronisation(
    server: Server,
    editor: Editor,
    configuration: Configuration,
    diagnostics: Diagnostics,
    completions: Completions,
    reviews: Reviews,
    indexing: Indexing,
) -> None:
    @server.feature(types.TEXT_DOCUMENT_DID_SAVE, types.SaveOptions(include_text=False))
    async def saved(params: types.DidSaveTextDocumentParams) -> None:
        if params.text_document.uri.endswith(f"/{PROJECT_SETTINGS}"):
            configuration.reload()
        elif document := server.documents.get(params.text_document.uri):
            indexing.changed([document.uri])
            await reviews.saved(document)

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def closed(params: types.DidCloseTextDocumentParams) -> None:
        diagnostics.closed(params.text_document.uri)
        completions.closed(params.text_document.uri)

    @server.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)
    async def configured(params: types.DidChangeConfigurationParams) -> None:
        await configuration.update(params.settings)
        spawn(editor.refresh_lenses())
        await indexing.start()


def _workspace(server: Server, configuration: Configuration, indexing: Indexing, others: OtherFiles) -> None:
    @server.feature(types.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    def files_changed(params: types.DidChangeWatchedFilesParams) -> None:
        uris = [change.uri for change in params.changes]
        if any(uri.endswith(f"/{PROJECT_SETTINGS}") for uri in uris):
            configuration.reload()
        indexing.changed(uris)

    @server.feature(types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)
    async def folders_changed(_: types.DidChangeWorkspaceFoldersParams) -> None:
        await configuration.update()
        await indexing.start()

    @server.feature(types.WORKSPACE_SYMBOL)
    async def symbols(params: types.WorkspaceSymbolParams) -> Sequence[types.WorkspaceSymbol]:
        return await others.symbols(params.query)


def _completion(server: Server, completions: Completions) -> None:
    # Without options pygls does not announce inline completion.
    @server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())
    async def inline(params: types.InlineCompletionParams) -> types.InlineCompletionList | None:
        return await completions.inline(params)

    @server.feature(types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(trigger_characters=TRIGGERS))
    async def menu(params: types.CompletionParams) -> types.CompletionList | None:
        return await completions.menu(params)


def _diagnostics(server: Server, diagnostics: Diagnostics, hovers: Hovers) -> None:
    options = types.DiagnosticOptions(inter_file_dependencies=False, workspace_diagnostics=True, identifier=SECTION)

    @server.feature(types.TEXT_DOCUMENT_DIAGNOSTIC, options)
    def pull(params: types.DocumentDiagnosticParams) -> types.DocumentDiagnosticReport:
        return diagnostics.report(params)

    @server.feature(types.WORKSPACE_DIAGNOSTIC)
    def pull_all(params: types.WorkspaceDiagnosticParams) -> types.WorkspaceDiagnosticReport:
        return diagnostics.report_all(params)

    @server.feature(types.TEXT_DOCUMENT_HOVER)
    def hover(params: types.HoverParams) -> types.Hover | None:
        return hovers.at(params)


def _actions(server: Server, actions: Actions, lenses: Lenses, explanations: Explanations) -> None:
    # Without resolve_provider editors do not resolve.
    @server.feature(types.TEXT_DOCUMENT_CODE_ACTION, types.CodeActionOptions(code_action_kinds=KINDS, resolve_provider=True))
    def code_actions(params: types.CodeActionParams) -> Sequence[types.CodeAction | types.Command]:
        return actions.at(params)

    @server.feature(types.CODE_ACTION_RESOLVE)
    async def resolve(action: types.CodeAction) -> types.CodeAction:
        return await actions.resolve(action)

    @server.feature(types.TEXT_DOCUMENT_CODE_LENS)
    async def code_lenses(params: types.CodeLensParams) -> list[types.CodeLens]:
        return await lenses.of(params)

    @server.feature(types.WORKSPACE_TEXT_DOCUMENT_CONTENT)
    def content(params: types.TextDocumentContentParams) -> types.TextDocumentContentResult:
        return types.TextDocumentContentResult(explanations.text(params.uri))


def _completion_commands(server: Server, completions: Completions, downloads: Downloads) -> None:
    @server.command(ACCEPTED)
    def accepted(*arguments: Any) -> None:
        completions.feedback.accepted(_text(arguments))

    for shown in ("qwencoder/didShow", "textDocument/didShowCompletion"):
        server.feature(shown)(lambda params: completions.feedback.shown(id_of(params)))
    for partly in ("qwencoder/didPartiallyAccept", "textDocument/didPartiallyAcceptCompletion"):
        server.feature(partly)(lambda params: completions.feedback.partly_accepted(id_of(params), length_of(params)))
    server.feature("textDocument/didFocus")(lambda _: None)  # clients of Copilot's server say it; nothing here depends on the focus
    server.feature("qwencoder/didReject")(lambda params: completions.feedback.rejected(id_of(params)))

    @server.command(DOWNLOAD)
    async def download(*arguments: Any) -> None:
        await downloads.download(_text(arguments) if arguments else None)

    @server.command(ADD)
    def add(*arguments: Any) -> str | None:
        return downloads.add(_text(arguments))


def _review_commands(server: Server, editor: Editor, reviews: Reviews) -> None:
    @server.command(REVIEW)
    async def review(*arguments: Any) -> None:
        try:
            document = reviews.open_document(_text(arguments))
        except QwencoderError as error:
            editor.show_error(error)
            return
        selection = document.span(_range(server, arguments[1])) if len(arguments) > 1 and arguments[1] else None
        await reviews.review(document, selection)

    @server.command(REVIEW_CHANGES)
    async def review_changes(*arguments: Any) -> int | None:
        try:
            document = reviews.open_document(_text(arguments))
        except QwencoderError as error:
            editor.show_error(error)
            return None
        return await reviews.review_changes(document, tell=arguments[1:] != (False,))


def _action_commands(server: Server, actions: Actions, explanations: Explanations) -> None:
    @server.command(FIX)
    async def fix(*arguments: Any) -> None:
        await actions.apply(arguments[0] if arguments else None)

    @server.command(DISMISS)
    def dismiss(*arguments: Any) -> None:
        actions.dismiss(_text(arguments), _text(arguments[1:]))

    @server.command(EXPLAIN)
    async def explain(*arguments: Any) -> None:
        await explanations.explain(*_place(server, arguments), _words(arguments) if len(arguments) > 2 else "")

    @server.command(REFACTOR)
    async def refactor(*arguments: Any) -> None:
        await actions.refactor(*_place(server, arguments), _words(arguments))

    @server.command(EDIT)
    async def edit(*arguments: Any) -> None:
        await actions.edit(*_place(server, arguments), _words(arguments))


def _text(arguments: tuple[Any, ...]) -> str:
    if not arguments or not isinstance(arguments[0], str):
        raise JsonRpcInvalidParams("The arguments of this command begin with a string.")
    return arguments[0]


def _place(server: Server, arguments: tuple[Any, ...]) -> tuple[str, types.Range]:
    """The first two arguments of a command: a URI and a range."""
    uri = _text(arguments)
    return uri, _range(server, arguments[1] if len(arguments) > 1 else None)


def _words(arguments: tuple[Any, ...]) -> str:
    if len(arguments) < 3 or not isinstance(arguments[2], str):
        raise JsonRpcInvalidParams("The third argument of this command is a string.")
    return arguments[2]


def _range(server: Server, value: Any) -> types.Range:
    try:
        return server.protocol.parse(value, types.Range)
    except Exception as error:  # cattrs raises groups of whatever its hooks raise
        raise JsonRpcInvalidParams("The second argument of this command is a range.") from error
