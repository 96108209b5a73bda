"""Files and batches over a real socket, with the scripted engine; the `openai` client is the judge."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from qwencoder_lsp import paths
from qwencoder_lsp.gateway.protocol import ListenRequest
from tests.protocol.fronts import Front, front
from tests.protocol.gateways import alive, wait

CHAT: Any = "/v1/chat/completions"


def line(name: str, **body: Any) -> dict[str, Any]:
    return {"custom_id": name, "method": "POST", "url": CHAT, "body": {"messages": [{"role": "user", "content": name}], **body}}


def written(*lines: dict[str, Any]) -> io.BytesIO:
    return io.BytesIO(b"".join(json.dumps(each).encode() + b"\n" for each in lines))


async def begin(f: Front, *lines: dict[str, Any], endpoint: Any = CHAT) -> Any:
    file = await f.client.files.create(file=("requests.jsonl", written(*lines)), purpose="batch")
    return await f.client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h", metadata={"who": "me"})


async def until(f: Front, id_: str, condition: Callable[[Any], bool]) -> Any:
    """The batch, once it meets the condition."""
    for _ in range(1200):
        batch = await f.client.batches.retrieve(id_)
        if condition(batch):
            return batch
        await asyncio.sleep(0.05)
    raise AssertionError(f"not reached: {batch}")


async def ended(f: Front, id_: str) -> Any:
    return await until(f, id_, lambda batch: batch.status not in ("validating", "in_progress", "finalizing", "cancelling"))


async def rows(f: Front, id_: str) -> dict[str, Any]:
    text = (await f.client.files.content(id_)).text
    return {row["custom_id"]: row["response"] for row in map(json.loads, text.splitlines())}


async def test_a_batch_answers_every_line_and_tells_which_failed(script: Any) -> None:
    script(rules=[{"contains": "one", "text": "ONE"}], default="other")
    async with front() as f:
        begun = await begin(f, line("one"), line("two"), line("bad", temperature=-1), line("unknown", model="gpt-4"))
        batch = await ended(f, begun.id)
        good, bad = await rows(f, batch.output_file_id), await rows(f, batch.error_file_id)
        listed = [b.id async for b in f.client.batches.list()]
        files = {file.id: file.purpose async for file in f.client.files.list()}
        vectors = await ended(f, (await begin(f, {"custom_id": "v", "body": {"input": "a"}}, endpoint="/v1/embeddings")).id)
        assert (await rows(f, vectors.output_file_id))["v"]["body"]["data"][0]["embedding"]
    assert (begun.status, batch.status, batch.metadata) == ("validating", "completed", {"who": "me"})
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (4, 2, 2)
    assert {name: row["body"]["choices"][0]["message"]["content"] for name, row in good.items()} == {"one": "ONE", "two": "other"}
    assert {name: (row["status_code"], row["body"]["error"]["param"]) for name, row in bad.items()} == {
        "bad": (400, "temperature"),
        "unknown": (404, "model"),
    }
    assert listed == [batch.id]
    assert files == {batch.input_file_id: "batch", batch.output_file_id: "batch_output", batch.error_file_id: "batch_output"}


async def test_a_file_that_cannot_be_run_fails_with_the_lines(script: Any) -> None:
    wrong = [line("a"), line("a"), {"body": {}}, {**line("b"), "url": "/v1/completions"}, line("c", stream=True)]
    async with front() as f:
        batch = await ended(f, (await begin(f, *wrong)).id)
        empty = await ended(f, (await begin(f)).id)
        with pytest.raises(openai.BadRequestError, match="no such file"):
            await f.client.batches.create(input_file_id="file-0", endpoint=CHAT, completion_window="24h")
        with pytest.raises(openai.BadRequestError, match="purpose"):
            await f.client.files.create(file=("x", b"x"), purpose="vision")
        for call in (f.client.files.retrieve, f.client.files.delete, f.client.batches.retrieve, f.client.batches.cancel):
            for name in ("file-0", "..%2F..%2Fsettings"):
                with pytest.raises(openai.NotFoundError):
                    await call(name)
    assert [(p.line, p.code) for p in batch.errors.data] == [
        (2, "duplicate_custom_id"),
        (3, "invalid_line"),
        (4, "invalid_line"),
        (5, "invalid_line"),
    ]
    assert (batch.status, empty.status, empty.errors.data[0].code) == ("failed", "failed", "empty_file")


async def test_a_cancelled_batch_keeps_what_was_answered(script: Any) -> None:
    script(rules=[{"contains": "quick", "text": "x"}], default="y" * 1000, token_ms=50)
    async with front() as f:
        begun = await begin(f, line("quick"), *(line(f"slow {i}") for i in range(20)))
        await until(f, begun.id, lambda batch: batch.request_counts.completed == 1)
        with pytest.raises(openai.BadRequestError, match="still reads"):
            await f.client.files.delete(begun.input_file_id)
        batch: Any = await f.client.batches.cancel(begun.id)
        assert (batch.status, batch.request_counts.completed) == ("cancelled", 1)
        assert set(await rows(f, batch.output_file_id or "")) == {"quick"}
        await f.busy(0)
        assert (await f.client.files.delete(batch.output_file_id or "")).deleted
        assert (await f.client.batches.cancel(begun.id)).status == "cancelled"


async def test_a_batch_goes_on_after_the_gateway_was_killed(script: Any) -> None:
    script(rules=[{"contains": "quick", "text": "x"}], default="y" * 100, token_ms=50)
    async with front() as f:
        begun = await begin(f, line("quick"), line("slow"))
        await until(f, begun.id, lambda batch: batch.request_counts.completed == 1)
        pid = (await f.private.status()).pid
        os.kill(pid, signal.SIGKILL)
        assert wait(lambda: not alive(pid), 10)
    part = paths.batches_dir() / f"{begun.id}.output.part"
    with part.open("ab") as torn:
        torn.write(b'{"custom_id": "sl')  # as a crash in the middle of a write leaves it
    script(default="again")
    async with front() as f:
        batch = await ended(f, begun.id)
        answers = await rows(f, batch.output_file_id)
    assert (batch.status, batch.request_counts.completed) == ("completed", 2)
    texts = {name: row["body"]["choices"][0]["message"]["content"] for name, row in answers.items()}
    assert texts == {"quick": "x", "slow": "again"}, "what was answered is not asked again"


async def test_files_of_users_are_private(script: Any) -> None:
    script(default="x")
    async with front() as f:
        await ended(f, (await begin(f, line("a"))).id)
    directory = paths.batches_dir()
    assert directory.stat().st_mode & 0o077 == 0
    assert all(file.stat().st_mode & 0o077 == 0 for file in directory.iterdir())


async def test_what_came_with_one_key_is_not_seen_with_another(script: Any) -> None:
    script(default="x")
    mine, theirs = "m" * 24, "t" * 24
    async with front(ListenRequest("127.0.0.1", 0, (mine, theirs))) as f:
        batch = await ended(f, (await begin(f, line("a"))).id)
        async with openai.AsyncOpenAI(base_url=f.client.base_url, api_key=theirs, max_retries=0) as other:
            assert [file async for file in other.files.list()] == []
            assert [each async for each in other.batches.list()] == []
            for id_ in (batch.input_file_id, batch.output_file_id):
                with pytest.raises(openai.NotFoundError):
                    await other.files.content(id_)
                with pytest.raises(openai.NotFoundError):
                    await other.files.delete(id_)
            with pytest.raises(openai.NotFoundError):
                await other.batches.cancel(batch.id)
            with pytest.raises(openai.BadRequestError):
                await other.batches.create(input_file_id=batch.input_file_id, endpoint=CHAT, completion_window="24h")
        assert await rows(f, batch.output_file_id)
        assert (await f.private.service.json("GET", "/v1/batches"))["data"][0]["id"] == batch.id, "the machine's owner sees all"


async def test_a_batch_whose_answers_cannot_be_written_fails_and_says_why(script: Any) -> None:
    script(default="word " * 20, token_ms=50)
    async with front() as f:
        batch = await begin(f, line("a"), line("b"))
        (paths.batches_dir() / f"{batch.id}.output.part").mkdir(parents=True)
        batch = await ended(f, batch.id)
        assert batch.status == "failed"
        assert batch.errors
        assert batch.errors.data
        assert "directory" in batch.errors.data[0].message
        (paths.batches_dir() / f"{batch.id}.output.part").rmdir()


async def test_a_damaged_answer_is_asked_for_again_after_a_restart(script: Any) -> None:
    script(rules=[{"contains": "quick", "text": "x"}], default="y" * 400, token_ms=50)
    async with front() as f:
        batch = await begin(f, line("quick"), line("slow"))
        await until(f, batch.id, lambda b: b.request_counts.completed == 1)
        os.kill((await f.private.status()).pid, signal.SIGKILL)
    part = paths.batches_dir() / f"{batch.id}.output.part"
    part.write_bytes(b'{"custom_id": "quick", "resp\x00\n' + b"[]\n")
    script(default="again")
    async with front() as f:
        batch = await ended(f, batch.id)
        answers = await rows(f, batch.output_file_id)
    assert (batch.status, batch.request_counts.completed, len(answers)) == ("completed", 2, 2)


def test_the_command_writes_the_answers_and_goes_on_where_it_was(script: Any, tmp_path: Path) -> None:
    script(default="x")
    file = tmp_path / "questions.jsonl"
    command = [sys.executable, "-m", "qwencoder_lsp.cli", "batch", "run", str(file)]

    def run(*lines: dict[str, Any]) -> Any:
        file.write_bytes(written(*lines).getvalue())
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    def answered() -> list[str]:
        return sorted(json.loads(row)["custom_id"] for row in (tmp_path / "questions.output.jsonl").read_text().splitlines())

    first = run(line("a"), line("b"))
    assert first.returncode == 0, first.stderr
    assert answered() == ["a", "b"]
    more = run(line("a"), line("b"), line("c"))
    assert "1 answered, 0 failed, 2 were there already" in " ".join(more.stderr.split())
    assert answered() == ["a", "b", "c"]
    assert run(line("a")).returncode == 2
    broken = run({"custom_id": "x"}, line("y"))
    assert broken.returncode == 2
    assert "line 1" in broken.stderr
    assert not list(paths.batches_dir().glob("file-*")), "the copies are gone"
    subprocess.run([sys.executable, "-m", "qwencoder_lsp.cli", "stop"], capture_output=True, timeout=60, check=False)
