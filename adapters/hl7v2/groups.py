"""Which segments belong together, as the maps see it: a tree gathered in one pass.

Unlike the conformance tree this one has no order to enforce: whatever comes, wherever it comes,
stands somewhere, so that a result after its specimen or a note before its order is not lost.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from adapters.hl7v2.er7 import Segment

#: The group of everything that belongs to no other.
ROOT: Final = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """How segments are gathered, one table `[groups.<name>]` of a message map.

    Attributes:
        within: the group it repeats in; `""` = the message.
        opens: segments that begin an instance, in their order within it: an `OBR` joins the
            `ORC` before it, a second `OBR` begins the next instance.
        holds: segments that belong to the instance that is open.
        joins: field numbers that must be equal for a segment to continue the instance before
            it (the lines of a text); () = never.
        joins_types: OBX-2 values that continue at all.
    """

    name: str
    within: str = ROOT
    opens: tuple[str, ...] = ()
    holds: frozenset[str] = frozenset()
    joins: tuple[int, ...] = ()
    joins_types: frozenset[str] = frozenset()


@dataclass(slots=True)
class Node:
    """One instance of a group.

    Attributes:
        head: the segment that began it; None for the message.
        segments: the segments of this instance itself, by name, in order.
        drafts: names of the drafts made here, by resource rule.
    """

    group: str
    parent: "Node | None"
    head: Segment | None = None
    segments: dict[str, list[Segment]] = field(default_factory=dict)
    children: list["Node"] = field(default_factory=list)
    drafts: dict[str, list[str]] = field(default_factory=dict)

    def add(self, segment: Segment) -> None:
        """Put a segment into this instance."""
        self.segments.setdefault(segment.name, []).append(segment)

    def all(self, name: str) -> list[Segment]:
        """The segments of that name in this instance."""
        return self.segments.get(name, [])

    def heads(self, name: str) -> list[Segment]:
        """The segments of that name, without those that only continue the one that began it."""
        if self.head is not None and self.head.name == name:
            return [self.head]
        return self.all(name)

    def run_of(self, segment: Segment) -> list[Segment]:
        """A segment and those that continue it."""
        return self.all(segment.name) if segment is self.head else [segment]

    def walk(self) -> Iterator["Node"]:
        """This instance and every one inside it, in message order."""
        yield self
        for child in self.children:
            yield from child.walk()

    def made(self, rule: str) -> Iterator[str]:
        """Names of the drafts of a rule made at or below this instance, in order."""
        yield from self.drafts.get(rule, ())
        for child in self.children:
            yield from child.made(rule)


class Grouping:
    """The groups of a message map, looked up by what may come next."""

    __slots__ = ("_groups", "_openers")

    def __init__(self, groups: Mapping[str, Group]) -> None:
        self._groups = dict(groups)
        self._openers = {
            (group.within, name): group for group in groups.values() for name in group.opens
        }

    def place(self, segment: Segment, current: Node) -> Node | None:
        """Put the segment where it belongs, seen from the open instance outwards; its instance.

        None, and nothing done, for a segment no group asks for.
        """
        node: Node | None = current
        name = segment.name
        while node is not None:
            group = self._groups.get(node.group)
            if group and (name in group.holds or _may_join(segment, node, group)):
                node.add(segment)
                return node
            child = self._openers.get((node.group, name))
            if child is not None:
                return _open(segment, node, child)
            node = node.parent
        return None


def gather(segments: Iterable[Segment], grouping: Grouping) -> tuple[Node, dict[str, list[Node]]]:
    """The tree of a message, and its instances by group in message order.

    Segments no group asks for stand at its root.
    """
    root = Node(ROOT, None)
    nodes = {ROOT: [root]}
    current = root
    for segment in segments:
        placed = grouping.place(segment, current)
        if placed is None:
            root.add(segment)  # the open instance stays open: a Z-segment ends nothing
            continue
        current = placed
        if placed.head is segment:
            nodes.setdefault(placed.group, []).append(placed)
    return root, nodes


def _may_join(segment: Segment, node: Node, group: Group) -> bool:
    """Whether an opening segment still belongs to the instance that is open."""
    if segment.name not in group.opens:
        return False
    if len(group.opens) == 1 and not group.joins:
        return False
    rank = group.opens.index(segment.name)
    if all(group.opens.index(name) < rank for name in group.opens if name in node.segments):
        return True
    last = node.all(segment.name)[-1:] if group.joins else []
    return bool(last) and _continues(last[0], segment, group)


def _continues(last: Segment, segment: Segment, group: Group) -> bool:
    if segment.field(2) not in group.joins_types:
        return False
    return all(last.field(n) == segment.field(n) for n in group.joins)


def _open(segment: Segment, parent: Node, group: Group) -> Node:
    node = Node(group.name, parent, segment)
    node.add(segment)
    parent.children.append(node)
    return node
