"""What is left of an erased person: every sealed column opened with every key that is left.

What opens, every text and every file is looked through as it is and as what it is the base64 of.
"""

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import Column, LargeBinary, Table, select, update

from adapters.sealing import row_key
from adapters.tables import inbound_batch, inbound_message, outbound_acknowledgement, replay
from hie.crypto import DataKey
from hie.db import metadata
from hie.kernel.errors import HieError
from hie.kernel.ids import PersonId
from hie.keystore import KeyKind, data_key
from hie.staff.tables import staff_request
from hie.store.tables import resource, resource_log, resource_version
from hie.tasks.model import TaskKind
from tests.support.erasures import officer, quick
from tests.support.running_hub import RunningHub, running_hub
from tests.support.staff_api import Console
from tests.support.subscribers import subscription

# With letters in it: five digits in a row are in some key or hash of every hundredth run.
NUMBER = "QX70077"
FAMILY, GIVEN, PHONE, LINE = "QUILLFEATHER", "NORA", "9785550143", "14 LARKSPUR"
REGISTERED = (
    "MSH|^~\\&|MEDIHOST|STAUR|HIE|MA|20260105120000||ADT^A28|{control}|P|2.5.1\r"
    "EVN||20260105113000\r"
    "PID|1||{number}^^^SAMC^MR||{name}||{born}|F|||{line} ST^^CONCORD^MA^01742||{phone}\r"
)
NORA = {
    "number": NUMBER,
    "name": f"{FAMILY}^{GIVEN}",
    "born": "19710308",
    "line": LINE,
    "phone": PHONE,
}
OTTO = {
    "number": "80088",
    "name": "BRAMBLETHORN^OTTO",
    "born": "20240912",
    "line": "3 ELM",
    "phone": "6175550100",
}
#: Values that mean Nora wherever they stand, folded as the hub folds them or as they came. Long
#: enough that no key, hash or cipher text spells one, base64 of it or not.
TELLING = (FAMILY, "quilfeather", NUMBER, PHONE, "larkspur")
#: Hashes, keys wrapped for the hub, and what is no cipher text.
NO_TEXT = {
    "access_token.token_hash", "audit_event.chain_hash", "audit_event.row_hash",
    "audit_head.chain_hash", "audit_head.root", "audit_head.signature", "audit_lease.chain_hash",
    "audit_lease.peaks", "audit_lease.signature", "consent_act.content_hash",
    "data_key.wrapped", "export_holding.content", "inbound_batch.wrapped",
    "inbound_message.wrapped", "label_job.lists", "label_lists.lists", "resource.content_hash",
    "search_table.definitions", "subscription_binding.hash",
}  # fmt: skip
#: Which key column seals which, where it is not `key_id`.
KEY_OF = {"audit_event.question": "question_key"}
#: Shorter runs hold no word of a name and what stands around it.
BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{16,}")
STANDARD = bytes.maketrans(b"-_", b"+/")


def sealed_columns() -> Iterator[tuple[Table, Column[Any]]]:
    """Every column of bytes of every table that is not known to hold none of somebody's words."""
    for table in metadata.sorted_tables:
        for column in table.columns:
            if (
                isinstance(column.type, LargeBinary)
                and f"{table.name}.{column.name}" not in NO_TEXT
            ):
                yield table, column


async def opened(hub: RunningHub) -> dict[str, list[bytes]]:
    """Everything that opens, by table and column; and all that stands in clear."""
    found: dict[str, list[bytes]] = {}
    async with hub.hub.db.reading() as conn:
        keys = {
            row.id: DataKey(row.id, hub.hub.ring.unwrap(row.wrapped, place=f"data_key|{row.id}"))
            for row in await conn.execute(select(data_key))
        }
        for table, column in sealed_columns():
            name = f"{table.name}.{column.name}"
            found[name] = []
            for row in await conn.execute(select(table)):
                value = getattr(row, column.name)
                if value and (key := await key_of(hub, conn, table, row, keys, name)) is not None:
                    place = await place_of(hub, conn, table, row)
                    try:
                        found[name].append(
                            key.open(value, table=table.name, column=column.name, row=place)
                        )
                    except HieError:
                        pytest.fail(f"{name} was sealed for another place than `{place}`")
        for table in metadata.sorted_tables:
            rows = (await conn.execute(select(table))).all()
            found[table.name] = [repr(tuple(row)).encode() for row in rows]
            for column in table.columns:
                # Apart: as it is, not as a program would write it, and named where it tells.
                texts = [value for row in rows if isinstance(value := row._mapping[column], str)]
                found.setdefault(f"{table.name}.{column.name}", []).extend(map(str.encode, texts))
    return found


