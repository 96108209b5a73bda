"""The functions of a source text, by tree-sitter: where they are, how they are called, whether they are documented and finished.

In: text and an LSP language id. Out: values in code points. A language without a grammar has no functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tree_sitter import Node

from qwencoder_lsp.core.text import Span
from qwencoder_lsp.postprocess.syntax import FUNCTIONS, parse

_NOTED = re.compile(r"\b(TODO|FIXME)\b|NotImplemented|not implemented|\bunimplemented!|\btodo!", re.IGNORECASE)
_NOTHING = ("pass", "...")
_WRAPPERS = ("decorated_definition", "export_statement", "variable_declarator", "lexical_declaration", "variable_declaration", "template_declaration")
_ABOVE = 20  # lines of decorators that still belong to a function
_DOCUMENTS = ("/**", "///", "/*!", "//", "#")


@dataclass(frozen=True, slots=True)
class Function:
    """A named function. `span` begins at its first line, decorators and `export` included, and ends with its body.

    unfinished: its body is empty, or says that something is still to be done.
    """

    name: str
    span: Span
    documented: bool
    unfinished: bool
    typed: bool


def functions(text: str, language: str) -> list[Function]:
    """The named functions and methods of `text` that do not stand inside another function, in the order of the text."""
    root = parse(text, language)
    if root is None:
        return []
    source = text.encode("utf-8", "surrogatepass")
    return [_function(node, source, language) for node in _outermost(root)]


def function_at(text: str, language: str, span: Span) -> Function | None:
    """The innermost of `functions` that holds all of `span`."""
    holders = [f for f in functions(text, language) if f.span.start <= span.start and span.end <= f.span.end]
    return min(holders, key=lambda f: f.span.end - f.span.start, default=None)


def _outermost(root: Node) -> Iterator[Node]:
    stack = [root]
    while stack:
        node = stack.pop()
        if node.type in FUNCTIONS and node.child_by_field_name("body") is not None and _name(node) is not None:
            yield node
        else:
            stack += reversed(node.children)


def _name(node: Node) -> Node | None:
    """The node of the function's name; for a function that is assigned, the name that it is assigned to."""
    if (name := node.child_by_field_name("name")) is not None:
        return name
    declarator = node.child_by_field_name("declarator")  # C and C++
    while declarator is not None and declarator.child_by_field_name("declarator") is not None:
        declarator = declarator.child_by_field_name("declarator")
    if declarator is not None:
        return declarator
    if node.parent is not None and node.parent.type in ("variable_declarator", "public_field_definition", "pair"):
        return node.parent.child_by_field_name("name") or node.parent.child_by_field_name("key")
    return None


def _function(node: Node, source: bytes, language: str) -> Function:
    name, body = _name(node), node.child_by_field_name("body")
    assert name is not None and body is not None
    whole = node
    while whole.parent is not None and whole.parent.type in _WRAPPERS and whole.parent.start_point.row >= whole.start_point.row - _ABOVE:
        whole = whole.parent
    start = source.rfind(b"\n", 0, whole.start_byte) + 1
    head = len(source[:start].decode("utf-8", "surrogatepass"))
    length = len(source[start : whole.end_byte].decode("utf-8", "surrogatepass"))
    return Function(
        name=_text(name),
        span=Span(head, head + length),
        documented=_docstring(body) is not None if language == "python" else _comment_above(source, start),
        unfinished=_unfinished(node, body),
        typed=_typed(node, language),
    )


def _text(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "replace")


def _docstring(body: Node) -> Node | None:
    first = body.named_children[0] if body.named_children else None
    if first is not None and first.type == "expression_statement" and first.named_children and first.named_children[0].type == "string":
        return first
    return None


def _comment_above(source: bytes, start: int) -> bool:
    line = source[source.rfind(b"\n", 0, max(start - 1, 0)) + 1 : start].strip().decode("utf-8", "replace")
    return line.endswith("*/") or line.startswith(_DOCUMENTS)


def _unfinished(node: Node, body: Node) -> bool:
    docstring = _docstring(body)
    statements = [child for child in body.named_children if "comment" not in child.type and child != docstring]
    if not statements or (len(statements) == 1 and _text(statements[0]).rstrip(";") in _NOTHING):
        return True
    comments = [child for child in _descendants(node) if "comment" in child.type]
    return any(_NOTED.search(_text(part)) for part in comments) or (len(statements) == 1 and bool(_NOTED.search(_text(statements[0]))))


def _typed(node: Node, language: str) -> bool:
    """Whether nothing is left to annotate; always, where the language has no optional types."""
    if language not in ("python", "typescript", "typescriptreact"):
        return True
    parameters = node.child_by_field_name("parameters")
    if node.child_by_field_name("return_type") is None:
        return False
    named = parameters.named_children if parameters is not None else []
    bare = [p for p in named if p.type in ("identifier", "default_parameter") and _text(p) not in ("self", "cls")]
    return not bare and all(p.child_by_field_name("type") is not None for p in named if p.type.endswith(("required_parameter", "optional_parameter")))


def _descendants(node: Node) -> Iterator[Node]:
    stack = list(node.children)
    while stack:
        child = stack.pop()
        yield child
        stack += child.children
