"""References of FHIR writes: https://hl7.org/fhir/R4/bundle.html#references."""

import pytest

from adapters.fhir.bundle import Planner
from adapters.fhir.plan import Identified, Named, PlanSettings, Target, WriteRequest
from adapters.fhir.references import HubId, References
from hie.kernel.errors import Category

BASE = "https://hub.example/fhir"
PLANNER = Planner(PlanSettings(bases=(BASE,)))
URN = "urn:uuid:00000000-0000-4000-8000-00000000000"
NPI = "http://hl7.org/fhir/sid/us-npi"


def post(resource, full_url=""):
    made = {"request": {"method": "POST", "url": resource["resourceType"]}, "resource": resource}
    return {**made, "fullUrl": full_url} if full_url else made


def put(resource):
    url = f"{resource['resourceType']}/{resource['id']}"
    return {"request": {"method": "PUT", "url": url}, "resource": resource}


def observation(subject=None, **more):
    if subject is None:
        return {"resourceType": "Observation", **more}
    named = {"reference": subject} if isinstance(subject, str) else subject
    return {"resourceType": "Observation", "subject": named, **more}


PATIENT = post(
    {
        "resourceType": "Patient",
        "id": "p1",
        "identifier": [{"system": "urn:mrn", "value": "7"}],
    },
    f"{URN}1",
)


def references(*entries, kind="transaction"):
    bundle = {"resourceType": "Bundle", "type": kind, "entry": list(entries)}
    plan = PLANNER.plan(WriteRequest(method="POST", target="", resource=bundle))
    assert plan.faults == ()
    return References(plan, (BASE,)), {w.name: (w.type, f"hub{w.position}") for w in plan.writes}


def resolved(*entries, known=None, kind="transaction"):
    refs, ids = references(*entries, kind=kind)
    return refs.resolve(known or {}, ids)


def subject_of(result, position=1):
    assert result.faults == ()
    return result.resources[f"entry-{position}"]["subject"]["reference"]


# --- within the request ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "reference",
    [f"{URN}1", "Patient/p1", f"{BASE}/Patient/p1", "Patient/p1/_history/4"],
)
def test_an_entry_is_found_by_its_full_url_and_by_the_id_it_carries(reference):
    assert subject_of(resolved(PATIENT, post(observation(reference)))) == "Patient/hub0"


def test_an_entry_is_found_by_its_full_url_on_the_senders_server():
    patient = {**PATIENT, "fullUrl": "http://ehr.example/fhir/Patient/p1"}
    result = resolved(patient, post(observation("http://ehr.example/fhir/Patient/p1")))
    assert subject_of(result) == "Patient/hub0"


def test_an_entry_may_refer_to_a_later_one_and_to_itself():
    result = resolved(
        post(observation(f"{URN}2", hasMember=[{"reference": f"{URN}3"}]), f"{URN}3"),
        post({"resourceType": "Patient"}, f"{URN}2"),
    )
    assert subject_of(result, 0) == "Patient/hub1"
    assert result.resources["entry-0"]["hasMember"] == [{"reference": "Observation/hub0"}]


@pytest.mark.parametrize("query", ["identifier=urn:mrn|7", "identifier=7"])
def test_a_conditional_reference_finds_an_entry_by_its_identifier(query):
    assert subject_of(resolved(PATIENT, post(observation(f"Patient?{query}")))) == "Patient/hub0"


def test_a_subject_may_be_an_identifier_alone():
    subject = {"identifier": {"system": "urn:mrn", "value": "7"}, "display": "kept"}
    result = resolved(PATIENT, post(observation(subject=subject)))
    assert result.faults == ()
    assert result.resources["entry-1"]["subject"] == {**subject, "reference": "Patient/hub0"}


def test_every_reference_is_rewritten_however_deep():
    deep = {
        "resourceType": "Observation",
        "subject": {"reference": f"{URN}1"},
        "extension": [{"url": "http://x", "valueReference": {"reference": f"{URN}1"}}],
        "contained": [{"resourceType": "Specimen", "id": "s", "subject": {"reference": f"{URN}1"}}],
        "component": [{"extension": [{"valueReference": {"reference": f"{URN}1"}}]}],
    }
    result = resolved(PATIENT, post(deep))
    assert URN not in str(result.resources)
    assert str(result.resources).count("Patient/hub0") == 4


