"""The audit trail in the database: append, read back, export. Nothing here changes a row.

Records go in unchained, in the transaction of what they record; the sequencer chains them
afterwards, so that no request waits for the head of a chain.
"""

import json
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import Row, Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.audit.chain import (
    StoredRow,
    row_hash,
)
from hie.audit.event import AuditRecord, Description, Hub, to_fhir
from hie.audit.tables import audit_event
from hie.crypto import DataKey
from hie.db import Database
from hie.kernel.ids import PersonId
from hie.keystore import KeyKind, KeyStore, data_key

#: Owner of the key for records that touch no person.
NOBODY = "audit"
EXPORT_PAGE = 500
#: Requests remembered as traced; more are not under way at once.
MOST_TRACED = 10_000
_CLEAR = ("recorded_us", "person_id", "organization", "action", "outcome", "subtype")
_SEALED = tuple(f.name for f in fields(AuditRecord) if f.name not in _CLEAR)
#: Where a question keeps an id that led nowhere, among the names of its detail.
_ID = "@id"
#: What transactions that write questions down share: `AuditLog.asked` waits for them.
_ASKING = "questions"
_EVENT_ID = re.compile(r"^[0-7][0-9a-f]{15}$")
_INSERT = audit_event.insert()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A record as the trail holds it.

    Attributes:
        pk: its key; a larger one was written later.
        seq: its place in the chain; None while the sequencer has not come by.
        is_erased: the person's key was destroyed; only what stands in clear is left.
    """

    pk: int
    seq: int | None
    record: AuditRecord
    is_erased: bool = False

    def to_fhir(self, hub: Hub) -> dict[str, Any]:
        """The AuditEvent, under the id `event_id` gives."""
        return to_fhir(self.record, event_id=event_id(self.pk), hub=hub)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A description that somebody asked by.

    Attributes:
        key_id: what seals it.
        person: whom it met, by this row; "" for nobody.
    """

    key_id: int
    text: str
    person: str


def event_id(pk: int) -> str:
    """The FHIR id of an audit row."""
    return f"{pk:016x}"


def pk_of(name: str) -> int | None:
    """The row of a FHIR id; None for what cannot be one."""
    return int(name, 16) if _EVENT_ID.match(name) else None


class AuditLog:
    """Writes audit records and reads them back.

    Args:
        hub: how the hub names itself in AuditEvents.
    """

    def __init__(self, db: Database, keys: KeyStore, hub: Hub | None = None) -> None:
        self._db = db
        self._keys = keys
        self._hub = hub or Hub()
        #: Requests that records were written of lately, perhaps in vain: the latest last.
        self.traced: OrderedDict[str, None] = OrderedDict()

    async def append(self, conn: AsyncConnection, records: Sequence[AuditRecord]) -> None:
        """Add records to the open transaction, in order.

        A `query` that may describe somebody is sealed apart, under a key of that question; of a
        question that met nobody so is all that is said of it.

        Raises:
            HieError, SQLAlchemyError: nothing was recorded; what the records are about must
                not happen either.
        """
        if not records:
            return
        asked = await self._question_keys(conn, records)
        persons = dict.fromkeys(r.person_id for r in records if r.person_id)
        keys = await self._keys.for_owners(conn, KeyKind.PERSON, persons) if persons else {}
        if any(not record.person_id for record in records):
            keys[""] = await self._keys.for_owner(conn, KeyKind.SYSTEM, NOBODY)
        agents = {r.user: self.agent(r.user) for r in records if r.user}
        rows = [
            _row(
                self._db.next_pk(),
                r,
                keys[r.person_id or ""],
                agents[r.user] if r.user else None,
                asked.get(str(_description(r))) if asked else None,
            )
            for r in records
        ]
        await conn.execute(_INSERT, rows)
        self.traced |= dict.fromkeys(r.request_id for r in records)
        while len(self.traced) > MOST_TRACED:
            self.traced.popitem(last=False)

    async def _question_keys(
        self, conn: AsyncConnection, records: Sequence[AuditRecord]
    ) -> dict[str, DataKey]:
        """A new key for each description among the records, the same for all that say it."""
        asked = dict.fromkeys(str(q) for r in records if (q := _description(r)) is not None)
        if not asked:
            return {}
        # INVARIANT: before any other lock here, so that an erasure waits for none of those.
        await self._db.share(conn, _ASKING)
        owners = {text: f"{self._db.next_pk():016x}" for text in asked}
        made = [self._keys.make(conn, KeyKind.QUESTION, owner) for owner in owners.values()]
        await conn.execute(data_key.insert(), made)
        keys = await self._keys.for_owners(conn, KeyKind.QUESTION, owners.values())
        return {text: keys[owner] for text, owner in owners.items()}

    async def asked(self) -> None:
        """Return once every question that is being written down now is committed.

        A row that is not committed is seen by nobody: without this a question could come to the
        trail behind whoever looks through it.
        """
        async with self._db.transaction() as conn:
            await self._db.serialize(conn, _ASKING)

    def agent(self, user: str) -> int:
        """What a row carries in clear of who sat at the screen."""
        return self._keys.blind64("audit-agent", user)

    async def access_log(
        self,
        conn: AsyncConnection,
        persons: Sequence[PersonId],
        *,
        since_us: int = 0,
        before_pk: int | None = None,
        limit: int = 100,
    ) -> tuple[Recorded, ...]:
        """What was done to a person's record, newest first.

        Args:
            conn: an open connection.
            persons: the person and those merged into it.
            since_us: leave out what is older.
            before_pk: only what was written before this row: the last `pk` of the page before.
            limit: page size.
        """
        table = audit_event.c
        query = (
            select(audit_event)
            .where(table.person_id.in_(persons), table.recorded_us >= since_us)
            .order_by(table.pk.desc())
            .limit(limit)
        )
        if before_pk is not None:
            query = query.where(table.pk < before_pk)
        return await self.read(conn, query)

    async def rows(self, conn: AsyncConnection, pks: Sequence[int]) -> dict[int, Recorded]:
        """Rows by key; the trail loses none."""
        found: dict[int, Recorded] = {}
        for start in range(0, len(pks), EXPORT_PAGE):
            wanted = pks[start : start + EXPORT_PAGE]
            page = await self.read(conn, select(audit_event).where(audit_event.c.pk.in_(wanted)))
            found |= {recorded.pk: recorded for recorded in page}
        return found

    async def export(
        self, *, since_us: int = 0, until_us: int | None = None
    ) -> AsyncIterator[bytes]:
        """AuditEvents as NDJSON, one line each, oldest first.

        Args:
            since_us: first instant taken.
            until_us: first instant no longer taken; None = all there is.
        """
        table = audit_event.c
        query = select(audit_event).where(table.recorded_us >= since_us)
        if until_us is not None:
            query = query.where(table.recorded_us < until_us)
        query = query.order_by(table.pk).limit(EXPORT_PAGE)
        last = -1
        while True:
            async with self._db.reading() as conn:
                page = await self.read(conn, query.where(table.pk > last))
            for recorded in page:
                yield json.dumps(recorded.to_fhir(self._hub)).encode() + b"\n"
            if len(page) < EXPORT_PAGE:
                return
            last = page[-1].pk

    async def read(self, conn: AsyncConnection, query: Select[Any]) -> tuple[Recorded, ...]:
        """The rows of a statement over the table, opened."""
        rows = (await conn.execute(query)).all()
        named = {row.key_id for row in rows} | {row.question_key for row in rows}
        keys = await self._keys.kept(conn, named - {None})
        return tuple(
            _recorded(row, keys.get(row.key_id), keys.get(row.question_key)) for row in rows
        )

    async def questions(
        self, conn: AsyncConnection, *, after: int, limit: int
    ) -> tuple[list[Question], int | None]:
        """Descriptions that still open, in the order they were asked, and the last row looked at.

        The row is None where there was none.

        Args:
            conn: an open connection.
            after: the last row of the page before; -1 = from the first on.
            limit: rows looked at.
        """
        table = audit_event.c
        query = (
            select(table.pk, table.person_id, table.question_key, table.question)
            .where(table.question_key.is_not(None), table.pk > after)
            .order_by(table.pk)
            .limit(limit)
        )
        rows = (await conn.execute(query)).all()
        keys = await self._keys.kept(conn, {row.question_key for row in rows})
        found = [
            Question(
                key_id=row.question_key,
                text=_text_of(_asked(row, key)),
                person=row.person_id or "",
            )
            for row in rows
            if (key := keys.get(row.question_key)) is not None
        ]
        return found, rows[-1].pk if rows else None


