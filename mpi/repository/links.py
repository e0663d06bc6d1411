"""Persons, the links of records to them, and the decisions that open and close links."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, String, and_, bindparam, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.ids import PersonId, SourceRecordId
from mpi import tables
from mpi.model import Counts, LinkState, PersonStatus, TaskState

#: Ids in one IN list.
CHUNK = 500

_link, _person = tables.identity_link, tables.person
_IS_OPEN = _link.c.valid_to_us.is_(None)
_EVER = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A record's belonging to a person, now or once.

    Attributes:
        decision_id: whose effect it is; a link that was restored carries the decision that
            made it first.
        closed_by: the decision that ended it; None while it holds.
        restores: the link that an undo opened again with this one; None for a new one.
        valid_from_us, valid_to_us: since when, and until before when; None while it holds.
    """

    id: int
    record_id: SourceRecordId
    person_id: PersonId
    decision_id: int
    closed_by: int | None
    state: LinkState
    bits: float | None
    grade: str | None
    valid_from_us: int
    valid_to_us: int | None
    restores: int | None

    @property
    def first_id(self) -> int:
        """The link that this one is, however often it was closed and opened again."""
        return self.restores or self.id


async def links_of_records(conn: AsyncConnection, records: Collection[str]) -> list[Link]:
    """The open links of these records."""
    found: list[Link] = []
    wanted = list(records)
    for start in range(0, len(wanted), CHUNK):
        chunk = wanted[start : start + CHUNK]
        found += await _open_links(conn, _link.c.record_id.in_(chunk))
    return found


_LINKS = select(
    _link.c.id,
    _link.c.record_id,
    _link.c.person_id,
    _link.c.decision_id,
    _link.c.closed_by,
    _link.c.state,
    _link.c.bits,
    _link.c.grade,
    _link.c.valid_from_us,
    _link.c.valid_to_us,
    _link.c.restores,
    # Ids of two processes may be a moment out of order; the times of a record never are.
).order_by(_link.c.valid_from_us, func.coalesce(_link.c.valid_to_us, _EVER), _link.c.id)
# Built once: every message runs it.
_HELD = _LINKS.where(
    _link.c.record_id.in_(bindparam("records", type_=String, expanding=True)), _IS_OPEN
).with_for_update(read=True)
#: Looks for a link that find nothing, before the record counts as unknown: each may have met
#: another move of the record.
_PATIENCE = 4


async def held_links(conn: AsyncConnection, records: Collection[str]) -> list[Link]:
    """The open links of these records, kept open until the commit.

    SQLite has one writer. On PostgreSQL a record that another is moving is waited for; its old
    link is then closed, and a second look finds the new one: so nothing found says nothing yet.
    """
    found: list[Link] = []
    missing, looks_in_vain = set(records), 0
    while missing and looks_in_vain < _PATIENCE:
        more = _made(await conn.execute(_HELD, {"records": sorted(missing)}))
        looks_in_vain = 0 if more else looks_in_vain + 1
        found += more
        missing -= {link.record_id for link in more}
    return found


async def links_of_person(conn: AsyncConnection, person_id: str) -> list[Link]:
    """The open links of a person."""
    return await _open_links(conn, _link.c.person_id == person_id)


async def closed_by(conn: AsyncConnection, decision_id: int) -> list[Link]:
    """The links that a decision ended, in the order they were made."""
    return await _links(conn, _link.c.closed_by == decision_id)


async def history(conn: AsyncConnection, records: Collection[str]) -> dict[str, list[Link]]:
    """Every link each of these records ever had, oldest first."""
    found: dict[str, list[Link]] = defaultdict(list)
    wanted = list(records)
    for start in range(0, len(wanted), CHUNK):
        for link in await _links(conn, _link.c.record_id.in_(wanted[start : start + CHUNK])):
            found[link.record_id].append(link)
    return found


async def _open_links(conn: AsyncConnection, condition: Any) -> list[Link]:
    return await _links(conn, and_(condition, _IS_OPEN))


async def _links(conn: AsyncConnection, condition: Any) -> list[Link]:
    return _made(await conn.execute(_LINKS.where(condition)))


def _made(rows: Iterable[Row[Any]]) -> list[Link]:
    return [
        Link(
            id=row.id,
            record_id=SourceRecordId(row.record_id),
            person_id=PersonId(row.person_id),
            decision_id=row.decision_id,
            closed_by=row.closed_by,
            state=LinkState(row.state),
            bits=row.bits,
            grade=row.grade,
            valid_from_us=row.valid_from_us,
            valid_to_us=row.valid_to_us,
            restores=row.restores,
        )
        for row in rows
    ]


async def close_links(
    conn: AsyncConnection, links: Iterable[Link], *, decision_id: int, now_us: int
) -> None:
    """End links; none before it began, whatever the clocks of two processes say."""
    ended = [{"b_link": o.id, "b_to": max(now_us, o.valid_from_us)} for o in links]
    if ended:
        await conn.execute(_CLOSE.values(closed_by=decision_id), ended)


