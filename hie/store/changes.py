"""When what is stored was so, and the last statements about resources told in parts.

The statements are sealed under the key of the record they are about: what erases the record
erases them. Only `hie.flow` reads them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, SmallInteger, String, bindparam, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.keystore import KeyKind, KeyStore
from hie.padding import padded
from hie.store.index import SearchIndex
from hie.store.tables import resource, resource_log

_CHUNK: Final = 500
Name = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHead:
    """What there is to know of a current resource without opening it.

    Attributes:
        event_us, sent_us: when it was so, and when that was sent; 0 = nobody said.
        status_rank: step of its status in its order; None = it has none.
        source_record_id, person_id: whose it is.
    """

    is_deleted: bool
    event_us: int
    sent_us: int
    message_id: int
    status_rank: int | None
    source_id: str
    source_record_id: str | None
    person_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedLog:
    """The statements about one resource, to be stored.

    Attributes:
        owner: the source record whose key seals them; "" = the hub's own.
    """

    type: str
    id: str
    owner: str
    content: bytes


_R, _L = resource.c, resource_log.c
_TYPES = bindparam("types", type_=SmallInteger, expanding=True)
_IDS = bindparam("ids", type_=String, expanding=True)
# Built once: building a statement takes longer than running it.
_HEADS = select(
    _R.type_id,
    _R.id,
    _R.deleted,
    _R.event_us,
    _R.sent_us,
    _R.message_id,
    _R.status_rank,
    _R.source_id,
    _R.source_record_id,
    _R.person_id,
).where(_R.type_id.in_(_TYPES), _R.id.in_(_IDS))
_LOGS = select(resource_log).where(_L.type_id.in_(_TYPES), _L.id.in_(_IDS))
_FORGET = delete(resource_log).where(
    _L.type_id == bindparam("b_type_id"), _L.id == bindparam("b_id")
)
_KEEP = resource_log.insert()


class Changes:
    """Reads and writes when things were so."""

    def __init__(self, keys: KeyStore, index: SearchIndex) -> None:
        self._keys = keys
        self._index = index

    async def heads(self, conn: AsyncConnection, wanted: Iterable[Name]) -> dict[Name, StoredHead]:
        """Heads of current resources by (type, id), deleted ones too."""
        return {
            name: StoredHead(
                is_deleted=bool(row.deleted),
                event_us=row.event_us or 0,
                sent_us=row.sent_us or 0,
                message_id=row.message_id,
                status_rank=row.status_rank,
                source_id=row.source_id,
                source_record_id=row.source_record_id,
                person_id=row.person_id,
            )
            for name, row in (await self._rows(conn, _HEADS, wanted)).items()
        }

    async def logs(self, conn: AsyncConnection, wanted: Iterable[Name]) -> dict[Name, bytes]:
        """The statements kept of resources, opened; those without any are absent."""
        rows = await self._rows(conn, _LOGS, wanted)
        keys = await self._keys.by_ids(conn, {row.key_id for row in rows.values()})
        return {
            name: keys[row.key_id].open(
                row.content, table="resource_log", column="content", row="/".join(name)
            )
            for name, row in rows.items()
        }

    async def keep(self, conn: AsyncConnection, logs: Sequence[SealedLog]) -> None:
        """Replace the statements kept of some resources."""
        if not logs:
            return
        await self.forget(conn, [(log.type, log.id) for log in logs])
        owners = {log.owner for log in logs}
        keys = await self._keys.for_owners(conn, KeyKind.RECORD, [o for o in owners if o])
        keys |= await self._keys.for_owners(conn, KeyKind.SYSTEM, [o for o in owners if not o])
        rows = [
            {
                "type_id": self._index.type_id(log.type),
                "id": log.id,
                "key_id": keys[log.owner].id,
                "content": keys[log.owner].seal(
                    log.content,
                    table="resource_log",
                    column="content",
                    row=f"{log.type}/{log.id}",
                ),
            }
            for log in logs
        ]
        await conn.execute(_KEEP, rows)

    async def forget(self, conn: AsyncConnection, names: Sequence[Name]) -> None:
        """Drop the statements kept of some resources."""
        if names:
            rows = [{"b_type_id": self._index.type_id(kind), "b_id": key} for kind, key in names]
            await conn.execute(_FORGET, rows)

    async def _rows(
        self, conn: AsyncConnection, query: Any, wanted: Iterable[Name]
    ) -> Mapping[Name, Row[Any]]:
        names = {(self._index.type_id(kind), key): (kind, key) for kind, key in wanted}
        types, ids = sorted({kind for kind, _ in names}), sorted({key for _, key in names})
        found: dict[Name, Row[Any]] = {}
        for start in range(0, len(ids), _CHUNK):
            bound = {"types": padded(types), "ids": padded(ids[start : start + _CHUNK])}
            for row in await conn.execute(query, bound):
                if (row.type_id, row.id) in names:
                    found[names[row.type_id, row.id]] = row
        return found
