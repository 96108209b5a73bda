"""`python -m qwencoder_lsp.lsp`."""

from qwencoder_lsp.lsp.main import main

main()
