"""Decisions as stewards look back at them, and where records and persons stood at a time."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, or_, select, text, union
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.ids import PersonId, SourceRecordId
from mpi import tables

#: Ids in one IN list.
CHUNK = 500
_decision, _link, _person = tables.identity_decision, tables.identity_link, tables.person
_task, _apart = tables.review_task, tables.negative_assertion
#: As the partial index of decisions by stewards says it, so that it is used.
_BY_STEWARD = text("identity_decision.actor LIKE 'steward:%'")


@dataclass(frozen=True, slots=True, kw_only=True)
class PastDecision:
    """A decision as stored; `explanation` is sealed under the key `key_id`.

    Attributes:
        inverse_of: the decision that this one took back.
        inverses: the decisions that took this one back, oldest first.
    """

    id: int
    at_us: int
    kind: str
    actor: str
    on_behalf_of: str | None
    reason: str
    message_id: int | None
    model_version: str | None
    key_id: int | None
    explanation: bytes | None
    inverse_of: int | None
    batch_id: int | None
    inverses: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PastLink:
    """A record's belonging to a person, with its time."""

    record_id: SourceRecordId
    person_id: PersonId
    valid_from_us: int
    valid_to_us: int | None
    decision_id: int
    closed_by: int | None
    state: str
    bits: float | None
    grade: str | None
    model_version: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonRow:
    """A person's own row.

    Attributes:
        redirect_to: the person it was merged into.
        ended_by: the decision that did.
    """

    id: PersonId
    created_us: int
    status: str
    redirect_to: str | None
    ended_by: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """Two records that a decision holds apart."""

    record_a: str
    record_b: str
    valid_from_us: int
    decision_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """A model that decides, with what was measured of it."""

    version: str
    content_hash: str
    trained_on: str | None
    metrics: str | None
    active_from_us: int


_COLUMNS = (
    _decision.c.id,
    _decision.c.at_us,
    _decision.c.kind,
    _decision.c.actor,
    _decision.c.on_behalf_of,
    _decision.c.reason,
    _decision.c.message_id,
    _decision.c.model_version,
    _decision.c.key_id,
    _decision.c.explanation,
    _decision.c.inverse_of,
    _decision.c.batch_id,
)


async def decision(conn: AsyncConnection, decision_id: int) -> PastDecision | None:
    """One decision."""
    found = await _decisions(conn, select(*_COLUMNS).where(_decision.c.id == decision_id))
    return found[0] if found else None


async def of_records(
    conn: AsyncConnection, records: Collection[str], *, before: int | None, limit: int
) -> list[PastDecision]:
    """What was decided about records, the newest first.

    Args:
        conn: open connection.
        records: at most `CHUNK` of them count.
        before: only decisions older than this one.
        limit: at most so many.
    """
    wanted = list(records)[:CHUNK]
    ids = union(
        select(_link.c.decision_id).where(_link.c.record_id.in_(wanted)),
        select(_link.c.closed_by).where(_link.c.record_id.in_(wanted)),
        select(_task.c.opened_by).where(_task.c.record_id.in_(wanted)),
        select(_task.c.closed_by).where(_task.c.record_id.in_(wanted)),
        select(_apart.c.decision_id).where(
            or_(_apart.c.record_a.in_(wanted), _apart.c.record_b.in_(wanted))
        ),
    ).subquery()
    query = select(*_COLUMNS).where(_decision.c.id.in_(select(ids.c[0])))
    return await _newest(conn, query, before, limit)


async def by_stewards(
    conn: AsyncConnection, *, before: int | None, limit: int, actor: str = ""
) -> list[PastDecision]:
    """What stewards decided, the newest first; what one of them did where `actor` is given."""
    query = select(*_COLUMNS).where(_BY_STEWARD)
    if actor:
        query = query.where(_decision.c.actor == actor)
    return await _newest(conn, query, before, limit)


async def of_batch(conn: AsyncConnection, batch_id: int) -> list[PastDecision]:
    """The decisions of a batch, oldest first."""
    query = select(*_COLUMNS).where(_decision.c.batch_id == batch_id)
    return await _decisions(conn, query.order_by(_decision.c.id))


async def links_of(conn: AsyncConnection, record_id: str) -> list[PastLink]:
    """Every link a record ever had, oldest first."""
    query = select(*_LINK).where(_link.c.record_id == record_id).order_by(_link.c.id)
    return [_past_link(row) for row in (await conn.execute(query)).mappings()]


