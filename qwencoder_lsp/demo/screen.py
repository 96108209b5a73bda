"""Prints what an editor would show: code with ghost text, findings under the code, a fix as a diff, and the times. Knows nothing of LSP."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.syntax import Syntax
from rich.text import Text

from qwencoder_lsp.lsp.client import Ghost, Shown

WIDTH = 120  # columns of the picture
AROUND = 6  # lines of code shown before the cursor
GHOST, CURSOR = "italic bright_black", "reverse"
SEVERITY = {"error": "bold red", "warning": "bold yellow", "information": "bold blue", "hint": "blue"}


class Screen:
    """The terminal."""

    def __init__(self, picture: Path | None = None) -> None:
        """picture: an SVG file to write at the end."""
        self._picture = picture
        self._console = Console(highlight=False, record=picture is not None, width=WIDTH if picture else None)

    def title(self, model: str) -> None:
        """What is about to be seen."""
        self._console.rule(f"qwencoder-lsp: a real editor session with {model}")
        self._console.print("A language server was started over stdio. The text in grey is what it suggests; Tab would accept it.\n", style="dim")

    def working(self, what: str) -> AbstractContextManager[Any]:
        """A spinner while something takes its time."""
        return self._console.status(f"{what} ...")

    def ghost(self, name: str, text: str, cursor: int, ghost: Ghost, trace: dict[str, Any]) -> None:
        """The code around the cursor with the ghost text in it."""
        start = len(text[:cursor]) - len("\n".join(text[:cursor].split("\n")[-AROUND:]))
        end = text.find("\n", cursor)
        shown = Text(text[start:cursor])
        shown.append("▏", CURSOR)
        shown.append(ghost.text, GHOST)
        shown.append(text[cursor + ghost.covered : end if end >= 0 else len(text)])
        self._console.print(Panel(shown, title=f"{name}: ghost text", title_align="left"))
        self._times(trace)

    def findings(self, name: str, text: str, findings: Sequence[Shown], trace: dict[str, Any]) -> None:
        """Each finding under the line that it is about."""
        lines = text.splitlines()
        body = Text()
        for number, finding in enumerate(findings):
            line = text[: finding.span.start].count("\n")
            column = finding.span.start - (text.rfind("\n", 0, finding.span.start) + 1)
            width = max(1, min(finding.span.end - finding.span.start, len(lines[line]) - column))
            body.append("\n" if number else "")
            body.append(f"{line + 1:4} │ {lines[line]}\n")
            body.append(f"     │ {' ' * column}{'~' * width}\n", SEVERITY.get(finding.severity, ""))
            body.append(f"     │ {finding.severity}", SEVERITY.get(finding.severity, ""))
            body.append(f" [{finding.code}] {finding.message}")
        self._console.print(Panel(body, title=f"{name}: review", title_align="left"))
        self._times(trace)

    def fix(self, name: str, before: str, after: str, trace: dict[str, Any]) -> None:
        """The fix of the first finding as a unified diff."""
        diff = difflib.unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{name}", f"b/{name}", n=2)
        self._console.print(
            Panel(Syntax("".join(diff), "diff", theme="ansi_dark", background_color="default"), title=f"{name}: fix", title_align="left")
        )
        self._times(trace)

    def end(self) -> None:
        """What to do next."""
        self._console.print("Now in your own editor: the README has the few lines of set-up for Neovim, VS Code, JetBrains, Emacs and Helix.")
        if self._picture:
            self._console.save_svg(str(self._picture), title="qwencoder-lsp demo")

    def _times(self, trace: dict[str, Any]) -> None:
        times, usage = trace["timings"], trace["usage"]
        stages = " │ ".join(f"{stage} {times[stage]:.0f} ms" for stage in ("gather", "render", "generate", "finish"))
        computed = usage["prompt"] - usage["reused"]
        detail = f"prefill {times['prefill']:.0f} ms for {computed} of {usage['prompt']} tokens, {usage['reused']} reused"
        self._console.print(f"  {stages}   ({detail}; {usage['generated']} tokens in {times['decode']:.0f} ms)\n", style="dim")