async def key_of(
    hub: RunningHub, conn: Any, table: Table, row: Any, keys: dict[int, DataKey], name: str
) -> DataKey | None:
    if table is inbound_batch:
        return hub.hub.keys.carried(row.wrapped)
    if table is outbound_acknowledgement:
        message = select(inbound_message).where(inbound_message.c.pk == row.message_pk)
        row = (await conn.execute(message)).one()
    if table in (inbound_message, outbound_acknowledgement):
        try:
            return await row_key(hub.hub.keys, conn, row.pk, row.wrapped, row.wrapped_by)
        except HieError:
            return None  # erased
    return keys.get(getattr(row, KEY_OF.get(name, "key_id")) or 0)


async def place_of(hub: RunningHub, conn: Any, table: Table, row: Any) -> str:
    """What names a row in the place of its cipher texts."""
    type_name = hub.hub.config.index.type_name
    if table is resource_version:
        of = (await conn.execute(select(resource).where(resource.c.pk == row.resource_pk))).one()
        return f"{type_name(of.type_id)}/{of.id}/{row.version}"
    if table is resource_log:
        return f"{type_name(row.type_id)}/{row.id}"
    return str(getattr(row, next(iter(table.primary_key.columns)).name))


def read(text: bytes) -> Iterator[bytes]:
    """A text, and what it says where it is base64, wherever in it that begins."""
    yield text
    for run in BASE64.findall(text):
        for start in range(4):
            part = run[start:].translate(STANDARD)
            part = part[:-1] if len(part) % 4 == 1 else part
            yield from read(base64.b64decode(part + b"=" * (-len(part) % 4)))


def names(text: bytes, values: tuple[str, ...] = TELLING) -> bool:
    """Whether something of hers stands in a text."""
    wanted = [value.lower().encode() for value in values]
    return any(value in said.lower() for said in read(text) for value in wanted)


def told(found: dict[str, list[bytes]], values: tuple[str, ...] = TELLING) -> set[str]:
    """Where something of hers stands."""
    return {place for place, texts in found.items() for text in texts if names(text, values)}


async def asked(hub: RunningHub, token: str) -> None:
    """Questions that describe Nora: some met her, one met her namesake, most met nobody."""
    for query in (
        f"Patient?family={FAMILY}&birthdate=1971-03-08",
        "Patient?family=Quilfeather&given=Nora&birthdate=1971-03-08&address-city=Concord",
        f"Patient?identifier=urn:elsewhere|{NUMBER}",
        f"Patient?phone={PHONE}&birthdate=1950-01-01",
        f"Observation?patient.family={FAMILY[:7]}",
        "Patient?family=Winterbottom",
    ):
        assert (await hub.ask(token, query))[0] == 200, query
    assert (await hub.ask(token, f"Patient/{NUMBER}"))[0] == 404, "her number is no id here"
    for family, line in (("QUILFEATHER", "1 Nowhere Rd"), ("Grey", "14 Larkspur Street")):
        patient = {
            "resourceType": "Patient",
            "name": [{"family": family, "given": ["Nora"]}],
            "birthDate": "1971-03-08" if line.startswith("1 ") else "1950-05-05",
            "address": [{"line": [line]}],
        }
        body = {
            "resourceType": "Parameters",
            "parameter": [{"name": "resource", "resource": patient}],
        }
        assert (await hub.ask(token, "Patient/$match", body))[0] == 200


