"""Which Consents the patient or a privacy officer verified, and whom to ask about the rest.

A verification is of a content: what is changed afterwards awaits one of its own. Until then a
Consent that would widen access changes nothing, and a task asks a privacy officer.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from consent.service import ConsentService
from hie.consents.model import Act, Done, Verdicts
from hie.consents.repository import ActRepository
from hie.crypto import KeyRing
from hie.kernel.fhir import FhirJson
from hie.store.loader import Stored
from hie.store.writer import NewVersion, Written
from hie.tasks.model import Occurrence, Outcome, TaskKind, TaskState
from hie.tasks.service import Tasks

#: Topic of the tasks that ask whether a Consent may widen access.
VERIFY: Final = "verify"
#: What the hub fills in or moves, which is no part of what was agreed.
_APART: Final = frozenset({"id", "meta", "patient"})


class Verification(Protocol):
    """What the placer asks about Consents."""

    async def known(self, conn: AsyncConnection, consent_ids: Collection[str]) -> "Known":
        """What was verified of these Consents."""
        ...

    async def ask(
        self,
        conn: AsyncConnection,
        versions: Sequence[NewVersion],
        written: Sequence[Written],
        now_us: int,
    ) -> None:
        """Ask for the verification of new Consents that would widen access."""
        ...


@dataclass(frozen=True, slots=True)
class Known:
    """Verdicts about contents, by the hash that the hub keeps of them."""

    ring: KeyRing | None = None
    verdicts: Verdicts = Verdicts()  # noqa: RUF009 - frozen, and empty

    def covers(self, consent_id: str, resource: FhirJson) -> bool:
        """Whether just this content of a Consent was verified."""
        return self.of(consent_id, resource) is Act.VERIFIED

    def of(self, consent_id: str, resource: FhirJson) -> Act | None:
        """What was said of a content; None where nobody spoke."""
        if self.ring is None or not self.verdicts.by_content:
            return None
        return self.verdicts.of(consent_id, content_hash(self.ring, resource))

    def verified(self, consents: Iterable[Stored]) -> frozenset[str]:
        """Ids of the Consents whose current content was verified."""
        return frozenset(one.id for one in consents if self.covers(one.id, one.resource))


class Unasked:
    """Nothing was verified, nobody is asked: a placer without a privacy office."""

    async def known(self, conn: AsyncConnection, consent_ids: Collection[str]) -> Known:
        """Nothing."""
        return Known()

    async def ask(
        self,
        conn: AsyncConnection,
        versions: Sequence[NewVersion],
        written: Sequence[Written],
        now_us: int,
    ) -> None:
        """Nobody."""


def content_hash(ring: KeyRing, resource: FhirJson) -> bytes:
    """Keyed hash of what a Consent says, whoever's record it is filed under now."""
    said = {name: value for name, value in resource.items() if name not in _APART}
    return ring.fingerprint(
        json.dumps(said, sort_keys=True, default=str, separators=(",", ":")).encode()
    )


class Verifications:
    """Keeps verdicts, opens and closes the tasks that ask for them."""

    def __init__(
        self, acts: ActRepository, consent: ConsentService, tasks: Tasks, ring: KeyRing
    ) -> None:
        self._acts = acts
        self._consent = consent
        self._tasks = tasks
        self._ring = ring

    def hash_of(self, resource: FhirJson) -> bytes:
        """Keyed hash of what a Consent says."""
        return content_hash(self._ring, resource)

    async def known(self, conn: AsyncConnection, consent_ids: Collection[str]) -> Known:
        """What was verified of these Consents."""
        if not consent_ids:
            return Known()
        return Known(self._ring, await self._acts.verdicts(conn, consent_ids))

    async def ask(
        self,
        conn: AsyncConnection,
        versions: Sequence[NewVersion],
        written: Sequence[Written],
        now_us: int,
    ) -> None:
        """Open a task for each new Consent that awaits verification; close what is settled."""
        fresh = {
            one.id: (one, done)
            for one, done in zip(versions, written, strict=True)
            if one.type == "Consent" and done.is_changed and one.patients
        }
        if not fresh:
            return
        known = await self.known(conn, list(fresh))
        past = await self._acts.of(conn, list(fresh))
        awaited = []
        for consent_id, (one, done) in fresh.items():
            asked = past.get(consent_id, [])
            await self.settle(conn, asked, actor="hub", note="it was changed", now_us=now_us)
            if not one.is_deleted and self._awaits(one, done.version, known):
                awaited.append(await self._asked(conn, one, done.version, now_us))
        await self._acts.add(conn, awaited)

    async def settle(
        self, conn: AsyncConnection, past: Sequence[Done], *, actor: str, note: str, now_us: int
    ) -> None:
        """Close the tasks that asked about a Consent."""
        for task_id in {one.task_id for one in past if one.task_id is not None}:
            task = await self._tasks.get(conn, task_id, is_locked=True)
            if task.state is TaskState.OPEN:
                await self._tasks.close(
                    conn, task, Outcome.RESOLVED, actor=actor, note=note, now_us=now_us
                )

    def _awaits(self, one: NewVersion, version: int, known: Known) -> bool:
        recorded = _Recorded(one.id, version, one.source_id, one.resource)
        read = self._consent.directive(recorded, is_verified=known.covers(one.id, one.resource))
        return read.ignored == "awaits-verification"

    async def _asked(
        self, conn: AsyncConnection, one: NewVersion, version: int, now_us: int
    ) -> Done:
        record = str(one.patients[0][0])
        hashed = self.hash_of(one.resource)
        noted = await self._tasks.note(
            conn,
            [
                Occurrence(
                    kind=TaskKind.CONSENT,
                    key=(VERIFY, one.id, hashed.hex()),
                    at_us=now_us,
                    source_id=one.source_id,
                    record_id=record,
                    topic=VERIFY,
                    detail=_told(one),
                )
            ],
        )
        return Done(
            id=self._acts.next_id(),
            consent_id=one.id,
            version=version,
            act=Act.AWAITED,
            at_us=now_us,
            actor="hub",
            record_id=record,
            content_hash=hashed,
            task_id=noted[0].task_id,
        )


def _told(one: NewVersion) -> Mapping[str, str]:
    return {
        "asks": "to share",
        "effect": "none, until a privacy officer or the patient verifies it",
        "consent": f"Consent/{one.id}",
    }


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A Consent about to be stored, as the decision reads one."""

    id: str
    version: int
    source_id: str
    resource: FhirJson
