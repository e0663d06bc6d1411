"""What belongs to an account or a visit, and how it looks once it is another patient's. Pure.

What points to a visit belongs to it, and what points to that; so does what nobody else points
to (a document's content, a specimen). The patient, consents, accounts and episodes stay unless
they are what moves: an account outlives the visits charged to it.
"""

from collections.abc import Collection, Mapping
from copy import deepcopy
from typing import Any, Final

from hie.kernel.fhir import FhirJson, objects, rewrite_references

#: A resource by type and id.
Address = tuple[str, str]
Resources = Mapping[Address, FhirJson]

#: Never goes along.
_STAYS: Final = frozenset({"Patient", "Consent"})
#: Does not go along with what points to it.
_OUTLIVES: Final = _STAYS | {"Account", "EpisodeOfCare"}
_HOLDS_VISITS: Final = frozenset({"Account", "Encounter"})
#: Points to everything a message said: neither belongs to it nor keeps it from going.
_WITNESS: Final = "Provenance"


def belonging(seeds: Collection[Address], resources: Resources) -> frozenset[Address]:
    """The seeds and what goes with them, of the resources filed under one source record.

    A Provenance goes where everything it speaks of goes; else it is divided, see `divided`.
    """
    pointing = {at: named(resource) & resources.keys() for at, resource in resources.items()}
    moved = {at for at in seeds if at in resources}
    while True:
        more = {
            at
            for at, targets in pointing.items()
            if at not in moved and _goes_with(at, targets & moved)
        }
        more |= _nobody_elses(moved | more, pointing)
        if not more:
            break
        moved |= more
    witnesses = {
        at
        for at, targets in pointing.items()
        if at[0] == _WITNESS and targets & moved and _subjects(targets) <= moved
    }
    return frozenset(moved | witnesses)


def _goes_with(at: Address, moved: Collection[Address]) -> bool:
    """Whether a resource belongs to those of what moves that it points to.

    A visit does so to its account and to the visit it is part of, not to its diagnoses.
    """
    if at[0] == "Encounter":
        return any(kind in _HOLDS_VISITS for kind, _ in moved)
    return bool(moved) and at[0] not in _STAYS | {_WITNESS}


def _subjects(targets: Collection[Address]) -> set[Address]:
    """What a Provenance speaks of beside the patient."""
    return {at for at in targets if at[0] != "Patient"}


def _nobody_elses(
    moved: Collection[Address], pointing: Mapping[Address, Collection[Address]]
) -> set[Address]:
    """What moved resources point to and no other resource does."""
    mine = {at for one in moved for at in pointing[one]}
    others = {
        at
        for one, targets in pointing.items()
        if one not in moved and one[0] != _WITNESS
        for at in targets
    }
    return {at for at in mine - others if at not in moved and at[0] not in _OUTLIVES}


def named(resource: FhirJson) -> set[Address]:
    """What a resource refers to, and the Binary a document is kept in."""
    found = set()
    for element in objects(resource):
        for key in ("reference", "url"):
            value = element.get(key)
            if isinstance(value, str) and value.count("/") == 1:
                kind, _, rest = value.partition("/")
                found.add((kind, rest))
    return found


def given_to(
    resource: FhirJson, patients: Mapping[str, str], left: Collection[Address]
) -> FhirJson:
    """A resource of another patient now.

    Args:
        resource: as it is stored.
        patients: source record ids, before to after.
        left: what stays with the patient before; the resource refers to it no more.
    """
    renamed = {f"Patient/{before}": f"Patient/{after}" for before, after in patients.items()}
    gone = {f"{kind}/{key}" for kind, key in left}
    kept = {name: _without(value, gone) for name, value in deepcopy(resource).items()}
    kept = {name: value for name, value in kept.items() if value not in ([], {})}
    return rewrite_references(kept, lambda reference: renamed.get(reference, reference))


def _without(value: Any, gone: Collection[str]) -> Any:
    """A top-level element without references to what is gone."""
    if isinstance(value, dict):
        return {} if value.get("reference") in gone else value
    if isinstance(value, list):
        return [
            entry
            for entry in value
            if not (isinstance(entry, dict) and entry.get("reference") in gone)
        ]
    return value


def divided(provenance: FhirJson, moved: Collection[Address]) -> tuple[FhirJson, FhirJson] | None:
    """A Provenance of what stays, and one of what moved; None where it speaks of one side only."""
    names = {f"{kind}/{key}" for kind, key in moved}
    targets = provenance.get("target", [])
    gone = [target for target in targets if target.get("reference") in names]
    stays = [target for target in targets if target.get("reference") not in names]
    if not gone or not stays:
        return None
    return {**provenance, "target": stays}, {**provenance, "target": gone}


def repointed(resource: FhirJson, old: Address, new: Address) -> FhirJson:
    """The resource with every reference to the one leading to the other."""
    names = {f"{old[0]}/{old[1]}": f"{new[0]}/{new[1]}"}
    return rewrite_references(deepcopy(resource), lambda reference: names.get(reference, reference))


def united(kept: FhirJson, gone: FhirJson) -> FhirJson:
    """What stays of two that are one: its own elements, those it lacks, and the old numbers."""
    found = {**gone, **kept}
    numbers = [*kept.get("identifier", ()), *(_old(i) for i in gone.get("identifier", ()))]
    known: dict[tuple[Any, Any], FhirJson] = {}
    for number in numbers:
        known.setdefault((number.get("system"), number.get("value")), number)
    return {**found, "identifier": list(known.values())} if known else found


def renumbered(resource: FhirJson, system: str, value: str) -> FhirJson:
    """The resource with a number marked as the old one."""
    numbers = [
        _old(i) if i.get("value") == value and i.get("system", system) == system else i
        for i in resource.get("identifier", ())
    ]
    return {**resource, "identifier": numbers} if numbers else resource


def _old(identifier: FhirJson) -> FhirJson:
    return {**identifier, "use": "old"}
