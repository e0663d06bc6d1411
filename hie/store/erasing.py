"""What is stored of source records, counted and taken out of the database for good.

Unlike a deletion by its source, which is a version like any other, nothing is left to go back
to. Only `hie.flow.erasure` uses this file, in its open transaction.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import and_, delete, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.store.index import SearchIndex
from hie.store.rows import INDEX_TABLES
from hie.store.tables import (
    compartment,
    resource,
    resource_log,
    resource_redirect,
    resource_version,
    source_alias,
)

_CHUNK: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Resources filed under some records: their keys in the table, types and ids."""

    rows: tuple[tuple[int, int, str], ...]

    @property
    def pks(self) -> list[int]:
        """Their primary keys."""
        return [pk for pk, _, _ in self.rows]


class StoredRecords:
    """Counts and erases what is filed under source records."""

    def __init__(self, index: SearchIndex) -> None:
        self._index = index

    async def held(self, conn: AsyncConnection, records: Sequence[str]) -> Held:
        """Every resource of the records, deleted ones too."""
        query = select(resource.c.pk, resource.c.type_id, resource.c.id)
        rows = await conn.execute(query.where(resource.c.source_record_id.in_(records)))
        return Held(rows=tuple((pk, kind, key) for pk, kind, key in rows))

    async def named(self, conn: AsyncConnection, kind: str, ids: Sequence[str]) -> Held:
        """Resources of one type by their ids, whosesoever they are."""
        found = (resource.c.type_id == self._index.type_id(kind)) & resource.c.id.in_(ids)
        query = select(resource.c.pk, resource.c.type_id, resource.c.id).where(found)
        return Held(rows=tuple((pk, each, key) for pk, each, key in await conn.execute(query)))

    async def messages(self, conn: AsyncConnection, held: Held) -> set[int]:
        """The messages that told of them, in any version."""
        found: set[int] = set()
        for start in range(0, len(held.pks), _CHUNK):
            some = resource_version.c.resource_pk.in_(held.pks[start : start + _CHUNK])
            query = select(resource_version.c.message_id).where(some).distinct()
            found |= set((await conn.execute(query)).scalars())
        return found

    def by_type(self, held: Held) -> dict[str, int]:
        """How many there are of each type."""
        counted = Counter(self._index.type_name(kind) for _, kind, _ in held.rows)
        return dict(sorted(counted.items()))

    async def erase(self, conn: AsyncConnection, held: Held) -> None:
        """Take them out: bodies, versions, index rows, names, and what is remembered of them.

        What another person's resource says of them stays there: it is that person's.
        """
        for start in range(0, len(held.rows), _CHUNK):
            part = held.rows[start : start + _CHUNK]
            pks = [pk for pk, _, _ in part]
            for table in (*INDEX_TABLES, compartment, resource_version):
                await conn.execute(delete(table).where(table.c.resource_pk.in_(pks)))
            for kind in {kind for _, kind, _ in part}:
                ids = [key for _, each, key in part if each == kind]
                for table in (resource_log, source_alias):
                    named = and_(table.c.type_id == kind, table.c.id.in_(ids))
                    await conn.execute(delete(table).where(named))
                led = resource_redirect.c
                leads = or_(led.id.in_(ids), led.to_id.in_(ids))
                await conn.execute(delete(resource_redirect).where(led.type_id == kind, leads))
            await conn.execute(delete(resource).where(resource.c.pk.in_(pks)))
