"""What a source file defines and imports, and where to cut it into chunks. By tree-sitter; a language without a grammar has chunks of lines only.

Text and an LSP language id go in; symbols, import statements and line ranges come out. Lines count from 0, ends are exclusive. Pure but for the
compiled queries, which are kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from tree_sitter import Node, Parser, Query, QueryCursor

from qwencoder_lsp.context.queries import QUERIES
from qwencoder_lsp.grammars import grammar

SIGNATURE, DOC = 240, 160  # code points kept of each
LEAST_CHUNK, MOST_CHUNK = 12, 48  # lines
_TYPES = frozenset({"class", "interface", "enum", "type", "module"})
_SPACE = re.compile(r"\s+")
_CPP = re.compile(r"(?m)^[ \t]*(?:class[ ]\w[^;()\n]*$|namespace\b|template[ ]?<|using[ ]\w)|\bstd::")
_COMMENT = re.compile(r"^\s*(?://+[/!]?|#+|/\*+!?|\*+/?|--+)\s?|\s*\*/\s*$")


@dataclass(frozen=True, slots=True)
class Symbol:
    """A definition. container: the names around it, joined by dots; signature: its head on one line; doc: the first line of what is said about it."""

    name: str
    kind: str
    container: str
    line: int
    end: int
    signature: str
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Outline:
    """A file's symbols in their order, and its import statements as they are written."""

    symbols: tuple[Symbol, ...] = ()
    imports: tuple[str, ...] = ()


def outline(text: str, language: str) -> Outline:
    """The definitions and imports of `text`; empty without a grammar for `language`."""
    if language == "c" and _CPP.search(text):
        language = "cpp"  # a header
    query = _query(language)
    if query is None:
        return Outline()
    source = text.encode("utf-8", "surrogatepass")
    parser, cursor = _tools(language)
    found: list[tuple[int, int, str, Node, Node]] = []
    imports: list[tuple[int, str]] = []
    for _, captures in cursor.matches(parser.parse(source).root_node):
        name = captures.get("name")
        for kind, nodes in captures.items():
            if kind == "import":
                imports.append((nodes[0].start_byte, _piece(source, nodes[0])))
            elif name and kind not in ("name", "f"):
                found.append((nodes[0].start_byte, -nodes[0].end_byte, kind, nodes[0], name[0]))
    found.sort(key=lambda f: f[:2])
    return Outline(tuple(_symbols(source, found, language)), tuple(text for _, text in sorted(imports)))


def chunks(count: int, symbols: tuple[Symbol, ...]) -> list[tuple[int, int]]:
    """Line ranges that cover `count` lines: cut in front of definitions where that gives LEAST_CHUNK lines or more, and at MOST_CHUNK at the
    latest."""
    starts = sorted({s.line for s in symbols if s.end - s.line > 1 or not s.container})
    cuts = [0]
    for start in [*starts, count]:
        while start - cuts[-1] > MOST_CHUNK:
            cuts.append(cuts[-1] + MOST_CHUNK)
        if start - cuts[-1] >= LEAST_CHUNK and start < count:
            cuts.append(start)
    return [(a, b) for a, b in zip(cuts, [*cuts[1:], count], strict=True) if a < b]


def _symbols(source: bytes, found: list[tuple[int, int, str, Node, Node]], language: str) -> list[Symbol]:
    out: list[Symbol] = []
    around: list[tuple[int, str, str]] = []  # end, name, kind of the definitions that hold the next one
    seen: set[int] = set()
    for start, minus_end, kind, node, name_node in found:
        while around and around[-1][0] <= start:
            around.pop()
        inside = around[-1][2] if around else ""
        if name_node.start_byte in seen or (kind in ("global", "variable") and inside in ("function", "method")):
            continue
        seen.add(name_node.start_byte)
        name = _piece(source, name_node)
        what = _kind(kind, inside)
        out.append(_symbol(source, node, name, what, ".".join(a[1] for a in around), language))
        if what in _TYPES or what in ("function", "method"):
            around.append((-minus_end, name, what))
    return out


def _kind(kind: str, inside: str) -> str:
    if kind == "function" and inside in ("class", "interface", "enum"):
        return "method"
    if kind == "variable" and inside == "class":
        return "field"
    return "variable" if kind == "global" else kind


def _symbol(source: bytes, node: Node, name: str, kind: str, container: str, language: str) -> Symbol:
    body = node.child_by_field_name("body")
    outer = node
    while outer.parent is not None and outer.parent.type in ("decorated_definition", "export_statement", "template_declaration"):
        outer = outer.parent
    head = source[node.start_byte : body.start_byte if body else node.end_byte][: 2 * SIGNATURE].decode("utf-8", "ignore")
    if body is None:
        head = head.split("\n")[0] if len(head) > SIGNATURE or kind in ("macro", "function") else head
    signature = _SPACE.sub(" ", head).strip().rstrip("{").strip()[:SIGNATURE]
    doc = _docstring(source, body) if language == "python" else _comment(source, outer)
    end = node.end_point
    return Symbol(name, kind, container, outer.start_point.row, end.row + (1 if end.column or end.row == node.start_point.row else 0), signature, doc)


def _docstring(source: bytes, body: Node | None) -> str:
    first = body.named_child(0) if body is not None and body.named_child_count else None
    if first is None or first.type != "expression_statement":
        return ""
    value = first.named_child(0)
    if value is None or value.type != "string":
        return ""
    text = source[value.start_byte : min(value.end_byte, value.start_byte + 4 * DOC)].decode("utf-8", "ignore")
    return next((line.strip() for line in text.lstrip("rRbBuUfF").strip("\"'").split("\n") if line.strip()), "")[:DOC]


def _comment(source: bytes, node: Node) -> str:
    """The first line with words of the comment in front of a definition."""
    above, row = node.prev_sibling, node.start_point.row
    lines: list[str] = []
    while above is not None and "comment" in above.type and above.end_point.row >= row - 1:
        row = above.start_point.row
        lines = [*source[above.start_byte : min(above.end_byte, above.start_byte + 4 * DOC)].decode("utf-8", "ignore").split("\n"), *lines]
        above = above.prev_sibling
    cleaned = (_COMMENT.sub("", line).strip() for line in lines)
    return next((line for line in cleaned if re.search(r"\w", line)), "")[:DOC]


def _piece(source: bytes, node: Node) -> str:
    return source[node.start_byte : node.end_byte].decode("utf-8", "replace")


@cache
def _query(language: str) -> Query | None:
    found = grammar(language) if language in QUERIES else None
    return Query(found, QUERIES[language]) if found is not None else None


def _tools(language: str) -> tuple[Parser, QueryCursor]:
    found, query = grammar(language), _query(language)
    assert found is not None and query is not None
    return Parser(found), QueryCursor(query)
