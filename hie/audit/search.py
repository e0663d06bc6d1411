"""What auditors ask of the trail: the clear part in SQL, the sealed part row by row.

Newest first unless asked otherwise, and page by page behind the last row: rows that come in
meanwhile move no page.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.audit.event import SUBTYPES, AuditRecord
from hie.audit.repository import AuditLog, Recorded
from hie.audit.tables import audit_event

#: Rows opened for one page at most, where only what is sealed tells which fit.
MOST_OPENED: Final = 2_000
_CHUNK: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A search of the trail; all parts must hold, any value of a part; None = any at all.

    Attributes:
        pks: rows by key.
        users: who sat at the screen, exactly as stated.
        subtypes: with `is_rest`, any restful interaction besides.
        since_us, until_us: half-open range of when it was recorded.
        keep: what of the opened rows is wanted.
        leaves_out: subtypes that are not told.
        after: the last row of the page before.
    """

    pks: frozenset[int] | None = None
    persons: frozenset[str] | None = None
    organizations: frozenset[str] | None = None
    users: frozenset[str] | None = None
    actions: frozenset[str] | None = None
    outcomes: frozenset[str] | None = None
    subtypes: frozenset[str] | None = None
    is_rest: bool = False
    leaves_out: frozenset[str] = frozenset()
    since_us: int = 0
    until_us: int | None = None
    keep: Callable[[AuditRecord], bool] | None = None
    after: int | None = None
    is_oldest_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A page of the trail.

    Attributes:
        rows: in the order asked for; a page may hold fewer than asked for, and go on.
        next_after: where the next page starts; None on the last.
    """

    rows: tuple[Recorded, ...]
    next_after: int | None = None


class AuditSearch:
    """Searches the trail."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    async def page(self, conn: AsyncConnection, asked: Asked, count: int) -> Found:
        """One page."""
        rows: list[Recorded] = []
        opened, here = 0, asked
        while True:
            limit = _CHUNK if asked.keep else count + 1
            some = await self._log.read(conn, _statement(here, self._log.agent).limit(limit))
            opened += len(some)
            keep = asked.keep
            rows += [
                one for one in some if keep is None or (not one.is_erased and keep(one.record))
            ]
            if len(rows) > count:
                return Found(rows=tuple(rows[:count]), next_after=rows[count - 1].pk)
            if len(some) < limit:
                return Found(rows=tuple(rows))
            if opened >= MOST_OPENED:
                return Found(rows=tuple(rows), next_after=some[-1].pk)
            here = replace(here, after=some[-1].pk)


def _statement(asked: Asked, agent: Callable[[str], int]) -> Select[Any]:
    table = audit_event.c
    query = select(audit_event).where(table.recorded_us >= asked.since_us)
    if asked.until_us is not None:
        query = query.where(table.recorded_us < asked.until_us)
    for column, values in (
        (table.pk, asked.pks),
        (table.person_id, asked.persons),
        (table.organization, asked.organizations),
        (table.action, asked.actions),
        (table.outcome, asked.outcomes),
        (table.agent, _hashed(asked.users, agent)),
    ):
        if values is not None:
            query = query.where(column.in_(sorted(values)))
    if asked.subtypes is not None:
        is_named = table.subtype.in_(sorted(asked.subtypes))
        is_rest = table.subtype.not_in(sorted(SUBTYPES))
        query = query.where(is_named | is_rest if asked.is_rest else is_named)
    if asked.leaves_out:
        query = query.where(table.subtype.not_in(sorted(asked.leaves_out)))
    return _from(query, asked)


def _from(query: Select[Any], asked: Asked) -> Select[Any]:
    """The order, and where a page of it starts."""
    pk = audit_event.c.pk
    if asked.after is not None:
        query = query.where(pk > asked.after if asked.is_oldest_first else pk < asked.after)
    return query.order_by(pk if asked.is_oldest_first else pk.desc())


def _hashed(
    users: Sequence[str] | frozenset[str] | None, agent: Callable[[str], int]
) -> frozenset[int] | None:
    return None if users is None else frozenset(agent(user) for user in users)
