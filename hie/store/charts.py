"""Whole records: everything around a person or a visit, each resource once, page by page.

A record has two halves: its members, and what visible members refer to beyond it. Both are read
in the order they were stored, which no change alters, so a page may follow another whatever is
written between them. The residual's predicate stands on every alias: what is hidden is neither
told nor followed.
Spec: https://hl7.org/fhir/R4/patient-operation-everything.html,
https://hl7.org/fhir/R4/encounter-operation-everything.html
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Final

import orjson
from sqlalchemy import (
    BigInteger,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    literal_column,
    or_,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.padding import padded
from hie.store.fences import first_in, no_place, no_range, records_of
from hie.store.index import SearchIndex
from hie.store.portion import Marks, Portion
from hie.store.predicate import Shape, Visibility, bound, shape_of
from hie.store.query import Served
from hie.store.residual import Residual
from hie.store.rows import FORMER, SUPPORTING
from hie.store.serving import ResourceServer
from hie.store.statements import current
from hie.store.tables import compartment, resource, sp_ref, sp_token, sp_uri

#: Ids in one IN list.
_NAMED_AT_ONCE: Final = 256


class Around(StrEnum):
    """What a record is the record of."""

    PERSON = "person"
    VISIT = "visit"


@dataclass(frozen=True, slots=True)
class _Form:
    """What decides a statement's text; its values are bound when it runs."""

    shape: Shape
    around: Around
    types: int = 0
    has_since: bool = False
    has_lo: bool = False
    has_hi: bool = False
    is_limited: bool = False


