"""Receipts of Consents: made after the commit, kept as documents of the patient.

A version's receipt is owed from the transaction that makes the version, so that none is lost; it
is made outside of any, for setting a page takes longer than a transaction may.
"""

import asyncio
import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.audit.event import AuditRecord
from hie.consents import receipt as paper
from hie.consents import repository
from hie.consents.content import period_of
from hie.consents.model import Act, Done, Receipt, patient_place
from hie.consents.plain import PlainWords, lines, organizations_of, purposes_of
from hie.crypto import KeyRing
from hie.flow.consent_list import names_in
from hie.flow.consent_parts import Parts
from hie.flow.consent_rules import CONSENT
from hie.flow.contents import named_contents
from hie.flow.placement import Origin, Placement
from hie.kernel.clock import SECOND_US, instant
from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import MessageId, SourceRecordId
from hie.pdf import pdf_of
from hie.store.loader import Stored
from hie.store.query import Served
from hie.store.residual import Residual

MEDIA_TYPE: Final = "application/pdf"
#: A receipt nobody asks for is made once so long has passed: who clicks twice, waits for neither.
SETTLED_US: Final = 30 * SECOND_US
#: Receipts made in one run of the job.
AT_ONCE: Final = 20
_SEAL: Final = "consent-receipt"
#: Acts that make a version or its effect; the last of a version is what its receipt tells.
_TOLD: Final = frozenset(Act) - {Act.AWAITED, Act.REJECTED}
_log = structlog.get_logger(__name__)


def signing_key(ring: KeyRing) -> Ed25519PrivateKey:
    """The key that signs the receipts of a hub; the same as long as its keys are."""
    return Ed25519PrivateKey.from_private_bytes(ring.sealing_key(_SEAL).secret)


