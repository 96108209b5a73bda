"""Documentation of functions: the file's convention, what a model wrote, and where it goes.

In: source text and a model's answer. Out: the comment or docstring alone, and the edit that puts it in place; the code itself is never taken from
the answer, so it cannot change. Languages by LSP id.
"""

from __future__ import annotations

import ast
import re
from textwrap import dedent

from qwencoder_lsp.core.text import Edit, Span
from qwencoder_lsp.postprocess.functions import Function, functions
from qwencoder_lsp.postprocess.patch import whole_lines

CONVENTIONS = {
    "python": "a docstring",
    "javascript": "a JSDoc comment (`/** ... */`) above it",
    "javascriptreact": "a JSDoc comment (`/** ... */`) above it",
    "typescript": "a TSDoc comment (`/** ... */`) above it, without types",
    "typescriptreact": "a TSDoc comment (`/** ... */`) above it, without types",
    "java": "a Javadoc comment (`/** ... */`) above it",
    "go": "a Go doc comment (`//`) above it, which begins with the function's name",
    "rust": "a doc comment (`///`) above it",
    "c": "a Doxygen comment (`/** ... */`) above it",
    "cpp": "a Doxygen comment (`/** ... */`) above it",
}
LONGEST_EXAMPLE = 20  # lines
_STYLES = (
    (re.compile(r"^\s*(Parameters|Returns|Raises)\s*\n\s*-{3,}", re.MULTILINE), " in NumPy's style"),
    (re.compile(r"^\s*(Args|Returns|Raises|Yields):\s*$", re.MULTILINE), " in Google's style"),
    (re.compile(r"^\s*:(param|returns?|raises)\b", re.MULTILINE), " in Sphinx's style (`:param name:`)"),
)


def convention(text: str, language: str) -> str:
    """How functions are documented in this file, in words for a model."""
    words = CONVENTIONS.get(language, "a documentation comment above it")
    return words + (next((style for pattern, style in _STYLES if pattern.search(text)), "") if language == "python" else "")


def example(text: str, language: str, but: Function) -> str:
    """The first documented function of the file other than `but`, with its documentation, cut to its head; empty when there is none."""
    for function in functions(text, language):
        if function.documented and function.span != but.span:
            start = _documentation_start(text, function.span.start, language)
            return dedent("\n".join(text[start : function.span.end].replace("\r\n", "\n").split("\n")[:LONGEST_EXAMPLE]))
    return ""


def documentation(code: str, language: str, name: str) -> str | None:
    """The documentation of the function `name` in a model's `code`, without indentation; None when it has none."""
    if language == "python":
        return _docstring(code, name)
    lines = code.replace("\r\n", "\n").split("\n")
    at = next((i for i, line in enumerate(lines) if re.search(rf"\b{re.escape(name.rpartition('::')[2])}\b", line) and not _is_comment(line)), None)
    if at is None:
        return None
    while at and lines[at - 1].strip().startswith(("@", "#[")):
        at -= 1
    first = at
    while first and _is_comment(lines[first - 1]):
        first -= 1
    comment = dedent("\n".join(lines[first:at])).strip("\n")
    return comment if re.search(r"\w", comment) else None


def documented(text: str, function: Function, words: str, language: str, newline: str) -> Edit | None:
    """The edit that puts `words` to the function of `text`, in place of the documentation that it has. None when its place is not found."""
    indent = re.match(r"[ \t]*", text[function.span.start : function.span.end])
    margin = indent[0] if indent else ""
    if language == "python":
        return _placed_docstring(text, function, words, newline)
    start = _documentation_start(text, function.span.start, language)
    block = "".join((margin + line if line.strip() else "") + newline for line in words.split("\n"))
    return Edit(Span(start, function.span.start), block)


def _documentation_start(text: str, start: int, language: str) -> int:
    """Where the documentation above the line that begins at `start` begins; `start` when there is none. Other comments are none."""
    if language == "python":
        return start
    marks = {"go": "//", "rust": "///"}.get(language, "")
    at = start
    while at:
        line = whole_lines(text, Span(at - 1, at - 1)).of(text)
        inside = line.strip().startswith(marks) if marks else line.strip().startswith(("/**", "*")) if at < start else line.strip().endswith("*/")
        if not inside:
            break
        at -= len(line)
        if line.strip().startswith("/**"):
            return at
    return at if marks else start


def _is_comment(line: str) -> bool:
    return line.strip().startswith(("/**", "///", "//", "*", "/*!"))


def _docstring(code: str, name: str) -> str | None:
    try:
        tree = ast.parse(dedent(code))
    except (SyntaxError, ValueError, RecursionError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name and (words := ast.get_docstring(node)):
            return words
    return None


def _placed_docstring(text: str, function: Function, words: str, newline: str) -> Edit | None:
    region = whole_lines(text, function.span)
    source = region.of(text)
    try:
        tree = ast.parse(dedent(source))
    except (SyntaxError, ValueError, RecursionError):
        return None
    definition = tree.body[0] if tree.body else None
    if not isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    lines = source.splitlines(keepends=True)
    first = definition.body[0]
    margin = re.match(r"[ \t]*", lines[first.lineno - 1])
    if first.lineno == definition.lineno or margin is None or lines[first.lineno - 1][: margin.end()].strip():
        return None  # a body on the line of its head
    block = _quoted(words, margin[0], newline)
    has = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    end = first.end_lineno or first.lineno
    if has and len(definition.body) > 1 and definition.body[1].lineno == end:
        return None  # more code on the docstring's line
    start = region.start + sum(map(len, lines[: first.lineno - 1]))
    stop = region.start + sum(map(len, lines[:end])) if has else start
    if has and not lines[end - 1].endswith("\n"):
        block = block.removesuffix(newline)
    return Edit(Span(start, stop), block)


def _quoted(words: str, margin: str, newline: str) -> str:
    safe = words.replace("\\", "\\\\") if "\\" in words else words
    safe = safe.replace('"""', "'''").rstrip()
    if "\n" not in safe:
        return f'{margin}"""{safe}{" " if safe.endswith(chr(34)) else ""}"""{newline}'
    body = "".join((margin + line if line.strip() and i else line) + newline for i, line in enumerate(safe.split("\n")))
    return f'{margin}"""{body}{margin}"""{newline}'
