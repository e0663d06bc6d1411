"""Resources that a search reaches through others, as SQL: chains, `_has`, references to persons.

Each alias of `resource` on the way carries the caller's predicate, so that nothing hidden
takes part. From a person's few resources the way is followed forward; else it is sought from
its far end, where the index rows are. Only `hie.store.criteria` and the repository use this file.
Spec: https://hl7.org/fhir/R4/search.html#chaining, https://hl7.org/fhir/R4/search.html#has
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import ColumnElement, and_, false, or_, select

from hie.kernel.errors import Category, HieError
from hie.store import query as q
from hie.store.fences import in_records, is_there
from hie.store.guarded import Guarded
from hie.store.index import SearchIndex
from hie.store.tables import compartment, resource, sp_ref

Expr = ColumnElement[bool]
Persons = Sequence[str] | None
#: An alias of `resource` and the type it is held to, to the caller's predicate on it.
Visible = Callable[[Any, str], Any]


class Meets(Protocol):
    """Whether an alias meets a criterion that is no join."""

    def __call__(
        self,
        r: Any,
        criterion: q.Criterion,
        nested: q.Nested,
        visible: Visible,
        /,
        *,
        is_sought: bool,
    ) -> Expr:
        """As `Criteria.expression`; `is_sought`: the alias is found from its index rows on."""
        ...


@dataclass(slots=True)
class _Path:
    """The aliases on the way of a chain, joined, and what they must meet.

    Joined rather than nested: a database can begin at either end, and SQLite can parse it.
    """

    joined: Any
    where: list[Any]

    def join(self, other: Any, on: Any) -> None:
        self.joined = self.joined.join(other, on)


def about(r: Any, persons: Sequence[str], *, is_own: bool) -> Expr:
    """Whether a resource is one of these persons' own, or (not `is_own`) also about them."""
    return r.c.person_id.in_(persons) if is_own else in_records(r, persons)


def nobody(*_: Any) -> Any:
    """The predicate of who may see nothing."""
    return false()


