"""Which model a request means, and what the gateway learns about speed. No engine is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from qwencoder_lsp.engine.protocol import Done
from qwencoder_lsp.errors import ModelMissing, ModelUnsuitable
from qwencoder_lsp.http.host import SCRIPTED, ModelHost
from qwencoder_lsp.models import calibration
from qwencoder_lsp.models.calibration import Speed
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


def done(prompt: int, reused: int, prefill_ms: float, generated: int, decode_ms: float) -> Done:
    return Done(1, "length", prompt, reused, generated, 0.0, prefill_ms, decode_ms)


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
    assert host.choose("chat", "auto").name == "qwencoder-0.5b"
    install("qwencoder-1.5b")
    assert host.choose("completion", "auto").name == "qwencoder-1.5b"


def test_a_file_of_the_users_own_is_taken_at_its_word(host: ModelHost, tmp_path: Path) -> None:
    own = tmp_path / "mine.gguf"
    own.write_bytes(b"GGUF1234")
    assert host.choose("completion", str(own)).path == own


def test_a_request_that_ran_faster_than_the_calibration_corrects_it(host: ModelHost) -> None:
    model = install("qwencoder-1.5b")
    calibration.save(model, THREADS, Speed(15.0, 2.0))
    host.observe(model, done(prompt=200, reused=100, prefill_ms=1000, generated=21, decode_ms=1000))
    assert calibration.load([model], THREADS)[model.name] == Speed(100.0, 20.0)


@pytest.mark.parametrize(
    "request_", [done(200, 100, 4000, 21, 4000), done(110, 100, 1, 2, 0.01)], ids=["slower, as on a busy machine", "too short to tell"]
)
def test_other_requests_leave_the_calibration_alone(host: ModelHost, request_: Done) -> None:
    model = install("qwencoder-1.5b")
    calibration.save(model, THREADS, Speed(80.0, 29.0))
    host.observe(model, request_)
    assert calibration.load([model], THREADS)[model.name] == Speed(80.0, 29.0)


def test_the_scripted_engine_teaches_nothing(host: ModelHost) -> None:
    host.observe(SCRIPTED, done(200, 0, 1, 100, 1))
    assert calibration.load([SCRIPTED], THREADS) == {}
