"""Rows of current resources and versions to what a caller receives.

Whoever serves has put the residual's predicate on the rows; here nothing is decided.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.crypto import DataKey
from hie.keystore import KeyStore
from hie.store.body import Opened
from hie.store.index import SearchIndex
from hie.store.loader import ResourceLoader, Rows
from hie.store.query import Served

#: Columns of a row of `hie.store.statements.current`, which every row here begins with.
WIDTH: Final = 13
#: Where among them the data key is.
_KEY_ID: Final = 11


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
        cut: list[tuple[Any, ...]] = [tuple(row)[:WIDTH] for row in rows]
        keys = await self._keys.by_ids(conn, {columns[_KEY_ID] for columns in cut})
        found = [(self._opened(columns, keys), columns) for columns in cut]
        several = [0 if body is None else body.persons for body, _ in found]
        others = await self._others(conn, rows, several) if max(several, default=0) > 1 else {}
        served = []
        for body, columns in found:
            further = others.get(columns[0], ())
            if body is None or body.persons <= 1 + len(further):
                served.append(self._served(columns, body, further))
        return served

    # The two below run for every resource that leaves the hub: columns by their place, not name.

    def _opened(self, columns: tuple[Any, ...], keys: dict[int, DataKey]) -> Opened | None:
        _, type_id, key, _, _, _, _, body_version, _, is_deleted, _, key_id, sealed = columns
        if is_deleted:
            return None
        place = f"{self._index.type_name(type_id)}/{key}/{body_version}"
        stored = keys[key_id].open(sealed, table="resource_version", column="body", row=place)
        return Opened(stored)

    def _served(
        self, columns: tuple[Any, ...], body: Opened | None, further: Sequence[tuple[str, str]]
    ) -> Served:
        _, type_id, key, own, record, source, version, _, updated_us, _, mask, _, _ = columns
        text = b""
        if body is not None:
            people = [own or "", *(person for person, _ in further)]
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
