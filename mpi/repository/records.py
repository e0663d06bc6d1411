"""Source records, their identifiers, and the blocking keys that find them."""

from collections.abc import Collection, Mapping
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import and_, bindparam, delete, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.ids import PersonId, SourceId, SourceRecordId
from mpi import tables
from mpi.model import LinkState, Member, Record
from mpi.repository.member import COLUMNS, member_of

#: Ids in one IN list.
CHUNK = 500
#: How far a chain of merges is followed.
LONGEST_CHAIN = 64

_link, _record = tables.identity_link, tables.source_record
_IS_OPEN = _link.c.valid_to_us.is_(None)


class Entry(NamedTuple):
    """A record under a blocking key, with its person; a tuple, because full keys give 1,500."""

    key: int
    record_id: SourceRecordId
    person_id: PersonId


async def find_record(conn: AsyncConnection, record_id: str) -> Record | None:
    """A source record with its open link."""
    rows = await conn.execute(_RECORD, {"record": record_id})
    row = rows.first()
    return _as_record(row) if row else None


async def survivor_of(conn: AsyncConnection, record: Record) -> tuple[Record, frozenset[str]]:
    """The record that stands for this one after the source's merges, and the ids passed."""
    passed = {record.record_id}
    while record.replaced_by and record.replaced_by not in passed and len(passed) < LONGEST_CHAIN:
        following = await find_record(conn, record.replaced_by)
        if following is None:
            break
        record = following
        passed.add(record.record_id)
    return record, frozenset(passed)


_RECORD = select(
    _record.c.id,
    _record.c.source_id,
    _record.c.version,
    _record.c.content_hash,
    _record.c.norm_version,
    _record.c.is_active,
    _record.c.key_id,
    _record.c.norm,
    _record.c.replaced_by,
    _record.c.held_hash,
    _link.c.person_id,
    _link.c.state,
    _link.c.id.label("link_id"),
    _link.c.bits,
    _link.c.grade,
)
_RECORD = _RECORD.outerjoin(_link, and_(_link.c.record_id == _record.c.id, _IS_OPEN)).where(
    _record.c.id == bindparam("record")
)


def _as_record(row: Any) -> Record:
    return Record(
        record_id=SourceRecordId(row.id),
        source_id=SourceId(row.source_id),
        version=row.version,
        content_hash=row.content_hash,
        norm_version=row.norm_version,
        is_active=row.is_active,
        key_id=row.key_id,
        norm=row.norm or b"",
        replaced_by=SourceRecordId(row.replaced_by) if row.replaced_by else None,
        person_id=PersonId(row.person_id) if row.person_id else None,
        state=LinkState(row.state) if row.state else None,
        link_id=row.link_id,
        bits=row.bits,
        grade=row.grade,
        held_hash=row.held_hash,
    )


async def message_of(conn: AsyncConnection, record_id: str) -> int | None:
    """The message that a record's demographics came with."""
    found: int | None = await conn.scalar(
        select(_record.c.message_id).where(_record.c.id == record_id)
    )
    return found


async def update_record(conn: AsyncConnection, record_id: str, **values: Any) -> None:
    """Change columns of a source record."""
    await conn.execute(update(_record).where(_record.c.id == record_id).values(**values))


async def record_with_identifier(
    conn: AsyncConnection, source_id: str, value_hash: str, *, besides: str = ""
) -> SourceRecordId | None:
    """The record of a source that carries an identifier now; the newest of several.

    Args:
        conn: open connection.
        source_id: the source.
        value_hash: keyed hash of the identifier.
        besides: a record that is not meant.
    """
    xref = tables.identifier_xref
    found = await conn.scalar(
        select(xref.c.record_id)
        .where(
            xref.c.value_hash == value_hash,
            xref.c.source_id == source_id,
            xref.c.record_id != besides,
            xref.c.valid_to_us.is_(None),
        )
        .order_by(xref.c.id.desc())
        .limit(1)
    )
    return SourceRecordId(found) if found else None