class Charts:
    """Reads the halves of records for a residual."""

    def __init__(self, index: SearchIndex, visibility: Visibility, server: ResourceServer) -> None:
        self._index = index
        self._visible = visibility.visible
        self._server = server
        self._patient = index.type_id("Patient")
        self._encounter = index.type_id("Encounter")
        # Written out: a list that is bound would make the driver rewrite the whole text each time.
        self._supporting: list[Any] = [
            literal_column(str(n)) for n in sorted(index.supporting_type_ids)
        ]
        self._members = cache(self._members_of)
        self._beyond = cache(self._beyond_of)
        self._named = cache(self._named_in)
        self._masks = cache(self._masks_of)
        self._marked = cache(self._marked_by)

    async def members(
        self,
        conn: AsyncConnection,
        residual: Residual,
        around: Around,
        key: str,
        portion: Portion,
        after: int = 0,
    ) -> tuple[list[Served], int | None]:
        """What is in the record of a person or visit, the Patient apart.

        Args:
            conn: an open connection.
            residual: the caller's.
            around: what `key` is the id of.
            key: a person, or an Encounter.
            portion: which part.
            after: where the page before ended.

        Returns:
            A page, and where the next one starts; None on the last.
        """
        return await self._page(conn, residual, self._members, around, key, portion, after)

    async def beyond(
        self,
        conn: AsyncConnection,
        residual: Residual,
        around: Around,
        key: str,
        portion: Portion,
        after: int = 0,
    ) -> tuple[list[Served], int | None]:
        """What visible members refer to that is no member itself; see `members`."""
        return await self._page(conn, residual, self._beyond, around, key, portion, after)

    async def named(
        self, conn: AsyncConnection, residual: Residual, type_name: str, ids: Sequence[str]
    ) -> list[Served]:
        """Current resources of a type (no Patients) with these ids, as they were stored."""
        found: list[Served] = []
        for start in range(0, len(ids), _NAMED_AT_ONCE):
            listed = padded(ids[start : start + _NAMED_AT_ONCE])
            query = self._named(shape_of(residual), len(listed))
            values: dict[str, Any] = {f"id_{n}": one for n, one in enumerate(listed)}
            values["type"] = self._index.type_id(type_name)
            rows = (await conn.execute(query, {**values, **bound(residual)})).all()
            found += await self._server.serve(conn, residual, rows)
        return found

    async def marks(self, conn: AsyncConnection, residual: Residual, type_name: str) -> Marks:
        """What is in `meta` of the visible resources of a type."""
        shape, type_id = shape_of(residual), self._index.type_id(type_name)
        values = {**bound(residual), "type": type_id}
        masks = (await conn.execute(self._masks(shape), values)).scalars().all()
        labels = {
            (label["system"], label["code"])
            for mask in masks
            for label in orjson.loads(b"[" + self._server.codings(mask) + b"]")
        }
        found: dict[str, list[tuple[str, ...]]] = {}
        for name, kind in (("_security", "token"), ("_tag", "token"), ("_profile", "uri")):
            param = self._index.param(type_name, name)
            if param is not None:
                rows = await conn.execute(self._marked(shape, kind, param.id), values)
                found[name] = sorted(tuple(row) for row in rows)
        return Marks(
            profiles=tuple(value for (value,) in found.get("_profile", ())),
            security=tuple(sorted(labels | {(s, c) for s, c in found.get("_security", ())})),
            tags=tuple((system, code) for system, code in found.get("_tag", ())),
        )

    async def _page(  # noqa: PLR0913, PLR0917 - as above
        self,
        conn: AsyncConnection,
        residual: Residual,
        query: Callable[[_Form], Select[Any]],
        around: Around,
        key: str,
        portion: Portion,
        after: int,
    ) -> tuple[list[Served], int | None]:
        types = self._types(portion)
        if types == []:
            return [], None
        form = _Form(
            shape_of(residual),
            around,
            len(types or ()),
            portion.since_us is not None,
            portion.lo_us is not None,
            portion.hi_us is not None,
            portion.count is not None,
        )
        values = {"key": key, "after": after, **_bound(portion, types), **bound(residual)}
        rows = (await conn.execute(query(form), values)).all()
        page = rows if portion.count is None else rows[: portion.count]
        following = page[-1].pk if len(rows) > len(page) else None
        return await self._server.serve(conn, residual, page), following

    def _types(self, portion: Portion) -> list[int] | None:
        """The numbers of the types wanted, padded so that there are few lengths; None = all."""
        if portion.types is None:
            return None
        numbers = sorted(
            self._index.type_id(name)
            for name in portion.types - {"Patient"}
            if self._index.has_type(name)  # a scope may name what is no type
        )
        return [int(n) for n in padded([str(n) for n in numbers])] if numbers else []

    def _members_of(self, form: _Form) -> Select[Any]:
        r = resource.alias("r")
        its = first_in(r.c.pk, self._members_in(r, form))
        query = current(r).where(its, *self._is_told(r, form), *_wanted(r, form))
        return _paged(query, r, is_limited=form.is_limited)

    def _beyond_of(self, form: _Form) -> Select[Any]:
        r, t, s = (resource.alias(name) for name in "rts")
        is_named = and_(t.c.type_id == sp_ref.c.target_type_id, t.c.id == sp_ref.c.target_id)
        # Begun at the references, which few members have: who holds one is looked at then.
        holds = r.c.pk == no_range(sp_ref.c.resource_pk)
        targets = (
            select(t.c.pk)
            .join_from(sp_ref, r, holds)
            .join(t, is_named)
            .where(
                first_in(sp_ref.c.resource_pk, self._members_in(r, form)),
                sp_ref.c.param_id != FORMER,
                *self._is_told(r, form),
                t.c.type_id != self._patient,
            )
        )
        if form.around is Around.PERSON:
            targets = targets.where(sp_ref.c.param_id == SUPPORTING)
            is_other: Any = and_(
                no_place(s.c.type_id).in_(self._supporting),
                or_(s.c.person_id.is_(None), s.c.person_id != _key()),
                s.c.pk.not_in(_shared()),
            )
        else:
            is_other = s.c.pk.not_in(self._of_visit(s))
        query = current(s).where(
            first_in(s.c.pk, targets),
            is_other,
            s.c.deleted.is_(False),
            self._visible(form.shape, s.name),
            *_wanted(s, form),
        )
        return _paged(query, s, is_limited=form.is_limited)

    def _named_in(self, shape: Shape, count: int) -> Select[Any]:
        r = resource.alias("r")
        return (
            current(r)
            .where(
                r.c.type_id == bindparam("type", type_=Integer),
                r.c.id.in_([bindparam(f"id_{n}", type_=String) for n in range(count)]),
                r.c.type_id != self._patient,
                r.c.deleted.is_(False),
                self._visible(shape, r.name),
            )
            .order_by(r.c.pk)
        )

    def _masks_of(self, shape: Shape) -> Select[Any]:
        r = resource.alias("r")
        return select(r.c.label_mask).where(*self._of_type(r, shape)).distinct()

    def _marked_by(self, shape: Shape, kind: str, param_id: int) -> Select[Any]:
        """The distinct values of a token or uri parameter of one type."""
        r = resource.alias("r")
        table = sp_token if kind == "token" else sp_uri
        columns = [table.c.system, table.c.code] if kind == "token" else [table.c.value]
        is_theirs = and_(table.c.param_id == param_id, table.c.type_id == _type())
        return (
            select(*columns)
            .join_from(table, r, r.c.pk == table.c.resource_pk)
            .where(is_theirs, *self._of_type(r, shape))
            .distinct()
        )

    def _of_type(self, r: Any, shape: Shape) -> list[Any]:
        return [r.c.type_id == _type(), r.c.deleted.is_(False), self._visible(shape, r.name)]

    def _is_told(self, r: Any, form: _Form) -> list[Any]:
        """Whether a member is one that is told."""
        return [
            r.c.type_id != self._patient,
            r.c.deleted.is_(False),
            self._visible(form.shape, r.name),
            *_in_care(r, form),
        ]

    def _members_in(self, r: Any, form: _Form) -> Any:
        """Keys of what is in the record."""
        is_person = form.around is Around.PERSON
        return records_of(r, [_key()]) if is_person else self._of_visit(r)

    def _of_visit(self, r: Any) -> Any:
        """Keys of the Encounter itself, and of whatever refers to it."""
        pointing = select(sp_ref.c.resource_pk).where(
            sp_ref.c.target_id == _key(), sp_ref.c.target_type_id == self._encounter
        )
        v = resource.alias(f"{r.name}_visit")
        itself = select(v.c.pk).where(v.c.type_id == self._encounter, v.c.id == _key())
        return union_all(itself, pointing)


