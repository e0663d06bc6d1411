"""What the names in a FHIR write mean: hub ids of what a source refers to or writes.

A source's own names resolve for that source alone; conditions match only its own resources;
the directory is one for all.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.fhir.plan import URN, Identified, Matching, Method, Named, PlannedWrite, Target
from adapters.fhir.references import HubId
from hie.crypto import KeyRing
from hie.flow.directory import Directory
from hie.flow.placement import Origin
from hie.kernel.envelope import SourceIdentifier
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import split_reference
from hie.kernel.ids import PersonId, SourceRecordId
from hie.store import blind
from hie.store.index import SearchIndex
from hie.store.loader import Head
from hie.store.query import Criterion, Keyed, Query, Token, TokenValue
from hie.store.repository import ResourceRepository
from hie.store.residual import Residual
from hie.store.writer import ResourceWriter
from mpi.service import Mpi

#: Entries of the directory that a condition may match, whoever sent them.
_MOST_ENTRIES = 200
#: Type, parameters and time to the search they ask for; `fhir_server.search`, by services.py.
Understand = Callable[[str, tuple[tuple[str, str], ...], int], Query]


class Resolver:
    """Looks up what a write names.

    Args:
        understand: reads conditions made of search parameters.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - joined once, in services.py
        self,
        repository: ResourceRepository,
        writer: ResourceWriter,
        index: SearchIndex,
        mpi: Mpi,
        directory: Directory,
        ring: KeyRing,
        understand: Understand,
    ) -> None:
        self._repository = repository
        self._writer = writer
        self._index = index
        self._mpi = mpi
        self._directory = directory
        self._ring = ring
        self._understand = understand

    async def known(
        self,
        conn: AsyncConnection,
        origin: Origin,
        targets: Iterable[Target],
        aimed: Collection[Target] = (),
    ) -> dict[Target, HubId]:
        """The hub ids of targets; what leads nowhere is absent.

        Args:
            conn: open connection.
            origin: the message.
            targets: names and conditions.
            aimed: those that writes are aimed at: what was deleted is found by them too.

        Raises:
            HieError: STALE when a condition matches several of the source's resources.
        """
        wanted = list(targets)
        names = {t.name: t for t in wanted if isinstance(t, Named)}
        aliases = {
            name: hub_id
            for name, hub_id in (await self._writer.aliases(conn, origin.source_id, names)).items()
            # Earlier versions remembered every URN.
            if not name.startswith(URN) or self._index.is_directory(hub_id[0])
        }
        found: dict[Target, HubId] = {names[name]: hub_id for name, hub_id in aliases.items()}
        rest = {name: target for name, target in names.items() if name not in aliases}
        found |= await self._hub_ids(conn, origin, rest, aimed)
        for target in wanted:
            hub_id = None
            if isinstance(target, Identified):
                hub_id = await self._identified(conn, origin, target)
            elif isinstance(target, Matching):
                hub_id = await self._matching(conn, origin, target)
            if hub_id is not None:
                found[target] = hub_id
        return found

    async def is_view(
        self, conn: AsyncConnection, origin: Origin, type_name: str, own_id: str
    ) -> bool:
        """Whether an id is that of a person, whose Patient the hub builds of several records."""
        if type_name != "Patient":
            return False
        named = f"{type_name}/{own_id}"
        if await self._writer.aliases(conn, origin.source_id, [named]):
            return False
        return not await self._repository.versions_of(conn, [(type_name, own_id)])

    def id_of(self, origin: Origin, write: PlannedWrite, known: Mapping[Target, HubId]) -> HubId:
        """The hub id a write goes to: an existing one, or the one a new resource gets."""
        target = write.target if write.method is not Method.POST else write.condition
        if target is not None and target in known:
            return known[target]
        if self._index.is_directory(write.type) and write.resource is not None:
            key = write.key if write.key[:1] != ("identifier",) else ()
            fallback = write.name
            return write.type, self._directory.id_of(origin, write.resource, key, fallback)
        if write.key:
            return write.type, self._ring.blind("id", origin.source_id, write.type, *write.key)
        return write.type, self._ring.blind("id", str(origin.message_id), write.type, write.name)

    async def _hub_ids(
        self,
        conn: AsyncConnection,
        origin: Origin,
        names: Mapping[str, Named],
        aimed: Collection[Target],
    ) -> dict[Target, HubId]:
        """Names that are hub ids the source may use: its own, and the directory's."""
        pairs = {name: pair for name in names if (pair := split_reference(name))}
        known_types = {n: p for n, p in pairs.items() if self._index.has_type(p[0])}
        heads = await self._repository.versions_of(conn, known_types.values())
        found: dict[Target, HubId] = {}
        for name, pair in known_types.items():
            head, target = heads.get(pair), names[name]
            is_there = head is not None and (not head.is_deleted or target in aimed)
            if head is not None and is_there and self._may_use(origin, pair, head):
                found[target] = pair
            elif pair[0] == "Patient" and head is None:
                own = await self._own_record(conn, origin, pair[1])
                if own is not None:
                    found[target] = own
        return found

    def _may_use(self, origin: Origin, pair: HubId, head: Head) -> bool:
        return head.source_id == origin.source_id or self._index.is_directory(pair[0])

    async def _own_record(self, conn: AsyncConnection, origin: Origin, person: str) -> HubId | None:
        """The source's own record of a person whose id it was given.

        Of a person that was merged away since: what was that person's. Whom it was merged with
        is no business of the source's.
        """
        own = Residual(own_sources=frozenset({origin.source_id}))
        records = (await self._repository.patients(conn, own, [person])).get(person, [])
        mine = sorted(r.id for r in records if r.source_id == origin.source_id)
        if not mine:
            ever = [("Patient", str(r)) for r in await self._mpi.ever_of(conn, PersonId(person))]
            heads = await self._repository.versions_of(conn, ever)
            mine = sorted(
                key
                for (_, key), head in heads.items()
                if head.source_id == origin.source_id and not head.is_deleted
            )
        return ("Patient", mine[0]) if mine else None

    async def _identified(
        self, conn: AsyncConnection, origin: Origin, target: Identified
    ) -> HubId | None:
        if target.type == "Patient" and target.system is not None:
            identifier = SourceIdentifier(system=target.system, value=target.value)
            record = await self._mpi.find_record(conn, origin.source_id, identifier)
            if record is not None:
                return "Patient", record
        if self._index.is_directory(target.type) and target.system is not None:
            hub_id = self._directory.identified(target.type, target.system, target.value)
            heads = await self._repository.versions_of(conn, [(target.type, hub_id)])
            return (target.type, hub_id) if heads else None
        return await self._searched(conn, origin, target)

    async def _searched(
        self, conn: AsyncConnection, origin: Origin, target: Identified
    ) -> HubId | None:
        param = self._index.param(target.type, "identifier")
        if param is None:
            return None
        criterion: Criterion
        if param.is_blind:
            key = blind.token_asked(target.system, target.value)
            criterion = Keyed(param="identifier", param_ids=param.param_ids, keys=(key,))
        else:
            value = TokenValue(system=target.system, code=target.value)
            criterion = Token(param="identifier", param_ids=param.param_ids, values=(value,))
        query = Query(type=target.type, criteria=(criterion,))
        return await self._only_match(conn, origin, query)

    async def _matching(
        self, conn: AsyncConnection, origin: Origin, target: Matching
    ) -> HubId | None:
        query = self._understand(target.type, target.params, origin.now_us)
        if query.persons is not None:
            persons = await self._persons(conn, origin, query.persons)
            if not persons:
                return None
            query = replace(query, persons=persons)
        return await self._only_match(conn, origin, query)

    async def _persons(
        self, conn: AsyncConnection, origin: Origin, asked: Iterable[str]
    ) -> tuple[str, ...]:
        """The persons that ids of Patients mean to the source."""
        known = await self.known(conn, origin, [Named(f"Patient/{one}") for one in asked])
        records = [SourceRecordId(record) for _, record in known.values()]
        return tuple((await self._mpi.person_of(conn, records)).values()) if records else ()

    async def _only_match(
        self, conn: AsyncConnection, origin: Origin, query: Query
    ) -> HubId | None:
        """The one resource of the source that a search finds.

        Raises:
            HieError: STALE when there are several.
        """
        own = Residual(own_sources=frozenset({origin.source_id}))
        # Of the directory everybody's entries are found, and only the source's own count.
        count = _MOST_ENTRIES if self._index.is_directory(query.type) else 2
        found = await self._repository.search(conn, own, replace(query, count=count))
        mine = [s.id for s in found.served if s.source_id == origin.source_id]
        if len(mine) > 1 or len(found.served) == _MOST_ENTRIES:
            text = f"the condition on `{query.type}` matches several of your resources"
            raise HieError(Category.STALE, text, [Issue(text=text, code="multiple-matches")])
        return (query.type, mine[0]) if mine else None
