"""Whom a served version is told to be about (pure).

A version says under which source records it was written; who these are of is told as it is now, so
that no id of a merge that was hidden, or wrong, stays in the history. What a resource was about
once and is no more is its source's alone, for the rules of those it is about now are not that
person's. A Group is its source's list of people: whoever of them the reader may not see is named
by the record the source put there, which no merge changes.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hie.store.body import Opened


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """What of people the served versions of a page must know beside their rows.

    Attributes:
        of_record: the person of records that earlier versions were about.
        seen: members of Groups whom the reader may see.
    """

    of_record: Mapping[str, str]
    seen: Collection[str]


@dataclass(frozen=True, slots=True)
class Filing:
    """A version's body, and whose its resource is now: its own person, then the further ones."""

    body: Opened | None
    is_panel: bool
    person: str | None
    record: str | None
    further: Sequence[tuple[str, str]]

    @property
    def former(self) -> Iterator[str]:
        """The records it was about and is no more, as it says itself."""
        if self.body is not None and self.body.records not in ((), (self.record,)):
            known = self._now
            yield from (record for record in self.body.records if record not in known)

    @property
    def members(self) -> Iterator[str]:
        """Of a Group: the persons in it."""
        if self.is_panel and self.body is not None and self.person:
            yield self.person
            yield from (person for person, _ in self.further)

    @property
    def _now(self) -> dict[str, str]:
        others = {record: person for person, record in self.further}
        return {self.record or "": self.person or "", **others}

    def names(self, people: People, *, is_own: bool) -> list[str]:
        """The persons by ordinal, as the body is to be filled; [] where it is nobody's to see.

        Args:
            people: what the page knows.
            is_own: whether the reader is its source.
        """
        if self.body is None or (not self.is_panel and self.body.records == (self.record,)):
            return [self.person or ""]
        now = self._now
        if not self.body.records:  # written before versions said it
            is_told = self.body.persons <= len(now)
            return [self._name(r, p, people) for r, p in now.items()] if is_told else []
        current = set(now.values())
        found: list[str] = []
        for record in self.body.records:
            person = now.get(record) or people.of_record.get(record, "")
            if person not in current and not is_own:
                return []
            found.append(self._name(record, person if person in current else record, people))
        return found

    def _name(self, record: str, person: str, people: People) -> str:
        return record if self.is_panel and person not in people.seen else person