class Joins:
    """Builds the expressions of chains and `_has`."""

    def __init__(self, index: SearchIndex, meets: Meets) -> None:
        self._index = index
        self._patient = index.type_id("Patient")
        self._meets = meets
        #: What may be asked of references.
        self.guarded = Guarded(index)

    def chain(self, r: Any, c: q.Chain, visible: Visible, *, is_sought: bool) -> Expr:
        """Whether a reference of the resource leads to one of the chain's targets."""
        return or_(
            false(), *(self._towards(r, c, one, visible, is_sought=is_sought) for one in c.targets)
        )

    def _towards(
        self, r: Any, c: q.Chain, nested: q.Nested, visible: Visible, *, is_sought: bool
    ) -> Expr:
        if nested.type == "Patient" and c.person:
            _require_found(nested)
            return about(r, nested.persons or (), is_own=c.person != "any")
        f, t = sp_ref.alias(f"{r.name}f"), resource.alias(f"{r.name}t")
        path = _Path(f, [f.c.param_id.in_(c.param_ids)])
        self._target(path, f, t, nested, visible, is_sought=is_sought)
        rows = select(f.c.resource_pk).select_from(path.joined).where(*path.where)
        if is_sought:
            return r.c.pk.in_(rows.correlate(None))  # type: ignore[no-any-return]  # of an alias
        return is_there(rows.where(f.c.resource_pk == r.c.pk).correlate(r))

    def _target(
        self,
        path: _Path,
        f: Any,
        t: Any,
        nested: q.Nested,
        visible: Visible,
        *,
        is_sought: bool,
    ) -> None:
        """Follow a reference forward: from a row of `sp_ref` to the resource it names."""
        path.join(t, and_(t.c.id == f.c.target_id, t.c.type_id == f.c.target_type_id))
        path.where.append(f.c.target_type_id == self._index.type_id(nested.type))
        self._along(path, t, nested, visible, is_sought=is_sought)

    def has(self, r: Any, c: q.Has, visible: Visible, *, is_sought: bool) -> Expr:
        """Whether one of some other resources refers to the resource."""
        o = resource.alias(f"{r.name}o")
        if c.type == "Patient" and c.person:
            path = _Path(o, [])
            self._along(path, o, c.of, visible, is_sought=is_sought)
            return _has_own(r, o, path, is_any=c.person == "any", is_sought=is_sought)
        f = sp_ref.alias(f"{r.name}f")
        path = _Path(f, [])
        self._source(path, f, o, c, visible, is_sought=is_sought)
        rows = select(f.c.target_id).select_from(path.joined).where(*path.where)
        if is_sought:
            return r.c.id.in_(rows.correlate(None))  # type: ignore[no-any-return]  # of an alias
        return is_there(rows.where(f.c.target_id == r.c.id).correlate(r))

    def _source(
        self, path: _Path, f: Any, o: Any, c: q.Has, visible: Visible, *, is_sought: bool
    ) -> None:
        """Follow a reference backward: from a row of `sp_ref` to the resource that holds it."""
        path.join(o, o.c.pk == f.c.resource_pk)
        path.where.append(f.c.param_id.in_(c.param_ids))
        path.where.append(f.c.target_type_id == self._index.type_id(c.type))
        self._along(path, o, c.of, visible, is_sought=is_sought)

    def _along(
        self, path: _Path, r: Any, nested: q.Nested, visible: Visible, *, is_sought: bool
    ) -> None:
        """Hold an alias to what is asked of it, and go on along its own references."""
        _require_found(nested)
        path.where += [
            r.c.type_id == self._index.type_id(nested.type),
            r.c.deleted.is_(False),
            visible(r, nested.type),
        ]
        if nested.persons is not None:
            path.where.append(about(r, nested.persons, is_own=nested.is_own))
        for n, c in enumerate(nested.criteria):
            if isinstance(c, q.Chain) and _is_one_way(c):
                f, t = sp_ref.alias(f"{r.name}f{n}"), resource.alias(f"{r.name}t{n}")
                path.join(f, f.c.resource_pk == r.c.pk)
                path.where.append(f.c.param_id.in_(c.param_ids))
                self._target(path, f, t, c.targets[0], visible, is_sought=is_sought)
            elif isinstance(c, q.Has) and not (c.type == "Patient" and c.person):
                f, o = sp_ref.alias(f"{r.name}f{n}"), resource.alias(f"{r.name}o{n}")
                path.join(f, f.c.target_id == r.c.id)
                self._source(path, f, o, c, visible, is_sought=is_sought)
            else:
                path.where.append(self._meets(r, c, nested, visible, is_sought=is_sought))

    def points_to(self, ref: Any, value: q.ReferenceValue, visible: Visible) -> Expr:
        """Whether a row of `sp_ref` points to what is asked for, which the caller may see.

        A reference to a Patient is kept by source record, and asked for by that or by person.
        """
        t = ref.c
        others = [name for name in value.types if name != "Patient"]
        direct: Expr = false()
        if others or not value.types:
            direct = self.guarded.points(ref, value.id, others, visible)
        if value.types and "Patient" not in value.types:
            return direct
        p = resource.alias("person_record")
        records = select(p.c.id).where(
            p.c.type_id == self._patient,
            or_(p.c.person_id == value.id, p.c.id == value.id),
            p.c.deleted.is_(False),
            visible(p, "Patient"),
        )
        # Beside the statement, not in it: SQLite's parser bears only so many levels.
        theirs = select(records.correlate(None).cte())
        own = and_(t.target_type_id == self._patient, t.target_id.in_(theirs))
        return or_(direct, own) if others or not value.types else own


def _require_found(nested: q.Nested) -> None:
    """Refuse to ask records what a golden Patient is to be asked.

    Raises:
        HieError: FAULT where nobody found the persons first (`hie.chained`).
    """
    if nested.type == "Patient" and nested.criteria:
        raise HieError(Category.FAULT, "a search was run before its persons were found")


def _is_one_way(c: q.Chain) -> bool:
    """Whether a chain leads to resources of one type by rows of `sp_ref`."""
    return len(c.targets) == 1 and not (c.targets[0].type == "Patient" and c.person)


def _has_own(r: Any, o: Any, path: _Path, *, is_any: bool, is_sought: bool) -> Expr:
    """Whether one of the resources at the start of a path is about the person of a Patient."""
    person = r.c.person_id
    own = select(o.c.person_id).select_from(path.joined).where(*path.where)
    among = path.joined.join(compartment, compartment.c.resource_pk == o.c.pk)
    shared = select(compartment.c.person_id).select_from(among).where(*path.where)
    if is_sought:
        ways = [person.in_(own.where(o.c.person_id.is_not(None)).correlate(None))]
        return or_(*ways, *([person.in_(shared.correlate(None))] if is_any else []))
    ways = [is_there(own.where(o.c.person_id == person).correlate(r))]
    of_person = shared.where(compartment.c.person_id == person).correlate(r)
    return or_(*ways, *([is_there(of_person)] if is_any else []))
