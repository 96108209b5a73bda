"""An engine that is started anew finds what the last one computed for the same workspace."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from qwencoder_lsp.engine.hosttier import BLOCK
from qwencoder_lsp.engine.process import EngineSpec
from qwencoder_lsp.engine.protocol import Done, Generate
from qwencoder_lsp.engine.supervise import EngineProcess

pytestmark = pytest.mark.model

ONE, TWO = "1" * 32, "2" * 32
PROMPT = tuple(range(1000, 1000 + 5 * BLOCK))
KEEP = 3 * BLOCK + 7
REQUEST = Generate(0, PROMPT, 8, workspace=ONE, keep=KEEP, lane="typing")

Ask = Callable[..., Awaitable[Done]]


@asynccontextmanager
async def engine(model: Path, home: Path, **fields: object) -> AsyncIterator[Ask]:
    """A process of its own."""
    spec = EngineSpec("0.5b", str(model), 512, costs=((1, 1, 29.0), (48, 1, 320.0)), saved=str(home / "saved"), saved_bytes=1 << 30, saved_days=1)
    async with AsyncExitStack() as stack:
        running = await EngineProcess.start(replace(spec, **fields), home / "engine.log")  # type: ignore[arg-type]  # the test's keywords
        stack.push_async_callback(running.stop)

        async def ask(request: Generate = REQUEST, **changed: object) -> Done:
            async with aclosing(running.generate(replace(request, **changed))) as answers:  # type: ignore[arg-type]  # the test's keywords
                async for answer in answers:
                    if isinstance(answer, Done):
                        return answer
            raise AssertionError("no Done")

        yield ask


def files(home: Path, workspace: str = ONE) -> list[Path]:
    return sorted(p for p in (home / "saved" / workspace).rglob("*") if p.is_file())


async def test_the_prompt_is_warm_after_a_restart_and_neither_the_answer_nor_what_was_being_typed_is_saved(model_05b: Path, tmp_path: Path) -> None:
    async with engine(model_05b, tmp_path) as ask:
        cold = await ask()
    assert len(files(tmp_path)) == KEEP // BLOCK
    async with engine(model_05b, tmp_path) as ask:
        warm = await ask()
    assert (cold.restored_tokens, warm.restored_tokens) == (0, KEEP // BLOCK * BLOCK)


async def test_requests_of_no_workspace_and_of_another_one_leave_nothing_in_it_and_find_nothing(model_05b: Path, tmp_path: Path) -> None:
    async with engine(model_05b, tmp_path) as ask:
        await ask(workspace="")
        await ask(workspace=TWO)
    assert not files(tmp_path)
    assert files(tmp_path, TWO)
    async with engine(model_05b, tmp_path) as ask:
        assert (await ask(workspace="")).restored_tokens == 0
    async with engine(model_05b, tmp_path) as ask:
        assert (await ask(workspace=ONE)).restored_tokens == 0


async def test_a_damaged_file_costs_its_own_tokens_and_those_behind_and_the_request_is_answered(model_05b: Path, tmp_path: Path) -> None:
    async with engine(model_05b, tmp_path) as ask:
        await ask()
    by_time = sorted(files(tmp_path), key=lambda p: -p.stat().st_mtime_ns)  # the first block of a prompt is the one used last
    data = bytearray(by_time[1].read_bytes())
    data[len(data) // 2] ^= 1
    by_time[1].write_bytes(data)
    async with engine(model_05b, tmp_path) as ask:
        assert (await ask()).restored_tokens == BLOCK
    assert (tmp_path / "engine.log").read_text().count("damaged") == 1
    assert len(files(tmp_path)) == KEEP // BLOCK, "it was written anew"


async def test_another_model_file_finds_nothing(model_05b: Path, tmp_path: Path) -> None:
    async with engine(model_05b, tmp_path) as ask:
        await ask()
    copy = tmp_path / "copy.gguf"
    shutil.copyfile(model_05b, copy)  # the same bytes, but who knows that without reading them all
    async with engine(copy, tmp_path) as ask:
        assert (await ask()).restored_tokens == 0


async def test_with_no_directory_nothing_is_saved(model_05b: Path, tmp_path: Path) -> None:
    async with engine(model_05b, tmp_path, saved="") as ask:
        await ask()
    assert not (tmp_path / "saved").exists()


async def test_where_saving_is_turned_off_what_was_saved_is_deleted(model_05b: Path, tmp_path: Path) -> None:
    async with engine(model_05b, tmp_path) as ask:
        await ask()
    assert files(tmp_path)
    async with engine(model_05b, tmp_path, saved_bytes=0) as ask:
        assert (await ask()).restored_tokens == 0
    assert not files(tmp_path)
