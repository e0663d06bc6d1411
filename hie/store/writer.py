"""Write path of the repository: versions, index rows and identity changes.

Every function works in the caller's open transaction and handles a batch with a fixed
number of statements.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    BigInteger,
    Row,
    SmallInteger,
    String,
    Table,
    bindparam,
    delete,
    exists,
    literal,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.crypto import DataKey, KeyRing
from hie.db import Database
from hie.inserts import Values, insert
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import PersonId, SourceRecordId
from hie.keystore import KeyKind, KeyStore
from hie.padding import padded
from hie.store.body import encode, filed
from hie.store.index import SearchIndex
from hie.store.relink import Relinker
from hie.store.residual import DOCUMENT_TYPES
from hie.store.rows import FORMER, SUPPORTING, IndexRows, Rows, clear_rows
from hie.store.tables import (
    compartment,
    resource,
    resource_version,
    source_alias,
    sp_ref,
)

_CHUNK = 500
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
_ALIASES = select(source_alias.c.alias, source_alias.c.type_id, source_alias.c.id).where(
    source_alias.c.source_id == bindparam("source", type_=String),
    source_alias.c.alias.in_(bindparam("aliases", type_=String, expanding=True)),
)
_CHANGED = tuple(f"b_{column.name}" for column in resource.columns)
_CHANGE = (
    update(resource)
    .where(resource.c.pk == bindparam("b_pk"))
    .values({c.name: bindparam(f"b_{c.name}") for c in resource.columns if c.name != "pk"})
)
_ALONE = delete(compartment).where(
    compartment.c.resource_pk.in_(bindparam("pks", type_=BigInteger, expanding=True))
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
        raised_mask: of its labels those that its content does not bring: a change of the lists
            never takes them away.
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
    raised_mask: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of one new version; an identical body makes none."""

    type: str
    id: str
    version: int
    is_created: bool
    is_changed: bool


