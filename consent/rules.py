"""Directive to rows of `consent_rule` and back (pure).

Any of these within an element becomes one row each; all of these across elements stay one row.
The rows of a rule share its path, so they speak, or are overruled, as the rule would.
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Final, TypeVar

from consent.model import ANYONE, Code, Directive, Effect, Rule, Target, TargetKind

V = TypeVar("V", bound=Hashable)

#: Rows one rule may need; a deny that needs more is widened, a permit is void.
ROW_LIMIT: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRow:
    """One row of `consent_rule`; what it means is the formula of `hie.store.residual`.

    Attributes:
        type: name of the resource type, kept as its small id.
        codes: kept in `consent_code`.
        date_lo_us, date_hi_us: the first end a resource may have, the last start.
    """

    consent_id: str
    version: int
    path: str
    effect: Effect
    note: str = ""
    grantee: str | None = None
    purpose: str | None = None
    action: str | None = None
    type: str | None = None
    source_id: str | None = None
    instance: str | None = None
    author: str | None = None
    encounter: str | None = None
    label_mask: int | None = None
    date_lo_us: int | None = None
    date_hi_us: int | None = None
    codes: frozenset[Code] | None = None
    valid_from_us: int | None = None
    valid_to_us: int | None = None
    record_id: str | None = None


def rule_rows(directive: Directive) -> tuple[RuleRow, ...]:
    """The rows of a directive, in the order of its rules."""
    return tuple(row for rule in directive.rules for row in _rows(directive, rule))


def directives_of(rows: Iterable[RuleRow]) -> tuple[Directive, ...]:
    """Directives that decide as those the rows were made from."""
    rules: dict[tuple[str, int], list[Rule]] = {}
    for row in rows:
        rules.setdefault((row.consent_id, row.version), []).append(_rule(row))
    return tuple(
        Directive(consent_id=consent_id, version=version, rules=tuple(found))
        for (consent_id, version), found in rules.items()
    )


def _rows(directive: Directive, rule: Rule) -> Iterator[RuleRow]:
    if _count(rule) > ROW_LIMIT:
        if rule.effect is not Effect.DENY:
            return
        rule = _without_lists(rule)
    ways = product(
        _ways(rule.grantees),
        _ways(rule.purposes),
        _ways(rule.actions),
        _ways(rule.types),
        _ways(rule.sources),
        _ways(rule.targets),
        _ways(rule.records),
    )
    for grantee, purpose, action, type_name, source, target, record in ways:
        row = RuleRow(
            consent_id=directive.consent_id,
            version=directive.version,
            path=rule.path,
            effect=rule.effect,
            note=rule.note,
            # Nobody but an organisation is "anyone" to a permit.
            grantee=ANYONE if grantee is None and rule.effect is not Effect.DENY else grantee,
            purpose=purpose,
            action=action,
            type=type_name,
            source_id=source,
            label_mask=rule.label_mask,
            # [lo, hi) overlaps [start, end) when end >= lo + 1 and start <= hi - 1.
            date_lo_us=None if rule.date_lo_us is None else rule.date_lo_us + 1,
            date_hi_us=None if rule.date_hi_us is None else rule.date_hi_us - 1,
            codes=rule.codes,
            valid_from_us=rule.valid_from_us,
            valid_to_us=rule.valid_to_us,
            record_id=record,
        )
        aimed = _aimed(row, target)
        if aimed is not None:
            yield aimed


def _count(rule: Rule) -> int:
    lists = (
        *(rule.grantees, rule.purposes, rule.actions),
        *(rule.types, rule.sources, rule.targets, rule.records),
    )
    return prod(1 if values is None else len(values) for values in lists)


def _without_lists(rule: Rule) -> Rule:
    records = rule.records
    return replace(
        rule,
        note="too-many",
        grantees=None,
        purposes=None,
        actions=None,
        types=None,
        sources=None,
        targets=None,
        records=None if records is not None and len(records) > ROW_LIMIT else records,
    )


def _ways(values: frozenset[V] | None) -> Sequence[V | None]:
    return (None,) if values is None else sorted(values, key=str)


def _aimed(row: RuleRow, target: Target | None) -> RuleRow | None:
    """The row with its target; None where the two exclude each other."""
    if target is None:
        return row
    if target.kind is TargetKind.SOURCE:
        is_other = row.source_id not in (None, target.value)
        return None if is_other else replace(row, source_id=target.value)
    if target.kind is TargetKind.AUTHOR:
        return replace(row, author=target.value)
    if target.kind is TargetKind.ENCOUNTER:
        return replace(row, encounter=target.value)
    type_name, _, instance = target.value.partition("/")
    is_other = row.type not in (None, type_name)
    return None if is_other else replace(row, type=type_name, instance=instance)


def _rule(row: RuleRow) -> Rule:
    return Rule(
        path=row.path,
        effect=row.effect,
        note=row.note,
        grantees=None if row.grantee == ANYONE else _only(row.grantee),
        purposes=_only(row.purpose),
        actions=_only(row.action),
        types=_only(row.type),
        sources=_only(row.source_id),
        targets=_targets(row),
        codes=row.codes,
        label_mask=row.label_mask,
        date_lo_us=None if row.date_lo_us is None else row.date_lo_us - 1,
        date_hi_us=None if row.date_hi_us is None else row.date_hi_us + 1,
        valid_from_us=row.valid_from_us,
        valid_to_us=row.valid_to_us,
        records=_only(row.record_id),
    )


def _only(value: str | None) -> frozenset[str] | None:
    return None if value is None else frozenset({value})


def _targets(row: RuleRow) -> frozenset[Target] | None:
    if row.instance is not None:
        return frozenset({Target(TargetKind.INSTANCE, f"{row.type}/{row.instance}")})
    if row.author is not None:
        return frozenset({Target(TargetKind.AUTHOR, row.author)})
    if row.encounter is not None:
        return frozenset({Target(TargetKind.ENCOUNTER, row.encounter)})
    return None
