"""The references of a FHIR write: what they name, and their rewriting to hub ids (pure).

A reference may name another entry of the same transaction, something the source sent before
(by its address there or by its own id), an id of the hub, or a business identifier. What
stays: `#id` of a contained resource, the address of another server, and identifiers of others
than the subject.
Spec: https://hl7.org/fhir/R4/references.html, https://hl7.org/fhir/R4/bundle.html#references
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from adapters.fhir.body import member
from adapters.fhir.condition import condition_of, identifiers_of
from adapters.fhir.plan import (
    URN,
    Fault,
    Identified,
    Matching,
    Method,
    Named,
    Plan,
    PlanKind,
    PlannedWrite,
    Target,
)
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import RELATIVE, FhirJson

#: Elements that say whose the content is; there a bare identifier must lead to a patient.
SUBJECT_ELEMENTS: Final = frozenset({"subject", "patient", "beneficiary"})
#: Elements of type uri and url that may name another entry, besides `reference`.
_URL_MEMBERS: Final = ("url", "uri", "valueUri", "valueUrl", "valueOid", "valueUuid")
_LINK: Final = re.compile(r'((?:href|src)=")([^"]+)(")')
_CONDITIONAL: Final = re.compile(r"^([A-Z][A-Za-z]+)\?(.+)$")
_ELSEWHERE: Final = re.compile(r"^https?://.+/([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}$")
_WEB: Final = re.compile(r"^https?://[^\s/]+/\S+$")
_UNKNOWN: Final = "the reference leads to nothing in the request or among what the source sent"
_UNKNOWN_IN_BATCH: Final = f"{_UNKNOWN}; entries of a batch cannot refer to each other"
_NO_REFERENCE: Final = (
    "a reference is `[type]/[id]`, a fullUrl of the request, `#[id]` or `[type]?identifier=`"
)
_NOT_CONTAINED: Final = "the reference names no contained resource"

#: (type, id) as the hub serves it.
HubId = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The resources with every reference rewritten, by the write's name.

    Attributes:
        faults: references that lead nowhere, in the order found; their writes are absent.
    """

    resources: Mapping[str, FhirJson]
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Use:
    """One place that names another resource.

    Attributes:
        holder, name: the object and its member that is rewritten.
        found: what it names; None where the syntax alone is a fault.
        is_required: whether it is a fault when that is unknown.
        version: of the reference, kept only where the id stays the same.
    """

    path: str
    holder: FhirJson
    name: str
    found: Target | PlannedWrite | None
    is_required: bool = True
    version: str = ""
    text: str = _UNKNOWN


