"""Writes of a source over HTTP: https://hl7.org/fhir/R4/http.html."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from hie.kernel.fhir import FhirJson
from tests.support.fhir_source import (
    AURELIA,
    BAYSIDE,
    JSON_PATCH,
    LOINC,
    MRN,
    ORDER,
    Source,
    entry,
    patient,
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


@pytest_asyncio.fixture(loop_scope="module")
async def source(tmp_path: Path, database_url: str) -> AsyncIterator[Source]:
    settings = {"HIE_DATABASE_URL": database_url, "HIE_REGIME": "hipaa-treatment"}
    async with running_hub(tmp_path / "home", **settings) as hub:
        yield Source(hub, await hub.token(AURELIA))


async def test_writes_of_one_resource_from_create_to_delete(source: Source):
    her = await source.make(patient("A1"))
    made = await source.make(weight(f"Patient/{her['id']}"))
    path = f"Observation/{made['id']}"
    # A JSON Patch keeps every number as it was written.
    status, patched = await source.patch(
        path, [{"op": "replace", "path": "/valueQuantity/value", "value": 72.5}]
    )
    assert (status, patched["meta"]["versionId"]) == (200, "2")
    assert patched["subject"] == made["subject"]
    exact = b'[{"op":"replace","path":"/valueQuantity/value","value":72.50}]'
    status, patched = await source.ask(path, exact, "PATCH", JSON_PATCH)
    assert (status, patched["meta"]["versionId"]) == (200, "3")
    # Nothing changed: no new version, by patch and by update.
    status, same = await source.patch(path, [{"op": "test", "path": "/status", "value": "final"}])
    assert (status, same["meta"]["versionId"]) == (200, "3")
    # A FHIRPath Patch of the same resource, with the version it was read in.
    operations = {
        "resourceType": "Parameters",
        "parameter": [
            {
                "name": "operation",
                "part": [
                    {"name": "type", "valueCode": "replace"},
                    {"name": "path", "valueString": "Observation.status"},
                    {"name": "value", "valueCode": "amended"},
                ],
            }
        ],
    }
    status, _ = await source.patch(path, operations, **{"If-Match": 'W/"2"'})
    assert status == 412
    status, patched = await source.patch(path, operations, **{"If-Match": 'W/"3"'})
    assert (status, patched["status"], patched["meta"]["versionId"]) == (200, "amended", "4")
    status, _ = await source.ask(path, None, "DELETE")
    assert status == 204
    status, told = await source.patch(path, [{"op": "remove", "path": "/valueQuantity"}])
    assert status == 410, told
    # An update brings it back to life under its id.
    again = weight(f"Patient/{her['id']}", id=made["id"])
    status, back = await source.ask(path, again, "PUT")
    assert (status, back["id"], back["meta"]["versionId"]) == (201, made["id"], "6")


async def test_a_reference_may_be_the_address_that_was_served(aurelia: Source):
    her = await aurelia.make(patient("served"))
    short = await aurelia.make(weight(f"Patient/{her['id']}"))
    whole = await aurelia.make(weight(f"{aurelia.hub.base}/Patient/{her['id']}"))
    assert whole["subject"] == short["subject"]


async def test_eight_conditional_creates_at_once_make_one_resource(source: Source):
    her = await source.make(patient("A1"))
    about = f"Patient/{her['id']}"
    by_identifier = {"If-None-Exist": f"identifier={ORDER}|7"}
    ordered = weight(about, identifier=[{"system": ORDER, "value": "7"}])
    answers = await asyncio.gather(
        *(source.ask("Observation", ordered, headers=by_identifier) for _ in range(8))
    )
    assert sorted(status for status, _ in answers) == [200] * 7 + [201]
    assert len({made["id"] for _, made in answers}) == 1
    # By other search parameters, and with the patient named as the source knows her.
    by_code = {"If-None-Exist": f"code={LOINC}|3141-9&patient={her['id']}"}
    other = weight(about, code={"coding": [{"system": LOINC, "code": "3141-9"}]})
    answers = await asyncio.gather(
        *(source.ask("Observation", other, headers=by_code) for _ in range(8))
    )
    assert sorted(status for status, _ in answers) == [200] * 7 + [201]


async def test_updates_and_patches_at_once_are_all_carried_out(source: Source):
    her = await source.make(patient("A1"))
    about = f"Patient/{her['id']}"
    ordered = weight(about, identifier=[{"system": ORDER, "value": "8"}])
    path = f"Observation?identifier={ORDER}|8"
    answers = await asyncio.gather(*(source.ask(path, ordered, "PUT") for _ in range(8)))
    assert sorted(status for status, _ in answers) == [200] * 7 + [201]
    (name,) = {made["id"] for _, made in answers}
    first = [{"op": "add", "path": "/note", "value": [{"text": "0"}]}]
    await source.patch(path, first)
    patches = (
        [{"op": "add", "path": "/note/-", "value": {"text": str(number)}}] for number in range(1, 8)
    )
    answers = await asyncio.gather(*(source.patch(path, one) for one in patches))
    assert [status for status, _ in answers] == [200] * 7
    _, made = await source.ask(f"Observation/{name}")
    assert {note["text"] for note in made["note"]} == set("01234567")
    deleted = await asyncio.gather(*(source.ask(path, None, "DELETE") for _ in range(8)))
    assert [status for status, _ in deleted] == [204] * 8


async def test_directory_entries_created_at_once_by_two_organisations_are_one(source: Source):
    npi = {"system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567893"}
    doctor = {"resourceType": "Practitioner", "identifier": [npi], "name": [{"family": "Marsh"}]}
    condition = {"If-None-Exist": f"identifier={npi['system']}|{npi['value']}"}
    other = await source.hub.token(BAYSIDE)
    answers = await asyncio.gather(
        *(
            source.hub.ask(token, "Practitioner", doctor, headers=condition)
            for token in (source.token, other) * 4
        )
    )
    assert sorted(status for status, _ in answers) == [200] * 7 + [201]
    assert len({made["id"] for _, made in answers}) == 1


async def test_an_identical_update_and_conditions_by_version(aurelia: Source):
    her = await aurelia.make(patient("W1"))
    own = weight(f"Patient/{her['id']}", id="w-1")
    new = {"If-None-Match": "*"}
    status, made = await aurelia.ask("Observation/w-1", own, "PUT", new)
    assert (status, made["meta"]["versionId"]) == (201, "1")
    status, told = await aurelia.ask("Observation/w-1", own, "PUT", new)
    assert status == 412, told
    status, same = await aurelia.ask("Observation/w-1", own, "PUT")
    assert (status, same["meta"]) == (200, made["meta"])
    status, _ = await aurelia.ask("Observation/w-1", own, "PUT", {"If-Match": 'W/"9"'})
    assert status == 412
    status, _ = await aurelia.ask("Observation/w-1", None, "DELETE", {"If-Match": 'W/"9"'})
    assert status == 412
    # The condition finds one, the resource says it is another.
    other = await aurelia.make(
        weight(f"Patient/{her['id']}", identifier=[{"system": ORDER, "value": "1"}])
    )
    status, told = await aurelia.ask(f"Observation?identifier={ORDER}|1", own, "PUT")
    assert (status, told["issue"][0]["code"]) == (400, "value")
    status, done = await aurelia.ask(
        f"Observation?identifier={ORDER}|1", {**other, "status": "amended"}, "PUT"
    )
    assert (status, done["id"], done["status"]) == (200, other["id"], "amended")


async def test_a_patch_of_a_patient_changes_the_sources_own_record_and_no_view(aurelia: Source):
    her = await aurelia.make(patient("W2"))
    made = await aurelia.make(weight(f"Patient/{her['id']}"))
    golden = made["subject"]["reference"]
    operations = [{"op": "replace", "path": "/birthDate", "value": "1951-04-13"}]
    status, told = await aurelia.patch(golden, operations)
    assert (status, told["issue"][0]["code"]) == (422, "business-rule")
    for path in (f"Patient/{her['id']}", f"Patient?identifier={MRN}|W2"):
        operations[0]["value"] = operations[0]["value"][:-1] + str(len(path) % 10)
        status, patched = await aurelia.patch(path, operations)
        assert (status, patched["birthDate"]) == (200, operations[0]["value"]), patched
    # Nobody else's, and nothing that is not there: one answer.
    other = Source(aurelia.hub, await aurelia.hub.token(BAYSIDE))
    for path in (f"Observation/{made['id']}", "Observation/nothing"):
        status, told = await other.patch(path, [{"op": "remove", "path": "/valueQuantity"}])
        assert (status, told["issue"][0]["code"]) == (404, "not-found")


@pytest.mark.parametrize(
    ("operations", "status"),
    [
        ([{"op": "test", "path": "/status", "value": "preliminary"}], 422),
        ([{"op": "remove", "path": "/note/0"}], 422),
        ([{"op": "replace", "path": "/status", "value": 7}], 422),
        ([{"op": "replace", "path": "/id", "value": "x"}], 422),
        ([{"op": "replace", "path": "/subject/reference", "value": "Patient/nobody"}], 422),
        ([{"op": "move", "path": "/note"}], 400),
        ([{"op": "burn", "path": "/note"}], 400),
        ([{"op": "copy", "from": "", "path": "/contained"}] * 30, 422),
    ],
)
async def test_a_patch_that_does_not_fit_changes_nothing(
    aurelia: Source, operations: list[FhirJson], status: int
):
    her = await aurelia.make(patient("W3"))
    made = await aurelia.make(weight(f"Patient/{her['id']}"))
    path = f"Observation/{made['id']}"
    got, told = await aurelia.patch(path, operations)
    assert (got, told["resourceType"]) == (status, "OperationOutcome"), told
    assert told["issue"][0]["expression"]
    _, after = await aurelia.ask(path)
    assert after["meta"]["versionId"] == "1"


async def test_the_history_of_a_type_pages_every_version_the_caller_may_see(source: Source):
    her = await source.make(patient("A1"))
    made = [await source.make(weight(f"Patient/{her['id']}")) for _ in range(3)]
    for one in made[:2]:
        path = f"Observation/{one['id']}"
        await source.patch(path, [{"op": "replace", "path": "/status", "value": "amended"}])
    await source.ask(f"Observation/{made[0]['id']}", None, "DELETE")
    seen, path, pages = [], "Observation/_history?_count=2", 0
    while path:
        status, page = await source.ask(path)
        assert (status, page["type"]) == (200, "history")
        seen += page["entry"]
        pages += 1
        links = {link["relation"]: link["url"] for link in page["link"]}
        path = links.get("next", "").removeprefix(f"{source.hub.base}/")
        if pages == 1:  # a version that comes meanwhile stands before the first page
            await source.make(weight(f"Patient/{her['id']}"))
    ids = [(one["fullUrl"].rpartition("/")[2], one["response"]["etag"]) for one in seen]
    first, second, third = (one["id"] for one in made)
    assert ids == [
        *((first, 'W/"3"'), (second, 'W/"2"'), (first, 'W/"2"')),
        *((third, 'W/"1"'), (second, 'W/"1"'), (first, 'W/"1"')),
    ]
    assert [one["request"]["method"] for one in seen] == ["DELETE", "PUT", "PUT"] + ["POST"] * 3
    since = seen[2]["response"]["lastModified"]
    _, recent = await source.ask(f"Observation/_history?_since={since}")
    assert len(recent["entry"]) == 4
    _, recent = await source.ask(f"Observation/{first}/_history?_since={since}")
    assert [one["response"]["etag"] for one in recent["entry"]] == ['W/"3"', 'W/"2"']
    # Patients as they are now; who is shown nothing finds nothing, and another's link nothing.
    _, people = await source.ask("Patient/_history")
    assert [one["resource"]["birthDate"] for one in people["entry"]] == ["1951-04-12"]
    stranger = await source.hub.token(patient="0" * 32, scope="patient/*.rs", purpose="PATRQT")
    for address in ("Observation/_history", "Patient/_history"):
        status, nothing = await source.hub.ask(stranger, address)
        assert (status, "entry" in nothing) == (200, False)
    link = {link["relation"]: link["url"] for link in recent["link"]}
    status, _ = await source.ask("Observation/_history?_since=yesterday")
    assert (status, "next" in link) == (400, False)


async def test_what_a_source_calls_its_own_is_found_by_that_name_by_that_source(aurelia: Source):
    her = await aurelia.make(patient("W4"))
    own = weight(f"Patient/{her['id']}", id="w-9")
    _, made = await aurelia.ask("Observation/w-9", own, "PUT")
    async with aurelia.hub.request("GET", "Observation/w-9", None, aurelia.token) as answer:
        found = await answer.json(content_type=None)
        assert found["id"] == made["id"] != "w-9"
        assert answer.headers["Content-Location"].endswith(f"Observation/{made['id']}/_history/1")
    other = await aurelia.hub.token(BAYSIDE)
    status, _ = await aurelia.hub.ask(other, "Observation/w-9")
    assert status == 404


async def test_what_http_offers_besides(aurelia: Source):
    hub, token = aurelia.hub, aurelia.token
    her = await aurelia.make(patient("W5"))
    path = f"Patient/{her['id']}"
    async with hub.request("GET", f"{path}?_pretty=true", None, token) as answer:
        text = await answer.text()
        assert text.startswith('{\n  "resourceType": "Patient",\n  "id"')
        assert json.loads(text) == her | {"link": json.loads(text)["link"]}
    async with hub.request("HEAD", path, None, token) as answer:
        assert (answer.status, await answer.read()) == (200, b"")
        assert int(answer.headers["Content-Length"]) > 100
        version = answer.headers["ETag"]
        changed = answer.headers["Last-Modified"]
    async with hub.request("GET", path, None, token, If_None_Match=version) as answer:
        assert (answer.status, await answer.read()) == (304, b"")
    for since, status in ((changed, 304), ("Thu, 01 Jan 2015 00:00:00 GMT", 200), ("soon", 200)):
        async with hub.request("GET", path, None, token, If_Modified_Since=since) as answer:
            assert answer.status == status
    for asked, status in (("json", 200), ("application/fhir+json", 200), ("xml", 406)):
        assert (await aurelia.ask(f"{path}?_format={asked}"))[0] == status
    told = {"Prefer": "return=OperationOutcome"}
    status, outcome = await aurelia.ask("Patient", patient("XW5"), headers=told)
    assert (status, outcome["issue"][0]["severity"]) == (201, "information")


async def test_patients_without_a_number_are_told_apart_and_updated_by_their_ids(aurelia: Source):
    """A read, a change and an update, as most clients do it."""
    people = [
        {"resourceType": "Patient", "name": [{"family": family, "given": ["Ida"]}]}
        for family in ("Nonnumber", "Numberless")
    ]
    status, answer = await aurelia.transact(*(entry("POST", "Patient", one) for one in people))
    assert status == 200, answer
    paths = [e["response"]["location"].partition("/_history")[0] for e in answer["entry"]]
    assert len(set(paths)) == 2
    for path, person in zip(paths, people, strict=True):
        _, read = await aurelia.ask(path)
        assert (read["name"], len(read["link"])) == (person["name"], 1)
        # What was read is put back: nothing is new, the hub's own link least of all.
        status, same = await aurelia.ask(path, read, "PUT")
        assert (status, same["meta"]["versionId"], "link" in same) == (200, "1", False)
        status, changed = await aurelia.ask(path, {**read, "gender": "female"}, "PUT")
        assert (status, changed["meta"]["versionId"]) == (200, "2")
        add = [{"op": "add", "path": "/birthDate", "value": "1970-01-01"}]
        status, changed = await aurelia.patch(path, add)
        assert (status, changed["gender"], changed["birthDate"]) == (200, "female", "1970-01-01")
        _, read = await aurelia.ask(path)
        assert (f"Patient/{read['id']}", len(read["link"])) == (path, 1)
