"""The engine process with the real 0.5B model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from qwencoder_lsp.core.prompt import Stops
from qwencoder_lsp.engine.binding import Vocabulary, load_tokenizer
from qwencoder_lsp.engine.process import EngineSpec
from qwencoder_lsp.engine.protocol import Chunk, Constraint, Done, Generate, Priority, Sampling
from qwencoder_lsp.engine.supervise import EngineProcess
from qwencoder_lsp.errors import EngineFailed, RequestError

pytestmark = pytest.mark.model

COSTS = ((1, 1, 29.0), (48, 1, 320.0))
FILE = "import os\n\n\n" + "".join(f"def scale_{i}(value):\n    return value * {i}\n\n\n" for i in range(20))


@pytest.fixture(scope="module")
def vocabulary(model_05b: Path) -> Vocabulary:
    return load_tokenizer(model_05b)


@pytest.fixture
async def engine(model_05b: Path, tmp_path: Path) -> AsyncIterator[EngineProcess]:
    running = await EngineProcess.start(EngineSpec("0.5b", str(model_05b), 4096, costs=COSTS), tmp_path / "engine.log")
    yield running
    await running.stop()


async def run(engine: EngineProcess, request: Generate) -> tuple[str, Done, int]:
    """The text, the account, and how many log-probabilities came."""
    text, count = "", 0
    async with aclosing(engine.generate(request)) as answers:
        async for answer in answers:
            if isinstance(answer, Chunk):
                text += answer.text
                count += len(answer.logprobs)
            else:
                return text, answer, count
    raise AssertionError("no Done")


def prompt(vocabulary: Vocabulary, text: str, **fields: object) -> Generate:
    return Generate(id=0, tokens=tuple(vocabulary.tokenize(text)), **{"max_tokens": 12, **fields})  # type: ignore[arg-type]  # the test's keywords


async def test_it_says_what_it_loaded(engine: EngineProcess) -> None:
    assert engine.info.n_vocab == 151936
    assert engine.info.n_ctx == 4096
    assert engine.info.prefill_speed == 150, "a known cost is not measured again"


async def test_an_unknown_speed_is_measured(model_05b: Path, tmp_path: Path) -> None:
    engine = await EngineProcess.start(EngineSpec("0.5b", str(model_05b), 1024), tmp_path / "engine.log")
    await engine.stop()
    assert engine.info.prefill_speed > engine.info.decode_speed > 1


async def test_greedy_text_continues_the_code_and_every_token_has_a_log_probability(engine: EngineProcess, vocabulary: Vocabulary) -> None:
    text, done, count = await run(engine, prompt(vocabulary, "def add(a, b):\n    return"))
    assert text.startswith(" a + b")
    assert (done.reason, done.generated_tokens, count) == ("length", 12, 12)


async def test_a_prefix_is_computed_once_also_for_two_documents_in_turn(engine: EngineProcess, vocabulary: Vocabulary) -> None:
    one, two = prompt(vocabulary, FILE + "def first(value):\n"), prompt(vocabulary, FILE + "class Second:\n")
    shared = len(vocabulary.tokenize(FILE))
    cold, _, again = (await run(engine, one))[1], (await run(engine, two))[1], (await run(engine, one))[1]
    assert cold.reused_tokens == 0
    assert again.reused_tokens >= shared - 2
    warm = (await run(engine, two))[1]
    assert warm.reused_tokens >= shared - 2


async def test_an_answer_from_a_shared_prefix_equals_one_computed_alone(engine: EngineProcess, vocabulary: Vocabulary) -> None:
    """The prefix of the second request is shared with the first one's sequence; its most probable tokens must not change."""
    alone, _, _ = await run(engine, prompt(vocabulary, FILE + "def scale_20(value):\n    return", max_tokens=5))
    await run(engine, prompt(vocabulary, FILE + "class Other:\n"))
    shared, done, _ = await run(engine, prompt(vocabulary, FILE + "def scale_20(value):\n    return", max_tokens=5))
    assert done.reused_tokens > 0
    assert shared == alone == " value * 20"


async def test_a_newer_request_reaches_into_a_running_prefill_and_finished_work_is_kept(engine: EngineProcess, vocabulary: Vocabulary) -> None:
    text = "".join(f"value_{i} = compute({i * 7})\n" for i in range(260))
    reused = 0
    for patience in (1, 2, 4, 8):  # until at least one micro-batch of the long prompt was finished, however slow the machine is
        long = asyncio.create_task(run(engine, prompt(vocabulary, text, priority=Priority.TYPING, document="doc")))
        await asyncio.sleep(patience)
        await run(engine, prompt(vocabulary, "x = 1", priority=Priority.TYPING, document="doc", max_tokens=1))
        _, old, _ = await long
        assert (old.reason, old.generated_tokens) == ("superseded", 0), "it was still in its prefill"
        _, again, _ = await run(engine, prompt(vocabulary, text[:1000], max_tokens=1))
        reused = again.reused_tokens
        if reused:
            break
    assert reused >= 64


async def test_typing_overtakes_a_review_and_the_review_still_ends(engine: EngineProcess, vocabulary: Vocabulary) -> None:
    review = asyncio.create_task(run(engine, prompt(vocabulary, FILE * 3, priority=Priority.REVIEW, max_tokens=4)))
    await asyncio.sleep(0.5)
    await run(engine, prompt(vocabulary, "def add(a, b):\n    return", priority=Priority.TYPING, max_tokens=2))
    assert not review.done()
    assert (await review)[1].reason == "length"


