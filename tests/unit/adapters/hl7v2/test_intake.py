"""DESIGN D3, D4: judged, journaled, then answered; what bad input gets."""

import asyncio
import hashlib
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7v2 import er7
from adapters.hl7v2.conform import Conformer
from adapters.hl7v2.intake import Hl7Intake
from adapters.hl7v2.judge import UNKNOWN_SOURCE, IntakeSettings, Judge
from adapters.hl7v2.rules import Rules, load_rules
from adapters.port import BatchPlace, Journaled, JournalEntry, Peer, Wire
from adapters.pressure import Gate
from adapters.sources import OrganizationRef, Source, SourceRegistry
from adapters.wire_policy import Listener, WirePolicy
from hie.kernel.envelope import AckCode, Severity
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import MessageId, SourceId
from tests.support.hl7_shapes import SHAPES, Shape

RULES = Path(__file__).parents[4] / "config" / "hl7v2" / "conformance.toml"
PEER = Peer(address="127.0.0.1:5000", wire=Wire.MLLP)
ORGANIZATION = OrganizationRef(system="https://hie.example/org", value="hosp", name="Hospital")
HOSPITAL = Source(
    id=SourceId("hosp"),
    name="Hospital",
    organization=ORGANIZATION,
    application="FEED",
    facility="HOSP",
    own_authority="urn:oid:1.2.840.99",
)
STRICT = Source(
    id=SourceId("strict"),
    name="Strict",
    organization=ORGANIZATION,
    application="STRICT",
    own_authority="urn:oid:1.2.840.98",
    severities={"required-field": Severity.ERROR, "not-mapped": Severity.ERROR},
    processing_ids=frozenset({"T"}),
)
LATIN = Source(
    id=SourceId("latin"),
    name="Latin",
    organization=ORGANIZATION,
    application="LATIN",
    charset="8859/2",
    own_authority="urn:oid:1.2.840.97",
)
PINNED = Source(
    id=SourceId("pinned"),
    name="Pinned",
    organization=ORGANIZATION,
    application="PINNED",
    certificate="CN=pinned",
    own_authority="urn:oid:1.2.840.96",
)


class MemoryJournal:
    """Keeps entries; answers a repeat as the real one does; fails when told to."""

    def __init__(self) -> None:
        self.entries: list[JournalEntry] = []
        self.failure: Exception | None = None
        self.delay = 0.0
        self.last: int | None = None

    async def write(self, entry: JournalEntry) -> Journaled:
        await asyncio.sleep(self.delay)
        if self.failure:
            raise self.failure
        for number, known in enumerate(self.entries):
            same = (known.source_id, known.control_id, known.content_hash) == (
                *(entry.source_id, entry.control_id, entry.content_hash),
            )
            if same and known.is_accepted and not entry.is_momentary:
                return Journaled(message_id=MessageId(number), answer=known.answer, is_repeat=True)
        self.entries.append(entry)
        if entry.step:
            assert self.last == entry.step.before
            self.last = entry.step.after
        return Journaled(message_id=MessageId(len(self.entries)), answer=entry.answer)

    async def first_answer(self, entry: JournalEntry) -> bytes | None:
        for known in self.entries:
            if known.content_hash == entry.content_hash and known.is_accepted:
                return known.answer
        return None

    async def last_sequence(self, source_id: SourceId) -> int | None:
        return self.last


@pytest.fixture(scope="module")
def rules() -> Rules:
    return load_rules(RULES)


@pytest.fixture(scope="module")
def conformer(rules: Rules) -> Conformer:
    return Conformer(rules)


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal()


@pytest.fixture
def judge(conformer: Conformer) -> Judge:
    registry = SourceRegistry([HOSPITAL, STRICT, LATIN, PINNED], allow_adhoc=True)
    return Judge(
        registry, conformer, {"ADT^A01"}.__contains__, IntakeSettings(message_bytes=50_000)
    )


@pytest.fixture
def intake(judge: Judge, journal: MemoryJournal, clock) -> Hl7Intake:
    return Hl7Intake(judge, journal, clock)


async def taken(intake: Hl7Intake, payload: bytes, peer: Peer = PEER) -> bytes:
    """The answer, which there must be."""
    answer = await intake.take(payload, peer)
    assert answer is not None
    return answer


