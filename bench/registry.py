"""A registry of any size loaded into a fresh index: linked in memory, written in bulk.

The rows are those that identifying the records one by one would write - sealed demographics,
links, decisions, blocking keys, identifiers - made by the same code; they go to PostgreSQL by
COPY and to SQLite by one prepared statement a table. Review tasks are counted, not opened.
"""

import pickle
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from bench.population import KEPT, Registered
from hie.crypto import KeyRing
from hie.db import Database, metadata
from hie.kernel.clock import SystemClock
from hie.kernel.envelope import SourceIdentifier
from hie.kernel.ids import MessageId, PersonId, SourceId
from hie.keystore import KeyKind, KeyStore
from mpi.arrival import Arrival, Intake
from mpi.blocking import blocking_keys, overflow_key
from mpi.decide import Matcher
from mpi.demographics import Demographics
from mpi.find import KEY_DOMAIN, Finder, Found, Room
from mpi.ledger import Ledger
from mpi.model import Actor, DecisionKind, LinkState
from mpi.normalize import Normalizer
from mpi.offline.link import Linked, link
from mpi.offline.workers import in_order
from mpi.repository.writes import Writes
from mpi.settings import MpiSettings

PAGE = 2_000
SOURCE = SourceId("registry")


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A record in comparable form.

    Attributes:
        keys: its blocking keys, each with the one that takes what it has no room for.
    """

    arrival: Arrival
    demographics: Demographics
    keys: tuple[tuple[int, int | None], ...]


@dataclass(slots=True, kw_only=True)
class Readings:
    """A registry in comparable form; what linking needs in memory, the rest in a file.

    Attributes:
        path: of the file, a page of `Read` after the other.
        persons: by place, the number of the person a record is really about.
        shown: person, record id and Patient of those who may be asked for later.
    """

    path: Path
    record_ids: list[str] = field(default_factory=list)
    demographics: list[Demographics] = field(default_factory=list)
    persons: list[int] = field(default_factory=list)
    shown: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)

    def pages(self) -> Iterator[list[Read]]:
        """The records again, as they were read."""
        with self.path.open("rb") as file:
            for _ in range(0, len(self.persons), PAGE):
                yield pickle.load(file)

    def take(self, records: Sequence[Registered], reads: Sequence[Read]) -> None:
        """Keep a page."""
        with self.path.open("ab") as file:
            pickle.dump(reads, file)
        for record, read in zip(records, reads, strict=True):
            record_id = str(read.arrival.record_id)
            self.record_ids.append(record_id)
            self.demographics.append(read.demographics)
            self.persons.append(record.person)
            if record.person % KEPT == 0:
                self.shown.append((record.person, record_id, record.patient))


class Tally:
    """How many records have a blocking key, in 64 MB for any number of them.

    Two keys may share a place: then they are full somewhat early.
    """

    def __init__(self) -> None:
        self._counts = array("I", bytes(4 << 24))

    def __getitem__(self, key: int) -> int:
        return self._counts[key & 0xFFFFFF]

    def __setitem__(self, key: int, count: int) -> None:
        self._counts[key & 0xFFFFFF] = count


class Registry:
    """Loads records into the index of one database.

    Args:
        under: counts the records of each blocking key.
    """

    def __init__(
        self,
        db: Database,
        ring: KeyRing,
        keys: KeyStore,
        settings: MpiSettings,
        under: Tally | None = None,
    ) -> None:
        self._db = db
        self._ring = ring
        self._keys = keys
        self._model = settings.model
        self._settings = settings
        self._intake = Intake(ring, keys, Normalizer(settings.forms, settings.defaults))
        self._ledger = Ledger(db, ring, keys, settings.model.version)
        self._made_as = Finder(settings, ring, keys, Matcher(settings)).keys_as
        self._under: Tally | Counter[int] = under or Counter()
        self._persons: dict[str, PersonId] = {}

    def read(self, records: Iterable[Registered], path: Path, jobs: int) -> Readings:
        """The records in comparable form, read by so many processes."""
        now_us = SystemClock().now_us()
        readings = Readings(path=path)
        given: list[list[Registered]] = []

        def pages() -> Iterator[list[Registered]]:
            whole = iter(records)
            while page := list(islice(whole, PAGE)):
                given.append(page)
                yield page

        def read(page: list[Registered]) -> list[Read]:
            return [self.read_one(record, now_us) for record in page]

        for reads in in_order(read, pages(), jobs):
            readings.take(given.pop(0), reads)
        return readings

    def read_one(self, record: Registered, now_us: int) -> Read:
        """A record in comparable form."""
        arrival = self._intake.arrival(
            record.patient,
            source_id=SOURCE,
            own=SourceIdentifier(system=record.system, value=record.value, type="MR"),
            message_id=MessageId(0),
            now_us=now_us,
        )
        demographics = self._intake.demographics(arrival)
        model = self._model
        keys = blocking_keys(demographics, model.keys, self._blind, model.keys_per_record)
        pairs = tuple((key.value, overflow_key(key, self._blind)) for key in keys)
        return Read(arrival=arrival, demographics=demographics, keys=pairs)

    def link(self, readings: Readings, jobs: int) -> Linked:
        """Which records are one person."""
        named = dict(zip(readings.record_ids, readings.demographics, strict=True))
        return link(named, self._settings, lambda *_: None, jobs)

    async def write(self, readings: Readings, person_of: Mapping[str, Sequence[str]]) -> None:
        """Write the records and their links, a page a transaction.

        Args:
            readings: read before.
            person_of: by record id: person, grade and bits, as `Linked.links` gives them.
        """
        for page in readings.pages():
            async with self._db.transaction() as conn:
                await self.write_page(conn, page, person_of)

    async def write_page(
        self, conn: AsyncConnection, page: Sequence[Read], person_of: Mapping[str, Sequence[str]]
    ) -> list[PersonId]:
        """Write a page of records in the open transaction; the person of each."""
        owners = [record.arrival.record_id for record in page]
        await self._keys.for_owners(conn, KeyKind.RECORD, owners)
        writes = Copied(self._db)
        persons = [await self._write_one(conn, writes, record, person_of) for record in page]
        await writes.send(conn)
        return persons

    def remember_only(self, labels: Iterable[str]) -> None:
        """Forget the persons of all labels but these: no more records of theirs come."""
        self._persons = {one: self._persons[one] for one in labels if one in self._persons}

    async def _write_one(
        self,
        conn: AsyncConnection,
        writes: Writes,
        record: Read,
        person_of: Mapping[str, Sequence[str]],
    ) -> PersonId:
        arrival = record.arrival
        label, grade, bits = person_of[arrival.record_id]
        is_new = label not in self._persons
        if is_new:
            self._persons[label] = self._ledger.new_person(writes, arrival.now_us)
        person_id = self._persons[label]
        actor = Actor(name="mpi", now_us=arrival.now_us, reason="registry")
        kind = DecisionKind.NEW if is_new else DecisionKind.LINK
        recorded = await self._ledger.decision(conn, writes, kind, actor)
        found = Found(persons=(), room=self._room(record.keys))
        await self._intake.write(conn, writes, arrival, record.demographics, found, version=1)
        strength = (float(bits), grade) if bits else None
        self._ledger.open_link(
            writes,
            arrival.record_id,
            person_id,
            recorded,
            state=LinkState.AUTO,
            strength=strength,
        )
        return person_id

    def _room(self, keys: Iterable[tuple[int, int | None]]) -> Room:
        """The keys with room for a record, full ones by their second field."""
        chosen = []
        cap = self._model.key_cap
        for key, wider in keys:
            value = wider if self._under[key] >= cap else key
            if value is not None and self._under[value] < cap:
                self._under[value] += 1
                chosen.append(value)
        return Room(keys=tuple(dict.fromkeys(chosen)), made_as=self._made_as)

    def _blind(self, *parts: str) -> int:
        return self._ring.blind64(KEY_DOMAIN, *parts)


async def survey(db: Database) -> None:
    """Let the planner know the tables, as the server's own housekeeping does after a load."""
    async with db.glancing() as conn:
        await conn.execute(text("ANALYZE" if db.is_sqlite else "VACUUM (ANALYZE)"))


class Copied(Writes):
    """Rows that go to PostgreSQL by COPY."""

    async def send(self, conn: AsyncConnection) -> None:
        """Insert what was gathered."""
        if conn.dialect.name != "postgresql":
            return await super().send(conn)
        driver: Any = (await conn.get_raw_connection()).driver_connection
        for table, rows in self._rows.items():
            columns = [column.name for column in metadata.tables[table].columns]
            await driver.copy_records_to_table(table, records=rows, columns=columns)
        self._rows.clear()
        return None
