"""Which types take over the labels of what they refer to, and in which order (pure).

A document is as sensitive as the most sensitive thing in it, a visit as the department it was
in. The table is `[takes]` of `config/sensitivity/labels.toml`.
Spec: HL7 Healthcare Privacy and Security Classification System, high-water mark.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson, objects, split_reference

#: The content of documents: as sensitive as the document, and the document as its content.
CONTENT: Final = "Binary"
_ANY: Final = "*"
#: What even `*` does not look at: whose it is says nothing about what is in it.
_NEVER: Final = frozenset({"Patient", "Person", "RelatedPerson", "Practitioner", "Device"})


class Takes:
    """What takes over labels from what, and the order in which a re-label has to go.

    Args:
        table: type to the types whose labels it takes over; `*` = all that rank below it.

    Raises:
        HieError: INVALID when types take over from each other in a circle.
    """

    def __init__(self, table: Mapping[str, Sequence[str]]) -> None:
        self._table = {name: frozenset(found) for name, found in table.items()}
        #: Type to its place in the order; a type that is not here is at 0.
        self.ranks: dict[str, int] = {}
        wide = [name for name in table if _ANY in table[name]]
        for name in table:
            if name not in wide:
                self._rank(name, ())
        for name in wide:
            self.ranks[name] = max(self.ranks.values(), default=0) + 1
        self.ranks[CONTENT] = max(self.ranks.values(), default=0) + 1

    @property
    def last(self) -> int:
        """The highest rank there is."""
        return self.ranks[CONTENT]

    def rank(self, type_name: str) -> int:
        """Its place in the order: all it takes over from, but content, comes before it."""
        return self.ranks.get(type_name, 0)

    def is_taker(self, type_name: str) -> bool:
        """Whether labels of other resources count for one of this type."""
        return type_name in self._table

    def takers_of(self, type_name: str) -> frozenset[str]:
        """The types that take over the labels of one."""
        return frozenset(name for name in self._table if self._does_take(name, type_name))

    def named(self, type_name: str, resource: FhirJson) -> set[tuple[str, str]]:
        """(type, id) of what a resource takes labels over from."""
        found: set[tuple[str, str]] = set()
        if type_name not in self._table:
            return found
        for element in objects(resource):
            for name in ("reference", "url"):
                written = element.get(name)
                target = split_reference(written) if isinstance(written, str) else None
                if target is not None and self._does_take(type_name, target[0]):
                    found.add((target[0], target[1]))
        return found

    def _does_take(self, type_name: str, other: str) -> bool:
        table = self._table[type_name]
        if other in table or other == CONTENT:
            return True
        lower = self.rank(other) < self.rank(type_name)
        return _ANY in table and lower and other not in _NEVER

    def _rank(self, name: str, above: tuple[str, ...]) -> int:
        if name in above:
            text = f"`labels.toml` [takes]: `{name}`: expected no circle"
            raise HieError(Category.INVALID, text)
        if name not in self._table or name in self.ranks:
            return self.ranks.get(name, 0)
        lower: Iterable[str] = self._table[name] - {CONTENT}
        self.ranks[name] = 1 + max((self._rank(o, (*above, name)) for o in lower), default=0)
        return self.ranks[name]
