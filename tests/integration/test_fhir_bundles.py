"""Transactions and batches over HTTP: https://hl7.org/fhir/R4/http.html#transaction."""

import base64
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from hie.kernel.fhir import FhirJson
from tests.support.fhir_source import (
    AURELIA,
    JSON_PATCH,
    MRN,
    ORDER,
    Source,
    entry,
    patient,
    statuses,
    weight,
)
from tests.support.running_hub import running_hub

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def aurelia(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Source]:
    """On SQLite, for what does not depend on the database; each test has its own patient."""
    home = tmp_path_factory.mktemp("hub") / "home"
    async with running_hub(home, HIE_REGIME="hipaa-treatment") as hub:
        yield Source(hub, await hub.token(AURELIA))


async def test_a_transaction_deletes_creates_updates_patches_and_then_reads(aurelia: Source):
    her = await aurelia.make(patient("B1"))
    about = f"Patient/{her['id']}"
    old, kept = await aurelia.make(weight(about)), await aurelia.make(weight(about))
    operations = b'[{"op":"replace","path":"/valueQuantity/value","value":80.0}]'
    binary = {
        "resourceType": "Binary",
        "contentType": JSON_PATCH["Content-Type"],
        "data": base64.b64encode(operations).decode(),
    }
    visit = {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": f"Patient?identifier={MRN}|B1"},
    }
    status, answer = await aurelia.transact(
        entry("GET", f"Observation?_id={kept['id']},{old['id']}"),
        entry("PATCH", f"Observation/{kept['id']}", binary),
        entry("GET", f"Observation/{old['id']}"),
        entry(
            "POST",
            "Observation",
            weight(about, encounter={"reference": "urn:uuid:0b1c"}),
            fullUrl="urn:uuid:0b1d",
        ),
        entry("POST", "Encounter", visit, fullUrl="urn:uuid:0b1c"),
        entry("DELETE", f"Observation/{old['id']}"),
        Prefer="return=representation",
    )
    assert status == 200, answer
    assert statuses(answer) == ["200 OK", "200 OK", "410 Gone"] + ["201 Created"] * 2 + [
        "204 No Content"
    ]
    searched, patched, gone, made, encounter, _ = answer["entry"]
    # The search sees the patch, and no more what was deleted.
    (found,) = searched["resource"]["entry"]
    assert found["resource"]["valueQuantity"]["value"] == 80.0
    assert patched["resource"]["meta"]["versionId"] == "2"
    assert gone["response"]["outcome"]["issue"][0]["code"] == "deleted"
    assert made["resource"]["encounter"]["reference"] == f"Encounter/{encounter['resource']['id']}"
    assert encounter["resource"]["subject"] == made["resource"]["subject"]


async def test_a_transaction_with_a_read_that_nobody_may_answer_writes_nothing(aurelia: Source):
    status, told = await aurelia.transact(
        entry("POST", "Patient", patient("B2")), entry("GET", "Nothing/1")
    )
    assert (status, told["issue"][0]["expression"]) == (404, ["Bundle.entry[1].request.url"])
    _, found = await aurelia.ask(f"Patient?identifier={MRN}|B2")
    assert "entry" not in found


async def test_numbers_in_what_a_bundle_gives_back_are_those_that_were_written(aurelia: Source):
    her = await aurelia.make(patient("B3"))
    body = weight(f"Patient/{her['id']}", valueQuantity={"value": "#", "unit": "kg"})
    bundle = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [entry("POST", "Observation", body), entry("GET", f"Patient/{her['id']}")],
    }
    for number in (b"72.50", b"1e2", b"0.000000001", b"-0", b"12345678901234567890123"):
        sent = json.dumps(bundle).encode().replace(b'"#"', number)
        async with aurelia.hub.request(
            "POST", "", sent, aurelia.token, Prefer="return=representation"
        ) as answer:
            given = await answer.read()
        assert answer.status == 200
        assert b'"value":%s,' % number in given, given


