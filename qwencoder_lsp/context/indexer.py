"""Keeps the index of one workspace folder true: a first scan, then what changed.

Paths go in, the store is brought up to date. Only one process at a time does this for a folder; it holds a lock. It works file by file and asks
before each of them whether it may go on, so that it can stand aside while someone types.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from qwencoder_lsp.context.ignore import FILES
from qwencoder_lsp.context.parse import Parsed, parse_file
from qwencoder_lsp.context.store import Known, Store, location
from qwencoder_lsp.context.walk import Entry, Skip, entry_at, walk
from qwencoder_lsp.errors import IndexUnavailable

log = logging.getLogger(__name__)

COMMIT_S, COMMIT_FILES = 0.5, 64  # what a reader waits for at most, and what a crash loses
SLICE_S = 0.02  # so long it works between two questions whether it may
MOST_FILES = 400_000


@dataclass(frozen=True, slots=True)
class Scan:
    """What a scan did. skipped: files that were left out, by reason."""

    files: int = 0
    parsed: int = 0
    lines: int = 0
    removed: int = 0
    seconds: float = 0.0
    skipped: dict[str, int] = field(default_factory=dict)


class Indexer:
    """The writer of one folder's index.

    may_go_on: called before each file; it may wait, and raises whatever ends the work. Raises IndexUnavailable when another process holds the lock,
    or the index cannot be opened.
    """

    def __init__(self, root: Path, may_go_on: Callable[[], None] = lambda: None) -> None:
        if root.parent == root or root == Path.home():
            raise IndexUnavailable(f"{root} is too much to index.", "Open the folder of a project.")
        self.root = root
        self._may_go_on = may_go_on
        place = location(root)
        try:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = FileLock(place.with_suffix(".lock"))
            self._lock.acquire(timeout=0)
        except Timeout:
            raise IndexUnavailable(f"Another process keeps the index of {root}.", "Nothing is to be done.") from None
        except OSError as error:
            raise IndexUnavailable(
                f"{place.parent} cannot be written ({error.strerror}).", "Correct its rights; typing goes on without it."
            ) from error
        try:
            self.store = Store(root)
        except BaseException:  # whatever it was, another process must be able to take the index
            self._lock.release()
            raise

    def scan(self, progress: Callable[[int, int], None] = lambda done, total: None) -> Scan:
        """Compare every file with the index. progress: files done and files to do, now and then. Raises IndexUnavailable."""
        return self._guarded(lambda: self._scan(progress))

    def update(self, changed: Iterable[str]) -> Scan:
        """The paths, relative to the folder, of files or directories that may have changed, come or gone. Raises IndexUnavailable."""
        names = sorted(set(changed))
        if any(name.rsplit("/", 1)[-1] in FILES for name in names):
            return self.scan()
        return self._guarded(lambda: self._update(names))

    def verify(self) -> Scan:
        """Look for damage; where there is any, the index is made again, and the outcome is that scan's. Raises IndexUnavailable."""

        def look() -> Scan:
            if not self.store.is_sound():
                raise sqlite3.DatabaseError("the check failed")
            return Scan()

        return self._guarded(look)

    def close(self) -> None:
        """Let go of the index."""
        self.store.close()
        self._lock.release()

    def _guarded(self, work: Callable[[], Scan]) -> Scan:
        """The outcome of `work`; a damaged or vanished index is made again once, by a scan."""
        try:
            if not self.store.path.exists():
                raise sqlite3.DatabaseError("it was deleted")
            return work()
        except sqlite3.OperationalError as error:
            raise IndexUnavailable(
                f"The index {self.store.path} cannot be written ({error}).", "Free the disk; typing goes on without it."
            ) from error
        except sqlite3.DatabaseError as error:
            log.warning("the index %s is damaged; it is made again", self.store.path.name)
            try:
                self.store.rebuild()
                return self._scan(lambda done, total: None)
            except sqlite3.Error:
                raise IndexUnavailable(f"The index {self.store.path} cannot be made again ({error}).", "Delete it.") from error

    def _scan(self, progress: Callable[[int, int], None]) -> Scan:
        start = time.perf_counter()
        known = self.store.known()
        skipped: Counter[str] = Counter()
        changed: list[tuple[Entry, Known | None]] = []
        seen: set[str] = set()
        for found in walk(self.root):
            if isinstance(found, Skip):
                skipped[found.value] += 1
                continue
            if len(seen) >= MOST_FILES:
                log.warning("%s has more than %d files; the others are left out", self.root.name, MOST_FILES)
                break
            seen.add(found.path)
            before = known.get(found.path)
            if before is None or (before.size, before.mtime) != (found.size, found.mtime):
                changed.append((found, before))
        gone = [path for path in known if path not in seen]
        if gone:
            self.store.remove(gone)
        done = self._parse(changed, progress)
        if done.parsed:
            self.store.settle()
        self.store.note("scanned", f"{time.time():.0f}")
        skipped.update(done.skipped)
        return Scan(len(seen), done.parsed, done.lines, len(gone), time.perf_counter() - start, dict(skipped))

    def _update(self, names: list[str]) -> Scan:
        start = time.perf_counter()
        known = self.store.known() if len(names) > COMMIT_FILES else {n: k for n in names if (k := self.store.known_file(n))}
        changed: list[tuple[Entry, Known | None]] = []
        gone: list[str] = []
        for name in names:
            if (self.root / name).is_dir():
                gone += [name] if name in known else []
                gone += [path for path in self.store.under(name) if not (self.root / path).is_file()]
                inside = (entry_at(self.root, path) for path in _files(self.root, name))
                changed += [(entry, self.store.known_file(entry.path)) for entry in inside if entry]
            elif entry := entry_at(self.root, name):
                changed.append((entry, known.get(name)))
            else:
                gone += [name] if name in known else self.store.under(name)
        if gone:
            self.store.remove(gone)
        done = self._parse(changed, lambda done, total: None)
        return Scan(len(names), done.parsed, done.lines, len(gone), time.perf_counter() - start, done.skipped)

    def _parse(self, changed: list[tuple[Entry, Known | None]], progress: Callable[[int, int], None]) -> Scan:
        ready: list[Parsed] = []
        touched: list[tuple[str, int, int]] = []
        skipped: Counter[str] = Counter()
        lines = parsed_files = 0
        since = asked = 0.0
        for number, (entry, before) in enumerate(changed):
            now = time.perf_counter()
            if now - asked > SLICE_S:
                if ready and (now - since > COMMIT_S or len(ready) >= COMMIT_FILES):
                    self.store.put(ready)
                    ready, since = [], now
                    progress(number, len(changed))
                self._may_go_on()
                asked = time.perf_counter()
            parsed = parse_file(self.root, entry, before.digest if before else b"")
            if parsed is None:
                touched.append((entry.path, entry.size, entry.mtime))
            else:
                ready.append(parsed)
                parsed_files += 1
                lines += parsed.lines
                if parsed.skip:
                    skipped[parsed.skip.value] += 1
        if ready:
            self.store.put(ready)
        if touched:
            self.store.touch(touched)
        return Scan(len(changed), parsed_files, lines, skipped=dict(skipped))


def _files(root: Path, name: str) -> Iterable[str]:
    for directory, _, files in os.walk(root / name):
        for file in files:
            yield (Path(directory) / file).relative_to(root).as_posix()
