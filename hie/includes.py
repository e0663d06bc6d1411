"""What a page shows besides its matches: what they refer to, and what refers to them.

Each hop passes the caller's predicate and scopes as a search of its own would: what a reference
leads to is read (`r`), what refers to something is searched (`s`); a type the scopes leave out
is left out. A Patient is the golden one, built of the records the caller may see. Every
resource is there once, and a page holds so many at most: a chain of references has an end even
where it runs in circles.
Spec: https://hl7.org/fhir/R4/search.html#include
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.golden import GoldenPatients
from hie.kernel.context import Caller
from hie.store.index import SearchIndex
from hie.store.query import Include, Served
from hie.store.repository import ResourceRepository
from hie.store.residual import Residual

#: Resources one page may include, and references one after the other that it follows.
MOST_INCLUDED: Final = 1000
MOST_HOPS: Final = 8
PATIENT: Final = "Patient"

Name = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Included:
    """What was included, in the order it was found; `is_cut`: there would be more."""

    resources: tuple[Served, ...] = ()
    is_cut: bool = False


@dataclass(slots=True)
class _Gathering:
    """What a page has so far."""

    seen: set[Name]
    found: list[Served] = field(default_factory=list)
    is_cut: bool = False

    @property
    def room(self) -> int:
        return MOST_INCLUDED - len(self.found)

    def take(self, served: Iterable[Served]) -> list[Served]:
        """Those that are new here, as far as there is room."""
        new = []
        for one in served:
            if (one.type, one.id) in self.seen:
                continue
            if self.room <= 0:
                self.is_cut = True
                break
            self.seen.add((one.type, one.id))
            self.found.append(one)
            new.append(one)
        return new


class Includes:
    """Follows references from the matches of a page."""

    def __init__(
        self, repository: ResourceRepository, golden: GoldenPatients, index: SearchIndex
    ) -> None:
        self._repository = repository
        self._linked = repository.linked
        self._golden = golden
        self._index = index

    async def of(
        self,
        conn: AsyncConnection,
        residual: Residual,
        caller: Caller,
        matches: Sequence[Served],
        includes: Sequence[Include],
    ) -> Included:
        """What these matches bring with them.

        Args:
            conn: the connection the matches were read with.
            residual: the caller's.
            caller: whose scopes bound every hop.
            matches: of the page.
            includes: what was asked for.
        """
        page = _Gathering(seen={(one.type, one.id) for one in matches})
        last: Sequence[Served] = matches
        for hop in range(MOST_HOPS):
            followed = [one for one in includes if hop == 0 or one.is_iterate]
            new: list[Served] = []
            for include in followed:
                new += page.take(await self._hop(conn, residual, caller, include, last, page))
            last = new
            if not last or page.is_cut:
                break
        else:
            page.is_cut |= any(one.is_iterate for one in includes)
        return Included(resources=tuple(page.found), is_cut=page.is_cut)

    async def _hop(
        self,
        conn: AsyncConnection,
        residual: Residual,
        caller: Caller,
        include: Include,
        start: Sequence[Served],
        page: _Gathering,
    ) -> list[Served]:
        if include.is_reverse:
            if not caller.may(include.source, "s"):
                return []
            return await self._referring(conn, residual, include, start, page.room + 1)
        sources = [one for one in start if one.type == include.source]
        if not sources:
            return []
        names = await self._targets(conn, residual, include, sources)
        wanted = {
            (kind, each)
            for kind, each in names - page.seen
            if (not include.targets or kind in include.targets) and caller.may(kind, "r")
        }
        return await self._named(conn, residual, wanted)

    async def _targets(
        self,
        conn: AsyncConnection,
        residual: Residual,
        include: Include,
        sources: Sequence[Served],
    ) -> set[Name]:
        """What sources refer to; a Patient by its person or by a source record."""
        if include.source == PATIENT:
            return self._of_golden(include, sources)
        ids = [one.id for one in sources]
        found = await self._linked.targets(conn, residual, include, ids)
        if include.person:
            found |= {(PATIENT, one.person_id) for one in sources if one.person_id}
        if include.person == "any":
            further = await self._linked.further_persons(conn, residual, include.source, ids)
            found |= {(PATIENT, person) for person in further}
        return found

    def _of_golden(self, include: Include, patients: Sequence[Served]) -> set[Name]:
        # Of its records' references, those the golden Patient shows.
        return {
            value.target
            for patient in patients
            for value in self._index.values(json.loads(patient.body, parse_float=Decimal))
            if value.target is not None and value.param_id in include.param_ids
        }

    async def _named(
        self, conn: AsyncConnection, residual: Residual, names: set[Name]
    ) -> list[Served]:
        by_type: dict[str, list[str]] = {}
        for kind, each in sorted(names):
            by_type.setdefault(kind, []).append(each)
        found: list[Served] = []
        for kind, ids in by_type.items():
            if kind == PATIENT:
                found += await self._patients(conn, residual, ids)
            else:
                found += await self._linked.named(conn, residual, kind, ids)
        return found

    async def _patients(
        self, conn: AsyncConnection, residual: Residual, ids: Sequence[str]
    ) -> list[Served]:
        persons = {*ids, *(await self._repository.patient_persons(conn, residual, ids)).values()}
        listed = sorted(persons)
        records = await self._repository.patients(conn, residual, listed)
        return [
            self._golden.build(person, records[person]) for person in listed if person in records
        ]

    async def _referring(
        self,
        conn: AsyncConnection,
        residual: Residual,
        include: Include,
        start: Sequence[Served],
        limit: int,
    ) -> list[Served]:
        by_type: dict[str, list[Served]] = {}
        for one in start:
            if not include.targets or one.type in include.targets:
                by_type.setdefault(one.type, []).append(one)
        found: list[Served] = []
        for kind, targets in by_type.items():
            is_patient = kind == PATIENT
            records = [record for one in targets for record in one.built_of]
            found += await self._linked.referring(
                conn,
                residual,
                include,
                target=kind,
                ids=records if is_patient else [one.id for one in targets],
                persons=[one.person_id for one in targets] if is_patient else (),
                limit=limit,
            )
        return found