def adt(body: str = "PID|1||K-1^^^HOSP&1.2.840.99&ISO||N^G\rPV1|1|I\r", **header: str) -> bytes:
    sender = header.get("sender", "FEED|HOSP")
    kind = header.get("kind", "ADT^A01^ADT_A01")
    control_id = header.get("control_id", "C-1")
    processing = header.get("processing", "P")
    version = header.get("version", "2.5.1")
    first = f"MSH|^~\\&|{sender}|HUB|STATE|2026||{kind}|{control_id}|{processing}|{version}\r"
    return (first + "EVN||20260131093000\r" + body).encode()


async def test_a_good_message_is_journaled_and_accepted(intake: Hl7Intake, journal: MemoryJournal):
    payload = adt()
    answer = er7.parse(await taken(intake, payload))
    assert (answer.get("MSA-1"), answer.get("MSA-2"), answer.get("MSA-3")) == ("AA", "C-1", "")
    (entry,) = journal.entries
    assert entry.source_id == "hosp"
    assert entry.wire is Wire.MLLP
    assert entry.control_id == "C-1"
    assert entry.payload == payload
    assert entry.content_hash == hashlib.sha256(payload).digest()
    assert entry.is_accepted
    assert entry.trigger == "ADT^A01"
    assert entry.partition == "hosp|K-1"
    assert entry.findings == ()


async def test_a_repeat_gets_the_first_answer(intake: Hl7Intake, journal: MemoryJournal, clock):
    first = await taken(intake, adt())
    clock.step(seconds=60)
    assert await taken(intake, adt()) == first
    assert len(journal.entries) == 1
    other = await taken(intake, adt(control_id="C-2"))
    assert er7.parse(other).control_id != er7.parse(first).control_id


REFUSED = {
    "no header": (b"PID|1\r", "AE", "100", "unreadable"),
    "nothing": (b"", "AE", "100", "unreadable"),
    "garbage": (bytes(range(256)), "AE", "100", "unreadable"),
    "only the name": (b"MSH", "AE", "100", "unreadable"),
    "a batch": (b"FHS|^~\\&|\rBHS|^~\\&|\r" + adt(), "AR", "200", "batch"),
    "a batch with a mark": (b"\xef\xbb\xbfBHS|^~\\&|\r" + adt(), "AR", "200", "batch"),
    "two messages": (adt() + adt(control_id="C-2"), "AE", "100", "several-messages"),
    "no control id": (adt(control_id=""), "AE", "101", "control-id"),
    "a blank control id": (adt(control_id="  "), "AE", "101", "control-id"),
    "a long control id": (adt(control_id="9" * 200), "AR", "104", "control-id-length"),
    "no type": (adt(kind=""), "AE", "101", "message-type"),
    "an unknown processing id": (adt(processing="X"), "AR", "202", "processing-id"),
    "a NUL": (adt("PID|1||1||N\0G\r"), "AE", "102", "nul"),
    "no character set": (adt("PID|1||1||N") + b"\x81\xeb\r", "AE", "102", "charset-unreadable"),
    "too long": (adt("PID|1||1||N\rOBX|" + "x" * 50_000), "AR", "104", "too-large"),
}


@pytest.mark.parametrize("row", REFUSED)
async def test_what_cannot_be_taken_is_refused_journaled_and_explained(
    intake: Hl7Intake, journal: MemoryJournal, row: str
):
    payload, code, reason, rule = REFUSED[row]
    answer = er7.parse(await taken(intake, payload))
    assert answer.get("MSA-1") == code
    assert answer.get("ERR-3") == reason
    assert answer.get("ERR-7") == rule
    assert answer.get("ERR-8")
    (entry,) = journal.entries
    assert not entry.is_accepted
    assert entry.payload == payload
    assert entry.answer == answer.encode()
    assert rule in {finding.rule for finding in entry.findings}


TAKEN = {
    "no PID": (adt("PV1|1|I\r"), "segment-required"),
    "a late segment": (adt("PV1|1|I\rPID|1||1||N\r"), "segment-order"),
    "a bad date": (adt("PID|1||1||N||20261399\rPV1|1|I\r"), "datatype"),
    "a missing field": (adt("PID|1||||N\rPV1|1|I\r"), "required-field"),
    "an unknown version": (adt(version="9.9"), "version-unknown"),
    "no version": (adt(version=""), "version-unknown"),
    "no processing id": (adt(processing=""), "processing-id-empty"),
    "an unmapped event": (adt(kind="ADT^Q99^ADT_Q99"), "not-mapped"),
    "an unknown event": (adt(kind="ZZZ^Z99"), "trigger-unknown"),
    "a control character": (adt("PID|1||1||N\x1cG\rPV1|1|I\r"), "control-character"),
    "another character set": (adt("PID|1||1||Zo") + b"\xeb\rPV1|1|I\r", "charset-fallback"),
    "line feeds": (adt().replace(b"\r", b"\n"), "segment-end"),
    "a byte order mark": (b"\xef\xbb\xbf" + adt(), "byte-order-mark"),
}


