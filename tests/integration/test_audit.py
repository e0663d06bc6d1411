"""The audit trail on real databases: written, chained, attacked, read back."""

import asyncio
import json
import socket
from dataclasses import fields

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import DBAPIError

from hie.audit.chain import (
    HEAD_SLACK_US,
    ROW_SLACK_US,
    ChainState,
    StoredRow,
    Tamper,
    TamperKind,
    row_hash,
    sign,
)
from hie.audit.chained import ChainTable
from hie.audit.event import AuditRecord, Hub
from hie.audit.repository import AuditLog
from hie.audit.sequencer import BATCH, LEASE_US, PUBLISH_EVERY_US, RESEND_US, Sequencer
from hie.audit.syslog import Address, HeadsSyslog, Trust
from hie.audit.tables import audit_event, audit_head, audit_lease
from hie.audit.verifier import Verifier
from hie.kernel.clock import SECOND_US
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import PersonId
from hie.keystore import KeyStore, data_key

NOW_US = 1_769_851_800 * SECOND_US
P1 = [PersonId("p1")]
P2 = [PersonId("p2")]
BOTH = [PersonId("p1"), PersonId("merged")]
EVENT = audit_event.c


class Trail:
    """A trail with its sequencer and verifier; `do` runs what an attacker with SQL could."""

    def __init__(self, database, keyring, folder):
        self.db = database
        self.ring = keyring
        self.key = keyring.audit_signing_key()
        self.file = folder / "audit" / "heads.jsonl"
        self.log = AuditLog(database, KeyStore(database, keyring), Hub(name="hub"))
        self.sequencer = self.another_sequencer(0)
        self.verifier = Verifier(database, self.key.public_key(), self.file, page=4)

    def another_sequencer(self, publish_every_us):
        return Sequencer(self.db, self.key, self.file, publish_every_us)

    async def record(self, count, person="p1", at_us=NOW_US, **change):
        async with self.db.transaction() as conn:
            await self.log.append(
                conn, [a_record(person, at_us + n, **change) for n in range(count)]
            )

    async def do(self, *statements):
        async with self.db.transaction() as conn:
            for statement in statements:
                await conn.execute(statement)

    async def row(self, seq):
        async with self.db.reading() as conn:
            return (await conn.execute(select(audit_event).where(EVENT.chain_seq == seq))).one()

    async def place(self, row, seq, **values):
        """Give a row another place, past the unique index."""
        await self.do(update(audit_event).where(EVENT.pk == row.pk).values(chain_seq=seq, **values))

    async def fault(self):
        return (await self.verifier.verify()).tamper


def a_record(person="p1", at_us=NOW_US, **change):
    return AuditRecord(
        **{
            "recorded_us": at_us,
            "action": "R",
            "subtype": "read",
            "person_id": person,
            "organization": "org1",
            "user": "dr-canary",
            "resource_type": "Observation",
            "resource_id": "obs1",
            **change,
        }
    )


@pytest.fixture
async def trail(database, keyring, tmp_path):
    return Trail(database, keyring, tmp_path)


@pytest.fixture
async def chained(trail):
    """Ten rows, chained in two batches with a head each."""
    await trail.record(6)
    await trail.sequencer.chain(NOW_US)
    await trail.record(4)
    await trail.sequencer.chain(NOW_US + SECOND_US)
    return trail


# --- writing and reading back ---------------------------------------------------------------


async def test_a_record_comes_back_as_it_was_written(trail):
    record = a_record(purpose="TREAT", request_id="r", token_id="t", detail={"query": "a=\ud800"})
    async with trail.db.transaction() as conn:
        await trail.log.append(conn, [record])
        (found,) = await trail.log.access_log(conn, P1)
    assert found.record == record
    assert found.seq is None


async def test_records_vanish_with_the_transaction_that_made_them(trail):
    async def fail():
        async with trail.db.transaction() as conn:
            await trail.log.append(conn, [a_record()])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    async with trail.db.reading() as conn:
        assert await trail.log.access_log(conn, P1) == ()


async def test_appending_nothing_is_nothing(trail):
    async with trail.db.transaction() as conn:
        await trail.log.append(conn, [])
    assert await trail.sequencer.chain(NOW_US) == 0


