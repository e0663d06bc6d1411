"""What a change of the lists of labels could add to a resource that was labelled before (pure).

The lists are kept as they were when everything was labelled by them (`snapshot`). A line that
is new, or brings more than it did, may give a label to a resource that has none yet; until it
is looked at again it counts as if it did.
"""

import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from consent.labels import LabelTable
from consent.regime import Sensitivity

#: Every bit a mask may have.
ALL_LABELS: Final = (1 << 62) - 1

#: The lists as JSON.
Snapshot = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gains:
    """The labels that a change of the lists may bring.

    Attributes:
        by_codes: those of new codes; `systems` are the systems of these codes.
        by_rest: those of all else: words, sources, how resources are read.
    """

    by_codes: int = 0
    systems: frozenset[str] = frozenset()
    by_rest: int = 0

    def __or__(self, other: "Gains") -> "Gains":
        """What two changes may bring together."""
        return Gains(
            by_codes=self.by_codes | other.by_codes,
            systems=self.systems | other.systems,
            by_rest=self.by_rest | other.by_rest,
        )


#: Nothing is known of what rows were labelled by.
EVERYTHING: Final = Gains(by_codes=ALL_LABELS, by_rest=ALL_LABELS)


def snapshot(sensitivity: Sensitivity) -> Snapshot:
    """The lists as JSON, in one order whatever the order of the files."""
    return {
        "rest": _digest(
            [
                [(one.code, one.bit) for one in sensitivity.levels],
                [(one.code, one.system, one.bit, one.implies) for one in sensitivity.labels],
                sensitivity.unknown,
                sorted(sensitivity.aliases.items()),
                sorted(sensitivity.systems),
                sorted(sensitivity.handling_systems),
                sorted(sensitivity.handling_codes),
                sorted(sensitivity.text_elements),
                sorted(sensitivity.named),
                sensitivity.readable,
                sensitivity.content_bytes,
                sorted((name, sorted(found)) for name, found in sensitivity.takes.items()),
            ]
        ),
        "codes": sorted(_codes(sensitivity)),
        "words": sorted(
            [" ".join(line.phrase), " ".join(sorted(line.labels)), " ".join(sorted(line.unless))]
            for line in sensitivity.words
        ),
        "sources": {name: sorted(labels) for name, labels in sorted(sensitivity.sources.items())},
    }


def digest_of(lists: Snapshot) -> str:
    """What two snapshots have in common where they are the same."""
    return _digest(lists)


def packed(lists: Snapshot) -> bytes:
    """The snapshot as it is kept."""
    return zlib.compress(json.dumps(lists, separators=(",", ":")).encode(), 6)


def unpacked(kept: bytes) -> Snapshot:
    """A snapshot that was kept."""
    found: Snapshot = json.loads(zlib.decompress(kept))
    return found


def gains(old: Snapshot | None, new: Snapshot, table: LabelTable) -> Gains:
    """What rows labelled by `old` may gain by `new`.

    Args:
        old: None where nobody knows what they were labelled by.
        new: the lists as they are.
        table: the labels of `new`.
    """
    if old is None or old["rest"] != new["rest"]:
        return EVERYTHING
    codes, systems = _added(_by_system(old["codes"]), _by_system(new["codes"]))
    words, _ = _added(_by_phrase(old["words"]), _by_phrase(new["words"]))
    sources, _ = _added(_by_source(old["sources"]), _by_source(new["sources"]))
    return Gains(
        by_codes=table.raised(codes), systems=systems, by_rest=table.raised(words | sources)
    )


def _codes(sensitivity: Sensitivity) -> Iterator[list[str]]:
    for found in sensitivity.lists:
        kind = ("prefix" if found.is_prefix else "exact") + (" ndc" if found.is_ndc else "")
        for code, labels in found.lines:
            for system in found.systems:
                yield [system, kind, code, " ".join(sorted(labels))]


_Lines = Mapping[tuple[str, ...], set[str]]


def _added(old: _Lines, new: _Lines) -> tuple[set[str], frozenset[str]]:
    """The labels that a line has now and did not have, and the first words of such lines."""
    more = {key: labels - old.get(key, set()) for key, labels in new.items()}
    brought = {label for labels in more.values() for label in labels}
    return brought, frozenset(key[0] for key, labels in more.items() if labels)


def _by_system(rows: Iterable[list[str]]) -> _Lines:
    found: dict[tuple[str, ...], set[str]] = {}
    for system, kind, code, labels in rows:
        found.setdefault((system, kind, code), set()).update(labels.split())
    return found


def _by_phrase(rows: Iterable[list[str]]) -> _Lines:
    found: dict[tuple[str, ...], set[str]] = {}
    for phrase, labels, unless in rows:
        found.setdefault((phrase, unless), set()).update(labels.split())
    return found


def _by_source(sources: Mapping[str, list[str]]) -> _Lines:
    return {(name,): set(labels) for name, labels in sources.items()}


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