async def test_a_patient_batches_reads_and_sees_what_single_reads_show(aurelia: Source):
    her = await aurelia.make(patient("B4"))
    hidden = await aurelia.make(patient("XB4", name=[{"family": "Other"}], birthDate="1980-01-01"))
    made = await aurelia.make(weight(f"Patient/{her['id']}"))
    person = made["subject"]["reference"].removeprefix("Patient/")
    token = await aurelia.hub.token(patient=person, scope="patient/*.rs", purpose="PATRQT")
    portal = Source(aurelia.hub, token)
    status, answer = await portal.transact(
        entry("GET", f"Patient/{person}"),
        entry("GET", f"Observation/{made['id']}"),
        entry("GET", f"Observation/{made['id']}", request={"ifNoneMatch": 'W/"1"'}),
        entry("HEAD", f"Observation/{made['id']}"),
        entry("GET", f"Patient/{hidden['id']}"),
        entry("GET", "Observation?nothing=1"),
        entry("GET", f"Patient/{person}/$everything"),
        kind="batch",
    )
    assert status == 200, answer
    assert statuses(answer) == [
        *("200 OK", "200 OK", "304 Not Modified", "200 OK"),
        *("404 Not Found", "400 Bad Request", "200 OK"),
    ]
    assert answer["entry"][1]["resource"]["id"] == made["id"]
    assert "resource" not in answer["entry"][3]
    # What writes is refused to who may not write, and nothing of it is done.
    status, _ = await portal.transact(entry("DELETE", f"Observation/{made['id']}"), kind="batch")
    assert status == 403


async def test_a_urn_names_nothing_beyond_its_bundle(aurelia: Source):
    """Bundles made from one template bear the same ones, whoever they are about."""
    urn = "urn:uuid:9d1f6a52-0000-4000-8000-000000000001"
    first = entry("POST", "Patient", patient("U1"), fullUrl=urn)
    status, _ = await aurelia.transact(first, entry("POST", "Observation", weight(urn)))
    assert status == 200
    status, told = await aurelia.transact(entry("POST", "Observation", weight(urn)))
    assert (status, told["issue"][0]["expression"]) == (422, ["Bundle.entry[0].resource.subject"])
    # Entries of a batch do not know each other, and none of them is an earlier patient's.
    _, answer = await aurelia.transact(
        entry("POST", "Patient", patient("U2"), fullUrl=urn),
        entry("POST", "Observation", weight(urn)),
        kind="batch",
    )
    assert statuses(answer) == ["201 Created", "422 Unprocessable Entity"]


async def test_one_resource_under_two_names_is_written_once_in_a_transaction(aurelia: Source):
    her = await aurelia.make(patient("B5"))
    own = weight(f"Patient/{her['id']}", id="w-1")
    _, made = await aurelia.ask("Observation/w-1", own, "PUT")
    status, told = await aurelia.transact(
        entry("PUT", "Observation/w-1", own), entry("DELETE", f"Observation/{made['id']}")
    )
    assert (status, told["issue"][0]["code"]) == (400, "duplicate")


async def test_resources_that_refer_to_each_other_in_circles_are_stored(aurelia: Source):
    her = await aurelia.make(patient("C1"))
    about = f"Patient/{her['id']}"
    first = weight(about, hasMember=[{"reference": "urn:uuid:c2"}])
    second = weight(
        about,
        hasMember=[{"reference": "urn:uuid:c1"}, {"reference": "urn:uuid:c2"}],
        performer=[{"reference": "#a"}],
        contained=[
            {"resourceType": "Organization", "id": "a", "partOf": {"reference": "#b"}},
            {"resourceType": "Organization", "id": "b", "partOf": {"reference": "#a"}},
        ],
    )
    status, answer = await aurelia.transact(
        entry("POST", "Observation", first, fullUrl="urn:uuid:c1"),
        entry("POST", "Observation", second, fullUrl="urn:uuid:c2"),
        Prefer="return=representation",
    )
    assert status == 200, answer
    one, other = (made["resource"] for made in answer["entry"])
    names = [f"Observation/{made['id']}" for made in (one, other)]
    assert [r["reference"] for r in one["hasMember"]] == names[1:]
    assert [r["reference"] for r in other["hasMember"]] == names
    # A whole record with a circle in it ends.
    status, whole = await aurelia.ask(f"{one['subject']['reference']}/$everything")
    assert (status, sorted(names)) == (
        200,
        sorted(
            name
            for e in whole["entry"]
            if (name := f"{e['resource']['resourceType']}/{e['resource']['id']}") in names
        ),
    )