@pytest.mark.parametrize("row", TAKEN)
async def test_what_is_merely_odd_is_taken_with_a_remark(
    intake: Hl7Intake, journal: MemoryJournal, row: str
):
    payload, rule = TAKEN[row]
    answer = er7.parse(await taken(intake, payload))
    assert answer.get("MSA-1") == "AA"
    assert journal.entries[0].is_accepted
    assert rule in {finding.rule for finding in journal.entries[0].findings}


async def test_an_unmapped_event_does_not_block_the_senders_queue(intake: Hl7Intake):
    answer = er7.parse(await taken(intake, adt(kind="ADT^Q99^ADT_Q99")))
    assert answer.get("MSA-1") == "AA"
    assert answer.get("MSA-3").startswith("message is kept, not mapped")


@pytest.mark.parametrize(
    ("payload", "code", "reason"),
    [
        (adt("PID|1||||N\rPV1|1|I\r", sender="STRICT|X", processing="T"), "AE", "101"),
        (adt(sender="STRICT|X", processing="T", kind="ADT^Q99^ADT_Q99"), "AR", "201"),
        (adt(sender="STRICT|X", processing="P"), "AR", "202"),
        (adt(sender="STRICT|X", processing="T"), "AA", ""),
    ],
)
async def test_a_strict_source_gets_what_its_file_says(
    intake: Hl7Intake, payload: bytes, code: str, reason: str
):
    answer = er7.parse(await taken(intake, payload))
    assert (answer.get("MSA-1"), answer.get("ERR-3")) == (code, reason)


async def test_the_refusal_names_the_field(intake: Hl7Intake):
    payload = adt("PID|1||||N\rPV1|1|I\r", sender="STRICT|X", processing="T")
    answer = er7.parse(await taken(intake, payload))
    assert [answer.get(f"ERR-2.{n}") for n in (1, 2, 3)] == ["PID", "1", "3"]


async def test_the_sources_own_character_set_is_used(intake: Hl7Intake, journal: MemoryJournal):
    payload = adt("PID|1||1||", sender="LATIN|X") + b"\xa3ucja\rPV1|1|I\r"
    assert er7.parse(await taken(intake, payload)).get("MSA-1") == "AA"
    assert journal.entries[0].findings == ()
    assert journal.entries[0].payload == payload


async def test_a_journal_that_fails_acknowledges_nothing(intake: Hl7Intake, journal: MemoryJournal):
    journal.failure = RuntimeError("disk full")
    answer = er7.parse(await taken(intake, adt()))
    assert (answer.get("MSA-1"), answer.get("MSA-2")) == ("AR", "C-1")
    assert answer.get("ERR-3") == "207"
    assert "disk" not in answer.encode().decode()
    journal.failure = None
    assert er7.parse(await taken(intake, adt())).get("MSA-1") == "AA"


async def test_a_journal_that_hangs_acknowledges_nothing(
    judge: Judge, journal: MemoryJournal, clock
):
    journal.delay = 60
    intake = Hl7Intake(judge, journal, clock, store_seconds=0.01)
    answer = er7.parse(await taken(intake, adt()))
    assert (answer.get("MSA-1"), answer.get("ERR-3")) == ("AR", "207")
    assert journal.entries == []


async def test_a_message_too_long_to_keep_is_answered_from_its_head(
    intake: Hl7Intake, journal: MemoryJournal
):
    head = adt("PID|1||1||N\rOBX|1|ED|||QmFz")
    answer = er7.parse(await intake.refuse_oversize(head, PEER) or b"")
    assert (answer.get("MSA-1"), answer.get("MSA-2")) == ("AR", "C-1")
    assert answer.get("ERR-3") == "104"
    assert journal.entries[0].payload == head
    assert not journal.entries[0].is_accepted
    unreadable = er7.parse(await intake.refuse_oversize(b"x" * 100, PEER) or b"")
    assert (unreadable.get("MSA-1"), unreadable.get("ERR-3")) == ("AR", "104")


