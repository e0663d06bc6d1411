"""PostgreSQL databases that one test after another uses: each finds every table and no row.

To copy a database of a hundred tables takes longer than most tests; to empty the few tables that
a test wrote to does not. A test that changed more than rows - a table, an index, statistics -
spoils its database, which is then dropped.
"""

import asyncio
import itertools
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import asyncpg

from tests.support.postgres import Server

Result = TypeVar("Result")
#: What may not differ between a database that was used and its template.
SHAPE = """
SELECT md5(concat_ws('|',
  (SELECT string_agg(concat_ws(' ', oid, relname, relkind, relnatts, relchecks, reloptions),
     ',' ORDER BY oid) FROM pg_class WHERE relnamespace = 'public'::regnamespace),
  (SELECT string_agg(concat_ws(' ', attrelid, attname, atttypid, attnotnull, atthasdef),
     ',' ORDER BY attrelid, attnum) FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
     WHERE relnamespace = 'public'::regnamespace),
  (SELECT string_agg(concat_ws(' ', conname, convalidated), ',' ORDER BY conname, conrelid)
     FROM pg_constraint),
  (SELECT string_agg(concat_ws(' ', tgrelid, tgname, tgenabled), ',' ORDER BY tgrelid, tgname)
     FROM pg_trigger),
  (SELECT string_agg(proname, ',' ORDER BY oid) FROM pg_proc
     WHERE pronamespace = 'public'::regnamespace),
  (SELECT string_agg(concat_ws(' ', schemaname, sequencename, last_value), ','
     ORDER BY sequencename) FROM pg_sequences),
  (SELECT count(*) FROM pg_namespace),
  (SELECT count(*) FROM pg_db_role_setting),
  (SELECT count(*) FROM pg_statistic JOIN pg_class ON pg_class.oid = starelid
     WHERE relnamespace = 'public'::regnamespace),
  (SELECT string_agg(version_num, ',' ORDER BY version_num) FROM alembic_version)
))
"""
#: Whoever a test left connected would hold the tables.
ALONE = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
WRITTEN = """
SELECT string_agg(format('%I', relname), ', ') FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
  AND relname <> 'alembic_version' AND pg_relation_size(oid) > 0
"""


class Emptied:
    """The databases of one server.

    Args:
        server: a running one.
        template: the name of a database it makes; whoever asks for this gives it its tables.
    """

    def __init__(self, server: Server, template: str) -> None:
        self._server = server
        self._template = template
        self._free: list[str] = []
        self._numbers = itertools.count(1)
        self._shape = ""
        self._do(f"CREATE DATABASE {template}")

    @contextmanager
    def one(self) -> Iterator[str]:
        """The address of a database that nobody else has until the end."""
        name = self._free.pop() if self._free else self._made()
        yield self._server.url(name)
        if self._ask(_emptied, name) == self._shape:
            self._free.append(name)
        else:
            self._do(f"DROP DATABASE {name} WITH (FORCE)")

    def _made(self) -> str:
        name = f"hie_test_{next(self._numbers)}"
        self._do(f"CREATE DATABASE {name} TEMPLATE {self._template}")
        self._shape = self._shape or self._ask(_shape, name)
        return name

    def _do(self, statement: str) -> None:
        self._ask(lambda connection: connection.execute(statement))

    def _ask(
        self, question: Callable[[asyncpg.Connection], Awaitable[str]], name: str = "postgres"
    ) -> str:
        async def ask() -> str:
            connection = await asyncpg.connect(self._server.dsn(name))
            try:
                return await question(connection)
            finally:
                await connection.close()

        return apart(ask())


async def _shape(connection: asyncpg.Connection) -> str:
    return str(await connection.fetchval(SHAPE))


async def _emptied(connection: asyncpg.Connection) -> str:
    """The shape of a database once no row is left; "" where a test took tables away."""
    await connection.execute(ALONE)
    try:
        if written := await connection.fetchval(WRITTEN):
            await connection.execute(f"TRUNCATE {written} RESTART IDENTITY CASCADE")
        return await _shape(connection)
    except asyncpg.PostgresError:
        return ""


def apart(work: Coroutine[Any, Any, Result]) -> Result:
    """What a coroutine gives, run to its end on a loop of its own, away from that of the test."""
    told: list[Result] = []
    failures: list[BaseException] = []

    def target() -> None:
        try:
            told.append(asyncio.run(work))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failures.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return told[0]
