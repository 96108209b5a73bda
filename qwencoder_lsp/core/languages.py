"""The languages that the models were trained on, as data: how an editor names them, how their files are called, how they comment and indent.

The list is Qwen2.5-Coder's (its README, "supported languages", 92 of them). Ids are those of the LSP specification's table of
TextDocumentItem.languageId where it has one, otherwise those that VS Code's and Neovim's language extensions use.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import PurePath


@dataclass(frozen=True, slots=True)
class Language:
    """One language. name: Qwen's. ids: what editors call it, the usual one first. files: suffixes (".py") and whole names ("Makefile").

    line: what begins a comment up to the end of the line; block: what begins and ends a longer one.
    offside: whether indentation ends a block. prose: whether it is text for people.
    """

    name: str
    ids: tuple[str, ...]
    files: tuple[str, ...]
    line: tuple[str, ...] = ()
    block: tuple[tuple[str, str], ...] = ()
    offside: bool = False
    prose: bool = False


_C = (("/*", "*/"),)
_ML = (("(*", "*)"),)
_XML = (("<!--", "-->"),)


def _row(
    name: str, ids: str, files: str, line: str = "", block: tuple[tuple[str, str], ...] = (), *, offside: bool = False, prose: bool = False
) -> Language:
    return Language(name, tuple(ids.split()), tuple(files.split()), tuple(line.split()), block, offside, prose)


LANGUAGES = (
    _row("ada", "ada", ".adb .ads .ada", "--"),
    _row("agda", "agda", ".agda", "--", (("{-", "-}"),), offside=True),
    _row("alloy", "alloy", ".als", "// --", _C),
    _row("antlr", "antlr", ".g4", "//", _C),
    _row("applescript", "applescript", ".applescript", "-- #", _ML),
    _row("assembly", "asm assembly nasm gas", ".asm .s .S", "; # //", _C),
    _row("augeas", "augeas", ".aug", "", _ML),
    _row("awk", "awk", ".awk", "#"),
    _row("batchfile", "bat dosbatch", ".bat .cmd", "REM rem ::"),
    _row("bluespec", "bluespec bsv", ".bsv", "//", _C),
    _row("c", "c", ".c .h", "//", _C),
    _row("c#", "csharp cs", ".cs", "//", _C),
    _row("c++", "cpp", ".cc .cpp .cxx .hpp .hh .hxx", "//", _C),
    _row("clojure", "clojure", ".clj .cljs .cljc .edn", ";"),
    _row("cmake", "cmake", ".cmake CMakeLists.txt", "#", (("#[[", "]]"),)),
    _row("coffeescript", "coffeescript coffee", ".coffee", "#", (("###", "###"),), offside=True),
    _row("common-lisp", "lisp commonlisp", ".lisp .lsp .cl", ";", (("#|", "|#"),)),
    _row("css", "css scss less", ".css .scss .less", "", _C),
    _row("cuda", "cuda cuda-cpp", ".cu .cuh", "//", _C),
    _row("dart", "dart", ".dart", "//", _C),
    _row("dockerfile", "dockerfile", ".dockerfile Dockerfile", "#"),
    _row("elixir", "elixir", ".ex .exs", "#"),
    _row("elm", "elm", ".elm", "--", (("{-", "-}"),), offside=True),
    _row("emacs-lisp", "emacs-lisp elisp", ".el", ";"),
    _row("erlang", "erlang", ".erl .hrl", "%"),
    _row("f#", "fsharp", ".fs .fsi .fsx", "//", _ML, offside=True),
    _row("fortran", "fortran fortran-modern FortranFreeForm", ".f90 .f95 .f03 .f .for", "!"),
    _row("glsl", "glsl", ".glsl .vert .frag", "//", _C),
    _row("go", "go", ".go", "//", _C),
    _row("groovy", "groovy", ".groovy .gradle", "//", _C),
    _row("haskell", "haskell", ".hs", "--", (("{-", "-}"),), offside=True),
    _row("html", "html", ".html .htm", "", _XML),
    _row("idris", "idris idris2", ".idr", "--", (("{-", "-}"),), offside=True),
    _row("isabelle", "isabelle", ".thy", "", _ML),
    _row("java", "java", ".java", "//", _C),
    _row("java-server-pages", "jsp", ".jsp", "", (("<%--", "--%>"), *_XML)),
    _row("javascript", "javascript javascriptreact", ".js .mjs .cjs .jsx", "//", _C),
    _row("json", "json jsonc", ".json .jsonc", "//", _C),
    _row("julia", "julia", ".jl", "#", (("#=", "=#"),)),
    _row("jupyter-notebook", "jupyter", ".ipynb", ""),
    _row("kotlin", "kotlin", ".kt .kts", "//", _C),
    _row("lean", "lean lean4", ".lean", "--", (("/-", "-/"),), offside=True),
    _row("literate-agda", "lagda", ".lagda", "--", offside=True),
    _row("literate-coffeescript", "litcoffee", ".litcoffee", "#", offside=True),
    _row("literate-haskell", "lhaskell literatehaskell", ".lhs", "--", (("{-", "-}"),), offside=True),
    _row("lua", "lua luau", ".lua", "--", (("--[[", "]]"),)),
    _row("makefile", "makefile make", ".mk .mak Makefile makefile GNUmakefile", "#"),
    _row("maple", "maple", ".mpl", "#", _ML),
    _row("markdown", "markdown", ".md .markdown", "", _XML, prose=True),
    _row("mathematica", "mathematica wolfram", ".wl .wls", "", _ML),
    _row("matlab", "matlab octave", ".m", "%", (("%{", "%}"),)),
    _row("objective-c++", "objective-cpp objective-c objcpp objc", ".mm", "//", _C),
    _row("ocaml", "ocaml", ".ml .mli", "", _ML),
    _row("pascal", "pascal objectpascal", ".pas .pp .dpr", "//", (("{", "}"), *_ML)),
    _row("perl", "perl perl6 raku", ".pl .pm .t", "#", (("=pod", "=cut"),)),
    _row("php", "php", ".php", "// #", _C),
    _row("powershell", "powershell ps1", ".ps1 .psm1 .psd1", "#", (("<#", "#>"),)),
    _row("prolog", "prolog", ".pro .prolog", "%", _C),
    _row("protocol-buffer", "proto proto3 protobuf", ".proto", "//", _C),
    _row("python", "python", ".py .pyi .pyw", "#", offside=True),
    _row("r", "r", ".r .R", "#"),
    _row("racket", "racket", ".rkt", ";", (("#|", "|#"),)),
    _row("restructuredtext", "restructuredtext rst", ".rst", "", prose=True),
    _row("rmarkdown", "rmd rmarkdown", ".Rmd .rmd", "", _XML, prose=True),
    _row("ruby", "ruby", ".rb .rake .gemspec Rakefile Gemfile", "#", (("=begin", "=end"),)),
    _row("rust", "rust", ".rs", "//", _C),
    _row("sas", "sas", ".sas", "*", _C),
    _row("scala", "scala", ".scala .sbt .sc", "//", _C),
    _row("scheme", "scheme", ".scm .ss", ";", (("#|", "|#"),)),
    _row("shell", "shellscript sh bash zsh ksh fish", ".sh .bash .zsh .ksh .fish", "#"),
    _row("smalltalk", "smalltalk", ".st", "", (('"', '"'),)),
    _row("solidity", "solidity", ".sol", "//", _C),
    _row("sparql", "sparql", ".rq .sparql", "#"),
    _row("sql", "sql mysql plsql pgsql", ".sql", "-- #", _C),
    _row("stan", "stan", ".stan", "// #", _C),
    _row("standard-ml", "sml", ".sml .sig", "", _ML),
    _row("stata", "stata", ".do .ado", "* //", _C),
    _row("swift", "swift", ".swift", "//", _C),
    _row("systemverilog", "systemverilog", ".sv .svh", "//", _C),
    _row("tcl", "tcl", ".tcl", "#"),
    _row("tcsh", "tcsh csh", ".tcsh .csh", "#"),
    _row("tex", "latex tex plaintex bibtex", ".tex .sty .cls .bib", "%", prose=True),
    _row("thrift", "thrift", ".thrift", "// #", _C),
    _row("typescript", "typescript typescriptreact", ".ts .mts .cts .tsx", "//", _C),
    _row("verilog", "verilog", ".v .vh", "//", _C),
    _row("vhdl", "vhdl", ".vhd .vhdl", "--"),
    _row("visual-basic", "vb", ".vb .bas", "'"),
    _row("vue", "vue svelte", ".vue .svelte", "//", (*_C, *_XML)),
    _row("xslt", "xsl xml xslt", ".xsl .xslt .xml", "", _XML),
    _row("yacc", "yacc bison", ".y .yy", "//", _C),
    _row("yaml", "yaml dockercompose", ".yaml .yml", "#", offside=True),
    _row("zig", "zig", ".zig", "//"),
)  # fmt: skip
"""Qwen2.5-Coder's 92."""

_REACT = {".jsx": "javascriptreact", ".tsx": "typescriptreact"}  # where one language has an id per file suffix
_OTHERS = {".toml": "toml", ".ini": "ini", ".txt": "plaintext"}


def language(id_: str) -> Language | None:
    """The language that an editor calls `id_`, or None."""
    return _by_id().get(id_)


def language_of(name: str) -> str:
    """The language id for a file name, or "plaintext"."""
    path = PurePath(name)
    suffix = path.suffix
    known = _by_file()
    found = known.get(path.name) or known.get(suffix) or known.get(suffix.lower())
    return _REACT.get(suffix.lower()) or found or _OTHERS.get(suffix.lower(), "plaintext")


@cache
def _by_id() -> dict[str, Language]:
    return {id_: row for row in LANGUAGES for id_ in row.ids}


@cache
def _by_file() -> dict[str, str]:
    found: dict[str, str] = {}
    for row in LANGUAGES:
        for name in row.files:
            found.setdefault(name, row.ids[0])
    return found