def production(conformer: Conformer) -> Judge:
    registry = SourceRegistry([HOSPITAL, PINNED], allow_adhoc=False)
    settings = IntakeSettings(processing_ids=frozenset({"P"}))
    return Judge(registry, conformer, lambda trigger: True, settings)


def test_an_unknown_sender_is_refused_in_production(conformer: Conformer):
    verdict = production(conformer).judge(adt(sender="WHO|KNOWS"), PEER)
    assert verdict.code is AckCode.REJECT
    assert verdict.source_id == UNKNOWN_SOURCE
    assert [finding.rule for finding in verdict.findings] == ["sender-unknown"]
    assert verdict.findings[0].code == "207"


def test_an_unknown_sender_is_an_adhoc_source_in_development(judge: Judge):
    verdict = judge.judge(adt(sender="WHO|KNOWS"), PEER)
    assert verdict.code is AckCode.ACCEPT
    assert verdict.source_id == "adhoc:WHO|KNOWS"


@pytest.mark.parametrize(("subject", "code"), [("pinned", "AA"), ("other", "AR"), (None, "AR")])
def test_a_source_with_a_certificate_is_known_by_it(judge: Judge, subject: str | None, code: str):
    peer = Peer(
        address="x", wire=Wire.MLLP, certificate="00" * 32 if subject else None, subject=subject
    )
    assert judge.judge(adt(sender="PINNED|X"), peer).code == code


def test_test_messages_are_not_for_production(conformer: Conformer):
    assert production(conformer).judge(adt(processing="T"), PEER).code is AckCode.REJECT
    assert production(conformer).judge(adt(processing="P"), PEER).code is AckCode.ACCEPT


@pytest.mark.parametrize(
    ("identifiers", "partition"),
    [
        ("K-1^^^HOSP&1.2.840.99&ISO", "hosp|K-1"),
        ("S-1^^^USA^SS~K-1^^^&1.2.840.99&ISO", "hosp|K-1"),
        ("K-1", "hosp|K-1"),  # no authority means the source's own
        ("K-1^^^OTHER&9.9&ISO", "hosp"),
        ('""', "hosp"),
        ("", "hosp"),
    ],
)
def test_messages_about_one_patient_of_a_source_are_worked_off_in_order(
    judge: Judge, identifiers: str, partition: str
):
    assert judge.judge(adt(f"PID|1||{identifiers}||N\rPV1|1|I\r"), PEER).partition == partition


def test_a_message_without_a_patient_waits_for_its_whole_source(judge: Judge):
    assert judge.judge(adt("PV1|1|I\r"), PEER).partition == "hosp"


def test_what_is_no_trigger_is_not_kept_in_clear(judge: Judge):
    verdict = judge.judge(adt(kind="Testperson Ada^born 1980"), PEER)
    assert verdict.trigger == ""
    assert verdict.code is AckCode.ACCEPT


def test_a_source_file_that_speaks_of_no_rule_stops_the_start(conformer: Conformer):
    odd = Source(
        id=SourceId("odd"),
        name="Odd",
        organization=ORGANIZATION,
        own_authority="x:y",
        severities={"no-such-rule": Severity.NOTE},
    )
    registry = SourceRegistry([odd], allow_adhoc=True)
    with pytest.raises(HieError) as caught:
        Judge(registry, conformer, lambda trigger: True, IntakeSettings())
    assert caught.value.category is Category.INVALID


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
async def test_every_known_shape_is_accepted(
    intake: Hl7Intake, journal: MemoryJournal, shape: Shape
):
    answer = er7.parse(await taken(intake, shape.payload("X-9")))
    assert (answer.get("MSA-1"), answer.get("MSA-2")) == ("AA", "X-9")
    assert answer.version == shape.version
    assert journal.entries[0].trigger == shape.trigger


PIECES = st.sampled_from(
    [b"MSH|^~\\&|", b"A|B|", b"\r", b"\n", b"PID|", b"|", b"^", b"\x0b", b"\x1c", b"\0", b"ADT^A01"]
)


