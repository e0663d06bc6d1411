"""The labels of stored resources, found anew by the lists of today, every version's."""

from collections.abc import Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from consent.labels import Labeller
from consent.takes import CONTENT
from hie.kernel.fhir import FhirJson
from hie.store.marks import Marked, Marks, Name, Version


class Afresh:
    """Labels what is stored once more.

    Args:
        labeller: the lists of today.
        marks: reads what resources refer to.
    """

    def __init__(self, labeller: Labeller, marks: Marks) -> None:
        self._labeller = labeller
        self._marks = marks

    async def labelled(
        self, conn: AsyncConnection, found: Sequence[Marked], *, is_ahead: bool
    ) -> list[tuple[Marked, int, dict[int, int]]]:
        """The labels of resources, and of each of their versions.

        Args:
            conn: open transaction; what they take labels over from had its turn before.
            found: the resources.
            is_ahead: the hub goes by other lists yet, so nothing is taken away.
        """
        takes = self._labeller.takes
        named = {
            (one.pk, v.version): takes.named(one.type, v.resource)
            for one in found
            for v in one.versions
            if v.resource is not None
        }
        stored = await self._taken(conn, set[Name]().union(*named.values()))
        made = []
        for one in found:
            beside = await self._marks.documents_of(conn, one) if one.type == CONTENT else 0
            masks: dict[int, int] = {}
            for v in one.versions:
                own = beside
                for name in named.get((one.pk, v.version), ()):
                    own |= stored.get(name, 0)
                masks[v.version] = self._mask(v, one, masks, own, is_ahead=is_ahead)
            mask = masks.get(one.version, one.label_mask)
            made.append((one, mask | (one.label_mask if is_ahead else 0), masks))
        return made

    def _mask(
        self, v: Version, one: Marked, masks: Mapping[int, int], taken: int, *, is_ahead: bool
    ) -> int:
        """The labels of a version: of its content, of what it took over, of who raised them."""
        if v.resource is None:
            # A deletion, or a version that moved: as sensitive as what was there.
            before = masks.get(v.body_version, masks.get(v.version - 1, 0))
            is_moved = v.body_version != v.version and v.body_version in masks
            return before if is_moved and not is_ahead else v.label_mask | before
        mask = self._own(v.resource, v.source_id) | taken
        if v.raised_mask is None or is_ahead:
            return mask | v.label_mask
        return mask | v.raised_mask

    def _own(self, resource: FhirJson, source_id: str) -> int:
        return self._labeller.labels(resource, source_id=source_id).mask

    async def _taken(self, conn: AsyncConnection, names: set[Name]) -> dict[Name, int]:
        """The labels of what resources refer to: parts had their turn, contents by themselves."""
        contents = {name for name in names if name[0] == CONTENT}
        marks = await self._marks.masks(conn, names - contents)
        found = {name: mark.label_mask for name, mark in marks.items()}
        for name, (resource, source) in (await self._marks.content(conn, contents)).items():
            found[name] = self._own(resource, source)
        return found
