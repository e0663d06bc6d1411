"""The door's in-memory twin: decides by a list of hidden ids, finds by a naive evaluator."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from hie.identities import Candidates, CrossReferences, Unknown
from hie.kernel.context import RequestContext
from hie.kernel.envelope import SourceIdentifier
from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson
from hie.store import query as q
from hie.store.index import IndexValue, SearchIndex
from hie.store.portion import Choose, Marks, Portion, Wanted
from hie.store.query import Page, Query, Served


@dataclass
class FakeIdentities:
    """Knows nobody; keeps what it was asked."""

    asked: list[Any] = field(default_factory=list)

    async def identify_candidates(
        self, ctx: RequestContext, patient: FhirJson, /, *, count: int, only_certain: bool
    ) -> Candidates:
        self.asked.append((patient, count, only_certain))
        return Candidates(found=(), total=0)

    async def cross_references(
        self, ctx: RequestContext, identifier: SourceIdentifier, targets: Sequence[str], /
    ) -> CrossReferences:
        self.asked.append((identifier, targets))
        return CrossReferences(unknown=Unknown.IDENTIFIER)

    async def knows_domains(self, ctx: RequestContext, systems: Sequence[str], /) -> bool:
        return not any("unknown" in system for system in systems)


@dataclass
class FakeDoor:
    """Holds versions by (type, id), the newest last."""

    index: SearchIndex
    versions: dict[tuple[str, str], list[Served]] = field(default_factory=dict)
    resources: dict[tuple[str, str], FhirJson] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    queries: list[Query] = field(default_factory=list)
    fails_with: Exception | None = None

    def put(self, resource: FhirJson, *, person: str = "", at_us: int = 0) -> Served:
        """Store a new version."""
        key = (resource["resourceType"], resource["id"])
        versions = self.versions.setdefault(key, [])
        served = Served(
            type=key[0],
            id=key[1],
            version=str(len(versions) + 1),
            last_updated_us=at_us,
            person_id=person,
            body=orjson.dumps(resource),
        )
        versions.append(served)
        self.resources[key] = resource
        return served

    def delete(self, type_name: str, resource_id: str) -> None:
        """Store a tombstone."""
        versions = self.versions[type_name, resource_id]
        version = str(len(versions) + 1)
        versions.append(replace(versions[-1], version=version, body=b"", is_deleted=True))

    def _visible(self, type_name: str, resource_id: str) -> list[Served]:
        if self.fails_with is not None:
            raise self.fails_with
        versions = self.versions.get((type_name, resource_id), [])
        if not versions or resource_id in self.hidden:
            raise HieError(Category.NOT_FOUND, "there is no such resource")
        return versions

    async def read(self, ctx: RequestContext, type_name: str, resource_id: str, /) -> Served:
        return _alive(self._visible(type_name, resource_id)[-1])

    async def vread(
        self, ctx: RequestContext, type_name: str, resource_id: str, version: str, /
    ) -> Served:
        for served in self._visible(type_name, resource_id):
            if served.version == version:
                return _alive(served)
        raise HieError(Category.NOT_FOUND, "there is no such version")

    async def history(
        self,
        ctx: RequestContext,
        type_name: str,
        resource_id: str,
        count: int,
        cursor: str | None,
        since_us: int,
        /,
    ) -> Page:
        versions = self._visible(type_name, resource_id)[::-1]
        return _page([v for v in versions if v.last_updated_us >= since_us], count, cursor)

    async def history_of_type(
        self, ctx: RequestContext, type_name: str, count: int, cursor: str | None, since_us: int, /
    ) -> Page:
        versions = [
            version
            for (kind, resource_id), found in self.versions.items()
            for version in found
            if kind == type_name
            and resource_id not in self.hidden
            and version.last_updated_us >= since_us
        ]
        versions.sort(key=lambda version: version.last_updated_us, reverse=True)
        return _page(versions, count, cursor)

    async def search(self, ctx: RequestContext, query: Query, /) -> Page:
        self.queries.append(query)
        found = [
            versions[-1]
            for (type_name, resource_id), versions in sorted(self.versions.items())
            if type_name == query.type
            and resource_id not in self.hidden
            and not versions[-1].is_deleted
            and self._meets(versions[-1], query)
        ]
        total = len(found) if query.is_total_wanted else None
        return replace(_page(found, query.count, query.cursor), total=total)

    async def search_types(self, ctx: RequestContext, queries: Sequence[Query], /) -> Page:
        pages = [await self.search(ctx, replace(query, cursor=None)) for query in queries]
        found = [served for page in pages for served in page.matches]
        return _page(found, queries[0].count, queries[0].cursor)

    async def everything(
        self, ctx: RequestContext, person_id: str, portion: Portion, cursor: str | None, /
    ) -> Page:
        self._visible("Patient", person_id)
        found = [
            versions[-1]
            for (_, resource_id), versions in self.versions.items()
            if person_id in (versions[-1].person_id, resource_id)
            and not versions[-1].is_deleted
            and portion.has(versions[-1].type)
        ]
        return _page(found, portion.count or len(found), cursor)

    async def visit(
        self, ctx: RequestContext, encounter_id: str, portion: Portion, cursor: str | None, /
    ) -> Page:
        return Page(matches=(self._visible("Encounter", encounter_id)[-1],))

    async def chosen(
        self, ctx: RequestContext, operation: str, query: Query, choose: Choose, /
    ) -> Page:
        found = await self.search(ctx, replace(query, count=1000))
        return Page(matches=tuple(choose(found.matches)))

    async def marks(self, ctx: RequestContext, type_name: str, /) -> Marks:
        return Marks(tags=(("urn:tags", type_name),))

    async def composed(
        self,
        ctx: RequestContext,
        operation: str,
        person_id: str,
        types: frozenset[str],
        choose: Choose,
        wanted: Wanted,
        /,
    ) -> Page:
        whole = await self.everything(ctx, person_id, Portion(types=types | {"Patient"}), None)
        patient, *members = whole.matches
        return Page(matches=(patient, *choose(members)))

    def _meets(self, served: Served, query: Query) -> bool:
        if query.persons is not None and not {served.person_id, served.id} & set(query.persons):
            return False
        values = self.index.values(self.resources[served.type, served.id])
        return all(meets(values, served, criterion) for criterion in query.criteria)


def _alive(served: Served) -> Served:
    if served.is_deleted:
        raise HieError(Category.GONE, "the resource was deleted")
    return served


def _page(found: list[Served], count: int, cursor: str | None) -> Page:
    start = int(cursor or 0)
    following = str(start + count) if count and start + count < len(found) else None
    return Page(matches=tuple(found[start : start + count]), next_cursor=following)


def meets(values: Iterable[IndexValue], served: Served, criterion: Any) -> bool:
    """Whether a resource meets a criterion: the definition, row by row."""
    if isinstance(criterion, q.Ids):
        return served.id in criterion.values
    if isinstance(criterion, q.LastUpdated):
        at = served.last_updated_us
        return any(lies(at, at + 1, v.prefix, v.lo_us, v.hi_us) for v in criterion.values)
    rows = [v for v in values if v.param_id in criterion.param_ids]
    if isinstance(criterion, q.Missing):
        return (not rows) is criterion.is_missing
    if isinstance(criterion, q.Keyed):
        found = any(key in criterion.keys for row in rows for key in row.keys)
    else:
        test = TESTS[type(criterion)]
        found = any(test(row, value, criterion) for row in rows for value in criterion.values)
    return found is not getattr(criterion, "is_not", False)


def lies(lo: Any, hi: Any, prefix: q.Prefix, from_: Any, to: Any) -> Any:
    """A row's range [lo, hi) compared with the searched [from_, to)."""
    inside = from_ <= lo and hi <= to
    return {
        q.Prefix.EQ: inside,
        q.Prefix.NE: not inside,
        q.Prefix.GT: hi > to,
        q.Prefix.LT: lo < from_,
        q.Prefix.GE: hi > to or inside,
        q.Prefix.LE: lo < from_ or inside,
        q.Prefix.SA: lo >= to,
        q.Prefix.EB: hi <= from_,
        q.Prefix.AP: lo < to and hi > from_,
    }[prefix]


