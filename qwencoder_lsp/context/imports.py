"""Which files of the workspace a file imports, as far as its import statements say.

Statements as they are written (context.outline) and the path of their file go in; for each the names that it binds and the ends that a path of the
imported file may have come out. What is installed elsewhere simply matches nothing. Pure.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

_ECMA = frozenset({"javascript", "javascriptreact", "typescript", "typescriptreact"})
_ECMA_ENDS = (".ts", ".tsx", ".js", ".jsx", ".mjs", ".cjs", ".d.ts", "/index.ts", "/index.tsx", "/index.js", "")
_STRING = re.compile(r"[\"'<]([^\"'>\n]+)[\"'>]")
_WORD = re.compile(r"[A-Za-z_$][\w$]*")


@dataclass(frozen=True, slots=True)
class Import:
    """names: bound name -> name in the imported file ("" where it is the file itself). ends: how the paths of possible files end, the likeliest
    first."""

    names: tuple[tuple[str, str], ...]
    ends: tuple[str, ...]


def imports(statements: tuple[str, ...], language: str, path: str) -> tuple[Import, ...]:
    """The imports of the file at `path`, relative to the workspace with forward slashes."""
    if language == "python":
        return tuple(i for s in statements for i in _python(s, path))
    read = _READERS.get(language) or (_ecma if language in _ECMA else None)
    return tuple(i for s in statements if (i := read(s, path))) if read else ()


def key(path: str) -> str:
    """What a file is called where it is imported: its name without suffix, or its directory's where it stands for that."""
    parts = path.split("/")
    stem = parts[-1].split(".")[0]
    return parts[-2] if stem in ("__init__", "index", "mod", "lib", "main") and len(parts) > 1 else stem


def _python(statement: str, path: str) -> list[Import]:
    text = re.sub(r"#[^\n]*|\\\n|[()\n]", " ", statement)
    if match := re.match(r"\s*from\s+(\.*)\s*([\w.]*)\s+import\s+(.*)", text):
        base = _relative(path, len(match[1])) if match[1] else ""
        module = "/".join(part for part in (base, match[2].replace(".", "/")) if part)
        names = [_as(item) for item in match[3].split(",") if item.strip()]
        own = Import(tuple((bound, name) for name, bound in names), _py_ends(module)) if module else None
        parts = [Import(((bound, ""),), _py_ends(f"{module}/{name}" if module else name)) for name, bound in names if name != "*"]
        return [*parts, *([own] if own else [])]  # a name that is imported may be a module itself
    if match := re.match(r"\s*import\s+(.*)", text):
        pairs = [_as(item) for item in match[1].split(",") if item.strip()]
        return [Import(((bound if bound != name else name.split(".")[-1], ""),), _py_ends(name.replace(".", "/"))) for name, bound in pairs]
    return []


def _as(item: str) -> tuple[str, str]:
    name, _, bound = item.strip().partition(" as ")
    return name.strip(), (bound or name).strip()


def _py_ends(module: str) -> tuple[str, ...]:
    return (f"{module}.py", f"{module}/__init__.py", f"{module}.pyi")


def _relative(path: str, dots: int) -> str:
    parts = path.split("/")[:-1]
    return "/".join(parts[: len(parts) - dots + 1])


def _ecma(statement: str, path: str) -> Import | None:
    strings = _STRING.findall(statement)
    if not strings:
        return None
    target = strings[-1]
    head = statement[: statement.rfind(target)]
    names: list[tuple[str, str]] = []
    if braces := re.search(r"\{([^}]*)\}", head):
        for item in braces[1].split(","):
            words = _WORD.findall(item.replace(":", " as ").strip().removeprefix("type "))
            if words:
                names.append((words[-1], words[0]))
    names += [(m[1], "") for m in re.finditer(r"(?:import|\*\s+as|const|let|var)\s+([A-Za-z_$][\w$]*)", head) if m[1] != "type"]
    if target.startswith("."):
        base = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    else:
        base = target.removeprefix("@/").removeprefix("~/")
    stem = re.sub(r"\.(?:m|c)?jsx?$", "", base)
    return Import(tuple(names), tuple(stem + end for end in _ECMA_ENDS if stem + end)) if not base.startswith("..") else None


def _c(statement: str, path: str) -> Import | None:
    strings = _STRING.findall(statement)
    return Import((), (strings[0].replace("../", ""),)) if strings else None


def _go(statement: str, path: str) -> Import | None:
    strings = _STRING.findall(statement)
    if not strings:
        return None
    parts = strings[0].split("/")
    alias = statement.split('"', maxsplit=1)[0].strip()
    return Import(((alias or parts[-1], ""),), ("/".join(parts[-2:]) + "/*.go", parts[-1] + "/*.go"))


def _rust(statement: str, path: str) -> Import | None:
    body = re.sub(r"^\s*(?:pub(?:\([^)]*\))?\s+)?use\s+|;\s*$", "", statement).replace("\n", " ")
    head, _, group = body.partition("{")
    parts = [p.strip() for p in head.split("::") if p.strip() and p.strip() not in ("crate", "self", "super")]
    leaves = [item.strip().rstrip("}").strip() for item in group.split(",")] if group else []
    if not group and parts:
        leaves, parts = [parts[-1]], parts[:-1]
    if not parts:
        return None
    names = tuple((bound, name.split("::")[-1].strip()) for leaf in leaves if leaf for name, bound in [_as(leaf)])
    stem = "/".join(parts[-2:])
    return Import(names, (f"{stem}.rs", f"{stem}/mod.rs", f"{parts[-1]}.rs", f"{parts[-1]}/mod.rs"))


def _java(statement: str, path: str) -> Import | None:
    parts = re.sub(r"^\s*import\s+(?:static\s+)?|[;\s]", "", statement).split(".")
    parts = [p for p in parts if p != "*"]
    return Import(((parts[-1], ""),), ("/".join(parts) + ".java", "/".join(parts[:-1]) + ".java")) if len(parts) > 1 else None


def _php(statement: str, path: str) -> Import | None:
    if strings := _STRING.findall(statement):
        return Import((), (strings[-1].lstrip("./"),))
    parts = re.sub(r"^\s*use\s+(?:function\s+|const\s+)?|[;\s].*$", "", statement).split("\\")
    return Import(((parts[-1], ""),), ("/".join(parts[-2:]) + ".php", parts[-1] + ".php")) if parts[-1] else None


def _ruby(statement: str, path: str) -> Import | None:
    strings = _STRING.findall(statement)
    return Import((), (strings[0].removeprefix("./").replace("../", "") + ".rb",)) if strings else None


def _shell(statement: str, path: str) -> Import | None:
    words = statement.split()
    return Import((), (posixpath.basename(words[1].strip("\"'")),)) if len(words) > 1 else None


_READERS = {"c": _c, "cpp": _c, "go": _go, "rust": _rust, "java": _java, "php": _php, "ruby": _ruby, "shellscript": _shell}
