"""Pulling from Hugging Face and from URLs, with the real client against a server on this machine that speaks the hub's protocol."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qwencoder_lsp.errors import DownloadError, ModelCorrupt
from qwencoder_lsp.models import store, transfer
from qwencoder_lsp.models.catalogue import ModelEntry, ModelFile
from qwencoder_lsp.models.progress import PullProgress
from qwencoder_lsp.models.pull import pull_entry
from tests.unit.models.hubserver import COMMIT, NONE, Fault, Hub, hub, scripted

KEY = "nobody/tiny/tiny.gguf"


@pytest.fixture
def server(home: Path, tiny: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with the tiny model, the only one that the client knows; retries do not wait."""
    monkeypatch.setattr(transfer, "pause", lambda cancelled, seconds: None)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with hub({KEY: tiny.content}) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        yield running


@pytest.fixture
def entry(tiny: Any) -> ModelEntry:
    """The tiny model as the hub has it; its checksum is known."""
    known: ModelEntry = tiny.entry
    return replace(known, repository="nobody/tiny", revision="main", pypi=None)


@pytest.fixture
def unpinned(entry: ModelEntry) -> ModelEntry:
    """The same, of which only the hub knows size and checksum."""
    return replace(entry, files=(ModelFile("tiny.gguf"),), about=1_000_000)


class Watch:
    """Keeps what was reported, and cancels when a message contains `cancel_at`."""

    def __init__(self, cancel_at: str = "never") -> None:
        self.messages: list[str] = []
        self.progress: list[PullProgress] = []
        self.cancelled = threading.Event()
        self._cancel_at = cancel_at

    def __call__(self, progress: PullProgress) -> None:
        self.progress.append(progress)
        self.messages.append(progress.message)
        if self._cancel_at in progress.message:
            self.cancelled.set()


def pulled(entry: ModelEntry, source: str = "huggingface", watch: Watch | None = None) -> Path:
    watch = watch or Watch()
    return pull_entry(entry, source, watch, watch.cancelled)


def models(home: Path) -> set[str]:
    return {path.name for path in (home / "data" / "models").glob("*.gguf")}


def partials(home: Path) -> list[Path]:
    return list((home / "data" / "models").glob("*.partial"))


def test_a_model_comes_from_the_hub_at_the_commit_that_its_revision_means(server: Hub, entry: ModelEntry, tiny: Any) -> None:
    watch = Watch()
    assert pulled(entry, "auto", watch).read_bytes() == tiny.content
    assert watch.messages[0].startswith("source: 127.0.0.1:")
    assert watch.messages[-1] == "installed"
    done = [progress.done for progress in watch.progress]
    assert done[-1] == watch.progress[-1].total == len(tiny.content)
    assert [(method, path.split("/")[4]) for method, path, _, _ in server.requests if "/resolve/" in path] == [("HEAD", "main"), ("GET", COMMIT)]


def test_a_model_that_the_catalogue_names_no_checksum_of_is_checked_against_the_hubs(
    server: Hub, unpinned: ModelEntry, home: Path, tiny: Any
) -> None:
    path = pulled(unpinned)
    receipt = store.read_receipt(path)
    assert receipt is not None
    assert (receipt.bytes, receipt.sha256) == (len(tiny.content), hashlib.sha256(tiny.content).hexdigest())
    assert store.verify(unpinned, lambda done: None) == "sound"
    path.write_bytes(tiny.content[:-1])
    assert store.state(unpinned) == "damaged", "the receipt tells the size"


def test_an_installed_model_without_a_checksum_is_not_fetched_again(server: Hub, unpinned: ModelEntry, home: Path, tiny: Any) -> None:
    path = store.path_of(unpinned)
    path.parent.mkdir(parents=True)
    path.write_bytes(tiny.content)
    assert store.state(unpinned) == "installed"
    assert store.verify(unpinned, lambda done: None) == "unknown"
    pulled(unpinned)
    assert server.gets() == []
    assert store.verify(unpinned, lambda done: None) == "sound"


def test_a_cut_connection_is_continued_where_it_ended(server: Hub, entry: ModelEntry, tiny: Any) -> None:
    server.faults = scripted(Fault(cut_after=300_000), Fault(cut_after=300_000))
    assert pulled(entry).read_bytes() == tiny.content
    assert server.gets() == ["", "bytes=300000-", "bytes=600000-"]


