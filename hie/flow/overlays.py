"""A steward's word on an overlay: the held Patient is stored like any other, or it is not."""

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.flow.place import Placer
from hie.flow.placement import Origin, Placement
from hie.kernel.fhir import FhirJson
from hie.store.moved import Item, Move, MoveLog
from hie.store.repository import ResourceRepository
from mpi.model import Actor, Decided
from mpi.overlay import Held
from mpi.service import Mpi

#: How the log of moves calls a Patient that was taken over.
KIND = "overlay"


class OverlayDecisions:
    """Accepts and refuses what overlay tasks hold back."""

    def __init__(
        self, mpi: Mpi, placer: Placer, repository: ResourceRepository, log: MoveLog
    ) -> None:
        self._mpi = mpi
        self._placer = placer
        self._repository = repository
        self._log = log

    async def decide(
        self, conn: AsyncConnection, task_id: int, actor: Actor, *, is_accepted: bool
    ) -> Decided:
        """Take the held demographics over, in the index and in the stored Patient, or refuse.

        Raises:
            HieError: NOT_FOUND for an unknown task; BUSINESS_RULE for one of another kind; GONE
                where the record is erased.
        """
        held = await self._mpi.overlays.held(conn, await self._mpi.review.task(conn, task_id))
        said = Actor(
            name=actor.name,
            now_us=actor.now_us,
            reason=actor.reason,
            words=actor.words,
            message_id=held.message_id,
            batch_id=actor.batch_id,
        )
        if not is_accepted:
            return await self._mpi.overlays.refuse(conn, held, said)
        decided = await self._mpi.overlays.accept(conn, held, said)
        await self._store(conn, held, decided.decision_id, actor.now_us)
        return decided

    async def _store(
        self, conn: AsyncConnection, held: Held, decision_id: int, now_us: int
    ) -> None:
        """A new version of the stored Patient, and where to go back to."""
        name = ("Patient", held.record_id)
        stored = (await self._repository.load(conn, [name])).get(name)
        patient: FhirJson = {**held.patient, "resourceType": "Patient", "id": held.record_id}
        if stored is not None and stored.resource.get("link"):
            patient["link"] = stored.resource["link"]
        origin = Origin(source_id=held.source_id, message_id=held.message_id, now_us=now_us)
        placement = Placement(
            type="Patient",
            id=held.record_id,
            resource=patient,
            owner=held.record_id,
            label_mask=stored.label_mask if stored else 0,
        )
        (written,) = (await self._placer.place(conn, origin, [placement])).written
        move = Move(
            decision_id=decision_id,
            source_id=held.source_id,
            message_id=held.message_id,
            kind=KIND,
            at_us=now_us,
        )
        item = Item(
            type="Patient",
            id=held.record_id,
            before=stored.version if stored else 0,
            after=written.version,
            record=held.record_id,
        )
        await self._log.keep(conn, move, [item] if written.is_changed else [])
