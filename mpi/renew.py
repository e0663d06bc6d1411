"""Stored records brought to the comparable form and the blocking keys of this version.

A record is stored as it was sent, so a better reading of names or a new kind of key reaches
those that came before it too. That goes on beside the matching, some records at a time: a
record not renewed yet is compared in its old form, and found under the keys that are as they
were.
"""

import json
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.crypto import DataKey
from hie.kernel.clock import EPOCH
from hie.kernel.ids import SourceRecordId
from mpi.demographics import NORM_VERSION
from mpi.find import Finder
from mpi.normalize import Normalizer, pack
from mpi.repository import records, renewal
from mpi.repository.renewal import Scanned, Stored

#: Records read at a time to find those that are out of date.
STRETCH: Final = 500
#: Records renewed in one transaction, if they fit in its time.
MOST_AT_ONCE: Final = 25


class Renewal:
    """Renews stored records.

    Args:
        normalizer: reads what was sent as it is read now.
        finder: makes blocking keys, and knows the room under them.
    """

    def __init__(self, normalizer: Normalizer, finder: Finder) -> None:
        self._normalizer = normalizer
        self._finder = finder

    @property
    def mark(self) -> str:
        """What every record is brought to: one text per version of reading and of keys."""
        return f"{NORM_VERSION}:{self._finder.keys_as}"

    async def scan(self, conn: AsyncConnection, after: str) -> Scanned:
        """The next stretch of records, on a reading connection."""
        return await renewal.scan(
            conn, after, STRETCH, norm_version=NORM_VERSION, keys_as=self._finder.keys_as
        )

    async def renew(
        self, conn: AsyncConnection, stale: Sequence[str], *, seconds: float, now_us: int
    ) -> tuple[int, int]:
        """Renew the first of these records, in a short write transaction.

        Args:
            conn: open write transaction.
            stale: record ids.
            seconds: after which no further record is begun.
            now_us: for the count of what found no room.

        Returns:
            How many were dealt with, and how many of them changed.
        """
        began = time.monotonic()
        chosen = stale[:MOST_AT_ONCE]
        found = {record.id: record for record in await renewal.stored(conn, chosen)}
        dealt = changed = 0
        for record_id in chosen:
            if dealt and time.monotonic() - began > seconds:
                break
            dealt += 1
            record = found.get(record_id)
            if record is not None:
                changed += await self._renew(conn, record, now_us)
        return dealt, changed

    async def _renew(self, conn: AsyncConnection, record: Stored, now_us: int) -> bool:
        if (record.norm_version, record.keys_as) == (NORM_VERSION, self._finder.keys_as):
            return False  # its source sent it anew meanwhile
        key = (await self._finder.data_keys(conn, {record.key_id})).get(record.key_id)
        if key is None:
            return False  # erased
        received = (EPOCH + timedelta(microseconds=record.received_us)).date()
        demographics = self._normalizer.demographics(_opened(record, key), received)
        own = SourceRecordId(record.id)
        room = await self._finder.room(conn, self._finder.keys(demographics), own)
        norm = key.seal(pack(demographics), table="source_record", column="norm", row=record.id)
        if not await renewal.replace(
            conn, record, norm=norm, norm_version=NORM_VERSION, keys_as=self._finder.keys_as
        ):
            return False
        await records.drop_keys(conn, record.id)
        await renewal.file_under(conn, record.id, room.keys)
        await records.count_refused(conn, room.refused, now_us=now_us)
        return True


def _opened(record: Stored, key: DataKey) -> dict[str, object]:
    raw = key.open(record.raw, table="source_record", column="raw", row=record.id)
    patient: dict[str, object] = json.loads(raw)
    return patient
