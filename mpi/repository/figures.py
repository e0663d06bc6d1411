"""The index in figures: doubts, outcomes, decisions of stewards, keys that are full.

Every statement reads by an index or reads few rows; none opens a record.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, case, delete, func, select, text, union
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.clock import SECOND_US
from mpi import tables
from mpi.model import DecisionKind, PersonStatus, TaskKind, TaskState

DAY_US = 86_400 * SECOND_US
#: Questions that doubt whether two persons are one: a possible duplicate pair each.
DUPLICATE_KINDS = (
    TaskKind.POSSIBLE,
    TaskKind.MARGIN,
    TaskKind.TWIN,
    TaskKind.DUPLICATE_PERSON,
    TaskKind.SOURCE_LINK,
    TaskKind.SOURCE_CONFLICT,
)
#: Open tasks whose age is looked at; with more of them the figure is of the most urgent.
MOST_AGES = 100_000
#: Bits of a primary key below the milliseconds (`hie.db.KeySource`).
_KEY_BITS = 21
_decision, _link, _task = tables.identity_decision, tables.identity_link, tables.review_task
_candidate, _day = tables.review_candidate, tables.identity_day
_IS_OPEN = _link.c.valid_to_us.is_(None)
_BY_STEWARD = text("identity_decision.actor LIKE 'steward:%'")
_SOURCE = "source:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubts:
    """Possible duplicates among the records that belong to somebody.

    Attributes:
        records, persons: all of them.
        pairs: open questions, one per person proposed.
        doubted_records, doubted_persons: those in such a pair.
    """

    records: int
    persons: int
    pairs: int
    doubted_records: int
    doubted_persons: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCount:
    """New records of a source on a day (since 1970, UTC): `auto`, `review` or `new`."""

    day: int
    source_id: str
    outcome: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FullKeys:
    """Blocking keys of one kind that are full, and how many records found no room there."""

    spec: str
    keys: int
    refused: int


async def doubts(conn: AsyncConnection) -> Doubts:
    """How many records are in a possible duplicate pair: AHIMA's numerator and denominator."""
    is_doubt = and_(
        _task.c.state != TaskState.CLOSED.value,
        _task.c.kind.in_([kind.value for kind in DUPLICATE_KINDS]),
    )
    proposed = select(_candidate.c.person_id).join(_task, _task.c.id == _candidate.c.task_id)
    doubted = union(
        select(_task.c.person_id).where(is_doubt, _task.c.id.in_(select(_candidate.c.task_id))),
        proposed.where(is_doubt),
    ).subquery()
    in_pair = _link.c.person_id.in_(select(doubted.c[0]))
    row = (
        await conn.execute(
            select(func.count(), func.count(_link.c.person_id.distinct())).where(_IS_OPEN, in_pair)
        )
    ).one()
    pairs = (
        select(func.count()).select_from(_candidate).join(_task, _task.c.id == _candidate.c.task_id)
    )
    active = tables.person.c.status == PersonStatus.ACTIVE.value
    persons = select(func.count()).select_from(tables.person).where(active)
    return Doubts(
        records=await conn.scalar(select(func.count()).select_from(_link).where(_IS_OPEN)) or 0,
        persons=await conn.scalar(persons) or 0,
        pairs=await conn.scalar(pairs.where(is_doubt)) or 0,
        doubted_records=row[0],
        doubted_persons=row[1],
    )


async def ages(conn: AsyncConnection) -> list[tuple[str, int]]:
    """Kind and time of opening of each open task."""
    rows = await conn.execute(
        select(_task.c.kind, _task.c.opened_us)
        .where(_task.c.state != TaskState.CLOSED.value)
        .order_by(_task.c.state, _task.c.priority, _task.c.opened_us)
        .limit(MOST_AGES)
    )
    return [(row.kind, row.opened_us) for row in rows]


async def count_day(conn: AsyncConnection, day: int) -> list[DayCount]:
    """What became of the records that were new on a day, by source."""
    outcome = case(
        (_decision.c.kind == DecisionKind.LINK.value, "auto"),
        (_decision.c.reason == "no-candidate", "new"),
        else_="review",
    ).label("outcome")
    rows = await conn.execute(
        select(_decision.c.on_behalf_of, outcome, func.count().label("number"))
        .where(
            _decision.c.at_us >= day * DAY_US,
            _decision.c.at_us < (day + 1) * DAY_US,
            _decision.c.kind.in_([DecisionKind.LINK.value, DecisionKind.NEW.value]),
        )
        .group_by(_decision.c.on_behalf_of, outcome)
    )
    return [
        DayCount(
            day=day,
            source_id=(row.on_behalf_of or "").removeprefix(_SOURCE),
            outcome=row.outcome,
            number=row.number,
        )
        for row in rows
    ]


async def keep_day(conn: AsyncConnection, day: int, counted: Collection[DayCount]) -> None:
    """Store a day's outcomes in place of those counted before."""
    await conn.execute(delete(_day).where(_day.c.day == day))
    rows = [
        {"day": c.day, "source_id": c.source_id, "outcome": c.outcome, "number": c.number}
        for c in counted
    ]
    if rows:
        await conn.execute(_day.insert(), rows)


async def days(conn: AsyncConnection, since: int) -> list[DayCount]:
    """The outcomes of every day from `since` on."""
    rows = await conn.execute(
        select(_day.c.day, _day.c.source_id, _day.c.outcome, _day.c.number).where(
            _day.c.day >= since
        )
    )
    return [DayCount(**row) for row in rows.mappings()]


async def decided(conn: AsyncConnection, since_us: int) -> Mapping[str, int]:
    """Decisions of stewards since a time, by kind; `undo` and `unmerge` take one back."""
    rows = await conn.execute(
        select(_decision.c.kind, func.count())
        .where(_BY_STEWARD, _since(since_us))
        .group_by(_decision.c.kind)
    )
    return {kind: number for kind, number in rows}  # noqa: C416 - rows


async def answer_times(conn: AsyncConnection, since_us: int) -> list[int]:
    """Microseconds from question to answer of the tasks that stewards closed since a time."""
    rows = await conn.execute(
        select((_task.c.closed_us - _task.c.opened_us).label("waited"))
        .join(_decision, _decision.c.id == _task.c.closed_by)
        .where(_BY_STEWARD, _since(since_us))
        .limit(MOST_AGES)
    )
    return [row.waited for row in rows]


async def full_keys(conn: AsyncConnection) -> list[FullKeys]:
    """Blocking keys without room, by kind."""
    stat = tables.block_stat
    rows = await conn.execute(
        select(stat.c.spec, func.count().label("keys"), func.sum(stat.c.refused).label("refused"))
        .group_by(stat.c.spec)
        .order_by(stat.c.spec)
    )
    return [FullKeys(spec=r.spec, keys=r.keys, refused=int(r.refused)) for r in rows]


def _since(since_us: int) -> ColumnElement[bool]:
    # Keys are in order of time: the newest are read, not all that stewards ever decided.
    first_key = (since_us // 1000) << _KEY_BITS
    return _decision.c.id >= first_key
