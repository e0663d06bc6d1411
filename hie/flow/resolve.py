"""What the names in a FHIR write mean: hub ids of what a source refers to or writes.

A source's own names resolve for that source alone; conditions match only its own resources;
the directory is one for all.
"""

from collections.abc import Iterable, Mapping

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.fhir.plan import Identified, Method, Named, PlannedWrite, Target
from adapters.fhir.references import HubId
from hie.crypto import KeyRing
from hie.flow.directory import Directory
from hie.flow.placement import Origin
from hie.kernel.envelope import SourceIdentifier
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import split_reference
from hie.store import blind
from hie.store.index import SearchIndex
from hie.store.loader import Head
from hie.store.query import Criterion, Keyed, Query, Token, TokenValue
from hie.store.repository import ResourceRepository
from hie.store.residual import Residual
from hie.store.writer import ResourceWriter
from mpi.service import Mpi


class Resolver:
    """Looks up what a write names."""

    def __init__(
        self,
        repository: ResourceRepository,
        writer: ResourceWriter,
        index: SearchIndex,
        mpi: Mpi,
        directory: Directory,
        ring: KeyRing,
    ) -> None:
        self._repository = repository
        self._writer = writer
        self._index = index
        self._mpi = mpi
        self._directory = directory
        self._ring = ring

    async def known(
        self, conn: AsyncConnection, origin: Origin, targets: Iterable[Target]
    ) -> dict[Target, HubId]:
        """The hub ids of targets; what leads nowhere is absent.

        Raises:
            HieError: STALE when a condition matches several of the source's resources.
        """
        wanted = list(targets)
        names = {t.name: t for t in wanted if isinstance(t, Named)}
        aliases = await self._writer.aliases(conn, origin.source_id, names)
        found: dict[Target, HubId] = {names[name]: hub_id for name, hub_id in aliases.items()}
        found |= await self._hub_ids(conn, origin, [n for n in names if n not in aliases], names)
        for target in wanted:
            if isinstance(target, Identified):
                hub_id = await self._identified(conn, origin, target)
                if hub_id is not None:
                    found[target] = hub_id
        return found

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
        names: Iterable[str],
        targets: Mapping[str, Named],
    ) -> dict[Target, HubId]:
        """Names that are hub ids the source may use: its own, and the directory's."""
        pairs = {name: pair for name in names if (pair := split_reference(name))}
        known_types = {n: p for n, p in pairs.items() if self._index.has_type(p[0])}
        heads = await self._repository.versions_of(conn, known_types.values())
        found: dict[Target, HubId] = {}
        for name, pair in known_types.items():
            head = heads.get(pair)
            if head is not None and not head.is_deleted and self._may_use(origin, pair, head):
                found[targets[name]] = pair
            elif pair[0] == "Patient" and head is None:
                own = await self._own_record(conn, origin, pair[1])
                if own is not None:
                    found[targets[name]] = own
        return found

    def _may_use(self, origin: Origin, pair: HubId, head: Head) -> bool:
        return head.source_id == origin.source_id or self._index.is_directory(pair[0])

    async def _own_record(self, conn: AsyncConnection, origin: Origin, person: str) -> HubId | None:
        """The source's own record of a person whose id it was given."""
        own = Residual(own_sources=frozenset({origin.source_id}))
        records = (await self._repository.patients(conn, own, [person])).get(person, [])
        mine = sorted(r.id for r in records if r.source_id == origin.source_id)
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
        own = Residual(own_sources=frozenset({origin.source_id}))
        found = await self._repository.search(
            conn, own, Query(type=target.type, criteria=(criterion,), count=2)
        )
        mine = [s for s in found.served if s.source_id == origin.source_id]
        if len(mine) > 1:
            text = f"`{target.type}?identifier=` matches several of your resources"
            raise HieError(Category.STALE, text, [Issue(text=text, code="multiple-matches")])
        return (target.type, mine[0].id) if mine else None
