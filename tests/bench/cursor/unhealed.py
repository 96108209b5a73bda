"""The gateway as it is shipped, but that the end of what is typed is never taken back: `python -m tests.bench.cursor.unhealed`."""

from __future__ import annotations

from functools import partial
from unittest.mock import patch

from qwencoder_lsp.http.__main__ import main
from qwencoder_lsp.prompt.fim import render_fim

if __name__ == "__main__":
    with patch("qwencoder_lsp.http.generate.render_fim", partial(render_fim, heal=False)):
        main()
