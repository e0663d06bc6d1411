"""The versions of all resources of a type, newest first, as far as a caller may see them.

A page begins right behind the last version of the page before it; versions are only ever added
at the front, so those that were there at the first page are each told once. Only
`hie.store.repository` and the door above it use this file.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Self

from sqlalchemy import BigInteger, Integer, Select, and_, bindparam, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.store.index import SearchIndex
from hie.store.predicate import Shape, Visibility, bound, shape_of
from hie.store.query import Served
from hie.store.residual import Residual
from hie.store.serving import ResourceServer
from hie.store.statements import columns
from hie.store.tables import resource, resource_version

_END: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionPlace:
    """Where a version stands among those of its type: time, resource and number."""

    at_us: int = _END
    pk: int = _END
    version: int = 2**31 - 1

    def written(self) -> str:
        """As a cursor."""
        return f"{self.at_us}.{self.pk}.{self.version}"

    @classmethod
    def read(cls, cursor: str) -> Self:
        """The place that `written` wrote; ValueError for anything else."""
        at_us, pk, version = map(int, cursor.split("."))
        return cls(at_us=at_us, pk=pk, version=version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """A page of versions; `end` is where the next page begins, None on the last."""

    served: tuple[Served, ...]
    end: VersionPlace | None


class Chronicle:
    """Reads what became of the resources of a type."""

    def __init__(self, server: ResourceServer, index: SearchIndex, visibility: Visibility) -> None:
        self._server = server
        self._index = index
        self._visible = visibility.visible
        self._statement = cache(self._built)

    async def versions(
        self,
        conn: AsyncConnection,
        residual: Residual,
        type_name: str,
        *,
        since_us: int,
        after: VersionPlace | None,
        count: int,
    ) -> Versions:
        """A page of versions of a type.

        Args:
            conn: open connection.
            residual: the caller's; it is put on each version and its resource before LIMIT.
            type_name: any but Patient, of which the hub builds what callers see.
            since_us: versions of this moment or later.
            after: where the page before ended; None for the first.
            count: versions a page has at most.
        """
        statement = self._statement(shape_of(residual))
        place = after or VersionPlace()
        fixed = {"type_id": self._index.type_id(type_name), "since": since_us, **bound(residual)}
        found: list[tuple[VersionPlace, Served]] = []
        while True:
            values = {"at_us": place.at_us, "pk": place.pk, "version": place.version}
            values["count"] = count + 1
            rows = (await conn.execute(statement, {**fixed, **values})).all()
            served = {(s.id, s.version): s for s in await self._server.serve(conn, residual, rows)}
            for row in rows:
                place = VersionPlace(at_us=row.last_updated_us, pk=row.pk, version=row.version)
                if one := served.get((row.id, str(row.version))):
                    found.append((place, one))
            # Versions about somebody else than now are left out: look on until a page is full.
            if len(rows) <= count or len(found) > count:
                break
        page = found[:count]
        return Versions(
            served=tuple(one for _, one in page),
            end=page[-1][0] if len(found) > count else None,
        )

    def _built(self, shape: Shape) -> Select[Any]:
        r, v, b = resource.alias("r"), resource_version.alias("v"), resource_version.alias("b")
        place = tuple_(
            bindparam("at_us", type_=BigInteger),
            bindparam("pk", type_=BigInteger),
            bindparam("version", type_=Integer),
        )
        return (
            select(*columns(r, v, b))
            .join_from(v, r, r.c.pk == v.c.resource_pk)
            .join(b, and_(b.c.resource_pk == v.c.resource_pk, b.c.version == v.c.body_version))
            .where(
                v.c.type_id == bindparam("type_id", type_=Integer),
                v.c.last_updated_us >= bindparam("since", type_=BigInteger),
                # The first says the same again, for planners that see no range in the second.
                v.c.last_updated_us <= bindparam("at_us", type_=BigInteger),
                tuple_(v.c.last_updated_us, v.c.resource_pk, v.c.version) < place,
                self._visible(shape, "r", "v"),
            )
            .order_by(v.c.last_updated_us.desc(), v.c.resource_pk.desc(), v.c.version.desc())
            .limit(bindparam("count", type_=Integer))
        )
