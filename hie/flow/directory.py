"""Organizations, practitioners and places: one per identifier, whoever names them."""

import base64
from collections.abc import Iterable, Sequence
from typing import Final

from adapters.sources import (
    ADHOC_ORGANIZATION_SYSTEM,
    ADHOC_PREFIX,
    OrganizationRef,
    Source,
    SourceRegistry,
)
from hie.crypto import KeyRing
from hie.flow.placement import Origin, Placement
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import OrganizationId, SourceId

_ADHOC: Final = "adhoc-"


class Directory:
    """Ids of the directory, and the organisations that the sources speak for."""

    def __init__(self, ring: KeyRing, sources: SourceRegistry) -> None:
        self._ring = ring
        self._sources = sources
        self._adhoc: set[SourceId] = set()

    def learn(self, source_id: SourceId) -> None:
        """Remember an ad-hoc source that has sent something."""
        if source_id.startswith(ADHOC_PREFIX):
            self._adhoc.add(source_id)

    def organization_id(self, reference: OrganizationRef) -> OrganizationId:
        """The id of the organisation with this identifier.

        An ad-hoc organisation's id spells its name, so that its feed is known without a file.
        """
        if reference.system == ADHOC_ORGANIZATION_SYSTEM:
            return OrganizationId(_adhoc_id(reference.value))
        return OrganizationId(self.identified("Organization", reference.system, reference.value))

    def identified(self, type_name: str, system: str, value: str) -> str:
        """The id of the one directory resource that has this identifier."""
        if type_name == "Organization" and system == ADHOC_ORGANIZATION_SYSTEM:
            return _adhoc_id(value)
        return self._ring.blind("directory", type_name, system, value)

    def id_of(self, origin: Origin, resource: FhirJson, key: Sequence[str], fallback: str) -> str:
        """The id of a directory resource: by its first identifier, key, or message."""
        type_name = resource["resourceType"]
        for identifier in resource.get("identifier", ()):
            if identifier.get("system") and identifier.get("value"):
                return self.identified(type_name, identifier["system"], identifier["value"])
        if key:
            return self._ring.blind("directory", origin.source_id, type_name, *key)
        return self._ring.blind("directory", str(origin.message_id), type_name, fallback)

    def resolve_organization(self, named: str) -> OrganizationId | None:
        """The organisation of a source by id, `system|value` or bare identifier value."""
        for reference in self._references():
            organization = self.organization_id(reference)
            if named in (
                organization,
                f"Organization/{organization}",
                f"{reference.system}|{reference.value}",
                reference.value,
            ):
                return organization
        unknown = self._sources.by_id(f"{ADHOC_PREFIX}|{named}")
        return self.organization_id(unknown.organization) if unknown and named else None

    def called(self, organization: str) -> tuple[str, str]:
        """Name and address of an organisation by its id; "" for what no file says."""
        for reference in self._references():
            if self.organization_id(reference) == organization:
                return reference.name, reference.address
        return _spelled(organization) if organization.startswith(_ADHOC) else "", ""

    def grantees(self, organization: OrganizationId) -> frozenset[OrganizationId]:
        """The organisation and its ancestors: what a Consent may name to mean it."""
        by_name = {f"{r.system}|{r.value}": r for r in self._references()}
        ids = {self.organization_id(r): r for r in by_name.values()}
        found: set[OrganizationId] = {organization}
        reference = ids.get(organization)
        while reference is not None and reference.parent:
            system, _, value = reference.parent.partition("|")
            parent = OrganizationId(self.identified("Organization", system, value))
            if parent in found:
                break
            found.add(parent)
            reference = by_name.get(reference.parent)
        return frozenset(found)

    def above(self, organization: str) -> frozenset[str]:
        """The ids of an organisation and of those it belongs to."""
        return frozenset(self.grantees(OrganizationId(organization)))

    def sources_of(self, organization: OrganizationId) -> frozenset[SourceId]:
        """Feeds that speak for an organisation."""
        if organization.startswith(_ADHOC):
            return frozenset(
                source_id
                for source_id in self._adhoc
                | {SourceId(f"{ADHOC_PREFIX}|{_spelled(organization)}")}
                if (source := self._sources.by_id(source_id)) is not None
                and self.organization_id(source.organization) == organization
            )
        return frozenset(
            source.id
            for source in self._sources.all()
            if self.organization_id(source.organization) == organization
        )

    def standing(self) -> list[tuple[str, str, bool]]:
        """Of each source file its feed, whose it is, and whether it vouches for patients."""
        return [
            (source.id, self.organization_id(source.organization), source.attests_verification)
            for source in self._sources.all()
        ]

    def breaks_glass(self, organization: OrganizationId) -> bool:
        """Whether a source file of an organisation lets its users break the glass."""
        found = (self._sources.by_id(name) for name in self.sources_of(organization))
        return any(source.breaks_glass for source in found if source)

    def source_of(self, organization: OrganizationId) -> Source | None:
        """The feed an organisation writes as when it writes FHIR: its first by id."""
        found = sorted(self.sources_of(organization))
        return self._sources.by_id(found[0]) if found else None

    def placements(self) -> list[Placement]:
        """The organisations of the source files, as resources."""
        return [
            Placement(
                type="Organization",
                id=self.organization_id(reference),
                resource=_organization(reference),
            )
            for reference in self._references()
        ]

    def _references(self) -> Iterable[OrganizationRef]:
        unique = {(s.organization.system, s.organization.value): s for s in self._sources.all()}
        return [source.organization for source in unique.values()]


def _adhoc_id(name: str) -> str:
    """An id that spells the organisation's name."""
    return f"{_ADHOC}{base64.b32encode(name.encode()).decode().rstrip('=').lower()}"[:64]


def _spelled(organization: str) -> str:
    """The name an ad-hoc organisation's id spells; empty where it spells none."""
    spelled = organization[len(_ADHOC) :].upper()
    try:
        return base64.b32decode(spelled + "=" * (-len(spelled) % 8)).decode()
    except ValueError:
        return ""


def _organization(reference: OrganizationRef) -> FhirJson:
    return {
        "resourceType": "Organization",
        "identifier": [{"system": reference.system, "value": reference.value}],
        "active": True,
        "name": reference.name,
    }
