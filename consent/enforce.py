"""The recheck of what is about to leave (pure): the last chance to find a hole in the SQL."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from consent.evaluate import Judge, Law
from consent.model import (
    AccessRequest,
    Decision,
    Directive,
    Effect,
    Obligation,
    Reason,
    ReasonKind,
    ResourceFacts,
)
from hie.kernel.errors import Category, HieError

#: Is told why something of a person may leave.
Note = Callable[[str, Decision], None]


class RowFacts(NamedTuple):
    """What the columns of a row tell a decision, but for its id; "" = none."""

    type: str
    source_id: str
    person_id: str
    source_record_id: str
    label_mask: int


class Built(NamedTuple):
    """The labels of a golden Patient: all, and those that others' records brought."""

    mask: int
    others: int


def recheck(
    request: AccessRequest,
    leaving: Iterable[ResourceFacts],
    directives: Mapping[str, Sequence[Directive]],
    law: Law,
    note: Note = lambda _person, _decision: None,
) -> tuple[Obligation, ...]:
    """What the bundle must carry with it, once every resource in it is permitted.

    Args:
        request: the request the bundle answers.
        leaving: one per resource and person it is about; `is_partial` where only the columns
            of its row are at hand.
        directives: by person id; a person without any follows the regime.
        law: regime, hard rules, labels.
        note: told why each may leave.

    Raises:
        HieError: FAULT when one of them is denied. Nothing may leave then.
    """
    judge = Judge(request, law)
    aimed = {person: _names_instances(found) for person, found in directives.items()}
    obligations: set[Obligation] = set()
    judged: set[Hashable] = set()
    for facts in leaving:
        person = facts.person_id or ""
        key = _alike(facts, facts.id if aimed.get(person) else "")
        if key in judged:
            continue
        judged.add(key)
        decision = judge.decide(facts, directives.get(person, ()))
        if not decision.is_permitted:
            raise HieError(Category.FAULT, "the consent decision and the answer disagree")
        obligations.update(decision.obligations)
        note(person, decision)
    return tuple(sorted(obligations, key=lambda obligation: obligation.code))


def recheck_rows(
    request: AccessRequest,
    rows: Mapping[RowFacts, Sequence[str]],
    directives: Mapping[str, Sequence[Directive]],
    law: Law,
    note: Note = lambda _person, _decision: None,
) -> tuple[Obligation, ...]:
    """`recheck` of many resources: ids by what their rows have in common.

    Only where a Consent names a resource of that person are they looked at one by one.

    Raises:
        HieError: FAULT when one of them is denied. Nothing may leave then.
    """
    aimed = {person for person, found in directives.items() if _names_instances(found)}
    leaving = (
        ResourceFacts(
            type=row.type,
            id=key,
            source_id=row.source_id,
            person_id=row.person_id or None,
            source_record_id=row.source_record_id,
            label_mask=row.label_mask,
            is_partial=True,
        )
        for row, ids in rows.items()
        for key in (ids if row.person_id in aimed else ids[:1])
    )
    return recheck(request, leaving, directives, law, note)


def ground_of(
    request: AccessRequest, person_id: str, built: Built, directives: Sequence[Directive], law: Law
) -> Decision:
    """Why a golden Patient may leave, and with what: its records passed the predicate.

    Where neither a Consent nor the regime permits it as a whole, one of the caller's own
    records is in it, or the caller is a steward. Notices are told of what others' records
    brought alone: whoever reads their own is no recipient of a disclosure.
    """
    facts = ResourceFacts(
        type="Patient",
        id=person_id,
        source_id="",
        person_id=person_id,
        label_mask=built.mask,
        is_partial=True,
    )
    decision = Judge(request, law).decide(facts, directives)
    told = law.obligations(built.others)
    if decision.is_permitted:
        # Of the patient's own look nothing is told, whoever recorded what they see.
        return replace(decision, obligations=told if decision.obligations else ())
    kind = ReasonKind.OWN_SOURCE if request.own_sources else ReasonKind.STEWARD
    return Decision(effect=Effect.PERMIT, reasons=(Reason(kind=kind),), obligations=told)


def _names_instances(directives: Sequence[Directive]) -> bool:
    return any(rule.targets is not None for found in directives for rule in found.rules)


def _alike(facts: ResourceFacts, instance: str) -> Hashable:
    """What resources have in common that are decided alike."""
    return (
        instance,
        facts.type,
        facts.source_id,
        facts.person_id,
        facts.source_record_id,
        facts.label_mask,
        facts.is_partial,
        facts.clinical_lo_us,
        facts.clinical_hi_us,
        facts.references,
        facts.codes,
    )
