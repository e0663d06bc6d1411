"""A message structure as a matcher: segments in, group tree and faults out.

The published structures read from left to right with one segment of look-ahead: a segment
goes to the nearest place that can still take it, first inside the open groups, then by
repeating one of them. A segment that is out of order is put where it belongs and the place
reached is kept, so that one misplaced segment costs one remark and no data. Z-segments stay
in the group in which they came.
Spec: HL7 v2.8.2 chapter 2, section 2.11 (message structure).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from adapters.hl7v2.er7 import Segment


@dataclass(frozen=True, slots=True)
class Group:
    """A segment group as it came, or the whole message.

    Attributes:
        name: `PATIENT_RESULT`; the structure's name, `ORU_R01`, for the whole message.
        children: segments and groups in the order in which they came.
    """

    name: str
    children: tuple["Segment | Group", ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """A departure from the structure: a rule's name, the segment's name and occurrence."""

    rule: str
    segment: str
    sequence: int = 1


class Node:
    """A segment's or a group's place in a structure.

    Attributes:
        children: of a group; () for a segment.
        least, most: how often it may occur; most -1 = without bound.
        is_choice: a group of which only one child comes.
        musts: children that have to come; bounded: those that may come so often and no more.
    """

    __slots__ = (
        *("children", "is_choice", "is_required", "least", "most", "name", "parent", "place"),
        *("bounded", "musts"),
    )

    def __init__(
        self,
        name: str,
        least: int,
        most: int,
        children: Sequence["Node"] = (),
        *,
        choice: bool = False,
    ) -> None:
        self.name = name
        self.least = least
        self.most = most
        self.children = tuple(children)
        self.is_choice = choice
        self.parent: Node | None = None
        self.place = -1
        for place, child in enumerate(self.children):
            child.parent, child.place = self, place
        inner = [child.is_required for child in self.children]
        # A group of nothing but optional segments may be empty, whatever its own minimum.
        self.musts = tuple(c for c in self.children if c.is_required and not choice)
        self.bounded = tuple(c for c in self.children if c.most > 1)
        self.is_required: bool = least > 0 and (not inner or (all(inner) if choice else any(inner)))

    @property
    def is_segment(self) -> bool:
        """Whether it is a segment's place."""
        return not self.children

    def first_required(self) -> str:
        """Name of the first segment that must come."""
        for child in self.children:
            if child.is_required:
                return child.first_required()
        return self.name


@dataclass(frozen=True, slots=True)
class _Step:
    """How a segment gets from the place reached to its own: leave groups, open groups."""

    leave: int
    opened: tuple[Node, ...]
    leaf: Node
    is_late: bool = False


class _Open:
    """A group of the message while its segments come in."""

    __slots__ = ("children", "counts", "inner", "last", "node")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.children: list[Segment | _Open] = []
        self.inner: list[_Open] = []
        self.counts: dict[int, int] = {}
        self.last: dict[int, _Open] = {}

    def open(self, node: Node) -> "_Open":
        """A new occurrence of a child group."""
        inner = _Open(node)
        self.children.append(inner)
        self.inner.append(inner)
        self.counts[node.place] = self.counts.get(node.place, 0) + 1
        self.last[node.place] = inner
        return inner

    def add(self, segment: Segment, leaf: Node) -> int:
        """Put a segment in its place; how many stood there before."""
        before = self.counts.get(leaf.place, 0)
        self.children.append(segment)
        self.counts[leaf.place] = before + 1
        return before

    def closed(self) -> Group:
        """The finished group."""
        children = [c if isinstance(c, Segment) else c.closed() for c in self.children]
        return Group(self.node.name, tuple(children))


class Match:
    """A message laid over its structure.

    Attributes:
        faults: where it departs from it, in message order, then what is missing.
    """

    __slots__ = ("_root", "faults")

    def __init__(self, root: _Open, faults: tuple[Fault, ...]) -> None:
        self._root = root
        self.faults = faults

    @property
    def groups(self) -> Group:
        """The group tree, built when asked for."""
        return self._root.closed()


