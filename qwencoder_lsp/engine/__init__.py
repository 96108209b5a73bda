"""Tokens in, chunks out. An engine process owns one model; one thread in it makes every llama.cpp call. Knows nothing of editors or prompts."""
