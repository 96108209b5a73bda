"""The gateway process: the only importer of FastAPI."""
