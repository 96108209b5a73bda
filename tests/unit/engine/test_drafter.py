"""Guesses from the text itself: what they are, what they may cost, and what they bring in a replay of real source code."""

from __future__ import annotations

import argparse
import configparser
import csv
import inspect
import re
import shlex
import textwrap
from collections.abc import Callable, Sequence
from itertools import islice
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwencoder_lsp.engine.copying import Copier
from qwencoder_lsp.engine.drafter import CREDIT, GROWTH, RECOVERY, Drafter

# reference/engine.md 3.4: a step of so many rows in steps of one row, the 0.5B on two cores
MEASURED = {
    1: 1.0, 2: 1.8, 3: 2.21, 4: 2.75, 5: 3.39, 6: 3.63, 8: 4.05, 10: 5.84, 12: 5.41, 16: 7.73, 24: 9.1, 32: 10.8, 48: 15.4, 64: 17.6
}  # fmt: skip
IDS: dict[str, int] = {}
tokens = st.lists(st.integers(0, 3), max_size=60)


def cpu(rows: int) -> float:
    return float(np.interp(rows, list(MEASURED), list(MEASURED.values())))


def gpu(rows: int) -> float:
    return 1 + rows / 100


def linear(rows: int) -> float:
    return float(rows)


def replay(prompt: Sequence[int], answer: Sequence[int], cost: Callable[[int], float] = cpu) -> float:
    """What the answer takes with a drafter, in steps of one row; the answer is what the model would have said."""
    drafter, position, spent = Drafter(prompt), 0, 0.0
    while position < len(answer):
        draft = drafter.draft(cost)
        rest = answer[position:]
        right = next((i for i, (a, b) in enumerate(zip(draft, rest, strict=False)) if a != b), min(len(draft), len(rest)))
        spent += cost(1 + len(draft)) / cost(1)
        drafter.observe(len(draft), right)
        drafter.extend(rest[: right + 1])
        position += right + 1
    return spent


@given(tokens, tokens, st.integers(0, 40), st.integers(1, 6))
def test_a_draft_is_never_longer_than_the_limit(prompt: list[int], answer: list[int], limit: int, rows: int) -> None:
    drafter = Drafter(prompt)
    for token in answer:
        drafter.extend([token])
        assert len(drafter.draft(gpu, rows, limit)) <= limit


@given(tokens)
def test_a_draft_continues_an_earlier_occurrence_of_the_last_two_tokens(prompt: list[int]) -> None:
    draft = Drafter(prompt).draft(gpu)
    if draft:
        text = prompt + draft
        assert any(prompt[at - 2 : at] == prompt[-2:] and all(text[at + i] == token for i, token in enumerate(draft)) for at in range(2, len(prompt)))


@given(tokens, tokens)
def test_the_most_recent_of_the_longest_matches_is_found(prompt: list[int], more: list[int]) -> None:
    copier = Copier(prompt)
    for token in more:
        copier.feed(token)
    assert copier.tokens == prompt + more
    grown, built = Copier(prompt), Copier(prompt + more)
    for token in more:
        grown.feed(token)
    grown.at = -1  # as if nothing had been followed
    grown.run = 0
    grown.seek()
    built.seek()
    assert (grown.at, grown.run) == (built.at, built.run)


def test_text_without_repetition_is_not_drafted() -> None:
    assert Drafter(range(1000)).draft(gpu) == []


def test_nothing_is_drafted_where_a_row_costs_a_step() -> None:
    assert Drafter([1, 2, 3, 4] * 50).draft(linear) == []


def test_what_runs_into_the_end_of_the_text_goes_round() -> None:
    assert Drafter([1, 2, 3] * 6).draft(gpu)[:9] == [1, 2, 3] * 3


def test_a_long_match_is_followed_far() -> None:
    text = list(range(100))
    drafter = Drafter([*text, 500])
    drafter.extend(text[:12])
    draft = drafter.draft(gpu)
    assert len(draft) >= 15
    assert draft == text[12 : 12 + len(draft)]


