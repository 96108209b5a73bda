"""The bodies of llama-server's own routes (its tools/server/README.md). Lenient, as those of OpenAI's: what is unknown or null is ignored."""

from __future__ import annotations

from typing import Annotated

from pydantic import AliasChoices, Field

from qwencoder_lsp.http.openai_bodies import MAX_CHOICES, Body, ChatMessage, Sampled, Texts, ToolBody

MOST_PROBS = 100  # alternatives of one token; a thousand for each of a few thousand tokens would be an answer of many megabytes
Milliseconds = Annotated[int, Field(ge=0, le=3_600_000)]


class Extra(Body):
    """Another file that the model may see."""

    text: str
    filename: str = ""


class NativeSampled(Sampled):
    """What /completion and /infill have in common. response_fields: only these, "a/b" for a member. t_max_predict_ms: stop at the next line end.
    n_probs: tell the log-probability of each token, and so many alternatives.
    n_indent: the fewest white-space characters in front of a line behind the first one, a tab being one of them (its process_token)."""

    n: int = Field(1, ge=1, le=MAX_CHOICES, validation_alias=AliasChoices("n_cmpl", "n"))
    n_predict: int = Field(-1, ge=-1, validation_alias=AliasChoices("n_predict", "max_tokens"))
    t_max_predict_ms: Milliseconds = 0
    n_indent: int = Field(0, ge=0, le=1000)
    n_probs: int = Field(0, ge=0, le=MOST_PROBS)
    response_fields: list[str] = Field(default_factory=list)

    @property
    def limit(self) -> int | None:
        """Most tokens of the answer; None for any number (-1)."""
        return None if self.n_predict < 0 else self.n_predict


class NativeCompletionBody(NativeSampled):
    """POST /completion."""

    prompt: Texts


class InfillBody(NativeSampled):
    """POST /infill. prompt: what stands behind <|fim_middle|>, the beginning of the cursor's line. input_extra: the most useful last."""

    input_prefix: str
    input_suffix: str
    input_extra: list[Extra] = Field(default_factory=list)
    prompt: str = ""


class TokenizeBody(Body):
    """POST /tokenize."""

    content: str
    parse_special: bool = True
    with_pieces: bool = False
    model: str = ""


class DetokenizeBody(Body):
    """POST /detokenize."""

    tokens: list[Annotated[int, Field(ge=0)]]
    model: str = ""


class TemplateBody(Body):
    """POST /apply-template."""

    messages: list[ChatMessage] = Field(min_length=1)
    tools: list[ToolBody] = Field(default_factory=list)
    model: str = ""
