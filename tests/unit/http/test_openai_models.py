"""Which model the field `model` of an HTTP request means. No engine is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from qwencoder_lsp.errors import ModelMissing, ModelUnknown, ModelUnsuitable
from qwencoder_lsp.http.openai_plan import chat_model, fill_model, text_model
from qwencoder_lsp.http.service import Service
from qwencoder_lsp.models.catalogue import find
from qwencoder_lsp.models.store import path_of
from qwencoder_lsp.settings import Settings


def service(**model: str) -> Service:
    return Service(Settings.model_validate({"model": model}))


@pytest.fixture
def small(home: Path) -> str:
    """The name of an installed model that does not fill in the middle: a file of its size, with GGUF at the start."""
    entry = find("qwencoder-0.5b")
    target = path_of(entry)
    target.parent.mkdir(parents=True)
    with target.open("wb") as file:
        file.write(b"GGUF")
        file.truncate(entry.bytes)
    return entry.name


def test_a_model_without_the_role_may_continue_and_chat_but_not_fill(small: str) -> None:
    for own in (service(), service(completion=small, chat=small)):
        assert text_model(own, small).name == chat_model(own, small).name == small
        with pytest.raises(ModelUnsuitable):
            fill_model(own, small)


def test_without_a_completion_model_text_is_continued_by_any(small: str) -> None:
    assert text_model(service(), "").name == small
    with pytest.raises(ModelMissing):
        fill_model(service(), "auto")


def test_a_file_that_the_service_was_started_with_may_fill(small: str) -> None:
    path = str(path_of(find(small)))
    own = service(completion=path)
    for field in ("", "auto", path, Path(path).stem):
        assert fill_model(own, field).path == Path(path)
    with pytest.raises(ModelUnknown):
        fill_model(service(), path)


@pytest.mark.parametrize("field", ["scripted", "~/model.gguf", "other.gguf", "gpt-4"])
def test_what_is_in_no_catalogue_is_unknown(small: str, field: str) -> None:
    for choose in (fill_model, text_model, chat_model):
        with pytest.raises(ModelUnknown):
            choose(service(), field)
