"""The repository's fixed statements, built once per shape of residual.

Building a statement costs more than running it; values are bound when it runs. Only
`hie.store.repository` uses this file.
"""

from functools import cache
from typing import Any

from sqlalchemy import Integer, Select, String, and_, bindparam, select

from hie.store.index import SearchIndex
from hie.store.predicate import Shape, Visibility
from hie.store.tables import resource, resource_version


def current(r: Any) -> Select[Any]:
    """Current versions with their bodies, from an alias of `resource`.

    A body is looked up for what is found. Joined, PostgreSQL went through every body there is:
    beside so dear a predicate one plan was as good as another.
    """
    b = resource_version.alias(f"{r.name}_body")
    its = (b.c.resource_pk == r.c.pk, b.c.version == r.c.body_version)
    *others, key_id, body = columns(r, r, b)
    looked_up = (
        select(column).where(*its).correlate(r).scalar_subquery().label(column.name)
        for column in (key_id, body)
    )
    return select(*others, *looked_up)


class Statements:
    """Statements by shape of residual."""

    def __init__(self, index: SearchIndex, visibility: Visibility) -> None:
        self._patient = index.type_id("Patient")
        self._visible = visibility.visible
        self.read = cache(self._read)
        self.versions = cache(self._versions)
        self.patients = cache(self._patients)
        self.patient_persons = cache(self._patient_persons)

    def _read(self, shape: Shape) -> Select[Any]:
        """`type_id`, `id`."""
        r = resource.alias("r")
        return current(r).where(*_named(r), self._visible(shape, "r"))

    def _versions(self, shape: Shape) -> Select[Any]:
        """`type_id`, `id`, `first`, `last` version, `count`."""
        r, v, b = resource.alias("r"), resource_version.alias("v"), resource_version.alias("b")
        return (
            select(*columns(r, v, b))
            .join_from(r, v, v.c.resource_pk == r.c.pk)
            .join(b, and_(b.c.resource_pk == r.c.pk, b.c.version == v.c.body_version))
            .where(
                *_named(r),
                v.c.version >= bindparam("first", type_=Integer),
                v.c.version <= bindparam("last", type_=Integer),
                self._visible(shape, "r", "v"),
            )
            .order_by(v.c.version.desc())
            .limit(bindparam("count", type_=Integer))
        )

    def _patients(self, shape: Shape, count: int) -> Select[Any]:
        """`person_0` and so on, `count` of them."""
        r = resource.alias("r")
        return current(r).where(
            r.c.type_id == self._patient,
            r.c.person_id.in_([bindparam(f"person_{n}", type_=String) for n in range(count)]),
            r.c.deleted.is_(False),
            self._visible(shape, "r"),
        )

    def _patient_persons(self, shape: Shape, count: int) -> Select[Any]:
        """`record_0` and so on, `count` of them: ids, persons and sources, without bodies."""
        r = resource.alias("r")
        return select(r.c.id, r.c.person_id, r.c.source_id).where(
            r.c.type_id == self._patient,
            r.c.id.in_([bindparam(f"record_{n}", type_=String) for n in range(count)]),
            r.c.deleted.is_(False),
            r.c.person_id.is_not(None),
            self._visible(shape, "r"),
        )


def _named(r: Any) -> list[Any]:
    return [
        r.c.type_id == bindparam("type_id", type_=Integer),
        r.c.id == bindparam("id", type_=String),
    ]


def columns(r: Any, version: Any, body: Any) -> list[Any]:
    """What a served version is made of: where it is, which version, and its body."""
    return [
        r.c.pk,
        r.c.type_id,
        r.c.id,
        r.c.person_id,
        r.c.source_record_id,
        r.c.source_id,
        version.c.version,
        version.c.body_version,
        version.c.last_updated_us,
        version.c.deleted,
        version.c.label_mask,
        body.c.key_id,
        body.c.body,
    ]
