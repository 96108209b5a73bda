"""The places: what a document would look like while somebody types, by a rule per kind. Nothing is chosen by hand.

Silence is right where everything is there already or where prose is written; a suggestion is right where code was taken away.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from tree_sitter import Node

from tests.bench.sources.files import MINIFIED_LINE, Source
from tests.bench.sources.parsed import Parsed

ABOVE = 10  # lines before a place, so that there is something to go by
FEW_BEFORE = 1_000  # characters of a generated file, whose lines may be long
LONGEST_BLOCK = 30  # lines of a block that is taken away
REMOVED = 80  # characters that are taken out of a line that has no end


@dataclass(frozen=True, slots=True)
class Cut:
    """Where the cursor is. Text up to `until` is not there yet; `inserted` is what an editor puts behind the cursor by itself."""

    at: int
    until: int
    inserted: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A document with a cursor. truth: what was at the cursor and was taken away; wanted: whether a suggestion is right here."""

    id: str
    kind: str
    wanted: bool
    language: str
    path: str
    prefix: str
    suffix: str
    truth: str


Rule = Callable[[Parsed], Iterator[Cut]]


def _here(at: int) -> Cut:
    return Cut(at, at)


# --- where silence is right


def _comment_lines(p: Parsed, least: int) -> Iterator[tuple[int, int, int]]:
    for row in sorted(p.comment_rows):
        if words := p.prose(row, least):
            yield row, *words


def comment_inside(p: Parsed) -> Iterator[Cut]:
    """Behind a word of a comment's sentence that goes on."""
    for _, start, end in _comment_lines(p, 8):
        yield _here(p.middle_word(start, end))


def comment_typed(p: Parsed) -> Iterator[Cut]:
    """In the middle of a comment's sentence that is being written: the rest of the line is not there yet."""
    for row, start, end in _comment_lines(p, 8):
        yield Cut(p.middle_word(start, end), p.end(row))


def comment_end(p: Parsed) -> Iterator[Cut]:
    """At the end of a finished comment, in front of the code that it is about."""
    for row in sorted(p.comment_rows):
        following = row + 1 < len(p.lines) and p.lines[row + 1].strip() and row + 1 not in p.comment_rows
        if following and (p.prose(row, 4) or p.lines[row].strip() == "*/"):
            yield _here(p.end(row))


def _strings(p: Parsed) -> Iterator[Node]:
    for node in p.nodes:
        if node.type in {"string", "string_literal", "interpreted_string_literal"}:
            yield node


def _string_lines(p: Parsed, least: int) -> Iterator[tuple[int, int, int]]:
    """The lines of prose in strings: (where the line's part of the string's text ends, where the words begin, where they end)."""
    for node in _strings(p):
        first, last = node.start_point.row, node.end_point.row
        quote = 3 if p.text.startswith(('"""', "'''"), node.end_byte - 3) else 1
        for row in range(first, last + 1):
            content = p.text[p.start(row) : p.end(row)]
            start = node.start_byte + quote if row == first else p.start(row) + len(content) - len(content.lstrip())
            end = node.end_byte - quote if row == last else p.end(row)
            if words := p.words(start, end, least):
                yield end, *words


def string_inside(p: Parsed) -> Iterator[Cut]:
    """Behind a word of a message or docstring that goes on."""
    for _, start, end in _string_lines(p, 5):
        yield _here(p.middle_word(start, end))


def string_typed(p: Parsed) -> Iterator[Cut]:
    """In the middle of a message or docstring that is being written; the closing quote stands there already."""
    for stop, start, end in _string_lines(p, 5):
        yield Cut(p.middle_word(start, end), stop)


def statement_end(p: Parsed) -> Iterator[Cut]:
    """At the end of a finished line, when the next one goes on as deep or less deep."""
    for node in p.nodes:
        if not (node.type.endswith("statement") or "declaration" in node.type) or p.statement(node) != node:
            continue
        row = node.start_point.row
        if row + 1 < len(p.lines) and p.lines[row + 1].strip() and p.indent(row + 1) <= p.indent(row):
            yield _here(p.start(row) + len(p.lines[row].rstrip()))


