"""What is known of the resources a batch of messages speaks about, read once and kept up.

Statements about a resource told in parts are stored beside it, sealed; what they are worth is
decided in `hie.flow.state`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.lifecycle import SILENT, Lifecycle
from hie.flow.state import Change, Known, Stamp, is_told_in_parts
from hie.kernel.envelope import WriteMode
from hie.kernel.fhir import FhirJson
from hie.store.body import dump
from hie.store.changes import Changes, Name, SealedLog, StoredHead
from hie.store.loader import Stored
from hie.store.repository import ResourceRepository


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is stored under an id, or will be once the statements before are written.

    Attributes:
        record_id, person_id: whose it is; None = nobody's.
        stored: as it was before the batch; None where it was not read or not there.
    """

    known: Known
    source_id: str
    record_id: str | None = None
    person_id: str | None = None
    stored: Stored | None = None

    @property
    def resource(self) -> FhirJson:
        """The content; {} where it was not read."""
        return self.known.resource or {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a statement needs to know.

    Attributes:
        change: the statement with its stamp; None where whatever comes holds (FHIR writes).
        needs_content: it depends on what is stored for another reason.
    """

    name: Name
    change: Change | None
    needs_content: bool = False


class Memory:
    """Reads and keeps what is known."""

    def __init__(
        self,
        repository: ResourceRepository,
        changes: Changes,
        lifecycles: Mapping[str, Lifecycle],
    ) -> None:
        self._repository = repository
        self._changes = changes
        self._lifecycles = lifecycles

    def lifecycle(self, name: str) -> Lifecycle | None:
        """The status order of that name; None for ""."""
        return self._lifecycles[name] if name else None

    async def read(self, conn: AsyncConnection, wanted: Iterable[Wanted]) -> dict[Name, Entry]:
        """What is stored of the resources named; those that are not there are absent."""
        asked = list(wanted)
        if not asked:
            return {}
        heads = await self._changes.heads(conn, {one.name for one in asked})
        there = [one for one in asked if one.name in heads]
        told = {o.name for o in there if o.change is not None and is_told_in_parts(o.change)}
        deleted = {o.name for o in there if o.change and o.change.mode is WriteMode.DELETE}
        opened = {o.name for o in there if o.needs_content} | told | deleted
        contents = await self._repository.load(conn, opened) if opened else {}
        logs = await self._changes.logs(conn, told | deleted) if told or deleted else {}
        return {
            name: self._entry(heads[name], contents.get(name), logs.get(name))
            for name in {one.name for one in there}
        }

    def _entry(self, head: StoredHead, stored: Stored | None, log: bytes | None) -> Entry:
        rank = head.status_rank
        return Entry(
            known=Known(
                stamp=Stamp(head.event_us, head.sent_us, head.message_id),
                resource=stored.resource if stored else None,
                is_deleted=head.is_deleted,
                rank=SILENT if rank is None else rank,
                log=self._decoded(log) if log else (),
            ),
            source_id=head.source_id,
            record_id=head.source_record_id,
            person_id=head.person_id,
            stored=stored,
        )

    async def keep(
        self, conn: AsyncConnection, logs: Mapping[Name, tuple[str, Sequence[Change]]]
    ) -> None:
        """Store statements: name to the record whose key seals them, and they; () = forget."""
        await self._changes.keep(
            conn,
            [
                SealedLog(type=kind, id=key, owner=owner, content=_encoded(log))
                for (kind, key), (owner, log) in logs.items()
                if log
            ],
        )
        await self._changes.forget(conn, [name for name, (_, log) in logs.items() if not log])

    def _decoded(self, content: bytes) -> tuple[Change, ...]:
        return tuple(
            Change(
                stamp=Stamp(*entry["at"]),
                mode=WriteMode(entry["mode"]),
                resource=entry["resource"],
                lifecycle=self._lifecycles.get(entry.get("lifecycle", "")),
                since=entry.get("since", ""),
                undoes=tuple(entry.get("undoes", ())),
                adds=tuple(entry.get("adds", ())),
                is_base=entry.get("base", False),
            )
            for entry in json.loads(content, parse_float=Decimal)
        )


def _encoded(log: Sequence[Change]) -> bytes:
    return dump([_entry_of(change) for change in log])


def _entry_of(change: Change) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "at": list(change.stamp),
        "mode": change.mode.value,
        "resource": change.resource,
    }
    if change.lifecycle is not None:
        entry["lifecycle"] = change.lifecycle.name
    if change.since:
        entry["since"] = change.since
    if change.undoes:
        entry["undoes"] = list(change.undoes)
    if change.adds:
        entry["adds"] = list(change.adds)
    if change.is_base:
        entry["base"] = True
    return entry


def renewed(entry: Entry | None, known: Known, source_id: str) -> Entry:
    """What is known after a statement."""
    if entry is None:
        return Entry(known=known, source_id=source_id)
    return replace(entry, known=known, source_id=source_id)
