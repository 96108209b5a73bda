"""Makes a recorded completion again, stage by stage, and says where it differs.

gather, render and finish must come out byte for byte. The generation must write the same tokens up to the first near-tie: where batches of another
shape let another of two equally likely tokens win, both ways are right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from qwencoder_lsp.context.gather import gather
from qwencoder_lsp.context.split import Splits
from qwencoder_lsp.core.report import Timings
from qwencoder_lsp.features.ask import Answer, collect
from qwencoder_lsp.features.complete import Completer
from qwencoder_lsp.features.record import Outcome, Record
from qwencoder_lsp.gateway.client import Gateway

TOLERANCE = 0.25  # log-probabilities of one token in batches of different shape; 0.1 was seen with quantised models
CUT_SHORT = frozenset({"superseded", "cancelled", "deadline", "time"})  # reasons that depend on time


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a replay. same: whether it came out as it had to; detail: a sentence, with text where it did not."""

    name: str
    same: bool
    detail: str


async def replay(record: Record, gateway: Gateway) -> list[Stage]:
    """The four stages of a recorded completion. Raises the QwencoderError that ends the generation."""
    asked = record.made.asked
    request = asked.request
    start = record.made.answer.start
    if start and start.digest:  # the budgets that counted, and the model that "auto" meant; both may be others now
        model = start.model if request.model == "auto" else request.model
        request = replace(request, model=model, max_prefix=start.max_prefix, max_suffix=start.max_suffix)
    stops = replace(request.stops, after_newline_ms=None)
    answer = await collect(gateway.complete(replace(request, stops=stops, document=None, ahead=False)))
    return [_gather(record), _render(record, answer), _generate(record.made.answer, answer), _finish(record)]


def _gather(record: Record) -> Stage:
    asked, splits = record.made.asked, Splits()
    if asked.split:
        splits.put(asked.window.uri, asked.split)
    parts = gather(asked.window.snapshot(), asked.window.offset, record.settings, splits)
    recorded = asked.request.parts
    parts = replace(parts, path=recorded.path, repo=recorded.repo, snippets=recorded.snippets)  # of the disk as it was, and given by their sources
    sizes = f"{len(parts.prefix)} + {len(parts.typed)} characters before the cursor, {len(parts.suffix)} after it"
    return Stage("gather", parts == recorded, sizes if parts == recorded else f"{parts} instead of {recorded}")


def _render(record: Record, answer: Answer) -> Stage:
    before, now = record.made.answer.start, answer.start
    if before is None or now is None:
        return Stage("render", False, "the prompt was not recorded")
    return Stage("render", before.digest == now.digest, f"{now.usage.prompt} tokens, {now.digest}; recorded {before.usage.prompt}, {before.digest}")


def _generate(before: Answer, now: Answer) -> Stage:
    pairs = list(zip(before.tokens, now.tokens, strict=False))
    at = next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs))
    if at < len(pairs):
        first, second = before.logprobs[at], now.logprobs[at]
        told = f"token {at} of {len(before.tokens)} is another; log-probabilities {first:.2f} and {second:.2f}"
        return Stage("generate", near_tie(first, second), told)
    whole = before.reason in CUT_SHORT or len(before.tokens) == len(now.tokens)
    return Stage("generate", whole, f"{len(now.tokens)} tokens ({now.reason}); recorded {len(before.tokens)} ({before.reason})")


def near_tie(first: float, second: float) -> bool:
    """Whether two tokens, each the likeliest of its run, may be the two likeliest of one distribution with next to nothing between them.

    Both runs computed that distribution, with an error. Then neither has more than half of the probability, and both have the same.
    """
    return abs(first - second) <= TOLERANCE and max(first, second) <= math.log(0.5) + TOLERANCE


def _finish(record: Record) -> Stage:
    snapshot, offset = record.window.snapshot(), record.window.offset
    done = Completer().present(snapshot, offset, record.answer, record.settings, Timings(), explicit=record.explicit, accepted=record.accepted)
    before, now = record.outcome, Outcome.of(done)
    return Stage("finish", before == now, f"{now.reason}, {len(now.text)} characters" if before == now else f"{now} instead of {before}")
