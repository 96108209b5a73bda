"""Chooses from ranked candidates what fits a token budget, and keeps the choice while it is good.

Candidates go in, snippets come out, and what was left out. Pure. Tokens are estimated by characters here: the exact cut is made where the tokenizer
is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from qwencoder_lsp.context.candidates import Candidate
from qwencoder_lsp.core.prompt import Snippet

PER_TOKEN = 3.2  # characters of source code per token, rather too few than too many
FILE_TOKENS = 12  # the mark and the path of a further file
LEAST = 0.12  # a piece of a lower score is not worth reading
WHOLE = 0.5  # from this score on the whole of a definition may take the place of its head
KEEP = 0.75  # a pack stays while it has this share of the value of the best one


@dataclass(frozen=True, slots=True)
class Pack:
    """What goes into the prompt, the most valuable first. left_out: what was worth it, but had no room."""

    snippets: tuple[Snippet, ...] = ()
    chosen: tuple[Candidate, ...] = ()
    left_out: tuple[Candidate, ...] = ()


def tokens(text: str) -> int:
    """About how many tokens a text has."""
    return int(len(text) / PER_TOKEN) + 1


def pack(candidates: Sequence[Candidate], budget: int) -> Pack:
    """The best of `candidates`, which come the best first, in `budget` tokens.

    First the heads in the order of their scores, then whole definitions in the place of heads while there is room. No line comes twice.
    """
    taken: list[Candidate] = []
    out: list[Candidate] = []
    left = budget
    for candidate in candidates:
        if candidate.score < LEAST or any(_overlap(candidate, other) for other in taken):
            continue
        size = tokens(candidate.short or candidate.text) + (0 if any(c.path == candidate.path for c in taken) else FILE_TOKENS)
        if size <= left:
            taken.append(candidate)
            left -= size
        else:
            out.append(candidate)
    texts = [c.short or c.text for c in taken]
    for number, candidate in enumerate(taken):
        more = tokens(candidate.text) - tokens(texts[number])
        if candidate.score >= WHOLE and candidate.short and 0 < more <= left:
            texts[number] = candidate.text
            left -= more
    return Pack(_snippets(taken, texts), tuple(taken), tuple(out))


def follow(old: Pack, new: Pack, candidates: Sequence[Candidate]) -> Pack:
    """The pack to use next: the old one while it is still good, so that what the model has read stays; otherwise the new one, with the snippets
    that both have in their old order first.

    Good means: its pieces have, by today's scores, KEEP of the value of the new one.
    """
    today = {c.place: c.score for c in reversed(candidates)}
    value = sum(today.get(c.place, 0.0) for c in old.chosen)
    if old.snippets and value >= KEEP * sum(c.score for c in new.chosen):
        return old
    same = {s.id: s for s in new.snippets}
    first = [same.pop(s.id) for s in old.snippets if s.id in same]
    return replace(new, snippets=(*first, *same.values()))


def _snippets(taken: Sequence[Candidate], texts: Sequence[str]) -> tuple[Snippet, ...]:
    """One snippet per file, its pieces in the order of their lines."""
    by_file: dict[str, list[tuple[Candidate, str]]] = {}
    for candidate, text in zip(taken, texts, strict=True):
        by_file.setdefault(candidate.path, []).append((candidate, text))
    out = []
    for path, pieces in by_file.items():
        pieces.sort(key=lambda p: p[0].line)
        text = "\n".join(piece.rstrip("\n") + "\n" for _, piece in pieces)
        best = max((c for c, _ in pieces), key=lambda c: c.score)
        out.append(Snippet(blake2b(f"{path}\0{text}".encode(), digest_size=8).hexdigest(), path, text, best.source, round(best.score, 3)))
    return tuple(out)


def _overlap(a: Candidate, b: Candidate) -> bool:
    return a.path == b.path and a.line < b.end and b.line < a.end
