"""Panels that were loaded, each with the Group as it was before."""

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.db import Database
from hie.kernel.fhir import FhirJson
from hie.keystore import KeyKind, KeyStore
from hie.store.body import dump
from hie.subscriptions.tables import panel_load

_L = panel_load.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One load of a panel.

    Attributes:
        version: of the Group after it.
        before: the Group as it was, members as source records; None where there was none.
    """

    pk: int
    group_id: str
    source_id: str
    at_us: int
    version: int
    before: FhirJson | None


class PanelLog:
    """Keeps loads, so that they can be taken back."""

    def __init__(self, db: Database, keys: KeyStore) -> None:
        self._db = db
        self._keys = keys

    async def keep(self, conn: AsyncConnection, load: Load) -> None:
        """Keep a load, in the transaction that writes its Group."""
        pk = self._db.next_pk()
        key = await self._keys.for_owner(conn, KeyKind.SYSTEM, "")
        text = b"" if load.before is None else dump(load.before)
        await conn.execute(
            panel_load.insert().values(
                pk=pk,
                group_id=load.group_id,
                source_id=load.source_id,
                at_us=load.at_us,
                version=load.version,
                key_id=key.id,
                before=key.seal(text, table="panel_load", column="before", row=str(pk)),
            )
        )

    async def last(self, conn: AsyncConnection, group_id: str) -> Load | None:
        """The last load of a Group that was not taken back."""
        row: Any = (
            await conn.execute(
                select(panel_load)
                .where(_L.group_id == group_id, _L.undone_us.is_(None))
                .order_by(_L.pk.desc())
                .limit(1)
            )
        ).first()
        if row is None:
            return None
        key = await self._keys.by_id(conn, row.key_id)
        text = key.open(row.before, table="panel_load", column="before", row=str(row.pk))
        return Load(
            pk=row.pk,
            group_id=row.group_id,
            source_id=row.source_id,
            at_us=row.at_us,
            version=row.version,
            before=json.loads(text, parse_float=Decimal) if text else None,
        )

    async def undone(self, conn: AsyncConnection, load: Load, now_us: int) -> None:
        """A load is taken back."""
        await conn.execute(update(panel_load).where(_L.pk == load.pk).values(undone_us=now_us))

    async def moved_on(self, conn: AsyncConnection, load: Load, version: int) -> None:
        """The load before this one is the last again: the Group has another version now."""
        earlier = await self.last(conn, load.group_id)
        if earlier is not None:
            await conn.execute(
                update(panel_load).where(_L.pk == earlier.pk).values(version=version)
            )
