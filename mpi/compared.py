"""Two sides of a question compared by the model in use: what a steward is shown.

As when the index decides, a value that many share is no evidence.
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.ids import PersonId
from mpi.decide import Matcher, PairScore, PersonScore, judge_person
from mpi.find import Finder
from mpi.repository import records
from mpi.settings import Thresholds

#: Records of a side that are compared with each of the other; more say nothing new.
MOST_RECORDS = 10


class Comparisons:
    """Compares records that are stored."""

    def __init__(self, finder: Finder, matcher: Matcher, thresholds: Thresholds) -> None:
        self._finder = finder
        self._matcher = matcher
        self._thresholds = thresholds

    async def of(
        self,
        conn: AsyncConnection,
        subject: PersonId,
        others: Collection[PersonId],
        *,
        record_id: str = "",
    ) -> dict[PersonId, tuple[str, PersonScore]]:
        """Each person against the subject: the record of the subject that fits best, and how.

        Args:
            conn: open connection.
            subject: the person asked about.
            others: whom it is compared with; who has no readable record is left out.
            record_id: compare this record of the subject only.
        """
        members = await records.members(conn, [subject, *others])
        sides = defaultdict(list)
        for opened in await self._finder.open(conn, members):
            sides[opened.member.person_id].append(opened)
        own = [
            replace(o, demographics=await self._finder.telling(conn, o.demographics))
            for o in sides[subject][:MOST_RECORDS]
            if record_id in ("", o.member.record_id)
        ]
        found: dict[PersonId, tuple[str, PersonScore]] = {}
        for person in others:
            for one in own:
                pairs: list[PairScore] = [
                    self._matcher.pair(o.member.record_id, one.demographics, o.demographics)
                    for o in sides[person][:MOST_RECORDS]
                    if o.member.record_id != one.member.record_id
                ]
                if not pairs:
                    continue
                score = judge_person(person, pairs, self._thresholds)
                if person not in found or score.best > found[person][1].best:
                    found[person] = (one.member.record_id, score)
        return found
