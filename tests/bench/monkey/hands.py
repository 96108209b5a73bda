"""Random hands on a keyboard: edits, jumps, requests, cancellations, files and settings, all drawn from one seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tests.bench.monkey.judge import INLINE, MENU, Asked, Judge
from tests.bench.monkey.listening import Listening
from tests.bench.monkey.mirror import Mirror

FILES = (("a.py", "python"), ("b.js", "javascript"), ("c.go", "go"), ("d.txt", "plaintext"), ("new file %é😀.py", "python"))
KEYS = "abcxyz_ ()[]{}=.:,\"'+-0129\t#é😀ßλ𠀀"
SNIPPETS = (
    "def total(items):\n    return sum(items)\n", "if (a) {\r\n    b();\r\n}\r\n", "x = 1\r", "😀", "a\r\nb\nc\rd", "\n\n", "\u2028\x0b\x85",
    "e\u0301", "𠀀 = '𠀁'  # 𠀂\n", "<|fim_middle|>", "    ", "for i in range(10):\n", "\ufeff", "名前 = 値\n", "{", ")", "\"", "0" * 300,
)  # fmt: skip
STARTS = ("", "import os\n\n\ndef main():\n    \n", "a\r\nb\r\n", "x = 1\ny = 2\r\nz = 3\rw = 4", "# 😀\nvalue = compute(𠀀)\n" * 30)
LONGEST = 12_000  # code points; longer documents are cut back
SECTIONS: tuple[dict[str, Any], ...] = (
    {"completion": {"enabled": False}}, {"completion": {"automatic": False}}, {}, {}, {"completion": {"eagerness": "eager"}},
    {"completion": {"eagerness": "quiet"}}, {"completion": {"maxLines": 1}}, {"completion": {"ahead": False}}, {"completion": {"debounceMs": 0}},
    {"completion": {"items": False}}, {"completion": {"languagesOff": ["go"]}}, {"completion": {"maxTokens": 4}}, {}, {}, {}, {}, {},
)  # fmt: skip


class Hands:
    """Does one random thing after another. `settings` is what the client would answer to workspace/configuration."""

    def __init__(self, client: Listening, judge: Judge, draw: random.Random) -> None:
        self.client = client
        self.judge = judge
        self.settings: dict[str, Any] = {}
        self.documents: dict[str, Mirror] = {}
        self.done = 0
        self._draw = draw
        self._sent = 0
        self._current = ""
        self._table: list[tuple[int, Callable[[], None]]] = [
            (40, self._type), (6, self._newline), (8, self._delete), (4, self._delete_much), (4, self._paste), (4, self._undo), (5, self._jump),
            (4, self._burst), (10, self._rest), (3, self._switch), (1, self._close), (1, self._reopen), (2, self._cancel), (1, self._configure),
            (14, self._ask_here), (3, self._ask_menu), (2, self._ask_anywhere), (2, self._ask_chosen), (5, self._take), (3, self._take_part),
            (3, self._dismiss), (2, self._ask_else), (2, self.compare), (1, self._save),
        ]  # fmt: skip
        for name, language in FILES[:2]:
            self._open(f"file:///srv/{name}", language)

    def act(self) -> None:
        """One action."""
        self.done += 1
        weights, actions = zip(*self._table, strict=True)
        self._draw.choices(actions, weights)[0]()

    def compare(self) -> None:
        """Have the server's copy of the document checked."""
        document = self._document
        digest, version = document.digest, document.version
        answer = self.client.answer(self._request("qwencoder/document", {"uri": document.uri}, Asked(0, "qwencoder/document")))
        found = answer.get("result") or {}
        if (found.get("sha256"), found.get("version")) != (digest, version):
            self.judge.fault("the server's document differs", f"{document.uri} version {version}: {found}; {document.text[:200]!r}")

    @property
    def _document(self) -> Mirror:
        return self.documents[self._current]

    def _notify(self, method: str, params: dict[str, Any]) -> int:
        self._sent += 1
        self.client.notify(method, params)
        return self._sent

    def _request(self, method: str, params: Any, asked: Asked) -> int:
        self._sent += 1
        asked.number, asked.method = self._sent, method
        id_ = next(self.client.ids)
        self.judge.waiting[id_] = asked  # before it is sent: the answer may be quicker than we are
        self.client.send({"id": id_, "method": method, "params": params})
        return id_

    def _change(self, *events: dict[str, Any]) -> None:
        document = self._document
        document.version += 1
        self.judge.changed(document.uri, self._sent + 1)
        name = {"uri": document.uri, "version": document.version}
        self._notify("textDocument/didChange", {"textDocument": name, "contentChanges": list(events)})
        if len(document.text) > LONGEST:
            self._change(document.edit(0, document.place(len(document.text) // 2), ""))

    def _open(self, uri: str, language: str) -> None:
        document = self.documents[uri] = Mirror(uri, language, self._draw.choice(STARTS), self.judge.encoding)
        document.cursor = document.place(len(document.text))
        item = {"uri": uri, "languageId": language, "version": 1, "text": document.text}
        self._notify("textDocument/didOpen", {"textDocument": item})
        self._current = uri

    def _type(self) -> None:
        for _ in range(self._draw.randint(1, 6)):
            document = self._document
            key = self._continued() if self._draw.random() < 0.4 else self._draw.choice(KEYS)
            self._change(document.edit(document.cursor, document.cursor, key))
            if self._draw.random() < 0.7:
                self._ask_here()
            if self._draw.random() < 0.1:
                self._cancel()

    def _continued(self) -> str:
        """The next character of what was suggested, if it is still there."""
        document, offer = self._document, self.judge.offers.get(self._current)
        if offer and document.text[offer.start : document.cursor] == offer.text[: max(0, document.cursor - offer.start)]:
            return offer.text[document.cursor - offer.start :][:1] or ")"
        return self._draw.choice(KEYS)

    def _newline(self) -> None:
        document = self._document
        end = "\r\n" if "\r\n" in document.text else "\n"
        self._change(document.edit(document.cursor, document.cursor, end + " " * self._draw.choice((0, 4, 8))))
        self._ask_here()

    def _delete(self) -> None:
        document = self._document
        for _ in range(self._draw.randint(1, 4)):
            self._change(document.edit(document.place(document.cursor - 1), document.cursor, ""))
            if self._draw.random() < 0.4:
                self._ask_here()

    def _delete_much(self) -> None:
        document = self._document
        start, end = sorted(document.place(self._draw.randint(0, len(document.text))) for _ in range(2))
        self._change(document.edit(start, min(end, document.place(start + 200)), ""))

    def _paste(self) -> None:
        document = self._document
        self._change(document.edit(document.cursor, document.place(document.cursor + self._draw.choice((0, 0, 3))), self._draw.choice(SNIPPETS)))
        self._ask_here()

    def _undo(self) -> None:
        document = self._document
        if document.history:
            self._change(document.replace(document.history.pop(-self._draw.randint(1, min(5, len(document.history))))))
            self._ask_here()

    def _jump(self) -> None:
        document = self._document
        document.cursor = document.place(self._draw.randint(0, len(document.text)))

    def _rest(self) -> None:
        """Look at what comes."""
        self._ask_here()
        self.client.settle(0)

    def _burst(self) -> None:
        """Several changes in one notification; each counts from the text that the one before it left."""
        document = self._document
        events = []
        for _ in range(self._draw.randint(2, 5)):
            start = document.place(self._draw.randint(0, len(document.text)))
            events.append(document.edit(start, document.place(start + self._draw.randint(0, 5)), self._draw.choice((*SNIPPETS, *KEYS))))
        self._change(*events)

    def _switch(self) -> None:
        self._current = self._draw.choice(list(self.documents))

    def _close(self) -> None:
        if len(self.documents) > 1:
            uri, self._current = self._current, next(u for u in self.documents if u != self._current)
            del self.documents[uri]
            self.judge.offers.pop(uri, None)
            self.judge.changed(uri, self._sent + 1)
            self._notify("textDocument/didClose", {"textDocument": {"uri": uri}})

    def _reopen(self) -> None:
        name, language = self._draw.choice(FILES)
        scheme = self._draw.choice(("file:///srv/", "untitled:"))
        if f"{scheme}{name}" not in self.documents:
            self._open(f"{scheme}{name}", language)

    def _cancel(self) -> None:
        under_way = [id_ for id_, asked in list(self.judge.waiting.items()) if not asked.cancelled]
        if under_way:
            id_ = under_way[-1] if self._draw.random() < 0.7 else self._draw.choice(under_way)
            self.judge.waiting[id_].cancelled = True
            self._notify("$/cancelRequest", {"id": id_})

    def _configure(self) -> None:
        self.settings = self._draw.choice(SECTIONS)
        self._notify("workspace/didChangeConfiguration", {"settings": {"qwencoder": self.settings}})

    def _asked(self) -> tuple[Mirror, Asked, dict[str, Any]]:
        document = self._document
        asked = Asked(0, "", document.uri, document.version, document.text, document.cursor)
        return document, asked, {"textDocument": {"uri": document.uri}, "position": document.position(document.cursor)}

    def _ask_here(self) -> None:
        _, asked, params = self._asked()
        self._request(INLINE, params | {"context": {"triggerKind": self._draw.choice((1, 2, 2, 2, 2))}}, asked)

    def _ask_menu(self) -> None:
        _, asked, params = self._asked()
        self._request(MENU, params, asked)

    def _ask_anywhere(self) -> None:
        """At a place that is not there, or in a file that is not open."""
        position = {"line": self._draw.choice((0, 3, 10_000)), "character": self._draw.choice((0, 10_000))}
        params = {"textDocument": {"uri": "file:///not/open.py"}, "position": position, "context": {"triggerKind": 2}}
        self._request(INLINE, params, Asked(0, ""))

    def _ask_chosen(self) -> None:
        """With an item chosen in the editor's menu."""
        document, asked, params = self._asked()
        start = document.cursor
        while start and document.text[start - 1].isalnum():
            start -= 1
        chosen = document.text[start : document.cursor] + self._draw.choice(("name", "é", "𠀀y"))
        asked.selected = (start, document.cursor, chosen)
        info = {"range": {"start": document.position(start), "end": document.position(document.cursor)}, "text": chosen}
        self._request(INLINE, params | {"context": {"triggerKind": 2, "selectedCompletionInfo": info}}, asked)

    def _ask_else(self) -> None:
        uri = {"uri": self._current}
        place = self._document.position(self._document.cursor)
        method, params = self._draw.choice(
            (
                ("qwencoder/status", {}),
                ("qwencoder/trace", {"limit": 3}),
                ("textDocument/diagnostic", {"textDocument": uri}),
                ("textDocument/codeAction", {"textDocument": uri, "range": {"start": place, "end": place}, "context": {"diagnostics": []}}),
            )
        )
        self._request(method, params, Asked(0, method))

    def _take(self) -> None:
        """Accept what was suggested."""
        self._rest()
        if offer := self._offer():
            self._change(self._document.edit(offer.start, offer.end, offer.text))
            self._request("workspace/executeCommand", offer.item["command"], Asked(0, ""))
            self._ask_here()
            if self._draw.random() < 0.3:
                self._undo()

    def _take_part(self) -> None:
        self._rest()
        if offer := self._offer():
            typed = offer.cursor - offer.start
            size = self._draw.randint(typed, len(offer.text))
            self._change(self._document.edit(offer.start, offer.cursor, offer.text[:size]))
            units = len(offer.text[:size].encode("utf-16-le")) // 2
            self._notify("textDocument/didPartiallyAcceptCompletion", {"item": offer.item, "acceptedLength": units})
            self._ask_here()

    def _dismiss(self) -> None:
        self._rest()
        if offer := self._offer():
            self._notify(self._draw.choice(("textDocument/didShowCompletion", "qwencoder/didReject")), {"item": offer.item})
            self._ask_here()

    def _offer(self) -> Any:
        """The latest suggestion, if it is for the document as it is and the cursor where it is."""
        offer, document = self.judge.offers.get(self._current), self._document
        return offer if offer and (offer.version, offer.cursor) == (document.version, document.cursor) else None

    def _save(self) -> None:
        self._notify("textDocument/didSave", {"textDocument": {"uri": self._current}})
