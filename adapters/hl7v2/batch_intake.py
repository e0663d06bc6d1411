"""Batches, taken apart in front of the sink for single messages.

Each message is judged, journaled and answered by itself, in order, a few dozen at a time, so
that they share commits.

INVARIANT: what an answer says was taken is in the journal, as for a message that came alone.
"""

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, replace
from itertools import count
from typing import Final, Protocol

import structlog

from adapters.hl7v2 import ack
from adapters.hl7v2.ack import Header
from adapters.hl7v2.batch import Enclosed, Envelope, Overlong, Splitter, Stray, Unit, is_batch
from adapters.hl7v2.batch_answer import BatchLedger
from adapters.hl7v2.rules import NOWHERE, Place, Rules
from adapters.port import BatchPlace, FrameSink, Peer, Wire
from adapters.sources import Source, SourceRegistry
from hie.kernel.clock import Clock
from hie.kernel.envelope import AckCode, Finding
from hie.kernel.ids import MessageId, SourceId

_log = structlog.get_logger(__name__)

#: Messages of a batch that are worked on at a time: as many as share a commit.
AT_ONCE: Final = 64
_CHUNK_BYTES: Final = 256 * 1024
_HELD_BYTES: Final = 16 * 1024 * 1024  # of messages in work; one longer goes alone
_ANSWER_CODE: Final = re.compile(rb"[\r\n]MSA.([AC][AER])")
_LONGEST_ID: Final = 199

Write = Callable[[bytes], object]


class BatchBook(Protocol):
    """Where batches are journaled."""

    def new_id(self) -> int:
        """The key of a batch to come."""
        ...

    async def open(
        self, batch_id: int, source_id: SourceId, wire: Wire, header: bytes, name: str = ""
    ) -> dict[int, MessageId]:
        """Make the batch's row; where there is one, the messages already taken, by number."""
        ...

    async def answer(self, message_id: MessageId) -> bytes:
        """What a message of the batch was answered with."""
        ...

    async def settle(
        self, batch_id: int, *, messages: int, refused: int, findings: tuple[Finding, ...]
    ) -> None:
        """Every message of the batch has its answer."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """What became of a batch.

    Attributes:
        messages: how many it held.
        refused: how many of them were answered with a refusal.
        findings: about the envelopes.
    """

    messages: int
    refused: int
    findings: tuple[Finding, ...]


class BatchIntake:
    """A sink that takes batches apart and hands single messages on."""

    def __init__(
        self,
        single: FrameSink,
        book: BatchBook,
        sources: SourceRegistry,
        rules: Rules,
        clock: Clock,
        message_bytes: int,
    ) -> None:
        """Join the parts.

        Args:
            single: takes one message.
            book: the journal's rows of batches.
            sources: whose weights hold for remarks about envelopes.
            rules: the remarks.
            clock: dates the answers.
            message_bytes: the longest message of a batch.
        """
        self._single = single
        self._book = book
        self._sources = sources
        self._rules = rules
        self._clock = clock
        self._message_bytes = message_bytes
        self._numbers = count()

    async def take(self, payload: bytes, peer: Peer) -> bytes | None:
        """The answer to a payload, a message or a batch, after it is durable."""
        if not is_batch(payload):
            return await self._single.take(payload, peer)
        answers: list[bytes] = []
        try:
            await self.run(_chunks(payload), peer, answers.append)
        except Exception as error:  # noqa: BLE001 - the receive loop: the sender repeats the batch
            _log.error("batch.not_taken", peer=peer.address, error=type(error).__name__)
            return self.refusal(payload, "not-stored")
        return b"".join(answers)

    async def refuse_oversize(self, head: bytes, peer: Peer) -> bytes | None:
        """The answer to a payload of which only the beginning was kept."""
        if not is_batch(head):
            return await self._single.refuse_oversize(head, peer)
        _log.warning("batch.refused", peer=peer.address, rule=["too-large"])
        return self.refusal(head, "too-large", str(self._message_bytes))

    async def run(
        self,
        chunks: AsyncIterator[bytes],
        peer: Peer,
        write: Write,
        *,
        batch_id: int | None = None,
        name: str = "",
    ) -> BatchResult:
        """Take every message of a file, in bounded memory; answers are written in order.

        Args:
            chunks: the file's bytes.
            peer: who sent it.
            write: takes the answer, piece by piece.
            batch_id: of a file that may have been begun before; what it has taken is not
                taken again.
            name: of the file, to be kept sealed.

        Raises:
            Exception: something could not be stored; what was taken stays taken, and running
                the same batch again takes the rest.
        """
        splitter = Splitter(message_bytes=self._message_bytes)
        run = _Run(self, batch_id or self._book.new_id(), peer, write, name)
        try:
            async for chunk in chunks:
                await run.add(splitter.receive(chunk))
            await run.add(splitter.close())
            return await run.finish()
        finally:
            run.abandon()

    def refusal(self, payload: bytes, rule: str, detail: str = "") -> bytes:
        """A plain answer that refuses a batch as a whole: MSA-2 is its BHS-11 or FHS-11."""
        finding = self._rules.finding(rule, None, NOWHERE, detail)
        header = Header(ack.scan_header(b"").echo, batch_control_id(payload))
        return ack.acknowledge(
            header,
            AckCode.REJECT if finding.code in ack.REJECTING else AckCode.ERROR,
            [finding],
            answer_id=self._answer_id(),
            now_us=self._clock.now_us(),
        )

    def _answer_id(self) -> str:
        return f"B{self._clock.now_us():X}.{next(self._numbers) % 1000:03d}"

    def source(self, header: Envelope | None, peer: Peer) -> Source | None:
        """Whose batch it is, by its own header."""
        if peer.source_id is not None:
            return self._sources.by_id(peer.source_id)
        line = header.line.decode("latin-1") if header else ""
        parts = line.split(line[3]) if len(line) > 3 else []
        application, facility = (*parts[2:4], "", "")[:2]
        return self._sources.for_message(application, facility, peer.certificate, peer.subject)

    def ledger(self, source: Source | None) -> BatchLedger:
        """A ledger whose remarks weigh what the source's file says."""

        def remark(rule: str, place: Place, detail: str) -> Finding:
            return self._rules.finding(rule, source, place, detail)

        return BatchLedger(remark, answer_id=self._answer_id, now_us=self._clock.now_us())

    @property
    def book(self) -> BatchBook:
        """The journal's rows of batches."""
        return self._book

    @property
    def single(self) -> FrameSink:
        """The sink for one message."""
        return self._single


