"""Rows of current resources and versions to what a caller receives.

Whoever serves has put the residual's predicate on the rows; here nothing is decided.
"""

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.keystore import KeyStore
from hie.store.body import Opened
from hie.store.index import SearchIndex
from hie.store.loader import ResourceLoader, Rows
from hie.store.query import Served

#: Columns of a row of `hie.store.statements.current`, which every row here begins with.
WIDTH: Final = 13


class ResourceServer(ResourceLoader):
    """Opens rows and fills their bodies.

    Args:
        security: label mask to the codings of `meta.security`, JSON joined by commas.
    """

    def __init__(
        self, keys: KeyStore, index: SearchIndex, security: Callable[[int], bytes]
    ) -> None:
        super().__init__(keys, index)
        self._security = security

    def codings(self, mask: int) -> bytes:
        """The label codings of a mask, JSON objects joined by commas."""
        return self._security(mask)

    async def serve(self, conn: AsyncConnection, rows: Rows) -> list[Served]:
        """The resources of rows, in their order.

        A version about somebody whom the resource is no more about is nobody's to see, and is
        left out.
        """
        keys = await self._keys.by_ids(conn, {row.key_id for row in rows})
        opened = [None if row.deleted else Opened(self._open(row, keys)) for row in rows]
        named = [0 if body is None else body.persons for body in opened]
        others = await self._others(conn, rows, named) if max(named, default=0) > 1 else {}
        found = []
        for row, body, count in zip(rows, opened, named, strict=True):
            beyond = [person for person, _ in others.get(row.pk, ())] if count > 1 else []
            if count <= 1 + len(beyond):
                found.append(self._served(row, body, beyond))
        return found

    def _served(self, row: Row[Any], body: Opened | None, others: list[str]) -> Served:
        columns: tuple[Any, ...] = tuple(row)
        # Unpacked, for this runs for every resource that leaves the hub.
        (
            _,
            type_id,
            resource_id,
            person,
            record,
            source,
            version,
            _,
            updated_us,
            _,
            mask,
            _,
            _,
        ) = columns[:WIDTH]
        text = b""
        if body is not None:
            security = self._security(mask)
            people = [person or "", *others]
            text = body.filled(resource_id, version, updated_us, security, people)
        return Served(
            type=self._index.type_name(type_id),
            id=resource_id,
            version=str(version),
            last_updated_us=updated_us,
            source_id=source,
            person_id=person or "",
            source_record_id=record or "",
            label_mask=mask,
            is_deleted=body is None,
            body=text,
        )
