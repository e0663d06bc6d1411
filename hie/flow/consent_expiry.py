"""Consents whose time is over: told once, in the trail and among what was done about them.

The decision needs nobody to tell it: it compares times at every request. This is for people.
"""

from typing import Final

from hie.audit.event import AuditRecord
from hie.consents.model import Act, Done
from hie.flow.consent_parts import Parts
from hie.flow.consent_rules import CONSENT
from hie.kernel.clock import SECOND_US

#: How long back a run looks: a hub that was down for a month tells even so.
_BACK_US: Final = 35 * 24 * 3600 * SECOND_US
#: Consents told of in one run; the next goes on.
_AT_ONCE: Final = 200
_MOST: Final = 10_000


class ConsentExpiry:
    """Tells of Consents that ended by themselves."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def work(self) -> int:
        """Tell of what ended since the last run; how many that were."""
        parts = self._parts
        now_us = parts.clock.now_us()
        async with parts.db.reading() as conn:
            ended = await parts.consent.ending(conn, now_us - _BACK_US, now_us + 1, _MOST)
            told = await parts.acts.having(conn, [one.consent_id for one in ended], Act.EXPIRED)
            new = [one for one in ended if (one.consent_id, one.version) not in told][:_AT_ONCE]
            wanted = [(CONSENT, one.consent_id) for one in new]
            stored = await parts.repository.load(conn, wanted)
        if not new:
            return 0
        done, trail = [], []
        for one in new:
            found = stored.get((CONSENT, one.consent_id))
            if found is None or not found.source_record_id:
                continue
            done.append(
                Done(
                    id=parts.acts.next_id(),
                    consent_id=one.consent_id,
                    version=one.version,
                    act=Act.EXPIRED,
                    at_us=one.ends_us,
                    actor="hub",
                    record_id=found.source_record_id,
                )
            )
            trail.append(
                AuditRecord(
                    recorded_us=now_us,
                    action="U",
                    subtype="update",
                    person_id=one.person_id,
                    resource_type=CONSENT,
                    resource_id=one.consent_id,
                    detail={"act": Act.EXPIRED.value},
                )
            )
        async with parts.db.transaction() as conn:
            await parts.acts.add(conn, done)
            await parts.audit.append(conn, trail)
        return len(done)
