"""Where the text matters: rewriting a function, an answer that must be JSON, text with nothing to copy."""

from __future__ import annotations

from typing import Any

from tests.bench.engine.client import Reply
from tests.bench.engine.scenario import Metric, Outcome, Scenario, Visit, Void, expect

FUNCTIONS = 3  # per repeat
SUBJECTS = ("the sea", "a lighthouse", "winter", "a train", "the desert", "an old clock", "a market", "a mountain hut", "bees", "a violin")
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "summary": {"type": "string"},
        "parameters": {"type": "array", "items": {"type": "string"}},
        "has_loop": {"type": "boolean"},
    },
    "required": ["name", "summary", "parameters", "has_loop"],
    "additionalProperties": False,
}


async def edit(v: Visit) -> Outcome:
    """Rewrite functions never seen before with one name changed; tokens per second as the client sees them."""
    outcome = Outcome({"speed": []})
    for i in range(FUNCTIONS):
        function = v.lab.corpus.function(*v.key(i))
        task = f"Rewrite this function with the variable `{function.name}` renamed to `{function.name}_new`. Answer with the code only.\n\n"
        reply: Reply = expect(await v.server.call(v.server.chat(f"{task}```python\n{function.source}\n```", 512)))
        outcome.samples["speed"].append(reply.speed)
        outcome.texts.append(reply.text)
        _drafts(outcome, reply)
    return outcome


async def constrained(v: Visit) -> Outcome:
    """Milliseconds per token with a JSON schema ("ours") and without ("default"), for questions that ask for that JSON anyway."""
    more: dict[str, Any] = {}
    if v.role == "ours":
        more["response_format"] = {"type": "json_schema", "json_schema": {"name": "description", "strict": True, "schema": SCHEMA}}
        if v.repeat == v.attempt == 0:  # compiled once per schema; a user's second request does not pay for it
            expect(await v.server.call(v.server.chat("Describe print as JSON.", 32, **more)))
    outcome = Outcome({"per_token": []})
    for i in range(FUNCTIONS):
        function = v.lab.corpus.function(*v.key(i))
        wanted = 'Describe this function as one JSON object with the keys "name", "summary", "parameters" (list of strings) and "has_loop". '
        reply: Reply = expect(await v.server.call(v.server.chat(f"{wanted}Answer with JSON only.\n\n{function.source}", 160, **more)))
        if reply.speed:
            outcome.samples["per_token"].append(1000 / reply.speed)
            outcome.texts.append(reply.text)
            _drafts(outcome, reply)
    if not outcome.samples["per_token"]:
        raise Void("no answer of two tokens")
    return outcome


async def speculation(v: Visit) -> Outcome:
    """Prose on fresh subjects: as shipped ("ours") and with speculation switched off ("default")."""
    outcome = Outcome({"speed": []})
    for i in range(FUNCTIONS):
        subject = SUBJECTS[(v.repeat * FUNCTIONS + i + v.attempt) % len(SUBJECTS)]
        call = v.server.chat(f"Write a short story about {subject} in vivid words. Story {v.repeat}.{i}.", 96, **_speculate(v.role == "ours"))
        reply: Reply = expect(await v.server.call(call))
        outcome.samples["speed"].append(reply.speed)
        outcome.texts.append(reply.text)
        _drafts(outcome, reply)
    return outcome


def _speculate(shipped: bool) -> dict[str, Any]:
    return {} if shipped else {"speculate": False}


def _drafts(outcome: Outcome, reply: Reply) -> None:
    drafted = reply.timings.get("draft_n", 0)
    outcome.fact(tokens=reply.tokens, prompt_tokens=reply.prompt_tokens, drafted=drafted, accepted=reply.timings.get("draft_n_accepted", 0))


SCENARIOS = (
    Scenario("edit", (Metric("edit", "speed", "tokens/s", 1.9, 1.4, less=False),), edit, tuned=("--spec-type", "ngram-simple")),
    Scenario("constrained", (Metric("constrained", "per_token", "ms", 1 / 1.05),), constrained, peers=False),
    Scenario("speculation", (Metric("speculation", "speed", "tokens/s", 0.95, less=False),), speculation, peers=False),
)
