"""Relationships written down: names, numbers, papers and reasons sealed, the rest in clear."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.crypto import DataKey, KeyRing
from hie.db import Database
from hie.keystore import KeyKind, KeyStore
from hie.proxies import repository
from hie.proxies.model import Relationship
from hie.proxies.repository import Sealed

_TABLE: Final = "proxy_relationship"
_EVENTS: Final = "proxy_event"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """A document that a relationship rests on.

    Attributes:
        reference: where the paper is kept: a docket or file number.
        issued: a FHIR date; "" = not said.
        sha256: of the scan, in hexadecimal digits; "" where none was sent.
        content_type: of the scan.
    """

    title: str
    reference: str
    issued: str = ""
    sha256: str = ""
    content_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """What is sealed of a relationship.

    Attributes:
        name: of the proxy, as it is written on the paper.
        telecom: telephone numbers and addresses.
        code_hash: of the word by which whoever was appointed accepts; "" once used.
    """

    name: str
    telecom: tuple[str, ...] = ()
    papers: tuple[Paper, ...] = ()
    code_hash: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A relationship with its detail opened."""

    plain: Relationship
    detail: Detail
    told: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """What somebody did to a relationship, and why."""

    at_us: int
    action: str
    actor: str
    words: str


class ProxyBook:
    """Writes and opens relationships; the caller opens the transaction."""

    def __init__(self, db: Database, keys: KeyStore, ring: KeyRing) -> None:
        self._db = db
        self._keys = keys
        self._ring = ring

    def fresh_id(self) -> str:
        """An id that no other relationship has."""
        return self._ring.blind("relationship", str(self._db.next_pk()))

    async def add(
        self, conn: AsyncConnection, found: Relationship, detail: Detail, scan: bytes = b""
    ) -> None:
        """A new relationship, under the key of whom it is about."""
        key = await self._keys.for_owner(conn, KeyKind.PERSON, found.person)
        values = asdict(found) | {"person_id": found.person, "proxy_id": found.proxy}
        values.pop("person"), values.pop("proxy")
        values |= {"custody": found.custody.value, "told": "", "key_id": key.id}
        values |= {"detail": _sealed(key, found.id, detail), "document": None}
        if scan:
            values["document"] = key.seal(scan, table=_TABLE, column="document", row=found.id)
        await repository.add(conn, values)

    async def change(
        self,
        conn: AsyncConnection,
        old: Sealed,
        *,
        detail: Detail | None = None,
        scan: bytes = b"",
        **values: Any,
    ) -> None:
        """Set columns of a relationship, and what is sealed of it."""
        if detail is not None or scan:
            key = await self._keys.by_id(conn, old.key_id)
            if detail is not None:
                values["detail"] = _sealed(key, old.plain.id, detail)
            if scan:
                row = old.plain.id
                values["document"] = key.seal(scan, table=_TABLE, column="document", row=row)
        await repository.change(conn, old.plain.id, **values)

    async def note(self, conn: AsyncConnection, found: Relationship, happened: Happened) -> None:
        """Keep what somebody did, and why."""
        key = await self._keys.for_owner(conn, KeyKind.PERSON, found.person)
        pk = self._db.next_pk()
        words = happened.words.encode()
        values = {
            "id": pk,
            "relationship_id": found.id,
            "at_us": happened.at_us,
            "action": happened.action,
            "actor": happened.actor[:200],
            "key_id": key.id,
            "words": key.seal(words, table=_EVENTS, column="words", row=str(pk)),
        }
        await repository.add_event(conn, values)

    async def open(self, conn: AsyncConnection, found: Sequence[Sealed]) -> list[Shown]:
        """Relationships with their details; those of erased persons are left out."""
        keys = await self._keys.kept(conn, {one.key_id for one in found})
        return [
            Shown(plain=one.plain, detail=_opened(keys[one.key_id], one), told=one.told)
            for one in found
            if one.key_id in keys
        ]

    async def scan(self, conn: AsyncConnection, relationship: str) -> bytes | None:
        """The scan of a relationship's paper; None where there is none."""
        found = await repository.document(conn, relationship)
        if found is None:
            return None
        key = await self._keys.by_id(conn, found[0])
        return key.open(found[1], table=_TABLE, column="document", row=relationship)

    async def history(self, conn: AsyncConnection, relationship: str) -> list[Happened]:
        """What was done to a relationship, oldest first."""
        events = await repository.events(conn, relationship)
        keys = await self._keys.by_ids(conn, {event.key_id for event in events})
        return [
            Happened(
                at_us=event.at_us,
                action=event.action,
                actor=event.actor,
                words=keys[event.key_id]
                .open(event.words, table=_EVENTS, column="words", row=str(event.id))
                .decode(),
            )
            for event in events
        ]


def with_paper(detail: Detail, paper: Paper | None) -> Detail:
    """The detail with one paper more."""
    return detail if paper is None else replace(detail, papers=(*detail.papers, paper))


def _sealed(key: DataKey, relationship: str, detail: Detail) -> bytes:
    plain = orjson.dumps(asdict(detail))
    return key.seal(plain, table=_TABLE, column="detail", row=relationship)


def _opened(key: DataKey, found: Sealed) -> Detail:
    plain = key.open(found.detail, table=_TABLE, column="detail", row=found.plain.id)
    said = json.loads(plain)
    return Detail(
        name=said["name"],
        telecom=tuple(said["telecom"]),
        papers=tuple(Paper(**paper) for paper in said["papers"]),
        code_hash=said["code_hash"],
    )
