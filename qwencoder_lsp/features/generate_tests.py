"""Generate tests: code goes in, an edit of the right test file comes out; the file is made when it is missing.

The file and the framework follow from the project's layout, never from an answer. Writes nothing, runs nothing.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import dedent

from qwencoder_lsp.context.mask import Mask
from qwencoder_lsp.context.test_files import LANGUAGES, TestFile, test_file
from qwencoder_lsp.core.prompt import SECRET_PLACEHOLDER, Message
from qwencoder_lsp.core.report import Timings
from qwencoder_lsp.core.text import Edit, Snapshot, Span, apply_edits
from qwencoder_lsp.errors import AnswerError, RequestError
from qwencoder_lsp.features.ask import Answer, total_timings
from qwencoder_lsp.features.guarded import ask_about
from qwencoder_lsp.features.prompts import prompt
from qwencoder_lsp.features.refactor import code_at
from qwencoder_lsp.features.rewrite import context, region_limit
from qwencoder_lsp.gateway.client import Gateway
from qwencoder_lsp.gateway.protocol import ChatRequest
from qwencoder_lsp.postprocess.fences import code_block
from qwencoder_lsp.postprocess.merge import appended
from qwencoder_lsp.postprocess.names import undefined_names
from qwencoder_lsp.postprocess.syntax import first_error, parse_errors
from qwencoder_lsp.settings import Settings

CHECKS = re.compile(r"assert|expect\(|\bt\.(Error|Fatal)|require\.|raises|panic!")  # what a test says when it is not so, in all frameworks together


@dataclass(frozen=True, slots=True)
class Tests:
    """Edits of the test file `path`; new: it does not exist yet. before: the text that the edits refer to, empty for a new file."""

    path: Path
    new: bool
    before: str
    edits: tuple[Edit, ...]
    framework: str
    model: str = ""
    timings: Timings = field(default_factory=Timings)
    calls: int = 1

    @property
    def after(self) -> str:
        """The test file as it will be."""
        return apply_edits(self.before, self.edits)


def possible(snapshot: Snapshot) -> bool:
    """Whether there may be a place for tests of this document. Looks at nothing on disk."""
    return snapshot.path is not None and snapshot.root is not None and snapshot.language in LANGUAGES


async def generate_tests(snapshot: Snapshot, span: Span, read: Callable[[Path], str | None], gateway: Gateway, settings: Settings) -> Tests:
    """Tests of the selection, or of the function at an empty `span`. read: the text of a file, None when there is none.

    Raises RequestError when there is no place for tests or the code is too long, AnswerError when no answer of the model could be used, and whatever
    QwencoderError the gateway raises. Cancelling stops the generation.
    """
    target = await asyncio.to_thread(_place, snapshot)
    if target is None:
        raise RequestError("There is no known place for tests of this file.", "Open the project's folder, and a file in a language with tests.")
    before = snapshot.text if target.inline else read(target.path)
    return await write_tests(snapshot, span, target, before, gateway, settings)


async def write_tests(snapshot: Snapshot, span: Span, target: TestFile, before: str | None, gateway: Gateway, settings: Settings) -> Tests:
    """The same for a test file that is known. before: its text, None when it does not exist."""
    region = code_at(snapshot, span, settings)
    if region.end - region.start > region_limit(settings):
        raise RequestError("This is too much code to be tested at once.", "Select less of it, or raise review.max_tokens.")
    messages = prompt("tests", snapshot.root, settings).render(
        language=snapshot.language,
        code=dedent(region.of(snapshot.text).replace("\r\n", "\n")),
        context=context(snapshot.text, region),
        path=Path(snapshot.path or "").name,
        framework=target.framework,
        importing=target.importing,
    )
    request = ChatRequest(messages, model=settings.model.chat, max_tokens=settings.review.max_tokens)
    mask = Mask()
    answers = [await ask_about(gateway, request, mask)]
    edits, refused = await asyncio.to_thread(_verified, snapshot, before, answers[0])
    if refused:
        more = prompt("retry", snapshot.root, settings).render(refusal=refused, task=f"write tests with {target.framework}")
        again = replace(request, messages=(*messages, Message("assistant", answers[0].text), *more))
        answers.append(await ask_about(gateway, again, mask))
        edits, refused = await asyncio.to_thread(_verified, snapshot, before, answers[1])
    if refused:
        raise AnswerError(f"The model's tests cannot be used: {refused}.", "Ask again, or choose a larger model (model.chat).")
    return Tests(target.path, before is None, before or "", edits, target.framework, answers[0].model, total_timings(answers), len(answers))


def _place(snapshot: Snapshot) -> TestFile | None:
    return test_file(Path(snapshot.path), Path(snapshot.root), snapshot.language) if snapshot.path and snapshot.root else None


def _verified(snapshot: Snapshot, before: str | None, answer: Answer) -> tuple[tuple[Edit, ...], str | None]:
    code = code_block(answer.text)
    if answer.cut:
        code = _whole_part(code or "", snapshot.language)
    if answer.cut and not CHECKS.search(code or ""):
        return (), "it was cut off before its end; write fewer tests"
    if not code or not code.strip():
        return (), "there is no code block in it"
    text, language = before or "", snapshot.language
    edits = appended(text, code, language, "\r\n" if "\r\n" in text else snapshot.newline)
    after = apply_edits(text, edits)
    if (parse_errors(after, language) or 0) > (parse_errors(text, language) or 0):
        return (), f"it does not parse ({first_error(after, language)})"
    if fresh := undefined_names(after, language) - undefined_names(text, language):
        return (), f"it uses names that nothing defines ({', '.join(sorted(fresh))})"
    if SECRET_PLACEHOLDER.search(code):
        return (), "it needs a secret of the code, which tests must not hold"
    if not CHECKS.search(code):
        return (), "it checks nothing"
    return edits, None


def _whole_part(code: str, language: str) -> str:
    """What of code that was cut off is whole: all before the last line at the margin from which on it does not parse. Empty when nothing is."""
    lines = code.split("\n")
    for at in range(len(lines) - 1, 0, -1):
        part = "\n".join(lines[:at])
        if lines[at][:1].strip() and not parse_errors(part, language):
            return part
    return ""
