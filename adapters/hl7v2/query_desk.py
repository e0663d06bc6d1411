"""Answers queries while their asker waits: RSP^K23, RSP^K22, and the end of a query.

A query is answered from what the asker may see, now: its answer is made afresh each time, also
for a repeat, and only its first lines are kept with it in the journal. Who reads for the asker,
and puts the disclosure on record before this file has anything to write, is handed in.
Spec: HL7 v2.5 chapter 5; IHE ITI TF-2 3.9 (PIX query), 3.21 (patient demographics query).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Protocol

import structlog

from adapters.domains import Domains
from adapters.hl7v2 import er7
from adapters.hl7v2.ack import Response, decide, escaped
from adapters.hl7v2.er7 import Message
from adapters.hl7v2.judge import Verdict
from adapters.hl7v2.pid import NAMELESS, Numbers, Pen, PidWriter
from adapters.hl7v2.query_tables import QueryTables
from adapters.hl7v2.questions import CANCEL, CROSS_REFERENCE, FIND, KINDS, Question, QuestionReader
from adapters.hl7v2.rules import Place, Rules
from adapters.port import Peer, Wire
from adapters.sources import Source
from hie.kernel.envelope import Finding, Severity
from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson

_log = structlog.get_logger(__name__)

#: MSH-9 of the answer to each query; the structure is that of IHE's table.
_KINDS: Final = MappingProxyType(
    {
        CROSS_REFERENCE: ("RSP", "K23", "RSP_K23"),
        FIND: ("RSP", "K22", "RSP_K21"),
        CANCEL: ("ACK", "J01", "ACK"),
    }
)


#: QRI-2, table 0392, by search parameter; and QRI-3: HL7's structure asks for a QRI, IHE allows it.
_REASONS: Final = MappingProxyType({"family": "NA", "given": "NA", "birthdate": "DB"})
_ALGORITHM: Final = ("all", "every parameter holds", "L")


class Unfound(StrEnum):
    """Why a question has no answer."""

    SOURCE_DOMAIN = "source-domain"
    TARGET_DOMAIN = "target-domain"
    IDENTIFIER = "identifier"
    POINTER = "pointer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the asker may know.

    Attributes:
        unfound: why there is no answer; None where there is one.
        places: numbers, from 1, of the domains asked for that are unknown.
        identifiers: FHIR Identifiers of the one person asked about.
        patients: FHIR Patients of the persons described.
        pointer: where the rest of them begins; "" = that is all.
        notices: what the law wants told with them.
    """

    unfound: Unfound | None = None
    places: tuple[int, ...] = ()
    identifiers: tuple[FhirJson, ...] = ()
    patients: tuple[FhirJson, ...] = ()
    pointer: str = ""
    notices: tuple[str, ...] = ()


class Reader(Protocol):
    """Reads for askers; what it gives is already on record as told."""

    async def answer(self, source: Source, question: Question, control_id: str) -> Found:
        """What the organisation of a source may know.

        Raises:
            HieError: it cannot be told now.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What a query is answered with.

    Attributes:
        is_read: it could be understood and was answered, if only with "unknown".
        findings: what the sender is told beside it.
        response: the segments of the answer.
        kept: those of them that are journaled: none that names anybody.
    """

    is_read: bool
    findings: tuple[Finding, ...]
    response: Response
    kept: Response


@dataclass(frozen=True, slots=True)
class _Draft:
    """An answer under way."""

    message: Message
    pen: Pen
    findings: list[Finding] = field(default_factory=list)
    notices: list[Finding] = field(default_factory=list)