def _description(record: AuditRecord) -> Description | None:
    """What a record says of somebody in a client's words: its query, or an id that led nowhere."""
    for said in (record.detail.get("query"), record.resource_id):
        if isinstance(said, Description):
            return said
    return None


def _row(
    pk: int, record: AuditRecord, key: DataKey, agent: int | None, asked: DataKey | None
) -> dict[str, Any]:
    said = {name: getattr(record, name) for name in _SEALED}
    apart: dict[str, Any] = {}
    if asked is not None and _description(record) is not None:
        # Of a question that met nobody the reason, too, may be about whom it describes.
        names = {"query"} & record.detail.keys() if record.person_id else set(record.detail)
        told = {name: record.detail[name] for name in sorted(names)}
        said["detail"] = {n: v for n, v in record.detail.items() if n not in told}
        if isinstance(record.resource_id, Description):
            told[_ID] = said["resource_id"]
            said["resource_id"] = ""
        sealed = asked.seal(
            json.dumps(told).encode(), table="audit_event", column="question", row=str(pk)
        )
        apart = {"question_key": asked.id, "question": sealed}
    # ASCII JSON: a query string may hold what UTF-8 cannot.
    stored = StoredRow(
        pk=pk,
        key_id=key.id,
        sealed=key.seal(
            json.dumps(said).encode(), table="audit_event", column="sealed", row=str(pk)
        ),
        agent=agent,
        **apart,
        **{name: getattr(record, name) for name in _CLEAR},
    )
    return {**asdict(stored), "row_hash": row_hash(stored)}


def _text_of(told: Mapping[str, Any]) -> str:
    """A question as the words that may describe somebody."""
    return str(told[_ID] if _ID in told else told.get("query", ""))


def _asked(row: Any, key: DataKey) -> dict[str, Any]:
    opened = key.open(row.question, table="audit_event", column="question", row=str(row.pk))
    found: dict[str, Any] = json.loads(opened)
    if isinstance(found.get("query"), str):
        found["query"] = Description(found["query"])
    return found


def _recorded(row: Row[Any], key: DataKey | None, asked: DataKey | None) -> Recorded:
    clear = {name: getattr(row, name) for name in _CLEAR}
    if key is None:
        record = AuditRecord(**clear | {"subtype": row.subtype or ""})
        return Recorded(pk=row.pk, seq=row.chain_seq, record=record, is_erased=True)
    opened = key.open(row.sealed, table="audit_event", column="sealed", row=str(row.pk))
    sealed = json.loads(opened)  # the first form has the subtype in it
    if asked is not None:
        told = _asked(row, asked)
        if _ID in told:
            sealed["resource_id"] = told.pop(_ID)
        sealed["detail"] = told | sealed["detail"]
    record = AuditRecord(**clear | sealed)
    return Recorded(pk=row.pk, seq=row.chain_seq, record=record)
