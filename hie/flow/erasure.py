"""Lawful erasure of a person: keys destroyed, rows taken out, the audit chain whole.

First the questions are found that describe the person, whomever they met. Then all keys are
doomed: every process lets go of what it remembers of them. A moment later one transaction
destroys them and takes out what they sealed; from its commit on that is noise, in the
write-ahead log and in the pages of the database file too. Who had read the person by then may
still be writing down what was asked: a last look at the questions takes these out as well. What is
left are ids, who decided what when, and the audit rows, which keep their places in the chain. A
list of what was destroyed stands beside the key file: a restored backup is held to it at the start.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.erasing import JournalErasure
from consent.service import ConsentService
from hie.audit.event import AuditRecord, record_of
from hie.audit.repository import AuditLog
from hie.crypto import KeyRing
from hie.db import Database, is_passing
from hie.erased import Erased, ErasedList
from hie.flow.questions import Describing, Progress, Questions, Sought
from hie.flow.unclaimed import Unclaimed
from hie.kernel.context import RequestContext
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import PersonId, SourceRecordId
from hie.keystore import KeyKind, KeyStore
from hie.proxies import repository as proxies
from hie.store.erasing import StoredRecords
from hie.store.index import SearchIndex
from hie.tasks import repository as tasks
from mpi import erase
from mpi.ledger import SYSTEM
from mpi.service import Mpi

#: How long other processes have to let go of keys; they look every second.
SETTLE_SECONDS: Final = 4.0
#: How often the last look is begun while the database is away.
_LOOKS: Final = 15
_NOT_LOOKED: Final = (
    "the person is erased, but what was asked about them in the last seconds could not be looked "
    "through: the database is away"
)
#: On record where a start carries an erasure out: the backup is older, or the commit was cut off.
_FROM_LIST: Final = "the list of erasures names the person, and the database still had them"
#: Ends the tokens of patients, in the open transaction.
Revoke = Callable[[AsyncConnection, Collection[PersonId]], Awaitable[None]]
#: Takes out what else is kept of a person, in the open transaction.
Forget = Callable[[AsyncConnection, PersonId], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What an erasure would take out, or took.

    Attributes:
        merged: persons that were merged into it: parts of the trail are under their keys.
        records: source records, those merged into them by their source among them.
        resources: how many resources of each type.
    """

    person: PersonId
    merged: tuple[PersonId, ...] = ()
    records: tuple[SourceRecordId, ...]
    resources: Mapping[str, int]

    @property
    def persons(self) -> tuple[PersonId, ...]:
        """Every id that means the person."""
        return (self.person, *self.merged)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Theirs:
    """What else goes with a person: whose keys, which messages, and how they were known."""

    owners: Sequence[tuple[KeyKind, str]]
    sought: Sought
    unclaimed: Sequence[int]


