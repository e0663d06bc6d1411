"""What a search shows besides and of its matches, over HTTP (FHIR R4, search.html#return)."""

import json

import pytest
import pytest_asyncio

from fhir_server.validate import validate
from tests.support.asked_hub import observation, patient
from tests.support.running_hub import running_hub

pytestmark = pytest.mark.asyncio(loop_scope="module")
ALPHA = "ALPHA"
SUBSETTED = "SUBSETTED"


class Chart:
    """A hub and the ids of what ALPHA told it."""

    def __init__(self, hub, token):
        self.hub = hub
        self.token = token
        self.ids = {}

    async def add(self, name, resource):
        status, stored = await self.hub.ask(self.token, resource["resourceType"], resource)
        assert status == 201, stored
        self.ids[name] = stored["id"]

    def ref(self, kind, name):
        return {"reference": f"{kind}/{self.ids[name]}"}

    async def get(self, address, token=None, **more):
        status, bundle = await self.hub.ask(token or self.token, address, **more)
        assert status == 200, bundle
        assert validate(bundle) == ()
        return bundle

    async def shown(self, address, token=None):
        """Names of matches, and of what was included, each once."""
        bundle = await self.get(address, token)
        names = {value: name for name, value in self.ids.items()}
        found: dict[str, list[str]] = {"match": [], "include": []}
        for entry in bundle.get("entry", ()):
            key = entry["resource"]["id"]
            found[entry["search"]["mode"]].append(names.get(key, entry["resource"]["resourceType"]))
        assert len(set(found["include"])) == len(found["include"])
        return found["match"], sorted(found["include"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chart(tmp_path_factory):
    home = tmp_path_factory.mktemp("results")
    async with running_hub(home, HIE_REGIME="hipaa-treatment") as hub:
        chart = Chart(hub, await hub.token(ALPHA))
        await fill(chart)
        yield chart


async def fill(chart):
    await chart.add("ann", patient("A1", "alpha"))
    _, told = await chart.hub.ask(chart.token, f"Patient/{chart.ids['ann']}")
    chart.ids["person"] = told["link"][-1]["other"]["reference"].partition("/")[2]
    top = {"resourceType": "Organization", "name": "Top", "identifier": [{"value": "o1"}]}
    await chart.add("top", top)
    ward = {**top, "name": "Ward", "identifier": [{"value": "o2"}]}
    await chart.add("ward", {**ward, "partOf": chart.ref("Organization", "top")})
    visit = {"resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"}}
    visit |= {"subject": chart.ref("Patient", "ann")}
    await chart.add("visit", {**visit, "serviceProvider": chart.ref("Organization", "ward")})
    note = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'}
    for name, code, more in (
        ("glucose", "2345-7", {"text": note, "note": [{"text": "after lunch"}]}),
        ("panel", "718-7", {"issued": "2025-03-05T10:00:00Z"}),
    ):
        members = [chart.ref("Observation", "glucose")] if name == "panel" else []
        links = {"encounter": chart.ref("Encounter", "visit"), "hasMember": members}
        links = {key: value for key, value in links.items() if value}
        await chart.add(name, observation(chart.ids["ann"], code, **links, **more))
    origin = {
        "resourceType": "Provenance",
        "recorded": "2025-03-05T10:00:00Z",
        "target": [chart.ref("Observation", "panel"), chart.ref("Patient", "ann")],
        "agent": [{"who": chart.ref("Organization", "ward")}],
    }
    await chart.add("origin", origin)


async def test_a_page_brings_what_was_asked_for_with_it(chart):
    panel = f"Observation?_id={chart.ids['panel']}"
    assert await chart.shown(panel) == (["panel"], [])
    rows: tuple[tuple[str, list[str] | None], ...] = (
        ("_include=Observation:encounter", ["visit"]),
        ("_include=Observation:patient", ["person"]),
        ("_include=Observation:subject:Patient", ["person"]),
        ("_include=Observation:subject:Group", []),
        ("_include=Observation:has-member", ["glucose"]),
        ("_include=*", ["glucose", "person", "visit"]),
        ("_include=Observation:*", ["glucose", "person", "visit"]),
        ("_revinclude=Provenance:target", ["origin"]),
        ("_include=Observation:encounter&_include=Encounter:service-provider", None),
        (
            "_include=Observation:encounter&_include:iterate=Encounter:service-provider"
            "&_include:iterate=Organization:partof",
            ["top", "visit", "ward"],
        ),
        ("_revinclude=Observation:has-member", []),
    )
    for asked, included in rows:
        if included is None:
            assert (await chart.hub.ask(chart.token, f"{panel}&{asked}"))[0] == 400
        else:
            assert await chart.shown(f"{panel}&{asked}") == (["panel"], included), asked
    # A match is no include, and what two matches refer to is there once.
    both = f"Observation?patient={chart.ids['person']}&_include=Observation:has-member"
    assert await chart.shown(both) == (["glucose", "panel"], [])
    both += "&_include=Observation:encounter&_include=Observation:patient"
    assert await chart.shown(both) == (["glucose", "panel"], ["person", "visit"])
    # Of the golden Patient: what refers to any of its records.
    of_patient = f"Patient?_id={chart.ids['person']}&_revinclude="
    assert await chart.shown(of_patient + "Provenance:target") == (["person"], ["origin"])
    found = await chart.shown(of_patient + "Observation:patient")
    assert found == (["person"], ["glucose", "panel"])


async def test_what_the_scopes_leave_out_is_not_brought_along(chart):
    narrow = await chart.hub.token(ALPHA, scope="system/Observation.rs system/Encounter.s")
    asked = f"Observation?_id={chart.ids['panel']}&_include=*&_revinclude=Provenance:target"
    assert await chart.shown(asked, narrow) == (["panel"], ["glucose"])
    for address in ("?_type=Observation,Condition", "?_type=Patient"):
        status, outcome = await chart.hub.ask(narrow, address)
        assert status == 403
        assert outcome["issue"][0]["code"] == "forbidden"


async def test_parts_of_resources_are_marked_as_such(chart):
    address = f"Observation?_id={chart.ids['glucose']}"
    whole = (await chart.get(address))["entry"][0]["resource"]
    assert {"text", "note", "effectiveDateTime"} <= set(whole)
    kept = {"resourceType", "id", "meta"}
    rows = (
        ("_elements=effective,subject", {*kept, "effectiveDateTime", "subject", "status", "code"}),
        ("_elements=note", {*kept, "note", "status", "code"}),
        ("_summary=text", {*kept, "text", "status", "code"}),
        ("_summary=data", set(whole) - {"text"}),
        ("_summary=true", set(whole) - {"text", "note"}),
    )
    for asked, names in rows:
        told = (await chart.get(f"{address}&{asked}"))["entry"][0]["resource"]
        assert set(told) == names, asked
        assert told["meta"]["tag"][-1]["code"] == SUBSETTED
        assert all(told[name] == whole[name] for name in names - {"meta"})
    same = (await chart.get(f"{address}&_summary=false"))["entry"][0]["resource"]
    assert same == whole
    # What is included is whole, whatever is left of the matches.
    bundle = await chart.get(f"{address}&_elements=status&_include=Observation:encounter")
    assert "tag" in bundle["entry"][0]["resource"]["meta"]
    assert "tag" not in bundle["entry"][1]["resource"]["meta"]


async def test_one_resource_is_read_in_part(chart):
    address = f"Observation/{chart.ids['glucose']}"
    whole = await chart.get(address)
    part = await chart.get(f"{address}?_elements=note")
    assert set(part) == {"resourceType", "id", "meta", "note", "status", "code"}
    assert part["meta"]["tag"][-1]["code"] == SUBSETTED
    assert "text" not in await chart.get(f"{address}?_summary=data")
    assert await chart.get(f"{address}?_summary=false") == whole
    # What is left of a resource is not written as the whole.
    status, outcome = await chart.hub.ask(chart.token, address, part, method="PUT")
    assert status == 422
    assert outcome["issue"][0]["expression"] == ["Observation.meta.tag"]
    for asked in ("_summary=count", "_summary=some", "_elements=nonsense"):
        assert (await chart.hub.ask(chart.token, f"{address}?{asked}"))[0] == 400, asked


async def test_totals_are_told_as_they_are_asked_for(chart):
    for asked, total, entries in (
        ("", None, 2),
        ("_total=none", None, 2),
        ("_total=accurate", 2, 2),
        ("_total=estimate&_count=1", 2, 1),
        ("_count=0", 2, 0),
        ("_summary=count", 2, 0),
    ):
        bundle = await chart.get(f"Observation?patient={chart.ids['person']}&{asked}")
        assert bundle.get("total") == total, asked
        assert len(bundle.get("entry", ())) == entries, asked


async def test_several_types_are_searched_as_one(chart):
    everything = ["person", "visit", "glucose", "panel"]
    address = "?_type=Patient,Encounter,Observation&_lastUpdated=gt2020&_total=accurate"
    assert (await chart.shown(address))[0] == everything
    assert (await chart.get(address))["total"] == 4
    # By time, the same in pages of one; a form asks for the same.
    told = (await chart.shown(f"{address}&_sort=-_lastUpdated"))[0]
    assert sorted(told) == sorted(everything)
    assert told[:2] == ["panel", "glucose"]
    pages, following = [], f"{address}&_sort=-_lastUpdated&_count=1"
    while following:
        bundle = await chart.get(following)
        pages += [entry["resource"]["id"] for entry in bundle.get("entry", ())]
        links = {one["relation"]: one["url"] for one in bundle["link"]}
        following = links.get("next", "").partition("/fhir/")[2]
    assert pages == [chart.ids[name] for name in told]
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = b"_type=Encounter,Observation&patient=" + chart.ids["person"].encode()
    bundle = await chart.get("_search", body=body, method="POST", headers=form)
    assert [one["resource"]["id"] for one in bundle["entry"]] == [
        chart.ids[name] for name in ("visit", "glucose", "panel")
    ]


REFUSED = (
    ("", "_type"),
    ("?_type=Observation,Nonsense", "_type"),
    ("?_type=Observation,Patient&code=1", "code"),
    ("?_type=Observation,Encounter&_sort=date,code", "_sort"),
    ("Patient?_sort=birthdate", "_sort"),
    ("Patient?_sort=gender", "_sort"),
    ("Observation?_sort=subject", "_sort"),
    ("Observation?_sort=date,-date", "_sort"),
    ("Observation?_elements=nonsense", "_elements"),
    ("Observation?_elements=st%20atus", "_elements"),
    ("Observation?_summary=some", "_summary"),
    ("Observation?_summary=text&_include=Observation:encounter", "_summary"),
    ("Observation?_total=roughly", "_total"),
    ("Observation?_count=many", "_count"),
    ("Observation?_include=encounter", "_include"),
    ("Observation?_include=Nonsense:encounter", "_include"),
    ("Observation?_include=Observation:nonsense", "_include"),
    ("Observation?_include=Observation:code", "_include"),
    ("Observation?_include=Encounter:service-provider", "_include"),
    ("Observation?_include=Observation:patient:Group", "_include"),
    ("Observation?_include:again=Observation:patient", "_include"),
    ("Observation?_revinclude=*", "_revinclude"),
    ("Observation?_revinclude=Provenance:*", "_revinclude"),
)


async def test_what_cannot_be_shown_is_refused_by_name(chart):
    for address, named in REFUSED:
        status, outcome = await chart.hub.ask(chart.token, address, method="GET")
        assert status == 400, (address, outcome)
        assert f"`{named}`" in json.dumps(outcome), address
        assert validate(outcome) == ()