@given(payload=st.lists(st.one_of(PIECES, st.binary(max_size=9)), max_size=30).map(b"".join))
def test_any_bytes_get_an_answer_and_never_a_frame_mark(conformer: Conformer, payload: bytes):
    registry = SourceRegistry([HOSPITAL], allow_adhoc=True)
    judge = Judge(registry, conformer, lambda trigger: False, IntakeSettings())
    journal = MemoryJournal()

    class Still:
        def now_us(self) -> int:
            return 1_769_851_800_000_000

    answer = asyncio.run(Hl7Intake(judge, journal, Still()).take(payload, PEER))
    if answer is None:  # its MSH-15 says that none is wanted
        return
    assert b"\x0b" not in answer
    assert b"\x1c" not in answer
    read = er7.parse(answer)
    (entry,) = journal.entries
    assert entry.is_accepted == (read.get("MSA-1") == "AA")
    if entry.is_accepted:
        assert entry.control_id.strip()


# --- enhanced mode, numbers, pace, frames -----------------------------------------------------

LISTENING = Source(
    id=SourceId("listening"),
    name="Listening",
    organization=ORGANIZATION,
    application="LISTENING",
    own_authority="urn:oid:1.2.840.95",
    wire=WirePolicy(application_to=Listener(host="127.0.0.1", port=6661)),
)
NUMBERED = Source(
    id=SourceId("numbered"),
    name="Numbered",
    organization=ORGANIZATION,
    application="NUMBERED",
    own_authority="urn:oid:1.2.840.94",
    wire=WirePolicy(is_sequenced=True),
)
LENIENT = Source(
    id=SourceId("lenient"),
    name="Lenient",
    organization=ORGANIZATION,
    application="LENIENT",
    own_authority="urn:oid:1.2.840.93",
    severities={"framing-vt": Severity.NOTE, "framing-noise": Severity.ERROR},
    wire=WirePolicy(per_second=20, burst=2, processing_modes=frozenset({"T"})),
)


@pytest.fixture
def wired(conformer: Conformer, journal: MemoryJournal, clock) -> Hl7Intake:
    registry = SourceRegistry([HOSPITAL, LISTENING, NUMBERED, LENIENT], allow_adhoc=True)
    judge = Judge(
        registry, conformer, {"ADT^A01"}.__contains__, IntakeSettings(message_bytes=50_000)
    )
    return Hl7Intake(judge, journal, clock)


def asking(accept: str, application: str, *, sender: str = "FEED", number: str = "") -> bytes:
    """A message with MSH-13, MSH-15 and MSH-16; its control id is its number."""
    header = (
        f"MSH|^~\\&|{sender}|HOSP|HUB|STATE|2026||ADT^A01^ADT_A01|N{number or 1}|P|2.5.1"
        f"|{number}||{accept}|{application}\r"
    )
    body = "EVN||20260131093000\rPID|1||K-1^^^HOSP&1.2.840.99&ISO||N^G\rPV1|1|I\r"
    return (header + body).encode()


async def test_enhanced_mode_answers_with_commit_codes(wired: Hl7Intake, journal: MemoryJournal):
    assert er7.parse(await taken(wired, asking("AL", "NE"))).get("MSA-1") == "CA"
    refused = er7.parse(await taken(wired, asking("ER", "NE").replace(b"|N1|", b"||")))
    assert (refused.get("MSA-1"), refused.get("ERR-2.3")) == ("CE", "10")
    assert [entry.application for entry in journal.entries] == ["", ""]


async def test_a_sender_that_wants_no_answer_gets_none(wired: Hl7Intake, journal: MemoryJournal):
    assert await wired.take(asking("ER", "NE"), PEER) is None
    assert await wired.take(asking("NE", "ER", number="2"), PEER) is None
    assert [entry.is_accepted for entry in journal.entries] == [True, True]
    assert await wired.take(asking("ER", "NE"), PEER) is None  # a repeat
    assert len(journal.entries) == 2


async def test_what_could_not_be_stored_is_never_passed_over_in_silence(
    wired: Hl7Intake, journal: MemoryJournal
):
    journal.failure = OSError("disk")
    answer = er7.parse(await taken(wired, asking("ER", "NE")))
    assert (answer.get("MSA-1"), answer.get("ERR-3")) == ("CR", "207")
    with pytest.raises(HieError) as caught:
        await wired.take(asking("SU", "NE"), PEER)
    assert caught.value.category is Category.BUSY


