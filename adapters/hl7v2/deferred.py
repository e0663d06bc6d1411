"""Application acknowledgements of enhanced mode, sent to the senders' own listeners.

What a message came to is told once, after it was worked off: processed or kept is AA, parked
is AE. The queue is in the database (`adapters.outbox`): what could not be sent is tried again,
at growing intervals, also after a restart, until the time in the source's file is over. Each
source has a task of its own, so that a listener that is down holds up nobody else's.
Spec: HL7 v2.8.2 chapter 2, 2.9.3 (enhanced mode).
"""

from collections.abc import Iterable
from itertools import count
from typing import Final

import structlog

from adapters.hl7v2 import ack, er7, modes
from adapters.hl7v2.ack import Header
from adapters.hl7v2.meters import DeliveryMeters
from adapters.hl7v2.send import MllpClient, Reply, destination_of
from adapters.hl7v2.tls import TlsSettings
from adapters.message import Outcome, State
from adapters.outbox import Acknowledgement, Delivery, Outbox, Queued
from adapters.sources import Source, SourceRegistry
from hie.courier import Courier
from hie.kernel.clock import SECOND_US, Clock
from hie.kernel.envelope import AckCode, Finding, Severity
from hie.kernel.errors import HieError
from hie.kernel.ids import SourceId

_STOPPED: Final = frozenset({State.PARKED, State.DISCARDED})
_DELIVERED: Final = frozenset({AckCode.ACCEPT.value, AckCode.COMMIT_ACCEPT.value})
#: The listener says that this very message is wrong: sending it again changes nothing.
_FINAL: Final = frozenset({AckCode.ERROR.value, AckCode.COMMIT_ERROR.value})
_AT_ONCE: Final = 32
_POLL_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 30.0
_log = structlog.get_logger(__name__)


class AcknowledgementMaker:
    """Writes application acknowledgements, in the sender's version and character set."""

    def __init__(self, sources: SourceRegistry, clock: Clock) -> None:
        self._sources = sources
        self._clock = clock
        self._numbers = count()

    def make(self, outcome: Outcome) -> Acknowledgement | None:
        """What is to be sent about an outcome; None where the sender does not want it told."""
        findings = _findings(outcome)
        code = ack.decide(findings)
        if not modes.is_wanted(outcome.condition, is_good=code.is_positive):
            return None
        now_us = self._clock.now_us()
        payload = ack.acknowledge(
            self._header(outcome),
            code,
            findings,
            answer_id=f"D{now_us:X}.{next(self._numbers) % 1000:03d}",
            now_us=now_us,
            text="message is kept, not mapped" if outcome.state is State.KEPT else "",
            is_application=True,
        )
        return Acknowledgement(code=code.value, payload=payload)

    def _header(self, outcome: Outcome) -> Header:
        source = self._sources.by_id(outcome.source_id)
        try:
            return ack.header_of(er7.parse(outcome.payload, (source and source.charset) or None))
        except HieError:
            return ack.scan_header(outcome.payload)


class ApplicationAcknowledger:
    """Delivers what waits in the queue."""

    def __init__(
        self,
        outbox: Outbox,
        sources: SourceRegistry,
        clock: Clock,
        own: TlsSettings | None = None,
        meters: DeliveryMeters | None = None,
        first_seconds: float = 5.0,
    ) -> None:
        """Join the parts.

        Args:
            outbox: the queue.
            sources: where their listeners are.
            clock: says how long an acknowledgement has waited.
            own: the hub's certificate, shown to listeners that speak TLS.
            meters: count what is delivered.
            first_seconds: until the second try; each further one waits twice as long, up to
                120 times this.
        """
        self._outbox = outbox
        self._sources = sources
        self._clock = clock
        self._own = own or TlsSettings()
        self._meters = meters or DeliveryMeters()
        self._first_seconds = first_seconds
        self._courier: Courier[SourceId] = Courier(
            "acknowledgement",
            self._look,
            self._deliver,
            clock,
            poll_seconds=_POLL_SECONDS,
            rest_seconds=_POLL_SECONDS,
        )
        outbox.on_queued = self._courier.wake

    async def run(self) -> None:
        """Deliver until cancelled."""
        await self._courier.run()

    async def _look(self) -> Iterable[tuple[SourceId, int]]:
        """The sources that something waits for, and since when."""
        self._meters.waiting = await self._outbox.counts()
        return await self._outbox.sources()

    async def _deliver(self, source_id: SourceId) -> None:
        """Send what is due for one source, oldest first, until something stops it."""
        source = self._sources.by_id(source_id)
        listener = source.wire.application_to if source else None
        client = (
            MllpClient(destination_of(listener, self._own, _ANSWER_SECONDS)) if listener else None
        )
        try:
            while waiting := await self._outbox.due(source_id, _AT_ONCE):
                for queued in waiting:
                    if not await self._send(client, queued, source):
                        return
        finally:
            if client:
                await client.close()

    async def _send(self, client: MllpClient | None, queued: Queued, source: Source | None) -> bool:
        """Try one; whether the next may be tried."""
        if client is None or source is None:
            await self._give_up(queued, "its source's file names no listener")
        elif not queued.payload:
            await self._give_up(queued, "the record it speaks of was erased")
        elif await self._outbox.claim(queued):
            return await self._exchange(client, queued, source)
        return True

    async def _exchange(self, client: MllpClient, queued: Queued, source: Source) -> bool:
        """Send one and hear what the listener says; whether the next may be tried."""
        try:
            reply = await client.send(queued.payload)
        except HieError as error:
            code, reason = "", error.text
        else:
            code, reason = reply.code, _reason(reply)
        if code in _DELIVERED:
            await self._outbox.settle(queued.pk, Delivery.DELIVERED)
            self._meters.settled(queued.source_id, Delivery.DELIVERED)
            return True
        waited = (self._clock.now_us() - queued.created_us) / SECOND_US
        if code in _FINAL or waited > source.wire.give_up_seconds:
            await self._give_up(queued, reason)
            return True
        seconds = self._first_seconds * min(2.0**queued.attempts, 120.0)
        await self._outbox.postpone(queued, reason, seconds)
        self._meters.postponed(queued.source_id)
        return False

    async def _give_up(self, queued: Queued, reason: str) -> None:
        await self._outbox.settle(queued.pk, Delivery.GIVEN_UP, reason)
        self._meters.settled(queued.source_id, Delivery.GIVEN_UP)
        _log.warning(
            "acknowledgement.given_up",
            source=queued.source_id,
            message_id=queued.message_id,
            answer=queued.code,
            attempts=queued.attempts + 1,
            reason=reason,
        )


def _findings(outcome: Outcome) -> tuple[Finding, ...]:
    """What speaks against a message: why it was refused, or that it is parked."""
    if outcome.state is State.REFUSED:
        return outcome.findings
    if outcome.state not in _STOPPED:
        return ()
    text = f"message is kept for the hub's staff, who finish it: {outcome.reason}"
    return (Finding(code="102", rule="parked", text=text, severity=Severity.ERROR),)


def _reason(reply: Reply) -> str:
    """Why a reply is no delivery; made of our own words, for a log."""
    return f"the listener answered {reply.code}" if reply.code else "its answer has no code"
