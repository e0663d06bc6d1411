"""What a recipient would see of a record, before and after a proposed change (pure).

By the decision itself, resource by resource; what comes out are types, counts, dates, labels
and reasons, nothing of what the resources say.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from consent.evaluate import Judge, Law, in_words
from consent.model import AccessRequest, Decision, Directive, ResourceFacts
from hie.kernel.fhir import FhirJson

#: Several persons' rules by person.
Rules = Mapping[str, Sequence[Directive]]
#: One resource, once for each person it is about.
Views = Sequence[ResourceFacts]
_Pairs = Iterable[tuple[ResourceFacts, Decision]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Whose view of whose record.

    Attributes:
        person_id: the patient.
        organization: id, `system|value` or identifier value of the recipient.
        user: `Practitioner/<id>` at the recipient; empty = anybody there.
        roles: the roles they act in; empty = they do not say.
        proposed: a Consent that is not recorded; one with the id of a recorded Consent takes
            that one's place.
        withdrawn: ids of recorded Consents that would hold no more.
    """

    person_id: str
    organization: str
    purpose: str = "TREAT"
    user: str = ""
    roles: tuple[str, ...] = ()
    proposed: FhirJson | None = None
    withdrawn: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Resources that are alike in all that is told of them.

    Attributes:
        staff, patient: the reasons in words.
        first_us, last_us: between these they happened; None where none of them has a date.
    """

    type: str
    labels: tuple[str, ...]
    staff: tuple[str, ...]
    patient: tuple[str, ...]
    count: int
    first_us: int | None
    last_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What is released and withheld by one set of consents."""

    released: tuple[Line, ...]
    withheld: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a recipient sees today, what they would see, and the difference.

    Attributes:
        after: None where nothing was proposed.
        opened, closed: what would be released then and is not now; the reverse.
    """

    before: Side
    after: Side | None = None
    opened: tuple[Line, ...] = ()
    closed: tuple[Line, ...] = ()


def preview(
    request: AccessRequest, record: Sequence[Views], before: Rules, after: Rules | None, law: Law
) -> Preview:
    """The preview of one recipient's view of one record.

    Args:
        request: the recipient, for a purpose.
        record: every resource of the person.
        before: the consents in effect, of everybody the resources are about.
        after: the same with the proposed change; None = nothing is proposed.
        law: regime, hard rules, labels.
    """
    judge = Judge(request, law)
    tell = _Teller(law)
    now = [_judged(judge, views, before) for views in record]
    if after is None:
        return Preview(before=tell.side(record, now))
    then = [_judged(judge, views, after) for views in record]
    changed = list(zip(record, now, then, strict=True))
    return Preview(
        before=tell.side(record, now),
        after=tell.side(record, then),
        opened=tell.lines(
            (v[0], b) for v, a, b in changed if b.is_permitted and not a.is_permitted
        ),
        closed=tell.lines(
            (v[0], b) for v, a, b in changed if a.is_permitted and not b.is_permitted
        ),
    )


def _judged(judge: Judge, views: Views, rules: Rules) -> Decision:
    """One denial is enough for what several persons share."""
    found = [judge.decide(view, rules.get(view.person_id or "", ())) for view in views]
    return next((one for one in found if not one.is_permitted), found[0])


class _Teller:
    """Counts what is alike."""

    def __init__(self, law: Law) -> None:
        self._law = law

    def side(self, record: Sequence[Views], decisions: Sequence[Decision]) -> Side:
        pairs = [(views[0], found) for views, found in zip(record, decisions, strict=True)]
        return Side(
            released=self.lines((f, d) for f, d in pairs if d.is_permitted),
            withheld=self.lines((f, d) for f, d in pairs if not d.is_permitted),
        )

    def lines(self, found: _Pairs) -> tuple[Line, ...]:
        alike: dict[tuple[str, tuple[str, ...], Decision], list[ResourceFacts]]
        alike = defaultdict(list)
        for facts, decision in found:
            told = Decision(effect=decision.effect, reasons=decision.reasons)
            alike[facts.type, self._labels(facts.label_mask), told].append(facts)
        lines = [self._line(*key, listed) for key, listed in alike.items()]
        return tuple(sorted(lines, key=lambda one: (one.type, one.labels, one.staff)))

    def _line(
        self,
        type_name: str,
        labels: tuple[str, ...],
        decision: Decision,
        found: Sequence[ResourceFacts],
    ) -> Line:
        staff, patient = in_words(decision, self._law)
        return Line(
            type=type_name,
            labels=labels,
            staff=staff,
            patient=patient,
            count=len(found),
            first_us=_edge(found, min, lambda one: one.clinical_lo_us),
            last_us=_edge(found, max, lambda one: one.clinical_hi_us),
        )

    def _labels(self, mask: int) -> tuple[str, ...]:
        return tuple(coding["code"] for coding in self._law.labels.codings(mask))


def _edge(
    found: Sequence[ResourceFacts],
    pick: Callable[..., int],
    of: Callable[[ResourceFacts], int | None],
) -> int | None:
    times = [at for one in found if (at := of(one)) is not None]
    return pick(times) if times else None


def by_type(lines: Sequence[Line]) -> dict[str, int]:
    """How many of each type."""
    counts: Counter[str] = Counter()
    for line in lines:
        counts[line.type] += line.count
    return dict(sorted(counts.items()))
