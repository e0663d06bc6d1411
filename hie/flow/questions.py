"""Questions that describe a person who is to be erased: found by comparing each with them.

Every question that names somebody is sealed under a key of its own (`AuditLog.append`). Which
of them describe one person is known only once they are opened: page by page, each scored by the
index's own comparison, and held against what the person is known by.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.audit.repository import AuditLog, Question
from hie.db import Database, pk_span
from hie.flow.described import Known, description_of, known_by, says_who
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import PersonId, SourceRecordId
from mpi.demographics import Demographics
from mpi.service import Mpi

#: Questions opened at once.
PAGE: Final = 500
#: Keys of half a minute are looked at again: a row is committed moments after its key is drawn,
#: and clocks of processes differ.
_OVERLAP: Final = pk_span(30)
#: Told how many questions were looked at so far.
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """A person as questions may describe them, kept in memory while their keys are destroyed.

    Attributes:
        persons: every id that means them.
        patients: what each source sent of them, with the source.
        keeps_met: questions that met them are part of their trail, which stays.
    """

    persons: frozenset[str]
    patients: tuple[tuple[str, FhirJson], ...]
    demographics: tuple[Demographics, ...]
    known: Known
    keeps_met: bool

    @property
    def numbers(self) -> list[tuple[str, str]]:
        """Every identifier, with the source that sent it."""
        return [
            (source, str(one["value"]))
            for source, patient in self.patients
            for one in patient.get("identifier") or ()
            if isinstance(one, dict) and one.get("value")
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Describing:
    """What was found of the questions up to the row `last`.

    Attributes:
        spared: keys of the questions that stay whatever they say.
    """

    key_ids: frozenset[int] = frozenset()
    spared: frozenset[int] = frozenset()
    last: int = -1

    def with_page(self, page: "Describing") -> "Describing":
        """This and what the next page shows."""
        return Describing(
            key_ids=self.key_ids | page.key_ids,
            spared=self.spared | page.spared,
            last=page.last,
        )

    @property
    def doomed(self) -> frozenset[int]:
        """Keys to be destroyed."""
        return self.key_ids - self.spared


class Questions:
    """Finds the questions that describe a person."""

    def __init__(self, db: Database, audit: AuditLog, mpi: Mpi) -> None:
        self._db = db
        self._audit = audit
        self._mpi = mpi

    async def sought(
        self,
        conn: AsyncConnection,
        persons: Sequence[PersonId],
        records: Sequence[SourceRecordId],
        *,
        keeps_met: bool,
    ) -> Sought:
        """The person of these records, while they still open."""
        patients = await self._mpi.questions.sent(conn, records)
        return Sought(
            persons=frozenset(persons),
            patients=tuple(patients),
            demographics=tuple(await self._mpi.questions.known_as(conn, records)),
            known=known_by([patient for _, patient in patients]),
            keeps_met=keeps_met,
        )

    async def about(self, sought: Sought, now_us: int, progress: Progress | None) -> Describing:
        """All questions asked so far, a page at a time on connections of their own."""
        found, seen = Describing(), 0
        while True:
            async with self._db.reading() as conn:
                page = await self._page(conn, sought, now_us, found.last)
            if page is None:
                return found
            found = found.with_page(page)
            seen += PAGE
            if progress is not None:
                progress(seen)

    async def written(self) -> None:
        """Return once what is being asked now is on the trail, for `since` to see."""
        await self._audit.asked()

    async def since(
        self, conn: AsyncConnection, sought: Sought, now_us: int, done: Describing
    ) -> Describing:
        """Those and the ones asked since, in the open transaction.

        Keys of rows are drawn before they are committed: from a while before the last one on.
        """
        found = replace(done, last=max(done.last - _OVERLAP, -1))
        while (page := await self._page(conn, sought, now_us, found.last)) is not None:
            found = found.with_page(page)
        return found

    async def _page(
        self, conn: AsyncConnection, sought: Sought, now_us: int, after: int
    ) -> Describing | None:
        page, last = await self._audit.questions(conn, after=after, limit=PAGE)
        if last is None:
            return None
        hers = {one.key_id for one in page if one.person in sought.persons}
        return Describing(
            key_ids=frozenset(o.key_id for o in page if self._describes(o, sought, now_us)),
            spared=frozenset(hers) if sought.keeps_met else frozenset(),
            last=last,
        )

    def _describes(self, question: Question, sought: Sought, now_us: int) -> bool:
        has_met = bool(question.person) and question.person not in sought.persons
        if says_who(sought.known, question.text, has_met=has_met):
            return True
        patient = description_of(question.text)
        if patient is None:
            return False
        asked = self._mpi.questions.asked(patient, now_us)
        return self._mpi.questions.could_be(asked.demographics, sought.demographics)
