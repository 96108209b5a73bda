"""Finds in the index what helps at the cursor, and ranks it.

A cursor goes in, candidates with score and reason come out, the best first. Sources: definitions of what is used near the cursor, first those that
the file imports; the members of types and modules that are at hand; chunks with the rarest words of the place; files that import or test this one.
Each source's scores were set so that one list can be cut anywhere: 1 is a definition that is used on the cursor's line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import PurePosixPath
from time import perf_counter

from qwencoder_lsp.context.candidates import Candidate, Here
from qwencoder_lsp.context.imports import Import, imports, key
from qwencoder_lsp.context.outline import outline
from qwencoder_lsp.context.reading import Definition, Index
from qwencoder_lsp.context.usage import Usage, enclosing_class, type_of, usage
from qwencoder_lsp.core.languages import language_of

HEAD = 6000  # code points in which a file's imports stand
MOST_NAMES = 48  # words near the cursor that are looked up
AMBIGUOUS = 8  # definitions of a name; with more of them none is likely the one
COMMON_CHUNKS = 300  # a word in more chunks than these says nothing
RARE_WORDS = 12
BEST_CHUNKS = 6
CHUNK_LINES = 14  # around the words that were found
USER_LINES = 600  # of a file that imports this one
MEMBERS = 40
BODY_LINES = 40  # longer bodies are not worth their room
_TYPES = frozenset({"class", "interface", "enum", "type"})
_OWN = re.compile(r"\b(?:def|class|function|func|fn|struct|interface|trait|enum|type)\s+(\w+)")
_FAMILY = {"javascriptreact": "javascript", "typescript": "javascript", "typescriptreact": "javascript", "c": "cpp"}


class Retrieval:
    """One question to one index. late: the sources that were left out because the time was over."""

    def __init__(self, index: Index, here: Here, limit_s: float = math.inf) -> None:
        self._index = index
        self._here = here
        self._until = perf_counter() + limit_s
        self._usage: Usage = usage(here.text, here.offset)
        head = outline(here.text[: here.text.find("\n", HEAD) + 1 or None], here.language)
        self._own = {s.name for s in head.symbols} | set(_OWN.findall(here.text))
        self._imports: tuple[Import, ...] = imports(head.imports, here.language, here.path)
        self._bound: dict[str, tuple[int, str]] = {}  # name -> file, name there
        self._found: dict[tuple[str, int, int], Candidate] = {}
        self.late: list[str] = []

    def candidates(self) -> list[Candidate]:
        """Everything that was found in time, the best first."""
        self._resolve()
        sources: tuple[tuple[str, Callable[[], Iterable[Candidate]]], ...] = (
            ("types", self._types),
            ("imports", self._imported),
            ("definitions", self._definitions),
            ("terms", self._terms),
            ("neighbours", self._neighbours),
        )
        for name, source in sources:
            if perf_counter() > self._until:
                self.late.append(name)
                continue
            for candidate in source():
                self._keep(candidate)
        return sorted(self._found.values(), key=lambda c: -c.score)

    def _keep(self, candidate: Candidate) -> None:
        here = self._here
        if candidate.path == here.path and candidate.line < here.visible[1] and candidate.end > here.visible[0]:
            return
        known = self._found.get(candidate.place)
        if known is None or known.score < candidate.score:
            self._found[candidate.place] = candidate

    def _resolve(self) -> None:
        """Which of the file's imports are files of the workspace."""
        for item in self._imports:
            wanted = [(bound, name) for bound, name in item.names if bound not in self._bound]
            if (wanted or not item.names) and (file := self._index.imported(item.ends, self._here.path)) is not None:
                for bound, name in wanted:
                    self._bound[bound] = (file, name)
                if not item.names:
                    self._bound.setdefault(f"#{item.ends[0]}", (file, "*"))

    def _lookup(self, name: str) -> tuple[list[Definition], bool]:
        """The definitions that `name` may mean here, and whether an import says so."""
        if name in self._bound:
            file, original = self._bound[name]
            if original:
                return (self._index.definitions_in(file, original) or self._reexported(file, original)), True
            return [], True
        for file, original in self._bound.values():
            if original == "*" and (found := self._index.definitions_in(file, name)):
                return found, True
        found = self._index.definitions(name, AMBIGUOUS + 1)
        return ([] if len(found) > AMBIGUOUS else [d for d in found if self._related(d.path)]), False

    def _reexported(self, file: int, name: str) -> list[Definition]:
        """A name that an `__init__` or `index` file imports itself from elsewhere."""
        found = self._index.definitions(name, AMBIGUOUS + 1)
        return found if len(found) <= 3 else []

    def _related(self, path: str) -> bool:
        """Whether a file is of a language that this one can call."""
        mine, other = self._here.language, language_of(path)
        return _FAMILY.get(mine, mine) == _FAMILY.get(other, other)

    def _imported(self) -> Iterable[Candidate]:
        for bound, (file, original) in self._bound.items():
            weight = self._usage.words.get(bound, 0.0)
            if original and original != "*":
                score = 0.15 + 0.85 * min(1.0, weight)
                for definition in self._lookup(bound)[0][:3]:
                    yield self._candidate(definition, "imports", f"{bound} is imported", score)
            elif not original:
                for (receiver, member), near in self._usage.members.items():
                    if receiver == bound:
                        for definition in self._index.definitions_in(file, member, "")[:2]:
                            yield self._candidate(definition, "imports", f"{bound}.{member} is used", min(1.0, near))
                if bound == self._usage.receiver:
                    yield from self._module(file, f"a member of {bound} is being written", 1.5)
                elif weight:
                    yield from self._module(file, f"{bound} is imported", 0.5 * min(1.0, weight))

    def _types(self) -> Iterable[Candidate]:
        """The members of the types at hand: of the variable in front of the dot, of variables nearby, of the bases of the class around."""
        text, offset = self._here.text, self._here.offset
        own, bases = enclosing_class(text, offset)
        wanted: dict[str, tuple[float, str]] = {}
        receiver = self._usage.receiver
        if receiver in ("self", "this", "cls", "super"):
            for base in bases:
                wanted[base] = (1.4, f"a base of {own}")
        elif receiver and (name := type_of(receiver, text, offset)):
            wanted[name] = (1.5, f"{receiver} is one")
        elif receiver and receiver[:1].isupper():
            wanted[receiver.split(".")[-1]] = (1.4, "a member of it is being written")
        for base in bases:
            wanted.setdefault(base, (0.5, f"a base of {own}"))
        variables = sorted({(weight, receiver) for (receiver, _), weight in self._usage.members.items()}, reverse=True)
        for weight, variable in [
            *islice(variables, 8),
            *((w, v) for v, w in sorted(self._usage.words.items(), key=lambda i: -i[1])[:8] if v.islower()),
        ]:
            if variable not in self._bound and variable not in ("self", "this") and (name := type_of(variable, text, offset)):
                wanted.setdefault(name, (0.9 * min(1.0, weight), f"{variable} is one"))
        for name, (score, reason) in wanted.items():
            if name in self._own:
                continue
            definitions, sure = self._lookup(name)
            for definition in [d for d in definitions if d.kind in _TYPES][:2]:
                yield self._candidate(definition, "types", reason, score if sure else score * 0.7 / len(definitions))

    def _definitions(self) -> Iterable[Candidate]:
        """What is used near the cursor and defined in one of few places, by no import that we could follow."""
        words = sorted(self._usage.words.items(), key=lambda item: -item[1])
        for name, weight in islice((w for w in words if w[0] not in self._bound), MOST_NAMES):
            if len(name) < 4:  # a shorter one is a variable
                continue
            if name in self._own:
                yield from self._from_here(name, weight)
                continue
            definitions, sure = self._lookup(name)
            for definition in definitions:
                if definition.path != self._here.path and definition.kind not in ("field", "variable"):
                    score = min(1.0, weight) * (0.9 if sure else 0.55 / len(definitions) ** 0.7)
                    yield self._candidate(definition, "definitions", f"{name} is used", score)

    def _from_here(self, name: str, weight: float) -> Iterable[Candidate]:
        """The same document's own definitions, where they are out of sight. The index may be older than the text: it is taken from the index all
        the same."""
        file = self._index.file(self._here.path)
        if file is not None:
            for definition in self._index.definitions_in(file, name)[:1]:
                if definition.kind not in ("field", "variable"):
                    yield self._candidate(definition, "definitions", f"{name} is used", 0.7 * min(1.0, weight))

    def _terms(self) -> Iterable[Candidate]:
        """BM25 with each word counted once (Robertson and Zaragoza 2009): chunks are short and of one size."""
        count = max(self._index.count(), 1)
        scores: dict[int, float] = {}
        which: dict[int, list[str]] = {}
        words = sorted(((w, n) for n, w in self._usage.words.items() if len(n) > 3), key=lambda i: (-i[0], -len(i[1])))
        rare: list[tuple[float, str, list[int]]] = []
        for weight, name in words[:MOST_NAMES]:
            ids = self._index.with_word(name, COMMON_CHUNKS + 1)
            if 0 < len(ids) <= COMMON_CHUNKS:
                rare.append((weight * math.log(1 + (count - len(ids) + 0.5) / (len(ids) + 0.5)), name, ids))
        for value, name, ids in sorted(rare, reverse=True)[:RARE_WORDS]:
            for id_ in ids:
                scores[id_] = scores.get(id_, 0.0) + value
                which.setdefault(id_, []).append(name)
        best = sorted(scores, key=lambda i: -scores[i])[: 4 * BEST_CHUNKS]
        chunks = {c.id: c for c in self._index.chunks(best)} if best else {}
        top = math.log(1 + count) * 4  # four rare words on the cursor's line
        for id_ in [i for i in best if i in chunks and self._related(chunks[i].path) and len(which[i]) > 1][:BEST_CHUNKS]:
            chunk, names = chunks[id_], which[id_]
            first, lines = _densest(chunk.text.split("\n")[:-1], names)
            text = "".join(line + "\n" for line in lines)
            reason = "has " + ", ".join(names[:4])
            line = chunk.line + first
            yield Candidate(chunk.path, line, line + len(lines), "terms", reason, min(0.6, 0.6 * scores[id_] / top), text)

    def _neighbours(self) -> Iterable[Candidate]:
        """The test of this file or what this test is about, and how those who import it use what is near the cursor."""
        names = [name for name in self._usage.words if name in self._own][:8]
        for file, other in self._index.importers(self._here.path, 3) if names else ():
            text = self._index.text(file, 0, USER_LINES)
            used = [name for name in names if name in text]
            if used and self._related(other):
                first, lines = _densest(text.split("\n")[:-1], used)
                reason = "uses " + ", ".join(used[:4])
                yield Candidate(other, first, first + len(lines), "neighbours", reason, 0.35, "".join(line + "\n" for line in lines))
        path = PurePosixPath(self._here.path)
        stem = key(self._here.path)
        bare = stem.removeprefix("test_").removesuffix("_test").removesuffix("Test").removesuffix("_spec")
        wanted = [bare] if bare != stem else [f"test_{stem}", f"{stem}_test", f"{stem}Test", f"{stem}_spec"]
        if ".test." in path.name or ".spec." in path.name:
            wanted = [stem]
        for file, other in self._index.named(wanted):
            if other != self._here.path and self._related(other):
                yield from self._module(file, "test of this file" if bare == stem else "what this test is about", 0.3)
                break

    def _module(self, file: int, reason: str, score: float) -> Iterable[Candidate]:
        """The heads of what a file defines at its top."""
        top = self._index.definitions_in(file, container="", limit=MEMBERS)
        heads = [d for d in top if d.kind not in ("variable", "constant", "macro", "field")] or top[:8]
        if heads:
            text = "".join(_head(d, "") for d in heads)
            yield Candidate(heads[0].path, heads[0].line, heads[-1].end, "types", reason, score, text, text)

    def _candidate(self, definition: Definition, source: str, reason: str, score: float) -> Candidate:
        short = self._members(definition) if definition.kind in _TYPES else _head(definition, "")
        whole = definition.end - definition.line <= BODY_LINES
        text = self._index.text(definition.file, definition.line, definition.end) if whole else short
        return Candidate(definition.path, definition.line, definition.end, source, reason, score, text, short)

    def _members(self, definition: Definition) -> str:
        container = f"{definition.container}.{definition.name}" if definition.container else definition.name
        inner = self._index.definitions_in(definition.file, container=container, limit=MEMBERS)
        return _head(definition, "") + "".join(_head(d, "    ") for d in inner if not d.name.startswith("_") or d.name == "__init__")


def _head(definition: Definition, indent: str) -> str:
    doc = (
        f"  # {definition.doc}"
        if definition.doc and definition.path.endswith((".py", ".pyi"))
        else f"  // {definition.doc}"
        if definition.doc
        else ""
    )
    return f"{indent}{definition.signature}{doc}\n"


def _densest(lines: Sequence[str], names: Sequence[str]) -> tuple[int, list[str]]:
    """The CHUNK_LINES lines with most of the names, and where they begin."""
    if len(lines) <= CHUNK_LINES:
        return 0, list(lines)
    lower = [name.lower() for name in names]
    counts = [sum(name in line.lower() for name in lower) for line in lines]
    start = max(range(len(lines) - CHUNK_LINES + 1), key=lambda i: sum(counts[i : i + CHUNK_LINES]))
    return start, list(lines[start : start + CHUNK_LINES])
