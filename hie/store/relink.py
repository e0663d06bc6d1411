"""Identity changes in the store: resources to their record's new person, columns only.

A part of the repository's write path (`hie.store.writer`), in the caller's open transaction.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.ids import PersonId, SourceRecordId
from hie.store.tables import compartment, resource, resource_version, sp_date, sp_token

_CHUNK = 500


class Relinker:
    """Moves what is filed under records to the persons the records are of now.

    Args:
        panel: the number of type Group. A Group is nobody's part of a record: who its members
            are is its source's word, and who they are now is told to whoever may see them. It
            gets no version, or its source would learn of merges of people hidden from it.
    """

    def __init__(self, panel: int) -> None:
        self._panel = panel

    async def relink(
        self,
        conn: AsyncConnection,
        moves: Mapping[SourceRecordId, PersonId],
        now_us: int,
    ) -> int:
        """Give everything of these source records to their new persons; columns only.

        Each moved resource but a Group gets a version row that points to the body it had.

        Returns:
            How many resources moved.
        """
        moved = 0
        for record, person in moves.items():
            where = (resource.c.source_record_id == record, resource.c.person_id != person)
            rows = (await conn.execute(select(resource).where(*where))).all()
            panels = [row for row in rows if row.type_id == self._panel]
            await self._rename(conn, panels, person)
            await self._move(conn, [row for row in rows if row not in panels], person, now_us)
            moved += len(rows)
            shared = (
                await conn.execute(
                    select(compartment).where(
                        compartment.c.source_record_id == record, compartment.c.person_id != person
                    )
                )
            ).all()
            for row in shared:
                await conn.execute(
                    update(compartment)
                    .where(
                        compartment.c.resource_pk == row.resource_pk,
                        compartment.c.ordinal == row.ordinal,
                    )
                    .values(person_id=person)
                )
                await self._move_index(conn, [row.resource_pk], row.person_id, person)
        return moved

    async def _rename(
        self, conn: AsyncConnection, panels: Sequence[Row[Any]], person: PersonId
    ) -> None:
        for row in panels:
            change = update(resource).where(resource.c.pk == row.pk).values(person_id=person)
            await conn.execute(change)
            await self._move_index(conn, [row.pk], row.person_id, person)

    async def _move(
        self, conn: AsyncConnection, rows: Sequence[Row[Any]], person: PersonId, now_us: int
    ) -> None:
        if not rows:
            return
        for start in range(0, len(rows), _CHUNK):
            pks = [row.pk for row in rows[start : start + _CHUNK]]
            await conn.execute(
                update(resource)
                .where(resource.c.pk.in_(pks))
                .values(person_id=person, version=resource.c.version + 1, last_updated_us=now_us)
            )
        await conn.execute(
            resource_version.insert(),
            [
                {
                    "resource_pk": row.pk,
                    "version": row.version + 1,
                    "body_version": row.body_version,
                    "last_updated_us": now_us,
                    "deleted": row.deleted,
                    "source_id": row.source_id,
                    "message_id": row.message_id,
                    "label_mask": row.label_mask,
                    "type_id": row.type_id,
                    "key_id": None,
                    "body": None,
                }
                for row in rows
            ],
        )
        for old in {row.person_id for row in rows}:
            await self._move_index(conn, [r.pk for r in rows if r.person_id == old], old, person)

    async def _move_index(
        self, conn: AsyncConnection, pks: Sequence[int], old: str, new: str
    ) -> None:
        for table in (sp_token, sp_date):
            for start in range(0, len(pks), _CHUNK):
                await conn.execute(
                    update(table)
                    .where(
                        table.c.resource_pk.in_(pks[start : start + _CHUNK]),
                        table.c.person_id == old,
                    )
                    .values(person_id=new)
                )
