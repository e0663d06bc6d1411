"""Write path of the repository: versions, index rows and identity changes.

Every function works in the caller's open transaction and handles a batch with a fixed
number of statements.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    Row,
    SmallInteger,
    String,
    Table,
    bindparam,
    exists,
    literal,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.crypto import DataKey, KeyRing
from hie.db import Database
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import PersonId, SourceRecordId
from hie.keystore import KeyKind, KeyStore
from hie.store.body import encode
from hie.store.index import SearchIndex
from hie.store.relink import Relinker
from hie.store.residual import DOCUMENT_TYPES
from hie.store.rows import FORMER, INDEX_TABLES, SUPPORTING, IndexRows, without_rows
from hie.store.tables import (
    compartment,
    resource,
    resource_version,
    source_alias,
    sp_ref,
)

_CHUNK = 500
#: What a version's row has from its resource's.
_VERSION_COLUMNS = (
    *("version", "body_version", "last_updated_us", "deleted"),
    *("source_id", "message_id", "label_mask", "type_id"),
)


# Built once: building a statement takes as long as running it.
_R = resource.c
_STORED = select(_R.pk, _R.type_id, _R.id, _R.version, _R.content_hash, _R.deleted).where(
    _R.type_id.in_(bindparam("types", type_=SmallInteger, expanding=True)),
    _R.id.in_(bindparam("ids", type_=String, expanding=True)),
)
#: The same said again later: what is older than that is older than what is stored.
_RESTAMP = (
    update(resource)
    .where(resource.c.pk == bindparam("b_pk"))
    .values(event_us=bindparam("b_event_us"), sent_us=bindparam("b_sent_us"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVersion:
    """A resource to be written.

    Attributes:
        resource: references resolved to hub ids, patients as `Patient/<source record id>`.
        patients: source record and its current person, in compartment order; the first is
            the one the resource belongs to. Empty for directory resources.
        key_owner: whose data key seals the body: a source record, or "" for the hub's own.
        is_deleted: write a tombstone; `resource` is what was there, for the rules about it.
        event_us, sent_us: when it was so and when that was sent; None where nobody says.
        status_rank: step of its status in its order.
    """

    type: str
    id: str
    resource: FhirJson
    source_id: str
    message_id: int
    label_mask: int
    patients: tuple[tuple[SourceRecordId, PersonId], ...] = ()
    key_owner: str = ""
    is_deleted: bool = False
    event_us: int | None = None
    sent_us: int | None = None
    status_rank: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of one new version; an identical body makes none."""

    type: str
    id: str
    version: int
    is_created: bool
    is_changed: bool


