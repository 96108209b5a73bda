"""`python -m qwencoder_lsp.cli` is `qwencoder-lsp`."""

from qwencoder_lsp.cli import main

main()
