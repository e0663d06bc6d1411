"""Documents and what is done to them: MDM T01 to T11. HL7 v2.8.2 9.5, 9.6."""

import base64

import pytest

from hie.kernel.envelope import Draft, Submission, WriteMode
from hie.kernel.fhir import FhirJson
from tests.support.mapping import PID, drafts_of, resource_of, submission_of

TEXT = (
    "OBX|1|TX|18842-5^Summary^LN||Line one||||||F",
    "OBX|2|TX|18842-5^Summary^LN||Line two~three||||||F",
)
EVENTS = [f"T{n:02}" for n in range(1, 12)]
WITH_CONTENT = ("T02", "T04", "T06", "T08", "T10")


def txa(**values: str) -> str:
    given = {"_1": "1", "_2": "DS", "_12": "D2^GH", "_17": "AU", "_19": "AV", **values}
    numbered = {int(key[1:]): value for key, value in given.items()}
    return "|".join(["TXA", *(numbered.get(n, "") for n in range(1, max(numbered) + 1))])


def mdm(event: str, *segments: str) -> Submission:
    return submission_of("EVN||20260131115900", PID, *segments, trigger=f"MDM^{event}")


def documents(submission: Submission) -> list[Draft]:
    return [d for d in drafts_of(submission, "DocumentReference") if d.name.startswith("document")]


def told(event: str, *segments: str, **values: str) -> FhirJson:
    """What a message of this event says of its document."""
    return documents(mdm(event, txa(**values), *segments))[-1].resource


@pytest.mark.parametrize("event", EVENTS)
def test_a_message_without_content_leaves_the_stored_content_alone(event):
    content = TEXT if event in WITH_CONTENT else ()
    found = documents(mdm(event, txa(), *content))
    last = found[-1]
    assert last.lifecycle == "document"
    assert last.key == ("document", "urn:oid:2.16.840.1.113883.19.1", "D2")
    if event in WITH_CONTENT:
        assert last.mode is WriteMode.UPSERT
        assert len(last.resource["content"]) == 1
    else:
        assert [d.mode for d in found] == [WriteMode.CREATE_IF_ABSENT, WriteMode.PATCH]
        assert "content" not in last.resource
        assert found[0].resource["content"]


def test_the_lines_of_a_text_are_one_document():
    binary = resource_of(mdm("T02", txa(), *TEXT), "Binary")
    assert base64.b64decode(binary["data"]).decode() == "Line one\nLine two\nthree"
    assert binary["securityContext"] == {"reference": "urn:hie:document"}


@pytest.mark.parametrize(
    ("event", "code"),
    [("T05", "appends"), ("T06", "appends"), ("T09", "replaces"), ("T10", "replaces")],
)
def test_an_addendum_appends_and_a_replacement_replaces(event, code):
    (relation,) = told(event, _13="D1^GH")["relatesTo"]
    assert relation["code"] == code
    assert relation["target"]["identifier"]["value"] == "D1"


@pytest.mark.parametrize("event", ["T01", "T02", "T04", "T08"])
def test_a_parent_without_a_relation_is_something_related(event):
    found = told(event, _13="D1^GH")
    assert "relatesTo" not in found
    assert found["context"]["related"][0]["identifier"]["value"] == "D1"


@pytest.mark.parametrize("event", ["T09", "T10"])
def test_a_replaced_document_is_superseded_known_or_not(event):
    submission = mdm(event, txa(_13="D1^GH"), *TEXT)
    created, changed = [
        d for d in drafts_of(submission, "DocumentReference") if d.name.startswith("replaced")
    ]
    assert (created.mode, changed.mode) == (WriteMode.CREATE_IF_ABSENT, WriteMode.PATCH)
    assert changed.key == ("document", "urn:oid:2.16.840.1.113883.19.1", "D1")
    assert changed.resource["status"] == created.resource["status"] == "superseded"
    assert "content" not in changed.resource
    (relation,) = documents(submission)[-1].resource["relatesTo"]
    assert relation["target"]["reference"] == "urn:hie:replaced"


@pytest.mark.parametrize(
    ("event", "available", "status"),
    [
        ("T02", "AV", "current"),
        ("T02", "OB", "superseded"),
        ("T02", "CA", "entered-in-error"),
        ("T02", "UN", "current"),
        ("T11", "AV", "entered-in-error"),
        ("T11", "CA", "entered-in-error"),
    ],
)
def test_what_is_withdrawn_was_entered_in_error(event, available, status):
    assert told(event, _19=available)["status"] == status


@pytest.mark.parametrize(
    ("completion", "status"),
    [("DI", "preliminary"), ("PA", "preliminary"), ("AU", "final"), ("LA", "final")],
)
def test_who_has_signed_makes_a_document_final(completion, status):
    assert told("T02", _17=completion)["docStatus"] == status
    assert told("T11", _17=completion)["docStatus"] == "entered-in-error"


@pytest.mark.parametrize(
    ("kind", "codes"),
    [
        ("DS", ["18842-5"]),
        ("34133-9^Summary^LN", ["34133-9"]),
        ("ODD^Our own^99GH", ["ODD", "UNK"]),
        ("", ["UNK"]),
    ],
)
def test_the_type_of_a_document_is_a_code_us_core_knows(kind, codes):
    created = documents(mdm("T02", txa(_2=kind), *TEXT))[0].resource
    assert [coding["code"] for coding in created["type"]["coding"]] == codes


def test_the_presentation_tells_the_type_where_the_content_does_not():
    pointer = "OBX|1|RP|IMG^Scan^L||https://docs.example/1^GH||||||F"
    found = told("T02", pointer, _3="TX")
    assert found["content"][0]["attachment"]["contentType"] == "text/plain"


def test_a_note_on_the_content_is_content_too():
    found = told("T02", *TEXT, "NTE|1||Dictated~by phone")
    data = found["content"][1]["attachment"]["data"]
    assert base64.b64decode(data).decode() == "Dictated\nby phone"


def test_values_beside_a_document_are_observations():
    found = resource_of(
        mdm("T02", txa(), *TEXT, "OBX|3|NM|8867-4^HR^LN||60|/min|||||F"), "Observation"
    )
    assert found["valueQuantity"]["unit"] == "/min"


def test_an_order_number_without_the_order_is_something_related():
    found = told("T02", _14="O1^GH", _15="F1^LAB")
    related = [entry["identifier"]["value"] for entry in found["context"]["related"]]
    assert related == ["O1", "F1"]
