"""Model files: catalogue, download, verify, choose."""
