"""What the Consents of one person come to together (pure).

Each is read by itself; then those whose place another takes are cut back, then those that do
not reach everything are confined.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from consent.confine import Reach, confined
from consent.from_fhir.members import COLLECTIVE
from consent.from_fhir.provision import Directory
from consent.from_fhir.supersede import claims_of
from consent.model import Directive
from consent.regime import ConsentSettings
from consent.supersede import Claim, without_superseded
from hie.kernel.fhir import FhirJson, objects, split_reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One Consent, read.

    Attributes:
        source_id: who recorded it.
        is_trusted: the patient, or a privacy officer, recorded or verified just this.
        is_attested: its source says so of the patient, and that source's word counts.
    """

    source_id: str
    resource: FhirJson
    directive: Directive
    is_trusted: bool = False
    is_attested: bool = False


def several(
    said: Sequence[Said],
    reaches: Mapping[str, Reach],
    settings: ConsentSettings,
    directory: Directory,
) -> tuple[Directive, ...]:
    """The directives in effect, in the order of the Consents.

    A Consent speaks of others of its own recorder; one that the patient or a privacy officer
    stands for speaks of all. What is confined for a review takes nobody's denials away.

    Args:
        said: every Consent of the person, and those of others that bind.
        reaches: by Consent id, of those that do not reach everything.
        settings: the meaning of a status.
        directory: who references mean.
    """
    recorders = {one.directive.consent_id: one.source_id for one in said}
    claims = [
        claim
        for one in said
        for claim in _claims(one, reaches, settings, directory)
        if one.is_trusted or recorders.get(claim.of) == one.source_id
    ]
    left = without_superseded([one.directive for one in said], claims)
    return tuple(
        confined(directive, reaches[directive.consent_id])
        if directive.consent_id in reaches
        else directive
        for directive in left
    )


def _claims(
    one: Said, reaches: Mapping[str, Reach], settings: ConsentSettings, directory: Directory
) -> tuple[Claim, ...]:
    if one.directive.ignored == "awaits-verification":
        return ()
    name = one.directive.consent_id
    may_widen = (one.is_trusted or one.is_attested) and name not in reaches
    return claims_of(
        one.resource,
        consent_id=name,
        may_widen=may_widen,
        settings=settings,
        directory=directory,
    )


def groups_named(resources: Iterable[FhirJson]) -> frozenset[tuple[str, str]]:
    """The Groups, CareTeams and PractitionerRoles that resources refer to, as (type, id)."""
    named = (
        split_reference(reference)
        for resource in resources
        for element in objects(resource)
        if isinstance(reference := element.get("reference"), str)
    )
    return frozenset(found for found in named if found is not None and found[0] in COLLECTIVE)
