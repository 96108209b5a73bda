"""Syntax of source text, by tree-sitter: how many errors, where the first one is, and which function or statement holds an offset.

In: text and an LSP language id. Out: counts, sentences and spans in code points. Cached are the grammars, each imported when its language is first
asked for, and the trees of the last few texts, since one answer is looked at several times. A language without a grammar answers None
everywhere: "unknown", never "correct".
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from functools import cache, lru_cache

from tree_sitter import Node, Parser

from qwencoder_lsp.core.text import Span
from qwencoder_lsp.grammars import grammar

FUNCTIONS = frozenset(
    {
        "function_definition",  # Python, C, C++
        "function_declaration",  # JavaScript, TypeScript, Go
        "function_expression",
        "generator_function",
        "generator_function_declaration",
        "arrow_function",
        "method_definition",
        "method_declaration",  # Go, Java
        "func_literal",
        "constructor_declaration",
        "compact_constructor_declaration",
        "function_item",  # Rust
        "closure_expression",
        "lambda_expression",  # Java, C++, C#
        "method",  # Ruby
        "singleton_method",
        "local_function_statement",  # C#
    }
)
"""Node kinds of functions with a body, of all grammars together."""


@cache
def statements(language: str) -> frozenset[str]:
    """The node kinds that are statements, declarations or definitions in the grammar of the LSP language id; empty without a grammar.

    They are told by the endings that all these grammars use in their names.
    """
    found = grammar(language)
    names = (found.node_kind_for_id(i) or "" for i in range(found.node_kind_count)) if found else ()
    return frozenset(n for n in names if n.endswith(("_statement", "_declaration", "_definition", "_item")) and "parameter" not in n)


def parse_errors(text: str, language: str) -> int | None:
    """How many syntax errors `text` has: ERROR and MISSING nodes, and for Python one more when its compiler refuses it.

    None when there is no grammar for the LSP language id `language`.
    """
    root = parse(text, language)
    if root is None:
        return None
    return count_errors(root) + (language == "python" and _python_error(text) is not None)


def first_error(text: str, language: str) -> str | None:
    """The first syntax error as a sentence with its line number (from 1), for a person or a model; None when there is none or no grammar."""
    root = parse(text, language)
    if root is None:
        return None
    if language == "python" and (said := _python_error(text)):
        return said
    found = min(_errors(root), key=lambda node: node.start_byte, default=None)
    if found is None:
        return None
    what = f"{found.type} is missing" if found.is_missing else "syntax error"
    return f"line {found.start_point.row + 1}: {what}"


def same_code(a: str, b: str, language: str, ignoring: str = "") -> bool:
    """Whether the two texts differ in white space and comments at most; for Python, whether they have the same syntax tree.

    ignoring: "documentation" (docstrings) or "types" (annotations, and imports of typing) may differ too.
    Without a grammar for the LSP language id `language` they must be equal but for white space at line ends and blank lines.
    """
    if language == "python" and (tree := _python_tree(a, ignoring)) is not None and (other := _python_tree(b, ignoring)) is not None:
        return tree == other
    roots = parse(a, language), parse(b, language)
    if roots[0] is None or roots[1] is None:
        return [line.rstrip() for line in a.split("\n") if line.strip()] == [line.rstrip() for line in b.split("\n") if line.strip()]
    return _tokens(roots[0], ignoring) == _tokens(roots[1], ignoring)


def enclosing(text: str, language: str, offset: int, kinds: frozenset[str], min_lines: int = 1) -> Span | None:
    """The smallest node of one of `kinds`, at least `min_lines` lines high, that holds the code point at `offset`.

    None when no such node holds it, or when there is no grammar for the LSP language id `language`.
    """
    root = parse(text, language)
    if root is None:
        return None
    at = len(encode(text[:offset]))
    node = root.descendant_for_byte_range(at, at)
    while node is not None and (node.type not in kinds or not node.is_named or node.end_point.row - node.start_point.row + 1 < min_lines):
        node = node.parent
    if node is None:
        return None
    source = encode(text)
    start = len(source[: node.start_byte].decode("utf-8", "surrogatepass"))
    return Span(start, start + len(source[node.start_byte : node.end_byte].decode("utf-8", "surrogatepass")))


def encode(text: str) -> bytes:
    """As the trees count: UTF-8, with lone surrogates as they are."""
    return text.encode("utf-8", "surrogatepass")


@lru_cache(maxsize=4)
def parse(text: str, language: str) -> Node | None:
    """The root of the syntax tree of `text`, whose byte offsets count UTF-8; None without a grammar for the LSP language id `language`."""
    found = grammar(language)
    return None if found is None else Parser(found).parse(encode(text)).root_node


def count_errors(root: Node) -> int:
    """How many ERROR and MISSING nodes there are."""
    return sum(1 for _ in _errors(root))


def _errors(root: Node) -> Iterator[Node]:
    stack = [root]
    while stack:
        node = stack.pop()
        if node.is_error or node.is_missing:
            yield node
        stack += [child for child in node.children if child.has_error]


def _tokens(root: Node, ignoring: str) -> list[tuple[int, bytes | None]]:
    """Depth and text of each leaf but comments. The depth holds what indentation means."""
    stack, found = [(root, 0)], []
    while stack:
        node, depth = stack.pop()
        if "comment" in node.type or (ignoring == "types" and node.type == "type_annotation"):
            continue
        if not node.children:
            found.append((depth, node.text))
        stack += [(child, depth + 1) for child in reversed(node.children)]
    return found


def _python_tree(text: str, ignoring: str) -> str | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in _python_error
        try:
            tree = ast.parse(text)
            return ast.dump({"documentation": _Undocumented, "types": _Untyped}[ignoring]().visit(tree) if ignoring else tree)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None  # the grammar's leaves are compared instead


def _python_error(text: str) -> str | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler warns of invalid escapes in the user's strings; that is not asked here
        try:
            compile(text, "document", "exec", dont_inherit=True)  # also what no grammar knows, such as `return` outside of a function
        except SyntaxError as error:
            return f"line {error.lineno}: {error.msg}"
        except ValueError as error:  # NUL characters before Python 3.12, lone surrogates
            return f"line 1: {error}"
        except (RecursionError, MemoryError):
            return None  # nested too deeply for the compiler: tree-sitter's count stands alone
    return None


class _Undocumented(ast.NodeTransformer):
    """Takes docstrings out, and what stands for an empty body."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        body = getattr(node, "body", None)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and isinstance(body, list):
            node.body = [
                n
                for i, n in enumerate(body)
                if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant) and (i == 0 or n.value.value is ...))
            ]
        return node


class _Untyped(ast.NodeTransformer):
    """Takes annotations out."""

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        return None if node.value is None else ast.Assign([node.target], node.value)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if node.module in ("typing", "collections.abc", "__future__") else node
