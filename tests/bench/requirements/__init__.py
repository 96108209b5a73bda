"""The promised figures on this machine."""
