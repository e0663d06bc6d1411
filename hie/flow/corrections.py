"""What an unmerge leaves to correct: who was shown two humans as one, and what of each.

The answer is in the audit trail. While records were one person's, every disclosure of that
person may have shown the one's data as the other's; when they part, all of them are listed, by
recipient, with what each showed of either side, until the recipients have been told.
"""

import csv
import io
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.audit.event import SUCCESS, AuditRecord
from hie.audit.repository import AuditLog, Recorded, event_id
from hie.corrections.repository import Notice, NoticeRepository
from hie.kernel.clock import instant
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import PersonId
from mpi.model import PersonMove
from mpi.service import Mpi

#: Subtypes of reads that show nobody's data: tokens, refusals, decisions.
_SHOWS_NOTHING: Final = frozenset({"ITI-71", "110137", "110126", "AuthZ-Consent"})
_PAGE: Final = 500
#: Columns of the exported list.
COLUMNS: Final = (
    *("correction", "time", "organization", "user", "purpose", "request", "interaction"),
    *("person", "is_mixed", "shown_moved", "shown_stayed", "resources", "told", "told_by"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a disclosure showed of one side: how many resources of each type, and which."""

    counts: Mapping[str, int] = field(default_factory=dict)
    resources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """A disclosure to be corrected.

    Attributes:
        event: id of its audit event.
        is_known: the audit event says what was shown; older ones do not, and erased ones no
            more.
        moved: what it showed of the records that were wrongly there.
        stayed: what it showed of the others.
    """

    id: int
    event: str
    at_us: int
    person: PersonId
    organization: str | None
    user: str | None
    purpose: str
    request_id: str
    interaction: str
    is_known: bool
    moved: Shown
    stayed: Shown
    notified_us: int | None
    notified_by: str | None

    @property
    def is_mixed(self) -> bool:
        """Whether it showed data of both humans together."""
        return bool(self.moved.counts and self.stayed.counts)


class Corrections:
    """Finds, lists and closes corrections."""

    def __init__(self, mpi: Mpi, audit: AuditLog, notices: NoticeRepository) -> None:
        self._mpi = mpi
        self._audit = audit
        self._notices = notices

    async def find(
        self, conn: AsyncConnection, decision_id: int, moves: Collection[PersonMove]
    ) -> int:
        """List every disclosure made while records that part now were one person's.

        Args:
            conn: open write transaction; the records are moved.
            decision_id: what parted them.
            moves: what moved; records that left nobody behind part from nobody.

        Returns:
            How many disclosures.
        """
        together = await self._mpi.together(conn, moves)
        found: dict[int, tuple[int, str, int, str | None]] = {}
        for person, since_us, until_us in together:
            async for pk, record in self._disclosures(conn, person, since_us, until_us):
                found[pk] = (pk, person, record.recorded_us, record.organization)
        await self._notices.add(conn, decision_id, [found[pk] for pk in sorted(found)])
        return len(found)

    async def listed(self, conn: AsyncConnection, decision_id: int) -> tuple[Correction, ...]:
        """The corrections of a decision, by recipient and then by time.

        Raises:
            HieError: NOT_FOUND for an unknown decision.
        """
        moved = await self._mpi.moved_by(conn, decision_id)
        if moved is None:
            raise HieError(Category.NOT_FOUND, "there is no such decision")
        notices = await self._notices.of_decision(conn, decision_id)
        events = await self._audit.rows(conn, [notice.audit_pk for notice in notices])
        return tuple(_correction(n, events[n.audit_pk], moved) for n in notices)

    async def waiting(self, conn: AsyncConnection) -> dict[int, int]:
        """Decisions of which not every recipient was told, and how many corrections wait."""
        return await self._notices.waiting(conn)

    async def mark(
        self,
        conn: AsyncConnection,
        decision_id: int,
        corrections: Sequence[int],
        *,
        by: str,
        now_us: int,
    ) -> int:
        """Note that the recipients of these were told; how many were still waiting."""
        return await self._notices.mark(conn, decision_id, corrections, by=by, now_us=now_us)

    async def _disclosures(
        self, conn: AsyncConnection, person: PersonId, since_us: int, until_us: int
    ) -> AsyncIterator[tuple[int, AuditRecord]]:
        before: int | None = None
        while True:
            page = await self._audit.access_log(
                conn, [person], since_us=since_us, before_pk=before, limit=_PAGE
            )
            for event in page:
                is_then = event.record.recorded_us < until_us
                if is_then and (event.is_erased or _is_disclosure(event.record)):
                    yield event.pk, event.record
            if len(page) < _PAGE:
                return
            before = page[-1].pk


def as_csv(corrections: Iterable[Correction]) -> str:
    """The list as CSV (RFC 4180), for letters to the recipients."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for one in corrections:
        cells = (
            *(one.id, instant(one.at_us), one.organization, one.user, one.purpose),
            *(one.request_id, one.interaction, one.person, _yes(one.is_mixed, one.is_known)),
            *(_counts(one.moved, one.is_known), _counts(one.stayed, one.is_known)),
            " ".join((*one.moved.resources, *one.stayed.resources)),
            *(instant(one.notified_us) if one.notified_us else "", one.notified_by),
        )
        writer.writerow([_plain(cell) for cell in cells])
    return text.getvalue()


def _plain(cell: object) -> str:
    """A cell that no spreadsheet takes for a formula."""
    text = "" if cell is None else str(cell)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _yes(is_so: bool, is_known: bool) -> str:
    return ("yes" if is_so else "no") if is_known else "unknown"


def _counts(shown: Shown, is_known: bool) -> str:
    if not is_known:
        return "unknown"
    return " ".join(f"{kind}:{number}" for kind, number in sorted(shown.counts.items()))


def _correction(notice: Notice, event: Recorded, moved: Collection[str]) -> Correction:
    record = event.record
    lines = record.detail.get("shown")
    return Correction(
        id=notice.id,
        event=event_id(notice.audit_pk),
        at_us=notice.at_us,
        person=PersonId(notice.person_id),
        organization=notice.organization,
        user=record.user,
        purpose=record.purpose,
        request_id=record.request_id,
        interaction=record.subtype,
        is_known=lines is not None,
        moved=_shown(line for line in lines or () if line[0] in moved),
        stayed=_shown(line for line in lines or () if line[0] not in moved),
        notified_us=notice.notified_us,
        notified_by=notice.notified_by,
    )


def _shown(lines: Iterable[Sequence[object]]) -> Shown:
    counts: dict[str, int] = defaultdict(int)
    resources: dict[str, None] = {}
    for _, kind, number, ids in lines:
        counts[str(kind)] += int(str(number))
        resources |= dict.fromkeys(f"{kind}/{one}" for one in _listed(ids))
    return Shown(counts=dict(counts), resources=tuple(resources))


def _listed(ids: object) -> Iterable[str]:
    return ids if isinstance(ids, list) else ()


def _is_disclosure(record: AuditRecord) -> bool:
    return (
        record.outcome == SUCCESS
        and record.action in ("R", "E")
        and record.subtype not in _SHOWS_NOTHING
    )
