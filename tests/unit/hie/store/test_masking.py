"""What is left of a resource without references that its reader may not follow."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hie.kernel.errors import HieError
from hie.store.body import dump
from hie.store.masking import load_masking, named_in

FOLDER = Path(__file__).resolve().parents[4] / "config/fhir"
MASKING = load_masking(FOLDER)
SEEN, HIDDEN = {"reference": "Observation/seen"}, {"reference": "Observation/hidden"}
NOTHING = {
    "extension": [
        {
            "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
            "valueCode": "unknown",
        }
    ]
}


def left_of(resource_type, /, **members):
    """The members of a resource, but for its type, after masking `hidden` of every type."""
    body = dump({"resourceType": resource_type, **members})
    hidden = {name for name in named_in(body) if name.endswith("/hidden")}
    left = json.loads(MASKING.masked(body, hidden), parse_float=Decimal)
    assert left.pop("resourceType") == resource_type
    return left


#: Type, members as sent, members as if the sender had never named what is hidden.
DROPPED: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "an entry of a list of references": (
        "DiagnosticReport",
        {"result": [SEEN, HIDDEN | {"display": "HIV"}]},
        {"result": [SEEN]},
    ),
    "the last one": (
        "DiagnosticReport",
        {"status": "final", "result": [HIDDEN]},
        {"status": "final"},
    ),
    "one reference": (
        "Observation",
        {"status": "final", "specimen": {"reference": "Specimen/hidden"}},
        {"status": "final"},
    ),
    "a version": (
        "Observation",
        {"hasMember": [{"reference": "Observation/hidden/_history/2"}]},
        {},
    ),
    "the entry that is nothing without it": (
        "Encounter",
        {
            "diagnosis": [
                {"condition": {"reference": "Condition/hidden"}, "rank": 1, "use": {"text": "AD"}}
            ]
        },
        {},
    ),
    "an entry of a List": (
        "List",
        {"entry": [{"item": SEEN}, {"flag": {"text": "new"}, "item": HIDDEN}]},
        {"entry": [{"item": SEEN}]},
    ),
    "an entry of a section in a section": (
        "Composition",
        {"section": [{"title": "a", "section": [{"title": "b", "entry": [HIDDEN, SEEN]}]}]},
        {"section": [{"title": "a", "section": [{"title": "b", "entry": [SEEN]}]}]},
    ),
    "an entry with nothing else": (
        "CarePlan",
        {"activity": [{"id": "1", "reference": {"reference": "Task/hidden"}}]},
        {},
    ),
    "the reference alone where the entry may be without": (
        "CarePlan",
        {
            "activity": [
                {"progress": [{"text": "on the way"}], "reference": {"reference": "Task/hidden"}}
            ]
        },
        {"activity": [{"progress": [{"text": "on the way"}]}]},
    ),
    "an extension": (
        "Observation",
        {
            "extension": [
                {"url": "urn:x", "valueReference": HIDDEN},
                {"url": "urn:y", "valueString": "z"},
            ]
        },
        {"extension": [{"url": "urn:y", "valueString": "z"}]},
    ),
    "a reference of what is contained": (
        "MedicationRequest",
        {"contained": [{"resourceType": "List", "id": "c", "entry": [{"item": HIDDEN}]}]},
        {"contained": [{"resourceType": "List", "id": "c"}]},
    ),
    "a narrative that links to it": (
        "Composition",
        {
            "title": "t",
            "text": {"status": "generated", "div": '<div><a href="Observation/hidden">x</a></div>'},
        },
        {"title": "t"},
    ),
    "an attachment": (
        "DiagnosticReport",
        {"status": "final", "presentedForm": [{"title": "scan", "url": "Binary/hidden"}]},
        {"status": "final"},
    ),
    "a target of a Provenance": ("Provenance", {"target": [HIDDEN, SEEN]}, {"target": [SEEN]}),
}


@pytest.mark.parametrize("case", DROPPED)
def test_a_hidden_reference_leaves_what_the_sender_would_have_written_without_it(case):
    kind, sent, unnamed = DROPPED[case]
    assert left_of(kind, **sent) == unnamed


@pytest.mark.parametrize(
    ("kind", "sent", "left"),
    [
        (
            "MedicationRequest",
            {"medicationReference": {"reference": "Medication/hidden"}},
            {"medicationReference": NOTHING},
        ),
        ("Schedule", {"actor": [{"reference": "Device/hidden"}]}, {"actor": [NOTHING]}),
        (
            "DocumentReference",
            {"content": [{"attachment": {"contentType": "text/plain", "url": "Binary/hidden"}}]},
            {"content": [NOTHING]},
        ),
        (
            "Provenance",
            {"agent": [{"type": {"text": "author"}, "who": {"reference": "Device/hidden"}}]},
            {"agent": [{"type": {"text": "author"}, "who": NOTHING}]},
        ),
    ],
)
def test_what_must_be_there_is_there_and_says_nothing(kind, sent, left):
    assert left_of(kind, **sent) == left


def test_a_consent_never_seems_to_permit_more():
    data = {"data": [{"meaning": "instance", "reference": {"reference": "Observation/hidden"}}]}
    left = left_of(
        "Consent", provision={"type": "permit", "provision": [{"type": "permit", **data}]}
    )
    (entry,) = left["provision"]["provision"][0]["data"]
    assert entry == {"meaning": "instance", "reference": NOTHING}


def test_numbers_and_the_order_of_members_stay():
    start = b'{"resourceType":"Observation","valueQuantity":{"value":6.10,"unit":"%"},'
    member, end = b'"hasMember":[{"reference":"Observation/hidden"}],', b'"status":"final"}'
    assert MASKING.masked(start + member + end, {"Observation/hidden"}) == start + end


def test_a_name_in_a_text_is_no_reference():
    body = dump({"note": '"reference":"Observation/a"', "div": '<a href="Observation/b">'})
    assert named_in(body) == {"Observation/b"}
    assert named_in(dump({"reference": "#c", "url": "http://x/Observation/d"})) == set()


def test_a_table_that_keeps_what_need_not_be_there_is_refused(tmp_path):
    (tmp_path / "required.json").write_text('{"List": ["entry.item"]}', encoding="utf-8")
    (tmp_path / "masking.toml").write_text('[kept]\nList = ["source"]\n', encoding="utf-8")
    with pytest.raises(HieError, match=r"kept\.List"):
        load_masking(tmp_path)
    (tmp_path / "masking.toml").unlink()
    with pytest.raises(HieError, match=r"expected required\.json"):
        load_masking(tmp_path)
