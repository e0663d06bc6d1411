"""Any bytes give an answer or a counted drop, in bounded time and memory: the whole way in.

Frame, tokenizer, conformance, judgement, journal, answer, batch and map, as the hub joins
them, with the journal in memory. `HIE_TEST_FUZZ` sets the number of frames.
"""

import asyncio
import logging
import multiprocessing
import os
import random
import resource
import sys
import time
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import structlog

from adapters.hl7v2 import er7
from adapters.hl7v2.batch import is_batch
from adapters.hl7v2.batch_intake import BatchIntake
from adapters.hl7v2.conform import Conformer
from adapters.hl7v2.frame import FrameLimits, Framer, Hopeless, Noise, Oversize, Payload, Truncated
from adapters.hl7v2.frame import frame as framed
from adapters.hl7v2.intake import Hl7Intake
from adapters.hl7v2.judge import IntakeSettings, Judge
from adapters.hl7v2.mapper import Mapper
from adapters.hl7v2.maps import load_maps
from adapters.hl7v2.rules import load_rules
from adapters.port import Journaled, JournalEntry, Peer, Wire
from adapters.sources import SourceRegistry, adhoc_source
from hie.kernel.clock import SystemClock
from hie.kernel.envelope import Finding
from hie.kernel.errors import HieError
from hie.kernel.ids import MessageId, SourceId
from tests.support.fuzz import Fuzzer
from tests.support.hl7_shapes import SHAPES

ROOT = Path(__file__).parents[2]
IS_LONG = os.environ.get("HIE_TEST_LONG") == "1"
#: A build server repeats what it found; fresh seeds are for people, who read what they find.
IS_FRESH = IS_LONG and os.environ.get("CI") != "true"
FRAMES = int(os.environ.get("HIE_TEST_FUZZ", "1000000" if IS_LONG else "20000"))
PROCESSES = min(2, os.cpu_count() or 1)
WATCHED = frozenset(str(path) for path in (ROOT / "adapters" / "hl7v2").glob("*.py"))
PEER = Peer(address="127.0.0.1:1", wire=Wire.MLLP)
LIMITS = FrameLimits(payload_bytes=9_000, head_bytes=500, noise_bytes=6_000, refused_bytes=20_000)
SECONDS = 2.0  # of processor time for one input of at most 12 kB, far above the usual
GROWTH_MB = 400
ANSWER_BYTES = 40_000
MAPPED = (
    0.03 if IS_LONG else 0.05
)  # of the messages are judged and mapped once more, which takes most of the time
SHARE = 0.01 if IS_LONG else 0.02  # of the inputs whose lines are watched

HOSTILE = (
    b"",
    b"MSH",
    b"MSH|",
    b"MSH|^~\\&|A|B|||20260101||ADT^A01|1|P|2.5\r",
    b"MSH|^~\\&|A|B|||20260101||ADT^A01|1|P|2.5||||AL|ER\rPID|1||1||N",
    b"MSH|^~\\&|A|B|||20260101||ORU^R01|1|P|2.3||||||8859/1\rPID|1||1\rOBX|1|TX|1||\xe9\\.sp999\\",
    b"BHS|^~\\&|A|B|||||||7\rMSH|^~\\&|A|B|||1||ACK|1|P|2.5\rMSA|AA|1\rBTS|1\r",
    b"FHS|^~\\&\rBHS|^~\\&\rBHS|^~\\&\rMSH|^~\\&|A|B|||1||ADT^A03|2|P|2.5\rBTS|9\rFTS",
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00",
)


class MemoryJournal:
    """Counts entries and keeps none."""

    def __init__(self) -> None:
        self.count = 0

    async def write(self, entry: JournalEntry) -> Journaled:
        self.count += 1
        return Journaled(message_id=MessageId(self.count), answer=entry.answer)

    async def first_answer(self, entry: JournalEntry) -> bytes | None:
        return None

    async def last_sequence(self, source_id: SourceId) -> int | None:
        return None


class MemoryBook:
    """Batches that nothing remembers."""

    def new_id(self) -> int:
        return 1

    async def open(self, *_: object, **__: object) -> dict[int, MessageId]:
        return {}

    async def answer(self, message_id: MessageId) -> bytes:
        return b""

    async def settle(self, *_: object, **__: object) -> None:
        return None


