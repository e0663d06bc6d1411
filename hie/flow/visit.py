"""A visit as its events go on: where the patient was, in which class, under whose care. Pure.

A message says how a visit is now. What it changes is not lost: the place before ends, the class
before goes into `classHistory`, the doctor before keeps the time of the part they had. An event
that takes another back (A12, A13, A55, ...) names the elements whose last change it undoes:
`location`, `location:reserved` (entries of that status), `participant:ATND`, `period.end` or
any other element path, `extension:<url>`.
Spec: https://hl7.org/fhir/R4/encounter.html; HL7 v2.8.2 chapter 3, 3.3.2-3.3.62
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from hie.kernel.fhir import FhirJson

_NOW: Final = "active"
_EXPECTED: Final = ("planned", "reserved")


def continued(
    old: FhirJson, said: FhirJson, since: str, undoes: Sequence[str] = ()
) -> tuple[FhirJson, FhirJson]:
    """What is known of a visit, and what a message says of it, ready to be laid over that.

    Args:
        old: the visit as it is stored.
        said: top-level elements of the message; None clears one.
        since: when it began, a FHIR dateTime; empty = nobody says.
        undoes: elements whose last change is taken back.

    Returns:
        The visit without what is taken back, and `said` with its lists complete.
    """
    base, told = _undone(old, undoes), dict(said)
    if told.get("location"):
        told["location"] = _places(base.get("location", ()), told["location"], since)
    if told.get("participant"):
        told["participant"] = _people(base.get("participant", ()), told["participant"], since)
    if (was := _class_before(base, told, since)) is not None:
        told["classHistory"] = [*base.get("classHistory", ()), was]
    return base, told


def kept_numbers(old: FhirJson, said: FhirJson) -> FhirJson:
    """What a message says, with the numbers that were retired before (`use` = `old`)."""
    retired = [i for i in old.get("identifier", ()) if i.get("use") == "old"]
    given = said.get("identifier")
    if not retired or not given:
        return said
    current = {(i.get("system"), i.get("value")) for i in given}
    kept = [i for i in retired if (i.get("system"), i.get("value")) not in current]
    return {**said, "identifier": [*given, *kept]}


# What is taken back


def _undone(old: FhirJson, undoes: Iterable[str]) -> FhirJson:
    """The visit as it was before the last change of these elements."""
    found = dict(old)
    for what in undoes:
        name, _, which = what.partition(":")
        if name == "location":
            _put(found, name, _back(found.get(name, ()), which))
        elif name == "participant":
            _put(found, name, _reinstated(found.get(name, ()), which))
        elif name == "extension":
            _put(found, name, [e for e in found.get(name, ()) if e.get("url") != which])
        else:
            _remove(found, name)
    return found


def _put(resource: FhirJson, name: str, entries: list[FhirJson]) -> None:
    resource.pop(name, None)
    if entries:
        resource[name] = entries


def _remove(resource: FhirJson, path: str) -> None:
    name, _, part = path.partition(".")
    if not part:
        resource.pop(name, None)
    elif isinstance(resource.get(name), dict):
        resource[name] = {key: value for key, value in resource[name].items() if key != part}


def _back(places: Sequence[FhirJson], status: str) -> list[FhirJson]:
    """Without the entries of a status; or, for a move taken back, at the place before again."""
    if status:
        return [p for p in places if p.get("status") != status]
    rest = [p for p in places if p.get("status") != _NOW]
    ended = [n for n, p in enumerate(rest) if p.get("status") == "completed"]
    if not ended or len(rest) == len(places):
        return list(places)
    last = rest[ended[-1]]
    return [_reopened(p, _NOW) if p is last else p for p in rest]


def _reopened(entry: FhirJson, status: str = "") -> FhirJson:
    found = {**entry, "status": status} if status else dict(entry)
    period = {key: value for key, value in found.pop("period", {}).items() if key != "end"}
    return {**found, "period": period} if period else found


def _reinstated(people: Sequence[FhirJson], role: str) -> list[FhirJson]:
    """The one who had the part before has it again; who has it now is left out."""
    mine = [p for p in people if role in _roles(p)]
    ended = [p for p in mine if (p.get("period") or {}).get("end")]
    if not ended:
        return list(people)
    last = ended[-1]
    gone = [p for p in mine if p not in ended]
    return [_reopened(p) if p is last else p for p in people if p not in gone]


# What goes on


def _where(entry: FhirJson) -> Any:
    place = entry.get("location") or {}
    return place.get("reference") or place.get("display")


def _places(old: Sequence[FhirJson], said: Sequence[FhirJson], since: str) -> list[FhirJson]:
    """The places of a visit in order, those that are left with the time when they were."""
    now = {_where(p) for p in said if p.get("status") == _NOW}
    spoken = {p.get("status") for p in said}
    found: list[FhirJson] = []
    for place in old:
        status, where = place.get("status"), _where(place)
        if status == _NOW and now and where not in now:
            found.append(_ended(place, since))
        elif status not in _EXPECTED or (where not in now and status not in spoken):
            found.append(place)
    known = {(_where(p), p.get("status")) for p in found}
    for place in said:
        if (_where(place), place.get("status")) not in known:
            found.append(_begun(place, since) if old and place.get("status") == _NOW else place)
    return sorted(found, key=_rank)


def _rank(place: FhirJson) -> int:
    """Places left, the present ones, those to come."""
    return {"completed": 0, _NOW: 1}.get(place.get("status", ""), 2)


def _ended(entry: FhirJson, since: str) -> FhirJson:
    period = {**entry.get("period", {}), **({"end": since} if since else {})}
    found = {**entry, "status": "completed"} if "status" in entry else dict(entry)
    return {**found, "period": period} if period else found


def _begun(entry: FhirJson, since: str) -> FhirJson:
    return {**entry, "period": {"start": since}} if since and "period" not in entry else entry


def _roles(person: FhirJson) -> frozenset[str]:
    return frozenset(
        coding.get("code", "")
        for kind in person.get("type", ())
        for coding in kind.get("coding", ())
    )


def _who(person: FhirJson) -> tuple[Any, frozenset[str]]:
    individual = person.get("individual") or {}
    return individual.get("reference") or individual.get("display"), _roles(person)


def _people(old: Sequence[FhirJson], said: Sequence[FhirJson], since: str) -> list[FhirJson]:
    """The people of a visit: a part the message does not speak of stays with who has it."""
    spoken = frozenset(role for person in said for role in _roles(person))
    now = {_who(person) for person in said}
    found: list[FhirJson] = []
    for person in old:
        is_over = bool((person.get("period") or {}).get("end"))
        if is_over or not _roles(person) & spoken:
            found.append(person)
        elif _who(person) not in now and since:
            found.append(_ended(person, since))
    known = {_who(person): person for person in old if _who(person) in now}
    for person in said:
        before = known.get(_who(person))
        is_new = before is None or bool((before.get("period") or {}).get("end"))
        found.append(_begun(person, since) if old and is_new else {**(before or {}), **person})
    return found


def _class_before(old: FhirJson, said: FhirJson, since: str) -> FhirJson | None:
    """The entry of `classHistory` a change of class makes; it must have a time."""
    was, now = old.get("class"), said.get("class")
    if not was or not now or was.get("code") == now.get("code") or not since:
        return None
    last = (old.get("classHistory") or [{}])[-1].get("period", {}).get("end")
    start = last or (old.get("period") or {}).get("start")
    return {"class": was, "period": {**({"start": start} if start else {}), "end": since}}
