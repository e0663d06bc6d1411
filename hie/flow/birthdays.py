"""Telling staff of relationships that age has changed; nothing waits for this to be safe.

What a relationship opens is computed at each request. This only sees to it that somebody hears
of it: a letter to the family, a form for the new adult.
"""

from typing import Final

from hie.flow.proxies import Proxies
from hie.flow.relationships import band_of
from hie.kernel.clock import Clock
from hie.kernel.context import Caller, RequestContext
from hie.proxies import repository
from hie.proxies.repository import Sealed
from hie.tasks.model import TaskKind
from hie.tasks.service import Tasks

_PAGE: Final = 200


class Birthdays:
    """Walks through the relationships of minors, once a day."""

    def __init__(self, proxies: Proxies, tasks: Tasks, clock: Clock) -> None:
        self._proxies = proxies
        self._tasks = tasks
        self._clock = clock

    async def tell(self) -> int:
        """Open a task for each relationship in another bracket than staff know of; how many."""
        told, after = 0, ""
        while True:
            async with self._proxies.db.reading() as conn:
                page = await repository.open_after(conn, after, _PAGE)
            for found in page:
                told += await self._told(found)
            if len(page) < _PAGE:
                return told
            after = page[-1].plain.id

    async def _told(self, found: Sealed) -> bool:
        now_us = self._clock.now_us()
        kind = self._proxies.stand_ins.policy.kinds.get(found.plain.kind)
        if kind is None or not kind.is_of_minors:
            return False
        async with self._proxies.db.transaction() as conn:
            standing = next(iter(await self._proxies.standing(conn, [found], now_us)), None)
            band = band_of(standing) if standing else ""
            if standing is None or not band or band == found.told:
                return False
            await repository.mark_told(conn, found.plain.id, band)
            records = await self._proxies.mpi.records_of(conn, found.plain.person)
            await self._tasks.open(
                conn,
                TaskKind.CONSENT,
                (found.plain.id, band),
                now_us=now_us,
                record_id=records[0] if records else None,
                topic="proxy",
                detail={"relationship": found.plain.id, "asks": "tell both persons", "age": band},
            )
            caller = Caller(token_id="")
            ctx = RequestContext(caller=caller, request_id="proxy-birthdays", now_us=now_us)
            await self._proxies.serve(conn, ctx, standing)
        return True
