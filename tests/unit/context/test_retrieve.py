"""What is found for a cursor, on a small project of our own."""

from __future__ import annotations

from pathlib import Path

import pytest

from qwencoder_lsp.context.candidates import Candidate
from qwencoder_lsp.context.indexer import Indexer
from qwencoder_lsp.context.reading import Index
from qwencoder_lsp.context.retrieve import Retrieval
from qwencoder_lsp.context.store import location
from qwencoder_lsp.context.surroundings import Surroundings, Touched, here_at
from qwencoder_lsp.core.languages import language_of
from qwencoder_lsp.core.text import Snapshot

FILES = {
    "shop/__init__.py": "",
    "shop/client.py": (
        "class Client(Base):\n"
        '    """Talks to the server."""\n\n'
        "    def __init__(self, url: str) -> None:\n        self.url = url\n\n"
        "    def fetch_order(self, number: int) -> dict:\n        return {}\n\n"
        "    def _hidden(self): ...\n\n\n"
        'def connect(url: str) -> Client:\n    """Opens a client."""\n    return Client(url)\n'
    ),
    "shop/other.py": "def connect(url):\n    return None\n",
    "shop/rates.py": "SHIPPING_SURCHARGE = 3\n\n\ndef shipping_rate(weight):\n    return weight * SHIPPING_SURCHARGE\n",
    "shop/report.py": (
        "from shop.rates import shipping_rate\n\n\ndef monthly_shipping_report(orders):\n"
        "    totals = [shipping_rate(o) for o in orders]\n    return sum(totals)\n"
    ),
    "tests/test_cart.py": "def test_total():\n    assert total_of_cart(1) == 2\n",
    "web/api.ts": "export function loadOrder(id: number): Order { return get(id) }\nexport interface Order { id: number; lines: string[] }\n",
    "web/view.ts": (
        "import { loadOrder, Order } from './api';\n\nexport async function show(id: number) {\n"
        "  const order: Order = await loadOrder(id);\n  \n}\n"
    ),
}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QWENCODER_HOME", str(tmp_path / "home"))
    folder = tmp_path / "work"
    for path, text in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    indexer = Indexer(folder)
    indexer.scan()
    indexer.close()
    return folder


def snapshot(root: Path, path: str, marked: str) -> tuple[Snapshot, int]:
    text = marked.replace("|", "", 1)
    file = root / path
    return Snapshot(file.as_uri(), text, language_of(path), str(file), str(root)), marked.index("|")


def found(root: Path, path: str, marked: str) -> list[Candidate]:
    return Retrieval(Index(root), here_at(*snapshot(root, path, marked))).candidates()


def test_an_imported_name_brings_its_definition_and_not_one_of_the_same_name(root: Path) -> None:
    best = found(root, "shop/cart.py", "from shop.client import connect\n\n\ndef total():\n    c = connect(|")[0]
    assert (best.path, best.source, best.reason) == ("shop/client.py", "imports", "connect is imported")
    assert best.text == 'def connect(url: str) -> Client:\n    """Opens a client."""\n    return Client(url)\n'
    assert best.short == "def connect(url: str) -> Client:  # Opens a client.\n"


def test_the_members_of_a_variables_type_come_first_behind_its_dot(root: Path) -> None:
    text = "from shop.client import Client\n\n\ndef total(c: Client):\n    print(1)\n    return c.|"
    best = found(root, "shop/cart.py", text)[0]
    assert (best.path, best.source, best.reason) == ("shop/client.py", "types", "c is one")
    assert "    def fetch_order(self, number: int) -> dict:\n" in best.short
    assert "_hidden" not in best.short


def test_the_heads_of_a_module_come_first_behind_its_dot(root: Path) -> None:
    best = found(root, "shop/cart.py", "from shop import rates\n\n\ndef total():\n    return rates.|")[0]
    assert best.path == "shop/rates.py"
    assert best.text == "def shipping_rate(weight):\n"


def test_a_typescript_import_is_followed(root: Path) -> None:
    names = {c.path for c in found(root, "web/view.ts", FILES["web/view.ts"].replace("  \n", "  order.|\n"))}
    assert names == {"web/api.ts"}


def test_rare_words_find_a_chunk_that_no_import_leads_to(root: Path) -> None:
    chunks = [c for c in found(root, "shop/cart.py", "def f(orders):\n    # like monthly_shipping_report with totals\n    |") if c.source == "terms"]
    assert chunks
    assert chunks[0].path == "shop/report.py"


def test_the_test_of_the_file_is_a_neighbour(root: Path) -> None:
    assert any(c.path == "tests/test_cart.py" and c.reason == "test of this file" for c in found(root, "shop/cart.py", "x = |"))


