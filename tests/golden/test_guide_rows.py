"""The golden messages as witnesses: a row of the guide counted as mapped is seen to be.

`docs/guide` computes what is mapped from the tables. Here each such row whose field some golden
message carries must show its element in a resource made of that very segment.
"""

from collections.abc import Iterator
from functools import cache

from adapters.hl7v2.er7 import NULL, Segment
from docs.guide.claims import claims_of
from docs.guide.judge import segment_rows
from docs.guide.rows import Fate, GuideRow, Path_, Stated, path_of
from tests.support.golden import MESSAGES, made_of
from tests.support.mapping import maps

#: Rows no golden message shows although it carries the field, and why.
UNSEEN = {
    "IN3-21 > participant.role.coding.value": "the guide's name for coding.code",
    "NTE-3 > content[2].contentType": "a note is the description and no second content",
    "OBX-5 > content[2].contentType": "the type of text is the Binary's",
    "OBX-5 > content[4].contentType": "the type of text is the Binary's",
    "OBX-5 > component[each].extension[1].url": "attachments are resources of their own",
    "OBX-5 > component[each].extension[1].valueAttachment": "the same",
    "OBX-6 > component[each].valueRange[1].low": "units are of the Quantity in it",
    "OBX-6 > component[each].valueRange[1].high": "units are of the Quantity in it",
    "OBX-6 > component[each].valueRatio[1].numerator": "units are of the Quantity in it",
    "OBX-6 > component[each].valueRatio[1].denominator": "units are of the Quantity in it",
    "OBX-6 > valueRatio[1].numerator": "units are of the Quantity in it",
    "OBX-6 > valueRatio[1].denominator": "units are of the Quantity in it",
    "OBX-10 > extension[2].uri": "the guide's name for url",
    "OBX-11 > status.extension[1].url": "the code FHIR has a word for needs no copy",
    "OBX-11 > status.extension[1].valueCodeableConcept.coding.code": "the same",
    "OBX-11 > status.extension[1].valueCodeableConcept.coding.system": "the same",
    "OBR-8 > collection.collectedPeriod.end": "a specimen of its own (SPM) says when",
    "PR1-8 > performer[1].function.coding.uri": "the guide's name for coding.system",
    "PV1-8 > participant[2].type.text": "the type is coded",
    "PV1-17 > participant[4].type.text": "the type is coded",
    'PV1-52 > participant[5].type.text="Participation"': "the type is coded",
    "PV2-13 > participant.type.text": "the type is coded",
    "PV2-22 > meta.security": "only a wish to be protected is a label",
    "PR1-11 > performer[2].function.coding.uri": "the guide's name for coding.system",
    "PV1-19 > identifier[1].type.text": "the type is coded",
    "TQ1-7 > occurrenceTiming.repeat.boundsPeriod.start": "without a rhythm it is a period",
    "TQ1-8 > occurrenceTiming.repeat.boundsPeriod.end": "without a rhythm it is a period",
    "TXA-19 > status.extension[1].url": "the code FHIR has a word for needs no copy",
}

Shown = tuple[tuple[Segment, ...], frozenset[Path_]]


@cache
def resources() -> dict[str, list[Shown]]:
    """By resource type: the segments a resource was made of, and the paths it has."""
    found: dict[str, list[Shown]] = {}
    for path in MESSAGES:
        for made in made_of(path):
            for resource in (made.resource, *made.resource.get("contained", ())):
                shown = (made.origins, frozenset(paths_of(resource)))
                found.setdefault(resource["resourceType"], []).append(shown)
    return found


def paths_of(node: object, at: Path_ = ()) -> Iterator[Path_]:
    if isinstance(node, dict):
        for name, child in node.items():
            here = (*at, *path_of(name))
            yield here
            yield from paths_of(child, here)
    elif isinstance(node, list):
        for one in node:
            yield from paths_of(one, at)


def carries(segments: tuple[Segment, ...], row: GuideRow) -> bool:
    """Whether a segment of the row's kind says something in its field."""
    values = [s.field(row.number) for s in segments if s.name == row.segment]
    return any(value != NULL and value.strip("^&~ ") for value in values)


def witnesses(row: GuideRow) -> tuple[int, int]:
    """How many resources carry a row's field, and how many of them show its element."""
    path = () if row.path[:1] == ("$this",) else row.path
    carried = [p for made, p in resources().get(row.target, ()) if carries(made, row)]
    return len(carried), sum(any(p[: len(path)] == path for p in paths) for paths in carried)


def test_what_is_counted_as_mapped_is_seen_in_what_golden_messages_become():
    mapped = [
        one.row
        for one in segment_rows(claims_of(maps()), Stated.read())
        if one.fate is Fate.MAPPED and one.row.number
    ]
    counts = {row: witnesses(row) for row in mapped}
    unseen = {row.text for row, (carried, shown) in counts.items() if carried and not shown}
    assert unseen - UNSEEN.keys() == set()
    assert UNSEEN.keys() - unseen == set(), "seen by now: take them out"
    seen = sum(1 for _, shown in counts.values() if shown)
    assert seen >= len(mapped) // 2, "golden messages show too little of the maps"