def _type() -> Any:
    return bindparam("type", type_=Integer)


def _key() -> Any:
    return bindparam("key", type_=String)


def _shared() -> Any:
    """Resources of several persons that this one is a further person of."""
    return select(compartment.c.resource_pk).where(compartment.c.person_id == _key())


def _in_care(r: Any, form: _Form) -> list[Any]:
    """Whether the time of care meets the one asked for; what has none does."""
    where: list[Any] = []
    if form.has_lo:
        ends = r.c.clinical_hi_us
        where.append(or_(ends.is_(None), ends > bindparam("lo_us", type_=BigInteger)))
    if form.has_hi:
        begins = r.c.clinical_lo_us
        where.append(or_(begins.is_(None), begins < bindparam("hi_us", type_=BigInteger)))
    return where


def _wanted(r: Any, form: _Form) -> list[Any]:
    where = [no_range(r.c.pk) > bindparam("after", type_=BigInteger)]
    if form.types:
        names = [bindparam(f"type_{n}", type_=Integer) for n in range(form.types)]
        where.append(no_place(r.c.type_id).in_(names))
    if form.has_since:
        where.append(r.c.last_updated_us > bindparam("since_us", type_=BigInteger))
    return where


def _bound(portion: Portion, types: Sequence[int] | None) -> Mapping[str, Any]:
    values: dict[str, Any] = {f"type_{n}": number for n, number in enumerate(types or ())}
    for name in ("since_us", "lo_us", "hi_us"):
        if getattr(portion, name) is not None:
            values[name] = getattr(portion, name)
    if portion.count is not None:
        values["count"] = portion.count + 1
    return values


def _paged(query: Select[Any], r: Any, *, is_limited: bool) -> Select[Any]:
    query = query.order_by(r.c.pk)
    return query.limit(bindparam("count", type_=Integer)) if is_limited else query
