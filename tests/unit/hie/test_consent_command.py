"""`hie consent decide` as it is typed: files in, one JSON object out, faults named."""

import json
from pathlib import Path
from typing import Any

import pytest

from hie.cli import main

CONSENT = {
    "resourceType": "Consent",
    "id": "c1",
    "status": "active",
    "patient": {"reference": "Patient/p1"},
    "provision": {"type": "permit"},
}
WEIGHT = {
    "resourceType": "Observation",
    "id": "w1",
    "status": "final",
    "subject": {"reference": "Patient/p1"},
    "code": {"text": "weight"},
}
REQUEST = {"patient": "Patient/p1", "organization": "Organization/o1", "purpose": "TREAT"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A consent, a resource, a request; no home, no database."""
    monkeypatch.delenv("HIE_REGIME", raising=False)
    monkeypatch.setenv("HIE_HOME", str(tmp_path / "nowhere"))
    for name, resource in (("consents/c.json", CONSENT), ("resources/w.json", WEIGHT)):
        path = tmp_path / name
        path.parent.mkdir()
        path.write_text(json.dumps(resource))
    (tmp_path / "request.json").write_text(json.dumps(REQUEST))
    (tmp_path / "consents" / "notes.txt").write_text("no resource")
    return tmp_path


def decide(folder: Path, *more: str) -> int:
    """The command's exit code."""
    named = ["--consents", str(folder / "consents"), "--request", str(folder / "request.json")]
    return main(["consent", "decide", *named, *more])


def test_the_decision_is_printed_as_one_json_object(folder, capsys):
    assert decide(folder, "--resources", str(folder / "resources")) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert list(told) == [
        *("decision", "reasons", "residual", "obligations", "released", "withheld"),
    ]
    assert (told["decision"], told["released"]) == ("permit", ["Observation/w1"])
    assert not (folder / "nowhere").exists(), "it needs no home"


def test_a_deny_is_a_decision_too(folder, capsys, monkeypatch):
    (folder / "consents" / "c.json").unlink()
    assert decide(folder) == 0
    assert json.loads(capsys.readouterr().out)["decision"] == "deny"
    assert decide(folder, "--regime", "hipaa-treatment") == 0
    assert json.loads(capsys.readouterr().out)["decision"] == "permit"
    monkeypatch.setenv("HIE_REGIME", "hipaa-treatment")
    assert decide(folder) == 0
    assert json.loads(capsys.readouterr().out)["decision"] == "permit"


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("request.json", "{", "`request.json`: the body is not JSON at line 1, column 2"),
        ("request.json", '{"patient": "Patient/p1"}', "`request.json`: `purpose`: expected"),
        ("consents/c.json", "[]", "`c.json`: `resourceType`: expected one FHIR resource"),
        ("consents/d.json", json.dumps(CONSENT), "`d.json`: `id`: expected another than in"),
        ("consents/c.json", "\xff", "`c.json`: the body is not JSON at line 1, column 1"),
        ("consents/c.json", '{"n": ' + "9" * 5_000 + "}", "`c.json`: the body is nested too deep"),
        ("consents/c.json", '{"id": "\\ud800"}', "half a surrogate pair at `$this.id`"),
        ("consents/c.json", "[" * 300 + "]" * 300, "`c.json`: a body may be nested 200 deep"),
        (
            "consents/c.json",
            '{"resourceType": "Consent", "provision": {"type": "deny", "type": "permit"}}',
            "`c.json`: an object names a property twice at `Consent.provision`",
        ),
    ],
)
def test_what_cannot_be_used_is_named_and_nothing_is_decided(folder, capsys, file, content, told):
    (folder / file).write_text(content, encoding="utf-8")
    assert decide(folder) == 2
    shown = capsys.readouterr()
    assert told in shown.err
    assert shown.out == ""


def test_a_file_that_is_not_read_is_named(folder, capsys):
    deny = {**CONSENT, "id": "d", "provision": {"type": "deny"}}
    (folder / "consents" / "d.JSON").write_text(json.dumps(deny))
    assert decide(folder) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["decision"] == "deny", "whatever the case of the suffix"
    assert "`notes.txt`: not read" in shown.err
    assert "d.JSON" not in shown.err


def test_a_purpose_nobody_knows_is_decided_about_and_remarked_on(folder, capsys):
    for purpose, is_known in (("TREAT", True), ("TREATT", False)):
        (folder / "request.json").write_text(json.dumps({**REQUEST, "purpose": purpose}))
        assert decide(folder) == 0
        shown = capsys.readouterr()
        assert "decision" in json.loads(shown.out)
        assert ("is no code of purposes.toml" in shown.err) is not is_known


def test_a_folder_or_regime_that_is_not_there_is_named(folder, capsys):
    assert decide(folder, "--resources", str(folder / "none")) == 2
    assert "expected a folder" in capsys.readouterr().err
    assert decide(folder, "--regime", "narnia") == 2
    assert "expected one of break-glass-only" in capsys.readouterr().err
