"""Reads people's records as organisations would, to see that wishes are kept."""

from collections.abc import Mapping, Sequence
from typing import Final

from hie.demo.checks import Denial
from hie.demo.reader import DIRECTORY, FhirReader, reference_of
from hie.demo.summary import HubView
from hie.demo.wishes import Wish
from hie.demo.world import Person, World
from hie.kernel.fhir import FhirJson

#: The Patient is built per caller and has no source; the directory is about nobody.
_NOT_CLINICAL: Final = DIRECTORY | {"Patient"}
_TRIED: Final = 8


class Witness:
    """Asks for records with each organisation's own token.

    Args:
        tokens: a read token by source id.
        persons: the hub's person id of each human, where it found one.
    """

    def __init__(
        self,
        reader: FhirReader,
        view: HubView,
        tokens: Mapping[str, str],
        persons: Mapping[int, str],
    ) -> None:
        self._reader = reader
        self._view = view
        self._tokens = tokens
        self._persons = persons

    async def denials(self, world: World, wishes: Sequence[Wish]) -> list[Denial]:
        """What the denied get, and what anybody gets of those who were never asked."""
        found = [
            await self._denial(wish.person, wish.denied, "denied")
            for wish in wishes
            if wish.denied and wish.person in self._persons
        ]
        asked = {wish.person for wish in wishes}
        silent = [p for p in world.people if p.number not in asked and p.number in self._persons]
        for person in silent[:_TRIED]:
            stranger = self._other(person)
            found.append(await self._denial(person.number, stranger, "never asked"))
        return found

    async def permitted(self, world: World, wishes: Sequence[Wish]) -> tuple[int, int]:
        """(people whose permitted reader got what another source sent, people tried)."""
        open_ = [w for w in wishes if not w.denied and w.person in self._persons][:_TRIED]
        seen = 0
        for wish in open_:
            reader = self._other(world.person(wish.person))
            _, foreign = await self._counts(wish.person, reader)
            seen += foreign > 0
        return seen, len(open_)

    async def held(self, resources: Sequence[FhirJson], own: str, codes: Sequence[str]) -> int:
        """Of a reader's resources, those of other sources that carry one of the codes."""
        carrying = [reference_of(r) for r in resources if _codes(r) & set(codes)]
        sources = await self._view.sources_of(carrying)
        return sum(sources.get(reference, own) != own for reference in carrying)

    async def _denial(self, person: int, source: str, why: str) -> Denial:
        own, foreign = await self._counts(person, source)
        return Denial(person=person, source=source, why=why, own=own, foreign=foreign)

    async def _counts(self, person: int, source: str) -> tuple[int, int]:
        """Clinical resources the organisation of a source gets: its own, others'."""
        found = await self._reader.everything(self._tokens[source], self._persons[person])
        clinical = [reference_of(r) for r in found if r["resourceType"] not in _NOT_CLINICAL]
        sources = await self._view.sources_of(clinical)
        own = sum(sources.get(reference) == source for reference in clinical)
        return own, len(clinical) - own

    def _other(self, person: Person) -> str:
        """A source that is not the person's home hospital."""
        home = person.registrations[0].source
        return next(source for source in sorted(self._tokens) if source != home)


def _codes(node: object) -> set[str]:
    """Every `code` of a coding below a node."""
    if isinstance(node, dict):
        own = {node["code"]} if isinstance(node.get("code"), str) else set()
        return own.union(*(_codes(child) for child in node.values()))
    if isinstance(node, list):
        return set().union(*(_codes(child) for child in node))
    return set()