async def close_xrefs(
    conn: AsyncConnection, record_id: str, *, now_us: int, replaced_by: str | None = None
) -> None:
    """End the identifiers of a record."""
    xref = tables.identifier_xref
    await conn.execute(
        update(xref)
        .where(xref.c.record_id == record_id, xref.c.valid_to_us.is_(None))
        .values(valid_to_us=now_us, replaced_by=replaced_by)
    )


async def retire(conn: AsyncConnection, record_id: str, *, survivor: str, now_us: int) -> None:
    """A source merged a record into another: its identifiers end."""
    await update_record(conn, record_id, is_active=False, replaced_by=survivor)
    await close_xrefs(conn, record_id, now_us=now_us, replaced_by=survivor)


async def forget_record(conn: AsyncConnection, record_id: str) -> None:
    """Take the row of a number away that was retired before anybody sent it."""
    await conn.execute(delete(_record).where(_record.c.id == record_id, _record.c.version == 0))


async def reopen_xrefs(conn: AsyncConnection, record_id: str, *, replaced_by: str) -> None:
    """Let the identifiers of a record count again that ended when it was retired."""
    xref = tables.identifier_xref
    await conn.execute(
        update(xref)
        .where(xref.c.record_id == record_id, xref.c.replaced_by == replaced_by)
        .values(valid_to_us=None, replaced_by=None)
    )


async def entries(conn: AsyncConnection, keys: Collection[int]) -> list[Entry]:
    """Every record under one of these keys."""
    if conn.dialect.name == "sqlite":
        found = await conn.exec_driver_sql(_entries_sqlite(len(keys)), tuple(keys))
    else:
        found = await conn.execute(_ENTRIES, {"keys": list(keys)})
    rows: list[Any] = list(found)
    return [Entry(*row) for row in rows]


#: One statement whatever the number of keys, so that it is planned once; and in one order
#: whatever the planner believes: it takes the open links of a young database for a handful, and
#: would go through all of them.
_ENTRIES = text(
    "SELECT found.key, found.record_id, own.person_id "
    "FROM block_key found CROSS JOIN LATERAL ("
    "SELECT person_id FROM identity_link WHERE record_id = found.record_id "
    "AND valid_to_us IS NULL LIMIT 1) own "
    "WHERE found.key = ANY(CAST(:keys AS bigint[]))"
)


@cache
def _entries_sqlite(count: int) -> str:
    # SQLite prefers the unique index, which says that there is one row but not whose it is.
    marks = ", ".join("?" * count)
    return (
        "SELECT block_key.key, block_key.record_id, identity_link.person_id "  # noqa: S608 - marks
        "FROM block_key JOIN identity_link INDEXED BY ix_identity_link_current "
        "ON identity_link.record_id = block_key.record_id AND identity_link.valid_to_us IS NULL "
        f"WHERE block_key.key IN ({marks})"
    )


async def drop_keys(conn: AsyncConnection, record_id: str) -> None:
    """Take a record out of every blocking key."""
    block = tables.block_key
    await conn.execute(delete(block).where(block.c.record_id == record_id))


async def count_refused(conn: AsyncConnection, refused: Mapping[int, str], *, now_us: int) -> None:
    """Count records that found no room under a key; `refused` gives each key's kind."""
    dialect = postgresql if conn.dialect.name == "postgresql" else sqlite
    stat = tables.block_stat
    for key, spec in refused.items():
        insert = dialect.insert(stat).values(key=key, spec=spec, refused=1, first_us=now_us)
        await conn.execute(
            insert.on_conflict_do_update(
                index_elements=["key"], set_={"refused": stat.c.refused + 1}
            )
        )


async def members(conn: AsyncConnection, persons: Collection[str]) -> list[Member]:
    """Every record of these persons, in the order they were linked."""
    found: list[Member] = []
    wanted = list(persons)
    for start in range(0, len(wanted), CHUNK):
        rows = await conn.execute(_MEMBERS, {"persons": wanted[start : start + CHUNK]})
        found += map(member_of, rows)
    return found


_MEMBERS = (
    select(*COLUMNS)
    .join(_link, and_(_link.c.record_id == _record.c.id, _IS_OPEN))
    .where(_link.c.person_id.in_(bindparam("persons", expanding=True)))
    .order_by(_link.c.id)
)