class Structure:
    """One message structure, ready to match. Steps once found are remembered."""

    def __init__(self, name: str, children: Sequence[Node]) -> None:
        self.name = name
        self._root = Node(name, 1, 1, children)
        self._start = Node("", 0, 1)
        self._start.parent = self._root
        self._known: dict[tuple[Node, str], _Step] = {}
        self._names = frozenset(_names(self._root))

    def match(self, segments: Sequence[Segment]) -> "Match":
        """A message's segments in their groups, and where they depart from the structure."""
        faults: list[Fault] = []
        root = _Open(self._root)
        stack, leaf, known = [root], self._start, self._known
        for segment in segments:
            step = known.get((leaf, segment.name)) or self._step(leaf, segment.name)
            if step is None:
                stack[-1].children.append(segment)
                faults += _stranger(segment)
            elif step.is_late:
                faults.append(_put_late(stack, step, segment))
            else:
                if step.leave:
                    del stack[-step.leave :]
                for node in step.opened:
                    stack.append(stack[-1].open(node))
                leaf = step.leaf
                stack[-1].add(segment, leaf)
        _complete(root, faults)
        return Match(root, tuple(faults))

    def _step(self, leaf: Node, name: str) -> _Step | None:
        if name not in self._names:
            return None  # not remembered: senders may make up any number of names
        step = (
            _search(leaf, name, is_strict=True)
            or _search(leaf, name, is_strict=False)
            or _late(leaf, name)
        )
        self._known[leaf, name] = step
        return step


def _search(leaf: Node, name: str, *, is_strict: bool) -> _Step | None:
    """The nearest later place for a segment; strict = without passing a required one."""
    if leaf.name == name and leaf.most != 1:
        return _Step(0, (), leaf)
    node, leave = leaf, 0
    while node.parent is not None:
        group = node.parent
        for child in () if group.is_choice else group.children[node.place + 1 :]:
            path = _enter(child, name, is_strict=is_strict)
            if path:
                return _Step(leave, path[:-1], path[-1])
            if is_strict and child.is_required:
                return None
        path = _repeat(group, name, is_strict=is_strict)
        if path:
            return _Step(leave + 1, path[:-1], path[-1])
        node, leave = group, leave + 1
    return None


def _enter(node: Node, name: str, *, is_strict: bool) -> tuple[Node, ...]:
    """The path from `node` to the first place inside it that takes the segment; () if none.

    Not strict, a group may be begun with any segment that is required in it or its first; a
    note or the like does not make a group.
    """
    if node.is_segment:
        return (node,) if node.name == name else ()
    for child in node.children:
        path = _enter(child, name, is_strict=is_strict)
        if path and (is_strict or not child.is_segment or child.least or child.place == 0):
            return (node, *path)
        if is_strict and child.is_required and not node.is_choice:
            return ()
    return ()


def _repeat(group: Node, name: str, *, is_strict: bool) -> tuple[Node, ...]:
    """The path into a further occurrence of a group that is open.

    Not strict, only a segment that must stand in the group itself begins one: an RXA without
    its ORC is a further order, a PV1 after the results is not a further patient.
    """
    if group.parent is None or group.most == 1:
        return ()
    path = _enter(group, name, is_strict=is_strict)
    is_sure = is_strict or (len(path) == 2 and path[-1].least > 0)
    return path if is_sure else ()


def _late(leaf: Node, name: str) -> _Step:
    """The place an out-of-order segment belongs to, seen from the place reached."""
    group, leave = leaf.parent, 0
    path: tuple[Node, ...] = ()
    # INVARIANT: the whole message, the last group asked, has a place for the name.
    while group is not None and not (path := _anywhere(group, name)):
        group, leave = group.parent, leave + 1
    return _Step(leave, path[1:-1], path[-1], is_late=True)


def _anywhere(node: Node, name: str) -> tuple[Node, ...]:
    if node.is_segment:
        return (node,) if node.name == name else ()
    # Segments of the group itself come before those of groups inside it.
    for child in sorted(node.children, key=lambda child: not child.is_segment):
        path = _anywhere(child, name)
        if path:
            return (node, *path)
    return ()


def _put_late(stack: Sequence[_Open], step: _Step, segment: Segment) -> Fault:
    group = stack[-1 - step.leave]
    for node in step.opened:
        group = group.last.get(node.place) or group.open(node)
    is_again = group.add(segment, step.leaf) > 0 and step.leaf.most == 1
    rule = "segment-repeats" if is_again else "segment-order"
    return Fault(rule, segment.name, segment.sequence)


def _stranger(segment: Segment) -> tuple[Fault, ...]:
    if not segment.name:
        return (Fault("segment-unreadable", "", segment.sequence),)
    if segment.name[0] == "Z":
        return ()
    return (Fault("segment-unexpected", segment.name, segment.sequence),)


def _complete(group: _Open, faults: list[Fault]) -> None:
    """Note what is missing in a group, or there too often, and in the groups inside it."""
    counts = group.counts
    for child in group.node.musts:
        if child.place not in counts:
            faults.append(Fault("segment-required", child.first_required()))
    for child in group.node.bounded:
        if counts.get(child.place, 0) > child.most:
            faults.append(Fault("segment-repeats", child.first_required(), child.most + 1))
    for inner in group.inner:
        _complete(inner, faults)


def _names(node: Node) -> Iterator[str]:
    if node.is_segment:
        yield node.name
    for child in node.children:
        yield from _names(child)
