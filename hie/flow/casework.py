"""What stewards see of the index and do with its tasks, short of deciding: audited.

Whoever looks at a person sees every source's record of it, as the index itself does; so each
person shown is a disclosure, on record before anything is returned.
"""

import json
from collections.abc import Collection, Sequence
from decimal import Decimal

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from consent.service import ConsentService
from hie.audit.event import Description
from hie.audit.repository import AuditLog, Recorded
from hie.crypto import KeyRing
from hie.db import Database
from hie.disclosure import Disclosures
from hie.flow.dossier import (
    DecisionShown,
    EventShown,
    PersonShown,
    QueueEntry,
    RecordShown,
    TaskShown,
    demographics_of,
    described,
)
from hie.golden import GoldenPatients
from hie.kernel.context import RequestContext
from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import PersonId, SourceRecordId
from hie.keystore import KeyStore
from hie.store.query import Served
from hie.store.repository import ResourceRepository
from mpi.repository import decisions, queue, records
from mpi.repository.decisions import PastDecision, PastLink
from mpi.repository.queue import QueuedTask, QueueFigures, TaskEvent, TaskFilter
from mpi.service import Mpi

READ = "access"
#: Persons that one search for an identifier or one task shows.
MOST_PERSONS = 20
#: Records of a person that are shown; more are counted.
MOST_RECORDS = 100


