"""Search criteria and sort orders as SQL expressions on one alias of `resource`.

With a person asked for, token and date rows are found by the person-leading index; else by
the value-leading one. Only `hie.store.repository` uses this file.
Spec: https://hl7.org/fhir/R4/search.html
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, Table, and_, false, literal, not_, or_, select, true
from sqlalchemy import exists as sql_exists

from hie.crypto import KeyRing
from hie.store import blind
from hie.store import query as q
from hie.store.fences import is_there, no_place
from hie.store.guarded import Beside
from hie.store.index import SearchIndex
from hie.store.joins import Expr, Joins, Persons, Visible, about, nobody
from hie.store.leading import SECURITY
from hie.store.tables import (
    sp_composite,
    sp_date,
    sp_number,
    sp_place,
    sp_quantity,
    sp_ref,
    sp_string,
    sp_text,
    sp_token,
    sp_uri,
)

_TABLES: dict[str, Table] = {
    "token": sp_token,
    "blind": sp_token,
    "date": sp_date,
    "string": sp_string,
    "number": sp_number,
    "quantity": sp_quantity,
    "uri": sp_uri,
    "ref": sp_ref,
    "composite": sp_composite,
    "text": sp_token,
    "place": sp_place,
}
Labels = Callable[[str | None, str | None], Sequence[tuple[int, int]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """Where a criterion is put.

    Attributes:
        r: an alias of `resource`.
        visible: put on every other resource that the criterion goes through.
        persons: whose resources are asked for, to pick the index; None = anybody's.
        is_of_few: whether few resources are found otherwise, each to be looked at.
        type_id: where resources of that type are sought from the criterion's index rows on;
            None = they are looked at one by one.
        of_type: the type of `r`, where it is known.
        listed: how index rows of the persons are asked: as the list to begin at, as one of
            further lists, or as one of several conditions on `r` (None).
    """

    r: Any
    visible: Visible = nobody
    persons: Persons = None
    is_of_few: bool = False
    type_id: int | None = None
    of_type: int | None = None
    listed: Callable[[Any, Any], Expr] | None = None

    @property
    def is_sought(self) -> bool:
        """Whether resources are found by this criterion."""
        return self.type_id is not None

    @property
    def code(self) -> Any:
        """The code of a token: a place to begin at where nobody is asked for."""
        return sp_token.c.code if self.persons is None else no_place(sp_token.c.code)


class Criteria:
    """Turns criteria into expressions.

    Args:
        labels: of a system and code (None = any) the label masks that show such a coding in
            `meta.security`, as (bits that count, how they must be).
    """

    def __init__(self, index: SearchIndex, ring: KeyRing, labels: Labels = lambda *_: ()) -> None:
        self._index = index
        self._ring = ring
        self._labels = labels
        self._joins = Joins(index, self._meets)
        self.guarded = self._joins.guarded
        self._build: dict[type, Callable[[At, Any], Expr]] = {
            q.Token: self._token,
            q.Keyed: self._keyed,
            q.Date: self._date,
            q.String: self._string,
            q.Number: self._number,
            q.Quantity: self._quantity,
            q.Uri: self._uri,
            q.Text: self._text,
            q.Near: self._near,
            q.Composite: self._composite,
            q.Reference: self._reference,
            q.Missing: self._missing,
            q.Ids: lambda at, c: at.r.c.id.in_(c.values),
            q.LastUpdated: self._last_updated,
            q.About: lambda at, c: about(at.r, c.persons, is_own=not c.is_any),
            q.Chain: lambda at, c: self._joins.chain(at.r, c, at.visible, is_sought=at.is_sought),
            q.Has: lambda at, c: self._joins.has(at.r, c, at.visible, is_sought=at.is_sought),
        }

    def expression(self, at: At, criterion: q.Criterion) -> Expr:
        """Whether the resource of an alias meets a criterion."""
        return self._build[type(criterion)](at, criterion)

    def _meets(
        self, r: Any, criterion: q.Criterion, nested: q.Nested, visible: Visible, *, is_sought: bool
    ) -> Expr:
        of_type = self._index.type_id(nested.type)
        type_id = of_type if is_sought else None
        at = At(r=r, visible=visible, persons=nested.persons, type_id=type_id, of_type=of_type)
        return self.expression(at, criterion)

    def resources(self, criterion: q.Keyed, type_id: int) -> Select[Any]:
        """Primary keys of the resources of a type that meet a criterion, from the index rows."""
        return select(sp_token.c.resource_pk).where(
            sp_token.c.param_id.in_(criterion.param_ids),
            sp_token.c.type_id == type_id,
            sp_token.c.code.in_(self._hashes(criterion)),
        )

    def _token(self, at: At, c: q.Token) -> Expr:
        met = _tokens(sp_token.c.system, at.code, c.values)
        if beside := self.guarded.of(c.param_ids[0], "token"):
            return self._token_beside(at, c, beside)
        if c.param != SECURITY:
            return self._rows(at, sp_token, c.param_ids, met, is_not=c.is_not)
        mask = at.r.c.label_mask
        pairs = [pair for v in c.values for pair in self._labels(v.system, v.code)]
        labelled = [mask.bitwise_and(counted) == wanted for counted, wanted in pairs]
        found = or_(self._rows(at, sp_token, c.param_ids, met), *labelled)
        return not_(found) if c.is_not else found

    def _token_beside(self, at: At, c: q.Token, beside: Beside) -> Expr:
        """A code that stands beside a reference: where the reference is shown."""
        number, types = beside
        t = sp_composite.c
        met = and_(
            _tokens(t.system, t.code, c.values), self.guarded.shown_beside(types, at.visible)
        )
        return self._rows(at, sp_composite, [number], met, is_not=c.is_not)

    def _keyed(self, at: At, c: q.Keyed) -> Expr:
        codes = at.code.in_(self._hashes(c))
        return self._rows(at, sp_token, c.param_ids, codes, is_not=c.is_not)

    def _hashes(self, c: q.Keyed) -> list[str]:
        return [self._ring.blind("sp", str(param), key) for param in c.param_ids for key in c.keys]

    def _date(self, at: At, c: q.Date) -> Expr:
        t = sp_date.c
        values = [ranges(t.lo_us, t.hi_us, v.prefix, v.lo_us, v.hi_us) for v in c.values]
        return self._rows(at, sp_date, c.param_ids, or_(false(), *values))

    def _string(self, at: At, c: q.String) -> Expr:
        column = sp_string.c.value
        by_mode: dict[q.StringMode, Callable[[str], Expr]] = {
            q.StringMode.STARTS: lambda v: column.startswith(v, autoescape=True),
            q.StringMode.CONTAINS: lambda v: column.contains(v, autoescape=True),
            q.StringMode.EXACT: lambda v: column == v,
        }
        values = [by_mode[c.mode](v) for v in c.values]
        return self._rows(at, sp_string, c.param_ids, or_(false(), *values))

    def _number(self, at: At, c: q.Number) -> Expr:
        values = [_numbers(sp_number.c.lo, sp_number.c.hi, v) for v in c.values]
        return self._rows(at, sp_number, c.param_ids, or_(false(), *values))

    def _quantity(self, at: At, c: q.Quantity) -> Expr:
        t = sp_quantity.c
        values = [_quantities(t.lo, t.hi, t.system, t.code, v) for v in c.values]
        return self._rows(at, sp_quantity, c.param_ids, or_(false(), *values))

    def _uri(self, at: At, c: q.Uri) -> Expr:
        value = sp_uri.c.value
        below = [value.startswith(f"{v}/", autoescape=True) for v in c.below]
        return self._rows(at, sp_uri, c.param_ids, or_(value.in_(c.values), *below))

    def _text(self, at: At, c: q.Text) -> Expr:
        return self._rows(at, sp_token, c.param_ids, at.code.in_(self._texts(c.keys)))

    def _texts(self, keys: Sequence[str]) -> Select[Any]:
        """The names of texts that one of the keys asks for."""
        hashes = [self._ring.blind(blind.TEXTS, key) for key in keys]
        return select(sp_text.c.text).where(sp_text.c.key.in_(hashes))

    def _near(self, at: At, c: q.Near) -> Expr:
        met = or_(false(), *(_is_near(place) for place in c.values))
        return self._rows(at, sp_place, c.param_ids, met)

    def _composite(self, at: At, c: q.Composite) -> Expr:
        met = or_(false(), *(self._composed(at, c, value) for value in c.values))
        return self._rows(at, sp_composite, c.param_ids, met)

    def _composed(self, at: At, c: q.Composite, value: q.CompositeValue) -> Expr:
        t = sp_composite.c
        parts = [_token_value(t.system, t.code, value.first)]
        match value.second:
            case q.TokenValue() as second if beside := self.guarded.of(c.param_ids[0], "composite"):
                parts.append(self.guarded.led_to(second.code, beside[1], at.visible))
            case q.QuantityValue() as second:
                parts.append(_quantities(t.lo, t.hi, t.value_system, t.value_code, second))
            case q.NumberValue() as second:
                parts.append(_numbers(t.lo, t.hi, second))
            case q.DateValue() as second:
                parts.append(ranges(t.lo_us, t.hi_us, second.prefix, second.lo_us, second.hi_us))
            case q.TokenValue() as second:
                parts.append(_token_value(t.value_system, t.value_code, second))
            case text:
                parts.append(t.value_code.in_(self._texts([text])))
        if value.third is not None:
            parts.append(_numbers(t.lo2, t.hi2, value.third))
        return and_(*parts)

    def _reference(self, at: At, c: q.Reference) -> Expr:
        values = [self._joins.points_to(sp_ref, value, at.visible) for value in c.values]
        return self._rows(at, sp_ref, c.param_ids, or_(false(), *values))

    def _missing(self, at: At, c: q.Missing) -> Expr:
        table = _TABLES[c.kind]
        has: Expr
        if c.kind == "ref":
            has = self.guarded.shows(at.r, c.param_ids, at.visible)
        elif beside := self.guarded.of(c.param_ids[0], c.kind):
            shown = self.guarded.shown_beside(beside[1], at.visible)
            has = self._rows(at, sp_composite, [beside[0]], shown)
        else:
            rows = select(table.c.resource_pk).where(table.c.param_id.in_(c.param_ids))
            has = sql_exists(rows.where(table.c.resource_pk == at.r.c.pk).correlate(at.r))
        if c.logical_ids:
            logical = sql_exists().where(
                sp_token.c.resource_pk == at.r.c.pk, sp_token.c.param_id.in_(c.logical_ids)
            )
            has = or_(has, logical.correlate(at.r))
        if c.is_person:
            has = or_(at.r.c.person_id.is_not(None), has)
        return not_(has) if c.is_missing else has

    def _last_updated(self, at: At, c: q.LastUpdated) -> Expr:
        now = at.r.c.last_updated_us if at.persons is None else no_place(at.r.c.last_updated_us)
        return or_(*(ranges(now, now + 1, v.prefix, v.lo_us, v.hi_us) for v in c.values))

    def _rows(
        self, at: At, table: Table, params: Sequence[int], met: Expr, *, is_not: bool = False
    ) -> Expr:
        """Whether the resource has an index row that meets `met`, or (`is_not`) has none."""
        r = at.r
        type_id = next(t for t in (at.type_id, at.of_type, r.c.type_id) if t is not None)
        # One by one: a list of open length is written anew each time a statement runs.
        param = table.c.param_id.in_([literal(number) for number in params])
        is_theirs = at.persons is not None and "person_id" in table.c
        of_type = no_place(table.c.type_id) if is_theirs else table.c.type_id
        rows = select(table.c.resource_pk).where(param, of_type == type_id, met)
        found: Expr
        if at.persons is not None and "person_id" in table.c:
            # No row of another type: with its number the list is made once, not for each of
            # the persons' resources, of which one may have thousands.
            theirs = rows.where(table.c.person_id.in_(at.persons))
            listed = at.listed
            found = listed(r.c.pk, theirs) if listed else r.c.pk.in_(theirs.correlate(r))
        elif at.is_sought and not is_not:
            sought = rows.correlate(None)
            found = at.listed(r.c.pk, sought) if at.listed else r.c.pk.in_(sought)
        elif at.persons is not None or at.is_of_few:
            found = is_there(rows.where(table.c.resource_pk == r.c.pk).correlate(r))
        else:
            found = sql_exists(rows.where(table.c.resource_pk == r.c.pk).correlate(r))
        return not_(found) if is_not else found


def _tokens(system: Any, code: Any, values: Sequence[q.TokenValue]) -> Expr:
    """Whether a row has one of some coded values; those of one system in one list."""
    listed: dict[str, list[str]] = {}
    ways: list[Expr] = []
    for value in values:
        if isinstance(value.system, str) and isinstance(value.code, str):
            listed.setdefault(value.system, []).append(value.code)
        else:
            ways.append(_token_value(system, code, value))
    ways += [and_(system == name, code.in_(codes)) for name, codes in listed.items()]
    return or_(false(), *ways)


def _token_value(system: Any, code: Any, value: q.TokenValue) -> Expr:
    parts = []
    if value.system is not None:
        parts.append(system == value.system)
    if value.code is not None:
        parts.append(code == value.code)
    return and_(true(), *parts)


def _numbers(lo: Any, hi: Any, value: q.NumberValue) -> Expr:
    return ranges(lo, hi, value.prefix, value.lo, value.hi)


def _quantities(lo: Any, hi: Any, system: Any, code: Any, value: q.QuantityValue) -> Expr:
    unit = q.TokenValue(system=value.system, code=value.code)
    return and_(_numbers(lo, hi, value.number), _token_value(system, code, unit))


def _is_near(place: q.Place) -> Expr:
    t = sp_place.c
    x, y, z = place.at
    apart = (t.x - x) * (t.x - x) + (t.y - y) * (t.y - y) + (t.z - z) * (t.z - z)
    # By the index first: whoever is near is on a near parallel.
    return and_(t.z.between(z - place.reach, z + place.reach), apart <= place.reach**2)


def ranges(lo: Any, hi: Any, prefix: q.Prefix, value_lo: Any, value_hi: Any) -> Expr:
    """A stored range compared with the asked one, as `Prefix` defines it."""
    inside = and_(lo >= value_lo, hi <= value_hi)
    above, below = hi > value_hi, lo < value_lo
    by_prefix: dict[q.Prefix, Expr] = {
        q.Prefix.EQ: inside,
        q.Prefix.NE: not_(inside),
        q.Prefix.GT: above,
        q.Prefix.LT: below,
        q.Prefix.GE: or_(above, inside),
        q.Prefix.LE: or_(below, inside),
        q.Prefix.SA: lo >= value_hi,
        q.Prefix.EB: hi <= value_lo,
        q.Prefix.AP: and_(lo < value_hi, hi > value_lo),
    }
    return by_prefix[prefix]