async def links_at(
    conn: AsyncConnection, person_id: str, at_us: int | None = None
) -> list[PastLink]:
    """The links of a person that hold, or that held at a time."""
    query = select(*_LINK).where(_link.c.person_id == person_id).order_by(_link.c.id)
    if at_us is None:
        query = query.where(_link.c.valid_to_us.is_(None))
    else:
        held = or_(_link.c.valid_to_us.is_(None), _link.c.valid_to_us > at_us)
        query = query.where(_link.c.valid_from_us <= at_us, held)
    return [_past_link(row) for row in (await conn.execute(query)).mappings()]


async def ever_of(conn: AsyncConnection, person_id: str) -> list[str]:
    """The records that a person has or had, in the order they were first linked."""
    rows = await conn.execute(
        select(_link.c.record_id).where(_link.c.person_id == person_id).order_by(_link.c.id)
    )
    return list(dict.fromkeys(row.record_id for row in rows))


async def links_of_decision(conn: AsyncConnection, decision_id: int) -> list[PastLink]:
    """The links that a decision made or ended."""
    made = or_(_link.c.decision_id == decision_id, _link.c.closed_by == decision_id)
    rows = await conn.execute(select(*_LINK).where(made).order_by(_link.c.id))
    return [_past_link(row) for row in rows.mappings()]


async def person(conn: AsyncConnection, person_id: str) -> PersonRow | None:
    """A person's row."""
    found = await _persons(conn, _person.c.id == person_id)
    return found[0] if found else None


async def merged_into(conn: AsyncConnection, person_id: str) -> list[PersonRow]:
    """The persons whose ids redirect to this one."""
    return await _persons(conn, _person.c.redirect_to == person_id)


async def held_apart(conn: AsyncConnection, records: Collection[str]) -> list[Apart]:
    """What holds these records apart from others now."""
    wanted = list(records)[:CHUNK]
    rows = await conn.execute(
        select(
            _apart.c.record_a, _apart.c.record_b, _apart.c.valid_from_us, _apart.c.decision_id
        ).where(
            or_(_apart.c.record_a.in_(wanted), _apart.c.record_b.in_(wanted)),
            _apart.c.valid_to_us.is_(None),
        )
    )
    return [Apart(**row) for row in rows.mappings()]


async def with_identifier(conn: AsyncConnection, value_hash: str, limit: int) -> list[str]:
    """The records that carry an identifier now, by its keyed hash."""
    xref = tables.identifier_xref
    rows = await conn.execute(
        select(xref.c.record_id)
        .where(xref.c.value_hash == value_hash, xref.c.valid_to_us.is_(None))
        .distinct()
        .limit(limit)
    )
    return [row.record_id for row in rows]


async def model_in_use(conn: AsyncConnection) -> ModelRow | None:
    """The model that is active."""
    table = tables.model
    query = select(
        table.c.version,
        table.c.content_hash,
        table.c.trained_on,
        table.c.metrics,
        table.c.active_from_us,
    ).where(table.c.active_from_us.is_not(None), table.c.active_to_us.is_(None))
    newest = query.order_by(table.c.active_from_us.desc()).limit(1)
    row = (await conn.execute(newest)).mappings().first()
    return ModelRow(**row) if row else None


_LINK = (
    _link.c.record_id,
    _link.c.person_id,
    _link.c.valid_from_us,
    _link.c.valid_to_us,
    _link.c.decision_id,
    _link.c.closed_by,
    _link.c.state,
    _link.c.bits,
    _link.c.grade,
    _link.c.model_version,
)


def _past_link(row: Any) -> PastLink:
    return PastLink(**row)


async def _persons(conn: AsyncConnection, condition: Any) -> list[PersonRow]:
    rows = await conn.execute(
        select(
            _person.c.id,
            _person.c.created_us,
            _person.c.status,
            _person.c.redirect_to,
            _person.c.ended_by,
        ).where(condition)
    )
    return [PersonRow(**row) for row in rows.mappings()]


async def _newest(
    conn: AsyncConnection, query: Select[Any], before: int | None, limit: int
) -> list[PastDecision]:
    if before is not None:
        query = query.where(_decision.c.id < before)
    return await _decisions(conn, query.order_by(_decision.c.id.desc()).limit(limit))


async def _decisions(conn: AsyncConnection, query: Select[Any]) -> list[PastDecision]:
    rows = (await conn.execute(query)).mappings().all()
    ids = [row["id"] for row in rows]
    inverses: dict[int, list[int]] = {}
    for start in range(0, len(ids), CHUNK):
        taken_back = await conn.execute(
            select(_decision.c.inverse_of, _decision.c.id)
            .where(_decision.c.inverse_of.in_(ids[start : start + CHUNK]))
            .order_by(_decision.c.id)
        )
        for undone, by in taken_back:
            inverses.setdefault(undone, []).append(by)
    return [PastDecision(**row, inverses=tuple(inverses.get(row["id"], ()))) for row in rows]
