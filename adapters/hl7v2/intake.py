"""The sink of every HL7 v2 wire: judge, journal, then answer.

INVARIANT: no positive answer leaves before the journal has committed the message, and what
could not be stored is answered AR 207: send it again.
"""

import asyncio
import hashlib
from itertools import count

import structlog

from adapters.hl7v2 import ack
from adapters.hl7v2.judge import Judge, Verdict
from adapters.port import JournalEntry, JournalPort, Peer, Wire
from hie.kernel.clock import Clock
from hie.kernel.envelope import AckCode

_log = structlog.get_logger(__name__)


class Hl7Intake:
    """Takes payloads from any HL7 v2 receiver and gives the answer to send back."""

    def __init__(
        self, judge: Judge, journal: JournalPort, clock: Clock, *, store_seconds: float = 30.0
    ) -> None:
        """Join the parts.

        Args:
            judge: decides.
            journal: makes durable.
            clock: dates the answers.
            store_seconds: how long the journal may take before the message is refused.
        """
        self._judge = judge
        self._journal = journal
        self._clock = clock
        self._store_seconds = store_seconds
        self._numbers = count()

    async def take(self, payload: bytes, peer: Peer) -> bytes:
        """The answer to a payload, after it is durable.

        Raises:
            Exception: from a drop folder only, where nobody repeats what could not be stored.
        """
        return await self._answered(payload, peer, self._judge.judge(payload, peer))

    async def refuse_oversize(self, head: bytes, peer: Peer) -> bytes:
        """The answer to a message of which only the beginning was kept."""
        verdict = self._judge.judge(head, peer, is_cut=True)
        return await self._answered(head, peer, verdict)

    async def _answered(self, payload: bytes, peer: Peer, verdict: Verdict) -> bytes:
        entry = JournalEntry(
            source_id=verdict.source_id,
            wire=peer.wire,
            control_id=verdict.control_id,
            payload=payload,
            content_hash=hashlib.sha256(payload).digest(),
            is_accepted=verdict.code.is_positive,
            trigger=verdict.trigger,
            partition=verdict.partition,
            findings=verdict.findings,
            answer=self._answer(verdict),
            batch=peer.batch,
        )
        try:
            async with asyncio.timeout(self._store_seconds):
                journaled = await self._journal.write(entry)
        except Exception as error:  # noqa: BLE001 - the receive loop: whatever failed, nothing is stored
            _log.error("message_not_stored", source=verdict.source_id, error=type(error).__name__)
            if peer.wire is Wire.DROP:
                raise  # nobody would send it again: its file waits and is taken later
            return self._not_stored(verdict)
        if not verdict.code.is_positive:
            _log.warning(
                "message.refused",
                message_id=journaled.message_id,
                source=verdict.source_id,
                peer=peer.address,
                trigger=verdict.trigger,
                answer=verdict.code.value,
                rule=[f"{found.rule} {found.place}".strip() for found in verdict.findings],
            )
        return journaled.answer

    def _answer(self, verdict: Verdict) -> bytes:
        return ack.acknowledge(
            verdict.header,
            verdict.code,
            verdict.findings,
            answer_id=self._answer_id(),
            now_us=self._clock.now_us(),
            text=verdict.text,
        )

    def _not_stored(self, verdict: Verdict) -> bytes:
        return ack.acknowledge(
            verdict.header,
            AckCode.REJECT,
            [self._judge.rules.finding("not-stored")],
            answer_id=self._answer_id(),
            now_us=self._clock.now_us(),
        )

    def _answer_id(self) -> str:
        """MSH-10 of an answer: unique over restarts, within the 20 characters of old versions."""
        return f"{self._clock.now_us():X}.{next(self._numbers) % 10_000:04d}"
