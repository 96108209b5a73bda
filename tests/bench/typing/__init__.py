"""Somebody types in real time: the language server as it is shipped, beside llama.vim's policy on llama-server."""