async def test_a_sender_whose_listener_is_unknown_is_told_so(
    wired: Hl7Intake, journal: MemoryJournal
):
    answer = er7.parse(await taken(wired, asking("AL", "AL")))
    assert answer.get("MSA-1") == "CA"
    assert answer.get("MSA-3").startswith("no application acknowledgement is sent")
    (entry,) = journal.entries
    assert "application-ack-nowhere" in {finding.rule for finding in entry.findings}


async def test_a_known_listener_is_remembered_with_the_message(
    wired: Hl7Intake, journal: MemoryJournal
):
    answer = er7.parse(await taken(wired, asking("AL", "AL", sender="LISTENING")))
    assert (answer.get("MSA-1"), answer.get("MSA-3")) == ("CA", "")
    assert [entry.application for entry in journal.entries] == ["AL"]


async def test_messages_of_a_batch_wait_while_the_hub_has_enough(
    conformer: Conformer, journal: MemoryJournal, clock
):
    gate = Gate()
    judge = Judge(SourceRegistry([HOSPITAL], allow_adhoc=True), conformer, bool, IntakeSettings())
    intake = Hl7Intake(judge, journal, clock, gate=gate)
    gate.turn(is_open=False)
    peer = replace(PEER, batch=BatchPlace(batch_id=1, number=1))
    waiting = asyncio.create_task(intake.take(adt(), peer))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    assert journal.entries == []
    gate.turn(is_open=True)
    assert await waiting is not None
    assert len(journal.entries) == 1


async def numbers(wired: Hl7Intake, *sent: str) -> list[tuple[str, str]]:
    """MSA-1 and MSA-4 of messages with these sequence numbers."""
    found = []
    for number in sent:
        answer = er7.parse(await taken(wired, asking("", "", sender="NUMBERED", number=number)))
        found.append((answer.get("MSA-1"), answer.get("MSA-4")))
    return found


async def test_numbers_in_order_are_echoed(wired: Hl7Intake, journal: MemoryJournal):
    assert await numbers(wired, "5", "6", "7") == [("AA", "5"), ("AA", "6"), ("AA", "7")]
    assert journal.last == 7


async def test_a_gap_is_refused_until_the_missing_one_comes(
    wired: Hl7Intake, journal: MemoryJournal
):
    assert await numbers(wired, "1", "3", "2", "3") == [
        ("AA", "1"),
        ("AR", "2"),
        ("AA", "2"),
        ("AA", "3"),
    ]
    refused = journal.entries[1]
    assert [f.code for f in refused.findings if f.rule == "sequence-gap"] == ["207"]


async def test_a_repeat_gets_its_answer_and_another_message_of_its_number_does_not(
    wired: Hl7Intake, journal: MemoryJournal
):
    await numbers(wired, "1", "2")
    assert await numbers(wired, "1") == [("AA", "1")]
    assert len(journal.entries) == 2
    other = asking("", "", sender="NUMBERED", number="1").replace(b"K-1", b"K-2")
    answer = er7.parse(await taken(wired, other))
    assert (answer.get("MSA-1"), answer.get("MSA-4"), answer.get("ERR-3")) == ("AE", "3", "205")


async def test_a_link_that_starts_is_told_what_is_expected_as_often_as_it_asks(
    wired: Hl7Intake, journal: MemoryJournal
):
    ask = asking("", "", sender="NUMBERED", number="0").split(b"\r")[0] + b"\r"
    assert er7.parse(await taken(wired, ask)).get("MSA-4") == "-1"
    await numbers(wired, "8")
    answer = er7.parse(await taken(wired, ask))
    assert (answer.get("MSA-1"), answer.get("MSA-4")) == ("AA", "9")
    assert [entry.is_momentary for entry in journal.entries] == [True, False, True]


async def test_a_resynchronised_link_takes_any_next_number(
    wired: Hl7Intake, journal: MemoryJournal
):
    await numbers(wired, "8")
    again = asking("", "", sender="NUMBERED", number="-1").split(b"\r")[0] + b"\rEVN|\r"
    assert er7.parse(await taken(wired, again)).get("MSA-4") == "-1"
    assert journal.last is None
    assert await numbers(wired, "3", "4") == [("AA", "3"), ("AA", "4")]


async def test_a_refused_message_is_still_expected(wired: Hl7Intake, journal: MemoryJournal):
    await numbers(wired, "1")
    bad = asking("", "", sender="NUMBERED", number="2").replace(b"K-1", b"K\x811\xeb")
    assert er7.parse(await taken(wired, bad)).get("MSA-4") == "2"
    assert await numbers(wired, "2") == [("AA", "2")]


