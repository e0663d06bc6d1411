"""Whom the words of a question describe: what a person is known by, and whether it is said (pure).

A question is kept as it was asked: `$match` with a Patient, a search as its criteria with the
clear texts of `hie.store.blind`, an identifier after its system.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hie.kernel.fhir import FhirJson
from hie.store.blind import contact, fold

#: Members of questions that say what was asked, not about whom.
_NOT_WORDS: Final = frozenset(
    {"param", "type", "mode", "system", "resourceType", "use", "gender", "person"}
)
_BEFORE_VALUE: Final = re.compile(r"[|:=\s]")
#: A number as it is asked for: alone, of a system, or of a type of numbers.
_OF_TYPE: Final = "o:"
_NUMBERED: Final = re.compile(
    rf"(?P<kind>[sv]:|{_OF_TYPE}|identifier=)?(?:(?P<system>.*)\|)?(?P<value>[^|]+)", re.DOTALL
)
_APART: Final = re.compile(r"[^\w]+|_")
#: Words of an address's line that mean a house: number and street, `14 orchard`.
_HOUSE: Final = 2
#: Letters of the beginning of a surname that mean it.
_BEGINNING: Final = 4
#: Elements of a Patient by the search parameter that asks for them.
_NAME_PARTS: Final = {"family": "family", "name": "family", "given": "given"}
_CONTACTS: Final = frozenset({"phone", "email", "telecom"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What somebody is told apart by, folded.

    Attributes:
        surnames, contacts, lines: names, telephone numbers and e-mail addresses, houses; a
            namesake or the family has the same, so they tell only where a question met nobody.
        numbers: values of identifiers, each with the systems it is of; another system gives the
            same number to somebody else, so there it tells only where a question met nobody.
    """

    surnames: frozenset[str]
    lines: frozenset[str]
    contacts: frozenset[str]
    numbers: Mapping[str, frozenset[str]]


def known_by(patients: Iterable[FhirJson]) -> Known:
    """What FHIR Patients of one person say."""
    found = list(patients)
    lines = [_words(str(line)) for one in _all(found, "address") for line in one.get("line", ())]
    numbers: dict[str, set[str]] = {}
    for one in _with(found, "identifier", "value"):
        numbers.setdefault(fold(str(one["value"])), set()).add(str(one.get("system", "")))
    return Known(
        surnames=_folded(_words(str(one["family"])) for one in _with(found, "name", "family")),
        lines=_folded(" ".join(line.split()[:_HOUSE]) for line in lines if " " in line),
        contacts=_folded(contact(str(one["value"])) for one in _with(found, "telecom", "value")),
        numbers={value: frozenset(systems) for value, systems in numbers.items() if value},
    )


def says_who(known: Known, question: str, *, has_met: bool) -> bool:
    """Whether a question says what somebody is known by.

    Args:
        known: what that is.
        question: as kept.
        has_met: it met somebody else, who may well be a namesake or of the same house.
    """
    leaves = tuple(_leaves(question))
    if has_met:
        return any(_is_own_number(known, leaf) for leaf in leaves)
    return any(
        _is_number(known, leaf)
        or _is_contact(known, leaf)
        or _has_line(known, leaf)
        or _has_surname(known, leaf)
        for leaf in leaves
    )


def description_of(question: str) -> FhirJson | None:
    """The FHIR Patient a question asks for, as far as it is one; None where it is none."""
    asked = _parsed(question)
    if isinstance(asked, dict) and asked.get("resourceType") == "Patient":
        return asked
    patient: dict[str, Any] = {"resourceType": "Patient"}
    for param, key in _keyed(asked):
        _put(patient, param, key)
    return patient if len(patient) > 1 else None


