"""Stewards' decisions in a running hub: what everybody sees afterwards, asked over HTTP."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from hie.flow.corrections import as_csv
from hie.flow.decisions import (
    Confirm,
    Link,
    Merge,
    Overlay,
    Reject,
    Request,
    ReviewConsents,
    Steward,
    Unlink,
)
from hie.flow.standing import StandingNumbers
from hie.kernel.context import RequestContext
from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import PersonId, SourceRecordId
from mpi.model import TaskKind
from tests.integration.test_moves import CHEST, JANE, PETER, WHO, Feed, pid, pv1
from tests.support.running_hub import running_hub

KIM = Steward(name="kim", words="she told me on the phone")
SAMC = "https://saint-aurelia.example/mrn"
CLINIC = "https://hie.example/organization|bay-general"
#: What a new version of the same content may say differently.
VOLATILE = ("versionId", "lastUpdated")
TYPES = ("Patient", "Encounter", "Condition", "Consent", "Provenance")


@pytest.fixture(name="url", params=["sqlite", "postgresql"])
def _url(request: pytest.FixtureRequest) -> str:
    """The address of an empty database of each kind; "" = the hub's own SQLite file."""
    return "" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
async def feed(url: str, tmp_path: Path):
    async with running_hub(tmp_path, HIE_DATABASE_URL=url) as running:
        yield Feed(running)


@pytest.fixture
async def local(tmp_path: Path):
    """A feed on SQLite alone, for what no statement of a database decides."""
    async with running_hub(tmp_path) as running:
        yield Feed(running)


async def asked(feed: Feed, token: str) -> list[list[str]]:
    """What a caller sees of everybody, as text, apart from versions and times."""
    persons = [await feed.person(number) for number in ("1", "2")]
    paths = [f"{kind}?_count=100" for kind in TYPES]
    paths += [f"Patient/{person}/$everything" for person in persons]
    paths += [f"{kind}?patient={person}" for kind in TYPES[1:4] for person in persons]
    paths += ["Patient?family=DOE", "Patient?birthdate=1980-01-02", "Condition?code=R07.9"]
    found = []
    for path in paths:
        status, bundle = await feed.hub.ask(token, path)
        assert status == 200, (path, bundle)
        found.append([path, *(plain(entry["resource"]) for entry in bundle.get("entry", ()))])
    return found


def plain(resource: FhirJson) -> str:
    meta = {k: v for k, v in resource.get("meta", {}).items() if k not in VOLATILE}
    return json.dumps({**resource, "meta": meta})


async def ledger(feed: Feed) -> list[list[tuple[Any, ...]]]:
    """Open links, persons, open questions, rules and index rows."""
    statements = (
        "SELECT record_id, person_id, state FROM identity_link WHERE valid_to_us IS NULL",
        "SELECT id, status, redirect_to FROM person",
        "SELECT question FROM review_task WHERE open_key IS NOT NULL",
        "SELECT person_id, consent_id, path, effect, grantee, type_id, label_mask, record_id "
        "FROM consent_rule",
        "SELECT type_id, id, person_id, source_record_id, label_mask FROM resource",
        "SELECT resource_pk, param_id, system, code, person_id FROM sp_token",
        "SELECT id, replaced_by FROM source_record WHERE is_active = TRUE",
    )
    async with feed.hub.hub.db.reading() as conn:
        return [
            sorted(map(tuple, await conn.execute(text(statement))), key=repr)
            for statement in statements
        ]


async def two_patients(feed: Feed) -> tuple[PersonId, PersonId]:
    """Jane with two numbers that nobody has joined; each has a visit and a problem."""
    await feed.send("A01", pid(JANE, "1"), pv1("V1"), CHEST)
    await feed.send(
        "A01",
        pid(JANE.replace("12 ELM", "99 ASH").replace("0100", "0177"), "2"),
        pv1("V2"),
        "DG1|1||F11.20^Opioid dependence^I10C||20260110|A",
    )
    one, two = await feed.person("1"), await feed.person("2")
    assert one != two
    return PersonId(one), PersonId(two)


