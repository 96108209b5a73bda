from __future__ import annotations

import pytest

from qwencoder_lsp.context.imports import imports, key
from qwencoder_lsp.context.outline import outline


@pytest.mark.parametrize(
    ("language", "path", "text", "names", "end"),
    [
        ("python", "a/b/c.py", "from ..x import f as g, h\n", {"g": "f", "h": "h"}, "a/x.py"),
        ("python", "a/b/c.py", "from . import x\n", {"x": ""}, "a/b/x.py"),
        ("python", "c.py", "from pkg.mod import (\n    One,  # why\n    Two,\n)\n", {"One": "One", "Two": "Two"}, "pkg/mod/__init__.py"),
        ("python", "c.py", "import pkg.mod as m, os\n", {"m": ""}, "pkg/mod.py"),
        ("python", "c.py", "import pkg.mod\n", {"mod": ""}, "pkg/mod.py"),
        ("typescript", "src/a/b.ts", "import { f as g, type T } from '../lib/x';\n", {"g": "f", "T": "T"}, "src/lib/x.ts"),
        ("typescriptreact", "src/a.tsx", "import App, * as all from './app.js';\n", {"App": "", "all": ""}, "src/app/index.ts"),
        ("javascript", "src/a.js", "const { f, g: h } = require('./x');\n", {"f": "f", "h": "g"}, "src/x.js"),
        ("go", "cmd/a.go", 'package a\nimport (\n\tu "example.com/m/util"\n)\n', {"u": ""}, "m/util/*.go"),
        ("rust", "src/a.rs", "use crate::net::tcp::{Listener, Stream as S};\n", {"Listener": "Listener", "S": "Stream"}, "net/tcp.rs"),
        ("java", "A.java", "import org.x.Thing;\n", {"Thing": ""}, "org/x/Thing.java"),
        ("c", "a.c", '#include "sub/x.h"\n', {}, "sub/x.h"),
        ("php", "a.php", "<?php\nuse App\\Models\\User;\n", {"User": ""}, "Models/User.php"),
        ("ruby", "a.rb", "require_relative 'lib/x'\n", {}, "lib/x.rb"),
        ("shellscript", "a.sh", "source ./lib.sh\n", {}, "lib.sh"),
    ],
)
def test_an_import_says_what_it_binds_and_where_it_may_be(language: str, path: str, text: str, names: dict[str, str], end: str) -> None:
    found = imports(outline(text, language).imports, language, path)
    assert any(end in i.ends and names.items() <= dict(i.names).items() for i in found), found


def test_an_import_from_outside_the_workspace_is_none() -> None:
    assert imports(("import x from '../../y'",), "javascript", "a.js") == ()


def test_a_file_that_stands_for_its_directory_has_its_name() -> None:
    assert [key(p) for p in ("a/b/__init__.py", "a/index.ts", "a/b.test.ts", "main.go")] == ["b", "a", "b", "main"]
