"""AuditEvent in IHE BALP's patterns: https://profiles.ihe.net/ITI/BALP/content.html."""

import base64

import pytest
from fhir.resources.R4B.auditevent import AuditEvent

from hie.audit.event import SUBTYPES, AuditRecord, Hub, record_of, to_fhir
from hie.kernel.clock import SECOND_US
from hie.kernel.context import Caller, RequestContext
from hie.kernel.ids import OrganizationId, PersonId

AT_US = 1_769_851_800 * SECOND_US  # 2026-01-31T09:30:00Z
HUB = Hub(name="hub", address="https://hub.example/fhir")
SOURCE, DESTINATION, APPLICATION = "110153", "110152", "110150"


def record(**change):
    return AuditRecord(
        **{
            "recorded_us": AT_US,
            "action": "R",
            "subtype": "read",
            "person_id": "person1",
            "organization": "org1",
            "user": "dr-who",
            "purpose": "TREAT",
            "request_id": "req-1",
            "token_id": "tok-1",
            "resource_type": "Observation",
            "resource_id": "obs1",
            **change,
        }
    )


def agent_codes(event):
    return [agent["type"]["coding"][0]["code"] for agent in event["agent"]]


def entity(event, code, role=None):
    return next(
        e
        for e in event["entity"]
        if e["type"]["code"] == code and (role is None or e.get("role", {}).get("code") == role)
    )


@pytest.mark.parametrize(
    ("action", "subtype", "client", "server"),
    [
        ("C", "create", SOURCE, DESTINATION),
        ("U", "update", SOURCE, DESTINATION),
        ("R", "read", DESTINATION, SOURCE),
        ("R", "vread", DESTINATION, SOURCE),
        ("E", "search-type", SOURCE, DESTINATION),
        ("D", "delete", APPLICATION, "custodian"),
        ("R", "disclose", DESTINATION, SOURCE),
        ("C", "receive", SOURCE, DESTINATION),
        ("E", "AuthZ-Consent", APPLICATION, "authserver"),
        ("E", "ITI-71", APPLICATION, "authserver"),
    ],
)
def test_who_is_source_and_who_destination_follows_the_action(action, subtype, client, server):
    event = to_fhir(record(action=action, subtype=subtype), hub=HUB)
    assert agent_codes(event) == [client, server, "IRCP", "PROV"]
    assert event["action"] == action
    assert event["subtype"][0]["code"] == subtype
    AuditEvent.model_validate(event)


@pytest.mark.parametrize("subtype", [*SUBTYPES, "read", "history-instance", "operation"])
def test_every_subtype_gives_a_valid_audit_event(subtype):
    AuditEvent.model_validate(to_fhir(record(subtype=subtype), event_id="0123456789abcdef"))


@pytest.mark.parametrize(
    ("subtype", "type_code"),
    [
        ("read", "rest"),
        ("disclose", "110106"),
        ("receive", "110107"),
        ("merge", "merge"),
        ("AuthZ-Consent", "110113"),
        ("ITI-71", "110114"),
    ],
)
def test_the_type_of_the_event_follows_its_subtype(subtype, type_code):
    assert to_fhir(record(subtype=subtype))["type"]["code"] == type_code


def test_patient_data_and_request_are_entities():
    event = to_fhir(record())
    assert entity(event, "1")["what"] == {"reference": "Patient/person1"}
    assert entity(event, "2", "4")["what"] == {"reference": "Observation/obs1"}
    assert entity(event, "XrequestId")["what"]["identifier"]["value"] == "req-1"


def test_a_query_is_kept_as_asked_in_base64_and_its_results_are_not_listed():
    asked = "Observation?patient=p&code=http://loinc.org|1234-5"
    event = to_fhir(
        record(action="E", subtype="search-type", resource_id="", detail={"query": asked})
    )
    query = entity(event, "2", "24")
    assert base64.b64decode(query["query"]).decode() == asked
    assert "what" not in query
    assert len(event["entity"]) == 3  # patient, query, request


def test_the_consents_a_decision_relied_on_are_entities():
    event = to_fhir(record(detail={"consents": ["c1", "c2"]}))
    named = [e["what"]["reference"] for e in event["entity"] if e["type"]["code"] == "Consent"]
    assert named == ["Consent/c1", "Consent/c2"]


def test_the_purpose_stands_at_the_event_the_user_and_the_organization():
    event = to_fhir(record(purpose="HPAYMT"))
    stated = [event["purposeOfEvent"], *(a["purposeOfUse"] for a in event["agent"][2:])]
    assert [p[0]["coding"][0]["code"] for p in stated] == ["HPAYMT"] * 3


def test_the_client_asks_where_no_user_is_known():
    asking = [a["requestor"] for a in to_fhir(record(user=None, organization=None))["agent"]]
    assert asking == [True, False]


def test_a_user_who_is_a_resource_is_referred_to():
    event = to_fhir(record(user="Practitioner/p1"))
    assert event["agent"][2]["who"] == {"reference": "Practitioner/p1"}
    assert to_fhir(record())["agent"][2]["who"] == {"display": "dr-who"}


def test_a_refusal_says_why_and_from_where():
    event = to_fhir(
        record(outcome="8", detail={"reason": "no scope for it", "address": "192.0.2.7"})
    )
    assert (event["outcome"], event["outcomeDesc"]) == ("8", "no scope for it")
    assert event["agent"][0]["network"] == {"address": "192.0.2.7", "type": "2"}
    AuditEvent.model_validate(event)


def test_an_event_that_touched_nothing_has_no_entity():
    bare = AuditRecord(recorded_us=AT_US, action="E", subtype="ITI-71")
    event = to_fhir(bare)
    assert "entity" not in event
    assert "id" not in event
    AuditEvent.model_validate(event)


@pytest.mark.parametrize(
    ("caller", "user"),
    [
        (Caller(token_id="t", organization=OrganizationId("o"), user="u"), "u"),
        (Caller(token_id="t", patient=PersonId("p9")), "Patient/p9"),
        (Caller(token_id="t"), None),
    ],
)
def test_the_record_of_a_request_names_its_caller(caller, user):
    context = RequestContext(caller=caller, request_id="r", now_us=AT_US)
    made = record_of(context, "E", "search-type", person_id="p1", detail={"query": "Patient"})
    assert (made.user, made.organization) == (user, caller.organization)
    assert (made.recorded_us, made.request_id, made.token_id) == (AT_US, "r", "t")
    assert (made.purpose, made.person_id) == ("TREAT", "p1")
