"""The language server process: `qwencoder-lsp`, over standard input and output.

Exit codes: 0 after `shutdown` and `exit`; 1 after `exit` alone, at the end of the input, or when the editor is gone; 143 and 130 for SIGTERM and
SIGINT.
"""

from __future__ import annotations

from typing import NoReturn

from qwencoder_lsp.lsp import stdio


def main() -> NoReturn:
    """Serve one editor; never returns."""
    source, sink = stdio.claim()
    stdio.end_on_signals()

    import asyncio
    import gc
    import logging

    gc.disable()  # the imports make 50 000 containers that all stay; going through them again and again takes a sixth of the start

    from qwencoder_lsp.lsp import transport
    from qwencoder_lsp.lsp.server import create
    from qwencoder_lsp.observe import log

    log.setup("language-server")
    try:
        server = create()
        gc.freeze()  # and would take 30 ms out of some keystroke later
        gc.enable()
        asyncio.run(transport.serve(server.protocol, source, sink))
    except BaseException:  # the process must end through stdio.end whatever happens
        logging.getLogger(__name__).exception("the language server failed")
    stdio.end(1)
