"""The conversation of a fix: a region of a document and what is wrong with it go in, messages for a chat model come out. Pure."""

from __future__ import annotations

from textwrap import dedent

from qwencoder_lsp.core.prompt import Message

SYSTEM = "You are a careful programmer. You fix the problem that you are told about and change nothing else."


def fix_messages(region: str, language: str, problem: str, line: str = "", context: str = "") -> tuple[Message, ...]:
    """Ask for `region` (whole lines) without its problem, in a code block.

    problem: a sentence. line: the line that it is about. context: the text around the region, which the model is not to repeat.
    """
    parts = []
    if context.strip():
        parts.append(f"This is the code around it:\n\n```{language}\n{context.rstrip()}\n```\n")
    where = f" in the line `{line.strip()}`" if line.strip() else ""
    parts.append(f"This {language} code has a problem{where}: {problem}\n\n```{language}\n{dedent(region).rstrip()}\n```\n")
    parts.append("Write this code again with the problem fixed. Keep everything else as it is. Answer with the code in one code block.")
    return Message("system", SYSTEM), Message("user", "\n".join(parts))


def retry_messages(asked: tuple[Message, ...], answer: str, refusal: str, problem: str) -> tuple[Message, ...]:
    """Ask once more. `refusal` says why the first answer cannot be used."""
    ask = f"This cannot be used: {refusal}. The problem was: {problem}\n\nWrite all of the code again, corrected, in one code block."
    return (*asked, Message("assistant", answer), Message("user", ask))