async def test_a_number_is_asked_for_again_after_a_failure(
    wired: Hl7Intake, journal: MemoryJournal
):
    await numbers(wired, "1")
    journal.failure, journal.last = OSError("disk"), 4
    assert (await numbers(wired, "2"))[0][0] == "AR"
    journal.failure = None
    assert await numbers(wired, "5") == [("AA", "5")]


async def test_a_source_says_which_odd_frames_it_sends(wired: Hl7Intake, journal: MemoryJournal):
    odd = replace(PEER, quirks=frozenset({"framing-vt"}))
    noisy = replace(PEER, quirks=frozenset({"framing-noise"}))
    assert er7.parse(await taken(wired, adt(), odd)).get("ERR-7") == "framing-vt"
    assert er7.parse(await taken(wired, adt(control_id="C-2"), noisy)).get("MSA-1") == "AA"
    lenient = adt(sender="LENIENT|HOSP")
    assert er7.parse(await taken(wired, lenient, odd)).get("MSA-1") == "AA"
    refused = er7.parse(await taken(wired, adt(sender="LENIENT|H", control_id="C-2"), noisy))
    assert (refused.get("MSA-1"), refused.get("ERR-7")) == ("AE", "framing-noise")


async def test_a_source_that_hurries_waits_and_loses_nothing(
    wired: Hl7Intake, journal: MemoryJournal
):
    began = asyncio.get_running_loop().time()
    sent = [adt(sender="LENIENT|HOSP", control_id=f"C-{n}") for n in range(6)]
    answers = await asyncio.gather(*(taken(wired, payload) for payload in sent))
    assert asyncio.get_running_loop().time() - began >= 0.19
    assert [er7.parse(answer).get("MSA-2") for answer in answers] == [f"C-{n}" for n in range(6)]
    assert [entry.control_id for entry in journal.entries] == [f"C-{n}" for n in range(6)]


async def test_a_message_that_waits_is_not_overtaken(wired: Hl7Intake, journal: MemoryJournal):
    def sent(number: int) -> asyncio.Task[bytes]:
        payload = adt(sender="LENIENT|HOSP", control_id=f"C-{number}")
        return asyncio.create_task(taken(wired, payload))

    waiting = [sent(number) for number in range(4)]
    await asyncio.sleep(0)
    # The process stands still past the time of those that wait, and of the one that then comes.
    time.sleep(0.3)  # noqa: ASYNC251 - nothing else is to run meanwhile
    waiting.append(sent(4))
    await asyncio.gather(*waiting)
    assert [entry.control_id for entry in journal.entries] == [f"C-{n}" for n in range(5)]


@pytest.mark.parametrize(
    ("processing", "code", "reason"),
    [("P^T", "AA", ""), ("P", "AA", ""), ("P^I", "AR", "202"), ("P^A", "AR", "202")],
)
async def test_a_source_says_which_processing_modes_it_sends(
    wired: Hl7Intake, processing: str, code: str, reason: str
):
    payload = adt(sender="LENIENT|HOSP", processing=processing)
    answer = er7.parse(await taken(wired, payload))
    assert (answer.get("MSA-1"), answer.get("ERR-3")) == (code, reason)


async def test_an_archived_message_is_taken_with_a_note_where_nothing_is_said(
    wired: Hl7Intake, journal: MemoryJournal
):
    assert er7.parse(await taken(wired, adt(processing="P^A"))).get("MSA-1") == "AA"
    (entry,) = journal.entries
    assert "processing-mode-past" in {finding.rule for finding in entry.findings}


@pytest.mark.parametrize(
    ("header", "is_taken"),
    [
        ({"kind": "ACK"}, True),
        ({"kind": "ACK^A01^ACK", "sender": "NUMBERED|"}, True),
        ({"kind": "ACK", "processing": "X"}, False),
        ({"kind": "ACK", "control_id": ""}, False),
    ],
)
async def test_an_acknowledgement_is_journaled_and_not_answered(
    wired: Hl7Intake, journal: MemoryJournal, header: dict[str, str], is_taken: bool
):
    payload = adt("MSA|AA|C-1\r", **header).replace(b"EVN||20260131093000\r", b"")
    assert await wired.take(payload, PEER) is None
    (entry,) = journal.entries
    assert (entry.is_accepted, entry.answer, entry.application) == (is_taken, b"", "")
    assert entry.step is None
