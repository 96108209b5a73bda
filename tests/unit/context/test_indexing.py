"""The indexing process's parts; the process itself is driven in tests/protocol/test_lsp_index.py."""

from __future__ import annotations

import time

import pytest

from qwencoder_lsp.context.indexing import Pace, _Stopped


def test_the_work_stands_aside_while_someone_types() -> None:
    pace = Pace()
    began = time.monotonic()
    pace.pause(0.3)
    pace.wait()
    assert time.monotonic() - began >= 0.3


def test_the_work_that_was_given_up_ends_once() -> None:
    pace = Pace()
    pace.stop()
    with pytest.raises(_Stopped):
        pace.wait()
    pace.wait()