def test_links_and_narrative_that_name_an_entry_are_rewritten_and_others_are_not():
    document = {
        "resourceType": "DocumentReference",
        "identifier": [{"system": "urn:x", "value": f"{URN}1"}],
        "text": {"div": f'<div><a href="{URN}1">x</a><img src="other.png"/></div>'},
        "content": [{"attachment": {"url": f"{URN}1"}}, {"attachment": {"url": "http://x/y"}}],
    }
    made = resolved(PATIENT, post(document)).resources["entry-1"]
    assert made["identifier"] == document["identifier"]  # a string, not an address
    assert made["text"]["div"] == '<div><a href="Patient/hub0">x</a><img src="other.png"/></div>'
    assert [c["attachment"]["url"] for c in made["content"]] == ["Patient/hub0", "http://x/y"]


def test_the_request_itself_is_left_as_it_was():
    sent = post(observation(f"{URN}1"))
    resolved(PATIENT, sent)
    assert sent["resource"]["subject"] == {"reference": f"{URN}1"}


# --- what the source sent before, and the hub's own ids ---------------------------------------


@pytest.mark.parametrize(
    ("reference", "target"),
    [
        (f"{URN}9", Named(f"{URN}9")),
        ("Patient/p9", Named("Patient/p9")),
        (f"{BASE}/Patient/p9", Named("Patient/p9")),
        ("http://ehr.example/fhir/Patient/p9", Named("http://ehr.example/fhir/Patient/p9")),
        ("Patient?identifier=urn:mrn|9", Identified("Patient", "urn:mrn", "9")),
    ],
)
def test_what_is_not_in_the_request_is_looked_up_by_the_name_the_source_used(reference, target):
    refs, ids = references(post(observation(reference)))
    assert refs.targets() == {target}
    result = refs.resolve({target: ("Patient", "hubp")}, ids)
    assert subject_of(result, 0) == "Patient/hubp"


def test_a_subjects_identifier_is_looked_up():
    subject = {"identifier": {"system": "urn:mrn", "value": "9"}}
    refs, _ = references(post(observation(subject=subject)))
    assert refs.targets() == {Identified("Patient", "urn:mrn", "9")}


def test_updates_and_conditions_are_looked_up_too():
    refs, _ = references(
        put({"resourceType": "Observation", "id": "o1"}),
        {"request": {"method": "DELETE", "url": "Observation/o2"}},
        {
            "request": {"method": "POST", "url": "Patient", "ifNoneExist": "identifier=s|1"},
            "resource": {"resourceType": "Patient"},
        },
    )
    assert refs.targets() == {
        Named("Observation/o1"),
        Named("Observation/o2"),
        Identified("Patient", "s", "1"),
    }


@pytest.mark.parametrize(
    ("reference", "hub_id", "served"),
    [
        ("Encounter/hub7/_history/2", "hub7", "Encounter/hub7/_history/2"),
        ("Encounter/own7/_history/2", "hub7", "Encounter/hub7"),
    ],
)
def test_a_version_stays_only_where_it_is_the_hubs(reference, hub_id, served):
    refs, ids = references(post(observation(encounter={"reference": reference})))
    (target,) = refs.targets()
    result = refs.resolve({target: ("Encounter", hub_id)}, ids)
    assert result.resources["entry-0"]["encounter"]["reference"] == served


def test_a_binary_of_the_source_is_found_by_its_address_and_stays_where_it_is_not_known():
    document = {
        "resourceType": "DocumentReference",
        "content": [{"attachment": {"url": "Binary/b1"}}, {"attachment": {"url": "Binary/b2"}}],
    }
    result = resolved(post(document), known={Named("Binary/b1"): ("Binary", "hubb")})
    assert [c["attachment"]["url"] for c in result.resources["entry-0"]["content"]] == [
        "Binary/hubb",
        "Binary/b2",
    ]


def test_organizations_and_practitioners_of_an_earlier_bundle_are_found_in_a_later_one():
    """The way of Synthea: hospitals first, patients later, urn:uuid throughout."""
    hospitals = [
        post(
            {
                "resourceType": "Organization",
                "id": f"o{n}",
                "identifier": [{"system": "urn:synthea", "value": f"o{n}"}],
            },
            f"urn:uuid:o{n}",
        )
        for n in range(3)
    ]
    refs, ids = references(*hospitals)
    memory: dict[Target, HubId] = {}
    for write in refs._plan.writes:
        memory |= {Named(alias): ids[write.name] for alias in write.aliases}
    visit = {
        "resourceType": "Encounter",
        "subject": {"reference": f"{URN}1"},
        "serviceProvider": {"reference": "urn:uuid:o2"},
    }
    claim = {"resourceType": "Claim", "provider": {"reference": "Organization/o1"}}
    result = resolved(PATIENT, post(visit, f"{URN}5"), post(claim), known=memory)
    assert result.faults == ()
    assert result.resources["entry-1"]["serviceProvider"] == {"reference": "Organization/hub2"}
    assert result.resources["entry-2"]["provider"] == {"reference": "Organization/hub1"}


