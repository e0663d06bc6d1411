"""Plans of FHIR writes: https://hl7.org/fhir/R4/http.html#transaction."""

import base64

import pytest

from adapters.fhir.body import Limits
from adapters.fhir.bundle import Planner
from adapters.fhir.condition import condition_of, identifiers_of
from adapters.fhir.json_patch import MEDIA_TYPE as JSON_PATCH
from adapters.fhir.plan import (
    Identified,
    Matching,
    Method,
    Named,
    PlanKind,
    PlanSettings,
    WriteRequest,
)
from hie.kernel.envelope import WriteMode
from hie.kernel.errors import Category, HieError

BASE = "https://hub.example/fhir"
TYPES = frozenset({"Patient", "Observation", "Organization", "Practitioner", "AuditEvent"})
PLANNER = Planner(PlanSettings(bases=(BASE,), types=TYPES, limits=Limits(entries=20)))
NPI = "http://hl7.org/fhir/sid/us-npi"


def entry(method, url, resource=None, **request):
    made = {"request": {"method": method, "url": url, **request}}
    return made if resource is None else {**made, "resource": resource}


def resource(kind="Patient", **content):
    return {"resourceType": kind, **content}


def plan(*entries, kind="transaction"):
    bundle = {"resourceType": "Bundle", "type": kind, "entry": list(entries)}
    return PLANNER.plan(WriteRequest(method="POST", target="", resource=bundle))


def single(method, target, content=None, **more):
    return PLANNER.plan(WriteRequest(method=method, target=target, resource=content, **more))


def only_write(made):
    assert made.faults == ()
    (write,) = made.writes
    return write


def only_fault(made):
    assert made.writes == ()
    (fault,) = made.faults
    return fault


# --- order, names and modes -----------------------------------------------------------------


def test_entries_are_processed_delete_post_put_and_answered_in_their_order():
    made = plan(
        entry("PUT", "Patient/a", resource(id="a")),
        entry("POST", "Patient", resource()),
        entry("DELETE", "Patient/b"),
        entry("POST", "Observation", resource("Observation")),
    )
    assert [(w.position, w.method) for w in made.writes] == [
        (2, Method.DELETE),
        (1, Method.POST),
        (3, Method.POST),
        (0, Method.PUT),
    ]
    assert made.entries == 4
    made.require_sound()


@pytest.mark.parametrize(
    ("url", "remembered"),
    [
        ("https://feed.example/Patient/x1", ("https://feed.example/Patient/x1", "Patient/x1")),
        # It names within its Bundle alone; what is of the directory, later too.
        ("urn:uuid:x1", ("Patient/x1",)),
    ],
)
def test_a_create_is_new_whatever_id_it_carries_and_is_remembered_by_its_names(url, remembered):
    write = only_write(plan({**entry("POST", "Patient", resource(id="x1")), "fullUrl": url}))
    assert (write.key, write.target, write.draft().mode) == ((), None, WriteMode.UPSERT)
    assert (write.full_url, write.aliases) == (url, remembered)
    assert write.expression == "Bundle.entry[0].resource"


def test_an_update_goes_by_the_sources_own_id():
    write = only_write(plan(entry("PUT", "Observation/o-1", resource("Observation", id="o-1"))))
    assert write.key == ("fhir", "o-1")
    assert write.target == Named("Observation/o-1")
    assert write.aliases == ("Observation/o-1",)


def test_a_delete_carries_no_resource_and_leaves_no_name():
    write = only_write(plan(entry("DELETE", "Observation/o-1", resource("Observation"))))
    assert (write.resource, write.aliases) == (None, ())
    draft = write.draft()
    assert (draft.mode, draft.resource) == (WriteMode.DELETE, {"resourceType": "Observation"})


@pytest.mark.parametrize("kind", ["Organization", "Practitioner"])
def test_a_directory_resource_goes_by_its_first_whole_identifier(kind):
    identifiers = [{"value": "bare"}, {"system": NPI, "value": "1"}, {"system": "s", "value": "2"}]
    write = only_write(plan(entry("POST", kind, resource(kind, identifier=identifiers))))
    assert write.key == ("identifier", NPI, "1")
    assert write.identifiers == ((NPI, "1"), ("s", "2"))
    assert write.draft().mode is WriteMode.CREATE_IF_ABSENT


def test_a_directory_resource_without_an_identifier_is_the_sources_own():
    write = only_write(plan(entry("POST", "Organization", resource("Organization", name="x"))))
    assert (write.key, write.draft().mode) == ((), WriteMode.UPSERT)


