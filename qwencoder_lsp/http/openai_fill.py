"""From the body of an OpenAI or Tabby request to fill in the middle: the parts that surround the hole, and what of them was left out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

from qwencoder_lsp.context.split import line_start
from qwencoder_lsp.core.languages import language
from qwencoder_lsp.core.prompt import PromptParts, Snippet
from qwencoder_lsp.engine.protocol import Constraint, Engine, Generate
from qwencoder_lsp.errors import RequestError
from qwencoder_lsp.http.failures import FieldError
from qwencoder_lsp.http.openai_bodies import CompletionBody
from qwencoder_lsp.prompt.budget import fim_budget
from qwencoder_lsp.prompt.fim import Rendered, render_fim
from qwencoder_lsp.prompt.segments import SegmentTokenizer
from qwencoder_lsp.prompt.truncate import Dropped

TYPED = 4  # the line up to the hole has at most this part of the context, at one code point per token
TELLING = 200  # code points of a text that shows what language it is in

Made = tuple[Generate, tuple[Dropped, ...]]


def fill(request: Generate, text: str | list[int], body: CompletionBody, engine: Engine, tokenizer: SegmentTokenizer, reserved: int) -> Made:
    """`request` with the prompt that asks for what belongs between `text` and the body's suffix. reserved: tokens of answer that the prompt leaves
    room for; it has more, up to its max_tokens, where the prompt is short. Raises QwencoderError."""
    if not isinstance(text, str):
        raise FieldError("prompt", "with a suffix it must be text.")
    parts = _parts(text, body, engine.info.n_ctx // TYPED)
    budget = fim_budget(engine.info.prefill_speed, engine.info.n_ctx, reserved + len(parts.typed), snippets=bool(parts.snippets))
    prompt = render_fim(parts, tokenizer, budget, heal=request.constraint is None)
    dropped = (*unread(parts, prompt, tokenizer), *_other_files(parts, prompt, tokenizer))
    if dropped and body.truncation == "error" and "truncation" in body.model_fields_set:
        raise RequestError("The text around the hole is longer than what is read of it.", 'Shorten it, or allow that: "truncation": "auto".')
    constraint = Constraint("heal", prompt.healed) if prompt.healed else request.constraint
    limit = max(reserved, min(request.max_tokens, engine.info.n_ctx - len(prompt.tokens)))
    return replace(request, tokens=tuple(prompt.tokens), max_tokens=limit, constraint=constraint), dropped


def _parts(text: str, body: CompletionBody, longest: int) -> PromptParts:
    """What surrounds the hole. The line up to the hole, as far as it is not too long, stands apart, as render_fim wants it."""
    cut, suffix = max(line_start(text, len(text)), len(text) - longest), body.suffix or ""
    before = (language_line(body.language, text) if body.language and not body.segments else "") + text[:cut]
    if body.segments is None:
        return PromptParts(before, suffix, typed=text[cut:])
    snippets = tuple(
        Snippet(hashlib.sha256(s.body.encode("utf-8", "replace")).hexdigest(), s.filepath, s.body, "client") for s in body.segments.snippets
    )
    repo = body.segments.git_url.rstrip("/").rpartition("/")[2].removesuffix(".git")
    return PromptParts(before, suffix, body.segments.filepath, repo, body.language, snippets, typed=text[cut:])


def language_line(name: str, text: str) -> str:
    """A comment that says what a short text is written in: a longer one shows it. Empty for a language that is not known."""
    found = language(name)
    if found is None or len(text) >= TELLING:
        return ""
    if found.line:
        return f"{found.line[0]} {found.name}\n"
    return f"{found.block[0][0]} {found.name} {found.block[0][1]}\n" if found.block else ""


def unread(parts: PromptParts, prompt: Rendered, tokenizer: SegmentTokenizer, before: str = "prompt", behind: str = "suffix") -> Iterator[Dropped]:
    """What was left out around the hole. before, behind: the fields that it came in."""
    usage = prompt.usage
    if usage.prefix_omitted:
        yield Dropped(before, 0, len(tokenizer.tokenize(parts.prefix[: usage.prefix_omitted])))
    if usage.suffix_omitted:
        yield Dropped(behind, prompt.shares["suffix"], len(tokenizer.tokenize(parts.suffix[len(parts.suffix) - usage.suffix_omitted :])))


def _other_files(parts: PromptParts, prompt: Rendered, tokenizer: SegmentTokenizer) -> Iterator[Dropped]:
    if prompt.usage.snippets_omitted:
        size = sum(len(tokenizer.tokenize(snippet.text)) for snippet in parts.snippets)
        yield Dropped("segments", prompt.shares["snippets"], max(1, size - prompt.shares["snippets"]))
