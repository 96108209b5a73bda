"""How many tokens of the surroundings a completion may read on this machine. Pure.

What is typed stands behind the suffix (prompt.fim), so prefix, suffix and snippets are in the KV memory after the first request at a place and cost
something only when cold. The first request in a document reads the nearest surroundings only, so that its answer is there in some two seconds; the
rest is read when nobody waits. Hence, with a prefill speed of v tokens per second:

    suffix   = v * 0.5 s, but 64 to 512 tokens      (64: a suffix of 30 tokens lost 5 of 53 single lines with the 1.5B; 512: no peer reads more)
    prefix   = v * 10 s, but 512 to 8192 tokens     (half of it is the worst cost of a moved window, see prompt.window)
               v * 1.5 s, but 256 to 8192 tokens    near the cursor
    snippets = half of the prefix

all cut down together to what the context holds beside `max_tokens` of answer: the suffix to a quarter of it, the snippets to a third of the rest
where there are any, then the prefix.
"""

from __future__ import annotations

from dataclasses import dataclass

from qwencoder_lsp.errors import RequestError

SUFFIX_S, SUFFIX_MIN, SUFFIX_MAX = 0.5, 64, 512
COLD_S, PREFIX_MIN, PREFIX_MAX = 10.0, 512, 8192
NEAR_S, NEAR_MIN = 1.5, 256
UNBOUNDED = 4096  # tokens of an answer that nobody limited: small models may repeat themselves for ever
MARKUP = 128  # special tokens, repository name, paths
LEAST = 64  # with less than this for all surroundings a completion makes no sense


@dataclass(frozen=True, slots=True)
class Budget:
    """Token limits of the parts of a prompt."""

    prefix: int
    suffix: int
    snippets: int = 0


def answer_room(asked: int | None, n_ctx: int) -> int:
    """Most tokens of the answer for a hole: `asked`, or where nobody named a length (None) what leaves most of the context to the prompt."""
    return min(UNBOUNDED, n_ctx // 4) if asked is None else asked


def fim_budget(
    prefill_speed: float,
    n_ctx: int,
    max_tokens: int,
    max_prefix: int | None = None,
    max_suffix: int | None = None,
    *,
    near: bool = False,
    snippets: bool = False,
) -> Budget:
    """The budget by the formula above. `prefill_speed` is in tokens per second, 0 when it is not known; `n_ctx` is the size of the context.

    near: only what is read in two seconds. snippets: whether there are any; otherwise their room is the prefix's. max_prefix and max_suffix replace
    the computed value, but not the limit of the context.
    Raises RequestError when the context has no room.
    """
    room = n_ctx - max_tokens - MARKUP
    if room < LEAST:
        raise RequestError(f"{max_tokens} tokens of answer leave no room in a context of {n_ctx}.", "Lower max_tokens or raise engine.context.")
    suffix = max_suffix if max_suffix is not None else _clamp(prefill_speed * SUFFIX_S, SUFFIX_MIN, SUFFIX_MAX)
    suffix = min(suffix, room // 4)
    wanted = _clamp(prefill_speed * NEAR_S, NEAR_MIN, PREFIX_MAX) if near else _clamp(prefill_speed * COLD_S, PREFIX_MIN, PREFIX_MAX)
    prefix = wanted if max_prefix is None else max_prefix
    others = min(prefix // 2, (room - suffix) // 3) if snippets else 0
    return Budget(min(prefix, room - suffix - others), suffix, others)


def _clamp(value: float, low: int, high: int) -> int:
    return max(low, min(high, int(value)))
