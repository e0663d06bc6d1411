"""A consent decision over files: consents, who asks, what is asked for (pure, no I/O).

The privacy officer's dry run. Resources come as parsed JSON with the name of their file; what
cannot be used is refused with that name and the element, what is wrongly shaped inside of a
Consent denies and says so.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from consent.from_fhir.members import Collectives, Members
from consent.from_fhir.moments import span as period_span
from consent.grantees import names_of
from consent.model import AccessRequest
from consent.regime import ConsentSettings
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson
from hie.store.dates import span

#: A literal reference, relative or absolute, of a version or not.
_LITERAL: Final = re.compile(
    r"(?:^|/)(?P<type>[A-Z][A-Za-z]+)/(?P<id>[A-Za-z0-9\-.]{1,64})(/_history/[A-Za-z0-9\-.]+)?$"
)
_KEYS: Final = (
    *("patient", "actors", "organization", "roles", "purpose", "action", "at", "breakGlass"),
)
_PERSONS: Final = ("Practitioner", "RelatedPerson", "Device", "Patient")
_ACTORS: Final = (*_PERSONS, "PractitionerRole", "Organization")
_DEFAULT_ACTION: Final = "access"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filed:
    """One resource and the file it stands in."""

    file: str
    type: str
    id: str
    resource: FhirJson

    @property
    def ref(self) -> str:
        """`Type/id`."""
        return f"{self.type}/{self.id}"


@dataclass(frozen=True, slots=True)
class Files:
    """The resources of a folder, and who their references mean; a `Directory`.

    Attributes:
        resources: by `Type/id`.
        settings: the zone of dates that name none.
    """

    resources: Mapping[str, Filed]
    settings: ConsentSettings
    _identified: Mapping[tuple[str, str, str], str] = field(default_factory=dict)

    @classmethod
    def of(cls, filed: Iterable[Filed], settings: ConsentSettings) -> "Files":
        """The folder's resources; of two with one id the first file's counts."""
        resources: dict[str, Filed] = {}
        identified: dict[tuple[str, str, str], str] = {}
        for one in filed:
            resources.setdefault(one.ref, one)
            for identifier in listed(one.resource.get("identifier")):
                key = (one.type, str(identifier.get("system")), str(identifier.get("value")))
                identified.setdefault(key, one.ref)
        return cls(resources, settings, identified)

    def grantee(self, reference: FhirJson) -> str | None:
        """`Type/id` of a reference; one by identifier that no file has keeps its identifier."""
        written = reference.get("reference")
        if written is not None:
            return literal(written) if isinstance(written, str) else None
        identifier = reference.get("identifier")
        named = identifier if isinstance(identifier, dict) else {}
        system, value = named.get("system"), named.get("value")
        if not (isinstance(system, str) and isinstance(value, str)):
            return None
        kind = reference.get("type", "Organization")
        return self._identified.get((str(kind), system, value), f"{kind}/{system}|{value}")

    def sources(self, organization: str) -> frozenset[str]:
        """What `meta.source` of a resource may say to mean it came from an organisation."""
        found = self.resources.get(organization)
        if not organization.startswith("Organization/"):
            return frozenset()
        names = {organization}
        for identifier in listed(found.resource.get("identifier") if found else None):
            value = identifier.get("value")
            names |= {str(value), f"{identifier.get('system')}|{value}"} if value else set()
        return frozenset(names)

    def members(self, name: str) -> Members:
        """Those whom a Group, CareTeam or PractitionerRole means."""
        groups = {ref: filed.resource for ref, filed in self.resources.items()}
        return Collectives(groups, self.grantee, self.settings.regime.time_zone).members(name)

    def above(self, organization: str) -> tuple[str, ...]:
        """An organisation and those it is part of, the nearest first."""
        found = [organization]
        while (filed := self.resources.get(found[-1])) is not None:
            part = filed.resource.get("partOf")
            parent = self.grantee(part) if isinstance(part, dict) else None
            if parent is None or parent in found:
                break
            found.append(parent)
        return tuple(found)

    def of_type(self, *types: str) -> Iterator[Filed]:
        """Every resource of some types."""
        return (filed for filed in self.resources.values() if filed.type in types)

    def source_of(self, resource: FhirJson) -> str:
        """Who sent a resource, as `meta.source` says; "" where it says nothing."""
        meta = resource.get("meta")
        written = meta.get("source") if isinstance(meta, dict) else None
        if not isinstance(written, str):
            return ""
        plain = written.partition("#")[0]
        return literal(plain) or plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request file, read.

    Attributes:
        patient: `Patient/<id>`.
        request: the same as a decision takes it.
    """

    patient: str
    request: AccessRequest


