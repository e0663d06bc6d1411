"""What one message becomes, for a person at a terminal: `hie convert` and `hie lint`.

Nothing is stored. Every message gives one line, in the order of the input, whatever is in it.
"""

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum
from hashlib import sha256
from typing import Any, Final

import orjson

from adapters.hl7v2 import er7
from adapters.hl7v2.conform import Conformer
from adapters.hl7v2.coverage import Coverage, coverage
from adapters.hl7v2.deep import deep_verdict
from adapters.hl7v2.er7 import Message
from adapters.hl7v2.mapper import Mapper
from adapters.hl7v2.send import split_messages
from adapters.hl7v2.tally import Tally, readable, tally_of
from adapters.sources import Source
from hie.kernel.clock import Clock, SystemClock
from hie.kernel.envelope import Draft, Finding, MergeKind, Severity, Submission, WriteMode
from hie.kernel.errors import HieError
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import MessageId

__all__ = [
    "Converted",
    "Outcome",
    "Report",
    "convert",
    "convert_files",
    "coverage_files",
    "lint_files",
    "split_messages",
    "to_json",
]

#: Whose message it is; the command line decides what it does with unknown senders.
SourceFinder = Callable[[Message], Source]

_DRAFT: Final = "urn:hie:"
_NAMESPACE: Final = uuid.UUID("6f0c9c4e-6f3f-5b62-9c39-7f5a0d6f2a11")
_EVENTS: Final = "http://terminology.hl7.org/CodeSystem/v2-0003"
_ISSUE_SEVERITY: Final = {
    Severity.ERROR: "error",
    Severity.WARNING: "warning",
    Severity.NOTE: "information",
}
_NOTHING: Final = Coverage(present=(), unmapped=())


class Outcome(IntEnum):
    """What became of a message; the value is the exit code it asks for."""

    MAPPED = 0
    UNREADABLE = 1
    KEPT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """One message, converted.

    Attributes:
        bundle: what it maps to, a collection; with a MessageHeader and an OperationOutcome
            where it maps to nothing.
        trigger: `ADT^A01`; empty when it cannot be read.
        merges: of which kind each is that it says of numbers; no resource shows them.
    """

    bundle: FhirJson
    findings: tuple[Finding, ...]
    coverage: Coverage
    outcome: Outcome
    trigger: str = ""
    merges: tuple[MergeKind, ...] = ()


@dataclass(slots=True)
class Report:
    """What a command prints.

    Attributes:
        output: lines for standard output.
        remarks: lines for standard error.
        exit_code: 1 where a message could not be read, else 3 where one was kept unmapped (by
            `lint`: where one has an error), else 0.
    """

    output: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    exit_code: int = 0

    def note(self, outcome: Outcome) -> None:
        """Let an outcome count for the exit code; what could not be read counts most."""
        if self.exit_code != Outcome.UNREADABLE:
            self.exit_code = int(outcome) or self.exit_code


def convert(
    payload: bytes, mapper: Mapper, source_of: SourceFinder, *, received_us: int = 0
) -> Converted:
    """What a message becomes; never raises, whatever the payload is."""
    try:
        message = er7.parse(payload)
        source = source_of(message)
        if source.charset:
            message = er7.parse(payload, source.charset)
    except HieError as error:
        return _unreadable(payload, error)
    submission = mapper.map(message, source, message_id=MessageId(0), received_us=received_us)
    return _converted(payload, message, source, submission)


def convert_files(
    files: Iterable[tuple[str, bytes]],
    mapper: Mapper,
    source_of: SourceFinder,
    *,
    clock: Clock | None = None,
) -> Report:
    """One Bundle a message as NDJSON; findings and coverage as remarks.

    Args:
        files: name and content, one message or more each.
        mapper: the maps.
        source_of: whose a message is.
        clock: when the messages were received; the machine's where none is handed in.
    """
    report = Report()
    received_us = (clock or SystemClock()).now_us()
    for name, payload in _messages(files):
        found = convert(payload, mapper, source_of, received_us=received_us)
        report.output.append(to_json(found.bundle).decode())
        report.remarks += [f"{name}: {_line(finding)}" for finding in found.findings]
        report.remarks.append(f"{name}: {_summary(found)}")
        report.note(found.outcome)
    return report


