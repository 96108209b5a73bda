"""review, tests, docs and commit-message as a user and CI run them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qwencoder_lsp.gateway import rendezvous
from tests.protocol.gateways import end
from tests.protocol.test_cli import cli
from tests.unit.context.test_changes import git

CODE = "def first(items):\n    return items[1]\n\n\ndef last(items):\n    return items[-1]\n"
WRONG, RIGHT = "return items[1]", "return items[0]"
FOUND = {"findings": [{"quote": WRONG, "message": "It skips one, always: 100%.", "category": "logic", "severity": "error"}]}
RULES = [
    {"contains": "For each change tell", "text": json.dumps(FOUND)},
    {"contains": "fails its tests", "text": f"```python\n{CODE.replace(WRONG, RIGHT)}```"},
    {"contains": "Write a docstring", "text": '```python\ndef last(items):\n    """Return the last item."""\n    return items[0]\n```'},
    {"contains": "Write tests", "text": "```python\nfrom app import first\n\n\ndef test_first():\n    assert first([7, 8]) == 8\n```"},
    {"contains": "commit message", "text": "```\nReturn the first item.\n\nIt returned the second.\n```"},
]


@pytest.fixture(autouse=True)
def gateway_ends(script: Any) -> Iterator[None]:
    script(rules=RULES)
    yield
    if address := rendezvous.read_address():
        end(address.pid)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "app.py").write_text(CODE, "utf-8")
    (tmp_path / "notes.txt").write_text("nothing\n", "utf-8")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "one")
    return tmp_path


def test_a_file_is_reviewed_and_its_finding_printed_as_compilers_do(repo: Path) -> None:
    done = cli("review", "app.py", cwd=repo)
    assert (done.returncode, done.stdout) == (
        0,
        f"app.py:2:5: error: It skips one, always: 100%. [logic]\n    - {WRONG}\n    + {RIGHT}\n1 finding in 1 file\n",
    )


@pytest.mark.parametrize(("fail_on", "code"), [("error", 1), ("warning", 1), ("never", 0)])
def test_the_exit_code_follows_the_severity(repo: Path, fail_on: str, code: int) -> None:
    assert cli("review", ".", "--fail-on", fail_on, cwd=repo).returncode == code


def test_findings_as_json(repo: Path) -> None:
    report = json.loads(cli("review", "app.py", "--format", "json", cwd=repo).stdout)
    (finding,) = report["findings"]
    assert (finding["path"], finding["line"], finding["column"], finding["end_line"], finding["end_column"]) == ("app.py", 2, 5, 2, 20)
    assert (finding["severity"], finding["quote"], finding["replacement"]) == ("error", WRONG, RIGHT)
    assert report["files"] == 1


def test_findings_as_workflow_commands(repo: Path) -> None:
    done = cli("review", "app.py", "--format", "github", cwd=repo)
    where = "file=app.py,line=2,endLine=2,col=5,endColumn=20,title=Qwen-Coder%3A logic"
    assert done.stdout == f"::error {where}::It skips one, always: 100%25.\n"


def test_findings_as_sarif_have_rules_places_and_fixes(repo: Path) -> None:
    log = json.loads(cli("review", "app.py", "--format", "sarif", cwd=repo).stdout)
    (run,) = log["runs"]
    (result,) = run["results"]
    assert (log["version"], run["tool"]["driver"]["name"], run["columnKind"]) == ("2.1.0", "qwencoder-lsp", "unicodeCodePoints")
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "logic"
    region = result["locations"][0]["physicalLocation"]["region"]
    assert region == {"startLine": 2, "startColumn": 5, "endLine": 2, "endColumn": 20}
    assert result["fixes"][0]["artifactChanges"][0]["replacements"] == [{"deletedRegion": region, "insertedContent": {"text": RIGHT}}]


def test_only_changed_lines_are_judged(repo: Path) -> None:
    (repo / "app.py").write_text(CODE.replace("items[-1]", "items[-1:][0]"), "utf-8")
    assert "no findings in 1 file" in cli("review", "--diff", "HEAD", cwd=repo).stdout
    (repo / "app.py").write_text(CODE.replace("(items):\n    return items[1]", "(items):\n    return items[1]  # all"), "utf-8")
    assert json.loads(cli("review", "--diff", "HEAD", "--format", "json", cwd=repo).stdout)["files"] == 1


def test_what_is_staged_is_reviewed_and_nothing_else(repo: Path) -> None:
    assert "no findings in 0 files" in cli("review", "--staged", cwd=repo).stdout
    (repo / "new.py").write_text(CODE, "utf-8")
    git(repo, "add", "new.py")
    assert "new.py:2:5: error" in cli("review", "--staged", cwd=repo).stdout


def test_fix_writes_the_suggestion_keeps_the_mode_and_leaves_nothing_behind(repo: Path) -> None:
    (repo / "app.py").write_bytes(CODE.replace("\n", "\r\n").encode())
    (repo / "app.py").chmod(0o750)
    before = sorted(path.name for path in repo.iterdir())
    done = cli("review", "app.py", "--fix", cwd=repo)
    assert "app.py: 1 of 1 fixed." in done.stderr
    assert (repo / "app.py").read_bytes() == CODE.replace(WRONG, RIGHT).replace("\n", "\r\n").encode()
    assert (repo / "app.py").stat().st_mode & 0o777 == 0o750
    assert sorted(path.name for path in repo.iterdir()) == before


@pytest.mark.parametrize(
    "arguments", [[], ["app.py", "--staged"], ["app.py", "--format", "xml"], ["app.py", "--fail-on", "bad"], ["none.py"], ["--diff", "none"]]
)
def test_wrong_usage_is_said_in_one_sentence(repo: Path, arguments: list[str]) -> None:
    done = cli("review", *arguments, cwd=repo)
    assert done.returncode == 2
    assert done.stderr.startswith("qwencoder-lsp: ")
    assert "Traceback" not in done.stderr


def test_tests_are_printed_as_a_change_or_written_and_run(repo: Path) -> None:
    shown = cli("tests", "app.py:1", cwd=repo)
    assert "+++ b/test_app.py" in shown.stdout
    assert "+    assert first([7, 8]) == 8" in shown.stdout
    assert not (repo / "test_app.py").exists()
    run = f"{sys.executable} -m pytest -q -p no:cacheprovider"
    done = cli("tests", "app.py:1", "--write", "--run", run, cwd=repo)
    assert "test_app.py: made, pytest, and they pass" in done.stdout
    (repo / "app.py").write_text(CODE.replace(WRONG, RIGHT), "utf-8")
    again = cli("tests", "app.py:1", "--write", "--run", run, cwd=repo)
    assert again.returncode == 1
    assert "do not pass" in again.stderr


def test_docs_are_printed_or_written_and_the_code_stays(repo: Path) -> None:
    assert '+    """Return the last item."""' in cli("docs", "app.py", cwd=repo).stdout
    assert (repo / "app.py").read_text("utf-8") == CODE
    done = cli("docs", "app.py", "--write", cwd=repo)
    assert (repo / "app.py").read_text("utf-8") == CODE.replace("last(items):\n", 'last(items):\n    """Return the last item."""\n')
    assert "first: The model wrote no documentation" in done.stderr


def test_a_commit_message_is_made_of_what_is_staged(repo: Path) -> None:
    assert "Nothing is staged." in cli("commit-message", cwd=repo).stderr
    (repo / "app.py").write_text(CODE.replace(WRONG, RIGHT), "utf-8")
    git(repo, "add", "-A")
    assert cli("commit-message", cwd=repo).stdout == "Return the first item\n\nIt returned the second.\n"


def test_the_pre_commit_hook_is_defined() -> None:
    hooks = (Path(__file__).parents[2] / ".pre-commit-hooks.yaml").read_text("utf-8")
    command = next(line.split(": ", 1)[1] for line in hooks.splitlines() if line.strip().startswith("entry:"))
    assert (
        subprocess.run([*[sys.executable, "-m", "qwencoder_lsp.cli"], *command.split()[1:], "--help"], check=False, capture_output=True).returncode
        == 0
    )
