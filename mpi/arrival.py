"""A patient as it comes in, and the rows that keep it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.crypto import KeyRing
from hie.kernel.clock import EPOCH
from hie.kernel.envelope import SourceIdentifier
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import MessageId, SourceId, SourceRecordId
from hie.keystore import KeyKind, KeyStore
from mpi.demographics import NORM_VERSION, Demographics
from mpi.find import Found
from mpi.model import Actor, Record
from mpi.normalize import MOST_IDENTIFIERS, Normalizer, pack, type_code, unpack
from mpi.repository import records
from mpi.repository.writes import Writes

#: Elements that say nothing of who somebody is, or are not the sender's.
_NOT_DEMOGRAPHIC = frozenset({"id", "meta", "text", "photo", "contained", "implicitRules"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A patient as it comes in.

    Attributes:
        patient: FHIR Patient, demographic elements only.
        text: the same as JSON, in one order, to be stored.
        content_hash: keyed hash of that, to see that nothing has changed.
    """

    record_id: SourceRecordId
    source_id: SourceId
    own: SourceIdentifier | None
    patient: FhirJson
    text: str
    content_hash: str
    message_id: MessageId | None
    now_us: int

    @property
    def today(self) -> date:
        """The day it came in."""
        return (EPOCH + timedelta(microseconds=self.now_us)).date()


class Intake:
    """Reads arrivals and stores them.

    Args:
        ring: makes record ids and hashes of identifiers.
        keys: seals demographics, under a key per record.
        normalizer: brings them to comparable form.
    """

    def __init__(self, ring: KeyRing, keys: KeyStore, normalizer: Normalizer) -> None:
        self._ring = ring
        self._keys = keys
        self._normalizer = normalizer

    def arrival(
        self,
        patient: FhirJson,
        *,
        source_id: SourceId,
        own: SourceIdentifier | None,
        message_id: MessageId,
        now_us: int,
        record_id: SourceRecordId | None = None,
    ) -> Arrival:
        """What of a message's patient is identified; `record_id` where that is known already."""
        kept = {name: value for name, value in patient.items() if name not in _NOT_DEMOGRAPHIC}
        if own is not None:
            kept["identifier"] = _with_own(kept.get("identifier"), own)
        text = _text(kept)
        name = (own.system, own.value) if own else ("message", str(message_id))
        return Arrival(
            record_id=record_id or SourceRecordId(self._ring.blind("record", source_id, *name)),
            source_id=source_id,
            own=own,
            patient=kept,
            text=text,
            content_hash=self._ring.blind("content", text),
            message_id=message_id,
            now_us=now_us,
        )

    def held(self, known: Record, patient: FhirJson, actor: Actor) -> Arrival:
        """Demographics of a known record that were held back, as if they came in now."""
        text = _text(patient)
        return Arrival(
            record_id=known.record_id,
            source_id=known.source_id,
            own=None,
            patient=patient,
            text=text,
            content_hash=self._ring.blind("content", text),
            message_id=actor.message_id,
            now_us=actor.now_us,
        )

    def demographics(self, arrival: Arrival) -> Demographics:
        """The arrival in comparable form."""
        return self._normalizer.demographics(arrival.patient, arrival.today)

    def lock_key(self, arrival: Arrival) -> int:
        """What two writers of one record lock."""
        return self._ring.blind64("mpi-record", arrival.record_id)

    def make_key(self, conn: AsyncConnection, writes: Writes, arrival: Arrival) -> None:
        """Gather the data key of a record never seen before; others are locked out."""
        writes.add("data_key", **self._keys.make(conn, KeyKind.RECORD, arrival.record_id))

    async def stored(self, conn: AsyncConnection, known: Record) -> Demographics:
        """The demographics that a known record holds."""
        if known.key_id is None or not known.norm:
            return Demographics()
        key = await self._keys.by_id(conn, known.key_id)
        return unpack(
            key.open(known.norm, table="source_record", column="norm", row=known.record_id)
        )

    async def write(
        self,
        conn: AsyncConnection,
        writes: Writes,
        arrival: Arrival,
        demographics: Demographics,
        found: Found,
        *,
        version: int,
    ) -> None:
        """Store an arrival: a row of its own, or over those of the version before."""
        record_id = arrival.record_id
        key = await self._keys.for_owner(conn, KeyKind.RECORD, record_id)
        raw = arrival.text.encode()
        values: dict[str, Any] = {
            "version": version,
            "received_us": arrival.now_us,
            "message_id": arrival.message_id,
            "key_id": key.id,
            "raw": key.seal(raw, table="source_record", column="raw", row=record_id),
            "norm": key.seal(
                pack(demographics), table="source_record", column="norm", row=record_id
            ),
            "norm_version": NORM_VERSION,
            "keys_as": found.room.made_as,
            "content_hash": arrival.content_hash,
            "is_active": True,
        }
        if version > 1:
            await records.update_record(conn, record_id, **values)
            await records.close_xrefs(conn, record_id, now_us=arrival.now_us)
            await records.drop_keys(conn, record_id)
        else:
            writes.add(
                "source_record",
                id=record_id,
                source_id=arrival.source_id,
                authority_hash=arrival.own and self._ring.blind("authority", arrival.own.system),
                local_hash=arrival.own and self._local_hash(arrival, arrival.own),
                **values,
            )
        self._write_xrefs(writes, arrival)
        for blocking_key in found.room.keys:
            writes.add("block_key", key=blocking_key, record_id=record_id)
        await records.count_refused(conn, found.room.refused, now_us=arrival.now_us)

    def _local_hash(self, arrival: Arrival, own: SourceIdentifier) -> str:
        return self._ring.blind("local", arrival.source_id, own.system, own.value)

    def _write_xrefs(self, writes: Writes, arrival: Arrival) -> None:
        for identifier in _identifiers(arrival.patient):
            writes.add(
                "identifier_xref",
                record_id=arrival.record_id,
                source_id=arrival.source_id,
                authority_hash=self._ring.blind("authority", identifier.system),
                value_hash=self._ring.blind("id", identifier.system, identifier.value),
                type=identifier.type[:16],
                valid_from_us=arrival.now_us,
            )


def _text(patient: FhirJson) -> str:
    return json.dumps(patient, default=str, sort_keys=True)


def _identifiers(patient: FhirJson) -> Iterable[SourceIdentifier]:
    """The identifiers of a Patient that name their authority, each once."""
    given = patient.get("identifier")
    found: dict[tuple[str, str], SourceIdentifier] = {}
    for identifier in (given if isinstance(given, list) else [])[:MOST_IDENTIFIERS]:
        read = _identifier(identifier) if isinstance(identifier, dict) else None
        if read is not None:
            found.setdefault((read.system, read.value), read)
    return found.values()


def _identifier(identifier: FhirJson) -> SourceIdentifier | None:
    system, value = identifier.get("system"), identifier.get("value")
    if not (isinstance(system, str) and isinstance(value, str) and system and value):
        return None
    return SourceIdentifier(system=system, value=value, type=type_code(identifier))


def _with_own(identifiers: Any, own: SourceIdentifier) -> list[FhirJson]:
    """The identifiers of a Patient, the one that the message was filed under among them."""
    given = [i for i in identifiers if isinstance(i, dict)] if isinstance(identifiers, list) else []
    if any((i.get("system"), i.get("value")) == (own.system, own.value) for i in given):
        return given
    kind = {"type": {"coding": [{"code": own.type}]}} if own.type else {}
    return [{"system": own.system, "value": own.value, **kind}, *given]
