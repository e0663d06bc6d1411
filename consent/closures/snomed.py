"""SNOMED CT: from listed concepts to all below them, and to those whose descriptions say so.

Read from an RF2 release the hub's operator is licensed for; nothing of it is in this repository.
Spec: SNOMED CT Release File Specification, snapshot files of relationships and descriptions.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from consent.closures.files import Tell, found, reached, rows
from consent.labels import Labeller

SYSTEM: Final = "http://snomed.info/sct"
_IS_A: Final = "116680003"
_RELATIONS: Final = "sct2_Relationship_Snapshot_*.txt"
_DESCRIPTIONS: Final = "sct2_Description_Snapshot-en*_*.txt"
_ACTIVE: Final = "1"

#: Concept to its labels, and the listed concepts that bring them; none where its words do.
Concepts = Mapping[str, tuple[frozenset[str], frozenset[str]]]


def compile_snomed(folder: Path, labeller: Labeller, tell: Tell) -> Concepts:
    """The sensitive concepts of a release.

    Args:
        folder: with the snapshot of relationships, and of English descriptions if there is one.
        labeller: the lists of config/, without what was compiled before.
        tell: told how far it is.

    Raises:
        HieError: INVALID, naming the file that is missing or wrong.
    """
    below: dict[str, set[str]] = {}
    path = found(folder, _RELATIONS)
    for row in rows(path or folder, "\t", 10, tell, "relations"):
        if row[2] == _ACTIVE and row[7] == _IS_A:
            below.setdefault(row[5], set()).add(row[4])
    listed = {*below, *(child for children in below.values() for child in children)}
    brings = {code: _codes(labeller, labeller.code(SYSTEM, code)) for code in listed}
    seeds = {code: labels for code, labels in brings.items() if labels}
    masks: dict[str, int] = {}
    by: dict[str, frozenset[str]] = {}
    for code, brought in reached(seeds, below).items():
        masks[code] = labeller.table.raised({label for one in brought for label in seeds[one]})
        by[code] = brought
    for code, mask in _described(folder, labeller, tell).items():
        masks[code] = masks.get(code, 0) | mask
    return {
        code: (_codes(labeller, mask), by.get(code, frozenset())) for code, mask in masks.items()
    }


def _codes(labeller: Labeller, mask: int) -> frozenset[str]:
    return frozenset(labeller.table.codes(mask))


def _described(folder: Path, labeller: Labeller, tell: Tell) -> dict[str, int]:
    masks: dict[str, int] = {}
    path = found(folder, _DESCRIPTIONS, is_needed=False)
    if path is None:
        return masks
    for row in rows(path, "\t", 9, tell, "descriptions"):
        if row[2] == _ACTIVE and (mask := labeller.text(row[7])):
            masks[row[4]] = masks.get(row[4], 0) | mask
    return masks