@dataclass(frozen=True, slots=True)
class _Working:
    """A message in work, and what it holds of the memory."""

    task: asyncio.Task[bytes | None]
    size: int


class _Run:
    """One batch while it is taken: units go in, answers come out in the same order."""

    def __init__(
        self, intake: BatchIntake, batch_id: int, peer: Peer, write: Write, name: str
    ) -> None:
        self._intake = intake
        self._batch_id = batch_id
        self._peer = peer
        self._write = write
        self._name = name
        self._ledger: BatchLedger | None = None
        self._source: Source | None = None
        self._taken: dict[int, MessageId] = {}
        self._queue: deque[Envelope | Stray | _Working] = deque()
        self._working = 0
        self._held = 0
        self._numbers = count(1)
        self._refused = 0

    async def add(self, units: Iterable[Unit]) -> None:
        """Begin with these units, and wait while too much is in work."""
        for unit in units:
            if self._ledger is None:
                await self._begin(unit)
            if isinstance(unit, Envelope | Stray):
                self._queue.append(unit)
                continue
            size = len(unit.data) if isinstance(unit, Enclosed) else len(unit.head)
            while self._working and (self._working >= AT_ONCE or self._held + size > _HELD_BYTES):
                await self._advance()
            task = asyncio.create_task(self._take(unit, next(self._numbers)))
            self._queue.append(_Working(task, size))
            self._working += 1
            self._held += size

    async def finish(self) -> BatchResult:
        """Every answer is written and the batch is settled."""
        if self._ledger is None:
            await self._begin(None)
        while self._queue:
            await self._advance()
        ledger = self._opened()
        self._write(ledger.finish())
        result = BatchResult(
            messages=ledger.messages, refused=self._refused, findings=tuple(ledger.findings)
        )
        await self._intake.book.settle(
            self._batch_id,
            messages=result.messages,
            refused=result.refused,
            findings=result.findings,
        )
        _log.info(
            "batch.taken",
            source=self._source.id if self._source else "unknown",
            peer=self._peer.address,
            count=result.messages,
            refused=result.refused,
            rule=[f"{found.rule} {found.place}".strip() for found in result.findings],
        )
        return result

    def abandon(self) -> None:
        """Let go of what is still in work."""
        for item in self._queue:
            if isinstance(item, _Working):
                item.task.cancel()

    async def _begin(self, first: Unit | None) -> None:
        header = first if isinstance(first, Envelope) else None
        self._source = self._intake.source(header, self._peer)
        self._ledger = self._intake.ledger(self._source)
        source_id = self._source.id if self._source else SourceId("unknown")
        self._taken = await self._intake.book.open(
            self._batch_id,
            source_id,
            self._peer.wire,
            header.line if header else b"",
            self._name,
        )

    def _opened(self) -> BatchLedger:
        if self._ledger is None:
            raise RuntimeError("a batch is opened before it is worked on")
        return self._ledger

    async def _take(self, unit: Enclosed | Overlong, number: int) -> bytes | None:
        if number in self._taken:
            return await self._intake.book.answer(self._taken[number])
        place = BatchPlace(batch_id=self._batch_id, number=number)
        peer = replace(self._peer, batch=place)
        if isinstance(unit, Overlong):
            return await self._intake.single.refuse_oversize(unit.head, peer)
        return await self._intake.single.take(unit.data, peer)

    async def _advance(self) -> None:
        """Wait for the oldest item and write what is answered for it."""
        item, ledger = self._queue[0], self._opened()
        if isinstance(item, Envelope):
            self._write(ledger.enter(item))
        elif isinstance(item, Stray):
            ledger.stray(item)
        else:
            answer = await item.task
            self._working -= 1
            self._held -= item.size
            ledger.message(is_answered=bool(answer))
            if answer:
                self._refused += _is_refusal(answer)
                self._write(answer)
        self._queue.popleft()


def batch_control_id(payload: bytes) -> str:
    """BHS-11 or FHS-11 of a payload's first line; empty where it cannot be told."""
    line = payload.lstrip(b"\xef\xbb\xbf \t\r\n\x0b").partition(b"\r")[0].partition(b"\n")[0]
    parts = line[:4096].split(line[3:4]) if len(line) > 3 else []
    found = parts[10].decode("latin-1") if len(parts) > 10 else ""
    return "".join(c for c in found if c.isprintable())[:_LONGEST_ID]


def _is_refusal(answer: bytes) -> bool:
    found = _ANSWER_CODE.search(answer)
    return found is None or found[1][1:] != b"A"


async def _chunks(payload: bytes) -> AsyncIterator[bytes]:
    for begin in range(0, len(payload), _CHUNK_BYTES):
        yield payload[begin : begin + _CHUNK_BYTES]
        await asyncio.sleep(0)