def block_end(p: Parsed) -> Iterator[Cut]:
    """Behind the bracket that closes a finished block; in Python, one that closes a call or a literal of several lines."""
    closing = {")", "]", "}"} if p.source.language == "python" else {"}", "};", "})", "});"}
    for row, line in enumerate(p.lines):
        if line.strip() in closing and row not in p.comment_rows:
            yield _here(p.start(row) + len(line.rstrip()))


def file_end(p: Parsed) -> Iterator[Cut]:
    """At the end of a finished file."""
    yield _here(len(p.text))


def word_inside(p: Parsed) -> Iterator[Cut]:
    """Inside a name."""
    for node in p.nodes:
        if node.type.endswith("identifier") and not node.children and node.end_byte - node.start_byte >= 6:
            yield _here((node.start_byte + node.end_byte) // 2)


def generated(p: Parsed) -> Iterator[Cut]:
    """In a file that a program wrote, where in another one a suggestion would be right."""
    for found in re.finditer(r"[=(.,][ ]?(?=\w)", p.text):
        row = p.row(found.start())
        long = len(p.lines[row]) > MINIFIED_LINE
        yield Cut(found.end(), found.end() + REMOVED if long else p.end(row))


# --- where a suggestion is right


def _rest(p: Parsed, node: Node) -> Cut | None:
    """The cursor behind a token and its space, with the rest of the line not there yet."""
    row = node.start_point.row
    if p.statement(node) is None:
        return None
    at = node.end_byte + (p.text[node.end_byte : node.end_byte + 1] == " ")
    return Cut(at, p.end(row)) if p.text[at : p.end(row)].strip(" ;") else None


def _behind(tokens: set[str], parents: str) -> Rule:
    """Behind one of the tokens, when what it stands in is of a type that has one of these words in its name."""
    words = re.compile(parents)

    def rule(p: Parsed) -> Iterator[Cut]:
        for node in p.nodes:
            if node.type in tokens and node.parent and words.search(node.parent.type) and (cut := _rest(p, node)):
                yield cut

    return rule


after_assign = _behind({"=", ":=", "+="}, "assign|declar|let")
after_return = _behind({"return"}, "return")
after_paren = _behind({"("}, "arguments|argument_list")
after_dot = _behind({".", "->", "::"}, "attribute|member|field|selector|scoped|qualified|access|invocation")
after_operator = _behind({"+", "-", "*", "/", "%", "==", "!=", "<", ">", "<=", ">=", "&&", "||", "and", "or"}, "binary|boolean|comparison")


def word_end(p: Parsed) -> Iterator[Cut]:
    """Behind the first half of a name, with the rest of the line not there yet."""
    for node in p.nodes:
        if node.type.endswith("identifier") and not node.children and node.end_byte - node.start_byte >= 6:
            row = node.start_point.row
            if p.statement(node) is not None and p.lines[row][: node.start_point.column].strip():
                yield Cut((node.start_byte + node.end_byte) // 2, p.end(row))


def argument_closer(p: Parsed) -> Iterator[Cut]:
    """In an argument list that was just opened; the editor has inserted the bracket that closes it."""
    for node in p.nodes:
        if node.type in {"arguments", "argument_list"} and node.end_byte - node.start_byte > 3 and p.text[node.start_byte] == "(":
            row = node.start_point.row
            if p.statement(node) is not None and p.text[node.end_byte : p.end(row)].strip() in {"", ";"}:
                yield Cut(node.start_byte + 1, p.end(row), ")")


def _blocks(p: Parsed) -> Iterator[tuple[Node, list[Node]]]:
    """Blocks that are not too long, with their statements."""
    for node in p.nodes:
        if node.type in {"block", "compound_statement", "statement_block"} and node.end_point.row - node.start_point.row <= LONGEST_BLOCK:
            inner = node.named_children
            if len(inner) == 1 and inner[0].type == "statement_list":
                inner = inner[0].named_children
            if inner and all(p.lines[n.start_point.row][: n.start_point.column].strip() == "" for n in inner):
                yield node, inner


def body_begun(p: Parsed) -> Iterator[Cut]:
    """On an empty, indented line in a block whose further statements are not there yet."""
    for _, inner in _blocks(p):
        if len(inner) >= 3:
            yield Cut(inner[len(inner) // 2].start_byte, p.end(inner[-1].end_point.row))


def block_opened(p: Parsed) -> Iterator[Cut]:
    """Behind what opens a block that is empty."""
    for node, inner in _blocks(p):
        row = inner[0].start_point.row - 1
        opener = p.lines[row].rstrip()
        if row >= (node.parent or node).start_point.row and opener.endswith(("{", ":")):
            yield Cut(p.start(row) + len(opener), p.end(inner[-1].end_point.row))


SILENCE: dict[str, Rule] = {
    rule.__name__: rule
    for rule in (
        comment_inside,
        comment_typed,
        comment_end,
        string_inside,
        string_typed,
        statement_end,
        block_end,
        file_end,
        word_inside,
        generated,
    )
}
WANTED: dict[str, Rule] = {
    "after_assign": after_assign,
    "after_return": after_return,
    "after_paren": after_paren,
    "after_dot": after_dot,
    "after_operator": after_operator,
    "word_end": word_end,
    "argument_closer": argument_closer,
    "body_begun": body_begun,
    "block_opened": block_opened,
}


@lru_cache(maxsize=512)
def _parsed(source: Source) -> Parsed:
    return Parsed(source)


def _cell(kind: str, rule: Rule, sources: Iterable[Source], seed: int) -> Iterator[Place]:
    """Places of one kind in files of one language: one of each file, as often as there are files."""
    draw = random.Random(f"{seed} {kind}")  # noqa: S311 - a choice of places
    files = [source for source in sources if source.made == (kind == "generated")]
    draw.shuffle(files)
    for source in files:
        p = _parsed(source)
        cuts = [cut for cut in rule(p) if _usable(p, cut, kind)]
        if cuts:
            yield _place(source, kind, draw.choice(cuts))


def _usable(p: Parsed, cut: Cut, kind: str) -> bool:
    if kind == "generated":
        return cut.at > FEW_BEFORE
    return p.row(cut.at) >= ABOVE and (kind not in WANTED or bool(re.search(r"\w", p.text[cut.at : cut.until])))


def _place(source: Source, kind: str, cut: Cut) -> Place:
    removed = source.text[cut.at : cut.until]
    return Place(
        f"{kind} {source.id}:{cut.at}",
        kind,
        kind in WANTED,
        source.language,
        source.path,
        source.text[: cut.at],
        cut.inserted + source.text[cut.until :],
        removed.rpartition(cut.inserted)[0] if cut.inserted else removed,
    )


def choose(sources: Iterable[Source], rules: dict[str, Rule], count: int, seed: int) -> list[Place]:
    """`count` places, the kinds in turn and each kind's languages in turn; fewer when there are no more."""
    by_language: dict[str, list[Source]] = {}
    for source in sources:
        by_language.setdefault(source.language, []).append(source)
    languages = sorted(by_language)
    cells = {(kind, language): _cell(kind, rule, by_language[language], seed) for kind, rule in rules.items() for language in languages}
    found: list[Place] = []
    turn, before = 0, -1
    while before < len(found) < count:
        before = len(found)
        for number, kind in enumerate(rules):
            order = (languages[(number + turn + i) % len(languages)] for i in range(len(languages)))
            found += itertools.islice((place for language in order if (place := next(cells[kind, language], None))), 1)
        turn += 1
    return found[:count]
