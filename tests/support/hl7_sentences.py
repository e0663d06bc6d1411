"""Random messages that a structure allows, and small departures from them."""

import random
from collections.abc import Iterator

from adapters.hl7v2.structure import Node

LONGEST = 40


def sentence(node: Node, dice: random.Random) -> list[str]:
    """Names of segments in an order that the structure allows."""
    chosen = [dice.choice(node.children)] if node.is_choice else node.children
    found: list[str] = []
    for child in chosen:
        times = max(child.least, int(node.is_choice)) + (dice.random() < 0.35)
        if child.most != -1:
            times = min(times, child.most)
        for _ in range(times):
            found += [child.name] if child.is_segment else sentence(child, dice)
    return found


def departure(names: list[str], dice: random.Random) -> tuple[list[str], str]:
    """The names with one left out, one doubled, or two changed over; and which of these."""
    found, place = list(names), dice.randrange(len(names))
    kind = dice.choice(("drop", "double", "swap"))
    if kind == "drop":
        del found[place]
    elif kind == "double":
        found.insert(place, found[place])
    else:
        other = (place + 1) % len(found)
        found[place], found[other] = found[other], found[place]
    return found, kind


def places(node: Node) -> Iterator[str]:
    """The name of every segment's place in a structure."""
    if node.is_segment:
        yield node.name
    for child in node.children:
        yield from places(child)


def has_empty_group(node: Node) -> bool:
    """Whether a group must come of which no segment must."""
    inner = any(map(has_empty_group, node.children))
    return inner or (not node.is_segment and node.least > 0 and not node.is_required)


def payload(structure: str, names: list[str], version: str) -> bytes:
    """A message of bare segments."""
    kind = f"{structure.replace('_', '^')}^{structure}" if "_" in structure else structure
    lines = [f"MSH|^~\\&|A|B|C|D|20260101||{kind}|1|P|{version}", *(f"{n}|1" for n in names)]
    return "".join(f"{line}\r" for line in lines).encode()


def has_choice(node: Node) -> bool:
    """Whether of some group only one child comes."""
    return node.is_choice or any(map(has_choice, node.children))
