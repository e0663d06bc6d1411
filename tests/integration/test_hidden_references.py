"""What a visible resource says of hidden ones: nothing, in its body or in what it is found by.

Each resource is written twice: naming what its reader may not see, and as if it had never been
named. The two must be told alike, through every way a reader has to them.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from tests.support.asked_hub import (
    GLUCOSE,
    HEMOGLOBIN,
    LOINC,
    Fhir,
    World,
    actor,
    consent,
    deny,
    observation,
    patient,
    permit,
    zebulon,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
READER, SOURCE = "GAMMA", "ALPHA"


def text_of(name: str) -> Fhir:
    return {"text": name}


class Chart:
    """A patient with something hidden from the reader, and resources that name it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.record = self.seen = self.hidden = self.problem = self.letter = ""

    async def fill(self) -> None:
        post = self.world.post
        self.record = await post(SOURCE, patient("A1", "alpha"))
        self.seen = await post(SOURCE, observation(self.record))
        self.hidden = await post(SOURCE, observation(self.record, HEMOGLOBIN))
        self.problem = await post(SOURCE, self.of("Condition", code=text_of("x")))
        self.letter = await post(SOURCE, self.document())
        # By the patient's word, not by labels: those a report would take over from its results.
        named = (
            f"Observation/{self.hidden}",
            f"Condition/{self.problem}",
            f"DocumentReference/{self.letter}",
        )
        kept = [{"meaning": "instance", "reference": {"reference": name}} for name in named]
        silence = deny(actor(READER), data=kept)
        await post(SOURCE, consent(self.record, permit(READER, provision=[silence])))
        assert await self.world.status(READER, f"Observation/{self.seen}") == 200
        for name in named:
            assert await self.world.status(READER, name) == 404

    def of(self, kind: str, **elements: Any) -> Fhir:
        return {
            "resourceType": kind,
            "subject": {"reference": f"Patient/{self.record}"},
            **elements,
        }

    def document(self, **elements: Any) -> Fhir:
        attachment = {"contentType": "text/plain", "data": "aGVsbG8="}
        status = {"status": "current", "content": [{"attachment": attachment}]}
        return self.of("DocumentReference", **status, **elements)

    def pairs(self) -> dict[str, tuple[Fhir, Fhir]]:
        """By type a resource that names something hidden, and the same without."""
        seen = {"reference": f"Observation/{self.seen}"}
        hidden = {"reference": f"Observation/{self.hidden}", "display": "the second one"}
        problem = {"reference": f"Condition/{self.problem}"}
        report = {"status": "final", "code": {"coding": [{"system": LOINC, "code": "24323-8"}]}}
        visit = {
            "status": "finished",
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        }
        listed = {"status": "current", "mode": "working"}
        letter = {"reference": f"DocumentReference/{self.letter}"}
        return {
            "DiagnosticReport": (
                self.of("DiagnosticReport", **report, result=[seen, hidden]),
                self.of("DiagnosticReport", **report, result=[seen]),
            ),
            "Encounter": (
                self.of("Encounter", **visit, diagnosis=[{"condition": problem, "rank": 1}]),
                self.of("Encounter", **visit),
            ),
            "List": (
                self.of("List", **listed, entry=[{"item": hidden}, {"item": seen}]),
                self.of("List", **listed, entry=[{"item": seen}]),
            ),
            "DocumentReference": (
                self.document(relatesTo=[{"code": "replaces", "target": letter}]),
                self.document(),
            ),
        }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chart(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Chart]:
    async with World(tmp_path_factory.mktemp("hub")) as world:
        chart = Chart(world)
        await chart.fill()
        yield chart


def bare(resource: Fhir) -> Fhir:
    """A resource without what its own writing gave it."""
    left = {name: value for name, value in resource.items() if name not in ("id", "meta")}
    meta = resource["meta"]
    labels = {"security": meta["security"], "tag": meta.get("tag"), "version": meta["versionId"]}
    return {**left, "meta": labels}


def entries(bundle: Fhir) -> list[Fhir]:
    return [entry["resource"] for entry in bundle.get("entry", ()) if "resource" in entry]


async def ways_to(chart: Chart, kind: str, key: str) -> list[Fhir]:
    """A resource by every way there is to it."""
    world, person = chart.world, await chart.world.person_of(SOURCE, chart.record)
    found = [await world.get(READER, f"{kind}/{key}")]
    found.append(await world.get(READER, f"{kind}/{key}/_history/1"))
    for path in (
        f"{kind}/{key}/_history",
        f"{kind}/_history",
        f"{kind}?_id={key}",
        f"{kind}?patient={person}&_sort=-_lastUpdated",
        f"Patient?_id={person}&_revinclude={kind}:patient",
        f"Patient/{person}/$everything",
        f"Patient/{person}/$everything?_type={kind}&_count=50",
    ):
        told = [one for one in entries(await world.get(READER, path)) if one["id"] == key]
        assert len(told) == 1, path
        found += told
    return found