async def test_closing_the_iterator_frees_the_engine(engine: EngineProcess, vocabulary: Vocabulary) -> None:
    async with aclosing(engine.generate(prompt(vocabulary, "x = ", max_tokens=4000))) as answers:
        await anext(answers)
    assert engine.active == 0
    _, done, _ = await run(engine, prompt(vocabulary, "y = ", max_tokens=1))
    assert done.reason == "length"


async def test_stop_rules_are_applied_in_the_engine(engine: EngineProcess, vocabulary: Vocabulary) -> None:
    text, done, _ = await run(engine, prompt(vocabulary, "def add(a, b):\n    return", stops=Stops(max_lines=1)))
    assert (text, done.reason) == (" a + b", "lines")
    text, done, _ = await run(engine, prompt(vocabulary, "def add(a, b):\n    return", stops=Stops(strings=("+",))))
    assert (text, done.reason) == (" a ", "stop_string")


async def test_a_schema_is_obeyed(engine: EngineProcess, vocabulary: Vocabulary) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer", "minimum": 0, "maximum": 120}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    question = "<|im_start|>user\nInvent a person.<|im_end|>\n<|im_start|>assistant\n"
    request = Generate(0, tuple(vocabulary.tokenize_markup(question)), 80, constraint=Constraint("json_schema", json.dumps(schema)))
    text, done, _ = await run(engine, request)
    assert done.reason == "constraint"
    person = json.loads(text)
    assert set(person) == {"name", "age"}
    assert isinstance(person["name"], str)
    assert person["age"] in range(121)


@pytest.mark.parametrize("limit", [12, 40])
async def test_json_is_closed_before_its_limit_also_where_guesses_are_made(engine: EngineProcess, vocabulary: Vocabulary, limit: int) -> None:
    item = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
    schema = {"type": "array", "items": item}
    question = "<|im_start|>user\nCount from 1 to 100 as JSON objects.<|im_end|>\n<|im_start|>assistant\n"
    request = Generate(0, tuple(vocabulary.tokenize_markup(question)), limit, constraint=Constraint("json_schema", json.dumps(schema), close=True))
    text, done, _ = await run(engine, request)
    cut = await run(engine, replace(request, constraint=Constraint("json_schema", json.dumps(schema))))
    assert done.reason == "closed"
    assert limit / 2 < done.generated_tokens <= limit, "only the end is ours"
    assert all(set(item) == {"n"} for item in json.loads(text))
    assert cut[1].reason == "length", "who did not ask for it gets what the model wrote"


async def test_choice_regex_and_prefix_are_obeyed(engine: EngineProcess, vocabulary: Vocabulary) -> None:
    choice = await run(engine, prompt(vocabulary, "The sky is", constraint=Constraint("choice", '["purple", "green"]')))
    assert choice[0] in ("purple", "green")
    regex = await run(engine, prompt(vocabulary, "The answer is", constraint=Constraint("regex", "[0-9]{4}")))
    assert len(regex[0]) == 4
    assert regex[0].isdecimal()
    healed = await run(engine, prompt(vocabulary, "import", constraint=Constraint("prefix", " nu"), max_tokens=3))
    assert healed[0].startswith(" numpy")


@pytest.mark.parametrize("constraint", [Constraint("json_schema", '{"type": "nonsense"}'), Constraint("regex", "("), Constraint("magic", "x")])
async def test_a_constraint_that_cannot_be_used_is_refused(engine: EngineProcess, vocabulary: Vocabulary, constraint: Constraint) -> None:
    with pytest.raises(RequestError):
        await run(engine, prompt(vocabulary, "x", constraint=constraint))
    assert (await run(engine, prompt(vocabulary, "x", max_tokens=1)))[1].reason == "length", "the engine goes on"


async def test_the_same_seed_gives_the_same_text(engine: EngineProcess, vocabulary: Vocabulary) -> None:
    request = prompt(vocabulary, "def ", sampling=Sampling(temperature=1.5, seed=3), max_tokens=6)
    assert (await run(engine, request))[0] == (await run(engine, request))[0]


async def test_a_prompt_longer_than_the_context_is_refused(engine: EngineProcess, vocabulary: Vocabulary) -> None:
    with pytest.raises(RequestError, match="context holds 4096"):
        await run(engine, prompt(vocabulary, "x = 1\n" * 3000))


async def test_characters_of_several_tokens_come_whole(engine: EngineProcess, vocabulary: Vocabulary) -> None:
    text, _, _ = await run(engine, prompt(vocabulary, 'faces = ["😀", "😁", "😂", "', max_tokens=24))
    assert "\ufffd" not in text
    assert any(ord(c) > 0xFFFF for c in text)


async def test_a_file_that_is_no_model_is_a_clear_error(tmp_path: Path) -> None:
    file = tmp_path / "bad.gguf"
    file.write_bytes(b"GGUF" + bytes(64))
    with pytest.raises(EngineFailed, match="cannot be loaded"):
        await EngineProcess.start(EngineSpec("bad", str(file), 512), tmp_path / "engine.log")


def test_special_tokens_in_a_document_stay_text(vocabulary: Vocabulary) -> None:
    ids = vocabulary.tokenize("<|fim_prefix|><|im_end|>")
    assert not set(ids) & vocabulary.special.end
    assert b"".join(vocabulary.piece(i) for i in ids) == b"<|fim_prefix|><|im_end|>"
    assert vocabulary.tokenize_markup("<|fim_prefix|>") == [vocabulary.special.fim_prefix]


def test_the_vocabulary_knows_its_own_fim_tokens(vocabulary: Vocabulary) -> None:
    s = vocabulary.special
    assert (s.fim_prefix, s.fim_middle, s.fim_suffix, s.repo_name, s.file_sep) == (151659, 151660, 151661, 151663, 151664)
    assert {151643, 151644, 151645} <= s.end
    assert vocabulary.n_ctx_train == 32768
