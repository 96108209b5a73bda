"""Names that nothing defines, and the imports that would define them. Python only: every other language answers "none known".

Pyflakes does the work; nothing is imported or run.
"""

from __future__ import annotations

import ast
import re
import warnings

from pyflakes.checker import Checker
from pyflakes.messages import UndefinedLocal, UndefinedName

from qwencoder_lsp.core.text import Edit, Span


def undefined_names(text: str, language: str) -> frozenset[str]:
    """The names that `text` uses and nowhere defines; empty for what does not parse, and for languages other than Python."""
    tree = _tree(text) if language == "python" else None
    if tree is None:
        return frozenset()
    try:
        found = Checker(tree).messages
    except RecursionError:  # nested too deeply to be looked at
        return frozenset()
    return frozenset(str(message.message_args[0]) for message in found if isinstance(message, UndefinedName | UndefinedLocal))


def imports_of(answer: str, names: frozenset[str]) -> list[str]:
    """The import statements at the top level of the code `answer` that define some of `names`, one name each, as lines without an ending."""
    tree = _tree(answer)
    lines = []
    for node in tree.body if tree else ():
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        for alias in node.names:
            if (alias.asname or alias.name.split(".")[0]) in names:
                one = ast.Import([alias]) if isinstance(node, ast.Import) else ast.ImportFrom(node.module, [alias], node.level)
                lines.append(ast.unparse(one))
    return lines


def import_edit(text: str, lines: list[str], newline: str) -> Edit | None:
    """An edit that adds the import `lines` to the Python document `text`: behind its last import at the top, else behind its docstring and first
    comments. None when the document does not parse."""
    tree = _tree(text) if "\r" not in text.replace("\r\n", "") else None  # the parser counts lone carriage returns as line ends
    if tree is None:
        return None
    head: ast.stmt | None = None
    for node in tree.body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        if not (isinstance(node, ast.Import | ast.ImportFrom) or (docstring and head is None)):
            break
        head = node
    starts = [0]
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        starts.append(starts[-1] + len(line))
    if head is not None:
        row = head.end_lineno or head.lineno
    else:
        row = 0
        while row + 1 < len(starts) and text[starts[row] : starts[row + 1]].startswith("#"):
            row += 1
    at = min(starts[min(row, len(starts) - 1)], len(text))
    block = "".join(line + newline for line in lines)
    if at and not text[:at].endswith("\n"):
        block = newline + block.removesuffix(newline)
    if isinstance(head, ast.Expr):
        block = newline + block
    if not isinstance(head, ast.Import | ast.ImportFrom) and text[at:].strip() and not text[at:].startswith(("\n", "\r\n")):
        block += newline * 2
    return Edit(Span(at, at), block)


def _tree(text: str) -> ast.Module | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of invalid escapes in the user's strings
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
