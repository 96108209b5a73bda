"""The engine side by side with llama.cpp's own `llama-server`, as a client sees both: same model file, threads and prompts."""