async def test_a_resource_is_told_as_if_it_had_never_named_what_is_hidden(chart: Chart) -> None:
    for kind, (naming, silent) in chart.pairs().items():
        one = await chart.world.post(SOURCE, naming)
        other = await chart.world.post(SOURCE, silent)
        (alike, *rest) = [bare(told) for told in await ways_to(chart, kind, other)]
        assert all(told == alike for told in rest)
        for told in await ways_to(chart, kind, one):
            assert bare(told) == alike
            assert json.dumps(told).count(chart.hidden) == 0
        whole = await chart.world.get(SOURCE, f"{kind}/{one}")
        assert bare(whole) != alike, "its source is served what it sent"
        # What a reader was told is not written back as the whole, whoever's version it names.
        told = await chart.world.get(READER, f"{kind}/{one}")
        etag = {"If-Match": f'W/"{told["meta"]["versionId"]}"'}
        status, _, _ = await chart.world.ask(READER, "PUT", f"{kind}/{one}", told, **etag)
        assert status in (403, 412, 422), kind
        part = await chart.world.get(SOURCE, f"{kind}/{one}?_elements=status")
        status, _, _ = await chart.world.ask(SOURCE, "PUT", f"{kind}/{one}", part, **etag)
        assert status == 422, "a part is not the whole"
        assert await chart.world.get(SOURCE, f"{kind}/{one}") == whole


async def test_searches_find_by_references_what_they_show(chart: Chart) -> None:
    world = chart.world
    made = {k: await world.post(SOURCE, naming) for k, (naming, _) in chart.pairs().items()}
    only = {"status": "final", "code": text_of("y")}
    hidden = {"reference": f"Observation/{chart.hidden}"}
    lonely = await world.post(SOURCE, chart.of("DiagnosticReport", **only, result=[hidden]))

    ids = ",".join([*made.values(), lonely, chart.seen, chart.hidden])

    async def total(who: str, question: str) -> int:
        return int((await world.get(who, f"{question}&_id={ids}&_summary=count"))["total"])

    for question, its_source, reader in (
        (f"DiagnosticReport?result=Observation/{chart.hidden}", 2, 0),
        (f"DiagnosticReport?result={chart.hidden}", 2, 0),
        (f"DiagnosticReport?result=Observation/{chart.seen}", 1, 1),
        (f"DiagnosticReport?_id={lonely}&result:missing=true", 0, 1),
        (f"DiagnosticReport?_id={lonely}&result:missing=false", 1, 0),
        (f"DiagnosticReport?result.code={HEMOGLOBIN}", 2, 0),
        (f"Observation?_has:DiagnosticReport:result:_id={lonely}", 1, 0),
        (f"Encounter?diagnosis=Condition/{chart.problem}", 1, 0),
        (f"List?item=Observation/{chart.hidden}", 1, 0),
        (f"Observation?_list={made['List']}", 2, 1),
        ("DocumentReference?relation=replaces", 1, 0),
        (f"DocumentReference?_id={made['DocumentReference']}&relation:missing=true", 0, 1),
        (f"DocumentReference?relationship=replaces$DocumentReference/{chart.letter}", 1, 0),
        (f"DocumentReference?relatesto=DocumentReference/{chart.letter}", 1, 0),
    ):
        assert (await total(SOURCE, question), await total(READER, question)) == (
            its_source,
            reader,
        ), question


async def test_a_provenance_is_seen_with_something_it_is_of(chart: Chart) -> None:
    agent = {"agent": [{"who": {"display": "a nurse"}}], "recorded": "2026-01-01T00:00:00Z"}
    about = {"reference": f"Patient/{chart.record}"}
    hidden, seen = ({"reference": f"Observation/{key}"} for key in (chart.hidden, chart.seen))

    async def witness(*targets: Fhir) -> str:
        body = {"resourceType": "Provenance", "target": [*targets], **agent}
        return await chart.world.post(SOURCE, body)

    alone, both = await witness(about, hidden), await witness(hidden, seen, about)
    of_patient = await witness(about)
    assert await chart.world.status(READER, f"Provenance/{alone}") == 404
    assert await chart.world.status(SOURCE, f"Provenance/{alone}") == 200
    told = await chart.world.get(READER, f"Provenance/{both}")
    assert told["target"][0] == seen
    assert len(told["target"]) == 2
    assert await chart.world.status(READER, f"Provenance/{of_patient}") == 200
    found = await chart.world.get(READER, "Provenance?_total=accurate")
    ids = {one["id"] for one in entries(found)}
    assert {both, of_patient} <= ids
    assert alone not in ids
    assert found["total"] == len(ids)


