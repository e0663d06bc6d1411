"""Linkage models on record, and the decisions which of them decides."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from sqlalchemy import and_, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.ids import SourceRecordId
from mpi import tables
from mpi.model import Member
from mpi.repository.member import COLUMNS, member_of

#: Records read at a time.
PAGE = 1_000

_model, _choice = tables.model, tables.model_choice
_record, _link = tables.source_record, tables.identity_link


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel:
    """A model on record.

    Attributes:
        trained_on, metrics: JSON; None for a model that was written by hand.
        active_from_us, active_to_us: when it last decided; None for never, and for "still".
    """

    id: int
    version: str
    content_hash: str
    body: str
    trained_on: str | None
    metrics: str | None
    active_from_us: int | None
    active_to_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Who let which model decide, and why; without a model, that of `config/mpi`."""

    id: int
    at_us: int
    model_id: int | None
    version: str | None
    actor: str
    reason: str
    findings: str


_STORED = (
    _model.c.id,
    _model.c.version,
    _model.c.content_hash,
    _model.c.body,
    _model.c.trained_on,
    _model.c.metrics,
    _model.c.active_from_us,
    _model.c.active_to_us,
)


async def all_models(conn: AsyncConnection) -> list[StoredModel]:
    """Every model, the newest first."""
    rows = await conn.execute(select(*_STORED).order_by(_model.c.id.desc()))
    return [StoredModel(**row) for row in rows.mappings()]


async def named(conn: AsyncConnection, version: str) -> list[StoredModel]:
    """The models of a version, the newest first."""
    query = select(*_STORED).where(_model.c.version == version).order_by(_model.c.id.desc())
    return [StoredModel(**row) for row in (await conn.execute(query)).mappings()]


async def by_id(conn: AsyncConnection, model_id: int) -> StoredModel | None:
    """One model."""
    rows = await conn.execute(select(*_STORED).where(_model.c.id == model_id))
    row = rows.mappings().first()
    return StoredModel(**row) if row else None


async def by_content(conn: AsyncConnection, version: str, content_hash: str) -> StoredModel | None:
    """The model of this very content."""
    query = select(*_STORED).where(
        _model.c.version == version, _model.c.content_hash == content_hash
    )
    row = (await conn.execute(query)).mappings().first()
    return StoredModel(**row) if row else None


async def begin(conn: AsyncConnection, model_id: int, *, now_us: int) -> None:
    """This model decides from now on, and no other."""
    await conn.execute(
        update(_model)
        .where(_model.c.active_from_us.is_not(None), _model.c.active_to_us.is_(None))
        .values(active_to_us=now_us)
    )
    await conn.execute(
        update(_model)
        .where(_model.c.id == model_id)
        .values(active_from_us=now_us, active_to_us=None)
    )


async def choices(conn: AsyncConnection, limit: int) -> list[Choice]:
    """The decisions which model decides, the newest first."""
    rows = await conn.execute(
        select(
            _choice.c.id,
            _choice.c.at_us,
            _choice.c.model_id,
            _model.c.version,
            _choice.c.actor,
            _choice.c.reason,
            _choice.c.findings,
        )
        .outerjoin(_model, _model.c.id == _choice.c.model_id)
        .order_by(_choice.c.id.desc())
        .limit(limit)
    )
    return [Choice(**row) for row in rows.mappings()]


async def newest_choice(conn: AsyncConnection) -> tuple[int, int | None] | None:
    """The number of the choice that holds, and its model."""
    row = (
        await conn.execute(
            select(_choice.c.id, _choice.c.model_id).order_by(_choice.c.id.desc()).limit(1)
        )
    ).first()
    return (row[0], row[1]) if row else None


async def record_ids(conn: AsyncConnection) -> list[SourceRecordId]:
    """Every active record that has demographics, in order."""
    rows = await conn.execute(
        select(_record.c.id)
        .where(_record.c.is_active, _record.c.norm.is_not(None))
        .order_by(_record.c.id)
    )
    return [SourceRecordId(row[0]) for row in rows]


async def linked_records(conn: AsyncConnection) -> AsyncIterator[list[Member]]:
    """Every active record with its person, page by page."""
    last = ""
    while True:
        rows = await conn.execute(_PAGE, {"after": last})
        page = [*map(member_of, rows)]
        if not page:
            return
        yield page
        last = page[-1].record_id


_PAGE = (
    select(*COLUMNS)
    .join(_link, and_(_link.c.record_id == _record.c.id, _link.c.valid_to_us.is_(None)))
    .where(_record.c.id > bindparam("after"), _record.c.is_active, _record.c.norm.is_not(None))
    .order_by(_record.c.id)
    .limit(PAGE)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A decision's explanation, still sealed under the key `key_id`."""

    id: int
    key_id: int
    explanation: bytes


async def newest_explanations(
    conn: AsyncConnection, kind: str, version: str, limit: int
) -> list[Explained]:
    """The explanations of the newest decisions of a kind by a model and no human, newest first."""
    decision = tables.identity_decision
    rows = await conn.execute(
        select(decision.c.id, decision.c.key_id, decision.c.explanation)
        .where(
            decision.c.kind == kind,
            decision.c.model_version == version,
            decision.c.actor.not_like("steward:%"),
            decision.c.explanation.is_not(None),
            decision.c.key_id.is_not(None),
        )
        .order_by(decision.c.id.desc())
        .limit(limit)
    )
    return [Explained(id=i, key_id=k, explanation=e) for i, k, e in rows]
