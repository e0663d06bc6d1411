"""Sends the parcels as five sources would: side by side, each source in its own order."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

import aiohttp

from adapters.hl7v2.send import Destination, MllpClient
from adapters.hl7v2.tls import TlsSettings
from hie.demo.certificates import DemoCertificates
from hie.demo.lists import Sender
from hie.demo.parcels import Expected, Parcel, Wire
from hie.demo.progress import Progress
from hie.demo.summary import Addresses, Sent
from hie.kernel.errors import Category, HieError

_TIMEOUT: Final = aiohttp.ClientTimeout(total=60)
_ATTEMPTS: Final = 5
_PAUSE_SECONDS: Final = 0.5
_POSITIVE: Final = frozenset({"AA", "CA"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A parcel and what came back.

    Attributes:
        answer: MSA-1, or the HTTP status; empty when nothing came.
        text: what a refusal says.
    """

    parcel: Parcel
    answer: str
    text: str = ""

    @property
    def is_positive(self) -> bool:
        """Whether the sender may forget the message."""
        return self.answer in _POSITIVE or (len(self.answer) == 3 and self.answer[0] == "2")

    @property
    def is_as_expected(self) -> bool:
        """Whether it was answered, and as the story wants it."""
        wanted = self.parcel.expected is Expected.ACCEPTED
        return bool(self.answer) and self.is_positive == wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """How to reach the hub: addresses, certificates, and a write token per source."""

    addresses: Addresses
    certificates: DemoCertificates
    tokens: Mapping[str, str]


async def send_all(
    feeds: Mapping[str, Sequence[Parcel]],
    senders: Mapping[str, Sender],
    routes: Routes,
    progress: Progress,
) -> tuple[Sent, tuple[Delivery, ...]]:
    """Every parcel's delivery, and the totals.

    Raises:
        ExceptionGroup: of HieError BUSY, when the hub cannot be reached.
    """
    begun = time.monotonic()
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_send_feed(feed, senders[source], routes, progress))
            for source, feed in feeds.items()
        ]
    deliveries = tuple(delivery for task in tasks for delivery in task.result())
    sent = Sent(
        messages=len(deliveries),
        seconds=time.monotonic() - begun,
        answers=Counter((d.parcel.kind, d.answer) for d in deliveries),
    )
    return sent, deliveries


def destination(sender: Sender, routes: Routes) -> Destination:
    """Where a source's MLLP connection goes: TLS with its own certificate, or plain."""
    where = routes.addresses
    if sender.wire != "tls":
        return Destination(host=where.host, port=where.mllp_port)
    client = routes.certificates.clients[sender.source]
    tls = TlsSettings(
        certificate=client.certificate,
        private_key=client.private_key,
        authorities=routes.certificates.authority,
    )
    return Destination(host=where.host, port=where.mllps_port, tls=tls)


async def _send_feed(
    feed: Sequence[Parcel], sender: Sender, routes: Routes, progress: Progress
) -> list[Delivery]:
    done = []
    async with AsyncExitStack() as stack:
        carrier = _Carrier(stack, sender, routes)
        for parcel in feed:
            delivery = await carrier.carry(parcel)
            done.append(delivery)
            progress.step(delivery.answer or "none")
    return done


class _Carrier:
    """One source's connections, opened when first needed."""

    def __init__(self, stack: AsyncExitStack, sender: Sender, routes: Routes) -> None:
        self._stack = stack
        self._sender = sender
        self._routes = routes
        self._mllp: MllpClient | None = None
        self._http: aiohttp.ClientSession | None = None

    async def carry(self, parcel: Parcel) -> Delivery:
        """The answer; what is not answered in time is sent again, as it was."""
        for _ in range(_ATTEMPTS - 1):
            try:
                delivery = await self._carry_once(parcel)
            except HieError as error:
                if error.category is not Category.BUSY:
                    raise
            else:
                if delivery.answer != "503":
                    return delivery
            await asyncio.sleep(_PAUSE_SECONDS)
        return await self._carry_once(parcel)

    async def _carry_once(self, parcel: Parcel) -> Delivery:
        if parcel.wire is Wire.FHIR:
            return await self._post(parcel)
        if self._mllp is None:
            client = MllpClient(destination(self._sender, self._routes))
            self._mllp = await self._stack.enter_async_context(client)
        reply = await self._mllp.send(parcel.payload)
        return Delivery(parcel=parcel, answer=reply.code, text=reply.text)

    async def _post(self, parcel: Parcel) -> Delivery:
        if self._http is None:
            session = aiohttp.ClientSession(timeout=_TIMEOUT)
            self._http = await self._stack.enter_async_context(session)
        headers = {
            "Authorization": f"Bearer {self._routes.tokens[parcel.source]}",
            "Content-Type": "application/fhir+json",
            "X-Request-Id": parcel.control_id,
        }
        url = self._routes.addresses.fhir + parcel.path
        try:
            async with self._http.post(url, data=parcel.payload, headers=headers) as response:
                text = "" if response.ok else _diagnostics(await response.json(content_type=None))
                return Delivery(parcel=parcel, answer=str(response.status), text=text)
        except (aiohttp.ClientError, TimeoutError) as error:
            text = f"no answer from {url} ({type(error).__name__})"
            raise HieError(Category.BUSY, text) from error


def _diagnostics(outcome: object) -> str:
    """The first issue of an OperationOutcome, in its words."""
    issues = outcome.get("issue", ()) if isinstance(outcome, dict) else ()
    return next((str(issue.get("diagnostics", "")) for issue in issues), "")
