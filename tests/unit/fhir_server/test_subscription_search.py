"""https://hl7.org/fhir/R4/search.html: what is claimed of a Subscription's search is done."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from fhir_server.search.subset import load_subsets
from fhir_server.validate import validate
from hie.kernel.context import RequestContext
from hie.kernel.fhir import FhirJson
from tests.support.fhir_api import NOW_US, Hub, ids, next_url, running_api

pytestmark = pytest.mark.asyncio(loop_scope="module")

SUBSETS = load_subsets(Path(__file__).resolve().parents[3] / "config/fhir/subsets.json")
DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Kept:
    id: str
    version: str
    updated_us: int
    resource: FhirJson


def kept(number: int, status: str = "active", kind: str = "rest-hook") -> Kept:
    resource = {
        "resourceType": "Subscription",
        "id": f"s{number}",
        "status": status,
        "reason": "care",
        "end": "2030-01-01T00:00:00Z",
        "criteria": f"https://hub.test/Topic/{number % 2}",
        "channel": {
            "type": kind,
            "endpoint": f"https://there.test/{number}",
            "payload": "application/fhir+json",
        },
        "meta": {"versionId": "1"},
    }
    # The later its number, the earlier it was updated.
    return Kept(f"s{number}", "1", NOW_US - number * DAY_US, resource)


class Desk:
    """Five subscriptions of whoever asks."""

    async def mine(self, _: RequestContext, /) -> Sequence[Kept]:
        return [kept(1), kept(3), kept(2, "off"), kept(5), kept(4, kind="websocket")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub() -> AsyncIterator[Hub]:
    async with running_api(subscriptions=Desk(), subsets=SUBSETS) as api:
        yield api


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "s1 s2 s3 s4 s5"),
        ("_id=s4,s2", "s2 s4"),
        ("status=active", "s1 s3 s4 s5"),
        ("status=http://hl7.org/fhir/subscription-status|off", "s2"),
        ("status=urn:other|off", ""),
        ("type=websocket", "s4"),
        ("payload=application/fhir%2Bjson&status=off", "s2"),
        ("url=https://there.test/3", "s3"),
        ("url=https://there.test", ""),  # a uri is the whole one
        ("criteria=https://hub.test/topic/1", "s1 s3 s5"),
        ("topic=https://hub.test/Topic/0", "s2 s4"),
        ("_lastUpdated=lt2026-01-28", "s4 s5"),  # s4: four days before 31 January
        ("_sort=_lastUpdated", "s5 s4 s3 s2 s1"),
        ("_sort=-_id", "s5 s4 s3 s2 s1"),
        ("_total=accurate&_format=json", "s1 s2 s3 s4 s5"),
    ],
)
async def test_subscriptions_are_found_and_put_in_order(hub: Hub, query: str, expected: str):
    reply = await hub.get(f"/fhir/Subscription?{query}")
    assert reply.status == 200, reply.body
    assert validate(reply.json) == ()
    assert ids(reply.json) == expected.split()
    assert reply.json["total"] == len(expected.split())


@pytest.mark.parametrize("sort", ["", "&_sort=_lastUpdated", "&_sort=-_lastUpdated"])
async def test_pages_follow_each_other_to_the_end(hub: Hub, sort: str):
    whole = ids((await hub.get(f"/fhir/Subscription?_count=5{sort}")).json)
    found: list[str] = []
    url: str | None = f"/fhir/Subscription?_count=2{sort}"
    while url:
        page = (await hub.get(url)).json
        assert (len(ids(page)) <= 2, page["total"]) == (True, 5)
        found += ids(page)
        url = next_url(page)
    assert found == whole
    assert len(found) == 5


async def test_a_form_finds_the_same(hub: Hub):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    path = "/fhir/Subscription/_search?_count=1"
    reply = await hub.send("POST", path, headers=form, data=b"status=off")
    assert ids(reply.json) == ["s2"]


async def test_as_much_is_shown_as_was_asked_for(hub: Hub):
    counted = (await hub.get("/fhir/Subscription?_summary=count")).json
    assert (counted["total"], ids(counted)) == (5, [])
    assert (await hub.get("/fhir/Subscription?_count=0")).json["total"] == 5
    (entry,) = (await hub.get("/fhir/Subscription?_id=s1&_elements=criteria")).json["entry"]
    assert entry["resource"]["meta"]["tag"][0]["code"] == "SUBSETTED"
    assert "end" not in entry["resource"]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("nonsense=1", "`nonsense`"),
        ("status:not=off", "`status:not`"),
        ("contact=x", "`contact`"),
        ("_include=*", "`_include`"),
        ("_sort=status", "`_sort`"),
        ("_count=many", "`_count`"),
        ("_summary=all", "`_summary`"),
        ("_elements=nothing", "`_elements`"),
        ("_lastUpdated=soon", "`_lastUpdated`"),
        ("status=", "`status`"),
        ("_cursor=made-up", "`_cursor`"),
    ],
)
async def test_what_is_not_supported_is_refused_by_its_name(hub: Hub, query: str, named: str):
    reply = await hub.get(f"/fhir/Subscription?{query}")
    assert reply.status == 400
    assert named in reply.texts


async def test_who_is_lenient_is_told_what_was_passed_over(hub: Hub):
    reply = await hub.get("/fhir/Subscription?nonsense=1&_id=s1", Prefer="handling=lenient")
    first, second = reply.json["entry"]
    assert first["resource"]["id"] == "s1"
    assert "`nonsense`" in second["resource"]["issue"][0]["details"]["text"]
    assert "nonsense" not in reply.json["link"][0]["url"]