def coverage_files(
    files: Iterable[tuple[str, bytes]],
    mapper: Mapper,
    source_of: SourceFinder,
    *,
    is_json: bool = False,
) -> Report:
    """How many fields each message holds, how many are mapped and kept, and all of them together.

    Args:
        files: name and content, one message or more each.
        mapper: the maps.
        source_of: whose a message is.
        is_json: one object a line, the last of them the total; else a table.
    """
    report, total = Report(), Tally()
    rows: list[tuple[str, str, Tally]] = []
    for name, payload in _messages(files):
        found = convert(payload, mapper, source_of)
        rows.append((name, found.trigger, tally_of(found.coverage)))
        total.add(found.coverage)
        report.note(found.outcome)
    rows.append(("total", "", total))
    if is_json:
        report.output = [to_json(one.json(name, trigger)).decode() for name, trigger, one in rows]
    else:
        report.output = list(readable(rows))
    return report


def lint_files(
    files: Iterable[tuple[str, bytes]],
    mapper: Mapper,
    conformer: Conformer,
    source_of: SourceFinder,
    *,
    is_deep: bool = False,
) -> Report:
    """The findings of each message: of the standard first, then of the maps, then coverage.

    Args:
        files: name and content, one message or more each.
        mapper: the maps.
        conformer: the standard.
        source_of: whose a message is.
        is_deep: ask hl7apy too, which takes tens of milliseconds a message.
    """
    report = Report()
    for name, payload in _messages(files):
        found = convert(payload, mapper, source_of)
        findings = list(found.findings)
        if found.outcome is not Outcome.UNREADABLE:
            message = er7.parse(payload)
            # The remarks of reading are among those of the standard, weighed for the source.
            findings = [f for f in findings if f not in message.findings]
            findings[:0] = conformer.conform(message, source_of(message)).findings
        report.output += [f"{name}: {_line(finding)}" for finding in findings]
        if is_deep and found.outcome is not Outcome.UNREADABLE:
            report.output += [f"{name}: hl7apy: {text}" for text in deep_verdict(payload).problems]
        report.output.append(f"{name}: {_summary(found)}")
        if any(finding.severity is Severity.ERROR for finding in findings):
            report.note(Outcome.KEPT)
        if found.outcome is Outcome.UNREADABLE:
            report.note(found.outcome)
    return report


def to_json(value: Any) -> bytes:
    """Compact JSON; a Decimal has the digits it was written with."""
    return orjson.dumps(value, default=_exact)


def _exact(value: Any) -> Any:
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value, "f"))
    raise TypeError(f"not JSON: {type(value).__name__}")


def _messages(files: Iterable[tuple[str, bytes]]) -> Iterable[tuple[str, bytes]]:
    """Every message with its name: that of the file, numbered where it has several."""
    for name, content in files:
        found = split_messages(content)
        if not found:
            yield name, content
        for number, payload in enumerate(found, start=1):
            yield (f"{name}[{number}]" if len(found) > 1 else name), payload


def _converted(
    payload: bytes, message: Message, source: Source, submission: Submission
) -> Converted:
    findings = (*message.findings, *submission.findings)
    resources = _resources(submission.drafts)
    if not resources:
        resources = {"header": _header(message, source), "outcome": _outcome_of(findings)}
    return Converted(
        bundle=_bundle(payload, resources),
        findings=findings,
        coverage=coverage(message, submission.unmapped),
        outcome=Outcome.MAPPED if submission.drafts else Outcome.KEPT,
        trigger=message.trigger,
        merges=tuple(said.kind for said in submission.merges),
    )


def _unreadable(payload: bytes, error: HieError) -> Converted:
    finding = Finding(code="100", rule="unreadable", text=error.text, severity=Severity.ERROR)
    header: FhirJson = {
        "resourceType": "MessageHeader",
        "eventUri": "urn:hie:unreadable",
        "source": {"endpoint": "urn:hie:source:unknown"},
    }
    resources = {"header": header, "outcome": _outcome_of((finding,))}
    return Converted(
        bundle=_bundle(payload, resources),
        findings=(finding,),
        coverage=_NOTHING,
        outcome=Outcome.UNREADABLE,
    )


