"""Consent forms: each shipped one, filled in, is a Consent that means what the form says.

Spec: https://profiles.ihe.net/ITI/PCF/content.html
"""

import base64
from pathlib import Path

import pytest

from consent.model import Effect
from fhir_server import validate
from hie.consents.content import not_understood, references_of, with_subject
from hie.consents.forms import Form, Signature, filled, load_forms
from hie.consents.scan import MOST_BYTES, read_scan
from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson
from tests.support.consents import consent, facts, judged, law, provision, read, request
from tests.support.tree import ROOT

FORMS = load_forms(ROOT / "config" / "consent" / "forms")
VALUES = {
    "organizations": ["clinic"],
    "senders": ["hospital"],
    "purposes": ["TREAT"],
    "date": ["2027-01-31"],
    "labels": ["HIV"],
}
SIGNED = Signature(by="Nora", on="2026-01-30")


def resolve(named: str) -> FhirJson | None:
    return {"reference": f"Organization/{named}"} if named in ("clinic", "hospital") else None


def made(form: Form, **changed: list[str]) -> FhirJson:
    values = {each.name: VALUES[each.kind] for each in form.fields} | changed
    return filled(form, values, patient="Patient/p1", signature=SIGNED, resolve=resolve)


@pytest.mark.parametrize("name", sorted(FORMS))
def test_every_form_makes_a_sound_consent_that_the_hub_understands_whole(name: str):
    found = made(FORMS[name])
    assert [i for i in validate.validate(found) if i.severity in ("error", "fatal")] == []
    (directive,) = read(found)
    assert list(not_understood(found, directive, {})) == []
    assert directive.rules
    is_open = any(rule.effect is not Effect.DENY for rule in directive.rules)
    assert is_open == (FORMS[name].effect == "permit")


def test_the_hiv_form_releases_hiv_results_to_whom_it_names_and_the_general_form_never():
    result = facts(labels=["HIV"])
    released = made(FORMS["release-hiv"], recipients=["clinic"])
    assert judged(request("clinic"), result, released).is_permitted
    assert not judged(request("lab"), result, released).is_permitted
    assert not judged(request("clinic", purpose="HOPERAT"), result, released).is_permitted
    general = made(FORMS["share-for-treatment"])
    assert not judged(request("clinic"), result, general).is_permitted
    assert judged(request("clinic"), facts(), general).is_permitted


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        pytest.param({"recipients": []}, "recipients", id="required"),
        pytest.param({"recipients": ["nobody"]}, "recipients", id="no such organization"),
        pytest.param({"purposes": ["HRESCH"]}, "purposes", id="not of its choices"),
        pytest.param({"until": ["soon"]}, "until", id="no date"),
        pytest.param({"until": ["2027-01-31", "2028-01-31"]}, "until", id="two dates"),
        pytest.param({"more": ["x"]}, "more", id="no such field"),
    ],
)
def test_a_field_that_is_wrong_is_named(changed: dict[str, list[str]], place: str):
    with pytest.raises(HieError) as refused:
        made(FORMS["release-hiv"], **changed)
    assert f"#/body/fields/{place}" in [i.expression[0] for i in refused.value.issues]


def test_a_form_file_that_is_wrong_is_told_with_file_and_key(tmp_path: Path):
    (tmp_path / "odd.toml").write_text('title = "x"\nabout = "y"\neffect = "maybe"')
    with pytest.raises(HieError, match=r"odd\.toml: `effect`"):
        load_forms(tmp_path)


@pytest.mark.parametrize(
    ("media", "content", "category"),
    [
        ("application/pdf", b"MZ" + bytes(100), Category.INVALID),
        ("image/png", b"%PDF-1.7" + bytes(100), Category.INVALID),
        ("image/jpeg", b"\xff\xd8\xff", Category.INVALID),
        ("text/html", b"<script>" + bytes(100), Category.UNSUPPORTED_MEDIA),
        ("application/pdf", b"%PDF-1.7" + bytes(MOST_BYTES), Category.TOO_LARGE),
        ("application/pdf", b"%PDF-1.7" + bytes(MOST_BYTES * 2), Category.TOO_LARGE),
    ],
    ids=["a program", "another type", "too short", "a page", "a byte too many", "far too large"],
)
def test_a_scan_is_what_its_first_bytes_say(media: str, content: bytes, category: Category):
    with pytest.raises(HieError) as refused:
        read_scan(media, base64.b64encode(content).decode(), "", "#/body/scan")
    assert refused.value.category is category


def test_scans_of_each_type_are_taken():
    begins = {
        "application/pdf": b"%PDF-1.4",
        "image/jpeg": b"\xff\xd8\xff\xe0",
        "image/png": b"\x89PNG\r\n\x1a\n",
        "image/tiff": b"II*\x00",
    }
    for media, begin in begins.items():
        content = begin + bytes(100)
        scan = read_scan(media, base64.b64encode(content).decode(), "form", "#/body/scan")
        assert scan.content == content


def test_what_would_not_be_carried_out_is_told_part_by_part():
    told = consent(provision("permit", provision("permit", purpose=[{"display": "?"}])))
    (directive,) = read(told)
    (issue,) = not_understood(told, directive, law().settings.words.notes)
    assert issue.expression == ("Consent.provision.provision[0]",)
    denial = consent(provision("deny", actor=[{"reference": {"display": "somebody"}}]))
    (directive,) = read(denial)
    assert list(not_understood(denial, directive, law().settings.words.notes))


def test_a_consent_is_filed_under_a_record_and_names_no_other_patient():
    told = consent(provision("permit"), performer=[{"reference": "Patient/p1"}])
    found = with_subject(told, {"p1"}, "r1")
    assert found["patient"] == {"reference": "Patient/r1"}
    assert found["performer"] == [{"reference": "Patient/r1"}]
    with pytest.raises(HieError) as refused:
        with_subject({**told, "performer": [{"reference": "Patient/other"}]}, {"p1"}, "r1")
    assert refused.value.category is Category.FORBIDDEN


def test_references_that_lead_nowhere_are_told():
    named, issues = references_of(
        consent(provision("deny", actor=[{"reference": {"reference": "urn:x"}}]))
    )
    assert named == {("Patient", "p1")}
    assert len(issues) == 1