def test_a_patients_identifier_is_no_key():
    content = resource(identifier=[{"system": "s", "value": "1"}])
    assert only_write(plan(entry("POST", "Patient", content))).key == ()


def test_id_version_and_time_of_the_sender_are_taken_off_and_the_rest_of_meta_stays():
    content = resource(
        id="x", meta={"versionId": "7", "lastUpdated": "2020-01-01T00:00:00Z", "tag": [{}]}
    )
    write = only_write(plan(entry("POST", "Patient", content)))
    assert write.resource == resource(meta={"tag": [{}]})
    assert content["meta"]["versionId"] == "7"  # the request itself is left alone


def test_a_meta_that_held_only_server_data_goes():
    write = only_write(plan(entry("POST", "Patient", resource(meta={"versionId": "7"}))))
    assert write.resource == resource()


# --- addresses, conditions, versions --------------------------------------------------------


@pytest.mark.parametrize("url", ["Patient/a", "/Patient/a", f"{BASE}/Patient/a"])
def test_an_address_may_be_relative_or_on_our_base(url):
    assert only_write(plan(entry("PUT", url, resource(id="a")))).own_id == "a"


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("identifier=s|v", Identified("Patient", "s", "v")),
        ("?identifier=s|v", Identified("Patient", "s", "v")),
        ("Patient?identifier=s|v", Identified("Patient", "s", "v")),
        ("identifier=http://x|a%7Cb", Identified("Patient", "http://x|a", "b")),
        ("identifier=v", Identified("Patient", None, "v")),
        ("identifier=|v", Identified("Patient", "", "v")),
    ],
)
def test_a_condition_is_an_identifier(query, wanted):
    assert condition_of("Patient", query) == wanted


@pytest.mark.parametrize(
    ("query", "params"),
    [
        ("name=x", (("name", "x"),)),
        ("identifier=s|1,s|2", (("identifier", "s|1,s|2"),)),
        ("identifier=a&name=b", (("identifier", "a"), ("name", "b"))),
        ("birthdate:missing=true", (("birthdate:missing", "true"),)),
    ],
)
def test_other_conditions_are_the_searches_they_are(query, params):
    assert condition_of("Patient", query) == Matching("Patient", params)


@pytest.mark.parametrize(
    "query", ["", "identifier=", "identifier", "name=x&_sort=name", "_count=1"]
)
def test_a_condition_that_looks_for_nothing_is_refused(query):
    with pytest.raises(HieError) as caught:
        condition_of("Patient", query, "here")
    assert caught.value.category is Category.INVALID
    assert caught.value.issues[0].expression == ("here",)


def test_conditional_create_update_and_delete_carry_their_condition():
    wanted = Identified("Patient", "s", "v")
    create = only_write(plan(entry("POST", "Patient", resource(), ifNoneExist="identifier=s|v")))
    assert (create.condition, create.target) == (wanted, None)
    update = only_write(plan(entry("PUT", "Patient?identifier=s|v", resource())))
    assert (update.condition, update.target, update.key) == (wanted, wanted, ())
    delete = only_write(plan(entry("DELETE", "Patient?identifier=s|v")))
    assert delete.target == wanted


@pytest.mark.parametrize(("sent", "version"), [('W/"3"', "3"), ('"3"', "3"), ("", "")])
def test_if_match_names_a_version(sent, version):
    made = single("PUT", "Patient/a", resource(id="a"), if_match=sent)
    assert only_write(made).if_match == version


def test_a_single_write_is_planned_like_an_entry():
    made = single("POST", "Patient", resource(), if_none_exist="identifier=s|v")
    write = only_write(made)
    assert (made.kind, made.entries, write.expression) == (PlanKind.SINGLE, 1, "Patient")
    assert write.condition == Identified("Patient", "s", "v")
    assert only_write(single("DELETE", "Patient/a")).method is Method.DELETE


# --- faults ---------------------------------------------------------------------------------

PATIENT = resource(id="a")


