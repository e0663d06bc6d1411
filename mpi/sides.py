"""Whose consents may open whose records, until somebody has reviewed them.

A decision that joins or parts records remembers its sides: the records that were one person's
before. While it stands and nobody has reviewed the consents it brought together, or drew apart,
a consent opens records of its own side alone, and what it denies holds for all that were with
it before or are with it now.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.errors import Category, HieError
from hie.kernel.ids import PersonId
from mpi.ledger import Ledger
from mpi.model import Actor, Decided, DecisionKind, PersonMove
from mpi.repository import links, sides


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """What of one person's records keeps to itself.

    Attributes:
        groups: each record of the person, to the records its consents may open.
        bound: records that are no more the person's, to the person's records that what is
            denied there holds for.
        others: whose those records are now.
    """

    groups: Mapping[str, frozenset[str]]
    bound: Mapping[str, frozenset[str]] = field(default_factory=dict)
    others: frozenset[PersonId] = frozenset()


class Sides:
    """Keeps the sides of decisions, and the reviews that end them."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def keep(
        self,
        conn: AsyncConnection,
        decision_id: int,
        moves: Collection[PersonMove],
        *,
        is_undo: bool = False,
    ) -> None:
        """Remember who was with whom before these moves; they are done.

        Args:
            conn: open write transaction.
            decision_id: what moved them.
            moves: records that changed their person.
            is_undo: it takes a decision back. What that one had brought together has its own
                consents again, exactly; only persons that meet with consents given meanwhile
                are sides.
        """
        if is_undo and await sides.of_decision(conn, await sides.root_of(conn, decision_id)):
            return  # its own sides count again
        moved = {m.source_record_id for m in moves}
        labels: dict[str, str] = {
            m.source_record_id: f"{m.from_person}>{m.to_person}" for m in moves
        }
        persons = {p for m in moves for p in (m.from_person, m.to_person)}
        goals = {m.to_person for m in moves}
        for person, records in (await sides.records_of(conn, persons)).items():
            if is_undo and person not in goals:
                continue
            labels |= {record: person for record in records if record not in moved}
        numbers = {label: n for n, label in enumerate(sorted(set(labels.values())))}
        if len(numbers) > 1:
            await sides.keep(conn, decision_id, {r: numbers[at] for r, at in labels.items()})

    async def carry_on(self, conn: AsyncConnection, undone: int, by: int) -> None:
        """Let the sides of a decision that was taken back in part hold on."""
        await sides.keep(conn, by, await sides.of_decision(conn, undone))

    async def of(
        self, conn: AsyncConnection, persons: Collection[PersonId]
    ) -> dict[PersonId, Apart]:
        """What keeps to itself, of these persons and of those they were parted from.

        A person of whom nothing does is left out.
        """
        waiting = await sides.waiting_about(conn, persons)
        if not waiting:
            return {}
        records = {record for listed in waiting.values() for record in listed}
        owners = await sides.persons_of(conn, records)
        everybody = {*persons, *owners.values()}
        # A person met only here may be in other decisions that wait.
        waiting = await sides.waiting_about(conn, everybody)
        records = {record for listed in waiting.values() for record in listed}
        owners = await sides.persons_of(conn, records)
        mine = await sides.records_of(conn, everybody)
        return {
            PersonId(person): _apart(mine.get(person, []), waiting, owners) for person in everybody
        }

    async def waiting(
        self, conn: AsyncConnection, *, after: int = 0, limit: int = 100
    ) -> list[int]:
        """Decisions whose consents await a review, oldest first."""
        return await sides.waiting(conn, after=after, limit=limit)

    async def persons(self, conn: AsyncConnection, decision_id: int) -> tuple[PersonId, ...]:
        """Whose the records on the sides of a decision are now.

        Of a review, of the decision it looked at; of an undo, of what the chain of undos began
        with.
        """
        root = await sides.root_of(conn, decision_id)
        listed = await sides.of_decision(conn, await sides.about_of(conn, root) or root)
        listed |= await sides.of_decision(conn, decision_id)
        found = await sides.persons_of(conn, listed)
        return tuple(sorted({PersonId(person) for person in found.values()}))

    async def review(self, conn: AsyncConnection, decision_id: int, actor: Actor) -> Decided:
        """The consents of all sides hold as they are from now on.

        Raises:
            HieError: NOT_FOUND for a decision that left nothing to review; CONFLICT when it
                was taken back, or reviewed already.
        """
        if not await sides.of_decision(conn, decision_id):
            raise HieError(Category.NOT_FOUND, "this decision left no consents to review")
        persons = await self.persons(conn, decision_id)
        await self._ledger.hold_still(conn, [], persons)
        if await links.is_undone(conn, decision_id):
            raise HieError(Category.CONFLICT, "the decision was taken back: nothing to review")
        if await sides.reviews_of(conn, decision_id):
            raise HieError(Category.CONFLICT, "the consents are reviewed already")
        writes = self._ledger.writes()
        recorded = await self._ledger.decision(
            conn, writes, DecisionKind.CONSENT_REVIEW, actor, about=decision_id
        )
        await writes.send(conn)
        return Decided(decision_id=recorded.id, kind=recorded.kind, persons=persons)


def _apart(
    mine: Collection[str],
    waiting: Mapping[int, Mapping[str, int]],
    owners: Mapping[str, str],
) -> Apart:
    """Two records are apart when any decision that waits has them on two sides."""
    groups: dict[tuple[int | None, ...], set[str]] = defaultdict(set)
    place = {record: tuple(listed.get(record) for listed in waiting.values()) for record in mine}
    for record, at in place.items():
        groups[at].add(record)
    own = {record: frozenset(groups[place[record]]) for record in mine}
    bound: dict[str, set[str]] = defaultdict(set)
    for listed in waiting.values():
        for other in listed.keys() - set(mine):
            bound[other] |= {r for r in mine if r in listed and listed[r] != listed[other]}
    held = {other: frozenset(found) for other, found in bound.items() if found}
    return Apart(
        groups=own,
        bound=held,
        others=frozenset(PersonId(owners[other]) for other in held if other in owners),
    )
