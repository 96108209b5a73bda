"""Runs a program that a model has written a part of: in a process of its own, isolated from the installation, with limits of time and memory."""

from __future__ import annotations

import ast
import resource
import subprocess
import sys
import tempfile
from functools import lru_cache

LIMIT_S = 6
MEMORY = 2 << 30


@lru_cache(maxsize=8192)
def passes(program: str) -> bool:
    """Whether it ends with status 0 in time."""
    with tempfile.TemporaryDirectory() as directory:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-c", program],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=LIMIT_S,
                cwd=directory,
                env={},
                preexec_fn=_limits,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == 0


def parses(program: str) -> bool:
    """Whether it is Python at all."""
    try:
        ast.parse(program)
    except (SyntaxError, ValueError, RecursionError):
        return False
    return True


def _limits() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
