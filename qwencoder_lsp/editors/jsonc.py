"""JSON with comments, as editors keep their settings: one value is set, and everything else stays as it is, to the byte. Pure."""

from __future__ import annotations

import json
from typing import Any

from tree_sitter import Node, Parser

from qwencoder_lsp.errors import RequestError
from qwencoder_lsp.grammars import grammar

INDENT = "  "


def put(text: str, path: tuple[str, ...], value: Any) -> str:
    """The document with `value` at the keys of `path`, objects made on the way. Raises RequestError when it is not JSON with comments."""
    source = text if text.strip() else "{\n}\n"
    found = _object(source)
    for depth, key in enumerate(path):
        members = {_key(source, pair): pair for pair in _pairs(found)}
        if key not in members:
            return _insert(source, found, key, _nested(path[depth + 1 :], value), depth + 1)
        held = members[key].child_by_field_name("value")
        assert held is not None
        if depth < len(path) - 1 and held.type == "object":
            found = held
            continue
        wanted = _nested(path[depth + 1 :], value)
        if _value(source, held) == wanted:
            return source
        return _replaced(source, held.start_byte, held.end_byte, _dump(wanted, depth + 1))
    return source


def get(text: str, path: tuple[str, ...]) -> Any:
    """The value at the keys of `path`, or None."""
    found: Any = _value(text, _object(text)) if text.strip() else None
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _object(text: str) -> Node:
    """The object that the document is. Byte offsets are those of `(text)` less one, see _bytes."""
    language = grammar("javascript")
    assert language is not None
    root = Parser(language).parse(_bytes(text)).root_node
    statement = next((node for node in root.named_children if node.type == "expression_statement"), None)
    inner = statement.named_children[0] if statement and statement.named_children else None
    objects = [node for node in inner.named_children if node.type == "object"] if inner and inner.type == "parenthesized_expression" else []
    if root.has_error or len(objects) != 1:
        raise RequestError("It is not JSON with comments.", "Correct it in the editor, then try again.")
    return objects[0]


def _bytes(text: str) -> bytes:
    return f"({text}\n)".encode()


def _text(text: str, node: Node) -> str:
    return _bytes(text)[node.start_byte : node.end_byte].decode()


def _pairs(node: Node) -> list[Node]:
    return [child for child in node.named_children if child.type == "pair"]


def _key(text: str, pair: Node) -> str:
    key = pair.child_by_field_name("key")
    return str(json.loads(_text(text, key))) if key is not None and key.type == "string" else ""


def _value(text: str, node: Node) -> Any:
    if node.type == "object":
        return {_key(text, pair): _value(text, value) for pair in _pairs(node) if (value := pair.child_by_field_name("value"))}
    if node.type == "array":
        return [_value(text, child) for child in node.named_children if child.type != "comment"]
    try:
        return json.loads(_text(text, node))
    except ValueError:
        raise RequestError("It is not JSON with comments.", "Correct it in the editor, then try again.") from None


def _insert(text: str, into: Node, key: str, value: Any, depth: int) -> str:
    pairs = _pairs(into)
    member = f"{INDENT * depth}{json.dumps(key)}: {_dump(value, depth)}"
    brace = into.end_byte - 1
    if not pairs:
        inside = _bytes(text)[into.start_byte + 1 : brace].decode().rstrip()
        return _replaced(text, into.start_byte + 1, brace, f"{inside}\n{member}\n{INDENT * (depth - 1)}")
    last = pairs[-1].end_byte
    rest = _bytes(text)[last:brace].decode()
    comma = "" if any(child.type == "," and child.start_byte >= last for child in into.children) else ","
    return _replaced(text, last, brace, f"{comma}{rest.rstrip()}\n{member}\n{INDENT * (depth - 1)}")


def _replaced(text: str, start: int, end: int, new: str) -> str:
    """The text with the bytes from start to end of its parsed form replaced; the line endings stay those of the file."""
    newline = "\r\n" if "\r\n" in text else "\n"
    whole = text.encode()
    return (whole[: start - 1] + new.replace("\r\n", "\n").replace("\n", newline).encode() + whole[end - 1 :]).decode()


def _nested(path: tuple[str, ...], value: Any) -> Any:
    for key in reversed(path):
        value = {key: value}
    return value


def _dump(value: Any, depth: int) -> str:
    """The value as JSON, its lines after the first indented by `depth`; lists stay on one line."""
    if isinstance(value, dict) and value:
        members = (f"{INDENT * (depth + 1)}{json.dumps(key)}: {_dump(held, depth + 1)}" for key, held in value.items())
        return "{\n" + ",\n".join(members) + f"\n{INDENT * depth}}}"
    return json.dumps(value, ensure_ascii=False)
