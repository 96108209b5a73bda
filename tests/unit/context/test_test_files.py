import json
from pathlib import Path

import pytest

from qwencoder_lsp.context.test_files import test_file as place_of


def made(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8")
    return root


@pytest.mark.parametrize(
    ("files", "source", "language", "path", "framework"),
    [
        ({"shop/cart.py": ""}, "shop/cart.py", "python", "shop/test_cart.py", "pytest"),
        ({"shop/cart.py": "", "tests/test_x.py": ""}, "shop/cart.py", "python", "tests/test_cart.py", "pytest"),
        ({"src/shop/cart.py": "", "tests/unit/test_cart.py": "import unittest"}, "src/shop/cart.py", "python", "tests/unit/test_cart.py", "unittest"),
        ({"cart.py": "", "tests/test_x.py": "import unittest\n"}, "cart.py", "python", "tests/test_cart.py", "unittest"),
        ({"a.js": "", "package.json": json.dumps({"devDependencies": {"jest": "1"}})}, "a.js", "javascript", "a.test.js", "jest"),
        ({"src/a.ts": "", "package.json": json.dumps({"devDependencies": {"vitest": "1"}})}, "src/a.ts", "typescript", "src/a.test.ts", "vitest"),
        ({"a.js": "", "__tests__/b.js": "", "package.json": "no json"}, "a.js", "javascript", "__tests__/a.test.js", "node:test and node:assert"),
        ({"a.ts": "", "a.spec.ts": ""}, "a.ts", "typescript", "a.spec.ts", "node:test and node:assert"),
        ({"p/a.go": ""}, "p/a.go", "go", "p/a_test.go", "Go's testing package"),
        ({"src/main/java/x/A.java": "", "pom.xml": "junit-jupiter"}, "src/main/java/x/A.java", "java", "src/test/java/x/ATest.java", "JUnit 5"),
        ({"A.java": "", "pom.xml": "<artifactId>junit</artifactId>"}, "A.java", "java", "ATest.java", "JUnit 4"),
        ({"src/lib.rs": ""}, "src/lib.rs", "rust", "src/lib.rs", "Rust's built-in test framework"),
    ],
)
def test_the_project_says_where_tests_go_and_with_what(
    tmp_path: Path, files: dict[str, str], source: str, language: str, path: str, framework: str
) -> None:
    root = made(tmp_path, files)
    found = place_of(root / source, root, language)
    assert found
    assert (found.path, found.framework) == (root.resolve() / path, framework)
    assert found.inline == (language == "rust")


def test_the_import_is_named_from_where_the_test_is(tmp_path: Path) -> None:
    root = made(tmp_path, {"src/shop/cart.py": "", "tests/test_x.py": "", "lib/a.js": "", "__tests__/b.js": ""})
    python, script = place_of(root / "src/shop/cart.py", root, "python"), place_of(root / "lib/a.js", root, "javascript")
    assert python and "from shop.cart import" in python.importing
    assert script and "'./a.js'" in script.importing


def test_a_source_outside_of_the_workspace_or_behind_a_link_out_of_it_has_no_place(tmp_path: Path) -> None:
    root, other = made(tmp_path / "root", {"a.py": ""}), made(tmp_path / "other", {"b.py": ""})
    (root / "link.py").symlink_to(other / "b.py")
    assert place_of(other / "b.py", root, "python") is None
    assert place_of(root / "link.py", root, "python") is None
    assert place_of(root / "a.py", root, "cobol") is None