@dataclass(slots=True)
class _Batch:
    """Rows by table, gathered for one insert each, and the texts they name."""

    rows: dict[Table, list[dict[str, Any]]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def add(self, table: Table, **row: Any) -> None:
        self.rows.setdefault(table, []).append(row)


class ResourceWriter(Relinker):
    """Writes resource versions and their index rows.

    Args:
        is_label: whether a security coding is held by the label mask.
    """

    def __init__(
        self,
        db: Database,
        keys: KeyStore,
        ring: KeyRing,
        index: SearchIndex,
        is_label: Callable[[FhirJson], bool],
    ) -> None:
        self._db = db
        self._keys = keys
        self._ring = ring
        self._index = index
        self._is_label = is_label
        self.rows = IndexRows(index, ring, is_label)
        self._documents = {index.type_id(name) for name in DOCUMENT_TYPES}

    async def write(
        self, conn: AsyncConnection, items: Sequence[NewVersion], now_us: int
    ) -> list[Written]:
        """Store new versions; one result per item, in order.

        Two items with one id are two versions, in order.
        """
        results: list[Written] = []
        pending = list(items)
        while pending:
            seen: set[tuple[str, str]] = set()
            wave: list[NewVersion] = []
            later: list[NewVersion] = []
            for item in pending:
                (later if (item.type, item.id) in seen else wave).append(item)
                seen.add((item.type, item.id))
            results += await self._write_wave(conn, wave, now_us)
            pending = later
        return results

    async def _write_wave(
        self, conn: AsyncConnection, items: Sequence[NewVersion], now_us: int
    ) -> list[Written]:
        stored = await self._stored(conn, items)
        owners = {item.key_owner for item in items}
        keys = await self._keys.for_owners(conn, KeyKind.RECORD, [o for o in owners if o])
        keys |= await self._keys.for_owners(conn, KeyKind.SYSTEM, [o for o in owners if not o])
        batch, changes, written, restamped = _Batch(), [], [], []
        for item in items:
            old = stored.get((self._index.type_id(item.type), item.id))
            body = b"" if item.is_deleted else self._encode(item)
            # The body says neither whose it is nor its labels: a change of these is one too.
            filed = f"|{item.label_mask}|{[record for record, _ in item.patients]}"
            digest = self._ring.fingerprint(body + filed.encode())
            is_changed = old is None or old.content_hash != digest or old.deleted
            version = 1 if old is None else old.version + (1 if is_changed else 0)
            written.append(
                Written(
                    type=item.type,
                    id=item.id,
                    version=version,
                    is_created=old is None or bool(old.deleted),
                    is_changed=is_changed,
                )
            )
            if not is_changed:
                if item.event_us is not None and old is not None:
                    restamped.append(
                        {"b_pk": old.pk, "b_event_us": item.event_us, "b_sent_us": item.sent_us}
                    )
                continue
            row = self._resource_row(item, version, now_us, digest)
            if old is None:
                row["pk"] = self._db.next_pk()
                batch.add(resource, **row)
            else:
                row["pk"] = old.pk
                changes.append(row)
            self._add_version(batch, item, row, keys[item.key_owner], body)
        await self._apply(conn, batch, changes)
        if restamped:
            await conn.execute(_RESTAMP, restamped)
        return written

    def _add_version(
        self, batch: _Batch, item: NewVersion, row: Mapping[str, Any], key: DataKey, body: bytes
    ) -> None:
        """The version's row with its sealed body, and the index rows of the resource."""
        place = f"{item.type}/{item.id}/{row['version']}"
        batch.add(
            resource_version,
            resource_pk=row["pk"],
            key_id=key.id,
            body=key.seal(body, table="resource_version", column="body", row=place),
            **{name: row[name] for name in _VERSION_COLUMNS},
        )
        self._index_rows(batch, item, row["pk"])

    def _encode(self, item: NewVersion) -> bytes:
        ordinals: dict[str, int] = {record: n for n, (record, _) in enumerate(item.patients)}
        return encode(item.resource, ordinals, self._is_label)

    async def _stored(
        self, conn: AsyncConnection, items: Sequence[NewVersion]
    ) -> dict[tuple[int, str], Row[Any]]:
        ids = list({item.id for item in items})
        types = sorted({self._index.type_id(item.type) for item in items})
        found: dict[tuple[int, str], Row[Any]] = {}
        for start in range(0, len(ids), _CHUNK):
            bound = {"types": types, "ids": ids[start : start + _CHUNK]}
            rows = await conn.execute(_STORED, bound)
            found |= {(row.type_id, row.id): row for row in rows}
        return found

    def _resource_row(
        self, item: NewVersion, version: int, now_us: int, digest: bytes
    ) -> dict[str, Any]:
        period = self._index.clinical_period(item.resource)
        record, person = item.patients[0] if item.patients else (None, None)
        return {
            "type_id": self._index.type_id(item.type),
            "id": item.id,
            "version": version,
            "body_version": version,
            "last_updated_us": now_us,
            "deleted": item.is_deleted,
            "person_id": person,
            "source_record_id": record,
            "source_id": item.source_id,
            "message_id": item.message_id,
            "label_mask": item.label_mask,
            "clinical_lo_us": period[0] if period else None,
            "clinical_hi_us": period[1] if period else None,
            "content_hash": digest,
            "event_us": item.event_us,
            "sent_us": item.sent_us,
            "status_rank": item.status_rank,
        }

    def _index_rows(self, batch: _Batch, item: NewVersion, pk: int) -> None:
        persons = [person for _, person in item.patients]
        for ordinal, (record, person) in enumerate(item.patients[1:], start=1):
            batch.add(
                compartment,
                resource_pk=pk,
                ordinal=ordinal,
                person_id=person,
                source_record_id=record,
            )
        for table, row in self.rows.of(item.type, item.resource, persons, batch.texts):
            batch.add(table, resource_pk=pk, **row)

    async def _apply(
        self, conn: AsyncConnection, batch: _Batch, changes: Sequence[Mapping[str, Any]]
    ) -> None:
        pks = [row["pk"] for row in changes]
        if pks:
            # The resource first: who indexes it again (`hie.store.rebuild`) holds it so.
            for row in changes:
                values = {name: value for name, value in row.items() if name != "pk"}
                await conn.execute(
                    update(resource).where(resource.c.pk == row["pk"]).values(**values)
                )
            documents = [row["pk"] for row in changes if row["type_id"] in self._documents]
            await self._keep_former(conn, documents)
            for table in (*INDEX_TABLES, compartment):
                await conn.execute(without_rows(table, pks))
        if batch.texts:
            await self.rows.keep_texts(conn, batch.texts)
        for table, rows in batch.rows.items():
            await conn.execute(table.insert(), rows)

    async def _keep_former(self, conn: AsyncConnection, pks: Sequence[int]) -> None:
        """Remember what documents referred to as their content, before their rows go."""
        if not pks:
            return
        old, known = sp_ref.alias("old"), sp_ref.alias("known")
        is_known = exists().where(
            known.c.resource_pk == old.c.resource_pk,
            known.c.param_id == FORMER,
            known.c.target_type_id == old.c.target_type_id,
            known.c.target_id == old.c.target_id,
        )
        found = select(
            *(literal(FORMER, SmallInteger) if c.name == "param_id" else c for c in old.c)
        ).where(
            old.c.resource_pk.in_(pks),
            old.c.param_id == SUPPORTING,
            old.c.target_type_id == self._index.type_id("Binary"),
            ~is_known,
        )
        await conn.execute(sp_ref.insert().from_select([c.name for c in sp_ref.c], found))

    async def aliases(
        self, conn: AsyncConnection, source_id: str, names: Iterable[str]
    ) -> dict[str, tuple[str, str]]:
        """What a source called its resources: name to (type, hub id); unknown ones absent."""
        hashed = {self._ring.blind("alias", source_id, name): name for name in names}
        found: dict[str, tuple[str, str]] = {}
        keys = list(hashed)
        for start in range(0, len(keys), _CHUNK):
            rows = await conn.execute(
                select(source_alias.c.alias, source_alias.c.type_id, source_alias.c.id).where(
                    source_alias.c.source_id == source_id,
                    source_alias.c.alias.in_(keys[start : start + _CHUNK]),
                )
            )
            found |= {hashed[a]: (self._index.type_name(t), i) for a, t, i in rows}
        return found

    async def remember_aliases(
        self, conn: AsyncConnection, source_id: str, names: Mapping[str, tuple[str, str]]
    ) -> None:
        """Keep new names of a source; a known name is left as it is."""
        known = await self.aliases(conn, source_id, names)
        rows = [
            {
                "source_id": source_id,
                "alias": self._ring.blind("alias", source_id, name),
                "type_id": self._index.type_id(target[0]),
                "id": target[1],
            }
            for name, target in names.items()
            if name not in known
        ]
        if rows:
            await conn.execute(source_alias.insert(), rows)
