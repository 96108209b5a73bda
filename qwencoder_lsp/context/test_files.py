"""Where the tests of a source file belong, and with which framework they are written.

In: a source file and its workspace folder. Out: a path inside the folder, and how to write for it. The layout of the project decides, never a model.
Only names and the head of a few project files are read; nothing is written.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

LARGEST = 1 << 20  # bytes of a project file that is looked into
MOST_DIRECTORIES = 2000  # looked through for a test file that exists already
SKIPPED = {"node_modules", "target", "build", "dist", "vendor", "__pycache__", "venv"}
SCRIPTS = {"javascript": "js", "javascriptreact": "jsx", "typescript": "ts", "typescriptreact": "tsx"}
LANGUAGES = frozenset({"python", "go", "rust", "java", *SCRIPTS})
"""The LSP ids of languages whose tests have a place."""


@dataclass(frozen=True, slots=True)
class TestFile:
    """Where tests go. framework, importing: in words for a model. inline: the tests stand in the source file itself, at its end."""

    __test__ = False  # for pytest

    path: Path
    framework: str
    importing: str
    inline: bool = False


def test_file(source: Path, root: Path, language: str) -> TestFile | None:
    """The test file of `source`, which need not exist; None for a language whose tests we do not know, or a source outside `root`."""
    source, root = Path(os.path.realpath(source)), Path(os.path.realpath(root))
    if not source.is_relative_to(root):
        return None
    if language == "python":
        return _python(source, root)
    if language in SCRIPTS:
        return _script(source, root, language)
    if language == "go":
        path = source.with_name(f"{source.stem.removesuffix('_test')}_test.go")
        return TestFile(path, "Go's testing package", "Use the same package clause as the file.")
    if language == "rust":
        return TestFile(
            source, "Rust's built-in test framework", "Write only a module `#[cfg(test)] mod tests` that has `use super::*;`.", inline=True
        )
    if language == "java":
        return _java(source, root)
    return None


def _python(source: Path, root: Path) -> TestFile:
    names = (f"test_{source.stem}.py", f"{source.stem}_test.py")
    package = next((folder for folder in (root / "src", root) if source.is_relative_to(folder)), root)
    module = ".".join(source.relative_to(package).with_suffix("").parts).removesuffix(".__init__")
    found = next((path for path in _files(root) if path.name in names and path != source), None)
    tests = next((root / name for name in ("tests", "test") if (root / name).is_dir()), None)
    path = found or (tests or source.parent) / names[0]
    unittest = "import unittest" in _head(path) or (found is None and _uses_unittest(tests or source.parent))
    return TestFile(path, "unittest" if unittest else "pytest", f"Import what you test with `from {module} import ...`.")


def _uses_unittest(folder: Path) -> bool:
    """Whether the tests that are in the folder already are unittest's and not pytest's."""
    heads = [_head(path) for path in sorted(folder.glob("test*.py"))[:5]]
    return any("import unittest" in head for head in heads) and not any("import pytest" in head for head in heads)


def _script(source: Path, root: Path, language: str) -> TestFile:
    package = _package(source, root)
    vitest, jest = "vitest" in package, "jest" in package
    framework = "vitest" if vitest else "jest" if jest else "node:test and node:assert"
    suffix = SCRIPTS[language]
    names = tuple(f"{source.stem}.{kind}.{suffix}" for kind in ("test", "spec"))
    found = next((path for path in _files(root) if path.name in names), None)
    beside = source.parent / "__tests__"
    path = found or (beside if beside.is_dir() else source.parent) / names[0]
    where = Path(os.path.relpath(source.with_suffix(""), path.parent)).as_posix()
    where = where if where.startswith(".") else f"./{where}"
    more = " Import `describe`, `it` and `expect` from 'vitest'." if vitest else ""
    plain = "" if vitest or jest or suffix.startswith("ts") else source.suffix
    return TestFile(path, framework, f"Import what you test from '{where}{plain}'.{more}")


def _java(source: Path, root: Path) -> TestFile:
    parts = list(source.relative_to(root).parts)
    for at in range(len(parts) - 1):
        if parts[at : at + 2] == ["src", "main"]:
            parts[at + 1] = "test"
            break
    path = root.joinpath(*parts[:-1], f"{source.stem}Test.java")
    build = "".join(_head(root / name, LARGEST) for name in ("pom.xml", "build.gradle", "build.gradle.kts"))
    old = "junit:junit" in build or "<artifactId>junit</artifactId>" in build
    return TestFile(path, "JUnit 4" if old else "JUnit 5", f"The class is {source.stem}Test, in the same package.")


def _package(source: Path, root: Path) -> set[str]:
    """The names of all packages that the nearest package.json asks for."""
    for folder in source.parents:
        if (folder / "package.json").is_file():
            try:
                fields = json.loads(_head(folder / "package.json", LARGEST))
                return {name for key in ("dependencies", "devDependencies") for name in fields.get(key, {})}
            except (ValueError, AttributeError, TypeError):
                return set()
        if folder == root:
            break
    return set()


def _files(root: Path) -> list[Path]:
    """The files below `root`, without hidden and generated folders; links are not followed."""
    found = []
    for count, (folder, folders, files) in enumerate(os.walk(root)):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in SKIPPED)
        found += [Path(folder, name) for name in files]
        if count >= MOST_DIRECTORIES:
            break
    return found


def _head(path: Path, size: int = 4096) -> str:
    try:
        with path.open("rb") as file:
            return file.read(size).decode("utf-8", "replace")
    except OSError:
        return ""
