"""One provision's elements: what is understood of each, and what was not (pure).

An element is a `Stated`: the values understood, and a note where some were not. A deny reads a
note as "any", a permit as "none but these".

Spec: https://hl7.org/fhir/R4/consent-definitions.html#Consent.provision
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, Final, Protocol

from consent.from_fhir.moments import ALWAYS, Span, span
from consent.model import ConsentSettings, Target, TargetKind
from hie.kernel.fhir import FhirJson, split_reference

#: Elements read elsewhere, or that change nothing.
_KNOWN: Final = frozenset(
    {"id", "extension", "type", "provision", "securityLabel", "dataPeriod", "period"}
)


class Directory(Protocol):
    """Who the references of a Consent mean; looked up before, so that reading stays pure."""

    def grantee(self, reference: FhirJson) -> str | None:
        """`Organization/<hub id>` and the like; None where the hub does not know it."""
        ...

    def sources(self, organization: str) -> frozenset[str]:
        """The feeds of `Organization/<hub id>`."""
        ...


@dataclass(frozen=True, slots=True)
class LiteralDirectory:
    """References taken as they stand, and the feeds of each organisation.

    Attributes:
        identifiers: `Type/<hub id>` by (system, value), for references by identifier.
        feeds: source ids by `Organization/<hub id>`.
    """

    identifiers: Mapping[tuple[str, str], str] = field(default_factory=dict)
    feeds: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def grantee(self, reference: FhirJson) -> str | None:
        """`Type/<hub id>` of a literal reference or a known identifier."""
        literal = split_reference(str(reference.get("reference", "")))
        if literal is not None:
            return "/".join(literal)
        identifier = reference.get("identifier")
        if not isinstance(identifier, dict):
            return None
        return self.identifiers.get((str(identifier.get("system")), str(identifier.get("value"))))

    def sources(self, organization: str) -> frozenset[str]:
        """The feeds of an organisation; none where it is not known."""
        return self.feeds.get(organization, frozenset())


@dataclass(frozen=True, slots=True)
class Stated:
    """One element: the values understood (None = any) and why some were not."""

    values: frozenset[Any] | None = None
    note: str = ""

    def void(self) -> bool:
        """Whether a permit with it can match nothing for certain."""
        return bool(self.note) and not self.values

    def wide(self) -> "Stated":
        """As a deny reads it."""
        return Stated() if self.note else self


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a provision says, with what it takes over."""

    stated: Mapping[str, Stated] = field(default_factory=dict)
    labels: tuple[Any, ...] | None = None
    data_period: Span = ALWAYS
    period: Span = ALWAYS

    def get(self, name: str) -> Stated:
        """What is stated of an element; any where nothing is."""
        return self.stated.get(name, Stated())

    def notes(self) -> list[str]:
        """Why a permit of this wish is void; empty when it is not."""
        voids = [stated.note for stated in self.stated.values() if stated.void()]
        return voids + [span.note for span in (self.data_period, self.period) if span.note]


