"""test: does the installed product work here, with the real model, and as fast as it promises."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Literal

import typer

from qwencoder_lsp.cli.options import Json, Model, settings, with_gateway
from qwencoder_lsp.errors import ModelMissing, NotApplicable
from qwencoder_lsp.operate import checks
from qwencoder_lsp.operate.checks import Subject

Group = Literal["smoke", "integration", "performance", "all"]


def test(
    group: Annotated[Group, typer.Argument(help="smoke (30 s at most), integration (300 s), performance (600 s) or all.")] = "smoke",
    model: Model = "",
    as_json: Json = False,
) -> None:
    """Check the installed product with its model: in the running gateway, or one that is started and ends by itself.

    One line per check. Exit codes: 0 all passed, 1 some failed, 2 there is no model to check with.
    """
    groups: list[str] = list(checks.LIMITS_S) if group == "all" else [group]
    try:
        chosen = settings(model)
        own = chosen.model
        results = with_gateway(chosen, lambda client: _run(Subject(client, own.completion, own.chat), groups, as_json=as_json))
    except ModelMissing as error:
        raise NotApplicable(error.message, error.hint) from error
    failed = sum(not result.passed for result in results)
    if not as_json:
        print(f"{len(results) - failed} passed, {failed} failed, {sum(result.seconds for result in results):.1f} s")
    raise typer.Exit(1 if failed else 0)


async def _run(subject: Subject, groups: list[str], *, as_json: bool) -> list[checks.Result]:
    if subject.chat == "auto" and not (await subject.client.status()).chat_model:
        await subject.client.service.json("POST", "/models/load", {"model_name": ""})  # says which model is missing
    results = []
    async for result in checks.run(subject, groups):
        results.append(result)
        verdict = "ok  " if result.passed else "FAIL"
        text = f"{verdict}  {result.group:12} {result.name:22} {result.seconds:7.2f} s  {result.detail}"
        print(json.dumps(asdict(result)) if as_json else text, flush=True)
    return results
