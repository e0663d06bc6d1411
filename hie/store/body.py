"""Stored bodies: a sender's JSON with the places the hub fills in when it serves.

Stored is compact JSON, every number exactly as written. Between two bytes 0x01, which JSON
text cannot contain, stands a splice: `I` the id, `M` the first members of meta, `P<n>` the
person that the n-th patient reference points to now. Behind the text `R` names the source records
whose the patient references were when it was written, in that order; bodies of the first
release lack it. Served is the bytes joined: no parse, no dump, and no ciphertext changes when an
identity does.
Spec: https://hl7.org/fhir/R4/json.html
"""

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import orjson

from hie.kernel.clock import instant
from hie.kernel.fhir import FhirJson

_MARK: Final = b"\x01"
_ID: Final = orjson.Fragment(b'"\x01I\x01"')
#: Resources of one message have one time; writing it out takes as long as filling a body.
_instant = lru_cache(maxsize=4096)(instant)
#: The splices of a body that names one person or none.
_OF_ONE: Final = frozenset((b"I", b"M", b"P0"))
_FILLED_META: Final = frozenset({"versionId", "lastUpdated", "security"})


def encode(
    resource: FhirJson, patients: Mapping[str, int], is_label: Callable[[FhirJson], bool]
) -> bytes:
    """The stored form of a resource.

    Args:
        resource: references resolved to hub ids; patients as `Patient/<source record id>`.
        patients: source record id to its ordinal in the resource's compartments.
        is_label: whether a security coding is held by the label mask; the sender's others stay.
    """
    meta = resource.get("meta") or {}
    foreign = [c for c in meta.get("security", ()) if not is_label(c)]
    rest = {name: value for name, value in meta.items() if name not in _FILLED_META}
    text = b"{\x01M\x01" + b"".join(b"," + _dump(c) for c in foreign) + b"]"
    text += (b"," + _dump(rest)[1:]) if rest else b"}"
    body = {"resourceType": resource["resourceType"], "id": _ID, "meta": orjson.Fragment(text)}
    body |= {n: v for n, v in resource.items() if n not in ("resourceType", "id", "meta")}
    stored = _dump(body)
    for record, ordinal in patients.items():
        # Inside a JSON string the quotes would be escaped: this can only be a Reference.
        stored = stored.replace(
            b'"reference":"Patient/%b"' % record.encode(),
            b'"reference":"\x01P%d\x01"' % ordinal,
        )
    return stored


def filed(stored: bytes, records: Sequence[str]) -> bytes:
    """A stored body that says whose it is: the records of its patients, by ordinal."""
    if not records or not stored:
        return stored
    return stored + b"\x01R" + ",".join(records).encode() + _MARK


class Opened:
    """A stored body, cut at its splices.

    Attributes:
        persons: how many persons must be known to fill it; 1 also where it names none.
        records: whose it was when it was written, by ordinal; () where it does not say.
    """

    __slots__ = ("_segments", "persons", "records")

    def __init__(self, stored: bytes) -> None:
        self._segments = stored.split(_MARK)
        self.records: tuple[str, ...] = ()
        if len(self._segments) > 2 and self._segments[-2][:1] == b"R":
            self.records = tuple(self._segments[-2][1:].decode().split(","))
            del self._segments[-2:]
        self.persons = 1
        if not _OF_ONE.issuperset(self._segments[1::2]):
            self.persons = max(int(s[1:]) + 1 for s in self._segments[1::2] if s[:1] == b"P")

    def filled(
        self,
        resource_id: str,
        version: int | str,
        last_updated_us: int,
        security: bytes,
        persons: Sequence[str],
    ) -> bytes:
        """The finished JSON.

        Args:
            resource_id: the FHIR id.
            version: the version id.
            last_updated_us: when the version came to be.
            security: the label codings, JSON objects joined by commas; never empty.
            persons: person ids by ordinal; one at least, "" where there is none. A source
                record where the reader is not told the person.
        """
        meta = f'"versionId":"{version}","lastUpdated":"{_instant(last_updated_us)}","security":['
        fills = {
            b"I": resource_id.encode(),
            b"M": meta.encode() + security,
            b"P0": b"Patient/" + persons[0].encode(),
        }
        for ordinal in range(1, len(persons)):
            fills[b"P%d" % ordinal] = b"Patient/" + persons[ordinal].encode()
        segments = self._segments
        segments[1::2] = [fills[splice] for splice in segments[1::2]]
        return b"".join(segments)


def decode(stored: bytes, *, resource_id: str, records: Sequence[str]) -> FhirJson:
    """The parsed resource, patients as `Patient/<source record id>`; for the write path."""
    segments = stored.split(_MARK)
    for position in range(1, len(segments), 2):
        splice = segments[position]
        if splice == b"I":
            segments[position] = resource_id.encode()
        elif splice == b"M":
            segments[position] = b'"security":['
        elif splice[:1] == b"R":
            segments[position] = b""
        else:
            segments[position] = b"Patient/" + records[int(splice[1:])].encode()
    text = b"".join(segments).replace(b'"security":[,', b'"security":[', 1)
    parsed: FhirJson = json.loads(text, parse_float=Decimal)
    return parsed


def persons_named(stored: bytes) -> int:
    """How many persons must be known to serve the body."""
    return Opened(stored).persons


def dump(value: Any) -> bytes:
    """Compact JSON with Decimal numbers as they were written."""
    return _dump(value)


def _dump(value: Any) -> bytes:
    return orjson.dumps(value, default=_exact)


def _exact(value: Any) -> Any:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError(f"not JSON: {type(value).__name__}")
