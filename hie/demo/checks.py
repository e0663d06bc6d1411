"""What a run of the demo must show (pure): each expectation met or not, and what was found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hie.demo.feed import Delivery
from hie.demo.lists import Lists
from hie.demo.summary import Look, MessageCount, Summary

_SETTLED: Final = frozenset({"processed", "kept", "refused"})
_NEVER_JOINED: Final = ("twins", "father and son of one name")
_MOST_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Check:
    """One expectation: what was expected, whether it was met, what was found."""

    expected: str
    is_met: bool
    found: str = ""

    def __str__(self) -> str:
        verdict = "ok    " if self.is_met else "FAILED"
        found = f" ({self.found})" if self.found and not self.is_met else ""
        return f"  {verdict} {self.expected}{found}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """What an organisation without permission was given of one person.

    Attributes:
        why: `denied`, or `never asked`.
        own: clinical resources it sent itself.
        foreign: clinical resources of others: a leak.
    """

    person: int
    source: str
    why: str
    own: int
    foreign: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the checks look at.

    Attributes:
        heroine_links: the person id of each of the heroine's registrations.
        held: resources of hers a reader got, from others, that the law holds back.
        denials: of the denied and of those never asked.
        permitted: people whose permitted reader got something another source sent, of
            `asked` people.
    """

    deliveries: Sequence[Delivery]
    summary: Summary
    backlog: int
    heroine_links: Sequence[str]
    held: int
    denials: Sequence[Denial]
    permitted: int
    asked: int


def check(evidence: Evidence, lists: Lists) -> tuple[Check, ...]:
    """Every expectation, in the order of the summary."""
    return (
        *_messages(evidence),
        *_persons(evidence, lists),
        *_heroine(evidence, lists),
        *_consents(evidence),
        _audit(evidence),
    )


def _messages(evidence: Evidence) -> tuple[Check, ...]:
    silent = [d for d in evidence.deliveries if not d.answer]
    odd = [d for d in evidence.deliveries if not d.is_as_expected]
    counts = evidence.summary.messages
    unsettled = [m for m in counts if m.state not in _SETTLED]
    return (
        Check("every message is answered", not silent, f"{len(silent)} are not"),
        Check("every answer is the one the story expects", not odd, _odd(odd)),
        Check(
            "every accepted message is worked off or kept; none waits or is parked",
            not unsettled and not evidence.backlog,
            _states(unsettled),
        ),
    )


def _odd(odd: Sequence[Delivery]) -> str:
    shown = [
        f"{d.parcel.source} {d.parcel.kind} {d.parcel.control_id}: {d.answer or 'none'} {d.text}"
        for d in odd[:_MOST_SHOWN]
    ]
    return f"{len(odd)} are not: {'; '.join(shown)}"


def _states(counts: Sequence[MessageCount]) -> str:
    return ", ".join(f"{m.trigger} {m.state} {m.count}" for m in counts[:_MOST_SHOWN])


def _persons(evidence: Evidence, lists: Lists) -> tuple[Check, ...]:
    score, floors = evidence.summary.score, lists.plan.floors
    apart = [
        Check(
            f"{kind} stay apart",
            not score.wrong_joins.get(kind),
            f"{score.wrong_joins.get(kind)} pairs do not",
        )
        for kind in _NEVER_JOINED
    ]
    return (
        Check("every registration is known", not score.unknown, f"{score.unknown} are not"),
        *apart,
        Check(
            f"precision is {floors['precision']} or better",
            score.precision >= floors["precision"],
            f"{score.precision:.4f}",
        ),
        Check(
            f"recall is {floors['recall']} or better",
            score.recall >= floors["recall"],
            f"{score.recall:.4f}",
        ),
    )


def _heroine(evidence: Evidence, lists: Lists) -> tuple[Check, ...]:
    ids = set(evidence.heroine_links)
    own, reader, denied = evidence.summary.looks
    sources = len(lists.senders)
    strangers = {s: n for s, n in denied.by_source.items() if s != evidence.summary.denied}
    return (
        Check(
            f"the person known to {sources} sources is one person",
            len(evidence.heroine_links) == sources and len(ids) == 1,
            f"{len(evidence.heroine_links)} registrations, {len(ids)} persons",
        ),
        Check(
            f"her $everything is one Patient with resources from {sources} sources",
            own.by_type.get("Patient") == 1 and len(own.by_source) == sources,
            _seen(own),
        ),
        Check(
            "an organisation she permits sees what others sent, but not what the law holds back",
            len(reader.by_source) > 1 and not evidence.held and reader.total < own.total,
            f"{_seen(reader)}, {evidence.held} held back by law",
        ),
        Check(
            "the organisation she denies sees what it sent itself and nothing else",
            bool(denied.by_source) and not strangers,
            _seen(denied),
        ),
    )


def _seen(look: Look) -> str:
    return f"{look.by_type.get('Patient', 0)} Patient, {look.total} in all, {dict(look.by_source)}"


def _consents(evidence: Evidence) -> tuple[Check, ...]:
    leaks = [d for d in evidence.denials if d.foreign]
    return (
        Check(
            f"no organisation without permission sees others' data ({len(evidence.denials)} tried)",
            not leaks,
            "; ".join(f"{d.source} {d.why}: {d.foreign} foreign" for d in leaks[:_MOST_SHOWN]),
        ),
        Check(
            f"organisations with permission see it ({evidence.asked} tried)",
            evidence.permitted == evidence.asked,
            f"{evidence.permitted} do",
        ),
    )


def _audit(evidence: Evidence) -> Check:
    audit = evidence.summary.audit
    return Check("the audit chain is whole", not audit.fault and audit.events > 0, audit.fault)