async def test_the_access_log_is_of_this_person_newest_first_and_page_by_page(trail):
    await trail.record(3, "p1")
    await trail.record(1, "other")
    await trail.record(2, "merged", NOW_US + 100)
    async with trail.db.reading() as conn:
        everything = await trail.log.access_log(conn, BOTH)
        first = await trail.log.access_log(conn, BOTH, limit=3)
        rest = await trail.log.access_log(conn, BOTH, before_pk=first[-1].pk)
        late = await trail.log.access_log(conn, BOTH, since_us=NOW_US + 100)
    assert [r.record.recorded_us - NOW_US for r in everything] == [101, 100, 2, 1, 0]
    assert first + rest == everything
    assert late == everything[:2]


async def test_what_an_event_says_is_not_in_clear_in_its_row(trail):
    await trail.record(1, detail={"query": "Patient?name=canary"})
    async with trail.db.reading() as conn:
        row = (await conn.execute(select(audit_event))).one()
    assert b"canary" not in b"".join(v for v in row if isinstance(v, bytes))
    assert not any("canary" in v for v in row if isinstance(v, str))


async def test_the_export_is_one_audit_event_a_line_oldest_first(trail):
    await trail.record(5, at_us=NOW_US)
    await trail.record(1, None, NOW_US + 10, action="E", subtype="ITI-71")
    lines = [json.loads(line) async for line in trail.log.export()]
    assert [line["resourceType"] for line in lines] == ["AuditEvent"] * 6
    assert len({line["id"] for line in lines}) == 6
    assert all(16 <= len(line["id"]) <= 26 for line in lines)
    window = [line async for line in trail.log.export(since_us=NOW_US + 2, until_us=NOW_US + 4)]
    assert len(window) == 2


async def test_the_export_goes_on_past_its_page(trail, monkeypatch):
    monkeypatch.setattr("hie.audit.repository.EXPORT_PAGE", 2)
    await trail.record(5)
    assert len([line async for line in trail.log.export()]) == 5


async def test_an_erased_person_leaves_a_chain_that_verifies_and_rows_that_say_no_more(
    trail, keyring
):
    await trail.record(2, "p1")
    await trail.record(1, "p2")
    await trail.sequencer.chain(NOW_US)
    await trail.do(delete(data_key).where(data_key.c.owner == "p1"))
    afterwards = Trail(trail.db, keyring, trail.file.parent.parent)
    assert await afterwards.fault() is None
    async with trail.db.reading() as conn:
        erased, _ = await afterwards.log.access_log(conn, P1)
        (kept,) = await afterwards.log.access_log(conn, P2)
    assert (erased.is_erased, erased.record.user, erased.record.person_id) == (True, None, "p1")
    assert (kept.is_erased, kept.record.user) == (False, "dr-canary")
    assert len([line async for line in afterwards.log.export()]) == 3


async def test_a_sealed_detail_moved_to_another_row_does_not_open(trail):
    await trail.record(2)
    async with trail.db.reading() as conn:
        first, second = (await conn.execute(select(audit_event).order_by(EVENT.pk))).all()
    await trail.do(update(audit_event).where(EVENT.pk == first.pk).values(sealed=second.sealed))
    async with trail.db.reading() as conn:
        with pytest.raises(HieError) as caught:
            await trail.log.access_log(conn, P1)
    assert caught.value.category is Category.FAULT


async def test_a_key_that_does_not_open_is_a_fault_and_not_an_erasure(trail, keyring):
    await trail.record(1)
    await trail.do(update(data_key).values(wrapped=b"k1:spoiled"))
    afterwards = Trail(trail.db, keyring, trail.file.parent.parent)
    async with trail.db.reading() as conn:
        with pytest.raises(HieError) as caught:
            await afterwards.log.access_log(conn, P1)
    assert caught.value.category is Category.FAULT


# --- the sequencer --------------------------------------------------------------------------


async def test_rows_get_dense_places_in_the_order_written(chained):
    assert await chained.sequencer.chain(NOW_US + 2) == 0
    async with chained.db.reading() as conn:
        rows = (await conn.execute(select(EVENT.chain_seq).order_by(EVENT.pk))).scalars().all()
    assert rows == list(range(10))