_CLOSE = (
    update(_link).where(_link.c.id == bindparam("b_link")).values(valid_to_us=bindparam("b_to"))
)


async def lock_persons(conn: AsyncConnection, persons: Collection[str]) -> None:
    """Lock the rows of these persons until the commit, in order of their ids.

    SQLite has one writer and locks nothing.
    """
    wanted = sorted(persons)
    query = select(_person.c.id).where(_person.c.id.in_(wanted)).order_by(_person.c.id)
    await conn.execute(query.with_for_update())


#: Built once: every search by patient asks it, and building takes longer than running.
_STATUS = select(_person.c.status, _person.c.redirect_to).where(_person.c.id == bindparam("person"))


async def person_status(conn: AsyncConnection, person_id: str) -> tuple[str, str | None] | None:
    """Status of a person and where it redirects; None for an unknown id."""
    row = (await conn.execute(_STATUS, {"person": person_id})).first()
    return (row.status, row.redirect_to) if row else None


async def set_person(
    conn: AsyncConnection, person_id: str, status: PersonStatus, *,
    redirect_to: str | None = None, ended_by: int | None = None,
) -> None:  # fmt: skip
    """End a person, or bring it back."""
    await conn.execute(
        update(_person)
        .where(_person.c.id == person_id)
        .values(status=status.value, redirect_to=redirect_to, ended_by=ended_by)
    )


async def decision_kind(conn: AsyncConnection, decision_id: int) -> str | None:
    """What a decision did; None for an unknown id."""
    decision = tables.identity_decision
    kind: str | None = await conn.scalar(
        select(decision.c.kind).where(decision.c.id == decision_id)
    )
    return kind


async def is_undone(conn: AsyncConnection, decision_id: int) -> bool:
    """Whether a decision was taken back, and that was not taken back in turn."""
    decision = tables.identity_decision
    rows = await conn.execute(select(decision.c.id).where(decision.c.inverse_of == decision_id))
    inverses = [row.id for row in rows]
    return any([not await is_undone(conn, inverse) for inverse in inverses])


async def denied(conn: AsyncConnection, records: Collection[str]) -> set[frozenset[str]]:
    """Pairs with one of these records that a steward holds apart."""
    assertion = tables.negative_assertion
    wanted = list(records)
    rows = await conn.execute(
        select(assertion.c.record_a, assertion.c.record_b).where(
            or_(assertion.c.record_a.in_(wanted), assertion.c.record_b.in_(wanted)),
            assertion.c.valid_to_us.is_(None),
        )
    )
    return {frozenset((a, b)) for a, b in rows}


async def end_assertions_between(
    conn: AsyncConnection,
    here: Collection[str],
    there: Collection[str],
    *,
    by: int,
    now_us: int,
) -> None:
    """End what was said against joining these records with those."""
    assertion = tables.negative_assertion
    a, b = list(here), list(there)
    await conn.execute(
        update(assertion)
        .where(
            or_(
                and_(assertion.c.record_a.in_(a), assertion.c.record_b.in_(b)),
                and_(assertion.c.record_a.in_(b), assertion.c.record_b.in_(a)),
            ),
            assertion.c.valid_to_us.is_(None),
        )
        .values(valid_to_us=now_us, closed_by=by)
    )


async def close_assertions(
    conn: AsyncConnection, decision_id: int, *, by: int, now_us: int
) -> None:
    """End the assertions that a decision made, and bring back those that it ended.

    What another decision has asserted of the same pair since holds, and is not said twice.
    """
    assertion = tables.negative_assertion
    await conn.execute(
        update(assertion)
        .where(assertion.c.decision_id == decision_id, assertion.c.valid_to_us.is_(None))
        .values(valid_to_us=now_us, closed_by=by)
    )
    since = assertion.alias("since")
    said = select(since.c.id).where(
        since.c.record_a == assertion.c.record_a,
        since.c.record_b == assertion.c.record_b,
        since.c.valid_to_us.is_(None),
    )
    await conn.execute(
        update(assertion)
        .where(assertion.c.closed_by == decision_id, ~said.exists())
        .values(valid_to_us=None, closed_by=None)
    )


async def counts(conn: AsyncConnection) -> Counts:
    """The index in figures."""
    records = await conn.scalar(
        select(func.count())
        .select_from(tables.source_record)
        .where(tables.source_record.c.is_active)
    )
    row = (
        await conn.execute(
            select(func.count(), func.count(_link.c.person_id.distinct())).where(_IS_OPEN)
        )
    ).one()
    task = tables.review_task
    open_tasks = await conn.execute(
        select(task.c.kind, func.count())
        .where(task.c.state != TaskState.CLOSED.value)
        .group_by(task.c.kind)
    )
    return Counts(
        records=records or 0,
        persons=row[1],
        links=row[0],
        open_tasks={kind: number for kind, number in open_tasks},  # noqa: C416 - rows
    )
