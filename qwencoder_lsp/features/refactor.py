"""Refactor: a place in a document and one of a few standard tasks, or the user's own instruction, go in; verified minimal edits come out.

Knows nothing of editors; edits nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qwencoder_lsp.core.results import Fix
from qwencoder_lsp.core.text import Snapshot, Span
from qwencoder_lsp.errors import RequestError
from qwencoder_lsp.features.rewrite import Task, region_at, region_limit, rewrite
from qwencoder_lsp.gateway.client import Gateway
from qwencoder_lsp.postprocess.functions import Function, function_at
from qwencoder_lsp.postprocess.patch import whole_lines
from qwencoder_lsp.settings import Settings

LONGEST_INSTRUCTION = 2000  # code points


@dataclass(frozen=True, slots=True)
class Refactoring:
    """One standard task. title: for a menu, with the function's name in it. applies: whether it makes sense for a function."""

    task: Task
    title: str
    applies: Callable[[Function], bool]


REFACTORINGS = {
    "implement": Refactoring(Task("implement", "write the missing code"), "Implement {}", lambda f: f.unfinished),
    "fix": Refactoring(Task("fix_code", "correct what is wrong in this code"), "Find and fix bugs in {}", lambda f: not f.unfinished),
    "simplify": Refactoring(
        Task("simplify", "make this code simpler without changing what it does", may_shrink=True), "Simplify {}", lambda f: not f.unfinished
    ),
    "types": Refactoring(Task("types", "add the missing types and change nothing else", keeps="types"), "Add types to {}", lambda f: not f.typed),
    "optimise": Refactoring(
        Task("optimise", "make this code faster without changing what it does", may_shrink=True), "Optimise {}", lambda f: not f.unfinished
    ),
}
"""By name: what can be done with a function without further words."""


def offers(snapshot: Snapshot, span: Span) -> dict[str, str]:
    """The refactorings that make sense at `span`, by name, with their titles. Does not ask the model."""
    function = function_at(snapshot.text, snapshot.language, span)
    if function is None:
        return {}
    return {name: kind.title.format(function.name) for name, kind in REFACTORINGS.items() if kind.applies(function)}


async def refactor(snapshot: Snapshot, span: Span, name: str, gateway: Gateway, settings: Settings) -> Fix:
    """Edits that carry out the refactoring `name` on the selection, or on the function at an empty `span`. Raises as `rewrite`."""
    if name not in REFACTORINGS:
        raise RequestError(f"{name!r} is not a refactoring.", f"There are: {', '.join(REFACTORINGS)}.")
    kind = REFACTORINGS[name]
    region = code_at(snapshot, span, settings)
    function = function_at(snapshot.text, snapshot.language, span)
    return await rewrite(snapshot, region, kind.task, kind.title.format(function.name if function else "code"), gateway, settings)


async def edit(snapshot: Snapshot, span: Span, instruction: str, gateway: Gateway, settings: Settings) -> Fix:
    """Edits that carry out the user's `instruction` on the selection, or on the function at an empty `span`. Raises as `rewrite`."""
    words = instruction.strip()
    if not words or len(words) > LONGEST_INSTRUCTION:
        raise RequestError("The instruction is empty or too long.", f"Say what to change in at most {LONGEST_INSTRUCTION} characters.")
    task = Task("edit", words, {"instruction": words}, may_shrink=True)
    return await rewrite(snapshot, code_at(snapshot, span, settings), task, words.split("\n")[0], gateway, settings)


def code_at(snapshot: Snapshot, span: Span, settings: Settings) -> Span:
    """The whole lines that a request at `span` is about: those of the selection, or the function (else statement) at an empty one."""
    if span.of(snapshot.text).strip():
        return whole_lines(snapshot.text, span)
    function = function_at(snapshot.text, snapshot.language, span)
    if function is not None:
        return whole_lines(snapshot.text, function.span)
    return region_at(snapshot, span, region_limit(settings))
