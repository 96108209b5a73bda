"""LSP language ids by file name, for use outside an editor. Ids as in the LSP specification's table of TextDocumentItem.languageId."""

from __future__ import annotations

from pathlib import PurePath

_BY_SUFFIX = {
    ".py": "python", ".pyi": "python", ".js": "javascript", ".mjs": "javascript", ".cjs": "javascript", ".jsx": "javascriptreact",
    ".ts": "typescript", ".mts": "typescript", ".tsx": "typescriptreact", ".go": "go", ".rs": "rust", ".java": "java", ".c": "c", ".h": "c",
    ".cc": "cpp", ".cpp": "cpp", ".cxx": "cpp", ".hpp": "cpp", ".cs": "csharp", ".rb": "ruby", ".php": "php", ".sh": "shellscript",
    ".lua": "lua", ".kt": "kotlin", ".swift": "swift", ".scala": "scala", ".sql": "sql", ".html": "html", ".css": "css", ".json": "json",
    ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".md": "markdown", ".vue": "vue",
}  # fmt: skip


def language_of(name: str) -> str:
    """The language id for a file name, or "plaintext"."""
    return _BY_SUFFIX.get(PurePath(name).suffix.lower(), "plaintext")
