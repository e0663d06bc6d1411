"""What may be asked of a reference: only what its reader is shown of it, as SQL.

A criterion on a reference holds where the caller may know of what it leads to, as the reference
itself is shown (`hie.store.veil`); the directory is everybody's. Only `hie.store.criteria` and
`hie.store.joins` use this file.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, literal, or_, select
from sqlalchemy import exists as sql_exists

from hie.store.index import SearchIndex
from hie.store.tables import resource, sp_composite, sp_ref

Expr = ColumnElement[bool]
#: The aliases that a search begins with.
_TOP: Final = re.compile(r"r\d*$")
#: Types that are seen with others themselves (`hie.store.predicate`).
_DEEP: Final = ("Binary", "Provenance")
#: The composite parameter that holds a code with a reference, and the types it may lead to.
Beside = tuple[int, tuple[str, ...]]


class Guarded:
    """Holds rows of references against what the caller may know of."""

    def __init__(self, index: SearchIndex) -> None:
        self._index = index
        self._public = [t for t in index.types if index.is_directory(t)]
        self._others = [t for t in index.types if not index.is_directory(t) and t != "Patient"]
        self._beside: dict[tuple[int, str], Beside] = {}
        for type_name in index.types:
            self._learn({param.name: param for param in index.params(type_name)})

    def _learn(self, params: dict[str, Any]) -> None:
        for param in params.values():
            parts = [params[name] for name in param.components]
            if len(parts) > 1 and parts[1].type == "reference":
                beside = (param.id, parts[1].targets)
                self._beside |= {(param.id, "composite"): beside, (parts[0].id, "token"): beside}

    def of(self, number: int, kind: str) -> Beside | None:
        """Of a code that stands beside a reference: where the two are.

        A `relation` is shown with the document it is to, or not at all.

        Args:
            number: of a token or composite parameter.
            kind: which of the two; a number may be a token of one type, a composite of another.
        """
        return self._beside.get((number, kind))

    def points(self, ref: Any, key: Any, types: Sequence[str], visible: Any) -> Expr:
        """Whether a row of `sp_ref` points to a resource other than a Patient.

        Args:
            ref: `sp_ref` or an alias.
            key: the id it must have.
            types: those it may be of; () = any.
            visible: the caller's predicate.
        """
        t = ref.c
        public = [name for name in self._public if not types or name in types]
        others = [name for name in self._others if not types or name in types]
        ways: list[Expr] = []
        if public:
            ways.append(t.target_type_id.in_(self._numbers(public)))
        if others:
            is_other = t.target_type_id.in_(self._numbers(others))
            ways.append(and_(is_other, t.target_id.in_(self._named(key, others, visible))))
        return and_(t.target_id == key, or_(*ways))

    def shows(self, r: Any, params: Sequence[int], visible: Any) -> Expr:
        """Whether a resource has a reference of a parameter that is shown.

        One to a Binary or a Provenance counts for neither: who may see these is a question too
        deep to be asked here.
        """
        f, g = sp_ref.alias(f"{r.name}f"), sp_ref.alias(f"{r.name}g")
        x = resource.alias(f"{r.name}x")
        # Two questions side by side: one within the other grows too deep to be parsed.
        is_told = f.c.target_type_id.in_(self._numbers(self._public))
        told = select(f.c.resource_pk).where(
            f.c.resource_pk == r.c.pk,
            f.c.param_id.in_(params),
            or_(is_told, f.c.target_id == r.c.source_record_id),
        )
        leads = g.join(x, and_(x.c.type_id == g.c.target_type_id, x.c.id == g.c.target_id))
        seen = (
            select(g.c.resource_pk)
            .select_from(leads)
            .where(
                g.c.param_id.in_(params),
                x.c.type_id.not_in(self._numbers(_DEEP)),
                visible(x, "Patient"),
            )
        )
        if _TOP.match(r.name):
            is_seen = sql_exists(seen.where(g.c.resource_pk == r.c.pk).correlate(r))
        else:  # deep in a chain: a list beside the statement, of whoever has such a reference
            is_seen = r.c.pk.in_(select(seen.correlate(None).cte()))
        return or_(sql_exists(told.correlate(r)), is_seen)

    def led_to(self, key: Any, types: Sequence[str], visible: Any) -> Expr:
        """Whether the reference of a composite row leads to this id, and may be followed."""
        code = sp_composite.c.value_code
        return and_(code == key, code.in_(self._named(key, types or self._others, visible)))

    def shown_beside(self, types: Sequence[str], visible: Any) -> Expr:
        """Whether the reference of a composite row may be followed, wherever it leads."""
        x = resource.alias("beside")
        return sql_exists(
            select(x.c.pk)
            .where(
                x.c.type_id.in_(self._numbers(types or self._others)),
                x.c.id == sp_composite.c.value_code,
                visible(x, types[0] if len(types) == 1 else ""),
            )
            .correlate(sp_composite)
        )

    def _named(self, key: Any, types: Sequence[str], visible: Any) -> Any:
        """The id, if the caller may know of the resource; beside the statement, as one list."""
        x = resource.alias("named")
        found = select(x.c.id).where(
            x.c.type_id.in_(self._numbers(types)),
            x.c.id == key,
            visible(x, types[0] if len(types) == 1 else ""),
        )
        return select(found.correlate(None).cte())

    def _numbers(self, types: Sequence[str]) -> list[Any]:
        return [literal(self._index.type_id(name)) for name in types]