async def test_an_empty_trail_is_whole(trail):
    result = await trail.verifier.verify()
    assert (result.size, result.unchained, result.heads, result.is_whole) == (0, 0, 0, True)
    await trail.sequencer.close(NOW_US)
    assert await trail.fault() is None


async def test_an_untouched_trail_is_whole_and_the_unchained_tail_is_counted(chained):
    await chained.record(3)
    result = await chained.verifier.verify()
    assert result.is_whole
    assert (result.size, result.unchained) == (10, 3)
    assert result.heads == 5  # two published, in table and file each, and the lease's


async def test_more_than_a_batch_is_chained_in_one_call(trail):
    await trail.record(BATCH + 3)
    assert await trail.sequencer.chain(NOW_US) == BATCH + 3
    assert await trail.fault() is None


async def test_only_the_holder_of_the_lease_chains_until_it_runs_out(trail):
    other = trail.another_sequencer(0)
    await trail.record(1)
    assert await trail.sequencer.chain(NOW_US) == 1
    await trail.record(1)
    assert await other.chain(NOW_US + LEASE_US - 1) == 0
    assert await other.chain(NOW_US + LEASE_US) == 1
    assert await trail.fault() is None


async def test_a_sequencer_that_closes_chains_the_rest_and_lets_the_lease_go(trail):
    await trail.record(1)
    await trail.sequencer.chain(NOW_US)
    await trail.record(1)
    await trail.sequencer.close(NOW_US)
    await trail.record(1)
    assert await trail.another_sequencer(0).chain(NOW_US) == 1
    result = await trail.verifier.verify()
    assert (result.size, result.unchained, result.tamper) == (3, 0, None)


async def test_sequencers_at_once_never_give_a_place_twice(trail):
    others = [trail.another_sequencer(0) for _ in range(3)]
    await trail.record(7)
    counts = await asyncio.gather(*(s.chain(NOW_US) for s in others))
    assert sum(counts) == 7
    assert await trail.fault() is None


async def test_heads_are_published_at_most_once_in_the_interval_and_the_last_one_follows(trail):
    calm = trail.another_sequencer(PUBLISH_EVERY_US)
    for second in range(3):
        await trail.record(1)
        await calm.chain(NOW_US + second * SECOND_US)
    async with trail.db.reading() as conn:
        sizes = (await conn.execute(select(audit_head.c.tree_size))).scalars().all()
    assert sizes == [1]
    await calm.chain(NOW_US + PUBLISH_EVERY_US)  # nothing waits, but a head is due
    async with trail.db.reading() as conn:
        sizes = (await conn.execute(select(audit_head.c.tree_size))).scalars().all()
    assert sizes == [1, 3]
    assert [json.loads(line)["size"] for line in trail.file.read_text().splitlines()] == [1, 3]


async def test_a_head_that_missed_the_file_is_written_by_the_next_sequencer(chained):
    lines = chained.file.read_text().splitlines(keepends=True)
    chained.file.write_text(lines[0])
    await chained.record(1)
    await chained.another_sequencer(0).chain(NOW_US + 60 * SECOND_US)
    assert [json.loads(line)["size"] for line in chained.file.read_text().splitlines()] == [
        6,
        10,
        11,
    ]
    assert await chained.fault() is None


async def test_a_trail_without_a_file_verifies_too(trail):
    await trail.record(2)
    await Sequencer(trail.db, trail.key, None, 0).chain(NOW_US)
    result = await Verifier(trail.db, trail.key.public_key()).verify()
    assert (result.size, result.tamper) == (2, None)


@pytest.mark.parametrize(
    "values",
    [{"chain_hash": bytes(32)}, {"tree_size": 9}, {"at_us": 1}, {"peaks": bytes(64)}],
    ids=lambda values: next(iter(values)),
)
async def test_the_sequencer_does_not_build_on_an_end_it_did_not_sign(chained, values):
    await chained.do(update(audit_lease).values(**values))
    await chained.record(1)
    with pytest.raises(HieError) as caught:
        await chained.sequencer.chain(NOW_US + 2 * SECOND_US)
    assert caught.value.category is Category.FAULT
    fault = await chained.fault()
    assert fault is not None
    assert fault.kind is TamperKind.FORGED_HEAD


