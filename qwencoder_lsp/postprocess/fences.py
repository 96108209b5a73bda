"""Code out of a chat answer: the content of its Markdown code block. Knows CommonMark's fence rules, nothing of languages."""

from __future__ import annotations

import re

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*([^`\r\n]*?)[ \t]*\r?\n?")


def code_block(answer: str) -> str | None:
    """The longest fenced block of `answer`, with a newline at its end unless it is empty; None when there is no fence.

    A block ends at a fence of the same character, at least as long, without an info string (CommonMark 4.5), or at the end of the answer.
    A fence with an info string inside a block opens a nested one, which belongs to the block: code with Markdown in its comments stays whole.
    """
    blocks: list[str] = []
    inner: list[str] = []
    lines: list[str] = []
    for line in answer.splitlines(keepends=True):
        match = _FENCE.fullmatch(line)
        mark, info = (match[1], match[2]) if match else ("", "")
        if not inner:
            if mark:
                inner, lines = [mark], []
            continue
        if mark and not info and mark[0] == inner[-1][0] and len(mark) >= len(inner[-1]):
            inner.pop()
            if not inner:
                blocks.append("".join(lines))
                continue
        elif mark and info:
            inner.append(mark)
        lines.append(line)
    if inner:
        blocks.append("".join(lines))
    if not blocks:
        return None
    code = max(blocks, key=len)
    return code if not code or code.endswith("\n") else code + "\n"
