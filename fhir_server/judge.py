"""The check of resources at the door and of `$validate`: structure, then all beyond it.

Structure is judged by `fhir_server.validate` and always counts. Sound resources are held to
R4's invariants and bindings, to the profiles they claim, and to those their source's file asks
for; the source's policy says what comes of a fault (`adapters.validation_policy`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from adapters.sources import SourceRegistry
from adapters.validation_policy import Action, ValidationPolicy, Verdict
from fhir_server import validate
from fhir_server.profiles.check import Checker, Finding, Kind, finding
from fhir_server.profiles.everywhere import Everywhere
from fhir_server.profiles.load import Profiles
from fhir_server.profiles.model import Profile
from fhir_server.terminology.vocabulary import Vocabulary
from hie.kernel.errors import Issue
from hie.kernel.fhir import FhirJson

#: Issues of one resource told at most.
MAX_ISSUES: Final = 100
_FAULTY: Final = frozenset({"error", "fatal"})


class Judge:
    """Says what is wrong with a resource, and what its source wants to come of it."""

    def __init__(self, profiles: Profiles, vocabulary: Vocabulary, sources: SourceRegistry) -> None:
        self._profiles = profiles
        self._sources = sources
        self._checker = Checker(profiles, vocabulary)
        self._everywhere = Everywhere(profiles, vocabulary, self._checker, validate.elements)

    def verdict(self, resource: FhirJson, source_id: str) -> Verdict:
        """What comes of a resource that a source sends.

        Args:
            resource: parsed JSON, fractions as Decimal.
            source_id: the source whose policy counts.
        """
        issues = validate.validate(resource)
        if any(issue.severity in _FAULTY for issue in issues):
            return Verdict(issues=issues)
        source = self._sources.by_id(source_id)
        policy = source.validation if source else ValidationPolicy()
        found = self.findings(resource, asked=policy.profiles)
        told = [*issues, *(_weighed(each, policy) for each in found if _counts(each, policy))]
        labels = {
            each.kind.value
            for each in found
            if _action(each.kind, policy) is Action.LABEL and each.issue.severity in _FAULTY
        }
        return Verdict(issues=tuple(told[:MAX_ISSUES]), labels=tuple(sorted(labels)))

    def issues(self, resource: FhirJson, profiles: Sequence[str] = ()) -> tuple[Issue, ...]:
        """Every fault of a resource, whoever sent it.

        Args:
            resource: parsed JSON, fractions as Decimal.
            profiles: urls it is to meet beside those it claims; an unknown one is a fault.
        """
        is_bundle = isinstance(resource, dict) and resource.get("resourceType") == "Bundle"
        structure = (validate.validate_bundle if is_bundle else validate.validate)(resource)
        if any(issue.severity in _FAULTY for issue in structure):
            return structure
        found = [each.issue for each in self.findings(resource, named=profiles)]
        return tuple([*structure, *found][:MAX_ISSUES])

    def findings(
        self, resource: FhirJson, *, asked: Sequence[str] = (), named: Sequence[str] = ()
    ) -> list[Finding]:
        """What is wrong with a resource of sound structure, each fault once.

        Args:
            resource: of sound structure.
            asked: urls of profiles, of which it must meet one of its type.
            named: urls of profiles it must meet, each.
        """
        at = resource["resourceType"]
        found = [*self._everywhere.check(resource, at), *self._claimed(resource, at)]
        for url in named:
            found += self._against(url, resource, at, f"{at}.meta.profile", is_asked=True)
        found += self._best(asked, resource, at)
        for place, inner in _embedded(resource, at):
            found += self._claimed(inner, place)
        return list(dict.fromkeys(found))

    def _claimed(self, resource: FhirJson, at: str) -> Iterator[Finding]:
        """What is wrong by the profiles a resource claims in `meta.profile`."""
        claims = (resource.get("meta") or {}).get("profile") or ()
        for n, url in enumerate(claims):
            place = f"{at}.meta.profile[{n}]"
            yield from self._against(url, resource, at, place, is_asked=False)

    def _against(
        self, url: str, resource: FhirJson, at: str, place: str, *, is_asked: bool
    ) -> Iterator[Finding]:
        profile = self._profiles.get(url)
        if profile is None:
            severity = "error" if is_asked else "information"
            text = "this profile is not known here: nothing was checked against it"
            yield finding(Kind.PROFILE, place, text, "not-found", severity)
        elif profile.type != resource["resourceType"]:
            yield finding(Kind.PROFILE, place, "expected a profile of this type", "invalid")
        else:
            yield from self._checker.check(profile, resource, at, resource)

    def _best(self, urls: Iterable[str], resource: FhirJson, at: str) -> list[Finding]:
        """What is wrong by the profile that fits best; nothing where none is of the type."""
        asked: list[Profile] = []
        for url in urls:
            profile = self._profiles.get(url)
            if profile is not None and profile.type == resource["resourceType"]:
                asked.append(profile)
        found = [self._checker.check(each, resource, at, resource) for each in asked]
        return min(found, key=_faults, default=[])


def _faults(found: Sequence[Finding]) -> int:
    return sum(each.issue.severity in _FAULTY for each in found)


def _embedded(resource: FhirJson, at: str) -> Iterator[tuple[str, FhirJson]]:
    """The resources of a Bundle's entries, with their places."""
    entries = resource.get("entry") if resource["resourceType"] == "Bundle" else None
    for n, entry in enumerate(entries if isinstance(entries, list) else []):
        inner = entry.get("resource") if isinstance(entry, dict) else None
        if isinstance(inner, dict) and isinstance(inner.get("resourceType"), str):
            yield f"{at}.entry[{n}].resource", inner


def _action(kind: Kind, policy: ValidationPolicy) -> Action:
    by_kind = {
        Kind.PROFILE: policy.profile,
        Kind.REFERENCE: policy.reference,
        Kind.TERMINOLOGY: policy.terminology,
    }
    return by_kind[kind]


def _counts(found: Finding, policy: ValidationPolicy) -> bool:
    return _action(found.kind, policy) is not Action.IGNORE


def _weighed(found: Finding, policy: ValidationPolicy) -> Issue:
    """The issue with the severity that its source's policy gives it."""
    if found.issue.severity in _FAULTY and _action(found.kind, policy) is not Action.REJECT:
        return replace(found.issue, severity="warning")
    return found.issue
