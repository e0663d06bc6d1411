"""Decided translations: added, withdrawn, read whole by every process that maps messages."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.terminology import Concept
from hie.crypto import KeyRing
from hie.db import Database
from hie.keystore import KeyKind, KeyStore
from hie.translations import repository

_TABLE: Final = "code_translation"
_SYSTEM: Final = "tasks"
_DOMAIN: Final = "translation"

#: Source id to concept map to code to concept.
Decided = Mapping[str, Mapping[str, Mapping[str, Concept]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """What one source's code means.

    Attributes:
        concept: without a target: the code is known and has no counterpart.
        task_id: the task it answers.
        decided_by: who decided, as that person named himself to the command.
    """

    source_id: str
    map: str
    code: str
    concept: Concept
    task_id: int | None = None
    decided_us: int
    decided_by: str


class Translations:
    """The translations of all sources."""

    def __init__(self, db: Database, ring: KeyRing, keys: KeyStore) -> None:
        self._db = db
        self._ring = ring
        self._keys = keys

    async def version(self, conn: AsyncConnection) -> int:
        """A number that differs after every change; one cheap query."""
        return await repository.size(conn)

    async def add(self, conn: AsyncConnection, translation: Translation) -> None:
        """Let a translation hold from now on, in the place of one decided before."""
        key = self._key(translation.source_id, translation.map, translation.code)
        await repository.retire(conn, key)
        await self._write(conn, translation, active_key=key)

    async def withdraw(self, conn: AsyncConnection, translation: Translation) -> bool:
        """Let a code be unmapped again; False when it was."""
        key = self._key(translation.source_id, translation.map, translation.code)
        if not await repository.retire(conn, key):
            return False
        await self._write(conn, translation, active_key=None)
        return True

    async def load(self, conn: AsyncConnection) -> Decided:
        """Everything in effect."""
        found: dict[str, dict[str, dict[str, Concept]]] = {}
        rows = await repository.active(conn)
        keys = await self._keys.by_ids(conn, {row.key_id for row in rows})
        for row in rows:
            body = orjson.loads(
                keys[row.key_id].open(row.body, table=_TABLE, column="body", row=str(row.id))
            )
            concept = Concept(
                target=body[1], display=body[2], system=body[3], task_id=row.task_id or 0
            )
            found.setdefault(row.source_id, {}).setdefault(row.map, {})[body[0]] = concept
        return found

    async def _write(
        self, conn: AsyncConnection, translation: Translation, *, active_key: str | None
    ) -> None:
        row_id = self._db.next_pk()
        key = await self._keys.for_owner(conn, KeyKind.SYSTEM, _SYSTEM)
        concept = translation.concept
        body = orjson.dumps([translation.code, concept.target, concept.display, concept.system])
        await repository.add(
            conn,
            {
                "id": row_id,
                "source_id": translation.source_id,
                "map": translation.map,
                "active_key": active_key,
                "task_id": translation.task_id,
                "decided_us": translation.decided_us,
                "decided_by": translation.decided_by[:200],
                "key_id": key.id,
                "body": key.seal(body, table=_TABLE, column="body", row=str(row_id)),
            },
        )

    def _key(self, source_id: str, concept_map: str, code: str) -> str:
        return self._ring.blind(_DOMAIN, source_id, concept_map, code.upper())
