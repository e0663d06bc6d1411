"""What the demo tells its reader at the end: numbers as text, and where they come from."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from hie.demo.score import Links, Score
from hie.demo.world import Case, KnownAs

_GAP: Final = "  "


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageCount:
    """How many journaled messages of one type had one answer and one fate.

    Attributes:
        wire: `mllp`, `hl7-http` or `fhir`.
        trigger: `ADT^A01`; method and type for FHIR.
        answer: MSA-1, or the HTTP status.
        state: `processed`, `kept`, `parked`, `refused`; `received` or `open` while it waits.
    """

    wire: str
    trigger: str
    answer: str
    state: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditCheck:
    """What verifying the audit trail found.

    Attributes:
        events: rows verified.
        unchained: rows too young to be in the chain.
        fault: what is wrong, in words; empty when the chain is whole.
    """

    events: int
    unchained: int
    fault: str = ""


class HubView(Protocol):
    """What the summary asks of a hub beside its FHIR interface; made in `hie.app`."""

    async def messages_by_type_and_answer(self) -> Sequence[MessageCount]:
        """The journal, counted."""
        ...

    async def backlog(self) -> int:
        """Messages acknowledged and still to be worked off."""
        ...

    async def links(self, known: Sequence[KnownAs]) -> Links:
        """The current person of each number; those the hub does not know are left out."""
        ...

    async def review_queue(self) -> Mapping[str, int]:
        """Open identity tasks by reason."""
        ...

    async def resources_by_type(self) -> Mapping[str, int]:
        """Current, undeleted resources by type."""
        ...

    async def sources_of(self, references: Sequence[str]) -> Mapping[str, str]:
        """The source id of each `Type/id`; those the hub itself makes are left out."""
        ...

    async def verify_audit(self) -> AuditCheck:
        """The audit trail, verified from its first row."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One caller's view of a person.

    Attributes:
        title: who looks, `Bayside General Hospital`.
        by_type: resources by type; empty when the person is hidden.
        by_source: resources about the patient, by source id; the directory is nobody's.
        identifiers: of the golden Patient.
    """

    title: str
    by_type: Mapping[str, int]
    by_source: Mapping[str, int]
    identifiers: int = 0

    @property
    def total(self) -> int:
        """All resources, the Patient included."""
        return sum(self.by_type.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What the senders saw: `answers` by (kind, answer), `seconds` from first to last."""

    messages: int
    seconds: float
    answers: Mapping[tuple[str, str], int]

    def plus(self, later: "Sent") -> "Sent":
        """Both together."""
        return Sent(
            messages=self.messages + later.messages,
            seconds=self.seconds + later.seconds,
            answers=Counter(self.answers) + Counter(later.answers),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the hub listens."""

    host: str
    http_port: int
    mllp_port: int
    mllps_port: int

    @property
    def fhir(self) -> str:
        """The FHIR base URL."""
        return f"http://{self.host}:{self.http_port}/fhir"


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Everything the last page says.

    Attributes:
        processing_seconds: from the first message sent to the last one worked off.
        person_id: of the person shown; empty if she was not found.
        looks: the patient's own, a permitted organisation's, the denied one's.
        denied, denied_name: source id and name of the denied organisation.
        samples: folder of messages to try.
    """

    sent: Sent
    processing_seconds: float
    messages: Sequence[MessageCount]
    score: Score
    review: Mapping[str, int]
    resources: Mapping[str, int]
    person: str
    person_id: str
    looks: Sequence[Look]
    denied: str
    denied_name: str
    audit: AuditCheck
    addresses: Addresses
    samples: Path


def render(summary: Summary, *, is_staying: bool) -> str:
    """The page, as plain text.

    Args:
        summary: the numbers.
        is_staying: whether the hub stays up, so that a reader can go on with it.
    """
    parts = (
        _messages(summary),
        _persons(summary.score, summary.review),
        _resources(summary.resources),
        _one_person(summary),
        _audit(summary.audit),
        _next(summary) if is_staying else iter(()),
    )
    return "\n".join(line for part in parts for line in part)


def _heading(text: str) -> list[str]:
    return ["", text, "-" * len(text)]


def _table(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Columns padded to their widest cell, the first `left` of them to the left."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return [_line(row, widths, left) for row in rows]


def _line(row: Sequence[str], widths: Sequence[int], left: int) -> str:
    cells = [
        cell.ljust(width) if n < left else cell.rjust(width)
        for n, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return f"  {_GAP.join(cells)}".rstrip()


def _messages(summary: Summary) -> Iterator[str]:
    sent = summary.sent
    yield from _heading("Messages")
    rate = sent.messages / summary.processing_seconds if summary.processing_seconds else 0.0
    yield (
        f"  {sent.messages:,} sent by five sources in {sent.seconds:.0f} s; all worked off after "
        f"{summary.processing_seconds:.0f} s ({rate:.0f} a second)."
    )
    yield ""
    rows = [("type", "answer", "then", "count")]
    counts = sorted(summary.messages, key=lambda m: (m.wire != "mllp", m.trigger, m.answer))
    rows += [(m.trigger, m.answer or "-", m.state, f"{m.count:,}") for m in counts]
    yield from _table(rows, left=3)


def _persons(score: Score, review: Mapping[str, int]) -> Iterator[str]:
    yield from _heading("Persons found, against the truth")
    yield from _table(
        [
            ("humans in the state", f"{score.people:,}"),
            ("registrations at five sources", f"{score.registrations:,}"),
            ("persons the hub made of them", f"{score.persons:,}"),
            (
                "pairs of registrations joined rightly",
                f"{score.found_pairs:,} of {score.true_pairs:,} (recall {score.recall:.3f})",
            ),
            (
                "pairs joined wrongly",
                f"{score.wrong_pairs:,} (precision {score.precision:.4f})",
            ),
        ]
    )
    if score.wrong_joins:
        yield "  two humans held as one:"
        yield from _table([(f"  {k}", f"{n:,}") for k, n in sorted(score.wrong_joins.items())])
    else:
        yield "  No two humans are held as one."
    yield "  humans still held as several, by what is odd about them:"
    cases = [case for case in Case if score.cases.get(case)]
    yield from _table([(f"  {c}", f"{score.splits.get(c, 0)} of {score.cases[c]}") for c in cases])
    waiting = sum(review.values())
    yield f"  {waiting:,} doubts wait for an identity steward{':' if waiting else '.'}"
    if review:
        rows = sorted(review.items(), key=lambda row: (-row[1], row[0]))
        yield from _table([(f"  {reason}", f"{count:,}") for reason, count in rows])


def _resources(resources: Mapping[str, int]) -> Iterator[str]:
    yield from _heading(f"Resources stored: {sum(resources.values()):,}")
    if not resources:
        return
    rows = sorted(resources.items(), key=lambda row: (-row[1], row[0]))
    yield from _table([(kind, f"{count:,}") for kind, count in rows])


def _one_person(summary: Summary) -> Iterator[str]:
    yield from _heading(f"One person: {summary.person}, as three callers see her")
    if not summary.person_id:
        yield "  The hub does not know her."
        return
    yield f"  Patient/{summary.person_id}"
    yield ""
    looks = summary.looks
    head = ("", *(look.title for look in looks))
    types = sorted({kind for look in looks for kind in look.by_type})
    sources = sorted({source for look in looks for source in look.by_source})
    rows: list[Sequence[str]] = [head]
    rows += [(kind, *(_count(look.by_type.get(kind, 0)) for look in looks)) for kind in types]
    rows.append(("all", *(_count(look.total) for look in looks)))
    rows.append(("", *("" for _ in looks)))
    rows.append(("identifiers", *(_count(look.identifiers) for look in looks)))
    rows += [
        (f"from {name}", *(_count(look.by_source.get(name, 0)) for look in looks))
        for name in sources
    ]
    yield from _table(rows)
    yield ""
    yield f"  She shares her record with all but {summary.denied_name}: they see what they sent."
    yield "  What tells of HIV the law holds back from all but its sender, until she releases it."


def _count(number: int) -> str:
    return f"{number:,}" if number else "-"


def _audit(audit: AuditCheck) -> Iterator[str]:
    yield from _heading("Audit trail")
    state = f"FAULT: {audit.fault}" if audit.fault else "chain whole"
    yield f"  {audit.events:,} events verified, {audit.unchained:,} not chained yet; {state}"


def _next(summary: Summary) -> Iterator[str]:
    where = summary.addresses
    yield from _heading("The hub is up; try next (after `. .venv/bin/activate`)")
    rows = [
        ("FHIR", f"{where.fhir}/metadata"),
        ("Staff", where.fhir.removesuffix("/fhir") + "/staff/v1/"),
        ("HL7 v2 over MLLP", f"{where.host}:{where.mllp_port}, TLS {where.mllps_port}"),
    ]
    yield from _table(rows, left=2)
    person = summary.person_id or "<id>"
    yield from (
        "",
        f'  TOKEN=$(hie token --patient {person} --scope "patient/*.rs")',
        '  curl -s -H "Authorization: Bearer $TOKEN" \\',
        f"    '{where.fhir}/Patient/{person}/$everything'",
        f'  TOKEN=$(hie token --organization {summary.denied} --scope "system/*.rs")',
        "  ... and the same curl again: what a denied organisation gets.",
        f"  hie send {summary.samples}/*.hl7 --to {where.host}:{where.mllp_port}",
        f"  hie convert {summary.samples}/ORU_R01.hl7",
        "  hie parked; hie audit verify",
        "  hie mpi review; hie mpi show TASK     # what waits for an identity steward",
    )