def test_who_imports_the_file_shows_how_it_is_used(root: Path) -> None:
    users = [c for c in found(root, "shop/rates.py", FILES["shop/rates.py"].replace("return weight", "return |weight")) if c.source == "neighbours"]
    assert [(c.path, c.reason) for c in users] == [("shop/report.py", "uses shipping_rate")]


def test_what_the_prompt_shows_anyway_is_not_found_again(root: Path) -> None:
    text = FILES["shop/client.py"]
    assert not [c for c in found(root, "shop/client.py", text.replace("return {}", "return self.|")) if c.path == "shop/client.py"]


def test_a_search_that_has_no_time_names_what_it_left_out(root: Path) -> None:
    retrieval = Retrieval(Index(root), here_at(*snapshot(root, "shop/cart.py", "connect(|")), limit_s=0.0)
    assert retrieval.candidates() == []
    assert retrieval.late == ["types", "imports", "definitions", "terms", "neighbours"]


def test_without_an_index_nothing_is_found(root: Path) -> None:
    location(root).unlink()
    assert found(root, "shop/cart.py", "from shop.client import connect\nconnect(|") == []


def test_a_damaged_index_gives_nothing_and_the_next_one_is_read(root: Path) -> None:
    surroundings = Surroundings()
    place = snapshot(root, "shop/cart.py", "from shop.client import connect\nconnect(|")
    whole = location(root).read_bytes()
    location(root).write_bytes(b"x" * len(whole))
    look = surroundings.look(*place, 512)
    assert (look.pack.snippets, look.late) == ((), ("index",))
    location(root).unlink()
    location(root).write_bytes(whole)
    assert surroundings.look(*place, 512).pack.snippets


def test_the_latest_edits_elsewhere_come_along_without_their_secrets(root: Path) -> None:
    key = "ghp_" + "a1B2" * 9
    other = root / "shop" / "new.py"
    edited = Touched(Snapshot(other.as_uri(), f"a = 1\nTOKEN = '{key}'\ndef fresh(): ...\n", "python", str(other), str(root)), 8)
    pack = Surroundings().look(*snapshot(root, "shop/cart.py", "x = |"), 512, edits=[edited]).pack
    [snippet] = [s for s in pack.snippets if s.path == "shop/new.py"]
    assert snippet.source == "edits"
    assert "def fresh()" in snippet.text
    assert key not in snippet.text


def test_a_definition_that_was_not_saved_is_taken_from_its_document(root: Path) -> None:
    rates = root / "shop" / "rates.py"
    now = Snapshot(rates.as_uri(), "X = 1\n\n\ndef shipping_rate(weight, express=False):\n    return 1\n", "python", str(rates), str(root))
    place = snapshot(root, "shop/cart.py", "from shop.rates import shipping_rate\n\n\ndef total(w):\n    return |\n")
    look = Surroundings().look(*place, 512, edits=[Touched(now, 0)])
    texts = [s.text for s in look.pack.snippets if s.path == "shop/rates.py"]
    assert len(texts) == 1
    assert "express=False" in texts[0]
    assert not any("weight * SHIPPING_SURCHARGE" in c.text for c in look.candidates if c.path == "shop/rates.py")


def test_a_document_outside_of_every_folder_has_no_surroundings(root: Path) -> None:
    assert Surroundings().look(Snapshot("untitled:1", "x = ", "python"), 4, 512).pack.snippets == ()


def test_symbols_are_found_by_the_letters_of_their_names(root: Path) -> None:
    index = Index(root)
    assert [s.name for s in index.symbols("shiprat", 10)] == ["shipping_rate"]
    assert index.symbols("connect", 10)[0].name == "connect"
    assert index.symbols("100%_", 10) == []
    assert [name for _, name in ((r, s.name) for r, s in Surroundings().symbols([str(root)], "loadOrder", 5))] == ["loadOrder"]


def test_a_search_finds_lines_letter_by_letter(root: Path) -> None:
    index = Index(root)
    assert [(h.path, h.line) for h in index.search("SHIPPING_SURCHARGE = ", 10)] == [("shop/rates.py", 0)]
    assert len(index.search("shipping_surcharge", 10)) == 2
    assert index.search("Shipping_Surcharge", 10) == []
    assert len(index.search("return", 2)) == 2


def test_the_text_of_any_lines_can_be_read(root: Path) -> None:
    index = Index(root)
    file = index.file("shop/client.py")
    assert file is not None
    lines = FILES["shop/client.py"].splitlines(keepends=True)
    assert index.text(file, 2, 9) == "".join(lines[2:9])
    assert index.text(file, 0, 999) == FILES["shop/client.py"]


def test_files_that_import_one_are_known(root: Path) -> None:
    assert [path for _, path in Index(root).importers("shop/rates.py", 5)] == ["shop/report.py"]


def test_the_status_counts_what_is_there(root: Path) -> None:
    status = Index(root).status()
    assert status["files"] == len(FILES)
    assert status["lines"] == sum(text.count("\n") for text in FILES.values())