class Target:
    """The whole way in."""

    def __init__(self, seed: int) -> None:
        rules = load_rules(ROOT / "config/hl7v2/conformance.toml")
        self.mapper = Mapper(load_maps(ROOT / "config"))
        registry = SourceRegistry([], allow_adhoc=True)
        self.judge = Judge(
            registry, Conformer(rules), self.mapper.supports, IntakeSettings(message_bytes=8_000)
        )
        self.journal, clock = MemoryJournal(), SystemClock()
        single = Hl7Intake(self.judge, self.journal, clock)
        self.sink = BatchIntake(single, MemoryBook(), registry, rules, clock, 8_000)
        self.dice = random.Random(seed)
        self.source = adhoc_source("FEED", "HOSP")
        self.drops = self.frames = 0

    async def __call__(self, data: bytes) -> Iterable[Hashable]:
        began = time.process_time()
        features: set[Hashable] = set()
        for event in self.events(data):
            match event:
                case Payload(payload):
                    self.frames += 1
                    features |= await self.taken(payload)
                case Oversize(head):
                    self.frames += 1
                    features |= self.checked(await self.sink.refuse_oversize(head, PEER))
                case Noise() | Truncated() | Hopeless():
                    self.drops += 1
                    features.add(type(event).__name__)
        assert time.process_time() - began < SECONDS
        return features

    def events(self, data: bytes) -> Iterator[object]:
        """The frames of an input: enclosed as a message mostly, sometimes as a raw stream."""
        stream = data if self.dice.random() < 0.1 else framed(data)
        framer = Framer(LIMITS)
        cut = self.dice.randrange(len(stream) + 1)
        yield from framer.receive(stream[:cut])
        yield from framer.receive(stream[cut:])
        yield from framer.close()

    async def taken(self, payload: bytes) -> set[Hashable]:
        before = self.journal.count
        answer = await self.sink.take(payload, PEER)
        if is_batch(payload):
            return {"batch", answer is None}
        # An answer, or a message in the journal whose sender wants none.
        assert self.journal.count == before + 1
        features = self.checked(answer)
        try:
            message = er7.parse(payload)
        except HieError:
            return features
        assert message.encode() == payload
        if self.dice.random() > MAPPED:
            return features
        verdict = self.judge.judge(payload, PEER)
        features |= {found.rule for found in verdict.findings}
        assert all(shown(found) for found in verdict.findings)
        if verdict.code.is_positive:
            mapped = self.mapper.map(
                message, self.source, message_id=MessageId(1), received_us=1_700_000_000_000_000
            )
            features |= {("maps", draft.resource["resourceType"]) for draft in mapped.drafts}
        return features

    def checked(self, answer: bytes | None) -> set[Hashable]:
        """What an answer says, if it is one that does no harm to the frame it goes in."""
        if not answer:
            return {"silent"}
        assert len(answer) < ANSWER_BYTES
        assert b"\x0b" not in answer
        assert b"\x1c" not in answer
        acknowledged = er7.parse(answer).first("MSA")
        assert acknowledged is not None
        code = acknowledged.value(1)
        assert code in ("AA", "AE", "AR", "CA", "CE", "CR")
        return {code}


def shown(finding: Finding) -> bool:
    """Whether a finding can be written to a log and an answer."""
    return finding.text.isprintable() and len(finding.text) < 300


def corpus() -> list[bytes]:
    """Small synthetic messages of every shape, and what hostile senders begin with."""
    found = [replace(shape, end=b"\r").payload() for shape in SHAPES]
    return [*HOSTILE, *sorted(found, key=len)]


def hunt(seed: int, count: int) -> str:
    """Try `count` inputs; what they reached, in a line."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    target = Target(seed)
    fuzzer = Fuzzer(target=target, corpus=corpus(), watched=WATCHED, seed=seed, share=SHARE)
    asyncio.run(fuzzer.run(len(fuzzer.corpus)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    while target.frames < count:
        asyncio.run(fuzzer.run(min(5_000, max(100, count - target.frames))))
        fuzzer.seed += 1_000_003
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    assert grown < GROWTH_MB, f"grew by {grown} MB"
    rate = target.frames / (time.monotonic() - began)
    return (
        f"seed {seed}: {target.frames} frames, {target.drops} drops, {len(fuzzer.edges)} edges, "
        f"{len(fuzzer.features)} features, corpus {len(fuzzer.corpus)}, {rate:.0f}/s, +{grown} MB"
    )


def test_any_bytes_get_an_answer_or_a_counted_drop(capsys):
    began = time.monotonic()
    seed = random.SystemRandom().randrange(1 << 30) if IS_FRESH else 7
    share = FRAMES // PROCESSES
    context = multiprocessing.get_context("spawn")
    with context.Pool(PROCESSES) as pool:
        jobs = [(seed + number, share) for number in range(PROCESSES)]
        lines = pool.starmap(hunt, jobs)
    with capsys.disabled():
        sys.stdout.write("\n".join(["", *lines, f"in {time.monotonic() - began:.0f} s", ""]))
