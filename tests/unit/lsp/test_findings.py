from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from qwencoder_lsp.core.results import Finding, Severity
from qwencoder_lsp.core.text import Edit, Span, apply_edits, moved
from qwencoder_lsp.lsp.findings import Findings, move_findings

LENGTH = 30


def finding(start: int, end: int, id_: str = "f") -> Finding:
    return Finding(id_, "bug", Severity.WARNING, "message", "", Span(start, end))


@st.composite
def edits(draw: st.DrawFn) -> list[Edit]:
    """Edits that follow one another; each one's span lies in the text that the ones before it left."""
    size, out = LENGTH, []
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, size))
        end = draw(st.integers(start, size))
        text = draw(st.text("x", max_size=5))
        out.append(Edit(Span(start, end), text))
        size += len(text) - (end - start)
    return out


@given(edits(), st.integers(0, LENGTH - 1), st.integers(1, LENGTH))
def test_a_finding_stands_exactly_as_long_as_its_characters_do(made: list[Edit], start: int, length: int) -> None:
    """The model: every character has a name of its own; a finding stands while its names stay together and untouched."""
    end = min(start + length, LENGTH)
    text = "".join(chr(0x4E00 + i) for i in range(LENGTH))
    names = text[start:end]
    expected: Span | None = Span(start, end)
    for edit in made:
        text = apply_edits(text, [edit])
        expected = Span(at, at + len(names)) if expected and (at := text.find(names)) >= 0 else None
    survivors = move_findings([finding(start, end)], *made)
    assert [f.span for f in survivors] == ([expected] if expected else [])


def test_an_insertion_at_either_end_of_a_finding_leaves_it_whole() -> None:
    assert moved(Span(4, 8), Edit(Span(4, 4), "ab")) == Span(6, 10)
    assert moved(Span(4, 8), Edit(Span(8, 8), "ab")) == Span(4, 8)


def test_an_insertion_inside_a_finding_ends_it() -> None:
    assert moved(Span(4, 8), Edit(Span(5, 5), "a")) is None


def test_the_version_changes_only_when_what_is_shown_changes() -> None:
    findings = Findings()
    findings.put("u", [finding(4, 8)])
    first = findings.of("u").version
    assert not findings.edit("u", Edit(Span(9, 9), "behind it"))
    assert findings.of("u").version == first
    assert findings.edit("u", Edit(Span(0, 0), "before it"))
    assert findings.of("u").version > first


def test_a_review_of_a_selection_keeps_the_findings_outside_it() -> None:
    findings = Findings()
    findings.put("u", [finding(0, 3, "a"), finding(10, 13, "b"), finding(20, 23, "c")])
    findings.put("u", [finding(11, 12, "d")], within=Span(8, 15))
    assert [f.id for f in findings.of("u").findings] == ["a", "d", "c"]


def test_a_review_of_the_file_replaces_all_findings() -> None:
    findings = Findings()
    findings.put("u", [finding(0, 3, "a")])
    findings.put("u", [])
    assert findings.of("u").findings == ()


def test_forgetting_a_document_tells_whether_there_was_something_to_forget() -> None:
    findings = Findings()
    findings.put("u", [finding(0, 3)])
    assert findings.forget("u")
    assert not findings.forget("u")
    assert not findings.forget("never seen")


def test_findings_are_found_by_place_and_by_id() -> None:
    findings = Findings()
    findings.put("u", [finding(0, 3, "a"), finding(10, 13, "b")])
    assert [f.id for f in findings.near("u", Span(3, 5))] == ["a"]
    assert findings.get("u", "b") is not None
    assert findings.get("u", "gone") is None
    assert findings.dismiss("u", "b")
    assert findings.get("u", "b") is None


def test_a_dismissed_finding_does_not_come_back_with_the_next_review_of_the_same_code() -> None:
    findings = Findings()
    said, other = replace(finding(0, 3, "a"), quote="x = 1"), replace(finding(10, 13, "b"), quote="y = 1")
    findings.put("u", [said, other])
    findings.dismiss("u", "a")
    findings.put("u", [replace(said, id="c", span=Span(5, 8)), other])
    assert [f.id for f in findings.of("u").findings] == ["b"]
