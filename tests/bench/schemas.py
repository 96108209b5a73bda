"""`python -m tests.bench schemas`: the JSON-Schema-Test-Suite's required groups of draft 2020-12 as response formats, with the real 0.5B.

The suite is a folder with a JSON file per keyword (https://github.com/json-schema-org/JSON-Schema-Test-Suite, also in the source distribution of
jsonschema on PyPI: json/tests/draft2020-12). Counted first: what llguidance compiles by itself. Then each schema is sent to our service, which
refuses it with a reason, or has to answer with something valid; an answer that is cut off counts as a failure."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jsonschema_rs
import llguidance

from qwencoder_lsp.models.store import resolve
from tests.bench.engine.client import Call
from tests.bench.engine.peers import Ours, own_home, to_its_end

MAX_TOKENS = 512
AT_ONCE = 4
QUESTION = "Answer with one short JSON value that satisfies the schema, and nothing else: "


@dataclass(frozen=True)
class Outcome:
    """What became of a group. state: "valid", "invalid", "cut", "rejected" or "error"; llguidance: whether it compiles there."""

    group: str
    llguidance: bool
    state: str
    detail: str = ""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--suite", type=Path, required=True, help="the folder draft2020-12 of the suite; its optional groups are left out")
    parser.add_argument("--model", default="qwencoder-0.5b", help="a catalogue name or a GGUF file")
    parser.add_argument("--sample", type=int, default=0, help="groups; 0: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the outcomes to this file")


def main(options: argparse.Namespace) -> int:
    """0 when every accepted schema had a valid answer, and none that llguidance compiles was refused."""
    groups = load(options.suite)
    if options.sample:
        groups = random.Random(options.seed).sample(groups, min(options.sample, len(groups)))  # noqa: S311 - which groups is no secret
    with own_home() as home:
        found = to_its_end(_outcomes(groups, resolve(options.model).path, home))
    counts = Counter(outcome.state for outcome in found)
    accepted = sum(counts[state] for state in ("valid", "invalid", "cut", "error"))
    could = sum(outcome.llguidance for outcome in found)
    for outcome in found:
        if outcome.state != "valid":
            print(f"{outcome.state:9} {outcome.group}: {outcome.detail}")
    print(f"groups {len(found)}, llguidance compiles {could}, accepted {accepted}: {dict(counts)}")
    if options.json:
        options.json.write_text(json.dumps([asdict(outcome) for outcome in found], indent=1) + "\n", "utf-8")
    return int(counts["valid"] < accepted or accepted < could)


def load(suite: Path) -> list[tuple[str, Any]]:
    """(name, schema) of the required groups."""
    files = sorted(suite.glob("*.json"))
    if not files:
        raise FileNotFoundError(f"There is no group in {suite}.")
    return [(f"{file.stem}: {group['description']}", group["schema"]) for file in files for group in json.loads(file.read_text("utf-8"))]


async def _outcomes(groups: list[tuple[str, Any]], model: Path, home: Path) -> list[Outcome]:
    async with AsyncExitStack() as stack:
        server = await Ours.start(model, home)
        stack.push_async_callback(server.stop)
        places = asyncio.Semaphore(AT_ONCE)

        async def one(name: str, schema: Any) -> Outcome:
            async with places:
                return await _ask(server, name, schema)

        return list(await asyncio.gather(*(one(*group) for group in groups)))


async def _ask(server: Ours, name: str, schema: Any) -> Outcome:
    could = _compiles(schema)
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    messages = [{"role": "user", "content": QUESTION + json.dumps(schema)}]
    body = {"messages": messages, "response_format": form, "max_tokens": MAX_TOKENS, "temperature": 0, "stream": False}
    reply = await server.call(Call("/v1/chat/completions", body))
    if reply.status == 400:
        return Outcome(name, could, "rejected", reply.error)
    if not reply.ok:
        return Outcome(name, could, "error", reply.error)
    choice = reply.body["choices"][0]
    if choice["finish_reason"] == "length":
        return Outcome(name, could, "cut", choice["message"]["content"][:80])
    try:
        value = json.loads(choice["message"]["content"])
        jsonschema_rs.validator_for(schema, offline=True).validate(value)
    except (ValueError, jsonschema_rs.ValidationError) as error:
        return Outcome(name, could, "invalid", f"{choice['message']['content'][:80]!r}: {str(error).splitlines()[0]}")
    return Outcome(name, could, "valid")


def _compiles(schema: Any) -> bool:
    """Whether llguidance takes the schema as it is."""
    problem: str = llguidance.LLMatcher.validate_grammar(llguidance.grammar_from("json_schema", json.dumps(schema)))
    return not problem or problem.startswith("WARNING")