async def test_a_merge_taken_back_restores_every_answer_and_every_row(feed: Feed):
    one, two = await two_patients(feed)
    await feed.consent(one, "permit")
    await feed.consent(two, "deny")
    own, other = await feed.hub.token(WHO), await feed.hub.token(CLINIC)
    seen = await asked(feed, own)
    seen_elsewhere = await asked_elsewhere(feed, other)
    stewards = feed.hub.hub.stewards
    await feed.send("A40", pid(JANE, "1"), "MRG|2^^^SAMC^MR")
    assert await feed.person("2") == one
    assert without_marks(await asked(feed, own)) != without_marks(seen)
    await feed.undo(await feed.decision())
    assert without_marks(await asked(feed, own)) == without_marks(seen)
    assert await asked_elsewhere(feed, other) == seen_elsewhere
    # The same of a merge by a steward, twice, and here every row.
    seen, rows = await asked(feed, own), await ledger(feed)
    for _ in range(2):
        done = await stewards.decide(KIM, Merge(kept=one, gone=two))
        assert (await feed.person("1"), await feed.person("2")) == (one, one)
        assert done.resources["Condition"] == 1
        assert set(done.persons) == {one, two}
        assert await asked(feed, own) != seen
        undone = await stewards.undo(KIM, done.decision_id)
        assert (undone.kept, undone.left) == ((), ())
        assert await asked(feed, own) == seen
        assert await asked_elsewhere(feed, other) == seen_elsewhere
        assert await ledger(feed) == rows


async def asked_elsewhere(feed: Feed, token: str) -> list[str]:
    found = []
    for kind in TYPES[:4]:
        status, bundle = await feed.hub.ask(token, f"{kind}?_count=100")
        assert status == 200
        found += sorted(plain(entry["resource"]) for entry in bundle.get("entry", ()))
    return found


def without_marks(seen: list[list[str]]) -> list[list[str]]:
    """Without the Provenance of the message that merged."""
    return [
        [path, *(one for one in found if '"resourceType": "Provenance"' not in one)]
        for path, *found in seen
    ]


async def test_what_arrives_while_a_merge_stands_goes_back_with_its_record(local: Feed):
    one, two = await two_patients(local)
    done = await local.hub.hub.stewards.decide(KIM, Merge(kept=one, gone=two))
    await local.send("A01", pid(JANE, "2"), pv1("V3"))
    assert await local.whole("1") == await local.whole("2")
    undone = await local.hub.hub.stewards.undo(KIM, done.decision_id)
    assert undone.kept == ()
    assert (await local.whole("1")).count("Encounter") == 1
    assert (await local.whole("2")).count("Encounter") == 2


async def test_patients_tokens_end_with_the_next_request(local: Feed):
    one, two = await two_patients(local)
    stewards = local.hub.hub.stewards

    async def tokens() -> list[str]:
        return [
            await local.hub.token(patient=person, scope="patient/*.rs", purpose="PATRQT")
            for person in (one, two)
        ]

    async def states(held: list[str], person: str = "") -> list[int]:
        return [(await local.hub.ask(t, f"Patient/{person or one}"))[0] for t in held]

    staff = await local.hub.token(WHO)
    late = await tokens()
    await local.send("A40", pid(JANE, "1"), "MRG|2^^^SAMC^MR")
    assert await states(late) == [401, 401]
    await local.undo(await local.decision())
    before = await tokens()
    assert 401 not in await states(before)
    done = await stewards.decide(KIM, Merge(kept=one, gone=two))
    assert await states(before) == [401, 401]
    merged = await tokens()
    await stewards.undo(KIM, done.decision_id)
    assert await states(merged) == [401, 401]
    # Staff go on.
    assert (await local.hub.ask(staff, f"Patient/{one}"))[0] == 200


async def test_an_unmerge_lists_every_disclosure_and_who_was_told(local: Feed):
    one, two = await two_patients(local)
    stewards = local.hub.hub.stewards
    staff = await local.hub.token(WHO, user="Practitioner/d1")
    await local.hub.ask(staff, f"Condition?patient={one}")  # before: nothing to correct
    done = await stewards.decide(KIM, Merge(kept=one, gone=two))
    headers = {"X-Request-Id": "corr-1"}
    _, bundle = await local.hub.ask(staff, f"Condition?patient={one}", headers=headers)
    problems = [entry["resource"]["id"] for entry in bundle["entry"]]
    assert len(problems) == 2
    _, visits = await local.hub.ask(staff, f"Encounter?patient={two}")
    visit = visits["entry"][0]["resource"]["id"]
    await local.hub.ask(staff, f"Encounter/{visit}")
    await local.hub.ask(staff, f"Patient/{two}")
    # Of a search for the numbers of one authority, too, the whole golden Patient is told.
    await local.hub.ask(staff, f"Patient?family=DOE&identifier={SAMC}|")
    await local.hub.ask(staff, "Patient/nobody")
    undone = await stewards.undo(KIM, done.decision_id)
    await local.hub.ask(staff, f"Condition?patient={one}")  # after it: nothing to correct
    found = await stewards.corrections(KIM, undone.decision_id)
    assert undone.corrections == len(found) == 5
    (search,) = [c for c in found if c.request_id.startswith("corr-1~")]
    assert (search.user, search.interaction) == ("Practitioner/d1", "search-type")
    assert search.organization
    assert (search.moved.counts, search.stayed.counts) == ({"Condition": 1}, {"Condition": 1})
    assert search.is_mixed
    shown = {*search.moved.resources, *search.stayed.resources}
    assert shown == {f"Condition/{problem}" for problem in problems}
    reads = {c.interaction: c.is_mixed for c in found if c is not search}
    assert set(reads) == {"search-type", "read"}
    # A golden Patient was made of both records.
    golden = [c for c in found if "Patient" in {*c.moved.counts, *c.stayed.counts}]
    assert [c.is_mixed for c in golden] == [True, True]
    # One is told; the rest still wait. The list can be sent.
    assert await stewards.uncorrected() == {undone.decision_id: 5}
    assert await stewards.mark_corrected(KIM, undone.decision_id, [search.id]) == 1
    assert await stewards.mark_corrected(KIM, undone.decision_id, [search.id]) == 0
    assert await stewards.uncorrected() == {undone.decision_id: 4}
    lines = as_csv(await stewards.corrections(KIM, undone.decision_id)).splitlines()
    assert len(lines) == 6
    assert any("Condition:1,Condition:1" in line and "kim" in line for line in lines)


