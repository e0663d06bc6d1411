"""Two hubs that are told the same, but for what one reader must not know of.

Both have one key file, one address, and a clock that stands still between two steps: what has no
part in a difference is the same in both, ids and times too. Random are only the secrets that a
hub gives out, which are blotted out in their full length.
"""

import asyncio
import re
from pathlib import Path
from typing import Any, Self

from adapters.hl7v2.er7 import parse
from hie.exports.model import SETTLE_SECONDS
from tests.conftest import SteppedClock
from tests.support.asked_hub import Fhir, World
from tests.support.exported import ASYNC, NDJSON
from tests.support.hub_process import exchange
from tests.support.made_once import with_tables

ADDRESS = "https://hub.example"
#: Of the process in primary keys, below 512.
TAG = 7
#: Page links sealed with a nonce, ids of jobs and subscriptions, tokens of websockets.
SECRETS = re.compile(
    rb'(?<=_cursor=)[\w-]+|\b[0-9a-f]{32}\b|(?<="token","valueString":")[\w-]{43}|'
    rb"(?<=HDC\|)[^|\r]+"
)

PLAIN = {"Accept-Encoding": "identity"}

#: One answer: status, headers and body.
Answer = tuple[int, dict[str, str], bytes]


def blotted(text: bytes) -> bytes:
    """A text without its secrets, as long as before."""
    return SECRETS.sub(lambda found: b"*" * len(found[0]), text)


class Twin(World):
    """One of two hubs.

    Args:
        home: its folder.
        keys: the key file of both.
        is_whole: whether it holds what is hidden.
    """

    def __init__(self, home: Path, keys: Path, *, is_whole: bool, **settings: str) -> None:
        self.now = SteppedClock()
        self.home = home
        self.is_whole = is_whole
        #: Ids by the names that a feed gives what it writes.
        self.ids: dict[str, str] = {}
        more: dict[str, Any] = {"HIE_KEY_FILE": str(keys), "HIE_BASE_URL": ADDRESS, **settings}
        super().__init__(home, clock=self.now, tag=TAG, **more)

    async def __aenter__(self) -> Self:
        if self.hub.db.is_sqlite:
            await with_tables(self.home / "hub.db")
        return await super().__aenter__()

    async def ask(
        self, who: str, method: str, path: str, body: Fhir | None = None, **headers: str
    ) -> Answer:
        """As of every World, a second after the question before."""
        self.now.step(seconds=1)
        # Compressed, a page would be as long as its sealed link is random.
        return await super().ask(who, method, self._here(path), body, **{**PLAIN, **headers})

    def _here(self, path: str) -> str:
        """A link of the hub's as its port is reached."""
        return path.replace(f"{ADDRESS}/fhir/", self.base)

    async def told(
        self, who: str, method: str, path: str, body: Fhir | None = None, **headers: str
    ) -> list[Answer]:
        """An answer with all its pages, secrets blotted out."""
        pages = []
        at: str | None = path
        while at is not None:
            status, sent, text = await self.ask(who, method, at, body, **headers)
            pages.append((status, _blotted(sent), blotted(text)))
            following = re.search(rb'"relation":"next","url":"([^"]+)"', text)
            at = following[1].decode() if status == 200 and following else None
            method, body = "GET", None
        return pages

    async def exported(self, who: str, path: str) -> list[Answer]:
        """A bulk export: how it was begun, the manifest and every file."""
        status, sent, text = await self.ask(who, "GET", path, **ASYNC)
        told = [(status, _blotted(sent), blotted(text))]
        if status != 202:
            return told
        self.now.step(seconds=SETTLE_SECONDS)
        job = sent["Content-Location"]
        while True:
            found = await self._still(who, job)
            if found[0] != 202:
                break
            await asyncio.sleep(0.05)
        self.now.step(seconds=1)
        told.append((found[0], _blotted(found[1]), blotted(found[2])))
        for url in re.findall(rb'"url":"([^"]+)"', found[2]):
            told += await self.told(who, "GET", url.decode(), None, Accept=NDJSON)
        return told

    async def _still(self, who: str, job: str) -> Answer:
        """The state of a job; how often it is asked for is no matter."""
        return await super().ask(who, "GET", self._here(job), None, **PLAIN)

    async def query(self, message: bytes) -> list[Answer]:
        """What an HL7 v2 query is answered; MSH has a time and a number of its own."""
        self.now.step(seconds=1)
        answers: list[bytes] = []
        await exchange(self.mllp_port, [message], answers)
        await self.hub.worker.idle()
        (answer,) = answers
        head = parse(answer).get("MSH-9") or ""
        return [(0, {"MSH-9": head}, blotted(answer.partition(b"\r")[2]))]

    async def send(self, *messages: bytes) -> None:
        self.now.step(seconds=1)
        await super().send(*messages)
        await self.hub.worker.idle()


def _blotted(headers: dict[str, str]) -> dict[str, str]:
    return {name: blotted(value.encode()).decode() for name, value in headers.items()}


def differences(whole: dict[str, Any], plain: dict[str, Any]) -> dict[str, str]:
    """By question what its two answers differ in, the first place of it."""
    found = {}
    for question, answer in whole.items():
        other = plain[question]
        if answer == other:
            continue
        if len(answer) != len(other):
            found[question] = f"{len(answer)} pages and {len(other)}"
            continue
        at = next(n for n in range(len(answer)) if answer[n] != other[n])
        found[question] = f"page {at}: {_first(answer[at], other[at])}"
    return found


def _first(one: Answer, other: Answer) -> str:
    if one[0] != other[0]:
        return f"status {one[0]} and {other[0]}"
    if one[2] == other[2]:
        return f"headers {set(one[1].items()) ^ set(other[1].items())}"
    at = next(
        (n for n, (a, b) in enumerate(zip(one[2], other[2], strict=False)) if a != b),
        min(len(one[2]), len(other[2])),
    )
    start = max(0, at - 80)
    return f"{one[2][start : at + 120]!r}\n    and {other[2][start : at + 120]!r}"
