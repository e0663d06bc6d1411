"""The sink of every HL7 v2 wire: judge, journal, then answer.

INVARIANT: no positive answer leaves before the journal has committed the message, and what
could not be stored is answered AR 207 (CR in enhanced mode): send it again. Where the sender
asked for no such answer, the connection is closed instead: silence would say that all is well.
"""

import asyncio
import hashlib
from collections import defaultdict
from dataclasses import replace
from itertools import count
from typing import Final

import structlog

from adapters.hl7v2 import ack, modes
from adapters.hl7v2.ack import Response
from adapters.hl7v2.judge import Judge, Verdict
from adapters.hl7v2.meters import IntakeMeters
from adapters.hl7v2.modes import Reply
from adapters.hl7v2.pace import Pace
from adapters.hl7v2.query_desk import QueryDesk
from adapters.hl7v2.rules import Place
from adapters.hl7v2.sequence import Kind, Numbered, place
from adapters.links import Links
from adapters.port import JournalEntry, JournalPort, Peer, SequenceStep, Wire
from adapters.pressure import Gate
from adapters.sources import Source
from hie.kernel.clock import Clock
from hie.kernel.envelope import AckCode, Finding
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import SourceId

_MSH_13: Final = Place("MSH", 1, 13)
_REMARKED: Final = frozenset({Kind.MISSING, Kind.UNREADABLE, Kind.GAP, Kind.DUPLICATE})
_log = structlog.get_logger(__name__)