@dataclass(slots=True)
class Batch:
    """What one transaction writes.

    Attributes:
        new, versions: rows of `resource` and `resource_version`.
        changed: rows of `resource` in place of those there are.
        restamped: for `_RESTAMP`.
        others: rows of `compartment`.
        index: rows of the search index, and the texts they name.
    """

    new: list[Values] = field(default_factory=list)
    changed: list[Values] = field(default_factory=list)
    restamped: list[dict[str, Any]] = field(default_factory=list)
    versions: list[Values] = field(default_factory=list)
    others: list[Values] = field(default_factory=list)
    index: Rows = field(default_factory=lambda: defaultdict(dict))
    texts: dict[str, str] = field(default_factory=dict)

    def rows(self) -> dict[Table, Collection[Values]]:
        """What is to be inserted."""
        kept = {resource: self.new, resource_version: self.versions, compartment: self.others}
        return {**kept, **self.index}


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
        super().__init__(index.type_id("Group"))
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
        batch = Batch()
        written = [
            self._weighed(batch, item, stored.get(self._name(item)), keys[item.key_owner], now_us)
            for item in items
        ]
        await self._apply(conn, batch)
        return written

    def _name(self, item: NewVersion) -> tuple[int, str]:
        return self._index.type_id(item.type), item.id

    def _weighed(
        self, batch: Batch, item: NewVersion, old: Row[Any] | None, key: DataKey, now_us: int
    ) -> Written:
        """What becomes of one new version; its rows go into the batch."""
        body = b"" if item.is_deleted else self._encode(item)
        # The body says neither whose it is nor its labels: a change of these is one too.
        whose = f"|{item.label_mask}|{[record for record, _ in item.patients]}"
        digest = self._ring.fingerprint(body + whose.encode())
        is_changed = old is None or old.content_hash != digest or old.deleted
        version = 1 if old is None else old.version + (1 if is_changed else 0)
        if is_changed:
            pk = self._db.next_pk() if old is None else old.pk
            row = self._resource_row(item, pk, version, now_us, digest)
            (batch.new if old is None else batch.changed).append(row)
            batch.versions.append(self._version_row(item, row, key, body))
            self._add_index(batch, item, pk)
        elif old is not None and item.event_us is not None:
            stamps = {"b_pk": old.pk, "b_event_us": item.event_us, "b_sent_us": item.sent_us}
            batch.restamped.append(stamps)
        return Written(
            type=item.type,
            id=item.id,
            version=version,
            is_created=old is None or bool(old.deleted),
            is_changed=is_changed,
        )

    def _version_row(self, item: NewVersion, row: Values, key: DataKey, body: bytes) -> Values:
        """The version's row with its sealed body, as `resource_version` has its columns."""
        pk, type_id, _, version, body_version, last_updated_us, deleted, *_ = row
        place = f"{item.type}/{item.id}/{version}"
        whole = filed(body, [record for record, _ in item.patients])
        sealed = key.seal(whole, table="resource_version", column="body", row=place)
        return (
            *(pk, version, body_version, last_updated_us, deleted, item.source_id),
            *(item.message_id, item.label_mask, key.id, sealed, type_id, item.raised_mask),
        )

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
            bound = {"types": padded(types), "ids": padded(ids[start : start + _CHUNK])}
            rows = await conn.execute(_STORED, bound)
            found |= {(row.type_id, row.id): row for row in rows}
        return found

    def _resource_row(
        self, item: NewVersion, pk: int, version: int, now_us: int, digest: bytes
    ) -> Values:
        """The row of `resource`, as it has its columns."""
        lo_us, hi_us = self._index.clinical_period(item.resource) or (None, None)
        record, person = item.patients[0] if item.patients else (None, None)
        return (
            *(pk, self._index.type_id(item.type), item.id, version, version, now_us),
            *(item.is_deleted, person, record, item.source_id, item.message_id),
            *(item.label_mask, lo_us, hi_us, digest),
            *(item.event_us, item.sent_us, item.status_rank),
        )

    def _add_index(self, batch: Batch, item: NewVersion, pk: int) -> None:
        persons = [person for _, person in item.patients]
        batch.others += [
            (pk, ordinal, person, record)
            for ordinal, (record, person) in enumerate(item.patients[1:], start=1)
        ]
        self.rows.add(batch.index, pk, item.type, item.resource, persons, batch.texts)

    async def _apply(self, conn: AsyncConnection, batch: Batch) -> None:
        if batch.changed:
            pks = [row[0] for row in batch.changed]
            # The resource first: who indexes it again (`hie.store.rebuild`) holds it so.
            changes = [dict(zip(_CHANGED, row, strict=True)) for row in batch.changed]
            await conn.execute(_CHANGE, changes)
            await self._keep_former(
                conn, [row[0] for row in batch.changed if self._is_document(row)]
            )
            await clear_rows(conn, pks)
            for start in range(0, len(pks), _CHUNK):
                await conn.execute(_ALONE, {"pks": padded(pks[start : start + _CHUNK])})
        await self.rows.keep_texts(conn, batch.texts)
        await self._insert(conn, batch.rows())
        if batch.restamped:
            await conn.execute(_RESTAMP, batch.restamped)

    async def _insert(
        self, conn: AsyncConnection, rows: Mapping[Table, Collection[Values]]
    ) -> None:
        await insert(conn, rows)

    def _is_document(self, row: Values) -> bool:
        return row[1] in self._documents

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
            asked = {"source": source_id, "aliases": padded(keys[start : start + _CHUNK])}
            rows = await conn.execute(_ALIASES, asked)
            found |= {hashed[a]: (self._index.type_name(t), i) for a, t, i in rows}
        return found

    async def remember_aliases(
        self, conn: AsyncConnection, source_id: str, names: Mapping[str, tuple[str, str]]
    ) -> None:
        """Keep new names of a source; a known name is left as it is."""
        known = await self.aliases(conn, source_id, names)
        rows = [
            (
                source_id,
                self._ring.blind("alias", source_id, name),
                self._index.type_id(target[0]),
                target[1],
            )
            for name, target in names.items()
            if name not in known
        ]
        await insert(conn, {source_alias: rows})