class Erasure:
    """Erases persons.

    Args:
        journal: takes a person out of the messages.
        questions: finds what was asked about a person.
        unclaimed: finds messages that tell of a person and are under no record's key.
        forget: what other parts of the hub keep of a person.
        settle_seconds: how long other processes have to let go of the keys.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - joined once, in services.py
        self,
        db: Database,
        mpi: Mpi,
        stored: StoredRecords,
        consent: ConsentService,
        keys: KeyStore,
        audit: AuditLog,
        erased: ErasedList,
        revoke: Revoke,
        journal: JournalErasure,
        questions: Questions,
        unclaimed: Unclaimed,
        forget: Sequence[Forget] = (),
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        self._db = db
        self._mpi = mpi
        self._stored = stored
        self._consent = consent
        self._keys = keys
        self._audit = audit
        self._erased = erased
        self._revoke = revoke
        self._journal = journal
        self._questions = questions
        self._unclaimed = unclaimed
        self._forget = tuple(forget)
        self._settle_seconds = settle_seconds

    async def outlook(self, ctx: RequestContext, person: str) -> Outlook:
        """What an erasure of a person would take out; on record.

        Raises:
            HieError: NOT_FOUND for nobody's id; BUSINESS_RULE for one that another stands for.
        """
        async with self._db.transaction() as conn:
            found = await self._outlook(conn, person)
            record = record_of(
                ctx, "R", "read", person_id=found.person, detail={"reason": "before an erasure"}
            )
            await self._audit.append(conn, [record])
        return found

    async def erase(
        self,
        ctx: RequestContext,
        person: str,
        *,
        reason: str,
        keeps_trail: bool = False,
        progress: Progress | None = None,
    ) -> Outlook:
        """Erase a person for good; nothing takes it back.

        Args:
            ctx: who erases, for the audit trail.
            person: the active person's id.
            reason: on what ground, in words; on the audit trail.
            keeps_trail: whether the details of who saw the record stay readable, for the years
                that accountings of disclosures are owed. Questions that describe the person
                and met somebody else, or nobody, go all the same.
            progress: told how many questions were looked at.

        Raises:
            HieError: NOT_FOUND, BUSINESS_RULE as `outlook`; INVALID without a reason.
        """
        _refuse_groundless(reason)
        async with self._db.transaction() as conn:
            found = await self._outlook(conn, person)
            sought = await self._questions.sought(
                conn, found.persons, found.records, keeps_met=keeps_trail
            )
        asked = await self._questions.about(sought, ctx.now_us, progress)
        unclaimed = await self._unclaimed.about(sought)
        async with self._db.transaction() as conn:
            owners = _owners(found, keeps_trail=keeps_trail)
            await self._keys.doom(conn, owners, ctx.now_us)
            await self._doomed(conn, asked, ctx.now_us)
        await self._let_go()
        async with self._db.transaction() as conn:
            # Anew: what was filed or merged meanwhile goes too, unless its key is not doomed.
            found = await self._outlook(conn, person)
            _refuse_late(set(_owners(found, keeps_trail=keeps_trail)) - set(owners))
            unclaimed += await self._unclaimed.since(conn, sought, ctx.now_us)
            about = await self._questions.since(conn, sought, ctx.now_us, asked)
            questions = await self._doomed(conn, about, ctx.now_us)
            theirs = _Theirs(owners=[*owners, *questions], sought=sought, unclaimed=unclaimed)
            key_ids = await self._take_out(conn, found, theirs, ctx.now_us)
            await self._note(conn, ctx, found, reason)
            # Before the commit: should that fail, the next start carries the erasure out.
            await self._erased.add(_line(found, key_ids, ctx.now_us, keeps_trail=keeps_trail))
        await self._look_again(found, sought, about, ctx.now_us)
        return found

    async def _look_again(
        self, found: Outlook, sought: Sought, about: Describing, now_us: int
    ) -> None:
        """Take out what was asked by readers who were under way when the person was erased."""
        for left in reversed(range(_LOOKS)):
            await asyncio.sleep(self._settle_seconds)
            try:
                return await self._last_look(found, sought, about, now_us)
            except Exception as error:
                if not is_passing(error):
                    raise
                # Nobody can look later: whom to look for is known here alone, and gone.
                if not left:
                    raise HieError(Category.BUSY, _NOT_LOOKED) from error
        return None

    async def _last_look(
        self, found: Outlook, sought: Sought, about: Describing, now_us: int
    ) -> None:
        await self._questions.written()
        async with self._db.transaction() as conn:
            late = await self._questions.since(conn, sought, now_us, about)
            if owners := await self._doomed(conn, late, now_us):
                key_ids = await self._keys.destroy(conn, owners, now_us)
                # Of questions alone: what else the person had may have come again by now.
                whom = replace(found, records=())
                await self._erased.add(_line(whom, key_ids, now_us, keeps_trail=True))

    async def _doomed(
        self, conn: AsyncConnection, about: Describing, now_us: int
    ) -> list[tuple[KeyKind, str]]:
        """The questions whose keys go and are there still, announced to every process."""
        owners = await self._keys.owners_of(conn, KeyKind.QUESTION, about.doomed)
        await self._keys.doom(conn, owners, now_us)
        return owners

    async def _note(
        self, conn: AsyncConnection, ctx: RequestContext, found: Outlook, reason: str
    ) -> None:
        detail = {"reason": reason}
        record = record_of(ctx, "D", "destroy", person_id=found.person, detail=detail)
        await self._audit.append(conn, [record])

    async def again(self, now_us: int) -> int:
        """Hold a restored backup to what was erased since it was made; how many persons."""
        count = 0
        for line in await self._erased.read():
            async with self._db.reading() as conn:
                is_back = await self._keys.is_any_of(conn, line.keys)
            if is_back:
                await self._erase_again(line, now_us)
                count += 1
        return count

    async def _erase_again(self, line: Erased, now_us: int) -> None:
        records = tuple(SourceRecordId(record) for record in line.records)
        merged = tuple(PersonId(one) for one in line.merged)
        person = PersonId(line.person)
        found = Outlook(person=person, merged=merged, records=records, resources={})
        async with self._db.reading() as conn:
            sought = await self._questions.sought(
                conn, found.persons, records, keeps_met=line.keeps_trail
            )
        unclaimed = await self._unclaimed.about(sought)
        async with self._db.transaction() as conn:
            # What was asked before the backup was made, the person themselves perhaps after it.
            questions = await self._keys.owners_of(conn, KeyKind.QUESTION, line.keys)
            owners = [*_owners(found, keeps_trail=line.keeps_trail), *questions]
            await self._keys.doom(conn, owners, now_us)
            await self._keys.follow(conn)
            theirs = _Theirs(owners=owners, sought=sought, unclaimed=unclaimed)
            await self._take_out(conn, found, theirs, now_us)
            # Of this database's own: the row of back then is not in it.
            record = AuditRecord(
                recorded_us=now_us,
                action="D",
                subtype="destroy",
                person_id=found.person,
                detail={"reason": _FROM_LIST},
            )
            await self._audit.append(conn, [record])

    async def _outlook(self, conn: AsyncConnection, person: str) -> Outlook:
        active = await self._mpi.resolve(conn, PersonId(person))
        if active != person:
            text = "the person was merged away: erase whom it was merged into, or undo the merge"
            raise HieError(Category.BUSINESS_RULE, text)
        own = await self._mpi.records_of(conn, active)
        records = tuple(await erase.with_merged(conn, own))
        held = await self._stored.held(conn, records)
        _, *merged = await erase.with_merged_persons(conn, active)
        return Outlook(
            person=active,
            merged=tuple(merged),
            records=records,
            resources=self._stored.by_type(held),
        )

    async def _let_go(self) -> None:
        """Every process forgets the keys: this one now, the others within a second."""
        async with self._db.reading() as conn:
            await self._keys.follow(conn)
        await asyncio.sleep(self._settle_seconds)

    async def _take_out(
        self,
        conn: AsyncConnection,
        found: Outlook,
        theirs: "_Theirs",
        now_us: int,
    ) -> list[int]:
        # The keys first: who writes under one of them now is waited for, and taken out as well.
        key_ids = await self._keys.destroy(conn, theirs.owners, now_us)
        held = await self._stored.held(conn, found.records)
        messages = await self._stored.messages(conn, held)
        gone = min(key_ids, default=0)
        numbers = theirs.sought.numbers
        await self._journal.forget(conn, numbers, theirs.unclaimed, messages, gone)
        await tasks.forget(conn, found.records, gone, now_us)
        await self._stored.erase(conn, held)
        # What the hub itself serves to others of the person as their proxy.
        proxied = [one for p in found.persons for one in await proxies.standing_in(conn, p)]
        await self._stored.erase(conn, await self._stored.named(conn, "RelatedPerson", proxied))
        hub_key = await self._keys.for_owner(conn, KeyKind.SYSTEM, SYSTEM)
        await erase.erase(conn, found.persons, found.records, key_ids, hub_key.id, now_us)
        for person in found.persons:
            await self._consent.recompile(conn, person, [])
        await self._revoke(conn, found.persons)
        for person in found.persons:
            for forget in self._forget:
                await forget(conn, person)
        return key_ids


class Hub(Protocol):
    """What erasing persons needs of a hub."""

    db: Database
    mpi: Mpi
    consent: ConsentService
    keys: KeyStore
    ring: KeyRing
    audit: AuditLog


def erasure_of(
    hub: Hub, index: SearchIndex, revoke: Revoke, key_file: Path, *forget: Forget
) -> Erasure:
    """What erases persons; the list of them stands beside the key file.

    `forget`: takes out what parts above this one keep of a person.
    """
    journal = JournalErasure(hub.ring, hub.keys)
    return Erasure(
        hub.db,
        hub.mpi,
        StoredRecords(index),
        hub.consent,
        hub.keys,
        hub.audit,
        ErasedList(key_file.with_name("erased.jsonl")),
        revoke,
        journal,
        Questions(hub.db, hub.audit, hub.mpi),
        Unclaimed(hub.db, journal),
        # The relationships last: they say in whose place the person stood.
        forget=(*forget, proxies.forget),
    )


def _refuse_groundless(reason: str) -> None:
    if not reason.strip():
        raise HieError(Category.INVALID, "`reason`: expected the ground of the erasure")


def _refuse_late(owners: Collection[tuple[KeyKind, str]]) -> None:
    if owners:
        text = f"{len(owners)} records came to the person meanwhile: try again"
        raise HieError(Category.STALE, text)


def _owners(found: Outlook, *, keeps_trail: bool) -> list[tuple[KeyKind, str]]:
    trail = [] if keeps_trail else [(KeyKind.PERSON, str(person)) for person in found.persons]
    return [*((KeyKind.RECORD, str(record)) for record in found.records), *trail]


def _line(found: Outlook, key_ids: Sequence[int], now_us: int, *, keeps_trail: bool) -> Erased:
    return Erased(
        at_us=now_us,
        person=found.person,
        merged=found.merged,
        records=found.records,
        keys=tuple(key_ids),
        keeps_trail=keeps_trail,
    )
