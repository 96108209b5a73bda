"""The secrets of a conversation as numbered placeholders, and back again.

The texts of a conversation go in, the same texts with `<secret:KIND-N>` in place of each secret come out; an answer in which a placeholder was kept
gets its secret back. A secret that was seen once is known wherever it stands later, by the same number: texts that begin alike still do. Pure.
"""

from __future__ import annotations

import json
import re
from typing import Any

from qwencoder_lsp.context.secrets import find
from qwencoder_lsp.core.prompt import SECRET_PLACEHOLDER

LEAST = 6  # characters; a shorter password may be an ordinary word elsewhere


class Mask:
    """The secrets that were hidden so far."""

    def __init__(self) -> None:
        self._taken: set[str] = set()  # placeholders that are words of a text itself
        self._names: dict[str, str] = {}

    def hidden(self, text: str) -> str:
        """`text` with placeholders, line by line, so that it has as many lines as before."""
        if not self._names:
            self._taken.update(SECRET_PLACEHOLDER.findall(text))
        text = self._without_known(text)
        parts: list[str] = []
        at = 0
        for secret in find(text):
            parts.append(text[at : secret.span.start])
            pieces = re.split(r"(\s*\n\s*)", secret.span.of(text))
            parts += [self._name(secret.kind, piece) if piece.strip() else piece for piece in pieces]
            at = secret.span.end
        return "".join((*parts, text[at:])) if parts else text

    def hidden_json(self, document: str) -> str:
        """The strings of a JSON document with placeholders for the secrets that are known by now."""
        return json.dumps(self._known(json.loads(document)))

    def revealed(self, text: str, *, json_text: bool = False) -> str:
        """`text` with the secrets in place of their placeholders. json_text: they stand in strings of JSON."""
        for value, name in self._names.items():
            text = text.replace(name, json.dumps(value)[1:-1] if json_text else value)
        return text

    def _known(self, node: Any) -> Any:
        if isinstance(node, dict):
            return {key: self._known(value) for key, value in node.items()}
        if isinstance(node, list):
            return [self._known(value) for value in node]
        if isinstance(node, str):
            return self._without_known(node)
        return node

    def _without_known(self, text: str) -> str:
        for value in sorted(self._names, key=len, reverse=True):
            if len(value) >= LEAST:
                text = text.replace(value, self._names[value])
        return text

    def _name(self, kind: str, value: str) -> str:
        if value not in self._names:
            number = len(self._names) + 1
            while (name := f"<secret:{kind}-{number}>") in self._taken:
                number += 1
            self._taken.add(name)
            self._names[value] = name
        return self._names[value]
