"""No action tells the model a secret of a document, and none loses it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qwencoder_lsp.core.text import Snapshot, Span, apply_edits
from qwencoder_lsp.errors import AnswerError
from qwencoder_lsp.features.explain import explain
from qwencoder_lsp.features.generate_tests import generate_tests
from qwencoder_lsp.features.refactor import edit
from qwencoder_lsp.features.review import review
from qwencoder_lsp.settings import Settings

PASSWORD = "hunter2!Xy9"  # noqa: S105 - invented
CODE = f"def connect(db):\n    password = '{PASSWORD}'\n    return db.open(pasword)\n"
HIDDEN = CODE.replace(PASSWORD, "<secret:password-1>")


def document(tmp_path: Path) -> Snapshot:
    path = tmp_path / "db.py"
    path.write_text(CODE)
    return Snapshot(path.as_uri(), CODE, "python", path=str(path), root=str(tmp_path))


def told(gateway: Any) -> str:
    return "".join(message.content for request in gateway.requests for message in request.messages) + "".join(
        request.json_schema or "" for request in gateway.requests
    )


async def test_a_rewritten_function_keeps_the_secret_that_the_model_never_saw(tmp_path: Path, scripted: Callable[..., Any]) -> None:
    gateway = scripted(f"```python\n{HIDDEN.replace('pasword', 'password')}```")
    done = await edit(document(tmp_path), Span(0, len(CODE)), "correct the name", gateway, Settings())
    assert apply_edits(CODE, done.edits) == CODE.replace("pasword", "password")
    assert PASSWORD not in told(gateway)


async def test_a_review_of_the_line_with_the_secret_never_shows_it_to_the_model(tmp_path: Path, scripted: Callable[..., Any]) -> None:
    fixed = HIDDEN.replace("password = ", "pasword = ")
    finding = '{"category":"bug","severity":"error","message":"Wrong name.","quote":"password = \'<secret:password-1>\'"}'
    gateway = scripted(f"```python\n{fixed}```", f"```python\n{fixed}```", f'{{"findings":[{finding}]}}')
    result = await review(document(tmp_path), gateway, Settings())
    assert [f.quote for f in result.findings] == [f"password = '{PASSWORD}'"]
    assert PASSWORD not in told(gateway)
    assert "<secret:password-1>" in (gateway.requests[-1].json_schema or "")


async def test_an_explanation_names_the_placeholder(tmp_path: Path, scripted: Callable[..., Any]) -> None:
    gateway = scripted("It opens the database with <secret:password-1>.")
    answer = await explain(document(tmp_path), Span(0, 0), gateway, Settings())
    assert "<secret:password-1>" in answer.text
    assert PASSWORD not in told(gateway)


async def test_an_answer_with_a_placeholder_of_its_own_is_refused(tmp_path: Path, scripted: Callable[..., Any]) -> None:
    code = HIDDEN.replace("pasword", "password").replace("return", "token = '<secret:token-7>'; return")
    bad = f"```python\n{code}```"
    gateway = scripted(bad, bad)
    with pytest.raises(AnswerError, match="placeholder where a secret belongs"):
        await edit(document(tmp_path), Span(0, len(CODE)), "correct the name", gateway, Settings())


async def test_tests_do_not_copy_a_secret_into_another_file(tmp_path: Path, scripted: Callable[..., Any]) -> None:
    bad = "```python\nfrom db import connect\n\ndef test_it():\n    assert connect('<secret:password-1>')\n```"
    (tmp_path / "pyproject.toml").write_text("[project]\nname='x'\n")
    gateway = scripted(bad, bad)
    with pytest.raises(AnswerError, match="secret of the code"):
        await generate_tests(document(tmp_path), Span(0, 0), lambda _: None, gateway, Settings())
