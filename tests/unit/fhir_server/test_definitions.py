"""Value sets and code systems that the hub carries are found as if they were stored."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from fhir_server.search.subset import load_subsets
from fhir_server.terminology.model import Include, ValueSet
from fhir_server.terminology.vocabulary import Vocabulary
from fhir_server.validate import validate
from tests.support.fhir_api import NOW_US, VOCABULARY, Hub, ids, next_url, running_api

R4 = "http://hl7.org/fhir/ValueSet/"
GENDER = f"{R4}administrative-gender"
GENDERS = "http://hl7.org/fhir/administrative-gender"
SUBSETS = load_subsets(Path(__file__).resolve().parents[3] / "config/fhir/subsets.json")

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub() -> AsyncIterator[Hub]:
    async with running_api(subsets=SUBSETS) as api:
        yield api


async def found(hub: Hub, path: str) -> list[str]:
    reply = await hub.get(f"/fhir/{path}")
    assert reply.status == 200, reply.body
    assert validate(reply.json) == ()
    return ids(reply.json)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"ValueSet?url={GENDER}", ["administrative-gender"]),
        (f"ValueSet?url={GENDER}&version=4.0.1&status=active", ["administrative-gender"]),
        (f"ValueSet?url={GENDER}&version=9", []),
        (f"ValueSet?url={GENDER}&status=draft", []),
        ("ValueSet?name:exact=AdministrativeGender", ["administrative-gender"]),
        (f"ValueSet?reference={GENDERS}", ["administrative-gender"]),
        ("ValueSet?_id=administrative-gender,none", ["administrative-gender"]),
        ("ValueSet?url=urn:nowhere", []),
        (f"ValueSet?url={GENDER}&_lastUpdated=gt1900", []),
        (f"ValueSet?url={GENDER}&url:missing=true", []),
        (f"CodeSystem?url={GENDERS}", ["administrative-gender"]),
        (f"CodeSystem?system={GENDERS}&code=female", ["administrative-gender"]),
        (f"CodeSystem?url={GENDERS}&code=other-than-these", []),
        (f"CodeSystem?url={GENDERS}&content-mode=complete", ["administrative-gender"]),
    ],
)
async def test_what_is_carried_is_found(hub: Hub, path: str, expected: list[str]):
    assert await found(hub, path) == expected


async def test_what_is_stored_follows_what_is_carried_page_by_page(hub: Hub):
    for number in range(3):
        stored = {"resourceType": "ValueSet", "id": f"own{number}", "status": "active"}
        hub.door.put(stored | {"name": f"B{number}"}, at_us=NOW_US)
    query = "ValueSet?name=b&_total=accurate"
    carried = [each.id for each in VOCABULARY.value_sets if each.name[:1] in "Bb"]
    whole = [*carried, "own0", "own1", "own2"]
    for size in (len(carried) - 1, len(carried), len(carried) + 1, 5):
        seen: list[str] = []
        url: str | None = f"/fhir/{query}&_count={size}"
        while url:
            page = (await hub.get(url)).json
            assert page["total"] == len(whole)
            assert 0 < len(ids(page)) <= size, "no page is empty"
            seen += ids(page)
            url = next_url(page)
        assert seen == whole, size
    counted = (await hub.get(f"/fhir/{query}&_summary=count")).json
    assert (counted["total"], ids(counted), next_url(counted)) == (len(whole), [], None)


async def test_one_page_that_they_fill_has_no_next(hub: Hub):
    page = (await hub.get(f"/fhir/ValueSet?url={GENDER}&_count=1")).json
    assert (ids(page), next_url(page), page.get("total")) == (["administrative-gender"], None, None)


async def test_a_definition_is_read_with_a_version_and_in_part(hub: Hub):
    whole = await hub.get("/fhir/CodeSystem/administrative-gender")
    assert whole.json["url"] == GENDERS
    assert "Last-Modified" not in whole.headers
    known = {"If-None-Match": whole.headers["ETag"]}
    assert (await hub.get("/fhir/CodeSystem/administrative-gender", **known)).status == 304
    part = (await hub.get("/fhir/CodeSystem/administrative-gender?_summary=true")).json
    assert part["meta"]["tag"][0]["code"] == "SUBSETTED"
    assert "concept" not in part
    listed = (await hub.get(f"/fhir/CodeSystem?url={GENDERS}&_elements=url")).json
    assert "concept" not in listed["entry"][0]["resource"]


async def test_an_order_is_refused_by_name(hub: Hub):
    reply = await hub.get("/fhir/ValueSet?_sort=name")
    assert reply.status == 400
    assert "`_sort`" in reply.texts


@pytest.mark.parametrize("kind", ["StructureDefinition", "SearchParameter", "OperationDefinition"])
async def test_who_looks_for_other_definitions_is_told_where_they_are(hub: Hub, kind: str):
    reply = await hub.get(f"/fhir/{kind}?url=urn:x")
    (entry,) = reply.json["entry"]
    assert entry["search"]["mode"] == "outcome"
    assert "`metadata`" in entry["resource"]["issue"][0]["details"]["text"]


async def test_two_of_one_id_are_told_apart():
    def of(url: str) -> ValueSet:
        return ValueSet(id="one", url=url, includes=(Include(system="urn:s"),))

    sets = Vocabulary((), [of("urn:b"), of("urn:a")]).value_sets
    assert [(each.url, each.id) for each in sets] == [("urn:a", "one"), ("urn:b", "one-2")]
