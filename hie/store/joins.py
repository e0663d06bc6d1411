"""Resources that a search reaches through others, as SQL: chains, `_has`, references to persons.

Each alias of `resource` on the way carries the caller's predicate, so that nothing hidden
takes part. From a person's few resources the way is followed forward; else it is sought from
its far end, where the index rows are. Only `hie.store.criteria` and the repository use this file.
Spec: https://hl7.org/fhir/R4/search.html#chaining, https://hl7.org/fhir/R4/search.html#has
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from sqlalchemy import ColumnElement, and_, false, or_, select
from sqlalchemy import exists as sql_exists

from hie.store import query as q
from hie.store.index import SearchIndex
from hie.store.tables import compartment, resource, sp_ref

Expr = ColumnElement[bool]
Persons = Sequence[str] | None
#: An alias of `resource` and the type it is held to, to the caller's predicate on it.
Visible = Callable[[Any, str], Any]


class NestedWhere(Protocol):
    """What an alias must meet to be one of some nested resources, and to be seen."""

    def __call__(
        self, r: Any, nested: q.Nested, visible: Visible, /, *, is_sought: bool
    ) -> list[Expr]:
        """Conditions, to be joined by AND; `is_sought`: it is found from its index rows on."""
        ...


def about(r: Any, persons: Sequence[str], *, is_own: bool) -> Expr:
    """Whether a resource is one of these persons' own, or (not `is_own`) also about them."""
    own: Expr = r.c.person_id.in_(persons)
    if is_own:
        return own
    shared = select(compartment.c.resource_pk).where(compartment.c.person_id.in_(persons))
    return or_(own, r.c.pk.in_(shared.correlate(None)))


def nobody(*_: Any) -> Any:
    """The predicate of who may see nothing."""
    return false()


class Joins:
    """Builds the expressions of chains and `_has`."""

    def __init__(self, index: SearchIndex, nested: NestedWhere) -> None:
        self._index = index
        self._patient = index.type_id("Patient")
        self._nested = nested

    def chain(self, r: Any, c: q.Chain, persons: Persons, visible: Visible) -> Expr:
        """Whether a reference of the resource leads to one of the chain's targets."""
        return or_(false(), *(self._towards(r, c, one, persons, visible) for one in c.targets))

    def _towards(
        self, r: Any, c: q.Chain, nested: q.Nested, persons: Persons, visible: Visible
    ) -> Expr:
        if nested.type == "Patient" and c.person:
            return about(r, nested.persons or (), is_own=c.person != "any")
        f, t = sp_ref.alias(f"{r.name}f"), resource.alias(f"{r.name}t")
        is_sought = persons is None
        rows = (
            select(f.c.resource_pk)
            .join_from(f, t, and_(t.c.id == f.c.target_id, t.c.type_id == f.c.target_type_id))
            .where(
                f.c.param_id.in_(c.param_ids),
                f.c.target_type_id == self._index.type_id(nested.type),
                *self._nested(t, nested, visible, is_sought=is_sought),
            )
        )
        if is_sought:
            return r.c.pk.in_(rows.correlate(None))  # type: ignore[no-any-return]  # of an alias
        return sql_exists(rows.where(f.c.resource_pk == r.c.pk).correlate(r))

    def has(self, r: Any, c: q.Has, persons: Persons, visible: Visible) -> Expr:
        """Whether one of some other resources refers to the resource."""
        o = resource.alias(f"{r.name}o")
        is_sought = persons is None
        where = self._nested(o, c.of, visible, is_sought=is_sought)
        if c.type == "Patient" and c.person:
            return self._has_own(r, o, where, is_any=c.person == "any", is_sought=is_sought)
        f = sp_ref.alias(f"{r.name}f")
        rows = (
            select(f.c.target_id)
            .join_from(f, o, o.c.pk == f.c.resource_pk)
            .where(
                f.c.param_id.in_(c.param_ids),
                f.c.target_type_id == self._index.type_id(c.type),
                *where,
            )
        )
        if is_sought:
            return r.c.id.in_(rows.correlate(None))  # type: ignore[no-any-return]  # of an alias
        return sql_exists(rows.where(f.c.target_id == r.c.id).correlate(r))

    def _has_own(self, r: Any, o: Any, where: list[Expr], *, is_any: bool, is_sought: bool) -> Expr:
        """Whether one of some other resources is about the person of a Patient."""
        own = select(o.c.person_id).where(*where)
        shared = select(compartment.c.person_id).join_from(
            compartment, o, o.c.pk == compartment.c.resource_pk
        )
        shared = shared.where(*where)
        person = r.c.person_id
        if is_sought:
            ways = [person.in_(own.where(o.c.person_id.is_not(None)).correlate(None))]
            ways += [person.in_(shared.correlate(None))] if is_any else []
        else:
            ways = [sql_exists(own.where(o.c.person_id == person).correlate(r))]
            of_person = shared.where(compartment.c.person_id == person).correlate(r)
            ways += [sql_exists(of_person)] if is_any else []
        return or_(*ways)

    def points_to(self, ref: Any, value: q.ReferenceValue, visible: Visible) -> Expr:
        """Whether a row of `sp_ref` points to what is asked for.

        A reference to a Patient is kept by source record, and asked for by that or by person.
        """
        t = ref.c
        types = [self._index.type_id(name) for name in value.types]
        others = [number for number in types if number != self._patient]
        is_other = t.target_type_id.in_(others) if types else t.target_type_id != self._patient
        direct = and_(t.target_id == value.id, is_other)
        if types and self._patient not in types:
            return direct
        p = resource.alias("person_record")
        records = select(p.c.id).where(
            p.c.type_id == self._patient,
            or_(p.c.person_id == value.id, p.c.id == value.id),
            p.c.deleted.is_(False),
            visible(p, "Patient"),
        )
        own = and_(t.target_type_id == self._patient, t.target_id.in_(records.correlate(None)))
        return or_(direct, own) if others or not types else own
