"""A hospital feeds its patients over FHIR (IHE ITI-104): new, changed, merged, unmerged, removed.

Each test asks as a consumer does: $ihe-pix, $match and the golden Patient, on both databases.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from hie.kernel.fhir import FhirJson
from tests.support.running_hub import RunningHub, running_hub

WHO = "https://hie.example/organization|saint-aurelia"
OTHER = "https://hie.example/organization|bayside-general"
MRN = "https://saint-aurelia.example/mrn"
BAYSIDE = "urn:oid:2.16.840.1.113883.19.100.1"


class Feed:
    """A hospital's feed, and what it asks."""

    def __init__(self, hub: RunningHub, token: str) -> None:
        self.hub = hub
        self.token = token

    async def put(
        self, number: str, *, system: str = MRN, expect: tuple[int, ...] = (200, 201), **more: Any
    ) -> FhirJson:
        """Conditional update by number."""
        path = f"Patient?identifier={system}|{number}"
        body = patient(number, system, **more)
        status, stored = await self.hub.ask(self.token, path, body, "PUT")
        assert status in expect, stored
        return stored

    async def merge(self, gone: str, kept: str, **more: Any) -> FhirJson:
        """Say that one number is replaced by another."""
        other = {"identifier": {"system": MRN, "value": kept}}
        link = {"other": other, "type": "replaced-by"}
        return await self.put(gone, active=False, link=[link], **more)

    async def pix(self, number: str, system: str = MRN) -> tuple[int, set[str]]:
        """Status, and the other numbers."""
        path = f"Patient/$ihe-pix?sourceIdentifier={system}|{number}"
        status, found = await self.hub.ask(self.token, path)
        parameters = found.get("parameter", [])
        return status, {
            p["valueIdentifier"]["value"] for p in parameters if "Identifier" in p["name"]
        }

    async def person(self, number: str) -> str:
        """The golden Patient's id."""
        _, found = await self.hub.ask(self.token, f"Patient?identifier={MRN}|{number}")
        (entry,) = found["entry"]
        return str(entry["resource"]["id"])

    async def rows(self, statement: str) -> list[Any]:
        async with self.hub.hub.db.reading() as conn:
            return list(await conn.execute(text(statement)))


def patient(number: str, system: str = MRN, **changes: Any) -> FhirJson:
    """Nora, unless told otherwise; she has changed her name and moved since."""
    return {
        "resourceType": "Patient",
        "identifier": [{"system": system, "value": number}],
        "active": True,
        "name": [{"family": "Quinlan", "given": ["Nora"]}],
        "gender": "female",
        "birthDate": "1971-03-08",
        **changes,
    }


MARRIED: dict[str, Any] = {"name": [{"family": "Abernathy", "given": ["Nora"]}]}
HOME: dict[str, Any] = {
    "telecom": [{"system": "phone", "value": "617-234-8871"}],
    "address": [{"line": ["14 Orchard Street"], "city": "Concord", "postalCode": "01742"}],
}
IKE: dict[str, Any] = {
    "name": [{"family": "Zebulon", "given": ["Ike"]}],
    "gender": "male",
    "birthDate": "1980-01-01",
}


@pytest.fixture
async def feed(tmp_path: Path, database_url: str) -> AsyncIterator[Feed]:
    settings = {"HIE_DATABASE_URL": database_url, "HIE_REGIME": "hipaa-treatment"}
    async with running_hub(tmp_path / "home", **settings) as hub:
        yield Feed(hub, await hub.token(WHO))


@pytest.fixture
async def sqlite_feed(tmp_path: Path) -> AsyncIterator[Feed]:
    async with running_hub(tmp_path / "home", HIE_REGIME="hipaa-treatment") as hub:
        yield Feed(hub, await hub.token(WHO))


async def test_a_number_is_created_once_revised_and_removed(feed: Feed):
    first = await feed.put("1")
    again = await feed.put("1", gender="other")
    assert (again["id"], again["gender"]) == (first["id"], "other")
    assert await feed.pix("1") == (200, set())
    path = f"Patient?identifier={MRN}|1"
    status, _ = await feed.hub.ask(feed.token, path, method="DELETE")
    assert status == 204
    assert await feed.pix("1") == (404, set())
    assert not await feed.rows("SELECT * FROM block_key")
    back = await feed.put("1")
    assert back["id"] == first["id"]
    assert await feed.pix("1") == (200, set())
    assert await feed.rows("SELECT * FROM block_key")


async def test_a_patient_replaced_by_another_is_merged_and_stands_again_when_sent_so(feed: Feed):
    kept = await feed.put("1")
    gone = await feed.put("2", **MARRIED)
    before = {number: await feed.person(number) for number in "12"}
    assert len(set(before.values())) == 2
    merged = await feed.merge("2", "1", **MARRIED)
    assert merged["id"] == gone["id"]
    assert merged["active"] is False
    replaced_by = [x["other"]["reference"] for x in merged["link"] if x["type"] == "replaced-by"]
    assert replaced_by == [f"Patient/{kept['id']}"]
    assert await feed.person("1") == before["1"]
    # Consumers are told of the number that stands, never of the one that is retired.
    assert await feed.pix("2") == (404, set())
    assert await feed.pix("1") == (200, set())
    _, old = await feed.hub.ask(feed.token, f"Patient/{before['2']}")
    assert (old["active"], old["link"][0]["type"]) == (False, "replaced-by")
    again = await feed.merge("2", "1", **MARRIED)
    assert (again["id"], again["active"]) == (gone["id"], False)
    assert len(await feed.rows("SELECT * FROM source_move")) == 1
    _, survivor = await feed.hub.ask(feed.token, f"Patient/{kept['id']}")
    assert (survivor["active"], survivor["name"][0]["family"]) == (True, "Quinlan")
    alone = await feed.put("2", **MARRIED)
    assert (alone["active"], alone.get("link")) == (True, None)
    assert {number: await feed.person(number) for number in "12"} == before
    assert await feed.pix("2") == (200, set())