def test_with_many_rows_in_the_step_a_draft_has_to_be_worth_their_wait_too() -> None:
    text = list(range(100))
    drafter = Drafter([*text, 500])
    drafter.extend(text[:30])
    assert len(drafter.draft(cpu, 1)) > len(drafter.draft(cpu, 6))


def test_wrong_drafts_pause_drafting_and_a_shortened_one_is_charged_for_what_was_evaluated() -> None:
    text = list(range(100))
    whole, shortened = Drafter([*text, 500]), Drafter([*text, 500])
    for drafter in (whole, shortened):
        drafter.extend(text[:12])
        assert len(drafter.draft(cpu)) == 7
    whole.observe(7, 0)
    shortened.observe(1, 0)
    assert whole.draft(cpu) == []
    assert shortened.draft(cpu)


def following(copier: Copier, count: int) -> list[int]:
    return list(islice(copier.predicted(), count))


def copied(source: Sequence[int], answer: Sequence[int]) -> Copier:
    """A copier that has seen `source` and then `answer`."""
    copier = Copier([*source, 900])
    for token in answer:
        copier.seek()
        copier.feed(token)
    copier.seek()
    return copier


SOURCE = list(range(100, 200))


def test_the_copy_goes_on_behind_a_replaced_token() -> None:
    assert following(copied(SOURCE, [*SOURCE[:20], 7]), 5) == SOURCE[21:26]


def test_the_copy_goes_on_behind_an_insertion() -> None:
    assert following(copied(SOURCE, [*SOURCE[:20], 7, 8, 9, SOURCE[20]]), 5) == SOURCE[21:26]


def test_the_copy_goes_on_behind_what_was_left_out() -> None:
    assert following(copied(SOURCE, [*SOURCE[:20], SOURCE[26]]), 5) == SOURCE[27:32]


def test_a_renamed_identifier_is_predicted_at_its_next_occurrence() -> None:
    old, new = [1, 2], [3, 4, 5]
    source = [*SOURCE[:20], *old, *SOURCE[20:30], *old, *SOURCE[30:40]]
    copier = copied(source, [*SOURCE[:20], *new, *SOURCE[20:26]])
    assert following(copier, 12) == [*SOURCE[26:30], *new, *SOURCE[30:35]]


def test_a_replacement_that_was_wrong_once_is_not_predicted_again() -> None:
    source = [*SOURCE[:20], 1, *SOURCE[20:30], 1, *SOURCE[30:40], 1, *SOURCE[40:50]]
    copier = copied(source, [*SOURCE[:20], 2, *SOURCE[20:30], 1, *SOURCE[30:35]])
    assert following(copier, 8) == [*SOURCE[35:40], 1, *SOURCE[40:42]]


@given(tokens, st.lists(st.integers(0, 3), max_size=200))
def test_wrong_drafts_never_cost_more_than_their_account(prompt: list[int], answer: list[int]) -> None:
    assert replay(prompt, answer) <= len(answer) + CREDIT + (GROWTH + RECOVERY) * len(answer)


def test_an_adversary_costs_the_credit_and_little_more() -> None:
    text = list(range(1000))
    drafter, spent, steps = Drafter(text), 0.0, 0
    for start in range(0, 900, 30):  # follow the source long enough to be trusted, then leave it, again and again
        for token in [*text[start : start + 8], 5000 + start]:
            draft = drafter.draft(cpu)
            right = 1 if draft[:1] == [token] else 0
            spent += cpu(1 + len(draft)) - right  # an adversary lets one token pass at most
            steps += 1
            drafter.observe(len(draft), right)
            drafter.extend([token])
    assert spent <= steps + CREDIT + (GROWTH + RECOVERY) * steps


