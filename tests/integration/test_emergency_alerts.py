"""The privacy office is told over TLS that an emergency access awaits review, and of nobody."""

import asyncio
import hashlib
import hmac
import json
import shutil
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from sqlalchemy import text

from hie.kernel.clock import SECOND_US
from tests.integration.test_break_glass import Clock, Ward
from tests.support.certificates import Authority, Certificate
from tests.support.made_once import with_tables
from tests.support.ports import free_port
from tests.support.subscribers import until

ROOT = Path(__file__).resolve().parents[2]
SECRET = b"k" * 32


class Office:
    """The privacy office's web server, with a certificate of its own authority."""

    def __init__(self) -> None:
        self.port = free_port()
        self.status = 503
        self.taken: list[tuple[dict[str, str], bytes]] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.taken.append((dict(request.headers), await request.read()))
        return web.Response(status=self.status, headers={"Location": "https://elsewhere.example/"})

    async def asked(self, before: int) -> None:
        """Wait until somebody asked once more."""
        await until(lambda: len(self.taken) > before)

    @asynccontextmanager
    async def listening(self, shown: Certificate) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_post("/alerts", self.handle)
        runner = web.AppRunner(app)
        await runner.setup()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(shown.certificate, shown.private_key)
        await web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=context).start()
        try:
            yield
        finally:
            await runner.cleanup()


def configured(folder: Path, office: Office, authority: Authority) -> str:
    """A config folder that names the office."""
    config, secret = folder / "config", folder / "secret"
    shutil.copytree(ROOT / "config", config)
    secret.write_bytes(SECRET)
    secret.chmod(0o600)
    path = config / "consent" / "emergency.toml"
    told = path.read_text()
    for key, value in (
        ("url", f"https://127.0.0.1:{office.port}/alerts"),
        ("secret_file", str(secret)),
        ("authorities", str(authority.certificate)),
    ):
        assert f'{key} = ""' in told
        told = told.replace(f'{key} = ""', f'{key} = "{value}"', 1)
    path.write_text(told)
    return str(config)


@dataclass(frozen=True)
class Alert:
    """How far the one alert is."""

    attempts: int
    due_us: int
    settled_us: int | None


async def so(is_so: Callable[[Alert], bool], ward: Ward) -> Alert:
    """Wait until it is so of the one alert."""
    query = text("SELECT attempts, due_us, settled_us FROM emergency_alert")
    async with asyncio.timeout(60):
        while True:
            async with ward.hub.db.reading() as conn:
                found = Alert(*(await conn.execute(query)).one())
            if is_so(found):
                return found
            await asyncio.sleep(0.02)


async def put_off(ward: Ward, tries: int) -> Alert:
    """Wait until it was not taken so often, and waits for its next try.

    The clock may move only then: a try under way would be put off from the later time.
    """
    # A try claims it for a minute; the first ones that fail put it off for less.
    soon_us = ward.time.us + 30 * SECOND_US
    return await so(lambda one: one.attempts == tries and one.due_us < soon_us, ward)


async def test_the_privacy_office_is_told_a_number_until_it_takes_it(tmp_path: Path):
    office, authority = Office(), Authority(tmp_path)
    config = configured(tmp_path, office, authority)
    home, clock = tmp_path / "home", Clock()
    await with_tables(home / "hub.db")
    async with Ward(home, clock, HIE_CONFIG=config) as ward:
        await ward.fill()
        # Somebody else answers there: their certificate is another authority's. Nothing is told.
        other = Authority(tmp_path, "Somebody else").issue("office.example")
        async with office.listening(other):
            await ward.break_glass()
            await put_off(ward, 1)
        assert office.taken == []

        own = authority.issue("office.example")
        async with office.listening(own):
            # It is away, then sends elsewhere: neither has taken it.
            for tries, status in ((2, 503), (3, 307)):
                office.status, before = status, len(office.taken)
                clock.us += 60 * SECOND_US
                await office.asked(before)
                assert (await put_off(ward, tries)).settled_us is None
            office.status, before = 200, len(office.taken)
            clock.us += 60 * SECOND_US
            await office.asked(before)
            await so(lambda one: one.settled_us is not None, ward)
        headers, body = office.taken[-1]
        told = json.loads(body)
        assert set(told) == {"id", "kind", "number", "at"}
        assert {one for _, one in office.taken} == {body}, "each try tells the same"
        assert headers["X-HIE-Event"] == told["id"] == f"emergency-{told['number']}"
        signed = hmac.new(SECRET, headers["X-HIE-Timestamp"].encode() + b"." + body, hashlib.sha256)
        assert headers["X-HIE-Signature"] == f"sha256={signed.hexdigest()}"
        everything = (body + json.dumps(headers).encode()).lower()
        names = ("hortensia", "quillfeather", ward.ids["person"], "grey", "aurelia")
        assert not [name for name in names if name.encode() in everything]
