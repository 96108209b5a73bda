"""Pure: parts and messages in, token ids out. No clock, no I/O, no settings."""
