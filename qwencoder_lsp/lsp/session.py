"""What every feature of one editor window works with."""

from __future__ import annotations

from dataclasses import dataclass

from qwencoder_lsp.lsp.configuration import Configuration
from qwencoder_lsp.lsp.connection import Connection
from qwencoder_lsp.lsp.documents import Documents
from qwencoder_lsp.lsp.editor import Editor
from qwencoder_lsp.observe.trace import Traces


@dataclass(frozen=True, slots=True)
class Session:
    """One window: the editor, its documents and settings, the connection to the gateway, and the record of what was done."""

    editor: Editor
    documents: Documents
    configuration: Configuration
    connection: Connection
    traces: Traces