# --- what stays, and what is a fault ----------------------------------------------------------


def test_contained_resources_other_servers_and_other_identifiers_stay():
    content = observation(
        subject={"display": "nobody known"},
        performer=[
            {"reference": "#dr"},
            {"reference": "http://other.example/fhir/Practitioner/1"},
            {"identifier": {"system": NPI, "value": "1"}, "type": "Practitioner"},
        ],
        contained=[{"resourceType": "Practitioner", "id": "dr", "meta": {"source": "#"}}],
        derivedFrom=[{"reference": "#"}],
    )
    result = resolved(post(content))
    assert result.faults == ()
    assert result.resources["entry-0"] == content


def test_the_entries_of_a_stored_bundle_are_its_own():
    document = {
        "resourceType": "Bundle",
        "type": "document",
        "entry": [{"fullUrl": f"{URN}8", "resource": observation(f"{URN}9")}],
    }
    assert resolved(post(document)).faults == ()


@pytest.mark.parametrize(
    "reference",
    [
        f"{URN}9",
        "urn:oid:1.2.3",
        "Patient/p9",
        "Patient?identifier=urn:mrn|9",
        "Patient?name=x",
        "http://other.example/fhir/Patient/1",
        "http://other.example/fhir/Patient/1/_history/2",
        "#nobody",
        "patient/1",
        "Patient",
        "",
        "not a reference",
        "ftp://x/Patient/1",
    ],
)
def test_a_subject_that_leads_nowhere_is_a_fault_at_its_place_and_not_in_its_words(reference):
    result = resolved(PATIENT, post(observation(reference)))
    (fault,) = result.faults
    assert (fault.position, fault.category) == (1, Category.BUSINESS_RULE)
    assert fault.issue.expression == ("Bundle.entry[1].resource.subject",)
    assert fault.issue.code == "not-found"
    assert not reference or reference not in fault.issue.text
    assert set(result.resources) == {"entry-0"}


def test_each_broken_reference_is_a_fault_of_its_own():
    content = observation("Patient/p9", performer=[{"reference": "Practitioner/1"}])
    result = resolved(post(content))
    assert [f.issue.expression[0] for f in result.faults] == [
        "Bundle.entry[0].resource.subject",
        "Bundle.entry[0].resource.performer[0]",
    ]


def test_entries_of_a_batch_do_not_know_each_other():
    result = resolved(PATIENT, post(observation(f"{URN}1")), kind="batch")
    (fault,) = result.faults
    assert "batch" in fault.issue.text
    earlier = {Named(f"{URN}1"): ("Patient", "hubp")}
    again = resolved(PATIENT, post(observation(f"{URN}1")), kind="batch", known=earlier)
    assert subject_of(again) == "Patient/hubp"


def test_a_deleted_entry_is_not_there_to_be_referred_to():
    delete = {"request": {"method": "DELETE", "url": "Patient/p1"}, "fullUrl": f"{URN}1"}
    assert len(resolved(delete, post(observation(f"{URN}1"))).faults) == 1


def test_a_property_name_that_fhir_could_not_have_is_not_repeated():
    content = {"resourceType": "Basic", "Zz canary": {"reference": "Patient/p9"}}
    (fault,) = resolved(post(content)).faults
    assert fault.issue.expression == ("Bundle.entry[0].resource.children()",)


@pytest.mark.parametrize(
    "odd",
    [
        {"contained": "x"},
        {"contained": [1]},
        {"subject": "x"},
        {"subject": {"identifier": "x"}},
        {"subject": {"identifier": {"value": 1}}},
        {"subject": {"reference": 1}},
        {"text": "x"},
        {"text": {"div": 1}},
        {"content": [[{"attachment": {"url": 1}}]]},
    ],
)
def test_odd_shapes_are_left_to_the_validator(odd):
    content = {"resourceType": "Observation", **odd}
    assert resolved(post(content)).resources["entry-0"] == content