class References:
    """The references of one plan.

    Args:
        plan: the writes.
        bases: addresses of this hub's FHIR base, without a slash at the end.
    """

    def __init__(self, plan: Plan, bases: tuple[str, ...] = ()) -> None:
        self._plan = plan
        self._bases = bases
        self._by_name: dict[str, PlannedWrite] = {}
        self._by_identifier: dict[Identified, PlannedWrite] = {}
        self._is_batch = plan.kind is PlanKind.BATCH
        if not self._is_batch:  # entries of a batch do not know each other
            self._learn()
        self._work: list[tuple[PlannedWrite, FhirJson, list[_Use]]] = []
        for write in plan.writes:
            if write.resource is not None:
                resource = _copy(write.resource)
                self._work.append((write, resource, list(self._uses(write, resource))))

    def targets(self) -> frozenset[Target]:
        """All that must be looked up: references, conditions and what updates aim at."""
        wanted: set[Target] = set()
        for write in self._plan.writes:
            wanted |= {t for t in (write.target, write.condition) if t is not None}
        for _, _, uses in self._work:
            wanted |= {u.found for u in uses if isinstance(u.found, Named | Identified | Matching)}
        return frozenset(wanted)

    def resolve(self, known: Mapping[Target, HubId], ids: Mapping[str, HubId]) -> Resolved:
        """Rewrite every reference to `Type/id` of the hub; the plan's own resources stay as sent.

        Args:
            known: what the looked-up targets are; unknown ones absent.
            ids: the hub id of each write, by its name.
        """
        resources: dict[str, FhirJson] = {}
        faults: list[Fault] = []
        for write, resource, uses in self._work:
            broken = [self._fault(write, use) for use in uses if not _rewrite(use, known, ids)]
            self._rewrite_narrative(resource, ids)
            faults += broken
            if not broken:
                resources[write.name] = resource
        return Resolved(resources=resources, faults=tuple(faults))

    def _learn(self) -> None:
        for write in self._plan.writes:
            if write.method is Method.DELETE or write.resource is None:
                continue
            for name in (write.full_url, *write.aliases):
                if name:
                    self._by_name.setdefault(name, write)
            for system, value in identifiers_of(write.resource):
                for known_system in (system, None):
                    key = Identified(write.type, known_system, value)
                    self._by_identifier.setdefault(key, write)

    def _uses(self, write: PlannedWrite, resource: FhirJson) -> Iterator[_Use]:
        parts = resource.get("contained")
        inner = parts if isinstance(parts, list) else []
        contained = {part.get("id") for part in inner if isinstance(part, dict)}
        for path, holder in _objects(resource, write.expression):
            reference = holder.get("reference")
            if isinstance(reference, str):
                is_settled = reference in write.settled
                use = None if is_settled else self._literal(path, holder, contained)
            else:
                use = self._logical(path, holder)
            if use is not None:
                yield use
            yield from self._urls(path, holder)

    def _literal(self, path: str, holder: FhirJson, contained: set[Any]) -> _Use | None:
        reference: str = holder["reference"]
        if reference.startswith("#"):
            is_there = reference == "#" or reference[1:] in contained
            return None if is_there else _broken(path, holder, _NOT_CONTAINED)
        if found := _CONDITIONAL.match(reference):
            return self._conditional(path, holder, found[1], found[2])
        name, is_required = self._name(reference)
        if name is None:
            return _broken(path, holder, _NO_REFERENCE)
        base, _, version = name.partition("/_history/")
        return _Use(
            path=path,
            holder=holder,
            name="reference",
            found=self._by_name.get(base) or Named(base),
            is_required=is_required,
            version=version,
        )

    def _conditional(self, path: str, holder: FhirJson, kind: str, query: str) -> _Use:
        try:
            wanted = condition_of(kind, query)
        except HieError as error:
            return _broken(path, holder, error.text)
        local = self._by_identifier.get(wanted) if isinstance(wanted, Identified) else None
        return _Use(path=path, holder=holder, name="reference", found=local or wanted)

    def _name(self, reference: str) -> tuple[str | None, bool]:
        """The name a literal reference goes by, and whether it must be known."""
        for base in self._bases:
            if reference.startswith(f"{base}/"):
                reference = reference[len(base) + 1 :]
                break
        if RELATIVE.match(reference) or reference.startswith(URN):
            return reference, True
        if _WEB.match(reference):
            # Another server's resource may be pointed to; another server's patient may not.
            found = _ELSEWHERE.match(reference.partition("/_history/")[0])
            return reference, found is not None and found[1] == "Patient"
        return None, True

    def _logical(self, path: str, holder: FhirJson) -> _Use | None:
        """A subject that is named by an identifier alone."""
        identifier = holder.get("identifier")
        if not isinstance(identifier, dict) or not isinstance(identifier.get("value"), str):
            return None
        element = path.rpartition(".")[2].partition("[")[0]
        kind = holder.get("type", "Patient" if element in SUBJECT_ELEMENTS else "")
        if kind != "Patient" or "resourceType" in holder:
            return None
        system = identifier.get("system")
        known_system = system if isinstance(system, str) else None
        wanted = Identified("Patient", known_system, identifier["value"])
        found = self._by_identifier.get(wanted) or wanted
        return _Use(path=path, holder=holder, name="reference", found=found)

    def _urls(self, path: str, holder: FhirJson) -> Iterator[_Use]:
        for name in _URL_MEMBERS:
            value = holder.get(name)
            if not isinstance(value, str):
                continue
            local = self._by_name.get(value)
            if local is not None or (name == "url" and value.startswith("Binary/")):
                yield _Use(
                    path=member(path, name),
                    holder=holder,
                    name=name,
                    found=local or Named(value),
                    is_required=False,
                )

    def _rewrite_narrative(self, resource: FhirJson, ids: Mapping[str, HubId]) -> None:
        text = resource.get("text")
        if not isinstance(text, dict) or not isinstance(text.get("div"), str):
            return

        def linked(found: re.Match[str]) -> str:
            write = self._by_name.get(found[2])
            return f"{found[1]}{_spelled(ids[write.name])}{found[3]}" if write else found[0]

        text["div"] = _LINK.sub(linked, text["div"])

    def _fault(self, write: PlannedWrite, use: _Use) -> Fault:
        text = _UNKNOWN_IN_BATCH if self._is_batch and use.text == _UNKNOWN else use.text
        issue = Issue(text=text, code="not-found", expression=(use.path,))
        return Fault(position=write.position, category=Category.BUSINESS_RULE, issue=issue)


def _broken(path: str, holder: FhirJson, text: str) -> _Use:
    return _Use(path=path, holder=holder, name="reference", found=None, text=text)


def _rewrite(use: _Use, known: Mapping[Target, HubId], ids: Mapping[str, HubId]) -> bool:
    """Put the hub's id in place; False where a required one is unknown."""
    if use.found is None:
        return False
    is_local = isinstance(use.found, PlannedWrite)
    hub_id = ids[use.found.name] if isinstance(use.found, PlannedWrite) else known.get(use.found)
    if hub_id is None:
        return not use.is_required
    spelled = _spelled(hub_id)
    # A version number is the hub's own only where the source used the hub's own id.
    is_same = not is_local and use.found == Named(spelled)
    use.holder[use.name] = (
        f"{spelled}/_history/{use.version}" if use.version and is_same else spelled
    )
    return True


def _spelled(hub_id: HubId) -> str:
    return f"{hub_id[0]}/{hub_id[1]}"


def _objects(resource: FhirJson, start: str) -> Iterator[tuple[str, FhirJson]]:
    """Every object of the resource with its FHIRPath; a stored Bundle's entries are its own."""
    skipped = "entry" if resource.get("resourceType") == "Bundle" else ""
    stack: list[tuple[str, Any]] = [(start, resource)]
    while stack:
        path, node = stack.pop()
        if isinstance(node, list):
            stack += [
                (f"{path}[{n}]", node[n])
                for n in range(len(node) - 1, -1, -1)
                if isinstance(node[n], dict | list)
            ]
        elif isinstance(node, dict):
            yield path, node
            names = [n for n, child in node.items() if isinstance(child, dict | list)]
            if node is resource and skipped in names:
                names.remove(skipped)
            stack += [(member(path, name), node[name]) for name in reversed(names)]


def _copy(node: Any) -> Any:
    if isinstance(node, dict):
        return {name: _copy(child) for name, child in node.items()}
    if isinstance(node, list):
        return [_copy(child) for child in node]
    return node