def read_request(
    written: Any, file: str, files: Files, settings: ConsentSettings, now_us: int
) -> Asked:
    """The request of a file.

    Args:
        written: its JSON.
        file: its name, for faults.
        files: who the references mean.
        settings: purposes and the meaning of actions.
        now_us: what is meant where no time is given.

    Raises:
        HieError: INVALID, one issue for each element that cannot be used.
    """
    reader = _RequestReader(written, file, files, settings)
    asked = reader.asked(now_us)
    if reader.faults:
        issues = [Issue(text=text, code="value") for text in reader.faults]
        raise HieError(Category.INVALID, reader.faults[0], issues)
    return asked


class _RequestReader:
    """Reads one request file and notes every fault of it."""

    def __init__(self, written: Any, file: str, files: Files, settings: ConsentSettings) -> None:
        self.faults: list[str] = []
        self._file, self._files, self._settings = file, files, settings
        self._written: FhirJson = written if isinstance(written, dict) else {}
        if not isinstance(written, dict):
            self._fault("the file", "one JSON object")
        for key in sorted(set(self._written) - set(_KEYS)):
            self._fault(key, f"none but {', '.join(_KEYS)}")

    def asked(self, now_us: int) -> Asked:
        patient = self._patient()
        actors = self._actors()
        at_us = self._at(now_us)
        organizations, person, roles = self._who(actors, at_us)
        purpose = self._code("purpose", "a code of v3-ActReason, such as `TREAT`")
        is_patient = patient in actors
        emergency = self._emergency()
        return Asked(
            patient=patient,
            request=AccessRequest(
                grantees=frozenset() if is_patient else names_of(organizations, person, roles),
                purpose=purpose,
                action=self._action(),
                now_us=at_us,
                self_person=patient if is_patient else None,
                break_glass=frozenset({patient} if emergency else ()),
            ),
        )

    def _fault(self, element: str, expected: str) -> None:
        self.faults.append(f"`{self._file}`: `{element}`: expected {expected}")

    def _patient(self) -> str:
        found = self._reference("patient", self._written.get("patient"), "Patient")
        if found is None or not found.startswith("Patient/"):
            self._fault("patient", "a reference such as `Patient/p1`")
            return ""
        return found

    def _reference(self, element: str, written: Any, kind: str) -> str | None:
        """`Type/id` of a reference written as a text or as FHIR writes it."""
        if isinstance(written, str):
            written = {"reference": written}
        if not isinstance(written, dict):
            return None
        return self._files.grantee({"type": kind, **written})

    def _actors(self) -> list[str]:
        written = self._written.get("actors", [])
        if not isinstance(written, list):
            self._fault("actors", "a list of references")
            return []
        found = []
        for number, one in enumerate(written):
            actor = self._reference(f"actors[{number}]", one, "Practitioner")
            if actor is None:
                self._fault(f"actors[{number}]", "`reference` as `Type/id`, or `identifier`")
            elif actor.partition("/")[0] not in _ACTORS:
                self._fault(f"actors[{number}]", f"one of {', '.join(_ACTORS)}")
            else:
                found.append(actor)
        return found

    def _who(
        self, actors: Sequence[str], at_us: int
    ) -> tuple[frozenset[str], str | None, frozenset[str]]:
        """Organisations with those above them, the person, the roles."""
        places = [actor for actor in actors if actor.startswith("Organization/")]
        persons = [actor for actor in actors if actor.partition("/")[0] in _PERSONS]
        organization = self._written.get("organization")
        if organization is not None:
            place = self._reference("organization", organization, "Organization")
            if place is None or not place.startswith("Organization/"):
                self._fault("organization", "a reference such as `Organization/o1`")
            else:
                places.append(place)
        roles = set(self._roles())
        for seat in self._files.of_type("PractitionerRole"):
            who, where, codes = self._seat(seat.resource, at_us)
            is_named = seat.ref in actors
            if is_named:
                persons += [who] if who else []
                places += [where] if where else []
            if is_named or (who in persons and (not where or where in places)):
                roles |= codes
        if len(set(persons)) > 1:
            self._fault("actors", "one person at most; ask once for each")
        above = frozenset(name for place in places for name in self._files.above(place))
        return above, persons[0] if persons else None, frozenset(roles)

    def _seat(self, role: FhirJson, at_us: int) -> tuple[str, str, set[str]]:
        """Person, organisation and codes of a PractitionerRole that holds at a time."""
        period = period_span(role.get("period"), self._settings.regime.time_zone)
        is_begun = period.lo_us is None or period.lo_us <= at_us
        is_over = period.hi_us is not None and period.hi_us <= at_us
        if role.get("active") is False or period.note or is_over or not is_begun:
            return "", "", set()
        named = [role.get(name) for name in ("practitioner", "organization")]
        who, where = (
            (self._files.grantee(one) or "") if isinstance(one, dict) else "" for one in named
        )
        codings = [c for concept in listed(role.get("code")) for c in listed(concept.get("coding"))]
        return who, where, {c["code"] for c in codings if isinstance(c.get("code"), str)}

    def _roles(self) -> list[str]:
        roles = self._written.get("roles", [])
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
            self._fault("roles", "a list of codes")
            return []
        return [role for role in roles if role]

    def _code(self, element: str, expected: str) -> str:
        found = self._written.get(element)
        code = found.get("code") if isinstance(found, dict) else found
        if not isinstance(code, str) or not code:
            self._fault(element, expected)
            return ""
        return code

    def _action(self) -> str:
        actions = self._settings.vocabulary.terms["action"]
        if self._written.get("action") is None:
            return _DEFAULT_ACTION
        code = self._code("action", f"one of {', '.join(sorted(actions))}")
        if code and code not in actions:
            self._fault("action", f"one of {', '.join(sorted(actions))}")
        return actions.get(code, _DEFAULT_ACTION)

    def _at(self, now_us: int) -> int:
        found = self._written.get("at")
        if found is None:
            return now_us
        period = span(found, self._settings.regime.time_zone) if isinstance(found, str) else None
        if period is None:
            self._fault("at", "a dateTime such as `2026-03-01T12:00:00Z`")
            return now_us
        return period[0]

    def _emergency(self) -> bool:
        """Whether a reason for an emergency is stated."""
        found = self._written.get("breakGlass")
        if found is None:
            return False
        reason = found.get("reason") if isinstance(found, dict) else None
        if not isinstance(reason, str):
            self._fault("breakGlass", 'null, or `{"reason": "..."}`')
            return False
        return bool(reason.strip())


