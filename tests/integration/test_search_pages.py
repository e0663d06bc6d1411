"""Paging of a running hub while others write, on both databases (FHIR R4, http.html#paging).

What was there at the first page and did not change is told exactly once; what is new stays out;
what changed is told at most once in each version.
"""

import os
from collections import Counter
from urllib.parse import urlsplit

import pytest

from hie.store.writer import NewVersion
from tests.support.asked_hub import actor, consent, deny, observation, patient
from tests.support.running_hub import running_hub

ALPHA, BETA = "ALPHA", "BETA"
COUNT = 1001
#: Each by a value that changes meanwhile, or that all share.
IS_LONG = os.environ.get("HIE_TEST_LONG") == "1"
SORTS = ("status,-date", *(("_lastUpdated", "-_lastUpdated") if IS_LONG else ()))


class Chart:
    """A hub with one patient of ALPHA's and 1,001 observations of one moment."""

    def __init__(self, hub, tokens, record, person):
        self.hub = hub
        self.tokens = tokens
        self.record = record
        self.person = person

    async def write(self, numbers, **elements):
        """New versions of observations, all of one moment: the present one."""
        items = [
            NewVersion(
                type="Observation",
                id=f"o{number}",
                resource={**observation(self.record, **elements), "id": f"o{number}"},
                source_id="adhoc:|ALPHA",
                message_id=1,
                label_mask=0,
                patients=((self.record, self.person),),
                key_owner=self.record,
                is_deleted=elements.get("status") == "entered-in-error",
            )
            for number in numbers
        ]
        services = self.hub.hub
        async with services.db.transaction() as conn:
            await services.writer.write(conn, items, services.clock.now_us())

    async def page(self, who, address):
        status, bundle = await self.hub.ask(self.tokens[who], address)
        assert status == 200, bundle
        told = [entry["resource"] for entry in bundle.get("entry", ())]
        return [(one["id"], one["meta"]["versionId"]) for one in told], links(bundle)

    async def pages(self, who, query, between=None):
        """Ids and versions on all pages; `between(n)` runs after the n-th."""
        told, following = await self.page(who, f"Observation?{query}")
        number = 0
        while "next" in following:
            if between:
                await between(number, told)
            number += 1
            page, following = await self.page(who, following["next"])
            assert "first" in following
            told += page
        return told


def links(bundle):
    return {one["relation"]: relative(one["url"]) for one in bundle["link"]}


def relative(url):
    parts = urlsplit(url)
    return f"{parts.path.removeprefix('/fhir/')}?{parts.query}"


@pytest.fixture
async def chart(tmp_path, database_url):
    settings = {"HIE_DATABASE_URL": database_url, "HIE_REGIME": "hipaa-treatment"}
    async with running_hub(tmp_path / "home", **settings) as hub:
        tokens = {name: await hub.token(name) for name in (ALPHA, BETA)}
        status, stored = await hub.ask(tokens[ALPHA], "Patient", patient("A1", "alpha"))
        assert status == 201, stored
        _, stored = await hub.ask(tokens[ALPHA], f"Patient/{stored['id']}")
        person = stored["link"][-1]["other"]["reference"].partition("/")[2]
        chart = Chart(hub, tokens, stored["id"], person)
        await chart.write(range(COUNT), status="preliminary")
        yield chart


ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class Others:
    """Who writes while a search is read: after each of 7 pages 143 new ones, and 3 changes."""

    def __init__(self, chart, there, first):
        self.chart = chart
        self.there = frozenset(there)
        self.changed = set()
        self.living = set(there)
        self.first = first

    async def write(self, number, so_far):
        if number >= 7:
            return
        first = self.first + 143 * number
        await self.chart.write(range(first, first + 143), status="final")
        self.living.update(f"o{one}" for one in range(first, first + 143))
        unseen = sorted(self.there - {name for name, _ in so_far} - self.changed)
        changes = {
            so_far[number][0]: "amended",
            unseen[0]: "corrected",
            unseen[-1]: "entered-in-error",
        }
        for name, status in changes.items():
            await self.chart.write([int(name[1:])], status=status)
        self.changed |= set(changes)
        self.living.discard(unseen[-1])


async def test_pages_stand_while_others_write(chart):
    there = {f"o{number}" for number in range(COUNT)}
    if IS_LONG:
        told = await chart.pages(ALPHA, f"patient={chart.person}&_count=200")
        assert [name for name, _ in told] == [f"o{number}" for number in range(COUNT)]
    for number, sort in enumerate(SORTS, start=1):
        others = Others(chart, there, 10_000 * number)
        query = f"patient={chart.person}&_count=125&_sort={sort}"
        told = await chart.pages(ALPHA, query, others.write)
        times = Counter(name for name, _ in told)
        assert len(others.changed) == 21
        assert {name for name in there - others.changed if times[name] != 1} == set(), sort
        assert set(times) <= there, sort
        assert max(Counter(told).values()) == 1, sort
        there = others.living


@ON_SQLITE
async def test_a_page_link_is_one_callers_and_proves_nothing(chart):
    await check_links(chart)
    await check_consent(chart)


async def check_links(chart):
    """A link fits one caller's search, unchanged and alone."""
    _, following = await chart.page(ALPHA, f"Observation?patient={chart.person}&_count=5")
    link = following["next"]
    # Nothing that was asked for is in it, in clear.
    assert chart.person not in link
    assert "patient" not in link
    damaged = link[:-3] + ("A" if link[-3] != "A" else "B") + link[-2:]
    for who, address in (
        (ALPHA, damaged),
        (ALPHA, link[:-8]),
        (BETA, link),
        (ALPHA, link.replace("Observation?", "Condition?")),
        (ALPHA, f"{link}&status=final"),
        (ALPHA, "Observation?_cursor=bm90aGluZw"),
    ):
        status, outcome = await chart.hub.ask(chart.tokens[who], address)
        assert status == 400, (who, address)
        assert "_cursor" in outcome["issue"][0]["details"]["text"]
    # Read again it is the same page, and its own link leads to it.
    told, links_of_it = await chart.page(ALPHA, link)
    assert (await chart.page(ALPHA, links_of_it["self"]))[0] == told
    assert (await chart.page(ALPHA, links_of_it["first"]))[0] == (
        await chart.page(ALPHA, f"Observation?patient={chart.person}&_count=5")
    )[0]


async def check_consent(chart):
    """A consent holds from the next page on."""
    query = f"patient={chart.person}&_count=100&_total=accurate"
    told, following = await chart.page(BETA, f"Observation?{query}")
    assert len(told) == 100
    withheld = consent(chart.record, deny(actor(BETA)))
    assert (await chart.hub.ask(chart.tokens[ALPHA], "Consent", withheld))[0] == 201
    rest, last = await chart.page(BETA, following["next"])
    assert rest == []
    assert "next" not in last