async def test_the_sequencer_does_not_begin_again_where_rows_are_chained(chained):
    await chained.do(delete(audit_lease))
    await chained.record(1)
    with pytest.raises(HieError):
        await chained.sequencer.chain(NOW_US + 2 * SECOND_US)
    fault = await chained.fault()
    assert fault is not None
    assert fault.kind is TamperKind.FORGED_HEAD


# --- attacks --------------------------------------------------------------------------------


EDITS = (
    {"organization": "another"},
    {"organization": None},
    {"person_id": "another"},
    {"recorded_us": NOW_US + 999},
    {"action": "U"},
    {"outcome": "8"},
    {"key_id": 1},
    {"subtype": "vread"},
    {"subtype": None, "agent": None},
    {"agent": 1},
    {"sealed": b"other"},
    {"row_hash": bytes(32)},
    {"chain_hash": bytes(32)},
)


async def test_an_edit_of_any_column_is_found_at_its_place(chained):
    whole = await chained.row(3)
    at_three = update(audit_event).where(EVENT.chain_seq == 3)
    for values in EDITS:
        await chained.do(at_three.values(**values))
        assert await chained.fault() == Tamper(seq=3, kind=TamperKind.EDITED), values
        await chained.do(at_three.values(**{name: getattr(whole, name) for name in values}))
    assert await chained.fault() is None


async def written_over(trail, table, where, **values):
    """Whether values of any kind are taken: PostgreSQL refuses some."""
    sets = ", ".join(f"{name} = {value}" for name, value in values.items())
    try:
        await trail.do(text(f"UPDATE {table} SET {sets} WHERE {where}"))
    except DBAPIError:
        assert not trail.db.is_sqlite
        return False
    return True


@pytest.mark.parametrize(
    "value",
    [
        *("key_id = -1", "recorded_us = 'soon'", "recorded_us = 1.5", "sealed = 'x'"),
        *("agent = 'bob'", "person_id = x'ff'", "outcome = x'3100'", "row_hash = 'zz'"),
        "question = 'why'",
    ],
)
async def test_a_value_the_hub_never_writes_is_found_at_its_place(chained, value):
    name, _, written = value.partition(" = ")
    if not await written_over(chained, "audit_event", "chain_seq = 3", **{name: written}):
        return
    assert await chained.fault() == Tamper(seq=3, kind=TamperKind.EDITED)
    await written_over(chained, "audit_event", "chain_seq = 3", chain_seq="NULL")
    fault = await chained.fault()
    assert fault == Tamper(seq=3, kind=TamperKind.DELETED), "and beyond the chain"


@pytest.mark.parametrize("place", ["'x'", "x'00'", "9.5"])
@pytest.mark.parametrize("seq", [3, 9])
async def test_a_place_the_hub_never_gives_is_none(chained, seq, place):
    where = f"chain_seq = {seq}"
    if await written_over(chained, "audit_event", where, chain_seq=place):
        assert await chained.fault() == Tamper(seq=seq, kind=TamperKind.DELETED)


@pytest.mark.parametrize(
    ("table", "value"),
    [
        *[("audit_head", v) for v in ("at_us = -1", "signature = 'x'", "root = 'x'")],
        *[("audit_lease", v) for v in ("tree_size = -1", "tree_size = 'x'", "peaks = 'x'")],
    ],
)
async def test_a_head_the_hub_never_writes_is_forged(chained, table, value):
    name, _, written = value.partition(" = ")
    column = "tree_size" if table == "audit_head" else "name"
    where = f"{column} = (SELECT max({column}) FROM {table})"
    if await written_over(chained, table, where, **{name: written}):
        assert await chained.fault() == Tamper(seq=9, kind=TamperKind.FORGED_HEAD)


async def test_a_line_of_a_heads_file_that_is_beyond_reading_is_found(chained):
    for line in (
        "[" * 100_000,
        '{"size": -1, "at_us": 1, "root": "", "chain": "", "signature": ""}',
    ):
        chained.file.write_text(f"{line}\n")
        assert await chained.fault() is not None