async def test_the_guard_keeps_two_humans_apart_whom_a_feed_merges(sqlite_feed: Feed):
    feed = sqlite_feed
    await feed.put("1")
    await feed.put("2", **IKE)
    before = {number: await feed.person(number) for number in "12"}
    await feed.merge("2", "1", **IKE)
    _, found = await feed.hub.ask(feed.token, f"Patient/{before['2']}")
    assert found["active"] is False
    assert found.get("link") is None  # a person of its own still
    kinds = [row[0] for row in await feed.rows("SELECT kind FROM review_task")]
    assert kinds == ["source-conflict"]
    await feed.put("2", **IKE)
    assert await feed.pix("2") == (200, set())


async def test_a_merge_that_makes_no_sense_is_refused_with_its_place(sqlite_feed: Feed):
    feed = sqlite_feed
    await feed.put("1")
    await feed.put("2", **MARRIED)
    other = {"identifier": {"system": MRN, "value": "9"}}
    link: FhirJson = {"other": other, "type": "replaced-by"}
    told = await feed.put("2", active=False, link=[link], expect=(422,))
    assert told["issue"][0]["expression"] == ["Patient.link[0].other"]
    link["other"] = {"identifier": {"system": MRN, "value": "2"}}
    told = await feed.put("2", active=False, link=[link], expect=(409,))
    assert "not replaced by itself" in told["issue"][0]["details"]["text"]
    await feed.merge("2", "1", **MARRIED)
    link["other"] = {"identifier": {"system": MRN, "value": "2"}}
    await feed.put("1", active=False, link=[link], expect=(409,))
    _, survivor = await feed.hub.ask(feed.token, f"Patient?identifier={MRN}|1")
    assert survivor["entry"][0]["resource"]["active"] is True


async def test_a_transaction_merges_a_patient_into_one_it_brings_along(sqlite_feed: Feed):
    feed = sqlite_feed
    await feed.put("2", **MARRIED)
    link: FhirJson = {"other": {"reference": "urn:uuid:11111111-2222-4333-8444-555555555555"}}
    link["type"] = "replaced-by"
    entries = [
        ("urn:uuid:11111111-2222-4333-8444-555555555555", patient("1"), "1"),
        (
            "urn:uuid:21111111-2222-4333-8444-555555555555",
            patient("2", active=False, link=[link], **MARRIED),
            "2",
        ),
    ]
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "fullUrl": url,
                "resource": resource,
                "request": {"method": "PUT", "url": f"Patient?identifier={MRN}|{number}"},
            }
            for url, resource, number in entries
        ],
    }
    status, answer = await feed.hub.ask(feed.token, "", bundle)
    assert status == 200, answer
    assert await feed.pix("2") == (404, set())
    assert await feed.pix("1") == (200, set())


async def test_two_numbers_of_one_hospital_are_for_a_steward_without_a_type_too(sqlite_feed: Feed):
    feed = sqlite_feed
    await feed.put("4711", **HOME)
    other = Feed(feed.hub, await feed.hub.token(OTHER))
    await other.put("B1", system=BAYSIDE, **HOME)
    await feed.put("5000", **HOME)
    one, second = await feed.person("4711"), await feed.person("5000")
    assert one != second
    (asked,) = await feed.rows("SELECT kind, person_id FROM review_task")
    assert tuple(asked) == ("possible", second)
    assert await feed.pix("4711") == (200, {"B1"})


async def test_a_patient_aimed_by_one_number_that_has_another_is_refused(sqlite_feed: Feed):
    feed = sqlite_feed
    await feed.put("4711")
    before = await feed.rows("SELECT id, version FROM source_record")
    other = [{"system": MRN, "value": "4712"}]
    told = await feed.put("4711", identifier=other, expect=(422,))
    assert told["issue"][0]["expression"] == ["Patient.identifier"]
    assert "not that number" in told["issue"][0]["details"]["text"]
    assert await feed.rows("SELECT id, version FROM source_record") == before


async def test_a_patient_with_no_number_of_the_authority_is_filed_under_the_one_aimed_by(
    sqlite_feed: Feed,
):
    feed = sqlite_feed
    first = await feed.put("4711")
    elsewhere = [{"system": "urn:lab:local", "value": "9"}]
    assert (await feed.put("4711", identifier=elsewhere))["id"] == first["id"]
    both = [{"system": MRN, "value": number} for number in ("4712", "4711")]
    assert (await feed.put("4711", identifier=both))["id"] == first["id"]


async def test_a_source_touches_no_record_but_its_own(sqlite_feed: Feed):
    feed = sqlite_feed
    await feed.put("1")
    stored = await feed.put("7", system="urn:lab:local", **IKE)
    assert await feed.pix("7", "urn:lab:local") == (200, set())
    assert stored["identifier"][0]["system"] == "urn:lab:local"
    told = await feed.put("B1", system=BAYSIDE, expect=(403,))
    assert told["issue"][0]["code"] == "forbidden"
    other = Feed(feed.hub, await feed.hub.token(OTHER))
    for method in ("PUT", "DELETE"):
        path = f"Patient?identifier={MRN}|1"
        body = patient("1") if method == "PUT" else None
        status, _ = await other.hub.ask(other.token, path, body, method)
        assert status == 403
    assert await feed.pix("1") == (200, set())
    reader = await feed.hub.token(WHO, scope="system/*.rs")
    status, _ = await feed.hub.ask(reader, f"Patient?identifier={MRN}|1", patient("1"), "PUT")
    assert status == 403
