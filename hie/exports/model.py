"""What an export is: what was asked, how far it is, what it holds (pure).

A job holds no resource. It holds a list: for each person the keys of what the caller may see,
by type. A file is read from the list when it is asked for.
Spec: https://hl7.org/fhir/uv/bulkdata/STU2/export.html
"""

import json
import sys
from array import array
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final, Protocol

from hie.kernel.context import Caller
from hie.store.listing import Span
from hie.store.query import MAX_US, MIN_US, Query

#: In a list: the type number of what was deleted; resource types begin at 1.
DELETED: Final = 0
#: In a list: the golden Patient, which is made when it is read and has no key of its own.
GOLDEN: Final = 0
#: How long a finished list can be read.
KEPT_SECONDS: Final = 24 * 3600
#: Resources of all types that the files of one number hold together, about.
FILE_RESOURCES: Final = 50_000
#: What was being written at the moment of the list is committed so much later, at the latest.
SETTLE_SECONDS: Final = 1.0

Content = Mapping[int, tuple[int, ...]]


class Level(StrEnum):
    """Whose data is asked for."""

    SYSTEM = "system"
    PATIENT = "patient"
    GROUP = "group"


class State(StrEnum):
    """How far a job is."""

    WORKING = "working"
    COMPLETE = "complete"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked for, once read and allowed.

    Attributes:
        request: the address of the kick-off, told in the manifest.
        types: the resource types that are listed; never empty.
        filters: `(type, search)`; a resource of a filtered type meets one of its searches.
        since_us, until_us: bounds of what changed.
        elements: `(type or "", element)`: what is kept of each resource; () = all of it.
        group_id: of a Group's export.
        patients: ids of Patients that were named; None = all of the level.
        members: persons that a Group and `patients` come to; None = everybody.
    """

    level: Level
    request: str
    types: tuple[str, ...]
    filters: tuple[tuple[str, str], ...] = ()
    since_us: int = MIN_US
    until_us: int = MAX_US
    elements: tuple[tuple[str, str], ...] = ()
    group_id: str = ""
    patients: tuple[str, ...] | None = None
    members: tuple[str, ...] | None = None

    @property
    def has_since(self) -> bool:
        """Whether deletions are told."""
        return self.since_us > MIN_US

    def to_bytes(self) -> bytes:
        """Its stored form; holds search values, and is sealed before it is stored."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, stored: bytes) -> "Asked":
        """What `to_bytes` made."""
        found = json.loads(stored)
        for name in ("types", "patients", "members"):
            found[name] = None if found[name] is None else tuple(found[name])
        for name in ("filters", "elements"):
            found[name] = tuple((first, second) for first, second in found[name])
        return cls(**{**found, "level": Level(found["level"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One export.

    Attributes:
        job_id: 128 random bits in its addresses.
        owner: keyed hash of the caller it belongs to.
        token_id: the token that began it; what it was revoked for ends the job.
        asked: what was asked for.
        as_of_us: the moment of the list, `transactionTime`; whole milliseconds.
        place: where listing goes on, as the collector wrote it.
        batch: number of the files that are being filled; the first is 1.
        in_batch: resources in them.
        rows: entries of the list so far.
        listed: resources so far, of what the caller may see.
        ended_us: when it was complete, failed or cancelled.
    """

    pk: int
    job_id: str
    owner: str
    token_id: str
    organization: str
    asked: Asked
    state: State
    created_us: int
    as_of_us: int
    place: str
    batch: int
    in_batch: int
    rows: int
    listed: int
    ended_us: int | None
    expires_us: int

    @property
    def span(self) -> Span:
        """Which versions its list takes."""
        return Span(
            as_of_us=self.as_of_us, since_us=self.asked.since_us, until_us=self.asked.until_us
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """An entry of the list: keys of a person's resources, by type number.

    Attributes:
        person_id: "" = nobody's.
        told_us: when the person's audit event was written; None = nothing of it left yet.
    """

    seq: int
    batch: int
    person_id: str
    content: Content
    told_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A file: the resources of one type in one batch; `type_id` DELETED = what is gone.

    Attributes:
        count: resources in it; None where they were not counted anew.
    """

    batch: int
    type_id: int
    count: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a step of listing found; stored as a whole or not at all.

    Attributes:
        place: where the next step begins.
        holdings: person ("" = nobody) and content.
        others: `(person, key)` of what belongs to the list and to another person, or to nobody;
            once each in a job, however often it is found.
    """

    place: str
    holdings: tuple[tuple[str, Content], ...] = ()
    others: frozenset[tuple[str, int]] = frozenset()
    is_last: bool = False


class Tokens(Protocol):
    """What exports ask of the authorization server."""

    async def standing(self, token_id: str, /) -> Caller | None:
        """Whom a token stands for, expired or not; None once it was revoked or forgotten."""
        ...


class Filters(Protocol):
    """Reads the searches of `_typeFilter`."""

    def __call__(self, type_name: str, search: str, now_us: int, /) -> Query:
        """The query of a search.

        Raises:
            HieError: INVALID, one issue per fault.
        """
        ...


def pack(content: Content) -> bytes:
    """A list's entry as stored: for each type its number, how many keys, the keys."""
    numbers = array("q")
    for type_id in sorted(content):
        numbers.extend((type_id, len(content[type_id]), *content[type_id]))
    return _little(numbers).tobytes()


def unpack(stored: bytes) -> dict[int, tuple[int, ...]]:
    """What `pack` made."""
    numbers = array("q")
    numbers.frombytes(stored)
    numbers = _little(numbers)
    found: dict[int, tuple[int, ...]] = {}
    at = 0
    while at < len(numbers):
        type_id, count = numbers[at], numbers[at + 1]
        found[type_id] = tuple(numbers[at + 2 : at + 2 + count])
        at += 2 + count
    return found


def _little(numbers: "array[int]") -> "array[int]":
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def may_export(caller: Caller, type_name: str) -> bool:
    """Whether the caller is a system that may read and search a type."""
    scopes = [scope for scope in caller.scopes if scope.level == "system"]
    return all(any(s.allows(type_name, action) for s in scopes) for action in "rs")
