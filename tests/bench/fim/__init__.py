"""HumanEval-Infilling by execution: the language server as it is shipped, beside llama-server's /infill and the bare prompt."""