async def test_a_preview_shows_both_sides_and_changes_nothing(local: Feed):
    one, two = await two_patients(local)
    rows = await ledger(local)
    stewards = local.hub.hub.stewards
    preview = await stewards.preview(KIM, Merge(kept=one, gone=two))
    assert await ledger(local) == rows
    assert preview.done.resources == {"Patient": 1, "Encounter": 1, "Condition": 1, "Provenance": 1}
    before, after = preview.before, preview.after
    assert before[two]
    assert after[two] is None
    numbers = [len((side[one] or {})["identifier"]) for side in (before, after)]
    assert numbers == [1, 2]
    # What was made in the transaction that was rolled back is not used afterwards.
    await stewards.decide(KIM, Merge(kept=one, gone=two))
    assert len((await local.bundle("Patient?identifier=1"))[0]["identifier"]) == 2


async def test_a_batch_reports_each_item_and_is_taken_back_as_one(local: Feed):
    one, two = await two_patients(local)
    await local.send("A28", pid(PETER, "3"))
    three = PersonId(await local.person("3"))
    rows = await ledger(local)
    stewards = local.hub.hub.stewards
    wanted: list[Request] = [
        Merge(kept=one, gone=two),
        Merge(kept=one, gone=two),
        Reject(one=one, other=three),
    ]
    tried = await stewards.preview_batch(KIM, wanted)
    assert [bool(item.done) for item in tried.items] == [True, False, True]
    assert (await ledger(local), tried.is_done) == (rows, False)
    whole = await stewards.batch(KIM, wanted, is_whole=True)
    assert (await ledger(local), whole.is_done) == (rows, False)
    assert whole.items[1].error == "the two ids are one person already"
    done = await stewards.batch(KIM, wanted)
    assert [item.error for item in done.items] == ["", "the two ids are one person already", ""]
    assert await local.person("2") == one
    back = await stewards.undo_batch(KIM, done.batch_id)
    assert all(item.done for item in back.items)
    assert await ledger(local) == rows
    with pytest.raises(HieError) as raised:
        await stewards.undo_batch(KIM, 1)
    assert raised.value.category is Category.NOT_FOUND


async def test_every_decision_is_on_record_for_everybody_it_touched(local: Feed):
    one, two = await two_patients(local)
    stewards = local.hub.hub.stewards
    done = await stewards.decide(KIM, Merge(kept=one, gone=two))
    await stewards.undo(Steward(name="lee", words="two humans"), done.decision_id)
    async with local.hub.hub.db.reading() as conn:
        events = [await local.hub.hub.audit.access_log(conn, [person]) for person in (one, two)]
    for found in events:
        said = [(e.record.subtype, e.record.user) for e in found if e.record.action == "U"]
        assert said == [("unmerge", "lee"), ("merge", "kim")]
        assert found[0].record.detail["reason"] == "two humans"