def _token(row: IndexValue, value: q.TokenValue, _: q.Token) -> bool:
    return value.system in (None, row.system) and value.code in (None, row.code)


def _date(row: IndexValue, value: q.DateValue, _: q.Date) -> Any:
    return lies(row.lo_us, row.hi_us, value.prefix, value.lo_us, value.hi_us)


def _number(row: IndexValue, value: q.NumberValue, _: object) -> Any:
    return lies(row.lo, row.hi, value.prefix, value.lo, value.hi)


def _quantity(row: IndexValue, value: q.QuantityValue, criterion: q.Quantity) -> Any:
    is_unit = value.system in (None, row.system) and value.code in (None, row.code)
    return is_unit and _number(row, value.number, criterion)


def _string(row: IndexValue, value: str, criterion: q.String) -> bool:
    if criterion.mode is q.StringMode.EXACT:
        return row.value == value
    is_prefix = criterion.mode is q.StringMode.STARTS
    return row.value.startswith(value) if is_prefix else value in row.value


def _uri(row: IndexValue, value: str, _: q.Uri) -> bool:
    return row.value == value


def _reference(row: IndexValue, value: q.ReferenceValue, _: q.Reference) -> bool:
    assert row.target is not None
    return row.target[1] == value.id and (not value.types or row.target[0] in value.types)


TESTS: dict[type, Callable[[IndexValue, Any, Any], bool]] = {
    q.Token: _token,
    q.Date: _date,
    q.Number: _number,
    q.Quantity: _quantity,
    q.String: _string,
    q.Uri: _uri,
    q.Reference: _reference,
}
