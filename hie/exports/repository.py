"""The SQL of exports: jobs taken by lease, lists that grow step by step."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Row, and_, delete, func, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.db import Database
from hie.exports.model import (
    FILE_RESOURCES,
    SETTLE_SECONDS,
    Asked,
    Content,
    Holding,
    Job,
    Part,
    State,
    Step,
    pack,
    unpack,
)
from hie.exports.tables import export_holding, export_job, export_other, export_part
from hie.kernel.clock import SECOND_US
from hie.keystore import KeyKind, KeyStore

#: Another worker takes a job whose worker did not step for so long.
LEASE_SECONDS: Final = 60
#: Owner of the key that seals what was asked for.
KEY_OWNER: Final = "exports"
#: Rows that one transaction of the clean-up deletes.
FORGOTTEN_AT_ONCE: Final = 1000
_J, _H, _O, _P = export_job.c, export_holding.c, export_other.c, export_part.c


class ExportBook:
    """Stores and finds jobs and their lists; the caller opens the transaction."""

    def __init__(self, db: Database, keys: KeyStore) -> None:
        self._db = db
        self._keys = keys
        self._insert = sqlite.insert if db.is_sqlite else postgresql.insert

    async def add(self, conn: AsyncConnection, job: Job) -> None:
        """Store a new job."""
        key = await self._keys.for_owner(conn, KeyKind.SYSTEM, KEY_OWNER)
        sealed = key.seal(job.asked.to_bytes(), table="export_job", column="asked", row=str(job.pk))
        await conn.execute(
            export_job.insert().values(
                pk=job.pk,
                job_id=job.job_id,
                owner=job.owner,
                token_id=job.token_id,
                organization=job.organization,
                key_id=key.id,
                asked=sealed,
                state=job.state.value,
                created_us=job.created_us,
                as_of_us=job.as_of_us,
                place=job.place,
                batch=job.batch,
                in_batch=job.in_batch,
                row_count=job.rows,
                listed=job.listed,
                ended_us=job.ended_us,
                expires_us=job.expires_us,
                lease_by="",
                lease_us=0,
            )
        )

    async def find(self, conn: AsyncConnection, job_id: str) -> Job | None:
        """The job of an address."""
        row = (await conn.execute(select(export_job).where(_J.job_id == job_id))).first()
        return await self._job(conn, row) if row else None

    async def is_complete(self, conn: AsyncConnection, job: Job) -> bool:
        """Whether a job's files can be read still."""
        query = select(_J.pk).where(_J.pk == job.pk, _J.state == State.COMPLETE.value)
        return (await conn.execute(query)).first() is not None

    async def is_busy(self, conn: AsyncConnection, owner: str) -> bool:
        """Whether a job of this caller is being worked on."""
        query = select(_J.pk).where(_J.owner == owner, _J.state == State.WORKING.value)
        return (await conn.execute(query.limit(1))).first() is not None

    async def claim(self, worker: str, now_us: int) -> Job | None:
        """The oldest job that nobody works on, taken for this worker; None = there is none.

        On SQLite one process works: what another had taken, it died with.
        """
        is_free = or_(_J.lease_us < now_us, _J.lease_by == worker)
        query = select(export_job).where(
            _J.state == State.WORKING.value,
            _J.as_of_us <= now_us - int(SETTLE_SECONDS * SECOND_US),
            *([] if self._db.is_sqlite else [is_free]),
        )
        async with self._db.reading() as conn:
            row = (await conn.execute(query.order_by(_J.pk).limit(1))).first()
        if row is None:
            return None
        async with self._db.transaction() as conn:
            taken = update(export_job).where(
                _J.pk == row.pk, _J.state == State.WORKING.value, _J.lease_by == row.lease_by
            )
            done = await conn.execute(taken.values(**_lease(worker, now_us)))
            return await self._job(conn, row) if done.rowcount else None

    async def advance(
        self, conn: AsyncConnection, job: Job, worker: str, step: Step, now_us: int
    ) -> Job | None:
        """Store a step: the job after it, or None where it is not this worker's any more."""
        is_full = job.in_batch >= FILE_RESOURCES
        counts = Counter[int]()
        for _, content in step.holdings:
            counts.update({type_id: len(keys) for type_id, keys in content.items()})
        after = replace(
            job,
            place=step.place,
            batch=job.batch + is_full,
            in_batch=counts.total() + (0 if is_full else job.in_batch),
            rows=job.rows + len(step.holdings),
            listed=job.listed + counts.total(),
        )
        changed = await conn.execute(
            update(export_job)
            .where(
                _J.pk == job.pk,
                _J.state == State.WORKING.value,
                _J.lease_by == worker,
                _J.place == job.place,
            )
            .values(
                place=after.place,
                batch=after.batch,
                in_batch=after.in_batch,
                row_count=after.rows,
                listed=after.listed,
                **_lease(worker, now_us),
            )
        )
        if not changed.rowcount:
            return None
        await self._add_holdings(conn, job, after.batch, step)
        await self._add_others(conn, job, step)
        await self._add_counts(conn, job, after.batch, counts)
        return after

    async def _add_holdings(self, conn: AsyncConnection, job: Job, batch: int, step: Step) -> None:
        rows = [
            {
                "job_pk": job.pk,
                "seq": job.rows + number,
                "batch": batch,
                "person_id": person,
                "content": pack(content),
                "told_us": None,
            }
            for number, (person, content) in enumerate(step.holdings)
        ]
        if rows:
            await conn.execute(export_holding.insert(), rows)

    async def _add_others(self, conn: AsyncConnection, job: Job, step: Step) -> None:
        rows = [
            {"job_pk": job.pk, "person_id": person, "resource_pk": pk}
            for person, pk in sorted(step.others)
        ]
        if rows:
            await conn.execute(self._insert(export_other).on_conflict_do_nothing(), rows)

    async def _add_counts(
        self, conn: AsyncConnection, job: Job, batch: int, counts: Mapping[int, int]
    ) -> None:
        insert = self._insert(export_part)
        rows = [
            {"job_pk": job.pk, "batch": batch, "type_id": type_id, "listed": count}
            for type_id, count in counts.items()
        ]
        if rows:
            more = {"listed": _P.listed + insert.excluded.listed}
            keys = ["job_pk", "batch", "type_id"]
            await conn.execute(insert.on_conflict_do_update(index_elements=keys, set_=more), rows)

    async def others(
        self, conn: AsyncConnection, job: Job, after: tuple[str, int], limit: int
    ) -> list[tuple[str, int]]:
        """What belongs to the list beside the persons' own, by person and key."""
        rows = await conn.execute(
            select(_O.person_id, _O.resource_pk)
            .where(_O.job_pk == job.pk, tuple_(_O.person_id, _O.resource_pk) > after)
            .order_by(_O.person_id, _O.resource_pk)
            .limit(limit)
        )
        return [(row.person_id, row.resource_pk) for row in rows]

    async def persons_held(
        self, conn: AsyncConnection, job: Job, persons: Collection[str]
    ) -> set[str]:
        """Those of these persons who have an entry in the list."""
        query = select(_H.person_id).where(_H.job_pk == job.pk, _H.person_id.in_(sorted(persons)))
        return set((await conn.execute(query)).scalars())

    async def end(
        self, conn: AsyncConnection, job: Job, state: State, now_us: int, expires_us: int
    ) -> bool:
        """End a job that is worked on; False where it had ended already."""
        done = await conn.execute(
            update(export_job)
            .where(_J.pk == job.pk, _J.state == State.WORKING.value)
            .values(state=state.value, ended_us=now_us, expires_us=expires_us)
        )
        return bool(done.rowcount)

    async def cancel(self, conn: AsyncConnection, job_id: str, now_us: int) -> bool:
        """Take a job away, finished or not; False where there is none."""
        done = await conn.execute(
            update(export_job)
            .where(_J.job_id == job_id, _J.state != State.CANCELLED.value)
            .values(state=State.CANCELLED.value, ended_us=now_us, expires_us=now_us)
        )
        return bool(done.rowcount)

    async def parts(self, conn: AsyncConnection, job: Job) -> list[Part]:
        """A job's files, as they were listed."""
        rows = await conn.execute(
            select(export_part).where(_P.job_pk == job.pk).order_by(_P.type_id, _P.batch)
        )
        return [Part(batch=r.batch, type_id=r.type_id, count=r.listed) for r in rows]

    async def holdings(
        self, conn: AsyncConnection, job: Job, batch: int, *, after: int, limit: int
    ) -> list[Holding]:
        """Entries of a batch behind one, in order."""
        rows = await conn.execute(
            select(export_holding)
            .where(_H.job_pk == job.pk, _H.batch == batch, _H.seq > after)
            .order_by(_H.seq)
            .limit(limit)
        )
        return [_holding(row) for row in rows]

    async def again(self, conn: AsyncConnection, job: Job, seqs: Collection[int]) -> list[Holding]:
        """These entries as they are now, in order."""
        query = select(export_holding).where(_H.job_pk == job.pk, _H.seq.in_(sorted(seqs)))
        return [_holding(row) for row in await conn.execute(query.order_by(_H.seq))]

    async def told(
        self, conn: AsyncConnection, job: Job, seqs: Sequence[int], now_us: int
    ) -> set[int]:
        """Mark entries as told; those that were not before, and are this transaction's to tell."""
        if not seqs:
            return set()
        done = await conn.execute(
            update(export_holding)
            .where(_H.job_pk == job.pk, _H.seq.in_(seqs), _H.told_us.is_(None))
            .values(told_us=now_us)
            .returning(_H.seq)
        )
        return set(done.scalars())

    async def narrow(
        self, conn: AsyncConnection, job: Job, contents: Mapping[int, Content]
    ) -> None:
        """Leave of these entries what is given, for good."""
        for seq, content in contents.items():
            await conn.execute(
                update(export_holding)
                .where(_H.job_pk == job.pk, _H.seq == seq)
                .values(content=pack(content))
            )

    async def listed(self, limit: int) -> list[Job]:
        """Jobs, newest first."""
        async with self._db.reading() as conn:
            rows = await conn.execute(select(export_job).order_by(_J.pk.desc()).limit(limit))
            return [await self._job(conn, row) for row in rows.all()]

    async def counts(self) -> dict[str, tuple[int, int]]:
        """By state how many jobs there are, and when the oldest was created (µs)."""
        query = select(_J.state, func.count(), func.min(_J.created_us)).group_by(_J.state)
        async with self._db.reading() as conn:
            return {row[0]: (int(row[1]), int(row[2])) for row in await conn.execute(query)}

    async def forget(self, now_us: int) -> int:
        """Delete the jobs that ended and expired, their lists first; how many jobs."""
        is_over = and_(_J.state != State.WORKING.value, _J.expires_us <= now_us)
        async with self._db.reading() as conn:
            gone = list((await conn.execute(select(_J.pk).where(is_over))).scalars())
        for pk in gone:
            for table, key in (
                (export_holding, _H.seq),
                (export_other, _O.resource_pk),
                (export_part, _P.batch),
            ):
                while await self._forget_some(table, key, pk):
                    pass
            async with self._db.transaction() as conn:
                await conn.execute(delete(export_job).where(_J.pk == pk))
        return len(gone)

    async def _forget_some(self, table: Any, key: Any, pk: int) -> bool:
        some = select(key).where(table.c.job_pk == pk).limit(FORGOTTEN_AT_ONCE)
        async with self._db.transaction() as conn:
            done = await conn.execute(delete(table).where(table.c.job_pk == pk, key.in_(some)))
        return bool(done.rowcount)

    async def _job(self, conn: AsyncConnection, row: Row[Any]) -> Job:
        key = await self._keys.by_id(conn, row.key_id)
        asked = key.open(row.asked, table="export_job", column="asked", row=str(row.pk))
        return Job(
            pk=row.pk,
            job_id=row.job_id,
            owner=row.owner,
            token_id=row.token_id,
            organization=row.organization,
            asked=Asked.from_bytes(asked),
            state=State(row.state),
            created_us=row.created_us,
            as_of_us=row.as_of_us,
            place=row.place,
            batch=row.batch,
            in_batch=row.in_batch,
            rows=row.row_count,
            listed=row.listed,
            ended_us=row.ended_us,
            expires_us=row.expires_us,
        )


def _holding(row: Row[Any]) -> Holding:
    return Holding(
        seq=row.seq,
        batch=row.batch,
        person_id=row.person_id,
        content=unpack(row.content),
        told_us=row.told_us,
    )


def _lease(worker: str, now_us: int) -> dict[str, Any]:
    return {"lease_by": worker, "lease_us": now_us + LEASE_SECONDS * SECOND_US}
