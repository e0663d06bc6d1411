"""What a message gets: its source, its findings and its answer's code. Pure.

Conformance gives findings, the source's policy weighs them, and the heaviest decides. Only
what cannot be kept apart or answered is refused whatever the policy says: bytes that are no
message, several messages in one frame, a message without a control id, an unknown sender.
Spec: HL7 v2.8.2 chapter 2, section 2.9.2 (original mode: AA, AE, AR).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, TypedDict

from adapters.hl7v2 import ack, charset, er7, modes
from adapters.hl7v2.ack import Header
from adapters.hl7v2.conform import Conformer
from adapters.hl7v2.er7 import Message, Segment
from adapters.hl7v2.modes import Reply
from adapters.hl7v2.rules import NOWHERE, Place, Rules
from adapters.port import Peer
from adapters.sources import Source, SourceRegistry
from adapters.wire_policy import WirePolicy
from hie.kernel.envelope import AckCode, Finding
from hie.kernel.errors import HieError
from hie.kernel.ids import SourceId

#: The source of messages whose sender could not be told.
UNKNOWN_SOURCE: Final = SourceId("unknown")

_CONTROL_ID_CHARACTERS: Final = 199
#: Numbers of one authority in one PID-3 that are held; who sends more sends nonsense.
_PATIENT_NUMBERS: Final = 16
_BATCH: Final = re.compile(rb"[\s\xef\xbb\xbf]{0,16}(?:FHS|BHS)")
_CONTROL: Final = re.compile("[\x01-\x08\x0b\x0e-\x1f\x7f]")
_TRIGGER: Final = re.compile(r"^[A-Z0-9]{2,7}(?:\^[A-Z0-9]{2,4})?$")
_HEADER: Final = "MSH"
_NO_POLICY: Final = WirePolicy()
_NO_REPLY: Final = Reply(code=AckCode.REJECT)
#: MSH-11.2, table 0207: archive, restore, initial load; `T` is the current state of things.
_PAST_MODES: Final = frozenset("ARI")
_NO_VALUES: Final = re.compile(r"^[^A-Za-z0-9\x80-\U0010ffff]*$")
#: MSH-9.1 of what only asks.
_QUESTIONS: Final = frozenset({"QBP", "QCN"})
_NOWHERE_TO_SEND: Final = "application-ack-nowhere"
#: Findings whose words stand in MSA-3 of an acceptance, the first that there is.
_TOLD: Final = ("not-mapped", _NOWHERE_TO_SEND)


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeSettings:
    """What a hub takes.

    Attributes:
        message_bytes: the longest message.
        processing_ids: MSH-11 values taken from sources that name none of their own.
    """

    message_bytes: int = 32 * 1024 * 1024
    processing_ids: frozenset[str] = frozenset({"P", "T", "D"})


class _Weighed(TypedDict):
    """The parts of a verdict that follow from its findings."""

    code: AckCode
    reply: Reply
    findings: tuple[Finding, ...]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was decided about a payload.

    Attributes:
        header: for the answer.
        code: AA, AE or AR.
        reply: what of it the sender is told, and where.
        control_id: MSH-10 as sent.
        trigger: `ADT^A01`; empty when there is none of that form.
        text: MSA-3 of an acceptance, where the sender should know something.
        source: None = could not be told.
        is_bare: no field beyond the header says anything.
        is_gated: refused whatever a policy says.
    """

    source_id: SourceId
    header: Header
    code: AckCode = AckCode.REJECT
    reply: Reply = _NO_REPLY
    findings: tuple[Finding, ...] = ()
    control_id: str
    trigger: str
    partition: str
    partitions: tuple[str, ...] = ()
    text: str = ""
    source: Source | None = None
    is_bare: bool = False
    is_gated: bool = False


