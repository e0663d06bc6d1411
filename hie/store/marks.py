"""Labels of stored resources: what a re-label reads and writes, and what takes them over.

In the caller's open transaction. Labels are columns, so that changing one makes no version.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Row,
    SmallInteger,
    String,
    and_,
    bindparam,
    func,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.crypto import DataKey
from hie.kernel.fhir import FhirJson
from hie.keystore import KeyStore
from hie.padding import padded
from hie.store.body import decode, persons_named
from hie.store.index import SearchIndex
from hie.store.residual import DOCUMENT_TYPES
from hie.store.tables import resource, resource_version, sp_ref, sp_token

_CHUNK: Final = 500
_R, _V = resource.c, resource_version.c
# Built once: every message that a document comes in runs it.
_MASKS = select(_R.type_id, _R.id, _R.label_mask, _R.pk, _R.last_updated_us).where(
    _R.type_id.in_(bindparam("types", type_=SmallInteger, expanding=True)),
    _R.id.in_(bindparam("ids", type_=String, expanding=True)),
)
_RAISE = (
    update(resource)
    .where(
        _R.pk.in_(bindparam("pks", type_=BigInteger, expanding=True)),
        _R.label_mask.bitwise_and(bindparam("mask", type_=BigInteger))
        != bindparam("mask", type_=BigInteger),
    )
    .values(label_mask=_R.label_mask.bitwise_or(bindparam("mask", type_=BigInteger)))
)

Name = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a resource, with what its labels depend on.

    Attributes:
        resource: its content; None of a deletion, or where another version keeps it.
        raised_mask: labels its content did not bring; None = nobody knows.
    """

    version: int
    body_version: int
    source_id: str
    label_mask: int
    raised_mask: int | None
    resource: FhirJson | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """A resource with its labels and all its versions, oldest first."""

    pk: int
    type: str
    id: str
    version: int
    source_id: str
    label_mask: int
    versions: tuple[Version, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The labels of a stored resource, and what says whether a re-label still owes some."""

    type_id: int
    pk: int
    last_updated_us: int
    label_mask: int


class Marks:
    """Reads and writes the labels of stored resources."""

    def __init__(self, keys: KeyStore, index: SearchIndex) -> None:
        self._keys = keys
        self._index = index

    async def masks(self, conn: AsyncConnection, names: Iterable[Name]) -> dict[Name, Mark]:
        """The labels of resources by (type, id); what is not stored is absent."""
        wanted = {(self._index.type_id(t), key): (t, key) for t, key in names if self._has(t)}
        found: dict[Name, Mark] = {}
        ids, types = sorted({key for _, key in wanted}), sorted({kind for kind, _ in wanted})
        for start in range(0, len(ids), _CHUNK):
            asked = {"types": padded(types), "ids": padded(ids[start : start + _CHUNK])}
            for kind, key, mask, pk, at in await conn.execute(_MASKS, asked):
                if (kind, key) in wanted:
                    found[wanted[kind, key]] = Mark(
                        type_id=kind, pk=pk, last_updated_us=at, label_mask=mask
                    )
        return found

    def _has(self, type_name: str) -> bool:
        return self._index.has_type(type_name)

    async def content(
        self, conn: AsyncConnection, names: Iterable[Name]
    ) -> dict[Name, tuple[FhirJson, str]]:
        """Current contents with their sources, of what is stored and not deleted."""
        marks = await self.masks(conn, names)
        pks = {mark.pk: name for name, mark in marks.items()}
        found: dict[Name, tuple[FhirJson, str]] = {}
        for one in await self._marked(conn, sorted(pks)):
            last = one.versions[-1]
            whole = {v.version: v.resource for v in one.versions}.get(last.body_version)
            if whole is not None:
                found[pks[one.pk]] = (whole, one.source_id)
        return found

    async def held(self, conn: AsyncConnection, names: Iterable[Name]) -> list[Marked]:
        """Resources with all their versions, held until the transaction ends."""
        marks = await self.masks(conn, names)
        pks = sorted(mark.pk for mark in marks.values())
        for start in range(0, len(pks), _CHUNK):
            part = select(_R.pk).where(_R.pk.in_(pks[start : start + _CHUNK]))
            await conn.execute(part.with_for_update())
        return await self._marked(conn, pks)

    async def keep_raised(
        self, conn: AsyncConnection, one: Marked, raised: Mapping[int, int]
    ) -> None:
        """What of the labels of versions their content does not bring, by version."""
        for version, mask in raised.items():
            await conn.execute(
                update(resource_version)
                .where(_V.resource_pk == one.pk, _V.version == version)
                .values(raised_mask=mask)
            )

    async def portion(
        self,
        conn: AsyncConnection,
        types: Sequence[int],
        *,
        after: int,
        last: int,
        since_us: int,
        limit: int,
    ) -> list[Marked]:
        """Resources of some types in the order of their keys, held until the transaction ends.

        Raises:
            DBAPIError: PostgreSQL: another transaction writes one of them; come again.
        """
        query = select(_R.pk).where(_R.pk > after, _R.pk <= last, _R.type_id.in_(types))
        query = query.where(_R.last_updated_us >= since_us).order_by(_R.pk).limit(limit)
        pks = (await conn.execute(query.with_for_update(nowait=True))).scalars().all()
        return await self._marked(conn, pks)

    async def _marked(self, conn: AsyncConnection, pks: Sequence[int]) -> list[Marked]:
        if not pks:
            return []
        heads = await conn.execute(
            select(_R.pk, _R.type_id, _R.id, _R.version, _R.source_id, _R.label_mask)
            .where(_R.pk.in_(pks))
            .order_by(_R.pk)
        )
        rows = (
            await conn.execute(
                select(resource_version)
                .where(_V.resource_pk.in_(pks))
                .order_by(_V.resource_pk, _V.version)
            )
        ).all()
        keys = await self._keys.kept(conn, {row.key_id for row in rows if row.body is not None})
        of: dict[int, list[Row[Any]]] = {}
        for row in rows:
            of.setdefault(row.resource_pk, []).append(row)
        return [
            Marked(
                pk=head.pk,
                type=self._index.type_name(head.type_id),
                id=head.id,
                version=head.version,
                source_id=head.source_id,
                label_mask=head.label_mask,
                versions=tuple(self._version(head, row, keys) for row in of.get(head.pk, ())),
            )
            for head in heads
        ]

    def _version(self, head: Any, row: Row[Any], keys: Mapping[int, DataKey]) -> Version:
        return Version(
            version=row.version,
            body_version=row.body_version,
            source_id=row.source_id,
            label_mask=row.label_mask,
            raised_mask=row.raised_mask,
            resource=self._opened(head, row, keys),
        )

    def _opened(self, head: Any, row: Row[Any], keys: Mapping[int, DataKey]) -> FhirJson | None:
        """The content of a version; a body whose key was destroyed can label nothing."""
        if row.body is None or row.key_id not in keys:
            return None
        place = f"{self._index.type_name(head.type_id)}/{head.id}/{row.version}"
        body = keys[row.key_id].open(row.body, table="resource_version", column="body", row=place)
        if not body:
            return None
        records = [""] * persons_named(body)
        return decode(body, resource_id=head.id, records=records)

    async def keep(
        self, conn: AsyncConnection, one: Marked, mask: int, versions: Mapping[int, int]
    ) -> None:
        """The new labels of a resource that `portion` holds, and of its versions that change."""
        await conn.execute(update(resource).where(_R.pk == one.pk).values(label_mask=mask))
        for version, own in versions.items():
            await conn.execute(
                update(resource_version)
                .where(_V.resource_pk == one.pk, _V.version == version)
                .values(label_mask=own)
            )

    async def coded(
        self, conn: AsyncConnection, systems: Iterable[str]
    ) -> list[tuple[int, str, str]]:
        """Parameter, system and code of everything that current resources say in some systems."""
        query = select(sp_token.c.param_id, sp_token.c.system, sp_token.c.code).distinct()
        rows = await conn.execute(query.where(sp_token.c.system.in_(sorted(systems))))
        return [(param, system, code) for param, system, code in rows]

    async def with_code(
        self, conn: AsyncConnection, param_ids: Sequence[int], system: str, codes: Sequence[str]
    ) -> list[int]:
        """Keys of the resources whose current version says one of these codes."""
        found: set[int] = set()
        for start in range(0, len(codes), _CHUNK):
            query = select(sp_token.c.resource_pk).where(
                sp_token.c.param_id.in_(param_ids),
                sp_token.c.code.in_(codes[start : start + _CHUNK]),
                sp_token.c.system == system,
            )
            found |= set((await conn.execute(query)).scalars())
        return sorted(found)

    async def raise_all(
        self,
        conn: AsyncConnection,
        pks: Sequence[int],
        mask: int,
        takers: Mapping[int, frozenset[int]],
    ) -> int:
        """Add labels to current versions and to what takes over from them; how many changed.

        Args:
            conn: open write transaction.
            pks: keys of resources.
            mask: the labels.
            takers: type to the types that take over labels from it, by number.
        """
        raised, left = 0, list(pks)
        while left:
            changed: list[int] = []
            for start in range(0, len(left), _CHUNK):
                part = left[start : start + _CHUNK]
                lower = _R.label_mask.bitwise_and(mask) != mask
                held = select(_R.pk).where(_R.pk.in_(part), lower)
                changed += (await conn.execute(held)).scalars().all()
                await conn.execute(_RAISE, {"pks": part, "mask": mask})
            raised += len(changed)
            # What took over before has the labels already: only news go further up.
            left = await self.takers(conn, changed, takers) if takers else []
        return raised

    async def takers(
        self, conn: AsyncConnection, pks: Sequence[int], takers: Mapping[int, frozenset[int]]
    ) -> list[int]:
        """Keys of the current resources that take over labels from some."""
        found: set[int] = set()
        above = sorted(frozenset().union(*takers.values()))
        for start in range(0, len(pks), _CHUNK):
            query = (
                select(_R.type_id, sp_ref.c.type_id, sp_ref.c.resource_pk)
                .join_from(
                    resource,
                    sp_ref,
                    and_(sp_ref.c.target_id == _R.id, sp_ref.c.target_type_id == _R.type_id),
                )
                .where(_R.pk.in_(pks[start : start + _CHUNK]), sp_ref.c.type_id.in_(above))
            )
            for part, whole, pk in await conn.execute(query):
                if whole in takers.get(part, ()):
                    found.add(pk)
        return sorted(found)

    async def documents_of(self, conn: AsyncConnection, binary: Marked) -> int:
        """The labels of the documents of its source that have a Binary as their content."""
        types = [self._index.type_id(name) for name in sorted(DOCUMENT_TYPES)]
        query = (
            select(_R.label_mask)
            .join_from(sp_ref, resource, _R.pk == sp_ref.c.resource_pk)
            .where(
                sp_ref.c.target_id == binary.id,
                sp_ref.c.target_type_id == self._index.type_id("Binary"),
                _R.type_id.in_(types),
                _R.source_id == binary.source_id,
            )
        )
        mask = 0
        for found in (await conn.execute(query)).scalars():
            mask |= found
        return mask

    async def extent(
        self, conn: AsyncConnection, types: Sequence[int], since_us: int
    ) -> tuple[int, int]:
        """How many resources of some types there are, and the highest key of all."""
        counted = select(func.count(), func.max(_R.pk)).where(
            _R.last_updated_us >= since_us, _R.type_id.in_(types)
        )
        total, last = (await conn.execute(counted)).one()
        return total, last or 0
