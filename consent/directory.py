"""Who the references of a Consent mean, by the hub's own directory."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC

from consent.from_fhir.members import Collectives, Member, Members
from hie.kernel.fhir import FhirJson, split_reference
from hie.kernel.ids import OrganizationId


@dataclass(frozen=True, slots=True)
class HubDirectory:
    """Who references mean, by the hub's own directory.

    Attributes:
        identified: the hub id of (type, identifier system, value).
        sources_of: the feeds of an organisation.
        groups: Groups, CareTeams and PractitionerRoles that were looked up, by `Type/<hub id>`;
            None = none was, and a group stands for itself: enough to see whether a Consent
            would widen anything, never compiled.
    """

    identified: Callable[[str, str, str], str]
    sources_of: Callable[[OrganizationId], frozenset[str]]
    groups: Mapping[str, FhirJson] | None = None

    def grantee(self, reference: FhirJson) -> str | None:
        """`Type/<hub id>` of a literal reference, or of an identifier with its type."""
        literal = split_reference(str(reference.get("reference", "")))
        if literal is not None:
            return "/".join(literal)
        identifier = reference.get("identifier")
        named = identifier if isinstance(identifier, dict) else {}
        system, value = named.get("system"), named.get("value")
        kind = reference.get("type", "Organization")
        if "reference" in reference or not (isinstance(system, str) and isinstance(value, str)):
            return None
        return f"{kind}/{self.identified(str(kind), system, value)}"

    def sources(self, organization: str) -> frozenset[str]:
        """The feeds of `Organization/<hub id>`; none of anything else."""
        kind, _, found = organization.partition("/")
        if kind != "Organization":
            return frozenset()
        return frozenset(self.sources_of(OrganizationId(found)))

    def members(self, name: str) -> Members:
        """Those whom a group means; incomplete where it is not known."""
        if self.groups is None:
            return Members((Member(name),))
        return Collectives(self.groups, self.grantee, UTC).members(name)
