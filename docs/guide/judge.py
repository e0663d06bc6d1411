"""What became of each row of the guide: computed from our maps, else stated, else open."""

import re
from collections.abc import Iterable

from docs.guide.claims import Claim, Claims
from docs.guide.rows import Fate, GuideRow, Judged, Path_, Stated, guide_rows

#: Our trigger for each of the guide's message maps.
TRIGGERS = {
    "ADT_A01": "ADT^A01",
    "ADT_A02": "ADT^A02",
    "ADT_A05": "ADT^A28",
    "ADT_A06": "ADT^A06",
    "ADT_A09": "ADT^A09",
    "ADT_A11": "ADT^A11",
    "ADT_A17": "ADT^A17",
    "MDM_T02": "MDM^T02",
    "OML_O21": "OML^O21",
    "ORM_O01": "ORM^O01",
    "ORU_R01": "ORU^R01",
    "SIU_S12": "SIU^S12",
    "VXU_V04": "VXU^V04",
}


def segment_rows(claims: Claims, stated: Stated) -> list[Judged]:
    """The rows of the segment maps."""
    return [_segment_row(row, claims, stated) for row in guide_rows("segments")]


def _segment_row(row: GuideRow, claims: Claims, stated: Stated) -> Judged:
    own = claims.reads.get((row.segment, row.number), set()) if row.number else set()
    mapped = sorted({claim.text for claim in own if _is_same(row, claim)})
    if mapped and row.is_unresolved:
        return Judged(row=row, fate=Fate.PUT_RIGHT, where=f"to {', '.join(mapped)}")
    if mapped:
        fate = Fate.PUT_RIGHT if row.is_respelt else Fate.MAPPED
        return Judged(row=row, fate=fate, where=", ".join(mapped))
    if (row.constant not in ("", "(computed)") or not row.number) and _is_set(row, claims):
        return Judged(row=row, fate=Fate.MAPPED, where="set by the tables")
    if said := stated.find("segments", row.map, row.place, row.text):
        return Judged(row=row, fate=said[0], where=said[1])
    return _aside(row, own, claims)


def _aside(row: GuideRow, own: Iterable[Claim], claims: Claims) -> Judged:
    """A row nothing is stated of: read into something else, or open."""
    beside = sorted({claim.text for claim in own if _is_beside(row, claim, claims)})
    looked = sorted(claims.looks.get((row.segment, row.number), ())) if row.number else []
    where = ", ".join(beside or looked)
    return Judged(row=row, fate=Fate.ELSEWHERE if where else Fate.OPEN, where=where)


def _is_same(row: GuideRow, claim: Claim) -> bool:
    """Whether a claim is for the resource and the element of a row."""
    if claim.type != row.target:
        return False
    if row.is_unresolved or claim.path == ("*",) or row.path[:1] == ("$this",):
        return True
    if not _is_prefix(claim.path, row.path):
        return False
    if "extension" in row.path[len(claim.path) :]:
        return False  # no converter adds an extension of its own accord
    # Two extensions have the same path: their addresses tell them apart.
    return not (row.url and claim.url) or row.url == claim.url


def _is_beside(row: GuideRow, claim: Claim, claims: Claims) -> bool:
    """Whether the other element is filled in a message that makes the row's resource at all."""
    made = {trigger: {kind for _, kind in runs} for trigger, runs in claims.runs.items()}
    if not any(row.target in kinds for kinds in made.values()):
        return True
    return any(
        row.target in made[trigger] and (row.segment, claim.type) in runs
        for trigger, runs in claims.runs.items()
    )


def _is_set(row: GuideRow, claims: Claims) -> bool:
    """Whether a constant of the tables sets the element a row sets."""
    return any(_is_prefix(path, row.path) for path in claims.constants.get(row.target, ()))


def _is_prefix(one: Path_, other: Path_) -> bool:
    count = min(len(one), len(other))
    return count > 0 and one[:count] == other[:count]


def message_rows(claims: Claims, stated: Stated) -> list[Judged]:
    """The rows of the message maps: a segment that makes or adds to a resource."""
    found = []
    for row in guide_rows("messages"):
        runs = claims.runs.get(TRIGGERS[row.map], set())
        segment = row.place.replace(":", ".").split(".")[-1]
        target = _type_of(row.to)
        if (segment, target) in runs:
            where = f"{segment} to {target}"
            found.append(Judged(row=row, fate=Fate.MAPPED, where=where))
        elif said := stated.find("messages", row.map, row.place, row.text):
            found.append(Judged(row=row, fate=said[0], where=said[1]))
        elif others := sorted(kind for name, kind in runs if name == segment and kind):
            where = f"{segment} to {', '.join(others)}"
            found.append(Judged(row=row, fate=Fate.ELSEWHERE, where=where))
        else:
            found.append(Judged(row=row, fate=Fate.OPEN))
    return found


def reference_rows(claims: Claims, stated: Stated) -> list[Judged]:
    """The references the message maps set between resources."""
    found = []
    for row in guide_rows("messages"):
        for text in filter(None, row.codes.split("; ")):
            left = text.split("=")[0]
            kind, *path = (_type_of(part) for part in left.split("."))
            said = GuideRow(map=row.map, place=row.place, to=text)
            links = claims.links.get(TRIGGERS[row.map], set())
            if path and (kind, path[0]) in links:
                found.append(Judged(row=said, fate=Fate.MAPPED, where=f"{kind}.{path[0]}"))
            elif why := stated.find("references", row.map, row.place, said.text):
                found.append(Judged(row=said, fate=why[0], where=why[1]))
            else:
                found.append(Judged(row=said, fate=Fate.OPEN))
    return found


def _type_of(text: str) -> str:
    return re.split(r"[\[(.]", text, maxsplit=1)[0].strip()


def totals(fates: Iterable[Fate]) -> dict[Fate, int]:
    """How many rows had each fate."""
    counts = dict.fromkeys(Fate, 0)
    for fate in fates:
        counts[fate] += 1
    return counts
