"""Residuals and criteria as SQL expressions on one alias of `resource`.

The residual's predicate is built here once and put on every alias of every read; what it
means is the formula of `hie.store.residual`. Only `hie.store.repository` uses this file.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, FromClause, Table, and_, false, not_, or_, true
from sqlalchemy import exists as sql_exists

from hie.store.index import SearchIndex
from hie.store.query import Prefix
from hie.store.residual import DIRECTORY_TYPES, DefaultRule, Residual
from hie.store.tables import compartment, sp_token

Expr = ColumnElement[bool]
#: Bits a label mask may use; the complement of a mask must stay a positive 64-bit number.
ALL_BITS: Final = (1 << 62) - 1


class Visibility:
    """Builds `visible(resource)` for a residual.

    Args:
        rules: the table `consent_rule`, owned by `consent`.
        codes: the table `consent_code`: (code_set, system, code).
        index: knows the small ids of types and parameters.
    """

    def __init__(self, rules: Table, codes: Table, index: SearchIndex) -> None:
        self._rules = rules
        self._codes = codes
        self._directory = sorted(index.type_id(name) for name in DIRECTORY_TYPES)
        self._patient = index.type_id("Patient")

    def visible(self, residual: Residual, r: FromClause) -> Expr:
        """Whether the caller may know that the resource exists."""
        ways: list[Expr] = [and_(r.c.type_id.in_(self._directory), r.c.person_id.is_(None))]
        if residual.own_sources:
            ways.append(r.c.source_id.in_(sorted(residual.own_sources)))
        if residual.sees_source_records:
            ways.append(r.c.type_id == self._patient)
        other = compartment.alias()
        refused = sql_exists().where(
            other.c.resource_pk == r.c.pk,
            not_(self._person_permits(residual, other.c.person_id, r)),
        )
        ways.append(
            and_(
                r.c.person_id.is_not(None),
                self._person_permits(residual, r.c.person_id, r),
                not_(refused),
            )
        )
        return or_(*ways)

    def _person_permits(self, residual: Residual, person: Any, r: FromClause) -> Expr:
        if residual.is_confined:
            return false() if residual.self_person is None else person == residual.self_person
        permitted = and_(
            *(self._lifted(residual, person, r, bit) for bit in residual.hard_bits),
            not_(self._speaks(residual, person, r, "deny")),
            or_(
                _default_permits(residual.defaults, r), self._speaks(residual, person, r, "permit")
            ),
        )
        if residual.self_person is None:
            return permitted
        return or_(person == residual.self_person, permitted)

    def _lifted(self, residual: Residual, person: Any, r: FromClause, bit: int) -> Expr:
        rule = self._rules.alias()
        lift = sql_exists().where(
            rule.c.person_id == person,
            rule.c.effect == "lift",
            rule.c.label_mask.op("&")(bit) != 0,
            self._asked(residual, rule),
            self._about(rule, r, needs_date=True),
        )
        return or_(r.c.label_mask.op("&")(bit) == 0, lift)

    def _speaks(self, residual: Residual, person: Any, r: FromClause, effect: str) -> Expr:
        rule, deeper = self._rules.alias(), self._rules.alias()
        overruled = sql_exists().where(
            deeper.c.person_id == person,
            deeper.c.consent_id == rule.c.consent_id,
            deeper.c.path != rule.c.path,
            deeper.c.path.startswith(rule.c.path),
            or_(
                and_(deeper.c.effect == "permit", self._matches(residual, deeper, r, "permit")),
                and_(deeper.c.effect == "deny", self._matches(residual, deeper, r, "deny")),
            ),
        )
        return sql_exists().where(
            rule.c.person_id == person,
            rule.c.effect == effect,
            self._matches(residual, rule, r, effect),
            not_(overruled),
        )

    def _matches(self, residual: Residual, rule: FromClause, r: FromClause, effect: str) -> Expr:
        mask = rule.c.label_mask
        if effect == "deny":
            labels = or_(mask.is_(None), r.c.label_mask.op("&")(mask) != 0)
        else:
            # r & ~mask = 0, written without ~, which the two dialects render differently.
            labels = or_(mask.is_(None), r.c.label_mask.op("&")(mask) == r.c.label_mask)
        return and_(
            self._asked(residual, rule), labels, self._about(rule, r, needs_date=effect != "deny")
        )

    def _asked(self, residual: Residual, rule: FromClause) -> Expr:
        """The request side of a rule."""
        return and_(
            _any_of(rule.c.grantee, residual.grantees),
            _any_of(rule.c.purpose, residual.purposes),
            _any_of(rule.c.action, (residual.action,)),
            or_(rule.c.valid_from_us.is_(None), rule.c.valid_from_us <= residual.now_us),
            or_(rule.c.valid_to_us.is_(None), rule.c.valid_to_us > residual.now_us),
        )

    def _about(self, rule: FromClause, r: FromClause, *, needs_date: bool) -> Expr:
        """The data side of a rule, labels apart."""
        token, code = sp_token.alias(), self._codes.alias()
        in_set = sql_exists().where(
            token.c.resource_pk == r.c.pk,
            code.c.code_set == rule.c.code_set,
            code.c.system == token.c.system,
            code.c.code == token.c.code,
        )
        return and_(
            or_(rule.c.type_id.is_(None), rule.c.type_id == r.c.type_id),
            or_(rule.c.source_id.is_(None), rule.c.source_id == r.c.source_id),
            or_(rule.c.instance.is_(None), rule.c.instance == r.c.id),
            _dates(rule, r, needs_date=needs_date),
            or_(rule.c.code_set.is_(None), in_set),
            or_(rule.c.author.is_(None), rule.c.author == r.c.author),
            or_(rule.c.encounter.is_(None), rule.c.encounter == r.c.encounter),
        )


def ranges(lo: Any, hi: Any, prefix: Prefix, value_lo: Any, value_hi: Any) -> Expr:
    """A stored range compared with the asked one, as `Prefix` defines it."""
    inside = and_(lo >= value_lo, hi <= value_hi)
    above, below = hi > value_hi, lo < value_lo
    by_prefix: dict[Prefix, Expr] = {
        Prefix.EQ: inside,
        Prefix.NE: not_(inside),
        Prefix.GT: above,
        Prefix.LT: below,
        Prefix.GE: or_(above, inside),
        Prefix.LE: or_(below, inside),
        Prefix.SA: lo >= value_hi,
        Prefix.EB: hi <= value_lo,
        Prefix.AP: and_(lo < value_hi, hi > value_lo),
    }
    return by_prefix[prefix]


def _any_of(column: Column[Any] | Any, values: Sequence[str] | frozenset[str]) -> Expr:
    if not values:
        return column.is_(None)  # type: ignore[no-any-return]
    return or_(column.is_(None), column.in_(sorted(values)))


def _dates(rule: FromClause, r: FromClause, *, needs_date: bool) -> Expr:
    undated = and_(r.c.clinical_lo_us.is_(None), r.c.clinical_hi_us.is_(None))
    overlap = and_(
        or_(
            rule.c.date_lo_us.is_(None),
            r.c.clinical_hi_us.is_(None),
            r.c.clinical_hi_us > rule.c.date_lo_us,
        ),
        or_(
            rule.c.date_hi_us.is_(None),
            r.c.clinical_lo_us.is_(None),
            r.c.clinical_lo_us < rule.c.date_hi_us,
        ),
    )
    matching = and_(not_(undated), overlap) if needs_date else or_(undated, overlap)
    return or_(and_(rule.c.date_lo_us.is_(None), rule.c.date_hi_us.is_(None)), matching)


def _default_permits(defaults: tuple[DefaultRule, ...], r: FromClause) -> Expr:
    mask = r.c.label_mask
    permits = [
        true() if rule.label_mask is None else mask.op("&")(ALL_BITS & ~rule.label_mask) == 0
        for rule in defaults
        if rule.effect == "permit"
    ]
    denies = [
        true() if rule.label_mask is None else mask.op("&")(rule.label_mask) != 0
        for rule in defaults
        if rule.effect == "deny"
    ]
    if not permits:
        return false()
    return and_(or_(*permits), not_(or_(false(), *denies)))
