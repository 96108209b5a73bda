"""Code assistance from Qwen-Coder models on the user's own machine, over LSP and HTTP."""

__version__ = "0.1.0"