class ProvisionReader:
    """One provision's elements, by the vocabulary."""

    def __init__(self, settings: ConsentSettings, directory: Directory) -> None:
        self._settings = settings
        self._terms = settings.vocabulary.terms
        self._vocabulary = settings.vocabulary
        self._directory = directory
        self._readers: Mapping[str, Callable[[list[FhirJson]], dict[str, Stated]]] = {
            "actor": self._actors,
            "purpose": lambda found: {"purposes": _each(found, self._purpose, "unknown-purpose")},
            "action": lambda found: {"actions": _each(found, self._action, "unknown-action")},
            "class": lambda found: {"types": _each(found, self._type, "unknown-class")},
            "resourceType": lambda found: {"types": _each(found, self._type, "unknown-class")},
            "code": lambda found: {"codes": _each(found, self._coded, "unknown-code")},
            "data": lambda found: {"targets": _each(found, self._targets, "unknown-data")},
        }

    def wish(self, provision: FhirJson, outer: Wish) -> Wish:
        """What a provision says, with what it takes over from `outer`."""
        stated = dict(outer.stated)
        for name, found in provision.items():
            if name in self._readers and found:
                stated |= self._readers[name](dicts(found))
            elif name not in _KNOWN and not name.startswith("_"):
                stated["other"] = Stated(None, "unknown-element")
        labels, data = provision.get("securityLabel"), provision.get("dataPeriod")
        period = span(provision.get("period"), self._settings.regime.time_zone)
        return Wish(
            stated=stated,
            labels=outer.labels if labels is None else tuple(dicts(labels)),
            # Clinical dates without a zone are indexed in UTC.
            data_period=outer.data_period if data is None else span(data, UTC),
            period=period.within(outer.period),
        )

    def grantees(self, references: Iterable[FhirJson]) -> Stated:
        """Whom references mean, as tokens of `consent_rule.grantee`."""
        return _each(references, self._grantee, "unknown-actor")

    def _actors(self, actors: list[FhirJson]) -> dict[str, Stated]:
        """Recipients become grantees, disclosers sources; who is neither narrows nothing."""
        kinds = defaultdict[str, list[FhirJson]](list)
        for actor in actors:
            kinds[self._role(actor)].extend(dicts(actor.get("reference") or {}))
        stated: dict[str, Stated] = {}
        if kinds["recipient"] or kinds["unknown"]:
            found = self.grantees(kinds["recipient"])
            note = "unknown-actor" if kinds["unknown"] else found.note
            stated["grantees"] = Stated(found.values, note)
        if kinds["discloser"]:
            stated["sources"] = _each(kinds["discloser"], self._feeds, "unknown-actor")
        return stated

    def _role(self, actor: FhirJson) -> str:
        """What the role makes of an actor; without a role a recipient."""
        codes = codes_of(actor.get("role"))
        meant = {self._terms["actor"].get(code, "unknown") for code in codes}
        order = ("recipient", "discloser", "unknown", "ignored")
        return next((kind for kind in order if kind in meant), "recipient")

    def _grantee(self, reference: FhirJson) -> set[str]:
        grantee = self._directory.grantee(reference) or ""
        kind, _, _ = grantee.partition("/")
        return {grantee} if kind in self._vocabulary.actor_types else set()

    def _feeds(self, reference: FhirJson) -> set[str]:
        grantee = self._directory.grantee(reference)
        return set(self._directory.sources(grantee)) if grantee else set()

    def _purpose(self, coding: FhirJson) -> set[str]:
        code, system = _text(coding, "code"), _text(coding, "system")
        if not code:
            return set()
        is_ours = not system or system in self._settings.purposes.systems
        return {code if is_ours else f"{system}|{code}"}

    def _action(self, concept: FhirJson) -> set[str]:
        meant = {self._terms["action"].get(code) for code in codes_of(concept)}
        return {action for action in meant if action}

    def _type(self, coding: FhirJson) -> set[str]:
        code, system = _text(coding, "code"), _text(coding, "system")
        is_type = system in (self._vocabulary.class_system, "") and code in self._vocabulary.types
        return {code} if is_type else set()

    def _coded(self, concept: FhirJson) -> set[tuple[str, str]]:
        codings = {(_text(c, "system"), _text(c, "code")) for c in dicts(concept.get("coding"))}
        known = self._vocabulary.code_systems
        return codings if all(system in known and code for system, code in codings) else set()

    def _targets(self, data: FhirJson) -> set[Target]:
        reference = self._directory.grantee(dicts(data.get("reference") or {})[0])
        meaning = self._terms["data"].get(_text(data, "meaning"))
        if reference is None or meaning is None:
            return set()
        if meaning == "author":
            feeds = self._directory.sources(reference)
            found = {Target(TargetKind.SOURCE, feed) for feed in feeds}
            return found | {Target(TargetKind.AUTHOR, reference)}
        is_encounter = reference.partition("/")[0] in self._vocabulary.encounter_types
        if meaning == "encounter" and data["meaning"] == "related" and not is_encounter:
            return set()
        return {Target(TargetKind(meaning), reference)}


def _each(found: Iterable[FhirJson], read: Callable[[FhirJson], set[Any]], note: str) -> Stated:
    """All the values of a repeating element, with a note where one has none."""
    values: set[Any] = set()
    understood = True
    for item in found:
        one = read(item)
        values |= one
        understood = understood and bool(one)
    return Stated(frozenset(values), "" if understood and values else note)


def dicts(found: Any) -> list[FhirJson]:
    """The elements of a list, or of one that should have been a list."""
    items = found if isinstance(found, list) else [] if found is None else [found]
    return [item if isinstance(item, dict) else {} for item in items]


def _text(node: FhirJson, name: str) -> str:
    value = node.get(name)
    return value if isinstance(value, str) else ""


def codes_of(concept: Any) -> list[str]:
    """The codes of a CodeableConcept or a Coding."""
    codings = [c for node in dicts(concept) for c in (dicts(node.get("coding")) or [node])]
    return [coding["code"] for coding in codings if isinstance(coding.get("code"), str)]
