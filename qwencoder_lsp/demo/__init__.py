"""The recorded session of `qwencoder-lsp demo`: a real language server on a sample project."""