class Hl7Intake:
    """Takes payloads from any HL7 v2 receiver and gives the answer to send back."""

    def __init__(  # noqa: PLR0913 - joined once, each by name
        self,
        judge: Judge,
        journal: JournalPort,
        clock: Clock,
        *,
        meters: IntakeMeters | None = None,
        gate: Gate | None = None,
        desk: QueryDesk | None = None,
        store_seconds: float = 30.0,
    ) -> None:
        """Join the parts.

        Args:
            judge: decides.
            journal: makes durable.
            clock: dates the answers.
            meters: count what is answered.
            gate: while it is closed the messages of batches wait; single ones are held back
                by whoever reads them.
            desk: answers queries; None = they are messages like others.
            store_seconds: how long the journal may take before the message is refused.
        """
        self._judge = judge
        self._journal = journal
        self._clock = clock
        self._store_seconds = store_seconds
        self._numbers = count()
        self._pace = Pace()
        self._turns: defaultdict[SourceId, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._links = Links(journal)
        self._gate = gate or Gate()
        self._desk = desk
        self._meters = meters or IntakeMeters()

    async def take(self, payload: bytes, peer: Peer) -> bytes | None:
        """The answer to a payload, after it is durable; None where the sender wants none.

        Raises:
            HieError: BUSY; it could not be stored and the sender wants no answer that says so,
                or it came from a drop folder, where nobody repeats it.
        """
        if peer.batch is not None:
            await self._gate.opened()  # a file is not slowed by anything else
        verdict = self._judge.judge(payload, peer)
        for quirk in peer.quirks:
            self._meters.quirk(verdict.source_id, quirk)
        source = verdict.source
        if source is None:
            return await self._answered(payload, peer, verdict)
        await self._paced(source)
        if source.wire.is_sequenced and not verdict.is_gated and not verdict.header.is_answer:
            return await self._numbered(payload, peer, verdict, source)
        return await self._answered(payload, peer, verdict)

    async def refuse_oversize(self, head: bytes, peer: Peer) -> bytes | None:
        """The answer to a message of which only the beginning was kept."""
        verdict = self._judge.judge(head, peer, is_cut=True)
        return await self._answered(head, peer, verdict)

    async def _paced(self, source: Source) -> None:
        """Wait until the source may send again."""
        policy = source.wire
        if policy.per_second <= 0:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        seconds = self._pace.delay(source.id, now, per_second=policy.per_second, burst=policy.burst)
        if seconds > 0:
            self._meters.waited(source.id, seconds)
        # In turn: where the process stood still, one that need not wait would overtake those
        # that did.
        async with self._turns[source.id]:
            if (left := now + seconds - loop.time()) > 0:
                await asyncio.sleep(left)

    async def _numbered(
        self, payload: bytes, peer: Peer, verdict: Verdict, source: Source
    ) -> bytes | None:
        """As `_answered`, by the rules of the sequence number protocol."""
        async with self._links.link(source.id) as link:
            numbered = place(link.last, verdict.header.sequence)
            self._meters.numbered(source.id, numbered.kind)
            if numbered.kind is Kind.DUPLICATE:
                first = await self._journal.first_answer(self._entry(payload, peer, verdict))
                if first is not None:
                    return first or None
            verdict = self._reweighed(verdict, source, numbered)
            is_link = numbered.kind.is_link and verdict.is_bare
            step = None
            if verdict.code.is_positive and numbered.after != link.last:
                step = SequenceStep(before=link.last, after=numbered.after)
            entry = self._entry(payload, peer, verdict, numbered)
            entry = replace(entry, step=step, is_momentary=is_link)
            answer, is_stored = await self._settled(entry, peer, verdict, numbered)
            link.settled(step, is_stored=is_stored)
            return answer

    def _reweighed(self, verdict: Verdict, source: Source, numbered: Numbered) -> Verdict:
        """The verdict with what is to be said about the number."""
        if numbered.kind.is_link and verdict.is_bare:
            # Only its header counts: the rest of a message is not asked of it.
            return self._judge.reweighed(verdict, ())
        if numbered.kind not in _REMARKED:
            return verdict
        found = self._judge.rules.finding(f"sequence-{numbered.kind}", source, _MSH_13)
        return self._judge.reweighed(verdict, (*verdict.findings, found))

    async def _answered(self, payload: bytes, peer: Peer, verdict: Verdict) -> bytes | None:
        answer, _ = await self._settled(self._entry(payload, peer, verdict), peer, verdict)
        return answer

    async def _settled(
        self, entry: JournalEntry, peer: Peer, verdict: Verdict, numbered: Numbered | None = None
    ) -> tuple[bytes | None, bool]:
        """The answer to an entry once it is in the journal, and whether it is."""
        desk, source = self._desk, verdict.source
        if desk is None or source is None or verdict.is_gated or not desk.speaks(verdict.trigger):
            return await self._written(entry, peer, verdict)
        asked = await desk.answer(entry.payload, peer, verdict, source)
        # The asker waits for the response itself, whatever MSH-15 and MSH-16 say.
        code = ack.decide(asked.findings)
        verdict = replace(verdict, code=code, findings=asked.findings, reply=Reply(code=code))
        kept = self._answer(verdict, numbered, asked.kept)
        entry = replace(
            entry,
            is_accepted=asked.is_read,
            is_momentary=True,
            findings=asked.findings,
            application="",
            answer=kept,
        )
        answer, is_stored = await self._written(entry, peer, verdict)
        if is_stored:
            answer = self._answer(verdict, numbered, asked.response)
        return answer, is_stored

    def _entry(
        self, payload: bytes, peer: Peer, verdict: Verdict, numbered: Numbered | None = None
    ) -> JournalEntry:
        return JournalEntry(
            source_id=verdict.source_id,
            wire=peer.wire,
            control_id=verdict.control_id,
            payload=payload,
            content_hash=hashlib.sha256(payload).digest(),
            is_accepted=verdict.code.is_positive,
            trigger=verdict.trigger,
            partition=verdict.partition,
            partitions=verdict.partitions,
            findings=verdict.findings,
            answer=self._answer(verdict, numbered),
            application=verdict.reply.application,
            batch=peer.batch,
        )

    async def _written(
        self, entry: JournalEntry, peer: Peer, verdict: Verdict
    ) -> tuple[bytes | None, bool]:
        """The answer to an entry once it is in the journal, and whether it is."""
        try:
            async with asyncio.timeout(self._store_seconds):
                journaled = await self._journal.write(entry)
        except Exception as error:  # the receive loop: whatever failed, nothing is stored
            _log.error("message_not_stored", source=verdict.source_id, error=type(error).__name__)
            if peer.wire is Wire.DROP:
                raise  # nobody would send it again: its file waits and is taken later
            return self._not_stored(verdict), False
        self._meters.answered(verdict.source_id, verdict.reply.code, is_repeat=journaled.is_repeat)
        if not entry.is_accepted:
            _log.warning(
                "message.refused",
                message_id=journaled.message_id,
                source=verdict.source_id,
                peer=peer.address,
                certificate=peer.subject,
                trigger=verdict.trigger,
                answer=verdict.code.value,
                rule=[f"{found.rule} {found.place}".strip() for found in verdict.findings],
            )
        return journaled.answer or None, True

    def _answer(
        self, verdict: Verdict, numbered: Numbered | None, response: Response | None = None
    ) -> bytes:
        code = verdict.reply.code
        if code is None:
            return b""
        expected = None
        if numbered:
            expected = numbered.accepted if code.is_positive else numbered.expected
        return self._acknowledged(verdict, code, verdict.findings, expected, response)

    def _not_stored(self, verdict: Verdict) -> bytes:
        """AR or CR.

        Raises:
            HieError: BUSY where the sender wants no such answer.
        """
        policy = verdict.source.wire if verdict.source else None
        header = verdict.header
        code: AckCode | None = None if header.is_answer else AckCode.REJECT
        if policy and not header.is_answer:
            reply = modes.reply_of(AckCode.REJECT, header.accept, header.application, policy)
            code = reply.code
        self._meters.answered(verdict.source_id, code, is_repeat=False)
        if code is None:
            raise HieError(Category.BUSY, "the message could not be stored")
        return self._acknowledged(verdict, code, (self._judge.rules.finding("not-stored"),))

    def _acknowledged(
        self,
        verdict: Verdict,
        code: AckCode,
        findings: tuple[Finding, ...],
        expected: int | None = None,
        response: Response | None = None,
    ) -> bytes:
        return ack.acknowledge(
            verdict.header,
            code,
            findings,
            answer_id=self._answer_id(),
            now_us=self._clock.now_us(),
            text=verdict.text if code.is_positive else "",
            expected=expected,
            response=response,
        )

    def _answer_id(self) -> str:
        """MSH-10 of an answer: unique over restarts, within the 20 characters of old versions."""
        return f"{self._clock.now_us():X}.{next(self._numbers) % 10_000:04d}"
