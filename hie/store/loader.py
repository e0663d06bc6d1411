"""Current resources as the write path reads them back; no rule is asked here.

For `hie.flow` and for the repository, which serves: nothing read here leaves the hub.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, SmallInteger, String, and_, bindparam, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.crypto import DataKey
from hie.kernel.fhir import FhirJson
from hie.keystore import KeyStore
from hie.padding import padded
from hie.store.body import Opened, decode, persons_named
from hie.store.index import SearchIndex
from hie.store.statements import current
from hie.store.tables import compartment, resource, resource_version

_CHUNK = 500
_RESOURCE = resource.alias("r")
# Built once. With the type, or no index would find an id.
_CURRENT = current(_RESOURCE).where(
    _RESOURCE.c.type_id.in_(bindparam("types", type_=SmallInteger, expanding=True)),
    _RESOURCE.c.id.in_(bindparam("ids", type_=String, expanding=True)),
)
_R = resource.c
_VERSIONS = select(
    _R.type_id,
    _R.id,
    _R.version,
    _R.last_updated_us,
    _R.deleted,
    _R.source_id,
    _R.person_id,
    _R.message_id,
).where(
    _R.type_id.in_(bindparam("types", type_=SmallInteger, expanding=True)),
    _R.id.in_(bindparam("ids", type_=String, expanding=True)),
)
Rows = Sequence[Row[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A current resource as the write path reads it back.

    Attributes:
        resource: parsed JSON with patients as `Patient/<source record id>`.
    """

    type: str
    id: str
    version: int
    is_deleted: bool
    source_id: str
    source_record_id: str | None
    person_id: str | None
    label_mask: int
    resource: FhirJson


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What there is to know of a current resource without opening it."""

    version: int
    last_updated_us: int
    is_deleted: bool
    source_id: str
    person_id: str | None
    message_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """A resource to be indexed again: its current version, and whose it is."""

    pk: int
    type: str
    resource: FhirJson
    persons: tuple[str, ...]


class ResourceLoader:
    """Loads stored resources."""

    def __init__(self, keys: KeyStore, index: SearchIndex) -> None:
        self._keys = keys
        self._index = index

    async def load(
        self, conn: AsyncConnection, wanted: Iterable[tuple[str, str]]
    ) -> dict[tuple[str, str], Stored]:
        """Current resources by (type, id) for the write path; no rule is asked."""
        names = {(self._index.type_id(name), key): (name, key) for name, key in wanted}
        found: dict[tuple[str, str], Stored] = {}
        types, ids = sorted({kind for kind, _ in names}), sorted({key for _, key in names})
        for start in range(0, len(ids), _CHUNK):
            bound = {"types": padded(types), "ids": padded(ids[start : start + _CHUNK])}
            fetched = await conn.execute(_CURRENT, bound)
            rows = [row for row in fetched if (row.type_id, row.id) in names]
            found |= {names[(s[0].type_id, s[0].id)]: s[1] for s in await self._stored(conn, rows)}
        return found

    async def versions_of(
        self, conn: AsyncConnection, wanted: Iterable[tuple[str, str]]
    ) -> dict[tuple[str, str], Head]:
        """Version, time and owner of current resources by (type, id); no rule is asked."""
        names = {(self._index.type_id(name), key): (name, key) for name, key in wanted}
        ids = sorted({key for _, key in names})
        found: dict[tuple[str, str], Head] = {}
        types = sorted({kind for kind, _ in names})
        for start in range(0, len(ids), _CHUNK):
            bound = {"types": padded(types), "ids": padded(ids[start : start + _CHUNK])}
            for row in await conn.execute(_VERSIONS, bound):
                if (row.type_id, row.id) in names:
                    found[names[row.type_id, row.id]] = Head(
                        version=row.version,
                        last_updated_us=row.last_updated_us,
                        is_deleted=bool(row.deleted),
                        source_id=row.source_id,
                        person_id=row.person_id,
                        message_id=row.message_id,
                    )
        return found

    async def of_person(self, conn: AsyncConnection, person: str, type_name: str) -> list[Stored]:
        """Every current resource of a type in a person's compartment; no rule is asked."""
        r = resource.alias("r")
        query = current(r).where(
            or_(r.c.person_id == person, self._shared_with(r, [person])),
            r.c.type_id == self._index.type_id(type_name),
            r.c.deleted.is_(False),
        )
        return [s for _, s in await self._stored(conn, (await conn.execute(query)).all())]

    async def have_any(self, conn: AsyncConnection, persons: Sequence[str], type_name: str) -> bool:
        """Whether one of these persons has a current resource of a type."""
        r = resource.c
        query = select(r.pk).where(
            r.person_id.in_(persons),
            r.type_id == self._index.type_id(type_name),
            r.deleted.is_(False),
        )
        return (await conn.execute(query.limit(1))).first() is not None

    async def persons_with(
        self, conn: AsyncConnection, type_name: str, *, after: str, limit: int
    ) -> list[str]:
        """Persons who have resources of a type, in the order of their ids, behind `after`."""
        c = resource.c
        query = (
            select(c.person_id)
            .where(c.type_id == self._index.type_id(type_name), c.person_id > after)
            .distinct()
            .order_by(c.person_id)
            .limit(limit)
        )
        return [str(person) for person in (await conn.execute(query)).scalars()]

    async def of_record(self, conn: AsyncConnection, record: str) -> list[Stored]:
        """Every current resource filed under a source record; no rule is asked."""
        r = resource.alias("r")
        query = current(r).where(r.c.source_record_id == record, r.c.deleted.is_(False))
        return [s for _, s in await self._stored(conn, (await conn.execute(query)).all())]

    async def as_it_was(
        self, conn: AsyncConnection, type_name: str, resource_id: str, version: int, record: str
    ) -> FhirJson | None:
        """An earlier version's content; None where it is gone or was a deletion.

        Args:
            conn: open connection.
            type_name: its type.
            resource_id: its id.
            version: which version.
            record: the source record it was filed under then.
        """
        r, b = resource.alias("r"), resource_version.alias("b")
        v = resource_version.alias("v")
        query: Select[Any] = (
            select(r.c.pk, r.c.type_id, r.c.id, b.c.body_version, b.c.key_id, b.c.body)
            .join_from(r, v, v.c.resource_pk == r.c.pk)
            .join(b, and_(b.c.resource_pk == r.c.pk, b.c.version == v.c.body_version))
            .where(
                r.c.type_id == self._index.type_id(type_name),
                r.c.id == resource_id,
                v.c.version == version,
                v.c.deleted.is_(False),
            )
        )
        rows = (await conn.execute(query)).all()
        if not rows:
            return None
        row = rows[0]
        body = self._open(row, await self._keys.by_ids(conn, {row.key_id}))
        records = Opened(body).records
        if not records:
            others = await self._others(conn, [row], [persons_named(body)])
            records = (record, *(other for _, other in others.get(row.pk, ())))
        return decode(body, resource_id=resource_id, records=records)

    async def written_by(
        self, conn: AsyncConnection, record: str, messages: Sequence[int]
    ) -> list[tuple[str, str, int]]:
        """Type, id and version of what these messages wrote last under a source record."""
        c = resource.c
        found: list[tuple[str, str, int]] = []
        for start in range(0, len(messages), _CHUNK):
            rows = await conn.execute(
                select(c.type_id, c.id, c.version)
                .where(
                    c.source_record_id == record,
                    c.message_id.in_(messages[start : start + _CHUNK]),
                    c.deleted.is_(False),
                )
                .order_by(c.pk)
            )
            found += [(self._index.type_name(row.type_id), row.id, row.version) for row in rows]
        return found

    async def again(
        self, conn: AsyncConnection, types: Sequence[int], *, after: int, last: int, limit: int
    ) -> list[Again]:
        """Resources of some types in the order of their keys, held until the transaction ends.

        Not what was deleted: its rows stay, for the rules about its history.

        Raises:
            DBAPIError: PostgreSQL: another transaction writes one of them; come again.
        """
        r = resource.alias("r")
        held = select(r.c.pk).where(r.c.pk > after, r.c.pk <= last, r.c.deleted.is_(False))
        held = held.where(r.c.type_id.in_(types)).order_by(r.c.pk).limit(limit)
        pks = (await conn.execute(held.with_for_update(nowait=True))).scalars().all()
        # Read once they are held: a body written in between is not looked up by who waited for it.
        rows = (await conn.execute(current(r).where(r.c.pk.in_(pks)).order_by(r.c.pk))).all()
        shared = select(compartment).where(compartment.c.resource_pk.in_(pks))
        others: dict[int, list[tuple[int, str]]] = {}
        for row in await conn.execute(shared.with_for_update(nowait=True)):
            others.setdefault(row.resource_pk, []).append((row.ordinal, row.person_id))
        return [
            Again(
                pk=row.pk,
                type=stored.type,
                resource=stored.resource,
                persons=(
                    *([stored.person_id] if stored.person_id else []),
                    *(person for _, person in sorted(others.get(row.pk, ()))),
                ),
            )
            for row, stored in await self._stored(conn, rows)
        ]

    async def count_of_records(
        self, conn: AsyncConnection, records: Sequence[str]
    ) -> dict[str, int]:
        """How many current resources are filed under these source records, by type."""
        found: dict[str, int] = {}
        for start in range(0, len(records), _CHUNK):
            chunk = records[start : start + _CHUNK]
            rows = await conn.execute(
                select(resource.c.type_id, func.count())
                .where(resource.c.source_record_id.in_(chunk), resource.c.deleted.is_(False))
                .group_by(resource.c.type_id)
            )
            for type_id, number in rows:
                name = self._index.type_name(type_id)
                found[name] = found.get(name, 0) + number
        return found

    async def count_by_type(self, conn: AsyncConnection) -> dict[str, int]:
        """How many current resources there are of each type."""
        rows = await conn.execute(
            select(resource.c.type_id, func.count())
            .where(resource.c.deleted.is_(False))
            .group_by(resource.c.type_id)
        )
        return {self._index.type_name(type_id): n for type_id, n in rows}

    def _shared_with(self, r: Any, persons: Sequence[str]) -> Any:
        shared = select(compartment.c.resource_pk).where(compartment.c.person_id.in_(persons))
        return r.c.pk.in_(shared)

    async def _stored(self, conn: AsyncConnection, rows: Rows) -> list[tuple[Row[Any], Stored]]:
        keys = await self._keys.by_ids(conn, {row.key_id for row in rows})
        opened = [b"" if row.deleted else self._open(row, keys) for row in rows]
        others = await self._others(conn, rows, [persons_named(body) for body in opened])
        return [
            (
                row,
                Stored(
                    type=self._index.type_name(row.type_id),
                    id=row.id,
                    version=row.version,
                    is_deleted=bool(row.deleted),
                    source_id=row.source_id,
                    source_record_id=row.source_record_id,
                    person_id=row.person_id,
                    label_mask=row.label_mask,
                    resource=decode(
                        body,
                        resource_id=row.id,
                        records=[
                            row.source_record_id or "",
                            *(r for _, r in others.get(row.pk, ())),
                        ],
                    )
                    if body
                    else {},
                ),
            )
            for row, body in zip(rows, opened, strict=True)
        ]

    async def _others(
        self, conn: AsyncConnection, rows: Rows, named: Sequence[int]
    ) -> dict[int, list[tuple[str, str]]]:
        """Persons and source records beyond the first, of the few bodies that name several."""
        pks = [row.pk for row, count in zip(rows, named, strict=True) if count > 1]
        found: dict[int, list[tuple[str, str]]] = {}
        for start in range(0, len(pks), _CHUNK):
            shared = await conn.execute(
                select(compartment)
                .where(compartment.c.resource_pk.in_(pks[start : start + _CHUNK]))
                .order_by(compartment.c.resource_pk, compartment.c.ordinal)
            )
            for row in shared:
                pair = (row.person_id, row.source_record_id)
                found.setdefault(row.resource_pk, []).append(pair)
        return found

    def _open(self, row: Row[Any], keys: dict[int, DataKey]) -> bytes:
        place = f"{self._index.type_name(row.type_id)}/{row.id}/{row.body_version}"
        return keys[row.key_id].open(row.body, table="resource_version", column="body", row=place)
