"""Decisions about identity, each written once and each reversible.

A decision closes links and opens others; nothing is overwritten. A person left without
records redirects to where they went; one that gets records back is itself again. So taking a
decision back (`mpi.undo`) needs nothing but the links it opened and closed.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.crypto import KeyRing
from hie.db import Database
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import PersonId, SourceRecordId
from hie.keystore import KeyKind, KeyStore
from mpi.model import Actor, DecisionKind, LinkState, PersonMove, PersonStatus
from mpi.repository import decisions, links, records
from mpi.repository.decisions import PersonRow
from mpi.repository.links import Link
from mpi.repository.writes import Writes, lock

#: Pairs of records that one decision holds apart; enough for two persons of thirty records.
MOST_ASSERTIONS = 1_000
#: What a transaction holds that moves records.
MOVING = int.from_bytes(b"mpi-move", "big")
SYSTEM = "system"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A decision that waits to be written, or is."""

    id: int
    kind: DecisionKind
    now_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why, as JSON values; sealed under the key of the record it is about."""

    record_id: SourceRecordId
    content: Mapping[str, Any]


class Ledger:
    """Writes decisions.

    Args:
        db: gives primary keys.
        ring: makes person ids that say nothing.
        keys: seals explanations.
        model_version: of the model in use.
    """

    def __init__(self, db: Database, ring: KeyRing, keys: KeyStore, model_version: str) -> None:
        self._db = db
        self._ring = ring
        self._keys = keys
        self._model_version = model_version

    def writes(self) -> Writes:
        """An empty batch of rows."""
        return Writes(self._db)

    def new_person(self, writes: Writes, now_us: int) -> PersonId:
        """A person that has never been; its row waits in `writes`."""
        # Not derived from the record: a record that moves away and comes back meets a new id.
        person_id = PersonId(self._ring.blind("person", str(self._db.next_pk())))
        writes.add("person", id=person_id, created_us=now_us, status=PersonStatus.ACTIVE.value)
        return person_id

    async def decision(  # noqa: PLR0913 - one row, its columns by name
        self,
        conn: AsyncConnection,
        writes: Writes,
        kind: DecisionKind,
        actor: Actor,
        *,
        explained: Explanation | None = None,
        inverse_of: int | None = None,
        about: int | None = None,
    ) -> Recorded:
        """Gather a decision.

        Args:
            conn: open transaction.
            writes: where its row waits.
            kind: what is decided.
            actor: by whom, when and why.
            explained: why, as the index sees it.
            inverse_of: the decision that it takes back.
            about: the decision that it looks at again, without changing it.
        """
        decision_id = self._db.next_pk()
        key_id, sealed = await self._seal(conn, decision_id, actor.words, explained)
        writes.add(
            "identity_decision",
            id=decision_id,
            at_us=actor.now_us,
            kind=kind.value,
            actor=actor.name,
            on_behalf_of=actor.on_behalf_of,
            reason=actor.reason,
            message_id=actor.message_id,
            model_version=self._model_version,
            key_id=key_id,
            explanation=sealed,
            inverse_of=inverse_of,
            batch_id=actor.batch_id,
            about=about,
        )
        return Recorded(id=decision_id, kind=kind, now_us=actor.now_us)

    async def _seal(
        self, conn: AsyncConnection, decision_id: int, words: str, explained: Explanation | None
    ) -> tuple[int | None, bytes | None]:
        content = dict(explained.content) if explained else {}
        if words:
            content["words"] = words
        if not content:
            return None, None
        owner = (KeyKind.RECORD, explained.record_id) if explained else (KeyKind.SYSTEM, SYSTEM)
        key = await self._keys.for_owner(conn, *owner)
        sealed = key.seal(
            orjson.dumps(content),
            table="identity_decision",
            column="explanation",
            row=str(decision_id),
        )
        return key.id, sealed

    def open_link(  # noqa: PLR0913 - one row, its columns by name
        self,
        writes: Writes,
        record_id: str,
        person_id: str,
        recorded: Recorded,
        *,
        state: LinkState,
        strength: tuple[float, str] | None = None,
        from_us: int = 0,
    ) -> None:
        """Gather a link; `strength` is bits and grade, where a score led to it."""
        bits, grade = strength or (None, None)
        writes.add(
            "identity_link",
            record_id=record_id,
            person_id=person_id,
            valid_from_us=max(recorded.now_us, from_us),
            decision_id=recorded.id,
            state=state.value,
            bits=bits,
            grade=grade,
            model_version=self._model_version,
        )

    def restore_link(self, writes: Writes, old: Link, now: Link, recorded: Recorded) -> None:
        """Gather a link as it was, in place of the one that holds now.

        It is the effect of the decision that made it first.
        """
        writes.add(
            "identity_link",
            record_id=old.record_id,
            person_id=old.person_id,
            valid_from_us=max(recorded.now_us, now.valid_from_us),
            decision_id=old.decision_id,
            restores=old.first_id,
            state=old.state.value,
            bits=old.bits,
            grade=old.grade,
            model_version=self._model_version,
        )

    def tell(
        self, writes: Writes, recorded: Recorded, record_ids: Iterable[str], persons: Iterable[str]
    ) -> None:
        """Gather the news of a decision, for others to be told."""
        writes.add(
            "identity_event",
            at_us=recorded.now_us,
            kind=recorded.kind.value,
            decision_id=recorded.id,
            record_ids=" ".join(record_ids),
            person_ids=" ".join(sorted(set(persons))),
        )

    def tell_moves(self, writes: Writes, recorded: Recorded, moved: Collection[PersonMove]) -> None:
        """Gather the news that records changed their person."""
        persons = {m.from_person for m in moved} | {m.to_person for m in moved}
        self.tell(writes, recorded, [m.source_record_id for m in moved], persons)

    async def move(
        self,
        conn: AsyncConnection,
        writes: Writes,
        targets: Mapping[Link, PersonId],
        recorded: Recorded,
    ) -> tuple[PersonMove, ...]:
        """Close these links and open them on other persons; end and revive persons.

        The persons are held still (`hold_still`) by the caller.
        """
        for link, person_id in targets.items():
            self.open_link(
                writes,
                link.record_id,
                person_id,
                recorded,
                state=LinkState.CONFIRMED,
                from_us=link.valid_from_us,
            )
        moved = [
            PersonMove(
                source_record_id=link.record_id, from_person=link.person_id, to_person=person_id
            )
            for link, person_id in targets.items()
        ]
        return await self.switch(conn, writes, targets, moved, recorded)

    async def switch(
        self,
        conn: AsyncConnection,
        writes: Writes,
        ended: Iterable[Link],
        moved: Sequence[PersonMove],
        recorded: Recorded,
    ) -> tuple[PersonMove, ...]:
        """Close links, open those gathered in `writes`, and end or revive persons.

        Returns:
            The moves to another person, whose clinical rows must follow.
        """
        await links.close_links(conn, ended, decision_id=recorded.id, now_us=recorded.now_us)
        await writes.send(conn)
        await self._settle_persons(conn, moved, recorded.id)
        return tuple(move for move in moved if move.from_person != move.to_person)

    async def _settle_persons(
        self, conn: AsyncConnection, moved: Sequence[PersonMove], decision_id: int
    ) -> None:
        for person_id in {move.to_person for move in moved}:
            await links.set_person(conn, person_id, PersonStatus.ACTIVE)
        for person_id in {move.from_person for move in moved}:
            if await links.links_of_person(conn, person_id):
                continue
            goals = Counter(m.to_person for m in moved if m.from_person == person_id)
            target, _ = min(goals.items(), key=lambda item: (-item[1], item[0]))
            await links.set_person(
                conn, person_id, PersonStatus.MERGED, redirect_to=target, ended_by=decision_id
            )
        for person_id in sorted({move.from_person for move in moved}):
            await self._follow(conn, person_id)

    async def _follow(self, conn: AsyncConnection, left: str) -> None:
        """Lead the ids that were merged into a person to where their own records went from it.

        Else an id would mean another human once its records were taken away from that person.
        """
        seen: set[str] = {left}
        wanted = [left]
        while wanted:
            merged = await decisions.merged_into(conn, wanted.pop())
            for gone in merged:
                if gone.id not in seen:
                    seen.add(gone.id)
                    wanted.append(gone.id)
                    await self._lead(conn, gone)

    async def _lead(self, conn: AsyncConnection, gone: PersonRow) -> None:
        held = await links.closed_by(conn, gone.ended_by) if gone.ended_by else []
        own = [link.record_id for link in held if link.person_id == gone.id]
        owners = {link.person_id for link in await links.links_of_records(conn, own)}
        if len(owners) == 1 and owners != {await self.resolve(conn, gone.id)}:
            await links.set_person(
                conn,
                gone.id,
                PersonStatus.MERGED,
                redirect_to=owners.pop(),
                ended_by=gone.ended_by,
            )

    async def hold_apart(
        self,
        conn: AsyncConnection,
        writes: Writes,
        here: Collection[str],
        there: Collection[str],
        recorded: Recorded,
    ) -> None:
        """Gather the assertion that no record here is of the same human as one there."""
        known = await links.denied(conn, here)
        pairs = {frozenset(pair) for pair in product(here, there) if pair[0] != pair[1]}
        for pair in sorted(map(sorted, pairs - known))[:MOST_ASSERTIONS]:
            writes.add(
                "negative_assertion",
                record_a=pair[0],
                record_b=pair[1],
                valid_from_us=recorded.now_us,
                decision_id=recorded.id,
            )

    async def hold_still(
        self,
        conn: AsyncConnection,
        record_ids: Collection[str],
        persons: Sequence[str],
        *,
        besides: Collection[str] = (),
    ) -> list[PersonId]:
        """Keep others from moving records of these persons, and these records, until the commit.

        On PostgreSQL one transaction at a time moves records: two that each need what the other
        holds would wait for ever. The rows of the persons are locked besides, against arrivals
        that are being linked to them. SQLite has one writer.

        Args:
            conn: open write transaction.
            record_ids: records that are to move.
            persons: persons, by any id that leads to them.
            besides: persons by their own ids, merged or not.

        Returns:
            The persons that `persons` stand for now.

        Raises:
            HieError: NOT_FOUND for an id that never was a person.
        """
        await lock(conn, [MOVING])
        held: set[str] = set()
        while True:
            standing = [await self.resolve(conn, person) for person in persons]
            owners = {link.person_id for link in await links.links_of_records(conn, record_ids)}
            wanted = {*standing, *owners, *besides} - held
            if not wanted:
                return standing
            # Another may have moved them while we waited: look again with the locks held.
            await links.lock_persons(conn, wanted)
            held |= wanted

    async def resolve(self, conn: AsyncConnection, person_id: str) -> PersonId:
        """The active person that an id stands for now.

        Raises:
            HieError: NOT_FOUND for an id that never was a person.
        """
        seen: set[str] = set()
        while person_id not in seen and len(seen) < records.LONGEST_CHAIN:
            seen.add(person_id)
            found = await links.person_status(conn, person_id)
            if found is None:
                raise HieError(Category.NOT_FOUND, "there is no such person")
            status, redirect_to = found
            if status != PersonStatus.MERGED.value or redirect_to is None:
                break
            person_id = redirect_to
        return PersonId(person_id)
