"""Rows of current resources and versions to what a caller receives.

Whoever serves has put the residual's predicate on the rows. What the rows refer to is asked for
here (`hie.store.veil`): a body leaves without the references its reader may not follow.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.crypto import DataKey
from hie.keystore import KeyStore
from hie.store.body import Opened
from hie.store.filing import Filing, People
from hie.store.index import SearchIndex
from hie.store.loader import ResourceLoader, Rows
from hie.store.query import Served
from hie.store.residual import Residual
from hie.store.veil import Veil

#: Columns of a row of `hie.store.statements.current`, which every row here begins with.
WIDTH: Final = 13
#: Where among them the data key is.
_KEY_ID: Final = 11


class ResourceServer(ResourceLoader):
    """Opens rows and fills their bodies.

    Args:
        security: label mask to the codings of `meta.security`, JSON joined by commas.
        veil: leaves out the references a reader may not follow.
    """

    def __init__(
        self, keys: KeyStore, index: SearchIndex, security: Callable[[int], bytes], veil: Veil
    ) -> None:
        super().__init__(keys, index)
        self._security = security
        self._veil = veil

    def codings(self, mask: int) -> bytes:
        """The label codings of a mask, JSON objects joined by commas."""
        return self._security(mask)

    async def serve(self, conn: AsyncConnection, residual: Residual, rows: Rows) -> list[Served]:
        """The resources of rows, in their order, as the reader of this residual sees them.

        A version about somebody whom the resource is no more about is nobody's to see but its
        source's, and is left out.
        """
        cut: list[tuple[Any, ...]] = [tuple(row)[:WIDTH] for row in rows]
        keys = await self._keys.by_ids(conn, {columns[_KEY_ID] for columns in cut})
        found = [(self._opened(columns, keys), columns) for columns in cut]
        several = [0 if body is None else max(body.persons, len(body.records)) for body, _ in found]
        others = await self._others(conn, rows, several) if max(several, default=0) > 1 else {}
        filings = [
            Filing(body, self._index.type_name(c[1]) == "Group", c[3], c[4], others.get(c[0], ()))
            for body, c in found
        ]
        people = await self._people(conn, residual, filings)
        served = [
            self._served(columns, body, filing.further, names)
            for (body, columns), filing in zip(found, filings, strict=True)
            if (names := filing.names(people, is_own=columns[5] in residual.own_sources))
        ]
        return await self._veil.over(conn, residual, served)

    async def _people(
        self, conn: AsyncConnection, residual: Residual, filings: Sequence[Filing]
    ) -> People:
        """Whose records earlier versions were about, and who of panels the reader may see."""
        former = {record for filing in filings for record in filing.former}
        members = {person for filing in filings for person in filing.members}
        return People(
            of_record=await self._veil.persons_of(conn, former) if former else {},
            seen=await self._veil.persons_seen(conn, residual, members) if members else frozenset(),
        )

    async def seen(self, conn: AsyncConnection, residual: Residual, names: set[str]) -> set[str]:
        """Those of some resources, as `Type/id`, that the caller may know of."""
        return await self._veil.seen(conn, residual, names)

    async def persons_seen(
        self, conn: AsyncConnection, residual: Residual, persons: set[str]
    ) -> frozenset[str]:
        """Those of some persons of whom the caller may see a Patient."""
        return await self._veil.persons_seen(conn, residual, persons)

    # The two below run for every resource that leaves the hub: columns by their place, not name.

    def _opened(self, columns: tuple[Any, ...], keys: dict[int, DataKey]) -> Opened | None:
        _, type_id, key, _, _, _, _, body_version, _, is_deleted, _, key_id, sealed = columns
        if is_deleted:
            return None
        place = f"{self._index.type_name(type_id)}/{key}/{body_version}"
        stored = keys[key_id].open(sealed, table="resource_version", column="body", row=place)
        return Opened(stored)

    def _served(
        self,
        columns: tuple[Any, ...],
        body: Opened | None,
        further: Sequence[tuple[str, str]],
        people: Sequence[str],
    ) -> Served:
        _, type_id, key, own, record, source, version, _, updated_us, _, mask, _, _ = columns
        text = b""
        if body is not None:
            text = body.filled(key, version, updated_us, self._security(mask), people)
        return Served(
            type=self._index.type_name(type_id),
            id=key,
            version=str(version),
            last_updated_us=updated_us,
            source_id=source,
            person_id=own or "",
            source_record_id=record or "",
            further=tuple(further),
            label_mask=mask,
            is_deleted=body is None,
            body=text,
        )
