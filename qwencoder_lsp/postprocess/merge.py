"""Puts a generated test file's code into a test file that exists, or makes it a new one.

In: the text of the file, or nothing, and the code. Out: edits. Imports that the file has are not added again; everything else goes to its end.
"""

from __future__ import annotations

import re

from tree_sitter import Node

from qwencoder_lsp.core.text import Edit, Span
from qwencoder_lsp.postprocess.syntax import parse

IMPORTS = frozenset(
    {"import_statement", "import_from_statement", "future_import_statement", "import_declaration", "use_declaration", "preproc_include"}
)
ONCE = frozenset({"package_clause", "package_declaration"})
_GO_PATH = re.compile(r'(?:[\w.]+\s+)?"[^"]+"')


def appended(text: str, code: str, language: str, newline: str) -> tuple[Edit, ...]:
    """Edits that add `code`, a whole file, to the file `text`."""
    code = code.strip("\n") + "\n"
    if not text.strip():
        return (Edit(Span(0, len(text)), code.replace("\n", newline)),)
    heads, body = _divided(code, language)
    root = parse(text, language)
    have = [_text(node) for node in root.children if node.type in IMPORTS] if root else []
    missing = [line for head in heads for line in _lines(head, language) if not any(_needle(line, language) in old for old in have)]
    edits = []
    if missing:
        at = _behind_imports(text, language)
        edits.append(Edit(Span(at, at), "".join(line + newline for line in missing)))
    gap = "" if text.endswith("\n") else newline
    gap += newline * (2 if language == "python" else 1)
    edits.append(Edit(Span(len(text), len(text)), gap + body.strip("\n").replace("\n", newline) + newline))
    return tuple(edits)


def _divided(code: str, language: str) -> tuple[list[str], str]:
    """The imports of `code`, and all the rest of it but what a file has once."""
    root = parse(code, language)
    if root is None:
        return [], code
    source = code.encode("utf-8", "surrogatepass")
    heads, rest, at = [], b"", 0
    for node in root.children:
        if node.type in IMPORTS | ONCE:
            rest += source[at : node.start_byte]
            at = node.end_byte
            if node.type in IMPORTS:
                heads.append(_text(node))
    return heads, (rest + source[at:]).decode("utf-8", "surrogatepass")


def _lines(head: str, language: str) -> list[str]:
    """One import as lines that can be added on their own."""
    if language == "go":
        return [f"import {path}" for path in _GO_PATH.findall(head)]
    return [head]


def _needle(line: str, language: str) -> str:
    return line.removeprefix("import ") if language == "go" else line


def _behind_imports(text: str, language: str) -> int:
    root = parse(text, language)
    last = max((node.end_byte for node in root.children if node.type in IMPORTS | ONCE), default=0) if root else 0
    at = len(text.encode("utf-8", "surrogatepass")[:last].decode("utf-8", "surrogatepass"))
    end = text.find("\n", at)
    return 0 if not last else len(text) if end < 0 else end + 1


def _text(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "surrogatepass")
