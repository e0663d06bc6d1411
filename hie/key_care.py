"""Operations on keys, on record: what wraps what, rotation, retirement."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from adapters import wrapped
from hie import keystore
from hie.audit.event import AuditRecord
from hie.audit.repository import AuditLog
from hie.crypto import KeyRing
from hie.db import Database
from hie.kernel.clock import Clock
from hie.keystore import KeyStore
from hie.rewrap import LACKING, Progress, Rewrap


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyReport:
    """Where the keys are and what they wrap.

    Attributes:
        current: the wrapping key that new data keys are wrapped by.
        since: every wrapping key, and when it became current; 0 = not written down.
        counts: wrapped rows by what they are and by wrapping key.
        kinds: data keys by whose data they seal.
        destroyed: data keys destroyed by erasures; last_us: when the last was, 0 = never.
        blind, audit: fingerprints, to compare two machines by.
    """

    provider: str
    current: str
    since: Mapping[str, int]
    counts: Mapping[str, Mapping[str, int]]
    kinds: Mapping[str, int]
    destroyed: int
    last_us: int
    blind: str
    audit: str

    @property
    def is_whole(self) -> bool:
        """Whether everything that is wrapped can be unwrapped."""
        return not any(found.get(LACKING) for found in self.counts.values())

    @property
    def waiting(self) -> int:
        """Rows that an older key wraps."""
        known = (self.current, LACKING)
        return sum(n for found in self.counts.values() for k, n in found.items() if k not in known)

    def advice(self) -> list[str]:
        """What is to be done, in words."""
        lacking = sum(found.get(LACKING, 0) for found in self.counts.values())
        told = []
        if lacking:
            told.append(
                f"{lacking} rows are wrapped by a key that the provider lacks: put it back, what "
                "they seal cannot be opened without it"
            )
        if self.waiting:
            told.append(f"{self.waiting} rows wait for the current key: run `hie keys rotate`")
        told += [
            f"key {key_id} wraps nothing any more: `hie keys retire {key_id}`"
            for key_id in self.since
            if key_id != self.current
            and not any(found.get(key_id) for found in self.counts.values())
        ]
        return told or ["everything is wrapped by the current key"]

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "waiting": self.waiting, "is_whole": self.is_whole}


class Keeping(Protocol):
    """What operations on keys need of a hub."""

    db: Database
    ring: KeyRing
    keys: KeyStore
    audit: AuditLog
    clock: Clock


class KeyCare:
    """Reports on keys, rotates and retires them; each change is on the audit trail."""

    def __init__(self, hub: Keeping) -> None:
        self._hub = hub
        columns = (keystore.COLUMN, *wrapped.COLUMNS)
        self._rewrap = Rewrap(hub.db, hub.ring, hub.clock, columns)

    async def report(self) -> KeyReport:
        """Where the keys are and what they wrap; counts every row."""
        ring = self._hub.ring
        public = ring.audit_signing_key().public_key()
        raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        async with self._hub.db.surveying() as conn:
            kinds = await self._hub.keys.kinds(conn)
            destroyed, last_us = await self._hub.keys.erasures(conn)
        return KeyReport(
            provider=ring.provider.name,
            current=ring.current,
            since=ring.since,
            counts=await self._rewrap.counts(),
            kinds=kinds,
            destroyed=destroyed,
            last_us=last_us,
            blind=ring.blind("fingerprint", "blind")[:12],
            audit=hashlib.sha256(raw).hexdigest()[:12],
        )

    async def begin(self, actor: str) -> str:
        """Make a new wrapping key current, unless a rotation is under way; the current one.

        Raises:
            HieError: INVALID where the provider makes no keys.
        """
        before = self._hub.ring.current
        key_id = await self._rewrap.begin()
        if key_id != before:
            await self._record(actor, f"wrapping key {key_id} made current in place of {before}")
        return key_id

    async def work(
        self, seconds: float, tell: Callable[[int, int], None] = lambda done, total: None
    ) -> Progress:
        """Wrap by the current key what others wrap, for so long."""
        return await self._rewrap.work(seconds, tell)

    async def retire(self, key_id: str, actor: str) -> None:
        """Destroy a wrapping key that wraps nothing.

        Raises:
            HieError: INVALID where it may not be destroyed, and why.
        """
        await self._rewrap.retire(key_id)
        await self._record(actor, f"wrapping key {key_id} destroyed")

    async def _record(self, actor: str, text: str) -> None:
        record = AuditRecord(
            recorded_us=self._hub.clock.now_us(),
            action="E",
            subtype="110137",
            user=actor or None,
            purpose="HSYSADMIN",
            detail={"reason": text},
        )
        async with self._hub.db.transaction() as conn:
            await self._hub.audit.append(conn, [record])