def _put(patient: dict[str, Any], param: str, key: str) -> None:
    kind, _, value = key.partition(":")
    if param in _NAME_PARTS:
        (name,) = patient.setdefault("name", [{}])
        part = _NAME_PARTS[param]
        name[part] = [value] if part == "given" else value
    elif param == "birthdate" and kind == "d":
        patient["birthDate"] = value
    elif param == "identifier":
        system, bar, number = value.rpartition("|")
        patient.setdefault("identifier", []).append(
            {"system": system, "value": number} if bar else {"value": value}
        )
    elif param in _CONTACTS:
        system = "email" if "@" in value else "phone"
        number = value.rpartition("|")[2]
        patient.setdefault("telecom", []).append({"system": system, "value": number})


def _keyed(asked: Any) -> Iterator[tuple[str, str]]:
    """Parameter and clear text of each criterion by one value, chained ones too."""
    if isinstance(asked, list):
        for each in asked:
            yield from _keyed(each)
    elif isinstance(asked, dict):
        param = str(asked.get("param", "")).rpartition(".")[2]
        keys = asked.get("keys") or asked.get("values")
        if param and isinstance(keys, list) and len(keys) == 1 and isinstance(keys[0], str):
            yield param, keys[0] if asked.get("keys") else f"f:{keys[0]}"
        for each in asked.values():
            yield from _keyed(each)


def _parsed(question: str) -> Any:
    start = min((at for mark in "{[" if (at := question.find(mark)) >= 0), default=-1)
    if start < 0:
        return None
    try:
        return json.loads(question[start:])
    except ValueError:
        return None  # cut off


def _leaves(question: str) -> Iterator[str]:
    parsed = _parsed(question)
    if parsed is None:
        yield from question.split()
        yield question
    else:
        yield from _texts(parsed)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            if name == "identifier" and isinstance(each, list):
                yield from map(_as_asked, each)
            if name not in _NOT_WORDS:
                yield from _texts(each)


def _as_asked(identifier: Any) -> str:
    """An identifier of a Patient in the words of a search."""
    one = identifier if isinstance(identifier, dict) else {}
    system, value = one.get("system"), one.get("value", "")
    return f"s:{system}|{value}" if system else f"v:{value}"


def _is_number(known: Known, leaf: str) -> bool:
    return fold(_BEFORE_VALUE.split(leaf)[-1]) in known.numbers


def _is_own_number(known: Known, leaf: str) -> bool:
    """Whether it is a number of theirs in a system of theirs, or asked for without one."""
    found = _NUMBERED.fullmatch(leaf)
    if found is None or not (found["kind"] or found["system"]):
        return False
    systems = known.numbers.get(fold(found["value"]), frozenset())
    is_any = not found["system"] or found["kind"] == _OF_TYPE or "" in systems
    return bool(systems) and (is_any or found["system"] in systems)


def _is_contact(known: Known, leaf: str) -> bool:
    return contact(_BEFORE_VALUE.split(leaf)[-1]) in known.contacts or (
        contact(leaf) in known.contacts
    )


def _has_line(known: Known, leaf: str) -> bool:
    words = f" {_words(leaf)} "
    return any(f" {line} " in words for line in known.lines)


def _has_surname(known: Known, leaf: str) -> bool:
    words = _words(leaf)
    if any(f" {surname} " in f" {words} " for surname in known.surnames):
        return True
    begun = [word for word in words.split() if len(word) >= _BEGINNING]
    return any(surname.startswith(word) for surname in known.surnames for word in begun)


def _words(text: str) -> str:
    """Folded words, punctuation taken as a gap between them."""
    return fold(_APART.sub(" ", text))


def _folded(values: Iterable[str]) -> frozenset[str]:
    return frozenset(value for value in values if value)


def _all(patients: Iterable[FhirJson], element: str) -> Iterator[dict[str, Any]]:
    for patient in patients:
        yield from (one for one in patient.get(element) or () if isinstance(one, dict))


def _with(patients: Iterable[FhirJson], element: str, part: str) -> Iterator[dict[str, Any]]:
    return (one for one in _all(patients, element) if one.get(part))