async def test_an_edit_that_repairs_its_row_hash_is_found(chained):
    await chained.do(update(audit_event).where(EVENT.chain_seq == 3).values(action="U"))
    async with chained.db.reading() as conn:
        (row,) = await ChainTable(chained.db).chained(conn, 3, 1)
    await chained.do(update(audit_event).where(EVENT.chain_seq == 3).values(row_hash=row.actual))
    assert await chained.fault() == Tamper(seq=3, kind=TamperKind.EDITED)


async def test_an_edit_in_the_unchained_tail_is_found(chained):
    await chained.record(1)
    await chained.do(update(audit_event).where(EVENT.chain_seq.is_(None)).values(action="U"))
    assert await chained.fault() == Tamper(seq=10, kind=TamperKind.EDITED)


async def test_a_deleted_row_is_found_at_its_place(chained):
    for seq in (8, 4, 3, 0):
        await chained.do(delete(audit_event).where(EVENT.chain_seq == seq))
        assert await chained.fault() == Tamper(seq=seq, kind=TamperKind.DELETED)


async def test_a_deleted_row_is_found_though_the_rest_is_renumbered(chained):
    await chained.do(delete(audit_event).where(EVENT.chain_seq == 3))
    for seq in range(4, 10):
        await chained.place(await chained.row(seq), seq - 1)
    assert await chained.fault() == Tamper(seq=3, kind=TamperKind.DELETED)


@pytest.mark.parametrize(("one", "two"), [(3, 4), (2, 7), (0, 9)])
@pytest.mark.parametrize("is_hash_moved", [True, False])
async def test_reordered_rows_are_found_at_the_first(chained, one, two, is_hash_moved):
    first, second = await chained.row(one), await chained.row(two)
    await chained.place(first, None)
    hashes = (
        (first.chain_hash, second.chain_hash)
        if is_hash_moved
        else (second.chain_hash, first.chain_hash)
    )
    await chained.place(second, one, chain_hash=hashes[1])
    await chained.place(first, two, chain_hash=hashes[0])
    assert await chained.fault() == Tamper(seq=one, kind=TamperKind.REORDERED)


async def test_a_truncated_tail_is_found(chained):
    for left in (9, 6, 5, 0):
        await chained.do(delete(audit_event).where(EVENT.chain_seq >= left))
        assert await chained.fault() == Tamper(seq=left, kind=TamperKind.TRUNCATED)


async def test_a_tail_truncated_together_with_its_heads_is_found_by_the_file(chained):
    async with chained.db.reading() as conn:
        old, _ = await ChainTable(chained.db).published(conn)
        rows = await ChainTable(chained.db).chained(conn, 0, 6)
    state, _ = ChainState().append(row.stored for row in rows)
    await chained.do(
        delete(audit_event).where(EVENT.chain_seq >= 6),
        delete(audit_head).where(audit_head.c.tree_size > 6),
        update(audit_lease).values(
            tree_size=6,
            at_us=old.head.at_us,
            chain_hash=old.head.chain_hash,
            peaks=b"".join(state.frontier.peaks),
            signature=old.signature,
        ),
    )
    assert await chained.fault() == Tamper(seq=6, kind=TamperKind.TRUNCATED)
    in_database_only = Verifier(chained.db, chained.key.public_key())
    assert (await in_database_only.verify()).is_whole  # which is why the file exists


async def test_heads_deleted_alone_are_told_though_the_trail_is_whole(chained):
    told = await chained.verifier.verify()
    assert (told.missing, told.is_whole) == (0, True)
    first = audit_head.c.tree_size == 6
    for wish, missing in ((delete(audit_head).where(first), 1), (delete(audit_head), 2)):
        await chained.do(wish)
        told = await chained.verifier.verify(also=[chained.file])
        assert (told.missing, told.is_whole) == (missing, True), "however many files have them"
    await chained.record(1)
    await chained.another_sequencer(0).chain(NOW_US + 60 * SECOND_US)
    told = await chained.verifier.verify()
    assert (told.missing, told.is_whole) == (2, True), (
        "the hub's next head does not bring them back"
    )


async def test_a_database_emptied_of_its_trail_is_found_by_the_file(chained):
    await chained.do(delete(audit_event), delete(audit_head), delete(audit_lease))
    fault = await chained.fault()
    assert fault is not None
    assert fault.seq == 0


