"""The index as tests use it: its settings, short ways to say a Patient, and one on a database."""

from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.crypto import KeyRing
from hie.db import Database
from hie.kernel.envelope import SourceIdentifier, SourceMerge
from hie.kernel.ids import MessageId, SourceId, SourceRecordId
from hie.keystore import KeyStore
from mpi.demographics import Demographics
from mpi.model import Actor, Identified, PersonMove, Task
from mpi.normalize import Normalizer
from mpi.service import Mpi
from mpi.settings import load_mpi_settings
from tests.support.memory_index import TODAY
from tests.support.tree import ROOT

SETTINGS = load_mpi_settings(ROOT / "config" / "mpi")
MODEL = SETTINGS.model
THRESHOLDS = MODEL.thresholds
START_US = 1_769_851_800_000_000
SSN = "http://hl7.org/fhir/sid/us-ssn"
MBI = "http://hl7.org/fhir/sid/us-mbi"

Patient = dict[str, Any]


def patient(**changes: Any) -> Patient:
    """Nora Quinlan as one source knows her, but for what is changed.

    Args:
        changes: `given`, `family`, `suffix`, `born`, `gender`, `phone`, `email`, `line`,
            `zip5`, `ssn`, `birth_order`; None leaves the element out. Others are elements of
            Patient.
    """
    said: dict[str, Any] = {
        "given": ["Nora"],
        "family": "Quinlan",
        "born": "1971-03-08",
        "gender": "female",
        "phone": "617-234-8871",
        "line": "14 Orchard Street",
        "zip5": "01742",
    } | changes
    name = {
        "given": said.pop("given"),
        "family": said.pop("family"),
        "suffix": _one(said, "suffix"),
    }
    made: Patient = {
        "resourceType": "Patient",
        "name": [{k: v for k, v in name.items() if v}],
        "gender": said.pop("gender"),
        "birthDate": said.pop("born"),
        "telecom": [
            {"system": system, "value": value}
            for system in ("phone", "email")
            if (value := said.pop(system, None))
        ],
        "multipleBirthInteger": said.pop("birth_order", None),
    }
    line, zip5 = said.pop("line"), said.pop("zip5")
    if line or zip5:
        made["address"] = [{"line": [line or ""], "city": "Concord", "postalCode": zip5 or ""}]
    if ssn := said.pop("ssn", None):
        made["identifier"] = [{"system": SSN, "value": ssn}]
    return {k: v for k, v in (made | said).items() if v not in (None, [])}


def _one(said: dict[str, Any], key: str) -> list[str]:
    value = said.pop(key, None)
    return [value] if value else []


def demographics(**changes: Any) -> Demographics:
    """The comparable form of `patient(**changes)`."""
    return Normalizer(SETTINGS.forms, SETTINGS.defaults).demographics(patient(**changes), TODAY)


def mrn(value: str, source: str = "mercy") -> SourceIdentifier:
    """A medical record number of a source."""
    return SourceIdentifier(system=f"urn:test:{source}", value=value, type="MR")


def steward(words: str = "Nora Quinlan told me so") -> Actor:
    """A human who decides, and says why in words that name the patient."""
    return Actor(name="steward:kim", now_us=START_US + 10_000_000, words=words)


class Index:
    """The index on a database, one transaction per call, a second per call."""

    def __init__(self, database: Database, ring: KeyRing | None = None) -> None:
        self.db = database
        self.ring = ring or KeyRing.ephemeral()
        self.keys = KeyStore(database, self.ring)
        self.mpi = Mpi(database, self.ring, self.keys, SETTINGS)
        self._messages = 0

    def restarted(self) -> "Index":
        """The same index without anything it kept in memory."""
        return Index(self.db, self.ring)

    async def see(
        self, record: Patient, number: str = "", source: str = "mercy", *, may_update: bool = True
    ) -> Identified:
        """Identify a patient that a source sends under a number."""
        self._messages += 1
        async with self.db.transaction() as conn:
            return await self.mpi.identify(
                conn,
                record,
                source_id=SourceId(source),
                own=mrn(number, source) if number else None,
                message_id=MessageId(self._messages),
                now_us=START_US + self._messages * 1_000_000,
                may_update=may_update,
            )

    async def merge(
        self, survivor: str, retired: str, source: str = "mercy"
    ) -> tuple[PersonMove, ...]:
        """A source's A40."""
        self._messages += 1
        statement = SourceMerge(survivor=mrn(survivor, source), retired=mrn(retired, source))
        async with self.db.transaction() as conn:
            merged = await self.mpi.merge(
                conn,
                statement,
                source_id=SourceId(source),
                message_id=MessageId(self._messages),
                now_us=START_US + self._messages * 1_000_000,
            )
            return merged.moves

    async def tasks(self) -> list[Task]:
        """The review queue."""
        async with self.db.reading() as conn:
            return await self.mpi.review.listed(conn)

    async def explanation(self, conn: AsyncConnection, decision: int) -> dict[str, Any]:
        """Why a decision was made, as the ledger keeps it."""
        statement = "SELECT key_id, explanation FROM identity_decision WHERE id = :id"
        row = (await conn.execute(text(statement), {"id": decision})).one()
        key = await self.keys.by_id(conn, row.key_id)
        opened = key.open(
            row.explanation, table="identity_decision", column="explanation", row=str(decision)
        )
        found: dict[str, Any] = orjson.loads(opened)
        return found

    async def persons(self, *records: SourceRecordId) -> list[str]:
        """The person of each record."""
        async with self.db.reading() as conn:
            found = await self.mpi.person_of(conn, records)
        return [found[record] for record in records]