def _resources(drafts: Sequence[Draft]) -> dict[str, FhirJson]:
    """The resources as they would be stored first, by name; drafts of one key are one."""
    found: dict[str, FhirJson] = {}
    names: dict[tuple[str, ...], str] = {}
    for draft in drafts:
        kind = str(draft.resource["resourceType"])
        name = names.setdefault((kind, *draft.key), draft.name) if draft.key else draft.name
        stated = {key: value for key, value in draft.resource.items() if value is not None}
        if name in found and draft.mode is WriteMode.PATCH:
            stated = {**found[name], **stated}
        found[name] = stated
    return found


def _bundle(payload: bytes, resources: dict[str, FhirJson]) -> FhirJson:
    """A collection whose entries refer to each other by addresses that follow from the message."""
    digest = sha256(payload).hexdigest()
    addresses = {
        f"{_DRAFT}{name}": uuid.uuid5(_NAMESPACE, f"{digest}:{name}").urn for name in resources
    }
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            {
                "fullUrl": addresses[f"{_DRAFT}{name}"],
                "resource": _linked(resource, addresses),
            }
            for name, resource in resources.items()
        ],
    }


def _linked(node: Any, addresses: dict[str, str]) -> Any:
    """A copy of `node` in which links to drafts, references and URLs alike, lead to entries."""
    if isinstance(node, dict):
        return {
            name: addresses.get(child, child)
            if name in ("reference", "url") and isinstance(child, str)
            else _linked(child, addresses)
            for name, child in node.items()
        }
    if isinstance(node, list):
        return [_linked(child, addresses) for child in node]
    return node


def _header(message: Message, source: Source) -> FhirJson:
    event = {"system": _EVENTS, "code": message.event or message.code or "unknown"}
    header: FhirJson = {
        "resourceType": "MessageHeader",
        "eventCoding": {**event, "display": message.trigger} if message.trigger else event,
        "source": {
            "name": source.name,
            "endpoint": "urn:hie:source:" + "-".join(source.id.split()),
        },
    }
    return header


def _outcome_of(findings: Sequence[Finding]) -> FhirJson:
    return {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": _ISSUE_SEVERITY[finding.severity],
                "code": "not-supported" if finding.rule == "unmapped-message" else "invalid",
                "diagnostics": f"{finding.place}: {finding.text}".removeprefix(": "),
            }
            for finding in findings
        ]
        or [{"severity": "information", "code": "informational"}],
    }


def _line(finding: Finding) -> str:
    place = finding.place or "message"
    if finding.sequence > 1:
        place = place.replace(finding.segment, f"{finding.segment}({finding.sequence})", 1)
    return f"{place} {finding.severity} {finding.rule}: {finding.text}"


def _summary(found: Converted) -> str:
    """One line on what became of a message; fields no map reads are counted, never hidden."""
    if found.outcome is Outcome.UNREADABLE:
        return "cannot be read"
    kinds = Counter(entry["resource"]["resourceType"] for entry in found.bundle["entry"])
    made = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
    trigger = found.trigger or "no trigger"
    if found.outcome is Outcome.KEPT:
        return f"{trigger}: no map reads it; it would be kept as it is"
    if said := Counter(found.merges):
        made += f"; merges and moves: {', '.join(f'{k} {n}' for k, n in sorted(said.items()))}"
    missing = _missing(found.coverage)
    tail = f"; not mapped: {', '.join(missing)}" if missing else ""
    return f"{trigger}: {made}; coverage {found.coverage.percent} %{tail}"


def _missing(found: Coverage) -> list[str]:
    """The places no map reads: `PID-31`, `OBX-25 x20`, `GT1 (all 36)`."""
    read = {place.split("-")[0] for place in found.mapped}
    places = Counter(found.unmapped)
    lines: dict[str, str] = {}
    for place, count in places.items():
        segment = place.split("-")[0]
        if segment in read:
            lines[place] = f"{place} x{count}" if count > 1 else place
        else:
            whole = sum(n for p, n in places.items() if p.split("-")[0] == segment)
            lines[segment] = f"{segment} (all {whole})"
    return list(lines.values())
