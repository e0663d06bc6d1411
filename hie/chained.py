"""Whom a search means: persons followed through merges, and Patients that a chain leads to.

A Patient is the golden one as this caller sees it, so no single statement can ask for it: the
persons whom a chained criterion means are found first, and the search then asks for them.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.golden import GoldenPatients
from hie.kernel.context import Caller
from hie.kernel.errors import Category, HieError, Issue
from hie.store import query as q
from hie.store.repository import ResourceRepository
from hie.store.residual import Residual

#: Patients that one chained criterion may mean, and how many are built at a time.
MOST: Final = 2_000
_AT_ONCE: Final = 250

#: The person an id means now, as far as the caller may know (`hie.sight`).
Current = Callable[[AsyncConnection, Residual, str], Awaitable[str]]


class ChainedPersons:
    """Finds the persons whom a search means.

    Args:
        current: follows merges.
        most: Patients that one chained criterion may mean.
    """

    def __init__(
        self,
        repository: ResourceRepository,
        golden: GoldenPatients,
        current: Current,
        most: int = MOST,
    ) -> None:
        self._most = most
        self._repository = repository
        self._golden = golden
        self._current = current

    async def resolved(
        self, conn: AsyncConnection, caller: Caller, residual: Residual, query: q.Query
    ) -> q.Query:
        """The query with current persons, and Patients on the way of a chain as persons.

        Raises:
            HieError: INVALID (`too-costly`) naming the parameter that means too many Patients.
        """
        return await _Resolving(self, conn, caller, residual).query(query)

    async def meant(
        self, conn: AsyncConnection, caller: Caller, residual: Residual, asked: str
    ) -> str:
        """The person of a person id, or of an own source record's id."""
        own = await self._repository.own_person(conn, residual, asked, caller.sources)
        return own or await self._current(conn, residual, asked)

    async def seen(
        self, conn: AsyncConnection, residual: Residual, persons: set[str]
    ) -> frozenset[str]:
        """Those of some persons of whom the caller may see a Patient."""
        return await self._repository.persons_seen(conn, residual, persons)

    async def patients(
        self, conn: AsyncConnection, residual: Residual, nested: q.Nested, name: str
    ) -> tuple[str, ...]:
        """The persons whose golden Patient meets a chained criterion; `name` is for the error."""
        query = q.Query(
            type="Patient", persons=nested.persons, criteria=nested.criteria, count=_AT_ONCE
        )
        found = await self._golden.persons(conn, residual, query, self._most)
        if found is None:
            text = f"`{name}`: expected to mean at most {self._most} patients; ask for fewer"
            issue = Issue(text=text, code="too-costly", expression=(f"http.{name}",))
            raise HieError(Category.INVALID, text, [issue])
        return found


class _Resolving:
    """One search being resolved."""

    def __init__(
        self, chained: ChainedPersons, conn: AsyncConnection, caller: Caller, residual: Residual
    ) -> None:
        self._chained = chained
        self._conn = conn
        self._caller = caller
        self._residual = residual

    async def query(self, query: q.Query) -> q.Query:
        persons = None if query.persons is None else await self._meant(query.persons, query.type)
        # A resource has one person of its own: nobody else need be asked about.
        within = persons if query.is_own else None
        criteria = tuple([await self._criterion(c, within, query.type) for c in query.criteria])
        return replace(query, persons=persons, criteria=criteria)

    async def _meant(self, asked: Sequence[str], type_name: str) -> tuple[str, ...]:
        """The persons that ids mean; of the members of Groups those whom the caller may see."""
        chained, conn, caller = self._chained, self._conn, self._caller
        meant = [await chained.meant(conn, caller, self._residual, one) for one in asked]
        if type_name == "Group" and meant:
            seen = await chained.seen(conn, self._residual, {*meant})
            meant = [person for person in meant if person in seen]
        return tuple(dict.fromkeys(meant))

    async def _criterion(
        self, criterion: q.Criterion, within: tuple[str, ...] | None, type_name: str
    ) -> q.Criterion:
        match criterion:
            case q.About():
                return replace(criterion, persons=await self._meant(criterion.persons, type_name))
            case q.Reference():
                values = tuple([await self._reference(value) for value in criterion.values])
                return replace(criterion, values=values)
            case q.Chain(param=name):
                known = within if criterion.person == "first" else None
                targets = [await self._nested(one, name, known) for one in criterion.targets]
                return replace(criterion, targets=tuple(targets))
            case q.Has(param=name):
                return replace(criterion, of=await self._nested(criterion.of, name, None))
            case _:
                return criterion

    async def _reference(self, value: q.ReferenceValue) -> q.ReferenceValue:
        if "Patient" not in value.types:
            return value
        return replace(
            value, id=await self._chained.meant(self._conn, self._caller, self._residual, value.id)
        )

    async def _nested(
        self, nested: q.Nested, name: str, within: tuple[str, ...] | None
    ) -> q.Nested:
        persons = None if nested.persons is None else await self._meant(nested.persons, nested.type)
        own = persons if nested.is_own else None
        criteria = tuple([await self._criterion(c, own, nested.type) for c in nested.criteria])
        if nested.type != "Patient":
            return replace(nested, persons=persons, criteria=criteria)
        if persons is None:
            persons = within
        elif within is not None:
            persons = tuple(person for person in persons if person in within)
        nested = replace(nested, persons=persons, criteria=criteria)
        if not criteria:
            return nested
        found = await self._chained.patients(self._conn, self._residual, nested, name)
        return replace(nested, persons=found, criteria=())