async def test_a_decision_on_a_task_closes_it_and_opens_it_when_taken_back(local: Feed):
    one, two = await two_patients(local)
    stewards, review = local.hub.hub.stewards, local.hub.hub.mpi.review
    await local.send("A24", pid(JANE, "1"), pid(JANE, "2"))
    async with local.hub.hub.db.reading() as conn:
        (task,) = [t for t in await review.listed(conn) if t.kind is TaskKind.SOURCE_LINK]
    async with local.hub.hub.db.transaction() as conn:
        await review.claim(conn, task.id, "lee")
    with pytest.raises(HieError) as raised:
        await stewards.decide(KIM, Reject(one=one, other=two, task=task.id))
    assert raised.value.category is Category.CONFLICT
    lee = Steward(name="lee")
    done = await stewards.decide(lee, Reject(one=one, other=two, task=task.id))
    async with local.hub.hub.db.reading() as conn:
        closed = await conn.scalar(
            text("SELECT closed_by FROM review_task WHERE id = :id"), {"id": task.id}
        )
    assert closed == done.decision_id
    with pytest.raises(HieError) as raised:
        await stewards.decide(lee, Reject(one=one, other=two, task=task.id))
    assert raised.value.category is Category.CONFLICT
    await stewards.undo(lee, done.decision_id)
    async with local.hub.hub.db.reading() as conn:
        assert task.id in [t.id for t in await review.listed(conn)]


async def test_a_record_is_linked_confirmed_and_unlinked_and_each_taken_back(local: Feed):
    one, two = await two_patients(local)
    stewards = local.hub.hub.stewards
    async with local.hub.hub.db.reading() as conn:
        (record,) = await local.hub.hub.mpi.records_of(conn, two)
    history = [await ledger(local)]
    decisions = []
    for request in (
        Link(record=record, person=one),
        Confirm(record=record),
        Unlink(record=record),
    ):
        decisions.append((await stewards.decide(KIM, request)).decision_id)
        history.append(await ledger(local))
    for decision in reversed(decisions):
        history.pop()
        await stewards.undo(KIM, decision)
        now, before = await ledger(local), history[-1]
        # A person that was made stays, retired into the one its record went back to.
        assert now[0] == before[0]
        assert now[2:] == before[2:]


OVERLAID = PETER.replace("ROE^PETER", "ROE^WALTER").replace("19510709", "19800102")


async def test_an_overlay_is_taken_over_refused_and_taken_back(local: Feed):
    await local.send("A28", pid(PETER, "1"))
    stewards, review = local.hub.hub.stewards, local.hub.hub.mpi.review

    async def overlay() -> int:
        async with local.hub.hub.db.reading() as conn:
            found = [t for t in await review.listed(conn) if t.kind is TaskKind.OVERLAY]
        assert len(found) == 1
        return found[0].id

    async def said() -> tuple[str, str]:
        (patient,) = await local.bundle("Patient?identifier=1")
        return patient["name"][0]["given"][0], patient["birthDate"]

    await local.send("A08", pid(OVERLAID, "1"))
    assert await said() == ("PETER", "1951-07-09")
    task = await overlay()
    refused = await stewards.decide(KIM, Overlay(task=task, is_accepted=False))
    assert await said() == ("PETER", "1951-07-09")
    await stewards.undo(KIM, refused.decision_id)
    accepted = await stewards.decide(KIM, Overlay(task=await overlay(), is_accepted=True))
    assert await said() == ("WALTER", "1980-01-02")
    assert await local.bundle("Patient?given=PETER") == []
    undone = await stewards.undo(KIM, accepted.decision_id)
    assert (undone.left, await said()) == ((), ("PETER", "1951-07-09"))
    assert await overlay() == task
    again = await stewards.undo(KIM, undone.decision_id)
    assert (again.left, await said()) == ((), ("WALTER", "1980-01-02"))
    # What the source says afterwards stands: the undo leaves it, and says so.
    await local.send("A08", pid(OVERLAID.replace("9 OAK", "77 FIG"), "1"))
    late = await stewards.undo(KIM, again.decision_id)
    assert [item.type for item in late.left] == ["Patient"]
    assert await said() == ("WALTER", "1980-01-02")


async def seen_by_clinic(feed: Feed) -> list[str]:
    """The numbers of the visits that another hospital sees."""
    token = await feed.hub.token(CLINIC)
    status, bundle = await feed.hub.ask(token, "Encounter?_count=100")
    assert status == 200
    found = [entry["resource"]["identifier"][0]["value"] for entry in bundle.get("entry", ())]
    return sorted(found)


async def told_to_clinic(feed: Feed, person: PersonId) -> frozenset[str]:
    """The source records whose numbers a notice to the other hospital would be made of."""
    hub = feed.hub.hub
    caller = await hub.tokens.check(await feed.hub.token(CLINIC))
    ctx = RequestContext(caller=caller, request_id="notice", now_us=hub.clock.now_us())
    found = await StandingNumbers(hub.db, hub.repository, hub.consent).of(ctx, person)
    return found.records if found else frozenset()