async def rewrite(trail, seq, key=None, at_us=NOW_US):
    """Edit a row and chain all anew; with a key, also sign every head of the database anew."""
    await trail.do(update(audit_event).where(EVENT.chain_seq == seq).values(action="U"))
    table = ChainTable(trail.db)
    async with trail.db.reading() as conn:
        rows = await table.chained(conn, 0, 100)
        keys = (await conn.execute(select(EVENT.pk).order_by(EVENT.chain_seq))).scalars().all()
        sizes = (await conn.execute(select(audit_head.c.tree_size))).scalars().all()
    await trail.do(
        update(audit_event).where(EVENT.chain_seq == seq).values(row_hash=rows[seq].actual)
    )
    state, hashes = ChainState().append(row.actual for row in rows)
    async with trail.db.transaction() as conn:
        await table.mark(conn, keys, 0, hashes)
    if key is None:
        return
    for size in sizes:
        part, _ = ChainState().append(row.actual for row in rows[:size])
        head = sign(part.head(at_us), key)
        of_size = update(audit_head).where(audit_head.c.tree_size == size)
        await trail.do(
            of_size.values(
                at_us=at_us,
                root=head.head.root,
                chain_hash=head.head.chain_hash,
                signature=head.signature,
            )
        )
    end = sign(state.head(at_us), key)
    await trail.do(
        update(audit_lease).values(
            at_us=at_us,
            chain_hash=state.chain_hash,
            peaks=b"".join(state.frontier.peaks),
            signature=end.signature,
        )
    )


async def test_a_history_chained_anew_without_the_key_is_found_after_the_last_head_that_agrees(
    chained,
):
    await rewrite(chained, 7)
    assert await chained.fault() == Tamper(seq=6, kind=TamperKind.RECHAINED)  # 6 agrees


@pytest.mark.parametrize(("seq", "first"), [(7, 6), (2, 0)])
async def test_a_history_chained_anew_with_the_stolen_key_is_found_by_what_was_sent_elsewhere(
    chained, seq, first, tmp_path
):
    elsewhere = tmp_path / "elsewhere.log"
    lines = chained.file.read_text().splitlines()
    elsewhere.write_text("".join(f"Jan 31 09:30:00 hub hie: {line}\n" for line in lines))
    await rewrite(chained, seq, chained.key)
    assert await chained.fault() == Tamper(seq=first, kind=TamperKind.RECHAINED)
    chained.file.unlink()
    assert await chained.fault() is None  # which is why heads are sent to another machine
    found = await chained.verifier.verify(also=[elsewhere])
    assert found.tamper == Tamper(seq=first, kind=TamperKind.RECHAINED)


async def test_a_history_chained_anew_with_a_new_key_is_found_where_it_begins_to_differ(chained):
    await rewrite(chained, 7, Ed25519PrivateKey.generate())
    assert await chained.fault() == Tamper(seq=6, kind=TamperKind.RECHAINED)
    chained.file.unlink()
    fault = await chained.fault()
    assert fault is not None
    assert fault.kind is TamperKind.FORGED_HEAD


async def test_a_hub_that_went_on_from_an_old_state_is_a_fork(chained):
    await rewrite(chained, 7, chained.key)
    await chained.record(1)
    await chained.another_sequencer(0).chain(NOW_US + 60 * SECOND_US)
    assert await chained.fault() == Tamper(seq=6, kind=TamperKind.FORK)


async def test_a_row_recorded_before_what_it_follows_is_named_and_can_be_passed_over(trail):
    await trail.record(3, at_us=NOW_US)
    await trail.record(2, at_us=NOW_US - ROW_SLACK_US - 1)
    await trail.sequencer.chain(NOW_US)
    assert await trail.fault() == Tamper(seq=3, kind=TamperKind.CLOCK_BACKWARDS)
    assert (await trail.verifier.verify(clock_from=5)).is_whole
    await trail.do(update(audit_event).where(EVENT.chain_seq == 4).values(action="U"))
    assert await trail.fault() == Tamper(seq=4, kind=TamperKind.EDITED)  # an attack comes first


