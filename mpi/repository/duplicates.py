"""Persons that share blocking keys, pairs of them that wait to be asked about, open questions."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import and_, delete, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.ids import PersonId
from mpi import tables
from mpi.model import PersonStatus, TaskKind, TaskState

#: Ids in one IN list.
CHUNK = 500

_link, _block, _pair = tables.identity_link, tables.block_key, tables.duplicate_pair
_task, _candidate = tables.review_task, tables.review_candidate
_IS_OPEN = _link.c.valid_to_us.is_(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two persons that may be one; `one` < `other`."""

    one: PersonId
    other: PersonId
    bits: float
    kind: TaskKind


async def persons_after(conn: AsyncConnection, after: str, limit: int) -> list[PersonId]:
    """The next active persons by id."""
    person = tables.person
    rows = await conn.execute(
        select(person.c.id)
        .where(person.c.id > after, person.c.status == PersonStatus.ACTIVE.value)
        .order_by(person.c.id)
        .limit(limit)
    )
    return [PersonId(row.id) for row in rows]


async def neighbours(
    conn: AsyncConnection, persons: Sequence[str], most: int
) -> dict[PersonId, list[PersonId]]:
    """Per person those of a greater id that share a blocking key, the most keys first.

    Every pair is met once: from the person with the smaller id.
    """
    here, there = _link.alias("here"), _link.alias("there")
    mine, theirs = _block.alias("mine"), _block.alias("theirs")
    rows = await conn.execute(
        select(
            here.c.person_id.label("one"),
            there.c.person_id.label("other"),
            func.count(mine.c.key.distinct()).label("keys"),
        )
        .join(mine, mine.c.record_id == here.c.record_id)
        .join(theirs, theirs.c.key == mine.c.key)
        .join(
            there,
            and_(there.c.record_id == theirs.c.record_id, there.c.valid_to_us.is_(None)),
        )
        .where(
            here.c.valid_to_us.is_(None),
            here.c.person_id.in_(list(persons)),
            there.c.person_id > here.c.person_id,
        )
        .group_by(here.c.person_id, there.c.person_id)
    )
    found: dict[PersonId, list[tuple[int, PersonId]]] = defaultdict(list)
    for one, other, keys in rows:
        found[PersonId(one)].append((-keys, PersonId(other)))
    return {one: [other for _, other in sorted(of)[:most]] for one, of in found.items()}


async def holders(conn: AsyncConnection, keys: Collection[int]) -> dict[int, int]:
    """How many persons hold each of these keys."""
    found: dict[int, int] = {}
    wanted = list(keys)
    for start in range(0, len(wanted), CHUNK):
        rows = await conn.execute(
            select(_block.c.key, func.count(_link.c.person_id.distinct()))
            .join(_link, and_(_link.c.record_id == _block.c.record_id, _IS_OPEN))
            .where(_block.c.key.in_(wanted[start : start + CHUNK]))
            .group_by(_block.c.key)
        )
        found |= {key: persons for key, persons in rows}  # noqa: C416 - rows
    return found


async def asked_already(
    conn: AsyncConnection, persons: Collection[str]
) -> set[frozenset[PersonId]]:
    """Pairs with one of these persons that an open task asks about."""
    found: set[frozenset[PersonId]] = set()
    wanted = list(persons)
    for start in range(0, len(wanted), CHUNK):
        chunk = wanted[start : start + CHUNK]
        rows = await conn.execute(
            select(_task.c.person_id, _candidate.c.person_id.label("other"))
            .join(_candidate, _candidate.c.task_id == _task.c.id)
            .where(
                _task.c.state != TaskState.CLOSED.value,
                or_(_task.c.person_id.in_(chunk), _candidate.c.person_id.in_(chunk)),
            )
        )
        found |= {frozenset((PersonId(one), PersonId(other))) for one, other in rows}
    return found


async def replace(
    conn: AsyncConnection, persons: Collection[str], found: Sequence[Pair], *, now_us: int
) -> None:
    """Let these be the pairs that wait, of those found from these persons."""
    wanted = list(persons)
    for start in range(0, len(wanted), CHUNK):
        await conn.execute(delete(_pair).where(_pair.c.person_a.in_(wanted[start : start + CHUNK])))
    if found:
        rows = [
            {
                "person_a": pair.one,
                "person_b": pair.other,
                "bits": pair.bits,
                "kind": pair.kind.value,
                "found_us": now_us,
            }
            for pair in found
        ]
        await conn.execute(insert(_pair), rows)


async def strongest(conn: AsyncConnection, limit: int) -> list[Pair]:
    """The pairs that wait, those with most bits first."""
    rows = await conn.execute(
        select(_pair).order_by(_pair.c.bits.desc(), _pair.c.person_a, _pair.c.person_b).limit(limit)
    )
    return [
        Pair(
            one=PersonId(row.person_a),
            other=PersonId(row.person_b),
            bits=row.bits,
            kind=TaskKind(row.kind),
        )
        for row in rows
    ]


async def waiting(conn: AsyncConnection) -> int:
    """How many pairs wait to be asked about."""
    return int(await conn.scalar(select(func.count()).select_from(_pair)) or 0)


async def drop(conn: AsyncConnection, pair: Pair) -> None:
    """A pair waits no more."""
    await conn.execute(
        delete(_pair).where(_pair.c.person_a == pair.one, _pair.c.person_b == pair.other)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An open task, as far as it can be checked whether it still arises."""

    id: int
    kind: TaskKind
    record_id: str | None
    person_id: PersonId
    candidates: tuple[PersonId, ...] = ()


async def open_tasks(
    conn: AsyncConnection, kinds: Collection[TaskKind], *, after: int, limit: int
) -> list[Asked]:
    """The next open tasks of these kinds, by id."""
    rows = list(
        await conn.execute(
            select(_task.c.id, _task.c.kind, _task.c.record_id, _task.c.person_id)
            .where(
                _task.c.id > after,
                _task.c.state != TaskState.CLOSED.value,
                _task.c.kind.in_([kind.value for kind in kinds]),
            )
            .order_by(_task.c.id)
            .limit(limit)
        )
    )
    proposed = await _proposed(conn, [row.id for row in rows])
    return [
        Asked(
            id=row.id,
            kind=TaskKind(row.kind),
            record_id=row.record_id,
            person_id=PersonId(row.person_id),
            candidates=tuple(proposed[row.id]),
        )
        for row in rows
    ]


async def _proposed(conn: AsyncConnection, tasks: Sequence[int]) -> Mapping[int, list[PersonId]]:
    found: dict[int, list[PersonId]] = defaultdict(list)
    rows = await conn.execute(
        select(_candidate.c.task_id, _candidate.c.person_id)
        .where(_candidate.c.task_id.in_(list(tasks)))
        .order_by(_candidate.c.task_id, _candidate.c.person_id)
    )
    for task_id, person_id in rows:
        found[task_id].append(PersonId(person_id))
    return found