async def record_of(feed: Feed, person: PersonId) -> SourceRecordId:
    async with feed.hub.hub.db.reading() as conn:
        (record,) = await feed.hub.hub.mpi.records_of(conn, person)
    return record


async def test_a_consent_opens_nothing_of_the_other_side_until_it_is_reviewed(feed: Feed):
    one, two = await two_patients(feed)
    stewards = feed.hub.hub.stewards
    first, second = await record_of(feed, one), await record_of(feed, two)
    assert await seen_by_clinic(feed) == []
    await feed.consent(first, "permit")
    assert await seen_by_clinic(feed) == ["V1"]
    merged = await stewards.decide(KIM, Merge(kept=one, gone=two))
    assert await seen_by_clinic(feed) == ["V1"]
    assert await told_to_clinic(feed, one) == {first}
    # Nor is whom a hidden patient was merged with told to who asks by the id it had.
    clinic = await feed.hub.token(CLINIC)
    for path in (f"Patient/{two}", f"Patient/{two}/_history", f"Patient/{two}/$everything"):
        assert (await feed.hub.ask(clinic, path))[0] == 404
    assert "entry" not in (await feed.hub.ask(clinic, f"Encounter?patient={two}"))[1]
    # A record that comes later is on no side: the permit was not given for it.
    await feed.send("A01", pid(JANE, "2"), pv1("V3"))
    assert await seen_by_clinic(feed) == ["V1"]
    review = await stewards.decide(KIM, ReviewConsents(decision=merged.decision_id))
    assert await seen_by_clinic(feed) == ["V1", "V2", "V3"]
    assert (await feed.hub.ask(clinic, f"Patient/{two}"))[0] == 200
    with pytest.raises(HieError) as raised:
        await stewards.decide(KIM, ReviewConsents(decision=merged.decision_id))
    assert raised.value.category is Category.CONFLICT
    undone = await stewards.undo(KIM, review.decision_id)
    assert await seen_by_clinic(feed) == ["V1"]
    await stewards.undo(KIM, undone.decision_id)
    assert await seen_by_clinic(feed) == ["V1", "V2", "V3"]
    # Taken back, each has its own again; joined once more, it is to be reviewed once more.
    unmerge = await stewards.undo(KIM, merged.decision_id)
    assert await seen_by_clinic(feed) == ["V1"]
    await feed.consent(second, "permit")
    assert await seen_by_clinic(feed) == ["V1", "V2", "V3"]
    await stewards.undo(KIM, unmerge.decision_id)
    assert await stewards.unreviewed() == [merged.decision_id]
    await stewards.decide(KIM, ReviewConsents(decision=merged.decision_id))
    # A denial of the one holds for both, and when they part it still does until it is reviewed.
    await feed.consent(first, "deny")
    assert await seen_by_clinic(feed) == []
    parted = await stewards.decide(KIM, Unlink(record=second))
    assert await seen_by_clinic(feed) == []
    await stewards.decide(KIM, ReviewConsents(decision=parted.decision_id))
    assert await seen_by_clinic(feed) == ["V2", "V3"]


async def test_an_old_id_leads_to_its_own_records_wherever_they_are_taken(feed: Feed):
    one, two = await two_patients(feed)
    stewards = feed.hub.hub.stewards
    second = await record_of(feed, two)
    await stewards.decide(KIM, Merge(kept=one, gone=two))
    parted = await stewards.decide(KIM, Unlink(record=second))
    (visit,) = await feed.bundle(f"Encounter?patient={two}")
    assert visit["identifier"][0]["value"] == "V2"
    undone = await stewards.undo(KIM, parted.decision_id)
    assert len(await feed.bundle(f"Encounter?patient={two}")) == 2
    await stewards.undo(KIM, undone.decision_id)
    assert len(await feed.bundle(f"Encounter?patient={two}")) == 1


async def test_a_denial_of_either_side_holds_for_both_after_the_sources_merge(local: Feed):
    one, two = await two_patients(local)
    first, second = await record_of(local, one), await record_of(local, two)
    await local.consent(first, "permit")
    await local.consent(second, "deny")
    assert await seen_by_clinic(local) == ["V1"]
    await local.send("A40", pid(JANE, "1"), "MRG|2^^^SAMC^MR")
    assert await seen_by_clinic(local) == []
    async with local.hub.hub.db.reading() as conn:
        assert await local.hub.hub.mpi.sides.waiting(conn) == [await local.decision()]
    await local.undo(await local.decision())
    assert await seen_by_clinic(local) == ["V1"]
    async with local.hub.hub.db.reading() as conn:
        assert await local.hub.hub.mpi.sides.waiting(conn) == []
