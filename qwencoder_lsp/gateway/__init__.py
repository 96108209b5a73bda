"""How everyone finds, starts and talks to the gateway process. The process itself is `qwencoder_lsp.http`."""
