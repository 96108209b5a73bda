"""Which model a request means, and what the gateway learns about speed. No engine is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from qwencoder_lsp.errors import ModelMissing, ModelUnsuitable
from qwencoder_lsp.http.host import ModelHost, speed_of
from qwencoder_lsp.models.catalogue import find
from qwencoder_lsp.models.store import InstalledModel, path_of, resolve
from qwencoder_lsp.settings import Settings

THREADS = 2


@pytest.fixture
def host(home: Path) -> ModelHost:
    return ModelHost(Settings.model_validate({"engine": {"threads": THREADS}}), lambda: None)


def install(name: str) -> InstalledModel:
    """A file that looks like the model: its size, and GGUF at the start."""
    target = path_of(find(name))
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        file.write(b"GGUF")
        file.truncate(find(name).bytes)
    return resolve(name)


def test_auto_without_any_model_says_what_to_fetch(host: ModelHost) -> None:
    with pytest.raises(ModelMissing) as caught:
        host.choose("completion", "auto")
    assert "models pull qwencoder-1.5b" in caught.value.hint


def test_the_instruct_model_that_cannot_fill_is_never_used_for_completion(host: ModelHost) -> None:
    install("qwencoder-0.5b")
    with pytest.raises(ModelMissing):
        host.choose("completion", "auto")
    with pytest.raises(ModelUnsuitable):
        host.choose("completion", "qwencoder-0.5b")
    assert host.choose("chat", "auto").model.name == "qwencoder-0.5b"
    install("qwencoder-1.5b")
    assert host.choose("completion", "auto").model.name == "qwencoder-1.5b"


def test_a_file_of_the_users_own_is_taken_at_its_word(host: ModelHost, tmp_path: Path) -> None:
    own = tmp_path / "mine.gguf"
    own.write_bytes(b"GGUF1234")
    assert host.choose("completion", str(own)).model.path == own


def test_speeds_follow_from_the_costs_of_steps() -> None:
    speed = speed_of(((1, 1, 25.0), (48, 1, 320.0)))
    assert (speed.prefill, speed.decode) == (150.0, 40.0)


async def test_a_model_larger_than_the_memory_is_refused_before_it_is_loaded(home: Path) -> None:
    host = ModelHost(Settings.model_validate({"engine": {"memory_mb": 1024}}), lambda: None)
    with pytest.raises(ModelUnsuitable, match=r"needs about 1\.6 GB"):
        await host.load(install("qwencoder-1.5b"))


async def test_what_writes_ahead_for_a_model_counts_as_its_memory_and_must_be_there(home: Path) -> None:
    host = ModelHost(Settings.model_validate({"engine": {"memory_mb": 1800}, "model": {"draft": "qwencoder-0.5b"}}), lambda: None)
    large = install("qwencoder-1.5b")
    with pytest.raises(ModelMissing, match=r"qwencoder-0\.5b"):
        await host.load(large)
    install("qwencoder-0.5b")
    host = ModelHost(Settings.model_validate({"engine": {"memory_mb": 1800}, "model": {"draft": "qwencoder-0.5b"}}), lambda: None)
    with pytest.raises(ModelUnsuitable, match=r"needs about 2\.\d GB"):
        await host.load(large)
