"""Floors: the same wire, disk and cipher with nothing of the hub between them.

`python -m bench.floors echo PORT [FOLDER]` (mTLS with the folder's certificates) and
`python -m bench.floors everything PORT FILE KEY` are the floors that need a process of their own.
"""

import asyncio
import os
import sqlite3
import ssl
import sys
import time
from pathlib import Path

from aiohttp import web
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.certificates import Certificates

ACK = b"\x0bMSH|^~\\&|HUB|STATE|BENCH|BENCH|20260131||ACK|1|P|2.5.1\rMSA|AA|1\r\x1c\x0d"
NONCE_BYTES = 12


class Echo(asyncio.Protocol):
    """Answers every frame with the same ACK and stores nothing."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """One answer per frame end."""
        self._transport.write(ACK * data.count(b"\x1c\x0d"))


async def serve_echo(port: int, tls: ssl.SSLContext | None) -> None:
    """Echo until killed."""
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port, ssl=tls)
    await server.serve_forever()


def commits_per_second(folder: Path, payload: bytes, *, batch: int, count: int) -> float:
    """Rows a second into SQLite, WAL and synchronous=FULL, so many rows a commit."""
    connection = sqlite3.connect(folder / f"floor-{batch}.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE journal (id INTEGER PRIMARY KEY, payload BLOB)")
    started = time.perf_counter()
    for _ in range(count // batch):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO journal (payload) VALUES (?)", [(payload,)] * batch)
        connection.execute("COMMIT")
    seconds = time.perf_counter() - started
    connection.close()
    return count // batch * batch / seconds


def make_chart_file(path: Path, bodies: list[bytes], key: bytes) -> None:
    """A SQLite file with the sealed bodies of one person."""
    cipher = AESGCM(key)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE body (pk INTEGER PRIMARY KEY, person TEXT, body BLOB)")
    for pk, body in enumerate(bodies):
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + cipher.encrypt(nonce, body, str(pk).encode())
        connection.execute("INSERT INTO body VALUES (?, 'p', ?)", (pk, sealed))
    connection.execute("CREATE INDEX ix_body ON body (person, pk)")
    connection.commit()
    connection.close()


def chart_app(path: Path, key: bytes) -> web.Application:
    """Reads the rows, opens them, joins them, answers: no token, consent, index or audit."""
    connection = sqlite3.connect(path)
    cipher = AESGCM(key)

    async def everything(_: web.Request) -> web.Response:
        rows = connection.execute("SELECT pk, body FROM body WHERE person = 'p' ORDER BY pk")
        opened = [
            b'{"resource":'
            + cipher.decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], str(pk).encode())
            + b"}"
            for pk, body in rows
        ]
        joined = b'{"resourceType":"Bundle","type":"searchset","entry":[' + b",".join(opened)
        return web.Response(body=joined + b"]}", content_type="application/fhir+json")

    app = web.Application()
    app.router.add_get("/everything", everything)
    return app


def main(arguments: list[str]) -> None:
    """Run one of the floors that are servers."""
    match arguments:
        case ["echo", port]:
            asyncio.run(serve_echo(int(port), None))
        case ["echo", port, folder]:
            asyncio.run(serve_echo(int(port), Certificates(Path(folder)).server()))
        case ["everything", port, path, key]:
            app = chart_app(Path(path), bytes.fromhex(key))
            web.run_app(app, host="127.0.0.1", port=int(port), print=None, access_log=None)
        case _:
            sys.exit("usage: python -m bench.floors echo PORT [FOLDER] | everything PORT FILE KEY")


if __name__ == "__main__":
    main(sys.argv[1:])
