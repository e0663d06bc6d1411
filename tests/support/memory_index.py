"""The index without a database: the same pure steps over dictionaries.

It is the twin that the real index is compared with, and it is fast enough to link a town.
"""

from collections import defaultdict
from datetime import date

from hie.crypto import KeyRing
from hie.kernel.ids import PersonId, SourceRecordId
from mpi.blocking import blocking_keys
from mpi.decide import Decision, Matcher, decide, judge_person
from mpi.demographics import Demographics
from mpi.model import Outcome
from mpi.normalize import Normalizer
from mpi.settings import MpiSettings
from tests.support.people import Sighting

TODAY = date(2026, 1, 31)


class MemoryIndex:
    """Records, persons and keys in memory."""

    def __init__(self, settings: MpiSettings) -> None:
        self._settings = settings
        self._ring = KeyRing.ephemeral()
        self.normalizer = Normalizer(settings.forms, settings.defaults)
        self.matcher = Matcher(settings)
        self.records: dict[str, Demographics] = {}
        self.person_of: dict[str, str] = {}
        self.members: dict[str, list[str]] = defaultdict(list)
        self._keys: dict[int, list[str]] = defaultdict(list)

    def add(self, sighting: Sighting) -> Decision:
        """Link a record, or give it a person of its own."""
        record_id = f"{sighting.source}{sighting.mrn}"
        new = self.normalizer.demographics(sighting.patient, TODAY)
        keys = blocking_keys(new, self._settings.model.keys, self._blind, 40)
        found = {r for key in keys for r in self._keys[key.value]}
        persons = {self.person_of[record] for record in found}
        scored = [
            judge_person(
                PersonId(person),
                [
                    self.matcher.pair(SourceRecordId(m), new, self.records[m])
                    for m in self.members[person]
                ],
                self._settings.model.thresholds,
            )
            for person in persons
        ]
        decision = decide(scored, self._settings.model.thresholds)
        person = decision.person_id or f"p-{record_id}"
        self.records[record_id] = new
        self.person_of[record_id] = person
        self.members[person].append(record_id)
        for key in keys:
            self._keys[key.value].append(record_id)
        return decision

    def pair(self, one: Sighting, other: Sighting) -> Decision:
        """The decision on the second record in an index that holds only the first."""
        self.records, self.person_of = {}, {}
        self.members, self._keys = defaultdict(list), defaultdict(list)
        self.add(one)
        return self.add(other)

    def _blind(self, *parts: str) -> int:
        return self._ring.blind64("mpi", *parts)


def is_linked(decision: Decision) -> bool:
    """Whether the record was linked without a human."""
    return decision.outcome is Outcome.LINK
