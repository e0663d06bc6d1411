"""The floor of a read: the same bodies by plain SQL, opened, joined and sent; nothing else.

`python -m bench.read_floor PORT DATABASE KEY` serves `/<number>` for what `keep` stored: from a
SQLite file, or from PostgreSQL where the database is an address.
"""

import asyncio
import os
import sqlite3
import sys
from collections.abc import Awaitable, Callable, Sequence

import asyncpg
from aiohttp import web
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12
CONNECTIONS = 8
_TABLE = (
    "CREATE TABLE bench_floor (asked INTEGER, place INTEGER, body {bytes}, "
    "PRIMARY KEY (asked, place))"
)
_READ = "SELECT place, body FROM bench_floor WHERE asked = {mark} ORDER BY place"
Row = tuple[int, bytes]


async def keep(database: str, answers: Sequence[Sequence[bytes]], key: bytes) -> None:
    """Store the sealed resources of each answer, by its number."""
    cipher = AESGCM(key)
    rows = [
        (number, place, _sealed(cipher, body, place))
        for number, bodies in enumerate(answers)
        for place, body in enumerate(bodies)
    ]
    if _is_file(database):
        connection = sqlite3.connect(database)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("DROP TABLE IF EXISTS bench_floor")
        connection.execute(_TABLE.format(bytes="BLOB"))
        connection.executemany("INSERT INTO bench_floor VALUES (?, ?, ?)", rows)
        connection.commit()
        connection.close()
        return
    server = await asyncpg.connect(database)
    await server.execute("DROP TABLE IF EXISTS bench_floor")
    await server.execute(_TABLE.format(bytes="BYTEA"))
    await server.copy_records_to_table("bench_floor", records=rows)
    await server.execute("ANALYZE bench_floor")
    await server.close()


def _sealed(cipher: AESGCM, body: bytes, place: int) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, body, str(place).encode())


def _is_file(database: str) -> bool:
    return "://" not in database


async def floor_app(database: str, key: bytes) -> web.Application:
    """The server: no token, consent, search or audit."""
    cipher, read = AESGCM(key), await _reader(database)

    async def give(request: web.Request) -> web.Response:
        opened = [
            b'{"resource":'
            + cipher.decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], str(place).encode())
            + b"}"
            for place, body in await read(int(request.match_info["number"]))
        ]
        joined = b'{"resourceType":"Bundle","type":"searchset","entry":[' + b",".join(opened)
        return web.Response(body=joined + b"]}", content_type="application/fhir+json")

    app = web.Application()
    app.router.add_get("/{number}", give)
    return app


async def _reader(database: str) -> Callable[[int], Awaitable[Sequence[Row]]]:
    if _is_file(database):
        connection = sqlite3.connect(database)

        async def from_file(number: int) -> Sequence[Row]:
            return connection.execute(_READ.format(mark="?"), (number,)).fetchall()

        return from_file
    pool = await asyncpg.create_pool(database, min_size=CONNECTIONS, max_size=CONNECTIONS)

    async def from_server(number: int) -> Sequence[Row]:
        return [tuple(row) for row in await pool.fetch(_READ.format(mark="$1"), number)]

    return from_server


def main(arguments: Sequence[str]) -> None:
    """Serve until ended."""
    port, database, key = arguments
    loop = asyncio.new_event_loop()
    app = loop.run_until_complete(floor_app(database, bytes.fromhex(key)))
    web.run_app(app, host="127.0.0.1", port=int(port), print=None, access_log=None, loop=loop)


if __name__ == "__main__":
    main(sys.argv[1:])
