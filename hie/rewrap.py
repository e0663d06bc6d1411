"""Data keys wrapped anew by the current wrapping key, beside a working hub.

What a wrapping key seals is data keys alone, so a rotation touches no patient data: every row
that is wrapped by an older key is wrapped by the current one, in portions of a transaction
each. Stopped, it goes on where it was; a row that changed meanwhile is left to its writer.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    LargeBinary,
    Table,
    bindparam,
    case,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.crypto import KeyRing
from hie.db import Database
from hie.kernel.clock import SECOND_US, Clock
from hie.kernel.errors import Category, HieError

#: Rows of one transaction: some 10 ms on SQLite.
PORTION: Final = 500
#: How long a key is kept after another became current: transactions that began before it did
#: have ended then, and processes on other machines have seen it.
KEPT_US: Final = 10 * 60 * SECOND_US
#: What is wrapped by a key that the provider lacks.
LACKING: Final = "?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapped:
    """A column of wrapped data keys.

    Attributes:
        name: what operations call its rows.
        where: which rows are wrapped by a wrapping key.
        place: the place a row's key was wrapped for, from the row's key.
    """

    name: str
    table: Table
    pk: Column[Any]
    wrapped: Column[Any]
    place: Callable[[int], str]
    where: ColumnElement[bool] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far wrapping anew is: rows done of those that waited, and whether none is left."""

    done: int
    total: int
    is_over: bool


class Rewrap:
    """Wraps data keys anew, and says by which key each is wrapped."""

    def __init__(
        self, db: Database, ring: KeyRing, clock: Clock, columns: Sequence[Wrapped]
    ) -> None:
        self._db = db
        self._ring = ring
        self._clock = clock
        self._columns = columns

    async def counts(self) -> dict[str, dict[str, int]]:
        """Rows by name of the column and id of the wrapping key; `?` = one that is not there."""
        found = {}
        async with self._db.surveying() as conn:
            for column in self._columns:
                found[column.name] = await self._counted(conn, column, tuple(self._ring.since))
        return found

    async def begin(self) -> str:
        """Make a new wrapping key current, unless rows still wait for the last one; its id.

        Raises:
            HieError: INVALID where the provider makes no keys, with what to do instead.
        """
        if await self._waiting():
            return self._ring.current
        return self._ring.provider.add(self._clock.now_us())

    async def work(
        self, seconds: float, tell: Callable[[int, int], None] = lambda done, total: None
    ) -> Progress:
        """Wrap anew what waits, for some time or to the end; how far that came."""
        until, done, total = time.monotonic() + seconds, 0, await self._waiting()
        for column in self._columns:
            after = -1
            while True:
                if time.monotonic() >= until:
                    return Progress(done=done, total=total, is_over=done >= total)
                async with self._db.transaction() as conn:
                    portion = await self._portion(conn, column, after)
                if portion is None:
                    break
                after, changed = portion
                done += changed
                tell(min(done, total), total)
        return Progress(done=done, total=total, is_over=not await self._waiting())

    async def retire(self, key_id: str) -> None:
        """Destroy a wrapping key that nothing is wrapped by any more.

        Raises:
            HieError: INVALID for the current key, an unknown one, one that rows need, or one
                that another replaced a moment ago.
        """
        since = self._ring.since
        if key_id not in since:
            raise HieError(Category.INVALID, "the provider has no key of this name")
        if key_id == self._ring.current:
            raise HieError(Category.INVALID, "this key is current: run `hie keys rotate` first")
        if rows := sum(found.get(key_id, 0) for found in (await self.counts()).values()):
            text = f"{rows} rows are wrapped by this key: run `hie keys rotate` first"
            raise HieError(Category.INVALID, text)
        left_us = since[self._ring.current] + KEPT_US - self._clock.now_us()
        if left_us > 0:
            text = f"its successor is too new: try again in {left_us // SECOND_US + 1} seconds"
            raise HieError(Category.INVALID, text)
        self._ring.provider.drop(key_id)

    async def _waiting(self) -> int:
        current = self._ring.current
        return sum(
            rows
            for found in (await self.counts()).values()
            for key_id, rows in found.items()
            if key_id not in (current, LACKING)
        )

    async def _counted(
        self, conn: AsyncConnection, column: Wrapped, ids: Sequence[str]
    ) -> dict[str, int]:
        each = [func.sum(case((_is_by(column, one), 1), else_=0)) for one in ids]
        row: Any = (await conn.execute(_of(column, select(func.count(), *each)))).one()
        found = {one: int(rows or 0) for one, rows in zip(ids, row[1:], strict=True)}
        found[LACKING] = int(row[0]) - sum(found.values())
        return {key_id: rows for key_id, rows in found.items() if rows or key_id != LACKING}

    async def _portion(
        self, conn: AsyncConnection, column: Wrapped, after: int
    ) -> tuple[int, int] | None:
        """The last row looked at and how many were wrapped anew; None at the end."""
        current = self._ring.current
        query = _of(column, select(column.pk, column.wrapped)).where(
            column.pk > after, ~_is_by(column, current)
        )
        rows = (await conn.execute(query.order_by(column.pk).limit(PORTION))).all()
        if not rows:
            return None
        changes = [
            {"b_pk": pk, "b_old": wrapped, "b_new": self._anew(column, pk, wrapped)}
            for pk, wrapped in rows
            if self._is_known(wrapped)
        ]
        for change in changes:
            # One by one: what a row is wrapped by now says whether it is still ours to change.
            await conn.execute(_change(column), change)
        return int(rows[-1][0]), len(changes)

    def _is_known(self, wrapped: bytes) -> bool:
        return wrapped.partition(b":")[0].decode("ascii", "replace") in self._ring.since

    def _anew(self, column: Wrapped, pk: int, wrapped: bytes) -> bytes:
        place = column.place(pk)
        return self._ring.wrap(self._ring.unwrap(wrapped, place=place), place=place)


def _of(column: Wrapped, query: Any) -> Any:
    query = query.select_from(column.table)
    return query if column.where is None else query.where(column.where)


def _is_by(column: Wrapped, key_id: str) -> ColumnElement[bool]:
    """Whether a row is wrapped by a key: its id and a colon stand first."""
    prefix = f"{key_id}:".encode()
    return func.substr(column.wrapped, 1, len(prefix)) == literal(prefix, LargeBinary)


def _change(column: Wrapped) -> Any:
    return (
        update(column.table)
        .where(column.pk == bindparam("b_pk"), column.wrapped == bindparam("b_old"))
        .values({column.wrapped.name: bindparam("b_new")})
    )