def literal(reference: str) -> str | None:
    """`Type/id` of a literal reference in any form; None of any other."""
    found = _LITERAL.search(reference)
    return f"{found['type']}/{found['id']}" if found else None


def filed(parsed: Iterable[tuple[str, Any]]) -> list[Filed]:
    """The resources of files; a Bundle gives those of its entries.

    Args:
        parsed: name of each file, and its JSON.

    Raises:
        HieError: INVALID, one issue for each file that holds no resource, or one that another
            file holds already.
    """
    found: dict[str, Filed] = {}
    faults: list[str] = []
    for file, content in parsed:
        for one in _resources(file, content, faults):
            known = found.setdefault(one.ref, one)
            if known is not one:
                faults.append(f"`{file}`: `id`: expected another than in `{known.file}`")
    if faults:
        raise HieError(
            Category.INVALID, faults[0], [Issue(text=text, code="value") for text in faults]
        )
    return list(found.values())


def _resources(file: str, content: Any, faults: list[str]) -> Iterator[Filed]:
    kind = content.get("resourceType") if isinstance(content, dict) else None
    if not isinstance(kind, str) or not kind:
        faults.append(f"`{file}`: `resourceType`: expected one FHIR resource as a JSON object")
        return
    if kind == "Bundle":
        for number, entry in enumerate(listed(content.get("entry")), start=1):
            if "resource" in entry:
                yield from _resources(f"{file} entry {number}", entry["resource"], faults)
        return
    key = content.get("id")
    if key is not None and not isinstance(key, str):
        faults.append(f"`{file}`: `id`: expected a text")
        return
    stem = file.rsplit("/", 1)[-1].removesuffix(".json")
    yield Filed(file=file, type=kind, id=key or stem, resource=content)


def listed(found: Any) -> list[FhirJson]:
    """The objects of a list, or of one that should have been a list."""
    items = found if isinstance(found, list) else [] if found is None else [found]
    return [item for item in items if isinstance(item, dict)]
