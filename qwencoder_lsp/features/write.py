"""Code that the model writes about code: tests, documentation, another version. A piece of code goes in, code comes out."""

from __future__ import annotations

from dataclasses import dataclass

from qwencoder_lsp.core.prompt import Message
from qwencoder_lsp.core.report import Timings, Usage
from qwencoder_lsp.errors import AnswerError
from qwencoder_lsp.features.ask import ask
from qwencoder_lsp.gateway.client import Gateway
from qwencoder_lsp.gateway.protocol import ChatRequest
from qwencoder_lsp.postprocess.fences import code_block

MAX_TOKENS = 2048
SYSTEM = "You are an expert programmer. Answer with one code block and nothing else."


@dataclass(frozen=True, slots=True)
class Written:
    """What the model wrote."""

    code: str
    model: str
    usage: Usage
    timings: Timings


async def generate_tests(code: str, gateway: Gateway, *, language: str, framework: str = "", model: str = "auto") -> Written:
    """Tests of `code`. Raises AnswerError when the answer holds no whole code block, and whatever QwencoderError the gateway raises."""
    tool = f" with {framework}" if framework else ""
    return await _write(
        f"Write unit tests{tool} for this code: one short test each for the usual case and the edges, eight at most.", code, language, gateway, model
    )


async def document(code: str, gateway: Gateway, *, language: str, model: str = "auto") -> Written:
    """`code` with documentation comments. Raises as `generate_tests`."""
    return await _write("Add documentation comments to this code. Change nothing else.", code, language, gateway, model)


async def refactor(code: str, instruction: str, gateway: Gateway, *, language: str, model: str = "auto") -> Written:
    """`code`, changed as the instruction says. Raises as `generate_tests`."""
    return await _write(f"Refactor this code: {instruction}\nKeep its behaviour.", code, language, gateway, model)


async def _write(instruction: str, code: str, language: str, gateway: Gateway, model: str) -> Written:
    question = f"{instruction}\n\n```{language}\n{code.rstrip()}\n```"
    answer = await ask(gateway, ChatRequest((Message("system", SYSTEM), Message("user", question)), model, MAX_TOKENS))
    found = code_block(answer.text)
    if answer.cut or not found:
        what = "was longer than the limit" if answer.cut else "holds no code block"
        raise AnswerError(f"The model's answer {what}.", "Ask about a smaller piece of code.")
    return Written(found, answer.model, answer.usage, answer.timings)