async def stood_in(hub: RunningHub, nora: str, otto: str) -> str:
    """Nora stands in her child's place and subscribes there; the id of the relationship."""
    clerk = await hub.token(scope="staff/privacy.clerk", user="clerk-ruiz", purpose="HOPERAT")
    wanted = {"person": otto, "proxy": nora, "name": f"{GIVEN} {FAMILY}", "telecom": [PHONE]}
    async with aiohttp.ClientSession() as session:
        desk = Console(hub, session, clerk)
        made = await desk.do("/privacy/proxies", {"kind": "parent", **wanted})
    # The answer names her, and is kept for whoever repeats the request.
    assert (made.status, names(made.body)) == (201, True), made.body
    async with hub.hub.db.reading() as conn:
        (kept,) = (await conn.execute(select(staff_request.c.answer))).scalars()
    assert kept
    relationship = str(made.json["id"])
    stand_in = await hub.token(
        patient=otto, user=f"RelatedPerson/{relationship}", scope="patient/*.cruds"
    )
    wish = subscription("observation-available", content="id-only") | {
        "reason": f"{FAMILY} wants to know"
    }
    status, told_ = await hub.ask(stand_in, "Subscription", wish)
    assert status == 201, told_
    status, related = await hub.ask(stand_in, f"RelatedPerson/{relationship}")
    assert (status, related["name"]) == (200, [{"text": f"{GIVEN} {FAMILY}"}])
    return relationship


async def left_by_staff(hub: RunningHub, nora: str) -> None:
    """Her message came in a file of its own and was put back; a task about her has a note."""
    words = f"{FAMILY} again"
    why = {"action": "replay", "actor": "kim", "outcome": "processed"}
    stood = {"from_state": "parked", "from_stage": "", "from_reason": ""}
    batch = {"source_id": "x", "wire": "file", "messages": 1, "refused": 0, "findings": "[]"}
    services = hub.hub
    async with services.db.transaction() as conn:
        first = select(inbound_message.c.pk).order_by(inbound_message.c.pk).limit(1)
        pk = (await conn.execute(first)).scalar_one()
        key = await services.keys.for_owner(conn, KeyKind.SYSTEM, "")
        sealed = key.seal(words.encode(), table="replay", column="why", row="5")
        await conn.execute(
            replay.insert().values(
                pk=5, message_pk=pk, run=1, at_us=1, key_id=key.id, why=sealed, **why, **stood
            )
        )
        own, wrapped = services.keys.fresh()
        named = {
            column: own.seal(words.encode(), table="inbound_batch", column=column, row="7")
            for column in ("header", "name")
        }
        await conn.execute(
            inbound_batch.insert().values(pk=7, received_us=1, wrapped=wrapped, **batch, **named)
        )
        its = update(inbound_message).where(inbound_message.c.pk == pk)
        await conn.execute(its.values(batch_pk=7, batch_number=1))
        (record,) = await services.mpi.records_of(conn, PersonId(nora))
        task = await services.tasks.open(
            conn, TaskKind.CONSENT, ("k",), now_us=1, record_id=record, detail={"says": words}
        )
        await services.tasks.record(conn, task, "noted", actor="kim", note=words, now_us=2)


async def person_of(hub: RunningHub, token: str, family: str) -> str:
    _, found = await hub.ask(token, f"Patient?family={family}")
    return str(found["entry"][0]["resource"]["id"])


def test_a_name_is_found_in_base64_wherever_it_begins_and_however_often():
    once = base64.b64encode(f'{{"name": "{GIVEN} {FAMILY}"}}'.encode())
    ends = base64.urlsafe_b64encode(f"\xfe\xff?? {FAMILY}".encode()).rstrip(b"=")
    for text in (once, ends, base64.b64encode(once), b'["sealed/' + once + b'", 1]', b"x" + ends):
        assert names(text), text
    assert not names(base64.b64encode(b"Winterbottom, Kim; nobody else"))


