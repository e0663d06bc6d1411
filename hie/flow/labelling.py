"""The labels of what is about to be written: by its content, and by what it refers to.

A document has the labels of everything in it, a visit those of its department, an order those of
its medication: of what comes with it and of what is stored. What is written later raises the
documents that hold it. `consent.takes` says which types look at which.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from sqlalchemy.ext.asyncio import AsyncConnection

from consent.labels import Labeller
from consent.takes import CONTENT
from hie.flow.contents import named_contents
from hie.flow.placement import Origin, Placement
from hie.store.index import SearchIndex
from hie.store.marks import Marks, Name
from hie.store.residual import Pending
from hie.store.writer import NewVersion


class Labelling:
    """Labels new versions.

    Args:
        labeller: finds labels in content.
        marks: the labels of what is stored.
        index: the types.
    """

    def __init__(self, labeller: Labeller, marks: Marks, index: SearchIndex) -> None:
        self.labeller = labeller
        self._marks = marks
        self._index = index
        #: What is stored and counts as more sensitive than it is labelled.
        self.pending: Pending | None = None
        #: Told of every batch of patients' resources, in a process whose lists are not the hub's.
        self.on_written: Callable[[AsyncConnection], Awaitable[None]] | None = None

    def own(self, origin: Origin, placement: Placement) -> tuple[int, int]:
        """The mask of a resource by itself, and of it what its content does not bring."""
        found = self.labeller.labels(placement.resource, source_id=origin.source_id).mask
        said = (placement.resource.get("meta") or {}).get("security") or ()
        # What the sender wrote there is not kept in the body, so the body cannot bring it again.
        raised = placement.label_mask | self.labeller.mask_of(said)
        return found | raised, raised

    async def with_taken(
        self, conn: AsyncConnection, versions: Sequence[NewVersion]
    ) -> list[NewVersion]:
        """The versions with the labels of what they refer to as well."""
        if self.on_written is not None and any(version.patients for version in versions):
            await self.on_written(conn)
        takes = self.labeller.takes
        named = {
            n: takes.named(v.type, v.resource)
            for n, v in enumerate(versions)
            if takes.is_taker(v.type)
        }
        masks: dict[Name, int] = {}
        for version in versions:
            name = (version.type, version.id)
            masks[name] = masks.get(name, 0) | version.label_mask
        wanted = set[Name]().union(*named.values()) - masks.keys()
        stored = await self.stored(conn, wanted) if wanted else {}
        found = list(versions)
        for n in sorted(named, key=lambda n: takes.rank(versions[n].type)):
            more = 0
            for name in named[n]:
                more |= masks.get(name, 0) | stored.get(name, 0)
            if more & ~found[n].label_mask:
                found[n] = replace(found[n], label_mask=found[n].label_mask | more)
            masks[found[n].type, found[n].id] |= more
        return _with_documents(found)

    async def stored(self, conn: AsyncConnection, names: set[Name]) -> dict[Name, int]:
        """The labels that count for what is stored."""
        marks = await self._marks.masks(conn, names)
        return {
            name: mark.label_mask
            | (
                self.pending.counted(mark.type_id, mark.pk, mark.last_updated_us)
                if self.pending
                else 0
            )
            for name, mark in marks.items()
        }

    async def raise_takers(self, conn: AsyncConnection, versions: Sequence[NewVersion]) -> None:
        """Raise what is stored and takes over labels from what was written just now."""
        by_mask: dict[int, set[Name]] = {}
        for version in versions:
            if version.label_mask and not self._index.is_directory(version.type):
                by_mask.setdefault(version.label_mask, set()).add((version.type, version.id))
        for mask, names in by_mask.items():
            marks = await self._marks.masks(conn, names)
            above = await self._marks.takers(conn, [m.pk for m in marks.values()], self.takers)
            await self._marks.raise_all(conn, above, mask, self.takers)

    @cached_property
    def takers(self) -> Mapping[int, frozenset[int]]:
        """Type to the types that take over labels from it, by number."""
        takes = self.labeller.takes
        found = {
            self._index.type_id(name): frozenset(
                self._index.type_id(taker)
                for taker in takes.takers_of(name)
                if self._index.has_type(taker)
            )
            for name in self._index.types
        }
        return {type_id: takers for type_id, takers in found.items() if takers}


def _with_documents(versions: list[NewVersion]) -> list[NewVersion]:
    """What a document is labelled, its content is too."""
    if not any(version.type == CONTENT for version in versions):
        return versions
    documents: dict[str, int] = {}
    for version in versions:
        if version.type != CONTENT and version.label_mask:
            for key in named_contents(version.resource):
                documents[key] = documents.get(key, 0) | version.label_mask
    return [
        replace(v, label_mask=v.label_mask | documents[v.id])
        if v.type == CONTENT and v.id in documents
        else v
        for v in versions
    ]
