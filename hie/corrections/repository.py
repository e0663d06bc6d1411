"""Correction notices in the database."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.corrections.tables import disclosure_correction
from hie.db import Database

_table = disclosure_correction
_CHUNK = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A disclosure that showed as one what is two.

    Attributes:
        audit_pk: the audit event that says who saw what.
        notified_us, notified_by: when the recipient was told, and by whom; None until then.
    """

    id: int
    decision_id: int
    audit_pk: int
    person_id: str
    at_us: int
    organization: str | None
    notified_us: int | None = None
    notified_by: str | None = None


class NoticeRepository:
    """Stores, lists and closes notices; the caller opens the transaction."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def add(
        self,
        conn: AsyncConnection,
        decision_id: int,
        disclosures: Sequence[tuple[int, str, int, str | None]],
    ) -> None:
        """Store disclosures to correct: audit key, person, time and organisation of each."""
        rows = [
            {
                "id": self._db.next_pk(),
                "decision_id": decision_id,
                "audit_pk": pk,
                "person_id": person,
                "at_us": at_us,
                "organization": organization,
            }
            for pk, person, at_us, organization in disclosures
        ]
        for start in range(0, len(rows), _CHUNK):
            await conn.execute(insert(_table), rows[start : start + _CHUNK])

    async def of_decision(self, conn: AsyncConnection, decision_id: int) -> list[Notice]:
        """The notices of a decision, by recipient and then by time."""
        rows = await conn.execute(
            select(_table)
            .where(_table.c.decision_id == decision_id)
            .order_by(_table.c.organization, _table.c.at_us, _table.c.id)
        )
        return [Notice(**row) for row in rows.mappings()]

    async def waiting(self, conn: AsyncConnection) -> dict[int, int]:
        """Decisions with recipients who were not told yet, and how many notices those are."""
        rows = await conn.execute(
            select(_table.c.decision_id, func.count())
            .where(_table.c.notified_us.is_(None))
            .group_by(_table.c.decision_id)
            .order_by(_table.c.decision_id)
        )
        return {decision: number for decision, number in rows}  # noqa: C416 - rows

    async def mark(
        self,
        conn: AsyncConnection,
        decision_id: int,
        notices: Sequence[int],
        *,
        by: str,
        now_us: int,
    ) -> int:
        """Note that recipients were told; how many of these were still waiting."""
        done = 0
        for start in range(0, len(notices), _CHUNK):
            changed = await conn.execute(
                update(_table)
                .where(
                    _table.c.decision_id == decision_id,
                    _table.c.id.in_(list(notices[start : start + _CHUNK])),
                    _table.c.notified_us.is_(None),
                )
                .values(notified_us=now_us, notified_by=by)
            )
            done += changed.rowcount
        return done