class Judge:
    """Decides about payloads; holds no state but compiled tables."""

    def __init__(
        self,
        registry: SourceRegistry,
        conformer: Conformer,
        supports: Callable[[str], bool],
        settings: IntakeSettings,
    ) -> None:
        """Bind the tables.

        Args:
            registry: the sources.
            conformer: the checks.
            supports: whether messages of a trigger, `ADT^A01`, are mapped.
            settings: what this hub takes.

        Raises:
            HieError: INVALID when a source speaks of a rule or character set that there is not.
        """
        conformer.rules.check(registry.all(), charset.codec_of)
        self._registry = registry
        self._conformer = conformer
        self._supports = supports
        self._settings = settings

    @property
    def rules(self) -> Rules:
        """The remarks and their weights."""
        return self._conformer.rules

    def judge(self, payload: bytes, peer: Peer, *, is_cut: bool = False) -> Verdict:
        """The verdict on a payload; never raises.

        Args:
            payload: what stood in the frame.
            peer: who sent it.
            is_cut: it is only the beginning of a message that was too long.
        """
        try:
            message = er7.parse(payload)
        except HieError as error:
            return self._unreadable(payload, peer, error, is_cut=is_cut)
        source = self._source(message, peer)
        if source and source.charset and charset.codec_of(source.charset) != message.charset:
            message = er7.parse(payload, source.charset)
        gate = list(self._gate(message, source, len(payload), is_cut=is_cut))
        if gate or source is None:
            return self._verdict(message, source, tuple(gate), is_gated=True)
        conformance = self._conformer.conform(message, source)
        extra = (*self._remarks(message, source), *self._quirks(peer, source))
        return self._verdict(message, source, conformance.findings + extra)

    def reweighed(self, verdict: Verdict, findings: tuple[Finding, ...]) -> Verdict:
        """The same verdict with other findings, and what follows from them."""
        return replace(verdict, **self._weighed(verdict.header, verdict.source, findings))

    def _weighed(
        self, header: Header, source: Source | None, findings: tuple[Finding, ...]
    ) -> _Weighed:
        """What follows from findings: the code, who is told, and what."""
        code = ack.decide(findings)
        policy = source.wire if source else _NO_POLICY
        reply = modes.reply_of(
            code, header.accept, header.application, policy, is_answer=header.is_answer
        )
        if reply.is_nowhere:
            place = Place(_HEADER, 1, 16)
            findings += (self.rules.finding(_NOWHERE_TO_SEND, source, place),)
        text = ""
        if findings and code.is_positive:
            text = next((f.text for rule in _TOLD for f in findings if f.rule == rule), "")
        return {"code": code, "reply": reply, "findings": findings, "text": text}

    def _source(self, message: Message, peer: Peer) -> Source | None:
        if peer.source_id is not None:
            # A folder is as good as a certificate, for messages in its own source's name.
            owner = self._registry.by_id(peer.source_id)
            sender = (message.application, message.facility)
            return owner if owner and owner.is_named(*sender) else None
        source = self._registry.for_message(
            message.application, message.facility, peer.certificate, peer.subject
        )
        # A certificate that the source's file names proves as much as a token of its organisation.
        held = peer.speaks_for if message.code in _QUESTIONS else peer.writes_for
        is_proven = source and (held is None or source.id in held or source.certificate)
        return source if is_proven else None

    def _unreadable(self, payload: bytes, peer: Peer, error: HieError, *, is_cut: bool) -> Verdict:
        is_batch = _BATCH.match(payload) is not None
        rule, detail = ("batch", "") if is_batch else ("unreadable", error.text)
        if is_cut or len(payload) > self._settings.message_bytes:
            rule, detail = "too-large", str(self._settings.message_bytes)
        source = self._registry.for_message("", "", peer.certificate, peer.subject)
        header = ack.scan_header(b"" if is_batch else payload)
        findings = (self.rules.finding(rule, None, NOWHERE, detail), *self._quirks(peer, source))
        if source and source.is_adhoc:
            source = None
        known = source.id if source else UNKNOWN_SOURCE
        return Verdict(
            source_id=known,
            header=header,
            control_id=header.control_id,
            trigger="",
            partition=known,
            source=source,
            is_gated=True,
            **self._weighed(header, source, findings),
        )

    def _quirks(self, peer: Peer, source: Source | None) -> Iterator[Finding]:
        """What was odd about the frame; the source's file says whether that may be."""
        for rule in sorted(peer.quirks):
            yield self.rules.finding(rule, source)

    def _gate(
        self, message: Message, source: Source | None, size: int, *, is_cut: bool
    ) -> Iterator[Finding]:
        """What no policy can let through."""
        rules, settings = self.rules, self._settings
        if is_cut or size > settings.message_bytes:
            yield rules.finding("too-large", None, NOWHERE, str(settings.message_bytes))
        if source is None:
            yield rules.finding("sender-unknown", None, Place(_HEADER, 1, 3))
        if len(message.all(_HEADER)) > 1:
            yield rules.finding("several-messages", None, Place(_HEADER, 2))
        yield from self._header_gate(message, source)
        nul = next((s for s in message.segments if "\0" in s.raw), None)
        if nul:
            yield rules.finding("nul", None, Place(nul.name, nul.sequence))

    def _header_gate(self, message: Message, source: Source | None) -> Iterator[Finding]:
        rules = self.rules
        control_id = message.segments[0].field(10)
        if not control_id.strip():
            yield rules.finding("control-id", None, Place(_HEADER, 1, 10))
        if len(control_id) > _CONTROL_ID_CHARACTERS:
            yield rules.finding("control-id-length", None, Place(_HEADER, 1, 10))
        if not message.code:
            yield rules.finding("message-type", None, Place(_HEADER, 1, 9))
        taken = (source.processing_ids if source else None) or self._settings.processing_ids
        if message.processing_id and message.processing_id not in taken:
            detail = ", ".join(sorted(taken))
            yield rules.finding("processing-id", None, Place(_HEADER, 1, 11), detail)
        mode = message.segments[0].value(11, 2)
        modes_taken = source.wire.processing_modes if source else frozenset()
        if mode and modes_taken and mode not in modes_taken:
            detail = ", ".join(sorted(modes_taken))
            yield rules.finding("processing-mode", None, Place(_HEADER, 1, 11, 0, 2), detail)

    def _remarks(self, message: Message, source: Source) -> Iterator[Finding]:
        """What conformance does not look at and a policy may weigh."""
        rules = self.rules
        if not message.processing_id:
            yield rules.finding("processing-id-empty", source, Place(_HEADER, 1, 11))
        if message.segments[0].value(11, 2) in _PAST_MODES:
            yield rules.finding("processing-mode-past", source, Place(_HEADER, 1, 11, 0, 2))
        if not self._supports(message.trigger):
            yield rules.finding("not-mapped", source, Place(_HEADER, 1, 9))
        for segment in message.segments:
            # Most text is printable; the search is for the rest.
            if not segment.raw.isprintable() and _CONTROL.search(segment.raw):
                place = Place(segment.name, segment.sequence)
                yield rules.finding("control-character", source, place)
                return

    def _verdict(
        self,
        message: Message,
        source: Source | None,
        findings: tuple[Finding, ...],
        *,
        is_gated: bool = False,
    ) -> Verdict:
        partitions = partitions_of(message, source)
        header = ack.header_of(message)
        return Verdict(
            source_id=source.id if source else UNKNOWN_SOURCE,
            header=header,
            control_id=message.segments[0].field(10)[: _CONTROL_ID_CHARACTERS + 1],
            trigger=message.trigger if _TRIGGER.match(message.trigger) else "",
            partition=partitions[0],
            partitions=partitions[1:],
            source=source,
            is_bare=all(_NO_VALUES.match(s.raw[3:]) for s in message.segments[1:]),
            is_gated=is_gated,
            **self._weighed(header, source, findings),
        )