async def test_older_versions_name_the_people_they_were_about(chart: Chart) -> None:
    world = chart.world
    third = zebulon("A3", "alpha") | {"name": [{"family": "Ash", "given": ["Bo"]}]}
    third |= {"birthDate": "1999-09-09", "gender": "female"}
    others = [await world.post(SOURCE, one) for one in (zebulon("A2", "alpha"), third)]
    first, second = (
        {
            "resourceType": "Group",
            "type": "person",
            "actual": True,
            "member": [{"entity": {"reference": f"Patient/{record}"}} for record in members],
        }
        for members in ((chart.record, others[0]), (others[0], others[1]))
    )
    group = await world.post(SOURCE, first)
    await world.put(SOURCE, f"Group/{group}", second)
    persons = [await world.person_of(SOURCE, one) for one in (chart.record, *others)]

    async def members(path: str) -> list[str]:
        told = await world.get(SOURCE, path)
        return [one["entity"]["reference"].partition("/")[2] for one in told["member"]]

    assert await members(f"Group/{group}") == persons[1:]
    was, stayed = await members(f"Group/{group}/_history/1")
    assert (was, stayed) == (chart.record, persons[1]), "who left is named as the source did"


async def test_what_fails_on_the_way_tells_nothing(chart: Chart) -> None:
    """A decision, its recheck or its record that cannot be made refuses."""
    world, path = chart.world, f"Observation/{chart.seen}"
    for table in ("consent_rule", "audit_event"):
        async with world.hub.db.transaction() as conn:
            await conn.execute(text(f"ALTER TABLE {table} RENAME TO gone"))
        for question in (path, "Observation", "Observation?_summary=count"):
            status, _, body = await world.ask(READER, "GET", question)
            assert status >= 500, (table, question)
            assert json.loads(body)["resourceType"] == "OperationOutcome"
            assert GLUCOSE.encode() not in body
        async with world.hub.db.transaction() as conn:
            await conn.execute(text(f"ALTER TABLE gone RENAME TO {table}"))
        assert await world.status(READER, path) == 200


async def test_a_panel_tells_nothing_of_what_became_of_a_hidden_member(chart: Chart) -> None:
    world = chart.world
    ivy, married = (
        zebulon(number, "alpha")
        | {"name": [{"family": family, "given": ["Ivy"]}], "birthDate": "1970-07-07"}
        for number, family in (("A7", "Elm"), ("A8", "Oakley"))
    )
    other, member = [await world.post(SOURCE, one) for one in (married, ivy)]
    await world.post(SOURCE, consent(member, permit(READER)))
    row = [{"name": "id", "valueString": "1"}, {"name": "patient", "resource": ivy}]
    panel = {"resourceType": "Parameters", "parameter": [{"name": "row", "part": row}]}
    status, _, loaded = await world.ask(READER, "POST", "Group/$load-panel", panel)
    assert status == 200, loaded
    told = json.loads(loaded)["parameter"]
    group = next(one["valueReference"]["reference"] for one in told if one["name"] == "group")

    def names(found: Any) -> list[str]:
        return [one["entity"]["reference"] for one in json.loads(found[2])["member"]]

    person = await world.person_of(SOURCE, member)
    assert names(await world.ask(READER, "GET", group)) == [f"Patient/{person}"]
    await world.post(SOURCE, consent(member, deny(actor(READER))))
    hidden = await world.ask(READER, "GET", group)
    assert names(hidden) == [f"Patient/{member}"], "the record that the panel was made of"
    link = {"other": {"reference": f"Patient/{other}"}, "type": "replaced-by"}
    await world.put(SOURCE, f"Patient/{member}", ivy | {"active": False, "link": [link]})
    survivor = await world.person_of(SOURCE, other)
    (merged,) = (await world.get(SOURCE, f"Patient/{person}"))["link"]
    assert merged["other"]["reference"] == f"Patient/{survivor}", "the attack needs a merge"
    assert await world.ask(READER, "GET", group) == hidden
    for question in (f"Group?member=Patient/{survivor}", f"Patient/{survivor}/Group"):
        status, _, body = await world.ask(READER, "GET", question)
        assert group.encode() not in body, question