class Receipts:
    """Makes receipts that are owed."""

    def __init__(self, parts: Parts, words: PlainWords) -> None:
        self._parts = parts
        self._words = words
        self._is_told = False
        self._key = signing_key(parts.ring)

    @property
    def public_key(self) -> Ed25519PublicKey:
        """Whoever has it can check a receipt."""
        return self._key.public_key()

    async def work(self) -> int:
        """Make what is owed; how many were made.

        Where the machine cannot make PDF, what is owed stays owed, and the log says so once.
        """
        before_us = self._parts.clock.now_us() - SETTLED_US
        async with self._parts.db.reading() as conn:
            owed = await repository.owed(conn, before_us, AT_ONCE)
        made = 0
        for one in owed:
            try:
                made += await self._make(one)
            except HieError as error:
                if error.category is not Category.FAULT:
                    raise
                if not self._is_told:
                    self._is_told = True
                    _log.warning("receipts.not_made", error=error.text)
                break
        return made

    async def of(self, consent_id: str, version: int, now_us: int) -> Receipt:
        """The receipt of a version, made now where there is none.

        Raises:
            HieError: NOT_FOUND where there is no such version.
        """
        async with self._parts.db.transaction() as conn:
            await repository.owe(conn, consent_id, version, now_us)
        known = await self._known(consent_id, version)
        if known is not None and known.made_us is None:
            await self._make(known)
            known = await self._known(consent_id, version)
        if known is None:
            raise HieError(Category.NOT_FOUND, "there is no such version of the Consent")
        return known

    async def file(self, made: Receipt) -> bytes:
        """The bytes of a receipt; whoever hands them out puts that on record.

        Raises:
            HieError: NOT_FOUND where it was erased.
        """
        async with self._parts.db.reading() as conn:
            document = ("DocumentReference", made.document_id or "")
            about = (await self._parts.repository.load(conn, [document])).get(document)
            names = named_contents(about.resource) if about else set()
            found = await self._parts.repository.load(conn, [("Binary", one) for one in names])
        for stored in found.values():
            return base64.b64decode(str(stored.resource.get("data", "")))
        raise HieError(Category.NOT_FOUND, "there is no such receipt any more")

    async def _known(self, consent_id: str, version: int) -> Receipt | None:
        async with self._parts.db.reading() as conn:
            found = await repository.receipts(conn, [consent_id])
        return found.get((consent_id, version))

    async def _make(self, owed: Receipt) -> int:
        async with self._parts.db.reading() as conn:
            found = await self._found(conn, owed)
        if found is None:
            async with self._parts.db.transaction() as conn:
                await repository.cancel(conn, owed)
            return 0
        stored, page = found
        name = f"{owed.consent_id}/{owed.version}"
        pdf = await asyncio.to_thread(pdf_of, page, name)
        file = paper.signed(pdf, self._key)
        async with self._parts.db.transaction() as conn:
            await self._keep(conn, owed, stored, file)
        return 1

    async def _found(self, conn: AsyncConnection, owed: Receipt) -> tuple[Stored, str] | None:
        """The Consent and its receipt as a page; None where it was erased."""
        parts = self._parts
        stored = (await parts.repository.load(conn, [(CONSENT, owed.consent_id)])).get(
            (CONSENT, owed.consent_id)
        )
        if stored is None or stored.person_id is None or not stored.source_record_id:
            return None
        own = Residual(self_person=stored.person_id)
        versions = await parts.repository.versions(
            conn, own, CONSENT, owed.consent_id, only=owed.version, count=1
        )
        if not versions or versions[0].is_deleted:
            return None
        acts = (await parts.acts.of(conn, [owed.consent_id])).get(owed.consent_id, [])
        content = await self._content(conn, versions[0], owed, acts, stored)
        return stored, paper.html(content, self._words)

    async def _content(
        self,
        conn: AsyncConnection,
        served: Served,
        owed: Receipt,
        acts: Sequence[Done],
        stored: Stored,
    ) -> paper.Content:
        consent: FhirJson = orjson.loads(served.body)
        mine = [one for one in acts if one.version == owed.version and one.act in _TOLD]
        words, say = self._words, self._words.sections["receipt"]
        names = await names_in(self._parts, conn, [consent])
        last = mine[-1].act if mine else Act.RECORDED
        first = next((one.act for one in mine if one.act is not Act.VERIFIED), last)
        told = Act.VERIFIED if last is Act.VERIFIED and first is last else first
        noted: dict[str, str] = {}
        for one in mine:
            noted |= one.note
        waits = self._parts.consent.directive(
            stored, is_verified=any(one.act is Act.VERIFIED for one in mine)
        )
        is_waiting = owed.version == stored.version and waits.ignored == "awaits-verification"
        said = lines(consent, names, words, is_over=self._parts.is_over(consent))
        return paper.Content(
            consent_id=owed.consent_id,
            version=owed.version,
            act=say[told.value] + (f" {say['waits']}" if is_waiting else ""),
            said=said,
            parties=await self._parties(conn, consent, stored, names),
            papers=self._papers(noted, mine, served, say),
            consent_hash=paper.hash_of({n: v for n, v in consent.items() if n != "meta"}),
            key_id=paper.key_id(self.public_key),
        )

    async def _parties(
        self,
        conn: AsyncConnection,
        consent: FhirJson,
        stored: Stored,
        names: Mapping[str, str],
    ) -> list[tuple[str, str]]:
        words, say = self._words, self._words.sections["receipt"]
        record = ("Patient", str(stored.source_record_id))
        patient = (await self._parts.repository.load(conn, [record])).get(record)
        demographics = patient.resource if patient else {}
        named = [names.get(one, one) for one in organizations_of(consent)]
        start, end = period_of(consent)
        both = " - ".join((start or words.say("open_start"), end or words.say("open_end")))
        return [
            (say["patient"], _name_of(demographics)),
            (say["born"], str(demographics.get("birthDate", ""))),
            (say["organizations"], ", ".join(named) or words.say("permit_anyone")),
            (say["purposes"], ", ".join(words.word("purposes", p) for p in purposes_of(consent))),
            (say["holds"], both),
        ]

    def _papers(
        self,
        noted: Mapping[str, str],
        mine: Sequence[Done],
        served: Served,
        say: Mapping[str, str],
    ) -> list[tuple[str, str]]:
        actor = mine[0].actor if mine else "source"
        return [
            (say["at"], instant(served.last_updated_us)),
            (say["by"], self._words.word("by", actor.partition(":")[0])),
            (say["signed"], noted.get("signed_by", "")),
            (say["signed_on"], noted.get("signed_on", "")),
            (say["witness"], noted.get("witness", "")),
            (say["reason"], noted.get("reason", "")),
        ]

    async def _keep(
        self, conn: AsyncConnection, owed: Receipt, stored: Stored, file: bytes
    ) -> None:
        """File the receipt with the Consent's record, and note that it was made."""
        parts = self._parts
        await parts.db.serialize(conn, f"receipt {owed.consent_id}")
        now = await repository.receipts(conn, [owed.consent_id])
        if now.get((owed.consent_id, owed.version), owed).made_us is not None:
            return  # another process made it meanwhile
        now_us = parts.clock.now_us()
        record = SourceRecordId(str(stored.source_record_id))
        place = patient_place(record)
        key = (place, "receipt", owed.consent_id, str(owed.version))
        document, content = (parts.ring.blind("id", *key, kind) for kind in ("paper", "file"))
        digest = hashlib.sha256(file).hexdigest()
        origin = Origin(source_id=place, message_id=MessageId(0), now_us=now_us)
        about = _document(self._words, owed, record, content, file, digest, now_us)
        placements = [
            Placement(type="DocumentReference", id=document, resource=about, owner=record),
            Placement(type="Binary", id=content, resource=_binary(file), owner=record),
        ]
        placements = [replace(one, label_mask=stored.label_mask) for one in placements]
        await parts.placer.place(conn, origin, placements)
        done = replace(owed, made_us=now_us, document_id=document, sha256=digest)
        await repository.made(conn, done)
        audited = AuditRecord(
            recorded_us=now_us,
            action="C",
            subtype="create",
            person_id=stored.person_id,
            resource_type="DocumentReference",
            resource_id=document,
            detail={"stored": [f"DocumentReference/{document}/_history/1"]},
        )
        await parts.audit.append(conn, [audited])