@pytest.mark.parametrize(
    ("bad", "category", "expression"),
    [
        ("text", Category.INVALID, "Bundle.entry[0]"),
        ({}, Category.INVALID, "Bundle.entry[0].request"),
        ({"request": []}, Category.INVALID, "Bundle.entry[0].request"),
        (entry(7, "Patient"), Category.INVALID, "Bundle.entry[0].request.method"),
        (entry("POST", ["Patient"]), Category.INVALID, "Bundle.entry[0].request.url"),
        (
            {**entry("POST", "Patient", resource()), "fullUrl": 1},
            Category.INVALID,
            "Bundle.entry[0].fullUrl",
        ),
        (entry("TRACE", "Patient/a"), Category.UNSUPPORTED, "Bundle.entry[0].request.method"),
        (entry("PATCH", "Patient/a"), Category.INVALID, "Bundle.entry[0].resource"),
        (entry("PATCH", "Patient/a", PATIENT), Category.INVALID, "Bundle.entry[0].resource"),
        (
            entry("PATCH", "Patient/a", resource("Binary", contentType="text/plain", data="W10=")),
            Category.UNSUPPORTED_MEDIA,
            "Bundle.entry[0].resource.contentType",
        ),
        (
            entry("PATCH", "Patient/a", resource("Binary", contentType=JSON_PATCH, data="?")),
            Category.INVALID,
            "Bundle.entry[0].resource.data",
        ),
        (
            entry("PUT", "Patient/a", PATIENT, ifNoneMatch='W/"1"'),
            Category.INVALID,
            "Bundle.entry[0].request.ifNoneMatch",
        ),
        (entry("post", "Patient"), Category.UNSUPPORTED, "Bundle.entry[0].request.method"),
        (entry("POST", "Nothing"), Category.UNSUPPORTED, "Bundle.entry[0].request.url"),
        (entry("POST", ""), Category.UNSUPPORTED, "Bundle.entry[0].request.url"),
        (entry("POST", "$run"), Category.UNSUPPORTED, "Bundle.entry[0].request.url"),
        (entry("POST", "Patient/$run"), Category.UNSUPPORTED, "Bundle.entry[0].request.url"),
        (entry("POST", "http://x/Patient"), Category.UNSUPPORTED, "Bundle.entry[0].request.url"),
        (
            entry("POST", "AuditEvent", resource("AuditEvent")),
            Category.UNSUPPORTED,
            "Bundle.entry[0].request.url",
        ),
        (entry("POST", "Patient/a", PATIENT), Category.INVALID, "Bundle.entry[0].request.url"),
        (entry("POST", "Patient?x=1", PATIENT), Category.INVALID, "Bundle.entry[0].request.url"),
        (entry("PUT", "Patient", PATIENT), Category.INVALID, "Bundle.entry[0].request.url"),
        (entry("DELETE", "Patient"), Category.INVALID, "Bundle.entry[0].request.url"),
        (
            entry("PUT", "Patient/a?identifier=s|v", PATIENT),
            Category.INVALID,
            "Bundle.entry[0].request.url",
        ),
        (
            entry("PUT", "Patient/a/_history/1", PATIENT),
            Category.INVALID,
            "Bundle.entry[0].request.url",
        ),
        (entry("POST", "Patient"), Category.INVALID, "Bundle.entry[0].resource"),
        (entry("POST", "Patient", []), Category.INVALID, "Bundle.entry[0].resource"),
        (
            entry("POST", "Observation", PATIENT),
            Category.INVALID,
            "Bundle.entry[0].resource.resourceType",
        ),
        (entry("PUT", "Patient/b", PATIENT), Category.INVALID, "Bundle.entry[0].resource.id"),
        (entry("PUT", "Patient/b", resource()), Category.INVALID, "Bundle.entry[0].resource.id"),
        (
            entry("POST", "Patient", resource(id="a b")),
            Category.INVALID,
            "Bundle.entry[0].resource.id",
        ),
        (
            entry("PUT", "Patient/a", PATIENT, ifMatch="3"),
            Category.INVALID,
            "Bundle.entry[0].request.ifMatch",
        ),
        (
            entry("POST", "Patient", PATIENT, ifNoneExist="_count=1"),
            Category.INVALID,
            "Bundle.entry[0].request.ifNoneExist",
        ),
    ],
)
def test_a_bad_entry_is_a_fault_at_its_place(bad, category, expression):
    fault = only_fault(plan(bad))
    assert (fault.position, fault.category) == (0, category)
    assert fault.issue.expression == (expression,)


def test_a_subscription_in_a_bundle_is_told_that_it_goes_by_itself():
    fault = only_fault(plan(entry("POST", "Subscription", resource("Subscription"))))
    assert "by itself" in fault.issue.text
    assert fault.issue.expression == ("Bundle.entry[0].request.url",)


