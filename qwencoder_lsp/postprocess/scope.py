"""What a place in a text is part of: code, a comment, or a string. By the syntax tree where there is one, else by the line's own characters. Pure."""

from __future__ import annotations

from enum import Enum

from tree_sitter import Node

from qwencoder_lsp.core.languages import language
from qwencoder_lsp.postprocess.tree import Parsed

LOOK_BACK = 4000  # code points in which the opening of a comment is looked for


class Scope(str, Enum):
    """PROSE: a comment, or a string of several lines that stands alone (a docstring)."""

    CODE = "code"
    STRING = "string"
    PROSE = "prose"


_COMMENTS = frozenset({"comment", "line_comment", "block_comment", "doc_comment", "html_comment", "js_comment"})
_STRINGS = frozenset(
    {
        "string",
        "string_literal",
        "string_value",
        "template_string",
        "interpreted_string_literal",
        "raw_string_literal",
        "raw_string",
        "verbatim_string_literal",
        "interpolated_string_expression",
        "character_literal",
        "char_literal",
        "encapsed_string",
        "ansi_c_string",
        "translated_string",
        "heredoc_body",
        "nowdoc_string",
        "system_lib_string",
        "bare_string",
    }
)
_CODE_INSIDE = frozenset(
    {"interpolation", "template_substitution", "string_interpolation", "template_expression", "command_substitution", "expansion", "simple_expansion"}
)
_QUOTES = "\"'`"


def scope_at(text: str, offset: int, id_: str, parsed: Parsed | None) -> Scope:
    """The scope of the cursor at `offset` in `text`. id_: the LSP language id; parsed: the tree of this very text around it, if there is one."""
    if parsed is not None:
        found = _in_tree(parsed.root, parsed.byte_at(text, offset), parsed.source)
        if found is not None and not (found is Scope.CODE and parsed.root.has_error):  # what is being typed may be an open string
            return found
    return _on_line(text, offset, id_)


def _in_tree(root: Node, at: int, source: bytes) -> Scope | None:
    """None where the text cannot be parsed."""
    if not at:
        return Scope.CODE
    node: Node | None = root.descendant_for_byte_range(at - 1, at)
    while node is not None:
        if node.is_error and node.parent is not None:
            return None
        if node.type in _CODE_INSIDE and node.start_byte < at < node.end_byte:
            return Scope.CODE
        if node.type in _COMMENTS and node.start_byte < at and (at < node.end_byte or not source.endswith((b"*/", b"-->"), 0, node.end_byte)):
            return Scope.PROSE
        if node.type in _STRINGS and node.start_byte < at < node.end_byte:
            alone = node.parent is not None and node.parent.type == "expression_statement"
            return Scope.PROSE if alone else Scope.STRING
        node = node.parent
    return Scope.CODE


def _on_line(text: str, offset: int, id_: str) -> Scope:
    known = language(id_)
    if known is None:
        return Scope.CODE
    for opened, closed in known.block:
        begin = text.rfind(opened, max(0, offset - LOOK_BACK), offset)
        if begin >= 0 and text.find(closed, begin + len(opened), offset) < 0:
            return Scope.PROSE
    line = text[text.rfind("\n", 0, offset) + 1 : offset]
    quote = ""
    i = 0
    while i < len(line):
        char = line[i]
        if quote:
            if char == "\\":
                i += 1
            elif char == quote:
                quote = ""
        elif char in _QUOTES and not (i and line[i - 1].isalnum() and char == "'"):  # the apostrophe of a word or a lifetime opens nothing
            quote = char
        elif any(line.startswith(leader, i) and (len(leader) > 1 or not i or line[i - 1] in " \t") for leader in known.line):
            return Scope.PROSE
        i += 1
    return Scope.STRING if quote else Scope.CODE