class QueryDesk:
    """Answers queries.

    Args:
        is_open: whether askers are believed by their MSH alone, as in development.
    """

    def __init__(
        self,
        rules: Rules,
        tables: QueryTables,
        domains: Domains,
        reader: Reader,
        *,
        is_open: bool,
    ) -> None:
        self._rules = rules
        self._domains = domains
        self._reader = reader
        self._is_open = is_open
        self._questions = QuestionReader(rules, tables, domains)
        self._pids = PidWriter(tables)

    @staticmethod
    def speaks(trigger: str) -> bool:
        """Whether messages of that trigger are queries that are answered here."""
        return trigger in KINDS

    async def answer(
        self, payload: bytes, peer: Peer, verdict: Verdict, source: Source
    ) -> Answered:
        """The answer to a query that could be read as a message; never raises."""
        message = er7.parse(payload, source.charset or None)
        draft = _Draft(message, Pen(marks=verdict.header.echo.delimiters))
        draft.findings.extend(verdict.findings)
        if verdict.code.is_positive:
            draft.findings.extend(self._refusals(peer, source, message.trigger))
        question = None
        if not _errors(draft.findings):
            question, faults = self._questions.read(message, source)
            draft.findings.extend(faults)
        is_read = not _errors(draft.findings)
        rows: Sequence[str] = ()
        pointer, status = "", "OK"
        if question is not None:
            found = await self._found(source, question, verdict.control_id, draft)
            rows = self._rows(found, source, question, draft.pen)
            pointer = found.pointer
            status = "OK" if rows else "NF"
            draft.notices.extend(_notices(found))
        return self._answered(draft, rows, pointer, status, is_read=is_read)

    def _refusals(self, peer: Peer, source: Source, trigger: str) -> list[Finding]:
        """Why this sender gets no answer at all."""
        if KINDS[trigger] not in source.queries:
            return [self._rules.finding("query-not-allowed", None, Place("MSH", 1, 9))]
        if peer.wire is Wire.DROP or peer.batch is not None:
            return [self._rules.finding("query-alone", None, Place("MSH", 1, 9))]
        is_shown = bool(source.certificate and peer.certificate)
        is_token = peer.reads_for is not None and source.id in peer.reads_for
        if not (self._is_open or is_shown or is_token):
            return [self._rules.finding("query-unproven", None, Place("MSH", 1, 3))]
        return []

    async def _found(
        self, source: Source, question: Question, control_id: str, draft: _Draft
    ) -> Found:
        try:
            found = await self._reader.answer(source, question, control_id)
        except Exception as error:  # noqa: BLE001 - whatever failed, the asker must hear of it
            kind = error.category if isinstance(error, HieError) else Category.FAULT
            _log.error("query.failed", source=source.id, reason=kind.value)
            draft.findings.append(self._rules.finding("query-passing"))
            return Found()
        draft.findings.extend(self._unfound(found, question))
        return found

    def _unfound(self, found: Found, question: Question) -> list[Finding]:
        """IHE's words for it: ERR-2 names the component that is not known."""
        finding = self._rules.finding
        if found.unfound is Unfound.SOURCE_DOMAIN:
            return [finding("query-unknown-domain", None, Place("QPD", 1, 3, 1, 4))]
        if found.unfound is Unfound.IDENTIFIER:
            return [finding("query-unknown-identifier", None, Place("QPD", 1, 3, 1, 1))]
        if found.unfound is Unfound.POINTER:
            return [finding("query-pointer", None, Place("DSC", 1, 1))]
        if found.unfound is Unfound.TARGET_DOMAIN:
            number = 4 if question.kind == "pix" else 8
            places = (Place("QPD", 1, number, n) for n in found.places)
            return [finding("query-unknown-domain", None, place) for place in places]
        return []

    # The segments

    def _rows(self, found: Found, source: Source, question: Question, pen: Pen) -> list[str]:
        """A PID for each person told of."""
        numbers = self.numbers(source, question.targets)
        if question.kind == "pix":
            told = list(numbers.written(found.identifiers))
            return [pen.segment("PID", {3: told, 5: NAMELESS})] if told else []
        rows: list[str] = []
        reasons = dict.fromkeys(_REASONS[w.name] for w in question.wanted if w.name in _REASONS)
        qri = pen.segment("QRI", {2: list(reasons), 3: [_ALGORITHM]})
        for number, patient in enumerate(found.patients, start=1):
            fields = self._pids.fields(patient, numbers)
            rows += [pen.segment("PID", {1: [str(number)], **fields}), qri]
        return rows

    def numbers(self, source: Source, targets: Sequence[str]) -> Numbers:
        """The identifiers told to a source: of the domains it asks for, else of patients."""

        def takes(system: str) -> bool:
            if targets:
                return system in targets
            return self._domains.is_of_patients(source, system)

        return Numbers(
            takes=takes, authority=lambda system: self._domains.authority(source, system)
        )

    def _answered(
        self,
        draft: _Draft,
        rows: Sequence[str],
        pointer: str,
        status: str,
        *,
        is_read: bool,
    ) -> Answered:
        kind = _KINDS[draft.message.trigger]
        errors = _errors(draft.findings)
        if errors:
            rows, pointer, status = (), "", _status(errors)
        head, asked = self._head(draft, status)
        lines = [head, *asked, *rows]
        if pointer:
            lines.append(draft.pen.segment("DSC", {1: [pointer], 2: ["I"]}))
        if draft.message.trigger == CANCEL:
            head, lines = "", []
        return Answered(
            is_read=is_read,
            findings=tuple(draft.findings),
            response=Response(kind=kind, lines=tuple(lines), notices=tuple(draft.notices)),
            kept=Response(kind=kind, lines=(head,) if head else ()),
        )

    def _head(self, draft: _Draft, status: str) -> tuple[str, list[str]]:
        """QAK, and the question as it was asked."""
        qpd = draft.message.first("QPD")
        tag = qpd.value(2) if qpd else ""
        qak = draft.pen.segment("QAK", {1: [tag[:250]], 2: [status]})
        if qpd is None:
            return qak, []
        is_same = draft.message.delimiters == draft.pen.marks
        if is_same and qpd.raw.isprintable() and len(qpd.raw) <= 64_000:
            return qak, [qpd.raw]
        name = escaped(qpd.value(1)[:250], draft.pen.marks)
        return qak, [draft.pen.marks.field.join(("QPD", name, escaped(tag[:250], draft.pen.marks)))]


def _notices(found: Found) -> list[Finding]:
    """What must be told with an answer, as remarks that find no fault."""
    return [
        Finding(code="0", rule="disclosure-notice", text=text, severity=Severity.NOTE)
        for text in found.notices
    ]


def _errors(findings: Sequence[Finding]) -> list[Finding]:
    return [found for found in findings if found.severity is Severity.ERROR]


def _status(errors: Sequence[Finding]) -> str:
    """QAK-2 of a query that has no answer: as MSA-1."""
    return decide(errors).value