class Casework:
    """Reads for stewards."""

    def __init__(  # noqa: PLR0913, PLR0917 - joined once, in services.py
        self,
        db: Database,
        mpi: Mpi,
        ring: KeyRing,
        keys: KeyStore,
        consent: ConsentService,
        repository: ResourceRepository,
        golden: GoldenPatients,
        disclosures: Disclosures,
        audit: AuditLog,
    ) -> None:
        self._db = db
        self._mpi = mpi
        self._ring = ring
        self._keys = keys
        self._consent = consent
        self._repository = repository
        self._golden = golden
        self._disclosures = disclosures
        self._audit = audit

    async def queue(
        self,
        ctx: RequestContext,
        wanted: TaskFilter,
        *,
        after: tuple[int, int, int] | None,
        limit: int,
    ) -> list[QueueEntry]:
        """A page of the queue: ids, bits and vetoes, nobody's data."""
        async with self._db.reading() as conn:
            page = await queue.page(conn, wanted, now_us=ctx.now_us, after=after, limit=limit)
            entries = [
                QueueEntry(
                    task=task, candidates=(await self._mpi.review.unseal(conn, task)).candidates
                )
                for task in page
            ]
        await self._disclosures.record(ctx, "E", "search-type", set(), "Task")
        return entries

    async def task(self, ctx: RequestContext, task_id: int) -> TaskShown:
        """A task with both sides of its question.

        Raises:
            HieError: NOT_FOUND.
        """
        async with self._db.reading() as conn:
            shown = await self._task(conn, ctx, task_id)
        persons = {str(shown.subject.id), *(str(other.id) for other in shown.others)}
        persons |= shown.asked.compared if shown.asked else set()
        await self._disclosures.record(ctx, "R", "read", persons, "Task", str(task_id))
        return shown

    async def person(
        self, ctx: RequestContext, person_id: str, *, as_of_us: int | None = None
    ) -> PersonShown:
        """A person: records, golden values and where they come from, redirects.

        Args:
            ctx: the request.
            person_id: also one that was merged away: its own row, without following it.
            as_of_us: show the records it had then.

        Raises:
            HieError: NOT_FOUND.
        """
        async with self._db.reading() as conn:
            shown = await self._person(conn, ctx, PersonId(person_id), as_of_us)
        if shown.row is None:
            await self._disclosures.refuse(ctx, "read", "Patient", person_id)
        touched = {person_id, *await self._owners(shown)}
        await self._disclosures.record(ctx, "R", "read", touched, "Patient", person_id)
        return shown

    async def person_of(self, ctx: RequestContext, named: str) -> PersonShown:
        """A person by its own id or that of one of its records.

        Raises:
            HieError: NOT_FOUND.
        """
        async with self._db.reading() as conn:
            record = SourceRecordId(named)
            found = (await self._mpi.person_of(conn, {record})).get(record)
        return await self.person(ctx, found or named)

    async def counts(self, ctx: RequestContext) -> list[QueueFigures]:
        """The open tasks by kind and priority."""
        async with self._db.reading() as conn:
            return await queue.figures(conn, now_us=ctx.now_us)

    async def question(
        self, ctx: RequestContext, task_id: int
    ) -> tuple[QueueEntry, dict[PersonId, int]]:
        """A task with whom it proposes, and since when each person concerned has been there.

        Nobody's data: for whoever decides.

        Raises:
            HieError: NOT_FOUND.
        """
        async with self._db.reading() as conn:
            task = await queue.task(conn, task_id)
            if task is None:
                raise HieError(Category.NOT_FOUND, "there is no such task")
            proposed = (await self._mpi.review.unseal(conn, task)).candidates
            since = {}
            for person in {task.person_id, *(c.person_id for c in proposed)}:
                row = await decisions.person(conn, person)
                since[person] = row.created_us if row else ctx.now_us
        return QueueEntry(task=task, candidates=proposed), since

    async def disclosures(
        self, ctx: RequestContext, person_id: str, *, before: int | None, limit: int
    ) -> tuple[Recorded, ...]:
        """Who saw or changed a person's record, the newest first.

        Raises:
            HieError: NOT_FOUND.
        """
        async with self._db.reading() as conn:
            row = await decisions.person(conn, person_id)
            merged = await decisions.merged_into(conn, person_id)
            persons = [PersonId(person_id), *(each.id for each in merged)]
            found = await self._audit.access_log(conn, persons, before_pk=before, limit=limit)
        if row is None:
            await self._disclosures.refuse(ctx, "search-type", "AuditEvent", person_id)
        await self._disclosures.record(ctx, "E", "search-type", {person_id}, "AuditEvent")
        return found

    async def record(
        self, ctx: RequestContext, record_id: str
    ) -> tuple[RecordShown, list[PastLink]]:
        """A source record and every person it ever belonged to, oldest first.

        Raises:
            HieError: NOT_FOUND.
        """
        async with self._db.reading() as conn:
            known = await records.find_record(conn, record_id)
            links = await decisions.links_of(conn, record_id)
            shown = await self._records(conn, ctx, links[-1:])
        if known is None:
            await self._disclosures.refuse(ctx, "read", "Patient", record_id)
        persons = {str(link.person_id) for link in links}
        await self._disclosures.record(ctx, "R", "read", persons, "Patient", record_id)
        if shown:
            return shown[0], links
        retired = RecordShown(
            id=known.record_id,
            source_id=known.source_id,
            patient={},
            version="",
            updated_us=0,
            link=None,
        )
        return retired, links

    async def with_identifier(
        self, ctx: RequestContext, system: str, value: str
    ) -> list[PersonShown]:
        """The persons of whom some record carries an identifier now."""
        hashed = self._ring.blind("id", system, value)
        async with self._db.reading() as conn:
            found = await decisions.with_identifier(conn, hashed, MOST_PERSONS)
            links = [link for one in found for link in await decisions.links_of(conn, one)]
            persons = dict.fromkeys(link.person_id for link in links if link.valid_to_us is None)
            shown = [await self._person(conn, ctx, person, None) for person in persons]
        seen = {str(person) for person in persons}
        asked = {"query": Description(f"identifier={system}|{value}")}
        await self._disclosures.record(ctx, "E", "search-type", seen, "Patient", detail=asked)
        return shown

    async def decision(self, ctx: RequestContext, decision_id: int) -> DecisionShown:
        """A decision with its explanation, the words of who decided, and the links it changed.

        Raises:
            HieError: NOT_FOUND.
        """
        async with self._db.reading() as conn:
            row = await decisions.decision(conn, decision_id)
            if row is None:
                raise HieError(Category.NOT_FOUND, "there is no such decision")
            links = await decisions.links_of_decision(conn, decision_id)
            shown = await self._opened(conn, row, tuple(links))
        persons = {str(link.person_id) for link in links} | shown.compared
        await self._disclosures.record(ctx, "R", "read", persons, "Provenance", str(decision_id))
        return shown

    async def decided(
        self,
        ctx: RequestContext,
        *,
        person_id: str = "",
        record_id: str = "",
        actor: str = "",
        before: int | None = None,
        limit: int = 50,
    ) -> list[PastDecision]:
        """What was decided about a person or record, else by stewards; the newest first."""
        async with self._db.reading() as conn:
            if not person_id and not record_id:
                found = await decisions.by_stewards(conn, before=before, limit=limit, actor=actor)
            else:
                wanted = [record_id] if record_id else await self._past_records(conn, person_id)
                found = await decisions.of_records(conn, wanted, before=before, limit=limit)
        about = {person_id} if person_id else set()
        await self._disclosures.record(ctx, "E", "search-type", about, "Provenance")
        return found

    async def events(self, conn: AsyncConnection, task: QueuedTask) -> tuple[EventShown, ...]:
        """What was done with a task, oldest first, with the notes opened."""
        found = await queue.events(conn, task.id)
        return tuple([await self._event(conn, event) for event in found])

    async def _task(self, conn: AsyncConnection, ctx: RequestContext, task_id: int) -> TaskShown:
        task = await queue.task(conn, task_id)
        if task is None:
            raise HieError(Category.NOT_FOUND, "there is no such task")
        asked = await self._mpi.review.unseal(conn, task)
        others = list(dict.fromkeys(c.person_id for c in asked.candidates))[:MOST_PERSONS]
        subject = await self._person(conn, ctx, task.person_id, None)
        opened = await decisions.decision(conn, task.opened_by) if task.opened_by else None
        return TaskShown(
            task=task,
            candidates=asked.candidates,
            held=asked.held and demographics_of(asked.held),
            subject=subject,
            others=tuple([await self._person(conn, ctx, other, None) for other in others]),
            compared=await self._mpi.comparisons.of(
                conn, task.person_id, others, record_id=task.record_id or ""
            ),
            asked=await self._opened(conn, opened) if opened else None,
            events=await self.events(conn, task),
        )

    async def _person(
        self, conn: AsyncConnection, ctx: RequestContext, person: PersonId, as_of_us: int | None
    ) -> PersonShown:
        row = await decisions.person(conn, person)
        links = await decisions.links_at(conn, person, as_of_us)
        shown = await self._records(conn, ctx, links[:MOST_RECORDS])
        residual = self._consent.residual(ctx, READ)
        today = await self._golden.explained(conn, residual, person) if as_of_us is None else None
        golden, origins = described(today)
        return PersonShown(
            id=person,
            row=row,
            records=tuple(shown),
            golden=golden,
            origins=origins,
            replaced=tuple(await decisions.merged_into(conn, person)),
            apart=tuple(await decisions.held_apart(conn, [link.record_id for link in links])),
            as_of_us=as_of_us,
        )

    async def _records(
        self, conn: AsyncConnection, ctx: RequestContext, links: Sequence[PastLink]
    ) -> list[RecordShown]:
        """The records of links, in their order, wherever they belong today."""
        ids = [link.record_id for link in links]
        now = await self._mpi.person_of(conn, set(ids))
        residual = self._consent.residual(ctx, READ)
        served: dict[str, Served] = {}
        for person in dict.fromkeys(now.values()):
            found = await self._repository.patients(conn, residual, [person])
            served |= {one.id: one for one in found.get(person, [])}
        shown = []
        for link in links:
            known = await records.find_record(conn, link.record_id)
            stored = served.get(link.record_id)
            shown.append(
                RecordShown(
                    id=link.record_id,
                    source_id=known.source_id if known else "",
                    patient=demographics_of(_patient(stored)) if stored else {},
                    version=stored.version if stored else "",
                    updated_us=stored.last_updated_us if stored else 0,
                    link=link,
                )
            )
        return shown

    async def _owners(self, shown: PersonShown) -> set[str]:
        """The persons whose data was shown with somebody's past: where records are today."""
        if shown.as_of_us is None:
            return set()
        async with self._db.reading() as conn:
            return set((await self._mpi.person_of(conn, _ids(shown.records))).values())

    async def _past_records(self, conn: AsyncConnection, person_id: str) -> list[str]:
        row = await decisions.person(conn, person_id)
        if row is None:
            raise HieError(Category.NOT_FOUND, "there is no such person")
        return await decisions.ever_of(conn, person_id)

    async def _opened(
        self, conn: AsyncConnection, row: PastDecision, links: tuple[PastLink, ...] = ()
    ) -> DecisionShown:
        """A decision with what is sealed of it; nothing of it where the key was destroyed."""
        content: FhirJson = {}
        if row.explanation is not None and row.key_id is not None:
            content = await self._open(
                conn, row.key_id, row.explanation, ("identity_decision", "explanation", row.id)
            )
        words = str(content.pop("words", ""))
        return DecisionShown(decision=row, explanation=content or None, words=words, links=links)

    async def _event(self, conn: AsyncConnection, event: TaskEvent) -> EventShown:
        note: FhirJson = {}
        if event.note is not None and event.key_id is not None:
            note = await self._open(
                conn, event.key_id, event.note, ("review_event", "note", event.id)
            )
        return EventShown(
            at_us=event.at_us,
            action=event.action,
            actor=event.actor,
            note=str(note.get("note", "")),
        )

    async def _open(
        self, conn: AsyncConnection, key_id: int, sealed: bytes, place: tuple[str, str, int]
    ) -> FhirJson:
        table, column, row = place
        key = (await self._keys.kept(conn, [key_id])).get(key_id)
        if key is None:
            return {}
        content: FhirJson = orjson.loads(key.open(sealed, table=table, column=column, row=str(row)))
        return content


def _ids(shown: Collection[RecordShown]) -> set[SourceRecordId]:
    return {record.id for record in shown}


def _patient(served: Served) -> FhirJson:
    patient: FhirJson = json.loads(served.body, parse_float=Decimal) if served.body else {}
    return patient
