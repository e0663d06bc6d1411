"""A person erased by law: nothing is found, nothing opens, and the trail is whole."""

import contextlib
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from hie.flow.decisions import Merge, Steward
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import MessageId, PersonId
from hie.keystore import KeyKind, data_key
from hie.store.tables import resource
from tests.support.erasures import officer, quick
from tests.support.running_hub import RunningHub, running_hub
from tests.support.subscribers import subscription

REGISTERED = (
    "MSH|^~\\&|MEDIHOST|STAUR|HIE|MA|20260105120000||ADT^A28|{control}|P|2.5.1\r"
    "EVN||20260105113000\r"
    "PID|1||{number}^^^SAMC^MR||{name}||{born}|F|||14 ORCHARD ST^^CONCORD^MA^01742\r"
)
DRAWN = (
    "MSH|^~\\&|MEDIHOST|STAUR|HIE|MA|20260106120000||ORU^R01|{control}|P|2.5.1\r"
    "PID|1||{number}^^^SAMC^MR||{name}||{born}|F\r"
    "OBR|1|P{control}|F{control}|2345-7^Glucose^LN|||20260106110000\r"
    "OBX|1|NM|2345-7^Glucose^LN||98|mg/dL|||||F\r"
)
NORA = {"number": "700", "name": "QUILLFEATHER^NORA", "born": "19710308"}
OTTO = {"number": "800", "name": "BRAMBLETHORN^OTTO", "born": "19430912"}


@pytest.fixture(params=["sqlite", "postgresql"])
async def hub(request: pytest.FixtureRequest, tmp_path: Path):
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    async with running_hub(tmp_path / "home", HIE_DATABASE_URL=url) as running:
        yield running


async def fed(hub: RunningHub, *controls: str) -> None:
    """Both patients with a result each; every message acknowledged."""
    payloads = []
    for control in controls:
        for letter, who in (("N", NORA), ("O", OTTO)):
            payloads.append(REGISTERED.format(control=f"{letter}A{control}", **who).encode())
            payloads.append(DRAWN.format(control=f"{letter}R{control}", **who).encode())
    answers = await hub.send(*payloads)
    assert all(b"MSA|AA" in answer for answer in answers)


async def person_of(hub: RunningHub, token: str, who: dict[str, str]) -> str:
    family = who["name"].partition("^")[0]
    status, found = await hub.ask(token, f"Patient?family={family}")
    assert (status, len(found.get("entry", ()))) == (200, 1), found
    return str(found["entry"][0]["resource"]["id"])


async def rows(hub: RunningHub, statement: str, **values: Any) -> list[Any]:
    async with hub.hub.db.reading() as conn:
        return list((await conn.execute(text(statement), values)).all())


async def test_an_erased_person_is_found_by_nobody_and_the_others_stay(hub: RunningHub):
    await fed(hub, "1")
    token = await hub.token("saint-aurelia")
    nora, otto = await person_of(hub, token, NORA), await person_of(hub, token, OTTO)
    patient = await hub.token(patient=nora, scope="patient/*.rs")
    erasure = quick(hub.hub.erasure)
    before = await erasure.outlook(officer(hub), nora)
    assert (len(before.records), before.resources["Observation"]) == (1, 1)
    records = [str(record) for record in before.records]
    messages = [
        row.pk
        for row in await rows(
            hub,
            "SELECT m.pk FROM inbound_message m JOIN data_key k ON k.id = m.wrapped_by "
            "WHERE k.owner = :record",
            record=records[0],
        )
    ]
    assert len(messages) == 2

    done = await erasure.erase(officer(hub), nora, reason="a court said so")
    assert done.resources == before.resources
    for path in (f"Patient/{nora}", f"Patient/{nora}/$everything"):
        assert (await hub.ask(token, path))[0] == 404
    for path in ("Patient?family=QUILLFEATHER", f"Observation?patient={nora}"):
        status, found = await hub.ask(token, path)
        assert (status, found.get("entry", [])) == (200, []), path
    assert (await hub.ask(patient, f"Patient/{nora}"))[0] == 401
    assert (await hub.ask(token, f"Patient/{otto}"))[0] == 200
    assert len((await hub.ask(token, f"Observation?patient={otto}"))[1]["entry"]) == 1

    # No key is left, so nothing opens: not the journal's messages, not what the index knew.
    async with hub.hub.db.reading() as conn:
        owners = set((await conn.execute(data_key.select())).scalars())
        assert owners
        for pk in messages:
            with pytest.raises(HieError, match="destroyed"):
                await hub.hub.journal.get(conn, MessageId(pk))
        held = await conn.execute(resource.select().where(resource.c.person_id == nora))
        assert held.first() is None
    kinds = "SELECT COUNT(*) FROM data_key WHERE owner IN (:record, :person) AND kind = 'record'"
    assert (await rows(hub, kinds, record=records[0], person=nora))[0][0] == 0

    # The trail is whole, says who erased, and its older rows are noise.
    await hub.hub.sequencer.close(hub.hub.clock.now_us())
    assert (await hub.hub.verifier.verify()).is_whole
    async with hub.hub.db.reading() as conn:
        log = await hub.hub.audit.access_log(conn, [PersonId(nora)])
    assert [one.record.subtype for one in log if not one.is_erased] == [
        "destroy",
        "110137",  # the token ended
    ]
    assert log[0].record.detail["reason"] == "a court said so"
    assert any(one.is_erased for one in log)

    # What works over the whole index goes on.
    await hub.hub.care.learn()
    await hub.hub.care.renew()
    await hub.hub.care.duplicates(100)

    # Sent again, the record is filed as before, under keys of its own.
    await fed(hub, "2")
    again = await person_of(hub, token, NORA)
    assert len((await hub.ask(token, f"Observation?patient={again}"))[1]["entry"]) == 1


