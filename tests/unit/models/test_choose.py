"""Which installed model "auto" means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from qwencoder_lsp.models import choose
from qwencoder_lsp.models.calibration import Speed
from qwencoder_lsp.models.catalogue import find
from qwencoder_lsp.models.choose import Machine, is_complex
from qwencoder_lsp.models.store import InstalledModel

HALF, ONE_AND_HALF = (InstalledModel(e.name, Path("/m") / e.file, e.bytes, e) for e in (find("qwencoder-0.5b"), find("qwencoder-1.5b")))
FAST, SLOW = Speed(2000, 200), Speed(20, 5)
# Measured with llama-bench on two cores without a GPU.
TWO_CORES = {"qwencoder-0.5b": Speed(189, 43), "qwencoder-1.5b": Speed(82, 29)}


@pytest.fixture
def sizes(tiny: Any) -> dict[str, InstalledModel]:
    """Models of 1, 2 and 4 GB that complete and chat."""
    return {f"{gb}g": InstalledModel(f"{gb}g", Path(f"/m/{gb}g.gguf"), gb * 10**9, tiny.entry) for gb in (1, 2, 4)}


def completion(models: Sequence[InstalledModel], speeds: Mapping[str, Speed], **machine: Any) -> str | None:
    chosen = choose.choose("completion", models, Machine(speeds, **machine))
    return chosen.model.name if chosen else None


def chat(models: Sequence[InstalledModel], speeds: Mapping[str, Speed], *, complex_task: bool = True, **machine: Any) -> str | None:
    chosen = choose.choose("chat", models, Machine(speeds, **machine), complex_task=complex_task)
    return chosen.model.name if chosen else None


def test_nothing_installed_means_no_model_and_a_recommendation_that_completes() -> None:
    assert completion([], {}) is None
    assert chat([], {}) is None
    assert {"completion", "chat"} <= find(choose.recommended()).roles


def test_the_half_billion_instruct_model_is_never_chosen_for_completion() -> None:
    for speeds in ({}, TWO_CORES, {"qwencoder-0.5b": FAST}, {"qwencoder-0.5b": FAST, "qwencoder-1.5b": SLOW}):
        assert completion([HALF], speeds) is None
        assert completion([HALF, ONE_AND_HALF], speeds) == "qwencoder-1.5b"


def test_the_largest_model_that_keeps_up_with_typing_is_chosen(sizes: dict[str, InstalledModel]) -> None:
    models = list(sizes.values())
    assert completion(models, {"1g": FAST, "2g": FAST, "4g": SLOW}) == "2g"
    assert completion(models, {"1g": FAST, "2g": FAST, "4g": FAST}) == "4g"


def test_exactly_the_limit_is_too_slow(sizes: dict[str, InstalledModel]) -> None:
    models = list(sizes.values())[:2]
    limit = Speed(48 / 0.5, 12 / 0.3)
    assert completion(models, {"1g": FAST, "2g": limit}) == "1g"
    assert completion(models, {"1g": FAST, "2g": Speed(limit.prefill, limit.decode * 1.01)}) == "2g"


def test_when_none_keeps_up_the_smallest_is_chosen(sizes: dict[str, InstalledModel]) -> None:
    assert completion(list(sizes.values()), dict.fromkeys(sizes, SLOW)) == "1g"


def test_without_any_measurement_the_smallest_is_chosen(sizes: dict[str, InstalledModel]) -> None:
    assert completion(list(sizes.values()), {}) == "1g"
    assert completion(list(sizes.values()), {"not installed": FAST}) == "1g"


def test_an_unmeasured_model_is_judged_by_the_measured_one_nearest_in_size(sizes: dict[str, InstalledModel]) -> None:
    models = list(sizes.values())
    # 1 GB in 0.3 s: 2 GB are expected in 0.6 s, 4 GB in 1.2 s.
    one = Speed(48 / 0.2, 12 / 0.1)
    assert completion(models, {"1g": one}) == "2g"
    assert choose.estimate(sizes["2g"], models, {"1g": one}) == Speed(one.prefill / 2, one.decode / 2)
    # The measured 2 GB are nearer to 4 GB than the measured 1 GB, and much faster than expected from it.
    assert completion(models, {"1g": one, "2g": Speed(48 / 0.1, 12 / 0.1)}) == "4g"


def test_a_chat_only_model_also_serves_to_estimate_others() -> None:
    estimate = choose.estimate(ONE_AND_HALF, [HALF, ONE_AND_HALF], {"qwencoder-0.5b": TWO_CORES["qwencoder-0.5b"]})
    assert estimate is not None
    assert estimate.prefill == pytest.approx(TWO_CORES["qwencoder-1.5b"].prefill, rel=0.05)


@pytest.mark.parametrize("order", [[HALF, ONE_AND_HALF], [ONE_AND_HALF, HALF]])
def test_on_two_cores_the_larger_model_chats(order: Sequence[InstalledModel]) -> None:
    assert chat(order, TWO_CORES) == "qwencoder-1.5b"


def test_a_model_that_needs_more_than_a_minute_for_a_screen_of_code_does_not_chat(sizes: dict[str, InstalledModel]) -> None:
    models = list(sizes.values())
    good, bad = Speed(1024 / 30, 256 / 29), Speed(1024 / 30, 256 / 31)
    assert chat(models, {"1g": FAST, "2g": good, "4g": bad}) == "2g"
    assert chat(models, dict.fromkeys(sizes, bad)) == "1g"


def test_without_any_measurement_one_model_serves_completion_and_chat() -> None:
    assert chat([HALF, ONE_AND_HALF], {}) == "qwencoder-1.5b"
    assert chat([HALF], {}) == "qwencoder-0.5b"


def test_a_file_outside_the_catalogue_is_never_chosen_by_itself() -> None:
    unknown = InstalledModel("mine", Path("/m/mine.gguf"), 10**9, None)
    assert completion([unknown], {"mine": FAST}) is None
    assert chat([unknown], {"mine": FAST}) is None


def test_a_model_that_does_not_fit_into_memory_is_not_chosen(sizes: dict[str, InstalledModel]) -> None:
    models, fast = list(sizes.values()), dict.fromkeys(sizes, FAST)
    assert completion(models, fast, memory=5 * 10**9) == "4g"
    assert completion(models, fast, memory=4 * 10**9) == "2g"
    assert chat(models, fast, memory=4 * 10**9) == "2g"
    assert chat(models, {}, memory=4 * 10**9) == "1g"
    assert completion(models, fast, memory=10**9) == "1g", "the request for it gets the reason"


def test_a_simple_task_goes_to_the_largest_model_that_is_quick_enough_for_it(sizes: dict[str, InstalledModel]) -> None:
    models = list(sizes.values())
    slow_but_fit = Speed(1024 / 30, 256 / 29)  # 59 s for a screen of code, 14.7 s for a short request
    assert chat(models, {"1g": FAST, "2g": FAST, "4g": slow_but_fit}) == "4g"
    assert chat(models, {"1g": FAST, "2g": FAST, "4g": slow_but_fit}, complex_task=False) == "2g"


def test_a_simple_task_does_not_make_anybody_wait_for_another_model(sizes: dict[str, InstalledModel]) -> None:
    models, fast = list(sizes.values()), dict.fromkeys(sizes, FAST)
    assert chat(models, fast, complex_task=False) == "4g"
    assert chat(models, fast, complex_task=False, loaded={"1g", "2g"}) == "2g"
    assert chat(models, fast, complex_task=True, loaded={"1g", "2g"}) == "4g"
    assert chat(models, {**fast, "1g": SLOW}, complex_task=False, loaded={"1g"}) == "4g", "one that is too slow is no gain"


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ({"characters": 4000}, False),
        ({"characters": 4001}, True),
        ({"characters": 10, "constrained": True}, True),
        ({"characters": 10, "max_tokens": 512}, False),
        ({"characters": 10, "max_tokens": 513}, True),
    ],
)
def test_what_makes_a_task_complex(task: dict[str, Any], expected: bool) -> None:
    assert is_complex(**task) is expected


def test_a_mixture_of_experts_is_judged_by_the_weights_that_a_token_reads() -> None:
    mixture, dense = (InstalledModel(e.name, Path("/m") / e.file, e.bytes, e) for e in (find("qwencoder-30b-a3b"), find("qwencoder-32b")))
    speeds = {"qwencoder-32b": Speed(30, 3)}
    estimate = choose.estimate(mixture, [mixture, dense], speeds)
    assert estimate is not None
    assert estimate.decode > 25
    assert chat([mixture, dense], speeds) == "qwencoder-30b-a3b"


@pytest.mark.parametrize(
    ("speeds", "machine", "complex_task", "words"),
    [
        ({}, {}, True, "No model has been measured"),
        (
            dict.fromkeys(("1g", "2g", "4g"), FAST),
            {},
            True,
            "largest installed model that answers a screen of code within a minute on this machine (1.79 s)",
        ),
        (dict.fromkeys(("1g", "2g", "4g"), FAST), {"memory": 4 * 10**9}, True, "and fits into memory"),
        (dict.fromkeys(("1g", "2g", "4g"), FAST), {"loaded": {"2g"}}, False, "It is in memory, and answers a short request within 6 s"),
        (dict.fromkeys(("1g", "2g", "4g"), Speed(2, 1)), {}, True, "No installed model answers a screen of code within a minute"),
        (dict.fromkeys(("1g", "2g", "4g"), FAST), {"memory": 1}, True, "No installed model for chat fits into memory"),
    ],
)
def test_the_reason_is_one_sentence_with_the_figure(
    sizes: dict[str, InstalledModel], speeds: dict[str, Speed], machine: dict[str, Any], complex_task: bool, words: str
) -> None:
    chosen = choose.choose("chat", list(sizes.values()), Machine(speeds, **machine), complex_task=complex_task)
    assert chosen is not None
    assert words in chosen.why
    assert chosen.why.endswith(".")
