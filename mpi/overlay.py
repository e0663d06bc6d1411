"""Overlays decided: demographics that contradicted a record are taken over, or refused.

What the record said before stands in the decision, sealed under the record's key, so that
taking the decision back gives it back - unless its source has said something new since.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import MessageId, PersonId, SourceId, SourceRecordId
from hie.keystore import KeyStore
from mpi.identify import Identification
from mpi.ledger import Explanation, Ledger
from mpi.model import Actor, Decided, DecisionKind, Task, TaskKind
from mpi.repository import decisions, records, renewal, tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Demographics that an overlay holds back.

    Attributes:
        patient: FHIR Patient, demographic elements only.
        source_id, message_id: who said so, and in which message.
    """

    record_id: SourceRecordId
    person_id: PersonId
    patient: FhirJson
    source_id: SourceId
    message_id: MessageId


class Overlays:
    """Takes held demographics over, refuses them, and gives back what was before."""

    def __init__(self, ledger: Ledger, identification: Identification, keys: KeyStore) -> None:
        self._ledger = ledger
        self._identification = identification
        self._keys = keys

    async def held(self, conn: AsyncConnection, task: Task) -> Held:
        """What a task holds back.

        Raises:
            HieError: BUSINESS_RULE for a task of another kind, GONE where the record is erased.
        """
        if task.kind is not TaskKind.OVERLAY or task.record_id is None:
            text = "only a task about an overlay holds demographics back"
            raise HieError(Category.BUSINESS_RULE, text)
        record = await records.find_record(conn, task.record_id)
        if task.held is None or record is None:
            raise HieError(Category.GONE, "what the task held back is erased")
        return Held(
            record_id=task.record_id,
            person_id=record.person_id or task.person_id,
            patient=task.held,
            source_id=record.source_id,
            message_id=MessageId(await tasks.message_of(conn, task.id)),
        )

    async def accept(self, conn: AsyncConnection, held: Held, actor: Actor) -> Decided:
        """Take held demographics over; the record is scored anew, and asked about if need be."""
        content = {"before": await self._said(conn, held.record_id), "after": held.patient}
        explained = Explanation(
            record_id=held.record_id, content={**content, "record": held.record_id}
        )
        decided = await self._decide(conn, held, DecisionKind.OVERLAY_ACCEPT, actor, explained)
        await self._identification.take_held(conn, held.record_id, held.patient, actor)
        return decided

    async def refuse(self, conn: AsyncConnection, held: Held, actor: Actor) -> Decided:
        """Leave the record as it is; the same demographics are not asked about again."""
        return await self._decide(conn, held, DecisionKind.OVERLAY_REFUSE, actor, None)

    async def restore(
        self, conn: AsyncConnection, decision_id: int, actor: Actor, *, is_again: bool = False
    ) -> bool:
        """Give a record back what it said before it was overlaid; False where it may not be.

        Args:
            conn: open write transaction.
            decision_id: what took the demographics over.
            actor: who takes it back.
            is_again: the taking back is taken back: take them over again.
        """
        accepted = await decisions.decision(conn, decision_id)
        if accepted is None or accepted.kind != DecisionKind.OVERLAY_ACCEPT.value:
            return True
        content = await self._content(conn, accepted)
        record_id = SourceRecordId(content["record"])
        found = await renewal.stored(conn, [record_id])
        if not found or await records.message_of(conn, record_id) != accepted.message_id:
            return False  # its source has said something new since, or it is erased
        said = content["after" if is_again else "before"]
        await self._identification.take_held(conn, record_id, said, actor)
        return True

    async def _decide(
        self,
        conn: AsyncConnection,
        held: Held,
        kind: DecisionKind,
        actor: Actor,
        explained: Explanation | None,
    ) -> Decided:
        writes = self._ledger.writes()
        recorded = await self._ledger.decision(conn, writes, kind, actor, explained=explained)
        self._ledger.tell(writes, recorded, [held.record_id], [held.person_id])
        await writes.send(conn)
        return Decided(decision_id=recorded.id, kind=kind, persons=(held.person_id,))

    async def _said(self, conn: AsyncConnection, record_id: SourceRecordId) -> FhirJson:
        """The demographics a record has now, as they were sent."""
        found = await renewal.stored(conn, [record_id])
        if not found:
            raise HieError(Category.GONE, "the record is erased")
        (stored,) = found
        key = await self._keys.by_id(conn, stored.key_id)
        raw = key.open(stored.raw, table="source_record", column="raw", row=record_id)
        patient: FhirJson = json.loads(raw)
        return patient

    async def _content(
        self, conn: AsyncConnection, accepted: decisions.PastDecision
    ) -> Mapping[str, Any]:
        if accepted.key_id is None or accepted.explanation is None:
            raise HieError(Category.GONE, "what the record said before is erased")
        key = await self._keys.by_id(conn, accepted.key_id)
        place = {"table": "identity_decision", "column": "explanation", "row": str(accepted.id)}
        content: Mapping[str, Any] = orjson.loads(key.open(accepted.explanation, **place))
        return content
