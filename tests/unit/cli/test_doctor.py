"""What doctor says of machines that the tests do not run on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from qwencoder_lsp.cli import reach
from qwencoder_lsp.cli.doctor import _llama, as_text, gpus
from qwencoder_lsp.engine.devices import Build, Device, probe

CPU = Device("CPU", "AMD EPYC", "CPU", 24 << 30, 20 << 30)
CUDA = Device("CUDA", "NVIDIA H100", "GPU", 80 << 30, 78 << 30)


def test_a_gpu_that_the_build_does_not_use_is_worth_a_step() -> None:
    found = list(_llama(Build("0.3.36", "", False, (CPU,)), ["NVIDIA"]))
    assert [finding.state for finding in found] == ["ok", "note"]
    assert "-DGGML_CUDA=on" in found[-1].next
    assert found[-1].next.endswith("==0.3.36")
    assert "1. Build llama.cpp for it" in as_text(found)


def test_a_gpu_in_use_is_named_with_its_memory() -> None:
    found = list(_llama(Build("0.3.36", "", True, (CUDA, CPU)), ["NVIDIA"]))
    assert "built for CUDA, CPU" in found[0].text
    assert "NVIDIA H100 (CUDA, 80.0 GiB, 78.0 GiB free)" in found[1].text
    assert as_text(found).endswith("Everything is in order.")


def test_a_machine_without_a_gpu_is_in_order() -> None:
    assert [finding.state for finding in _llama(Build("0.3.36", "", False, (CPU,)), [])] == ["ok", "ok"]


def test_a_library_that_ends_its_process_is_a_problem_with_a_step() -> None:
    build = probe((sys.executable, "-c", "import os, sys; sys.stderr.write('Illegal instruction\\n'); os.abort()"))
    assert "Illegal instruction" in build.problem
    (finding,) = _llama(build, [])
    assert finding.state == "problem"
    assert "pip install" in finding.next


@pytest.mark.parametrize("command", [("/no/such/program",), (sys.executable, "-c", "print('no json')"), (sys.executable, "-c", "")])
def test_a_probe_that_cannot_be_read_is_a_problem_and_no_exception(command: tuple[str, ...]) -> None:
    assert probe(command).problem


def test_the_installed_library_tells_its_version_and_its_devices() -> None:
    build = probe()
    assert build.problem == ""
    assert build.version
    assert "CPU" in {device.backend for device in build.devices}


@pytest.mark.skipif(sys.platform == "darwin", reason="Linux keeps the list in /proc and /sys")
def test_gpus_are_found_by_what_the_system_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus(tmp_path, tmp_path) == []
    (tmp_path / "driver" / "nvidia").mkdir(parents=True)
    (tmp_path / "driver" / "nvidia" / "version").write_text("x")
    for card, vendor in (("card0", "0x8086\n"), ("card1", "0x1002\n")):
        (tmp_path / card / "device").mkdir(parents=True)
        (tmp_path / card / "device" / "vendor").write_text(vendor)
    assert gpus(tmp_path, tmp_path) == ["NVIDIA", "AMD"]


def test_the_package_index_is_the_configured_one_and_its_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:secret@127.0.0.1:9/simple")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    hub, index = reach.places()
    assert (hub.host, index.host) == ("127.0.0.1:9", "127.0.0.1:9")
    assert hub.problem
    assert index.problem
    assert "secret" not in repr(index)