@pytest.mark.parametrize(
    ("one", "count", "limit"),
    [
        (entry("POST", "Patient", patient("C2")), 5_001, "5000"),
        (entry("GET", "Patient/1"), 501, "500"),
    ],
)
async def test_a_bundle_that_is_too_large_is_told_the_limit(
    aurelia: Source, one: FhirJson, count: int, limit: str
):
    status, told = await aurelia.transact(*[one] * count, kind="batch")
    (issue,) = told["issue"]
    assert (status, issue["expression"]) == (413, ["Bundle.entry"])
    assert limit in issue["details"]["text"]


async def test_a_repeat_of_a_bundle_with_reads_writes_once_and_reads_again(aurelia: Source):
    her = await aurelia.make(patient("C3"))
    sent = [
        entry(
            "POST",
            "Observation",
            weight(f"Patient/{her['id']}", identifier=[{"system": ORDER, "value": "C3"}]),
        ),
        entry("GET", f"Observation?identifier={ORDER}|C3"),
    ]
    answers = [await aurelia.transact(*sent, **{"X-Request-Id": "twice"}) for _ in range(2)]
    places = {answer["entry"][0]["response"]["location"] for _, answer in answers}
    assert len(places) == 1
    assert [len(answer["entry"][1]["resource"]["entry"]) for _, answer in answers] == [1, 1]


@pytest.mark.parametrize(
    "profile", ["http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient", "urn:nobody"]
)
async def test_a_profile_that_nobody_knows_refuses_nothing(aurelia: Source, profile: str):
    claimed = patient("C4", meta={"profile": [profile]}, gender="female")
    status, answer = await aurelia.transact(entry("POST", "Patient", claimed))
    assert status == 200, answer


async def test_deletes_go_first_so_that_conditions_do_not_find_what_they_take(aurelia: Source):
    her = await aurelia.make(patient("C5"))
    ordered = weight(f"Patient/{her['id']}", identifier=[{"system": ORDER, "value": "C5"}])
    old = await aurelia.make(ordered)
    condition = f"identifier={ORDER}|C5"
    status, answer = await aurelia.transact(
        entry("POST", "Observation", ordered, request={"ifNoneExist": condition}),
        entry("DELETE", f"Observation/{old['id']}"),
    )
    assert (status, statuses(answer)) == (200, ["201 Created", "204 No Content"])
    _, found = await aurelia.ask(f"Observation?{condition}")
    (one,) = found["entry"]
    assert one["resource"]["id"] != old["id"]
    # A patient is known by the number: what is deleted cannot be created in the same breath.
    status, told = await aurelia.transact(
        entry("POST", "Patient", patient("C5")), entry("DELETE", f"Patient/{her['id']}")
    )
    assert (status, told["issue"][0]["code"]) == (400, "duplicate")
    # What is deleted is nothing to refer to.
    status, told = await aurelia.transact(
        entry("DELETE", f"Observation/{one['resource']['id']}"),
        entry(
            "POST",
            "Observation",
            weight(
                f"Patient/{her['id']}", hasMember=[{"reference": one["fullUrl"].split("/fhir/")[1]}]
            ),
        ),
    )
    assert (status, told["issue"][0]["code"]) == (422, "not-found")