def _name_of(patient: FhirJson) -> str:
    names = patient.get("name")
    first = names[0] if isinstance(names, list) and names and isinstance(names[0], dict) else {}
    parts = [*(first.get("given") or ()), first.get("family", "")]
    return str(first.get("text") or " ".join(str(one) for one in parts if one))


def _binary(file: bytes) -> FhirJson:
    return {
        "resourceType": "Binary",
        "contentType": MEDIA_TYPE,
        "data": base64.b64encode(file).decode(),
    }


def _document(  # noqa: PLR0913, PLR0917 - what a receipt's document says
    words: PlainWords,
    owed: Receipt,
    record: str,
    content: str,
    file: bytes,
    digest: str,
    now_us: int,
) -> FhirJson:
    title = words.sections["receipt"]["title"]
    sha1 = hashlib.sha1(file, usedforsecurity=False).digest()  # what R4 puts into `hash`
    return {
        "resourceType": "DocumentReference",
        "masterIdentifier": {"system": "urn:hie:sha256", "value": digest},
        "status": "current",
        "type": {
            "coding": [
                {
                    "system": "http://loinc.org",
                    "code": "57016-8",
                    "display": "Privacy policy acknowledgement Document",
                }
            ],
            "text": title,
        },
        "subject": {"reference": f"Patient/{record}"},
        "date": instant(now_us),
        "description": f"{title}, Consent/{owed.consent_id}, version {owed.version}",
        "content": [
            {
                "attachment": {
                    "contentType": MEDIA_TYPE,
                    "language": words.language,
                    "url": f"Binary/{content}",
                    "size": len(file),
                    "hash": base64.b64encode(sha1).decode(),
                    "title": title,
                    "creation": instant(now_us),
                }
            }
        ],
        "context": {"related": [{"reference": f"{CONSENT}/{owed.consent_id}"}]},
    }
