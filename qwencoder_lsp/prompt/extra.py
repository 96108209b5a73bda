"""What is read of the files that a client of /infill sends along. Pure.

llama.vim and llama.vscode keep a ring of chunks and send the oldest first, and llama.cpp keeps the end of them all (tools/server/server-common.cpp,
`format_prompt_infill`: extra_tokens.end() - n_extra_take). So does this: the newest chunks stay, and the oldest of those that stay loses its first
lines. What stays keeps its order, because a further chunk then comes behind those that the model has read already.

Our own snippets are ranked instead, the best first, and each is whole or not there: see `render_fim`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qwencoder_lsp.core.prompt import Snippet
from qwencoder_lsp.prompt.segments import Segment, SegmentTokenizer


def newest(snippets: Sequence[Snippet], tokenizer: SegmentTokenizer, budget: int) -> tuple[tuple[Snippet, ...], int]:
    """The end of `snippets` that `render_fim` finds room for in `budget` tokens, and the tokens of text that are left out."""
    special = tokenizer.special
    left = 0 if special.repo_name is None or special.file_sep is None else budget
    kept: list[Snippet] = []
    dropped = 0
    for snippet in reversed(snippets):
        lines = tokenizer.segments(snippet.text if snippet.text.endswith("\n") else snippet.text + "\n")
        head = 1 + len(tokenizer.tokenize(snippet.path + "\n"))
        start = _start(lines, left - head)
        dropped += _size(lines[:start])
        if start == len(lines):
            continue
        kept.append(replace(snippet, text="".join(line.text for line in lines[start:])))
        left = 0 if start else left - head - _size(lines)
    return tuple(reversed(kept)), dropped


def _start(lines: Sequence[Segment], room: int) -> int:
    """Where the longest end of `lines` begins that has at most `room` tokens and begins with a line."""
    start, size = len(lines), 0
    for i in range(len(lines) - 1, -1, -1):
        size += len(lines[i].tokens)
        if size > room:
            break
        if not i or lines[i - 1].text.endswith("\n"):
            start = i
    return start


def _size(lines: Sequence[Segment]) -> int:
    return sum(len(line.tokens) for line in lines)
