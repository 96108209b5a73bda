"""The command line. `qwencoder-lsp` alone is the language server on stdio; `app.py` lists the other commands.

Exit codes: 0 done, 1 failed, 2 wrong usage or settings; of operations (`app.OPERATION`):
2 not applicable or already so. Imports are late: the language server and --version must start fast.
"""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Entry point of `qwencoder-lsp`."""
    arguments = sys.argv[1:]
    if arguments in ([], ["--stdio"]):
        from qwencoder_lsp.lsp.main import main as language_server

        language_server()
    if arguments == ["--version"]:
        from qwencoder_lsp import __version__

        print(f"qwencoder-lsp {__version__}")
        sys.exit(0)
    from qwencoder_lsp.cli.app import run

    run(arguments)
