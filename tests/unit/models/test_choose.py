"""Which installed model "auto" means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from qwencoder_lsp.models import choose
from qwencoder_lsp.models.calibration import Speed
from qwencoder_lsp.models.catalogue import find
from qwencoder_lsp.models.store import InstalledModel

HALF, ONE_AND_HALF = (InstalledModel(e.name, Path("/m") / e.file, e.bytes, e) for e in (find("qwencoder-0.5b"), find("qwencoder-1.5b")))
FAST, SLOW = Speed(2000, 200), Speed(20, 5)
# Measured with llama-bench on two cores without a GPU.
TWO_CORES = {"qwencoder-0.5b": Speed(189, 43), "qwencoder-1.5b": Speed(82, 29)}


@pytest.fixture
def sizes(tiny: Any) -> dict[str, InstalledModel]:
    """Models of 1, 2 and 4 GB that complete and chat."""
    return {f"{gb}g": InstalledModel(f"{gb}g", Path(f"/m/{gb}g.gguf"), gb * 10**9, tiny.entry) for gb in (1, 2, 4)}


def name(model: InstalledModel | None) -> str | None:
    return model.name if model else None


def test_nothing_installed_means_no_model_and_a_recommendation_that_completes() -> None:
    assert choose.completion_model([], {}) is None
    assert choose.chat_model([], {}) is None
    assert {"completion", "chat"} <= find(choose.recommended()).roles


def test_the_half_billion_instruct_model_is_never_chosen_for_completion() -> None:
    for speeds in ({}, TWO_CORES, {"qwencoder-0.5b": FAST}, {"qwencoder-0.5b": FAST, "qwencoder-1.5b": SLOW}):
        assert choose.completion_model([HALF], speeds) is None
        assert name(choose.completion_model([HALF, ONE_AND_HALF], speeds)) == "qwencoder-1.5b"


def test_the_largest_model_that_keeps_up_with_typing_is_chosen(sizes: dict[str, InstalledModel]) -> None:
    models = list(sizes.values())
    assert name(choose.completion_model(models, {"1g": FAST, "2g": FAST, "4g": SLOW})) == "2g"
    assert name(choose.completion_model(models, {"1g": FAST, "2g": FAST, "4g": FAST})) == "4g"


def test_exactly_the_limit_is_too_slow(sizes: dict[str, InstalledModel]) -> None:
    models = list(sizes.values())[:2]
    limit = Speed(48 / 0.5, 12 / 0.3)
    assert name(choose.completion_model(models, {"1g": FAST, "2g": limit})) == "1g"
    assert name(choose.completion_model(models, {"1g": FAST, "2g": Speed(limit.prefill, limit.decode * 1.01)})) == "2g"


def test_when_none_keeps_up_the_smallest_is_chosen(sizes: dict[str, InstalledModel]) -> None:
    assert name(choose.completion_model(list(sizes.values()), dict.fromkeys(sizes, SLOW))) == "1g"


def test_without_any_measurement_the_smallest_is_chosen(sizes: dict[str, InstalledModel]) -> None:
    assert name(choose.completion_model(list(sizes.values()), {})) == "1g"
    assert name(choose.completion_model(list(sizes.values()), {"not installed": FAST})) == "1g"


def test_an_unmeasured_model_is_judged_by_the_measured_one_nearest_in_size(sizes: dict[str, InstalledModel]) -> None:
    models = list(sizes.values())
    # 1 GB in 0.3 s: 2 GB are expected in 0.6 s, 4 GB in 1.2 s.
    one = Speed(48 / 0.2, 12 / 0.1)
    assert name(choose.completion_model(models, {"1g": one})) == "2g"
    assert choose.estimate(sizes["2g"], models, {"1g": one}) == Speed(one.prefill / 2, one.decode / 2)
    # The measured 2 GB are nearer to 4 GB than the measured 1 GB, and much faster than expected from it.
    assert name(choose.completion_model(models, {"1g": one, "2g": Speed(48 / 0.1, 12 / 0.1)})) == "4g"


def test_a_chat_only_model_also_serves_to_estimate_others() -> None:
    estimate = choose.estimate(ONE_AND_HALF, [HALF, ONE_AND_HALF], {"qwencoder-0.5b": TWO_CORES["qwencoder-0.5b"]})
    assert estimate is not None
    assert estimate.prefill == pytest.approx(TWO_CORES["qwencoder-1.5b"].prefill, rel=0.05)


@pytest.mark.parametrize("order", [[HALF, ONE_AND_HALF], [ONE_AND_HALF, HALF]])
def test_on_two_cores_the_larger_model_chats(order: Sequence[InstalledModel]) -> None:
    assert name(choose.chat_model(order, TWO_CORES)) == "qwencoder-1.5b"


def test_a_model_that_needs_more_than_a_minute_for_a_screen_of_code_does_not_chat(sizes: dict[str, InstalledModel]) -> None:
    models = list(sizes.values())
    good, bad = Speed(1024 / 30, 256 / 29), Speed(1024 / 30, 256 / 31)
    assert name(choose.chat_model(models, {"1g": FAST, "2g": good, "4g": bad})) == "2g"
    assert name(choose.chat_model(models, dict.fromkeys(sizes, bad))) == "1g"


def test_without_any_measurement_one_model_serves_completion_and_chat() -> None:
    assert name(choose.chat_model([HALF, ONE_AND_HALF], {})) == "qwencoder-1.5b"
    assert name(choose.chat_model([HALF], {})) == "qwencoder-0.5b"


def test_a_file_outside_the_catalogue_is_never_chosen_by_itself() -> None:
    unknown = InstalledModel("mine", Path("/m/mine.gguf"), 10**9, None)
    assert choose.completion_model([unknown], {"mine": FAST}) is None
    assert choose.chat_model([unknown], {"mine": FAST}) is None