def test_a_cancelled_pull_goes_on_where_it_ended_and_another_source_may_do_that(server: Hub, entry: ModelEntry, home: Path, tiny: Any) -> None:
    server.faults = scripted(Fault(cut_after=500_000))
    watch = Watch(cancel_at="trying again")
    with pytest.raises(DownloadError, match="cancelled"):
        pulled(entry, watch=watch)
    assert [path.stat().st_size for path in partials(home)] == [500_000]
    assert store.state(entry) == "partial"
    assert pulled(entry, f"{server.endpoint}/cdn/{KEY}").read_bytes() == tiny.content
    assert server.gets()[-1] == "bytes=500000-"


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_status_that_passes_is_tried_again(server: Hub, entry: ModelEntry, tiny: Any, status: int) -> None:
    server.faults = scripted(Fault(status=status), Fault(status=status))
    assert pulled(entry).read_bytes() == tiny.content


def test_the_servers_wish_to_wait_is_respected(server: Hub, entry: ModelEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(transfer, "pause", lambda cancelled, seconds: waited.append(seconds))
    after = (("Retry-After", "7"),)
    server.faults = scripted(Fault(status=429, headers=after), Fault(status=503, headers=(("Retry-After", "9999"),)), Fault(status=503))
    pulled(entry)
    assert waited == [7.0, transfer.LONGEST_WAIT_S, 2.0]


def test_a_server_that_never_recovers_is_given_up_and_what_is_here_is_kept(server: Hub, entry: ModelEntry, home: Path) -> None:
    server.faults = scripted(Fault(cut_after=400_000), *[Fault(status=503)] * 20)
    with pytest.raises(DownloadError, match=r"does not deliver \(HTTP 503\)") as caught:
        pulled(entry)
    assert "is kept" in caught.value.hint
    assert [path.stat().st_size for path in partials(home)] == [400_000]
    assert models(home) == set()


def test_a_server_that_sends_something_each_time_is_never_given_up(server: Hub, entry: ModelEntry, tiny: Any) -> None:
    server.faults = scripted(*[Fault(cut_after=30_000)] * 20)
    assert pulled(entry).read_bytes() == tiny.content


def test_wrong_bytes_are_refused_and_forgotten(server: Hub, entry: ModelEntry, home: Path, tiny: Any) -> None:
    server.faults = scripted(Fault(wrong_after=500_000))
    with pytest.raises(ModelCorrupt, match="checksum"):
        pulled(entry)
    assert models(home) == set()
    assert partials(home) == []
    assert pulled(entry).read_bytes() == tiny.content


def test_wrong_bytes_of_an_earlier_attempt_cost_one_more_download(server: Hub, entry: ModelEntry, home: Path, tiny: Any) -> None:
    server.faults = scripted(Fault(wrong_after=100_000, cut_after=500_000))
    with pytest.raises(DownloadError, match="cancelled"):
        pulled(entry, watch=Watch(cancel_at="trying again"))
    assert pulled(entry).read_bytes() == tiny.content
    assert server.gets() == ["", "bytes=500000-", ""]


def test_a_server_that_ignores_the_range_sends_it_all_again(server: Hub, entry: ModelEntry, tiny: Any) -> None:
    server.faults = scripted(Fault(cut_after=500_000), Fault(ignore_range=True))
    assert pulled(entry).read_bytes() == tiny.content


def test_another_range_than_the_one_asked_for_is_refused(server: Hub, entry: ModelEntry, home: Path) -> None:
    server.faults = scripted(Fault(cut_after=500_000), Fault(shift_range=-1), Fault(shift_range=-1))
    with pytest.raises(ModelCorrupt, match="another file"):
        pulled(entry)
    assert models(home) == set()


def test_a_published_file_other_than_the_catalogues_is_not_fetched(server: Hub, entry: ModelEntry) -> None:
    server.hashes[KEY] = "0" * 64
    with pytest.raises(ModelCorrupt, match="not the one that the catalogue names"):
        pulled(entry)
    assert server.gets() == []


def test_a_checksum_of_the_hub_that_its_file_does_not_have_is_noticed(server: Hub, unpinned: ModelEntry, home: Path) -> None:
    server.hashes[KEY] = "0" * 64
    with pytest.raises(ModelCorrupt, match="checksum"):
        pulled(unpinned)
    assert models(home) == set()


def test_a_file_that_is_not_kept_in_lfs_has_no_checksum_and_is_refused(server: Hub, unpinned: ModelEntry) -> None:
    server.hashes[KEY] = "ab" * 20
    with pytest.raises(DownloadError, match="no checksum"):
        pulled(unpinned)


@pytest.mark.parametrize(
    ("change", "complaint", "hint"),
    [
        ({"revision": "v9"}, "no such revision", "revision"),
        ({"files": (ModelFile("gone.gguf"),)}, "not there any more", "source"),
        ({"repository": "gated/model"}, "agreed to its terms", "HF_TOKEN"),
    ],
)
def test_refusals_say_what_to_do(server: Hub, entry: ModelEntry, change: dict[str, Any], complaint: str, hint: str) -> None:
    with pytest.raises(DownloadError, match=complaint) as caught:
        pulled(replace(entry, **change))
    assert hint in caught.value.hint


def test_an_unknown_repository_and_a_refused_user_say_so(server: Hub, entry: ModelEntry) -> None:
    for code, complaint in (("RepoNotFound", "no such repository"), ("", "refuses")):
        server.faults = lambda method, path, code=code: Fault(status=401 if code else 403, headers=(("X-Error-Code", code),))  # type: ignore[misc]
        with pytest.raises(DownloadError, match=complaint) as caught:
            pulled(entry)
        assert "HF_TOKEN" in caught.value.hint


def test_the_token_goes_to_the_hub_and_not_to_other_urls(server: Hub, entry: ModelEntry, monkeypatch: pytest.MonkeyPatch, tiny: Any) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    pulled(entry)
    assert {auth for _, path, _, auth in server.requests if "/resolve/" in path} == {"Bearer hf_secret"}
    server.requests.clear()
    store.path_of(entry).unlink()
    assert pulled(entry, f"{server.endpoint}/cdn/{KEY}").read_bytes() == tiny.content
    assert {auth for _, _, _, auth in server.requests} == {""}


def test_a_url_without_a_known_checksum_is_refused_before_it_is_asked(server: Hub, unpinned: ModelEntry) -> None:
    with pytest.raises(DownloadError, match="cannot be checked"):
        pulled(unpinned, f"{server.endpoint}/cdn/{KEY}")
    assert server.requests == []


def test_a_longer_file_at_a_url_is_refused(server: Hub, entry: ModelEntry, home: Path, tiny: Any) -> None:
    server.files[KEY] = tiny.content + b"x"
    with pytest.raises(ModelCorrupt, match="longer"):
        pulled(entry, f"{server.endpoint}/cdn/{KEY}")
    assert models(home) == set()
    assert partials(home) == []


def test_offline_mode_asks_nobody(server: Hub, entry: ModelEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # read from the environment when the library is loaded
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE"):
        pulled(entry)
    assert server.requests == []


def test_auto_goes_on_to_the_next_source_and_says_so(server: Hub, entry: ModelEntry, tiny: Any) -> None:
    server.faults = lambda method, path: Fault(status=503) if "/resolve/" in path else NONE
    watch = Watch()
    both = replace(entry, urls=(f"{server.endpoint}/cdn/{KEY}",))
    assert pulled(both, "auto", watch).read_bytes() == tiny.content
    told = [message for message in watch.messages if message.startswith("source: ") or " failed: " in message]
    assert len(told) == 3
    assert "failed: " in told[1]
    assert "HTTP 503" in told[1]


def test_auto_names_every_source_that_failed(entry: ModelEntry, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "pause", lambda cancelled, seconds: None)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    with pytest.raises(DownloadError, match=f"No source delivers tiny. 127.0.0.1:{port}: .* 127.0.0.1:{port}: "):
        pulled(replace(entry, urls=(f"http://127.0.0.1:{port}/x",)), "auto")
    with pytest.raises(DownloadError, match="cannot be used"):
        pulled(entry, "http://[::bad/x")


def test_a_split_model_arrives_whole_and_only_its_missing_part_is_fetched(server: Hub, entry: ModelEntry, home: Path, tiny: Any) -> None:
    parts = tuple(ModelFile(f"dir/s-0000{i}-of-00003.gguf", len(p), hashlib.sha256(p).hexdigest()) for i, p in enumerate(tiny.pieces, 1))
    server.files.update({f"nobody/tiny/{part.name}": piece for part, piece in zip(parts, tiny.pieces, strict=True)})
    split = replace(entry, files=parts)
    first = pulled(split)
    assert first.name == "s-00001-of-00003.gguf"
    assert [first.with_name(part.local_name).read_bytes() for part in parts] == list(tiny.pieces)
    first.with_name(parts[1].local_name).unlink()
    assert store.state(split) == "partial"
    server.requests.clear()
    watch = Watch()
    pulled(split, watch=watch)
    assert len(server.gets()) == 1
    assert watch.progress[-1].done == len(tiny.content)


def test_a_stalled_server_is_left_after_the_timeout_and_asked_again(
    server: Hub, entry: ModelEntry, tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.1)
    server.faults = scripted(Fault(stall_s=1.0))
    watch = Watch()
    assert pulled(entry, watch=watch).read_bytes() == tiny.content
    assert any("trying again" in message for message in watch.messages)