def test_a_fault_refuses_a_whole_transaction_with_every_issue():
    made = plan(entry("POST", "Patient", resource()), entry("TRACE", "Patient/a"), "text")
    with pytest.raises(HieError) as caught:
        made.require_sound()
    assert caught.value.category is Category.UNSUPPORTED
    assert [i.expression[0] for i in caught.value.issues] == [
        "Bundle.entry[1].request.method",
        "Bundle.entry[2]",
    ]


def test_entries_that_read_are_left_to_whoever_reads():
    made = plan(
        entry("GET", "Patient?name=x"),
        entry("POST", "Patient", resource()),
        entry("HEAD", "Patient/a"),
    )
    made.require_sound()
    assert (made.reads, made.entries, [w.position for w in made.writes]) == ((0, 2), 3, [1])


def test_a_patch_in_a_bundle_is_a_binary_or_parameters_and_comes_last():
    operations = base64.b64encode(b'[{"op":"add","path":"/x","value":1.50}]').decode()
    made = plan(
        entry("PATCH", "Patient/b", resource("Parameters", parameter=[])),
        entry("PUT", "Patient/a", PATIENT),
        entry("PATCH", "Patient/c", resource("Binary", contentType=JSON_PATCH, data=operations)),
    )
    made.require_sound()
    assert [(w.position, w.method) for w in made.writes] == [
        (1, Method.PUT),
        (0, Method.PATCH),
        (2, Method.PATCH),
    ]
    assert str(made.writes[2].patch[0]["value"]) == "1.50"


def test_a_fault_leaves_the_other_entries_of_a_batch():
    made = plan(entry("TRACE", "Patient/a"), entry("POST", "Patient", resource()), kind="batch")
    made.require_sound()
    assert [w.position for w in made.writes] == [1]
    assert [f.position for f in made.faults] == [0]


@pytest.mark.parametrize(
    "twins",
    [
        [entry("PUT", "Patient/a", PATIENT), entry("DELETE", "Patient/a")],
        [
            {**entry("POST", "Patient", resource()), "fullUrl": "urn:uuid:1"},
            {**entry("POST", "Patient", resource()), "fullUrl": "urn:uuid:1"},
        ],
    ],
    ids=["one resource", "one fullUrl"],
)
def test_two_entries_for_one_resource_are_refused(twins):
    made = plan(*twins)
    assert [f.position for f in made.faults] == [1]
    assert made.faults[0].issue.code == "duplicate"


@pytest.mark.parametrize(
    ("method", "body", "category"),
    [
        ("PUT", {"resourceType": "Bundle", "type": "batch"}, Category.UNSUPPORTED),
        ("POST", None, Category.UNSUPPORTED),
        ("POST", resource(), Category.INVALID),
        ("POST", {"resourceType": "Bundle"}, Category.INVALID),
        ("POST", {"resourceType": "Bundle", "type": "collection"}, Category.INVALID),
        ("POST", {"resourceType": "Bundle", "type": "batch", "entry": {}}, Category.INVALID),
        (
            "POST",
            {"resourceType": "Bundle", "type": "batch", "entry": [{}] * 21},
            Category.TOO_LARGE,
        ),
    ],
)
def test_what_is_no_bundle_of_writes_is_refused_at_the_base(method, body, category):
    with pytest.raises(HieError) as caught:
        PLANNER.plan(WriteRequest(method=method, target="", resource=body))
    assert caught.value.category is category


def test_an_empty_bundle_is_an_empty_plan():
    made = PLANNER.plan(
        WriteRequest(method="POST", target="", resource={"resourceType": "Bundle", "type": "batch"})
    )
    assert (made.writes, made.faults, made.entries) == ((), (), 0)


def test_a_planner_that_knows_no_types_takes_any_name_that_could_be_one():
    made = Planner(PlanSettings()).plan(
        WriteRequest(method="POST", target="Basic", resource=resource("Basic"))
    )
    assert only_write(made).type == "Basic"


@pytest.mark.parametrize(
    ("identifier", "found"),
    [
        ([{"system": "s", "value": "v"}], (("s", "v"),)),
        ({"system": "s", "value": "v"}, (("s", "v"),)),
        ([{"value": "v"}, {"system": "s"}, "x", {"system": 1, "value": "v"}], ()),
        (None, ()),
    ],
)
def test_identifiers_are_those_with_system_and_value(identifier, found):
    assert identifiers_of(resource(identifier=identifier)) == found
