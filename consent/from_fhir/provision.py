"""One provision's elements: what is understood of each, and what was not (pure).

An element is a `Stated`: the values understood, and a note where some were not. A deny reads a
note as "any", a permit as "none but these".

Spec: https://hl7.org/fhir/R4/consent-definitions.html#Consent.provision
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC
from typing import Any, Final, Protocol

from consent.from_fhir.members import COLLECTIVE, Member, Members
from consent.from_fhir.moments import ALWAYS, Span, span
from consent.grantees import LONGEST, ROLE, in_role, is_plain
from consent.model import Target, TargetKind
from consent.regime import ConsentSettings
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

    def members(self, name: str) -> Members:
        """Those whom a Group, CareTeam or PractitionerRole, `Type/<hub id>`, means."""
        ...


@dataclass(frozen=True, slots=True)
class LiteralDirectory:
    """References taken as they stand, and the feeds of each organisation.

    Attributes:
        identifiers: `Type/<hub id>` by (system, value), for references by identifier.
        feeds: source ids by `Organization/<hub id>`.
        groups: those whom `Type/<hub id>` means.
    """

    identifiers: Mapping[tuple[str, str], str] = field(default_factory=dict)
    feeds: Mapping[str, frozenset[str]] = field(default_factory=dict)
    groups: Mapping[str, Members] = field(default_factory=dict)

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

    def members(self, name: str) -> Members:
        """Those whom a group means; incomplete where it is not known."""
        return self.groups.get(name, Members(is_whole=False))


@dataclass(frozen=True, slots=True)
class Stated:
    """One element: the values understood (None = any) and why some were not.

    Attributes:
        passing: recipients who are meant for a time, or were once; a deny means them always.
    """

    values: frozenset[Any] | None = None
    note: str = ""
    passing: frozenset[Member] = frozenset()

    def void(self) -> bool:
        """Whether a permit with it can match nothing for certain."""
        return bool(self.note) and not self.values and not self.passing

    def wide(self) -> "Stated":
        """As a deny reads it."""
        if self.note:
            return Stated()
        names = {member.name for member in self.passing}
        return Stated((self.values or frozenset()) | names) if names else self


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
            "purpose": lambda found: {"purposes": self._purposes(found)},
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
        return self._recipients({"reference": reference} for reference in references)

    def _actors(self, actors: list[FhirJson]) -> dict[str, Stated]:
        """Recipients become grantees, disclosers sources; who is neither narrows nothing."""
        kinds = defaultdict[str, list[FhirJson]](list)
        for actor in actors:
            kinds[self._role(actor)].append(actor)
        stated: dict[str, Stated] = {}
        if kinds["recipient"] or kinds["unknown"]:
            found = self._recipients(kinds["recipient"])
            note = "unknown-actor" if kinds["unknown"] else found.note
            stated["grantees"] = Stated(found.values, note, found.passing)
        if kinds["discloser"]:
            named = [one for a in kinds["discloser"] for one in dicts(a.get("reference") or {})]
            stated["sources"] = _each(named, self._feeds, "unknown-actor")
        if kinds["unknown"]:
            # Whoever it is may be the discloser: a permit below must not lose that limit.
            stated["sources"] = Stated(frozenset(), "unknown-actor")
        return stated

    def _role(self, actor: FhirJson) -> str:
        """What the role makes of an actor; without a role a recipient."""
        acting = self._acting(actor)
        codes = [code for code in codes_of(actor.get("role")) if code not in acting]
        meant = {self._terms["actor"].get(code, "unknown") for code in codes}
        if {"recipient", "discloser"} <= meant:
            return "unknown"  # either reading alone would drop what the other limits
        order = ("recipient", "discloser", "unknown", "ignored")
        return next((kind for kind in order if kind in meant), "recipient")

    def _acting(self, actor: FhirJson) -> list[str]:
        """Codes of what the actor is by profession or position, such as nurse."""
        codings = [c for role in dicts(actor.get("role")) for c in dicts(role.get("coding"))]
        return [
            code
            for coding in codings
            if _text(coding, "system") in self._vocabulary.role_systems
            and (code := _text(coding, "code"))
            and code not in self._terms["actor"]
        ]

    def _recipients(self, actors: Iterable[FhirJson]) -> Stated:
        """Whom actors mean, those of a group one by one."""
        names: set[str] = set()
        passing: set[Member] = set()
        understood = True
        for actor in actors:
            meant = self._meant(actor)
            fits = [one for one in meant.named if len(one.name) <= LONGEST]
            understood = understood and meant.is_whole and len(fits) == len(meant.named)
            lasting = {one.name for one in fits if one.span == ALWAYS and not one.is_left}
            names |= lasting
            passing |= {one for one in fits if one.name not in lasting}
        is_read = understood and bool(names or passing)
        return Stated(frozenset(names), "" if is_read else "unknown-actor", frozenset(passing))

    def _meant(self, actor: FhirJson) -> Members:
        acting = self._acting(actor)
        if acting and "reference" not in actor:
            return Members(tuple(Member(ROLE + code) for code in acting))
        parts = [self._named(one) for one in dicts(actor.get("reference") or {})]
        found = [member for part in parts for member in part.named]
        is_whole = all(part.is_whole for part in parts)
        if not acting:
            return Members(tuple(found), is_whole)
        plain = [one for one in found if is_plain(one.name)]
        named = tuple(
            Member(in_role(one.name, code), one.span, one.is_left)
            for one in plain
            for code in acting
        )
        return Members(named, is_whole and len(plain) == len(found))

    def _named(self, reference: FhirJson) -> Members:
        grantee = self._directory.grantee(reference) or ""
        kind, _, _ = grantee.partition("/")
        if kind in COLLECTIVE:
            return self._directory.members(grantee)
        is_known = kind in self._vocabulary.actor_types
        return Members((Member(grantee),) if is_known else (), is_known)

    def _feeds(self, reference: FhirJson) -> set[str]:
        grantee = self._directory.grantee(reference)
        return set(self._directory.sources(grantee)) if grantee else set()

    def _purposes(self, found: Iterable[FhirJson]) -> Stated:
        """The codes; those that nobody knows are understood by no denial."""
        stated = _each(found, self._purpose, "unknown-purpose")
        is_known = (stated.values or frozenset()) <= self._settings.purposes.known()
        return stated if is_known else replace(stated, note="unknown-purpose")

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
        kind = reference.partition("/")[0]
        if meaning == "author":
            return self._authors(reference, kind)
        is_encounter = kind in self._vocabulary.encounter_types
        if meaning == "encounter" and data["meaning"] == "related" and not is_encounter:
            return set()
        return {Target(TargetKind(meaning), reference)}

    def _authors(self, reference: str, kind: str) -> set[Target]:
        """Who or what wrote it: the feeds of an organisation, each member of a group."""
        meant = Members((Member(reference),))
        if kind in COLLECTIVE:
            meant = self._directory.members(reference)
        names = {one.name.partition("@")[0] for one in meant.named}
        if not meant.is_whole or not all(is_plain(name) for name in names):
            return set()
        feeds = {feed for name in names for feed in self._directory.sources(name)}
        found = {Target(TargetKind.SOURCE, feed) for feed in feeds}
        return found | {Target(TargetKind.AUTHOR, name) for name in {reference, *names}}


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