def partitions_of(message: Message, source: Source | None) -> tuple[str, ...]:
    """Source and each number of every patient a message is about; else the source alone.

    The first is the message's own; a patient with several numbers, a merge, a move or a swap
    has further ones (of PID-3, the later PIDs, every MRG-1), each once: whichever number
    another message puts first, the two share a partition. A number is that of the source's
    own authority. Messages of one partition are worked off in order, so one with several needs
    all of them. They hold numbers in clear: the journal keeps keyed hashes.
    """
    if source is None:
        return (UNKNOWN_SOURCE,)
    places = [(pid, 3) for pid in message.all("PID")] + [(mrg, 1) for mrg in message.all("MRG")]
    numbers = [_own_numbers(segment, field, source) for segment, field in places]
    has_own = bool(numbers and places[0][0].name == "PID" and numbers[0])
    found = dict.fromkeys(f"{source.id}|{number}" for each in numbers for number in each)
    return tuple(found) if has_own else (source.id, *found)


def _own_numbers(segment: Segment, field: int, source: Source) -> tuple[str, ...]:
    """The identifiers of the source's own authority in a field, in their order."""
    found = []
    for identifier in segment.reps(field):
        authority = identifier.component(4)
        system = source.system_of(authority.sub(1), authority.sub(2), authority.sub(3))
        if system == source.own_authority and not identifier.component(1).is_null:
            found.append(identifier.value(1))
    return tuple(number for number in found if number)[:_PATIENT_NUMBERS]