async def test_whoever_was_merged_into_the_person_is_erased_too(hub: RunningHub):
    await fed(hub, "1")
    token = await hub.token("saint-aurelia")
    nora, otto = await person_of(hub, token, NORA), await person_of(hub, token, OTTO)
    patient = await hub.token(patient=nora, scope="patient/*.cruds")
    named = [{"name": name, "valueString": "appointments"} for name in ("name", "scope")]
    body = {"resourceType": "Parameters", "parameter": named}
    assert (await hub.ask(patient, "RelatedPerson/$appoint", body))[0] == 201
    wish = subscription("observation-available", content="id-only")
    assert (await hub.ask(patient, "Subscription", wish))[0] == 201
    steward = Steward(name="kim", words="her neighbour says so")
    merge = Merge(kept=PersonId(otto), gone=PersonId(nora))
    await hub.hub.stewards.decide(steward, merge)

    done = await quick(hub.hub.erasure).erase(officer(hub), otto, reason="a court said so")
    assert done.persons == (otto, nora)
    # Her part of the trail was under a key of hers; her wishes and the steward's words go, too.
    async with hub.hub.db.reading() as conn:
        log = await hub.hub.audit.access_log(conn, [PersonId(nora)])
    assert log
    assert [one.record.subtype for one in log if not one.is_erased] == []
    for left in (
        "SELECT 1 FROM subscription",
        "SELECT 1 FROM proxy_relationship",
        "SELECT 1 FROM identity_decision WHERE explanation IS NOT NULL",
    ):
        assert await rows(hub, left) == [], left


async def test_the_trail_may_be_kept_for_those_who_are_owed_an_account(hub: RunningHub):
    await fed(hub, "1")
    token = await hub.token("saint-aurelia")
    nora = await person_of(hub, token, NORA)
    await quick(hub.hub.erasure).erase(
        officer(hub), nora, reason="a court said so", keeps_trail=True
    )
    async with hub.hub.db.reading() as conn:
        log = await hub.hub.audit.access_log(conn, [PersonId(nora)])
    assert len(log) > 2
    assert not any(one.is_erased for one in log)


async def test_who_may_not_be_erased_is_said_and_nothing_is_lost(hub: RunningHub):
    await fed(hub, "1")
    token = await hub.token("saint-aurelia")
    nora = await person_of(hub, token, NORA)
    erasure = quick(hub.hub.erasure)
    with pytest.raises(HieError, match="ground") as refused:
        await erasure.erase(officer(hub), nora, reason=" ")
    assert refused.value.category is Category.INVALID
    with pytest.raises(HieError) as unknown:
        await erasure.erase(officer(hub), "nobody", reason="x")
    assert unknown.value.category is Category.NOT_FOUND
    assert (await hub.ask(token, f"Patient/{nora}"))[0] == 200


async def test_another_process_seals_nothing_under_a_key_that_is_gone(hub: RunningHub):
    await fed(hub, "1")
    token = await hub.token("saint-aurelia")
    nora = await person_of(hub, token, NORA)
    (record,) = (await hub.hub.erasure.outlook(officer(hub), nora)).records
    other = type(hub.hub.keys)(hub.hub.db, hub.hub.ring)
    async with hub.hub.db.transaction() as conn:
        old = await other.for_owner(conn, KeyKind.RECORD, record)
    erasure = hub.hub.erasure
    erasure._settle_seconds = 0.2

    async def look() -> None:
        async with hub.hub.db.reading() as conn:
            await other.follow(conn)

    await look()
    await erasure.erase(officer(hub), nora, reason="a court said so")
    await look()
    async with hub.hub.db.transaction() as conn:
        new = await other.for_owner(conn, KeyKind.RECORD, record)
    assert new.id != old.id
    with pytest.raises(HieError, match="destroyed"):
        async with hub.hub.db.reading() as conn:
            await other.by_id(conn, old.id)


async def test_a_backup_brings_nobody_back(tmp_path: Path):
    home = tmp_path / "home"
    async with running_hub(home) as running:
        await fed(running, "1")
        token = await running.token("saint-aurelia")
        nora = await person_of(running, token, NORA)
        backup = tmp_path / "backup.db"
        with (
            contextlib.closing(sqlite3.connect(home / "hub.db")) as whole,
            contextlib.closing(sqlite3.connect(backup)) as copy,
        ):
            whole.backup(copy)
        await quick(running.hub.erasure).erase(officer(running), nora, reason="a court said so")
    for file in home.glob("hub.db*"):
        file.unlink()
    shutil.copy(backup, home / "hub.db")
    async with running_hub(home) as restored:
        token = await restored.token("saint-aurelia")
        assert (await restored.ask(token, f"Patient/{nora}"))[0] == 404
        assert await rows(restored, "SELECT 1 FROM resource WHERE person_id = :p", p=nora) == []
        assert await person_of(restored, token, OTTO)
        destroyed = "SELECT 1 FROM audit_event WHERE subtype = 'destroy' AND person_id = :p"
        assert len(await rows(restored, destroyed, p=nora)) == 1, "that it was done again is told"