async def test_nothing_that_opens_names_an_erased_person(tmp_path: Path):
    async with running_hub(tmp_path / "home") as hub:
        token = await hub.token("saint-aurelia")
        # Parked or refused, nobody found out whose it was; it bears her number all the same.
        odd = REGISTERED.format(control="N0", **NORA).replace("ADT^A28", "ZZZ^Z99")
        await hub.send(
            *(
                REGISTERED.format(control=f"R{n}", **who).encode()
                for n, who in enumerate((NORA, OTTO))
            ),
            odd.encode(),
        )
        # A write that was refused tells of her, and one of somebody else.
        for family, given, born in (
            (FAMILY.title(), GIVEN.title(), "1971-03-08"),
            ("Winterbottom", "Kim", "1950-06-06"),
        ):
            name = [{"family": family, "given": [given]}]
            refused = {"resourceType": "Patient", "birthDate": born, "gender": "?", "name": name}
            assert (await hub.ask(token, "Patient", refused))[0] in (400, 422)
        await asked(hub, token)
        nora = await person_of(hub, token, FAMILY)
        otto = await person_of(hub, token, "BRAMBLETHORN")
        await stood_in(hub, nora, otto)
        patient = await hub.token(patient=otto, scope="patient/*.rs")
        await left_by_staff(hub, nora)
        before = told(await opened(hub))
        assert {
            "audit_event.question", "inbound_message.payload",
            "proxy_relationship.detail", "resource_version.body", "source_record.norm",
            "source_record.raw", "subscription.terms", "replay.why", "inbound_batch.name",
            "inbound_batch.header", "staff_task.detail", "staff_task_event.note",
        } <= before  # fmt: skip

        done = await quick(hub.hub.erasure).erase(officer(hub), nora, reason="a court said so")
        assert len(done.records) == 1
        left = await opened(hub)
        assert told(left) == set()
        # Whom else was asked for is still to be read, and so is that something was asked.
        assert told(left, ("winterbottom",)) >= {"audit_event.question", "inbound_message.payload"}
        # The child goes on without her; nothing of what it may see broke.
        assert (await hub.ask(patient, f"Patient/{otto}/$everything"))[0] == 200
        status, log = await hub.ask(patient, "AuditEvent")
        assert status == 200, log
        _, trail = await hub.ask(token, "AuditEvent?_count=100")
        searches = [e["resource"]["subtype"][0]["code"] for e in trail["entry"]]
        assert searches.count("search-type") >= 6

        await hub.hub.sequencer.close(hub.hub.clock.now_us())
        assert (await hub.hub.verifier.verify()).is_whole
    # Not in the files either: the database, its log, what stands beside the key.
    for file in (tmp_path / "home").rglob("*"):
        if file.is_file():
            assert not names(file.read_bytes()), file


async def test_what_is_asked_while_keys_are_let_go_of_goes_too_and_what_met_her_may_stay(
    tmp_path: Path,
):
    async with running_hub(tmp_path / "home") as hub:
        token = await hub.token("saint-aurelia")
        await hub.send(REGISTERED.format(control="R1", **NORA).encode())
        nora = await person_of(hub, token, FAMILY)
        assert (await hub.ask(token, f"Patient?family={FAMILY}&birthdate=1950-01-01"))[0] == 200
        erasure = quick(hub.hub.erasure)
        let_go = erasure._let_go
        answered: list[int] = []

        async def late() -> None:
            await let_go()  # the questions were looked at before
            answer = await hub.ask(token, f"Patient?family=Bramblethorn&phone={PHONE}")
            answered.append(answer[0])

        erasure._let_go = late  # type: ignore[method-assign]
        await erasure.erase(officer(hub), nora, reason="a court said so", keeps_trail=True)
        assert answered == [200]
        left = (await opened(hub))["audit_event.question"]
        # The search that found her is part of the trail that is kept; those that met nobody go.
        assert len([text for text in left if FAMILY.lower().encode() in text]) == 1
        assert not [text for text in left if PHONE.encode() in text or b"1950-01-01" in text]
