"""What the hub makes and serves before validators that others wrote, as `make conformance` does."""

import os
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.conformance import judges
from tests.conformance.model import Found, Known, Subject, compare, read_known
from tests.conformance.run import judged, subjects_of
from tests.conftest import IS_LONG

HAS_NODE = judges.node() is not None and (judges.NODE_FOLDER / "node_modules/fhir").is_dir()
#: On a build server what is skipped is not tested.
needs_node = pytest.mark.skipif(
    not HAS_NODE and os.environ.get("CI") != "true", reason="npm `fhir`: make node"
)
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "gender": "female",
    "name": [{"family": "Synthetic"}],
}


def faulty(**members: Any) -> list[Subject]:
    return [Subject("planted", {**deepcopy(PATIENT), **members})]


@needs_node
async def test_judges_find_nothing_that_is_not_listed_with_its_reason():
    subjects = await subjects_of(
        3 if IS_LONG else 1, step=1 if IS_LONG else 5, feeds_messages=IS_LONG
    )
    kinds = {each.name.partition(":")[0] for each in subjects}
    assert {"metadata", "search", "everything", "summary"} <= kinds
    known = [row for row in read_known() if row.judge != "official"]
    report = compare(judged(subjects, None), known)
    assert report.unlisted == ()
    if IS_LONG:
        assert report.stale(known) == []


@pytest.mark.parametrize(
    ("judge", "members"),
    [
        ("own", {"gender": "nonsense"}),
        ("own", {"maritalStatus": {"coding": [{"system": "urn:x", "code": "y"}]}}),
        ("fhirkit", {"gender": 7}),
        ("fhirkit", {"birthDate": "yesterday"}),
        ("fhirkit", {"nonsense": 1}),
    ],
)
def test_a_planted_fault_is_found_by_a_judge_and_listed_nowhere(judge: str, members: Any):
    judging = {"own": judges.by_ourselves, "fhirkit": judges.by_fhirkit}[judge]
    assert list(judging([Subject("sound", PATIENT)])) == []
    found = list(judging(faulty(**members)))
    assert found
    assert compare(found, read_known()).unlisted == tuple(found)


@needs_node
def test_npm_fhir_finds_planted_faults():
    subjects = [*faulty(gender="nonsense"), *faulty(nonsense=1), Subject("sound", PATIENT)]
    found = [each for each in judges.by_fhir_js(subjects) if each.severity in ("error", "fatal")]
    assert len(found) >= 2
    assert {each.subject for each in found} == {"planted"}
    assert compare(found, read_known()).unlisted == tuple(found)


def test_a_row_that_excuses_nothing_is_told():
    known = read_known()
    assert compare([], known).stale(known) == known
    assert all(row.reason for row in known)


def test_the_validator_of_hl7_is_asked_only_where_java_and_its_jar_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="java is not installed"):
        list(judges.by_official([Subject("x", PATIENT)], tmp_path / "validator.jar"))


def test_findings_of_hl7_s_validator_are_read_from_its_outcomes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """A stand-in for the JAR's program, which nobody may ship: what is read is its outcome file."""
    outcome = (
        '{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"OperationOutcome",'
        '"issue":[{"severity":"error","code":"invalid","details":{"text":"t"},'
        '"expression":["Patient.name[0]"]},{"severity":"information","code":"x"}]}}]}'
    )
    program = tmp_path / "java"
    program.write_text(
        '#!/bin/bash\nwhile [ "$1" != "-output" ]; do shift; done\n'
        f"cat > \"$2\" <<'END'\n{outcome}\nEND\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = list(judges.by_official([Subject("one", PATIENT)], tmp_path / "validator.jar"))
    assert found == [Found("official", "error", "Patient.name", "t", "one")]


def test_a_row_covers_what_it_says_and_no_more():
    row = Known("own", "warning", re.compile(r"A\.b"), re.compile("expected"), "why")
    assert row.covers(Found("own", "warning", "A.b", "expected a code", "x"))
    assert not row.covers(Found("own", "warning", "A.b.c", "expected a code", "x"))
    assert not row.covers(Found("own", "error", "A.b", "expected a code", "x"))
    assert not row.covers(Found("fhir", "warning", "A.b", "expected a code", "x"))