def tokenise(text: str) -> list[int]:
    """Words with their space, in pieces of up to six letters, digits, punctuation and indentation: near to what Qwen's tokenizer makes of code."""
    return [IDS.setdefault(t, len(IDS)) for t in re.findall(r" ?[A-Za-z_]{1,6}|\d| ?[^\sA-Za-z_\d]{1,2}|\n+ *|\s", text)]


def functions(*modules: ModuleType) -> list[str]:
    """The methods of 15 to 60 lines."""
    found = set()
    for module in modules:
        for _, cls in inspect.getmembers(module, inspect.isclass):
            for _, function in inspect.getmembers(cls, inspect.isfunction):
                if function.__module__ == module.__name__:
                    found.add(textwrap.dedent(inspect.getsource(function)))
    return sorted(f for f in found if 15 <= f.count("\n") <= 60)


def chat(function: str, request: str) -> list[int]:
    return tokenise(f"user\nHere is a function:\n```python\n{function}\n```\n{request}\nassistant\n")


def speedup(pairs: Sequence[tuple[list[int], list[int]]]) -> float:
    return sum(len(answer) for _, answer in pairs) / sum(replay(prompt, answer) for prompt, answer in pairs)


@pytest.fixture(scope="module")
def sources() -> list[str]:
    return functions(argparse, configparser, csv, shlex, textwrap)


def test_replayed_renames_run_at_least_1_9_times_as_fast(sources: list[str]) -> None:
    pairs = []
    for source in sources:
        words = [w for w in re.findall(r"\b[a-z_]{3,}\b", source) if w not in ("self", "def", "return", "for", "not", "None", "else")]
        word = max(sorted(set(words)), key=lambda w: (3 <= words.count(w) <= 8, words.count(w)))
        renamed = re.sub(rf"\b{word}\b", "remaining_items", source)
        pairs.append((chat(source, f"Rename {word} to remaining_items."), tokenise(f"```python\n{renamed}\n```")))
    assert len(pairs) > 20
    assert speedup(pairs) >= 1.9


def test_replayed_insertions_and_deletions_run_at_least_1_7_times_as_fast(sources: list[str]) -> None:
    pairs = []
    for source in sources:
        lines = source.split("\n")
        third = len(lines) // 3
        indent = re.match(" *", lines[third])
        assert indent
        edited = [*lines[:third], indent.group() + "logger.info('step %d is done', number)", *lines[third : 2 * third], *lines[2 * third + 2 :]]
        pairs.append((chat(source, "Add logging."), tokenise("```python\n" + "\n".join(edited) + "\n```")))
    assert speedup(pairs) >= 1.7


def test_replayed_new_code_loses_less_than_3_per_cent() -> None:
    texts = [tokenise(inspect.getsource(m)) for m in (argparse, configparser, csv, shlex, textwrap)]
    assert speedup([(text[: len(text) // 2], text[len(text) // 2 :][:600]) for text in texts]) >= 0.97


def test_replayed_foreign_code_loses_less_than_3_per_cent() -> None:
    texts = [tokenise(inspect.getsource(m)) for m in (argparse, configparser, csv, shlex, textwrap)]
    assert speedup([(a[:2000], b[300:700]) for a in texts for b in texts if a is not b]) >= 0.97


def test_a_named_source_is_guessed_before_anything_was_copied_and_given_up_at_the_first_difference() -> None:
    prompt = [7, 8, 9, *range(100, 140), 1, 2]
    drafter = Drafter(prompt, copies=3)
    assert drafter.draft(gpu)[:3] == [100, 101, 102]
    drafter.extend([500])
    assert drafter.draft(gpu) == []


def test_a_draft_ends_where_the_answer_would() -> None:
    end = 999
    prompt = [*range(100, 120), end, *range(300, 340), *range(100, 112)]
    drafter = Drafter(prompt, ends=(end,))
    draft = drafter.draft(gpu)
    assert draft == list(range(112, 120))
