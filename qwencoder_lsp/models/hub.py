"""Hugging Face as a source: what the hub knows of a file, and the file itself.

`HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_OFFLINE` and `HF_HUB_DOWNLOAD_TIMEOUT` mean what they mean to the official client, whose session is used.
"""

from __future__ import annotations

import os

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
from huggingface_hub.utils import build_hf_headers

from qwencoder_lsp import __version__
from qwencoder_lsp.errors import DownloadError, ModelCorrupt
from qwencoder_lsp.models.catalogue import SHA256, ModelEntry, ModelFile
from qwencoder_lsp.models.partial import PartialFile
from qwencoder_lsp.models.progress import Monitor
from qwencoder_lsp.models.transfer import fetch, persist

# Otherwise the user agent tells which AI agent has started this process, after a request to the hub for the list of them.
constants.HF_HUB_DISABLE_TELEMETRY = True


class HubFile:
    """One file of a repository at one revision."""

    def __init__(self, entry: ModelEntry, file: ModelFile, monitor: Monitor) -> None:
        self._entry, self._file, self._monitor = entry, file, monitor
        self._revision = entry.revision

    def identify(self) -> tuple[int, str]:
        """Size and SHA-256 as the hub gives them, which for a large file are its LFS entry's.

        Raises DownloadError when the hub does not answer or gives no checksum, ModelCorrupt when its file is not the catalogue's.
        """
        endpoint = os.environ.get("HF_ENDPOINT") or None
        url = hf_hub_url(self._entry.repository, self._file.name, revision=self._entry.revision, endpoint=endpoint)
        found = persist(
            lambda: get_hf_file_metadata(url, timeout=constants.HF_HUB_ETAG_TIMEOUT, endpoint=endpoint, library_name="qwencoder-lsp"),
            lambda: 0,
            self._monitor,
            endpoint_name(),
        )
        if found.etag is None or found.size is None or not SHA256.fullmatch(found.etag):
            raise DownloadError(f"{endpoint_name()} gives no checksum of {self._file.name}.", "Check HF_ENDPOINT, or use another source.")
        if (self._file.sha256 or found.etag) != found.etag or (self._file.bytes or found.size) != found.size:
            raise ModelCorrupt(
                f"The published {self._file.name} is not the one that the catalogue names.", "Use another source, or update qwencoder-lsp."
            )
        self._revision = found.commit_hash or self._entry.revision
        return found.size, found.etag

    def fetch(self, partial: PartialFile) -> None:
        """Complete `partial`. Raises DownloadError, ModelCorrupt."""
        endpoint = os.environ.get("HF_ENDPOINT") or None
        # The hub's own address each time: the signed one that it redirects to is good for an hour only.
        url = hf_hub_url(self._entry.repository, self._file.name, revision=self._revision, endpoint=endpoint)
        headers = build_hf_headers(library_name="qwencoder-lsp", library_version=__version__)
        fetch(url, headers, partial, self._monitor, endpoint_name())


def endpoint_name() -> str:
    """The hub's host, as users are told."""
    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    return endpoint.partition("://")[2].rstrip("/") or endpoint
