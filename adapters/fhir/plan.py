"""The values a FHIR write is planned in: what is to be written, under which names (pure).

Spec: https://hl7.org/fhir/R4/http.html#transaction
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from adapters.fhir.body import Limits
from hie.kernel.envelope import Draft, WriteMode
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson

#: One per identifier in the whole hub, whoever sends them.
DIRECTORY_TYPES: Final = frozenset({"Organization", "Practitioner", "Location"})
#: Made by the hub alone.
READ_ONLY_TYPES: Final = frozenset({"AuditEvent"})
#: What operations are asked with and answer: R4 gives it no address to be stored at.
NEVER_STORED: Final = frozenset({"Parameters"})
#: What names a resource in its Bundle; beyond it only what is of the directory.
URN: Final = ("urn:uuid:", "urn:oid:")


class PlanKind(StrEnum):
    """How the writes of a request stand to each other."""

    SINGLE = "single"
    TRANSACTION = "transaction"  # all or nothing
    BATCH = "batch"  # each for itself


class Method(StrEnum):
    """What an entry does, in the order in which a Bundle is processed."""

    DELETE = "DELETE"
    POST = "POST"
    PUT = "PUT"
    PATCH = "PATCH"


@dataclass(frozen=True, slots=True)
class Named:
    """Something by a name of the source: `urn:uuid:...`, a full URL, or `Type/id`.

    `Type/id` may also be an id that the hub gave.
    """

    name: str


@dataclass(frozen=True, slots=True)
class Identified:
    """Something by a business identifier; `system` None = any system."""

    type: str
    system: str | None
    value: str


@dataclass(frozen=True, slots=True)
class Matching:
    """Something by other search parameters, `Observation?code=...&date=...`.

    Attributes:
        params: names with modifiers, and values, as a search has them; not checked yet.
    """

    type: str
    params: tuple[tuple[str, str], ...]


Target = Named | Identified | Matching
#: What a conditional write or reference looks for.
Condition = Identified | Matching


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedWrite:
    """One create, update, patch or delete.

    Attributes:
        position: 0-based entry of the Bundle; answers are given in this order.
        own_id: the id in the URL of an update, patch or delete, as the source knows it.
        condition: If-None-Exist of a create; what a conditional update or delete looks for.
            It matches only the source's own resources.
        if_match: the version that must be current; empty = none named.
        must_be_new: `If-None-Match: *`: an update that may only create.
        resource: without `id`, `meta.versionId` and `meta.lastUpdated`; None for a delete, and
            for a patch until what it changes was read.
        patch: operations of a JSON Patch (a list) or the Parameters of a FHIRPath Patch.
        settled: references that stay as they are, because a patch left them.
        expression: FHIRPath of the resource in the request.
        full_url: what other entries of the transaction may call it.
        aliases: what the source may call the resource in later requests too. A URN only where
            it is of the directory, sent ahead of those that refer to it: the same one may
            stand in every Bundle of a template, whoever these are about.
        identifiers: (system, value) of a directory resource, the deciding one first.
    """

    position: int
    method: Method
    type: str
    expression: str
    own_id: str = ""
    full_url: str = ""
    condition: Condition | None = None
    if_match: str = ""
    must_be_new: bool = False
    resource: FhirJson | None = None
    patch: Any = None
    settled: frozenset[str] = frozenset()
    aliases: tuple[str, ...] = ()
    identifiers: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The write's name within its request."""
        return f"entry-{self.position}"

    @property
    def target(self) -> Target | None:
        """What an update, patch or delete is aimed at; None for a create."""
        if self.own_id:
            return Named(f"{self.type}/{self.own_id}")
        return self.condition if self.method is not Method.POST else None

    @property
    def key(self) -> tuple[str, ...]:
        """What gives a new resource its id; empty = its place in the request.

        A directory resource goes by its first identifier, the same for every source; an
        update by the source's own id, the same each time that source uses it.
        """
        if self.identifiers:
            return ("identifier", *self.identifiers[0])
        return ("fhir", self.own_id) if self.own_id else ()

    def draft(self) -> Draft:
        """The write as a draft, its references as sent."""
        mode = WriteMode.UPSERT
        if self.method is Method.DELETE:
            mode = WriteMode.DELETE
        elif self.method is Method.POST and self.identifiers:
            mode = WriteMode.CREATE_IF_ABSENT
        resource = self.resource or {"resourceType": self.type}
        return Draft(name=self.name, resource=resource, key=self.key, mode=mode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why an entry cannot be carried out."""

    position: int
    category: Category
    issue: Issue


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The writes of one request.

    Attributes:
        entries: how many answers are due: entries of the Bundle, or 1.
        writes: those without a fault, in processing order: DELETE, POST, PUT, PATCH.
        faults: in entry order.
        reads: entries that read, answered by whoever reads, after the writes.
    """

    kind: PlanKind
    entries: int
    writes: tuple[PlannedWrite, ...]
    faults: tuple[Fault, ...] = ()
    reads: tuple[int, ...] = ()

    def require_sound(self) -> None:
        """Refuse a request that is all or nothing and has a fault.

        Raises:
            HieError: every fault as an issue, in the category of the first.
        """
        if self.faults and self.kind is not PlanKind.BATCH:
            raise refusal(self.faults)


def refusal(faults: Sequence[Fault]) -> HieError:
    """The error that carries these faults (at least one)."""
    first = faults[0]
    return HieError(first.category, first.issue.text, [fault.issue for fault in faults])


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRequest:
    """A write as it came over HTTP, its body parsed.

    Attributes:
        method: `POST`, `PUT`, `PATCH` or `DELETE`.
        target: below the base: empty (a Bundle), `Type`, `Type/id` or `Type?query`.
        resource: the body; None for a delete; a list of operations for a JSON Patch.
    """

    method: str
    target: str
    resource: Any = None
    if_none_exist: str = ""
    if_match: str = ""
    if_none_match: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSettings:
    """What the planner must know of this hub.

    Attributes:
        bases: its FHIR base addresses, without a slash at the end.
        types: resource types it stores; empty = any name that could be one.
    """

    bases: tuple[str, ...] = ()
    types: frozenset[str] = frozenset()
    limits: Limits = field(default_factory=Limits)