async def test_a_head_signed_before_a_smaller_one_is_named_at_the_first_row_between(trail):
    for at_us in (NOW_US, NOW_US - HEAD_SLACK_US - 1):
        await trail.record(2)
        await trail.sequencer.chain(at_us)
    assert await trail.fault() == Tamper(seq=2, kind=TamperKind.CLOCK_BACKWARDS)


async def test_a_row_of_the_first_form_still_verifies_and_reads(trail):
    await trail.record(1)
    async with trail.db.reading() as conn:
        row = (await conn.execute(select(audit_event))).one()
        keys = await KeyStore(trail.db, trail.ring).by_ids(conn, {row.key_id})
    key = keys[row.key_id]
    place = {"table": "audit_event", "column": "sealed", "row": str(row.pk)}
    content = json.loads(key.open(row.sealed, **place)) | {"subtype": "vread"}
    old = StoredRow(
        **{
            f.name: getattr(row, f.name)
            for f in fields(StoredRow)
            if f.name not in {"sealed", "subtype", "agent"}
        },
        sealed=key.seal(json.dumps(content).encode(), **place),
    )
    await trail.do(
        update(audit_event).values(
            sealed=old.sealed, subtype=None, agent=None, row_hash=row_hash(old)
        )
    )
    await trail.sequencer.chain(NOW_US)
    assert await trail.fault() is None
    async with trail.db.reading() as conn:
        (found,) = await trail.log.access_log(conn, P1)
    assert (found.record.subtype, found.record.user) == ("vread", "dr-canary")


async def test_a_head_signed_with_another_key_is_forged(chained):
    other = Ed25519PrivateKey.generate()
    async with chained.db.reading() as conn:
        rows = await ChainTable(chained.db).chained(conn, 0, 10)
    state, _ = ChainState().append(row.stored for row in rows)
    signed = sign(state.head(NOW_US), other)
    await chained.do(
        update(audit_head).where(audit_head.c.tree_size == 10).values(signature=signed.signature)
    )
    assert await chained.fault() == Tamper(seq=9, kind=TamperKind.FORGED_HEAD)


async def test_a_row_put_in_after_the_signed_end_is_a_fork(chained):
    await chained.record(1)
    await chained.do(update(audit_event).where(EVENT.chain_seq.is_(None)).values(chain_seq=10))
    assert await chained.fault() == Tamper(seq=10, kind=TamperKind.FORK)


async def test_a_row_put_in_beside_the_chain_is_a_fork(chained):
    await chained.record(1)
    await chained.do(update(audit_event).where(EVENT.chain_seq.is_(None)).values(chain_seq=-1))
    assert await chained.fault() == Tamper(seq=10, kind=TamperKind.FORK)


async def test_a_spoiled_heads_file_is_found(chained):
    chained.file.write_text("not a head\n")
    assert await chained.fault() == Tamper(seq=9, kind=TamperKind.FORGED_HEAD)


async def test_verifying_beside_a_working_hub_finds_nothing(chained):
    async def work():
        for second in range(2, 12):
            await chained.record(5)
            await chained.sequencer.chain(NOW_US + second * SECOND_US)

    async def look():
        return [await chained.fault() for _ in range(8)]

    _, faults = await asyncio.gather(work(), look())
    assert faults == [None] * 8


# --- heads on another machine ---------------------------------------------------------------


async def test_a_syslog_that_was_down_is_sent_what_it_missed_and_holds_nothing_up(trail, tmp_path):
    place = tmp_path / "log"
    address = Address.read(f"unix:{place}")
    trail.sequencer.syslog = HeadsSyslog(address, Trust(), trail.key.public_key())
    for second in range(2):
        await trail.record(1)
        assert await trail.sequencer.chain(NOW_US + second) == 1
    assert trail.sequencer.unsent == NOW_US
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as collector:
        collector.bind(str(place))
        collector.settimeout(60)
        await trail.sequencer.chain(NOW_US + RESEND_US)
        assert b'{"size": 2,' in collector.recv(4096)
        assert trail.sequencer.unsent is None
        await trail.record(1)
        await trail.sequencer.chain(NOW_US + RESEND_US + 1)
        assert b'{"size": 3,' in collector.recv(4096)
