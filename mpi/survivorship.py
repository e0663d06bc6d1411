"""One Patient of several source records: the golden view, built from what its reader may see.

Pure, and blind to the order of the records: those that their source has merged away come
last, the others by trust, then by time, then by id. Which value survives is a rule per
element, written in `config/mpi/survivorship.toml`.
Nothing is invented: every value stands in one of the records given.
Spec: https://hl7.org/fhir/R4/patient.html
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson, objects
from mpi.normalize import fold
from mpi.settings import SurvivorshipRules

#: Name uses that a person is called by; the others are kept, but never come first.
_CURRENT_USES = frozenset({None, "official", "usual"})
#: What of a golden Patient no record gives: it is the hub's own.
_NOT_GIVEN = frozenset({"resourceType", "id", "meta", "link"})


class Survivorship:
    """Builds golden Patients: `survivorship(patients, person_id)`.

    Args:
        rules: which value survives, per element.

    Raises:
        HieError: INVALID for a rule that does not exist.
    """

    def __init__(self, rules: SurvivorshipRules) -> None:
        self._trusted = {source: rank for rank, source in enumerate(rules.trusted)}
        self._defaults = rules.defaults
        known: dict[str, _Rule] = {
            "newest": _newest,
            "commonest": _commonest,
            "union": _union,
            "one-per-url": _one_per_url,
            "active": _active,
            "names": self._names,
            "birth-date": self._birth_date,
            "deceased": _deceased,
            "multiple-birth": _multiple_birth,
        }
        if unknown := sorted(set(rules.elements.values()) - set(known)):
            text = f"`survivorship.toml` names the rule `{unknown[0]}`: expected one of "
            raise HieError(Category.INVALID, text + ", ".join(sorted(known)))
        self._rules = {element: known[rule] for element, rule in rules.elements.items()}

    def __call__(
        self,
        patients: Sequence[FhirJson],
        person_id: str,
        *,
        linked: Collection[str] = (),
    ) -> FhirJson:
        """The Patient of a person.

        Args:
            patients: its source records, only those that the reader may see.
            person_id: becomes the id.
            linked: ids of those records that the reader can also read one by one; each gets
                a `seealso` link, so that no link leads nowhere.
        """
        ranked = self._ranked(patients)
        golden: FhirJson = {"resourceType": "Patient", "id": person_id}
        for element, rule in self._rules.items():
            golden |= rule(element, ranked)
        links = [p["id"] for p in ranked if p.get("id") in linked]
        if links:
            golden["link"] = [
                {"other": {"reference": f"Patient/{record}"}, "type": "seealso"} for record in links
            ]
        return golden

    def provenance(
        self, golden: FhirJson, patients: Sequence[FhirJson]
    ) -> dict[str, list[tuple[str, ...]]]:
        """Which records hold each value of a golden Patient.

        Args:
            golden: as built of `patients`.
            patients: its source records, with their ids.

        Returns:
            By element one entry per value, in the order of the golden Patient: ids of the
            records that hold it. The first gave it, as the most trusted or the newest of them.
        """
        ranked = self._ranked(patients)
        found: dict[str, list[tuple[str, ...]]] = {}
        for element, value in golden.items():
            if element not in _NOT_GIVEN:
                values = value if isinstance(value, list) else [value]
                found[element] = [_holders(element, one, ranked) for one in values]
        return found

    def _ranked(self, patients: Sequence[FhirJson]) -> list[FhirJson]:
        """Trusted sources first, then the newest, then in an order of their contents.

        What was merged away was written last, by the merge; it is the last to be believed.
        """
        ranked = sorted(patients, key=_canonical)
        ranked.sort(key=lambda p: str((p.get("meta") or {}).get("lastUpdated", "")), reverse=True)
        ranked.sort(key=self._trust)
        ranked.sort(key=_is_merged_away)
        return ranked

    def _trust(self, patient: FhirJson) -> int:
        source = (patient.get("meta") or {}).get("source", "")
        return self._trusted.get(source, len(self._trusted))

    def _names(self, element: str, ranked: Sequence[FhirJson]) -> FhirJson:
        """Every distinct name; the best first and official, placeholders last and temporary."""
        distinct: dict[tuple[str, ...], FhirJson] = {}
        for name in _items(element, ranked):
            distinct.setdefault(_name_key(name), name)
        names = sorted(distinct.values(), key=self._name_rank)
        if not names:
            return {}
        best, *others = names
        use = "temp" if self._is_placeholder(best) else "official"
        return {element: [{**best, "use": use}, *(self._as_other(name) for name in others)]}

    def _name_rank(self, name: FhirJson) -> int:
        if self._is_placeholder(name):
            return 2
        return 0 if name.get("use") in _CURRENT_USES else 1

    def _as_other(self, name: FhirJson) -> FhirJson:
        if self._is_placeholder(name):
            return {**name, "use": "temp"}
        # One name is official; of a second one the use is no longer known.
        return {k: v for k, v in name.items() if (k, v) != ("use", "official")}

    def _is_placeholder(self, name: FhirJson) -> bool:
        given, family = fold(" ".join(_texts(name, "given")[:1])), fold(name.get("family") or "")
        is_nobody = f"{given} {family}" in self._defaults.pairs
        return (
            is_nobody
            or self._defaults.given.matches(given)
            or self._defaults.surname.matches(family)
        )

    def _birth_date(self, element: str, ranked: Sequence[FhirJson]) -> FhirJson:
        """The commonest of the most exact ones, defaults only where there is nothing else."""
        dates = [p[element] for p in ranked if isinstance(p.get(element), str)]
        real = [d for d in dates if not self._defaults.birth_date.matches(d)] or dates
        exact = [d for d in real if len(d) == max(map(len, real))]
        return {element: _most_held(exact)} if exact else {}


def _is_merged_away(patient: FhirJson) -> bool:
    links = patient.get("link") if patient.get("active") is False else None
    return any(link.get("type") == "replaced-by" for link in links or [] if isinstance(link, dict))


def _holders(element: str, value: Any, ranked: Sequence[FhirJson]) -> tuple[str, ...]:
    """Ids of the records that hold a value of an element, however they write it."""
    key = _SAME_VALUE.get(element, _canonical)
    wanted = key(value)
    return tuple(
        str(patient.get("id", ""))
        for patient in ranked
        if any(key(one) == wanted for one in _values(element, patient))
    )


def _values(element: str, patient: FhirJson) -> Sequence[Any]:
    # A record that says nothing of it is active.
    value = patient.get(element, True if element == "active" else None)
    return value if isinstance(value, list) else [] if value is None else [value]


_Rule = Callable[[str, Sequence[FhirJson]], FhirJson]


def _newest(element: str, ranked: Sequence[FhirJson]) -> FhirJson:
    return next(({element: p[element]} for p in ranked if p.get(element)), {})


def _commonest(element: str, ranked: Sequence[FhirJson]) -> FhirJson:
    values = [p[element] for p in ranked if isinstance(p.get(element), str)]
    known = [value for value in values if value != "unknown"] or values
    return {element: _most_held(known)} if known else {}


def _most_held(values: Sequence[str]) -> str:
    """The value held most often; among equals the first."""
    counted = Counter(values)
    return max(counted, key=lambda value: counted[value])


def _union(element: str, ranked: Sequence[FhirJson]) -> FhirJson:
    identity: Callable[[FhirJson], str] = _IDENTITY.get(element, _canonical)
    distinct: dict[str, FhirJson] = {}
    for item in _items(element, ranked):
        distinct.setdefault(identity(item), item)
    return {element: list(distinct.values())} if distinct else {}


def _one_per_url(element: str, ranked: Sequence[FhirJson]) -> FhirJson:
    chosen: dict[str, list[FhirJson]] = {}
    for patient in ranked:
        by_url: dict[str, list[FhirJson]] = {}
        for extension in _items(element, [patient]):
            by_url.setdefault(extension.get("url", ""), []).append(extension)
        chosen = {**by_url, **chosen}
    values = [extension for url in sorted(chosen) for extension in chosen[url]]
    return {element: values} if values else {}


def _active(element: str, ranked: Sequence[FhirJson]) -> FhirJson:
    return {element: any(p.get(element, True) for p in ranked)} if ranked else {}


def _deceased(_: str, ranked: Sequence[FhirJson]) -> FhirJson:
    """A date of death before a mere yes, and a yes before a no."""
    for patient in ranked:
        if patient.get("deceasedDateTime"):
            return {"deceasedDateTime": patient["deceasedDateTime"]}
    said = [p["deceasedBoolean"] for p in ranked if "deceasedBoolean" in p]
    return {"deceasedBoolean": any(said)} if said else {}


def _multiple_birth(_: str, ranked: Sequence[FhirJson]) -> FhirJson:
    """A position in the birth before a mere yes, and a yes before a no."""
    for patient in ranked:
        if patient.get("multipleBirthInteger"):
            return {"multipleBirthInteger": patient["multipleBirthInteger"]}
    said = [p["multipleBirthBoolean"] for p in ranked if "multipleBirthBoolean" in p]
    return {"multipleBirthBoolean": any(said)} if said else {}


def _items(element: str, ranked: Iterable[FhirJson]) -> list[FhirJson]:
    """The values of a repeating element, without those that point into their own record."""
    return [
        item
        for patient in ranked
        for item in patient.get(element) or []
        if not any(str(o.get("reference", "")).startswith("#") for o in objects(item))
    ]


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _texts(name: FhirJson, part: str) -> list[str]:
    """The strings of a name part; null stands for a value that has an extension only."""
    return [text for text in name.get(part) or [] if isinstance(text, str)]


def _name_key(name: FhirJson) -> tuple[str, ...]:
    parts = [name.get("family") or "", *_texts(name, "given"), *_texts(name, "suffix")]
    return tuple(fold(part) for part in parts) if any(parts) else (fold(name.get("text") or ""),)


def _identifier_key(identifier: FhirJson) -> str:
    return f"{identifier.get('system', '')}|{identifier.get('value', '')}"


def _telecom_key(telecom: FhirJson) -> str:
    value = str(telecom.get("value", ""))
    plain = value.lower() if "@" in value else "".join(c for c in value if c.isalnum())
    return f"{telecom.get('system', '')}|{plain[-10:] if plain.isdigit() else plain}"


def _address_key(address: FhirJson) -> str:
    lines = fold(" ".join(address.get("line") or [address.get("text") or ""]))
    return f"{lines}|{fold(address.get('city') or '')}|{(address.get('postalCode') or '')[:5]}"


#: When two values of an element are one.
_IDENTITY: dict[str, Callable[[FhirJson], str]] = {
    "identifier": _identifier_key,
    "telecom": _telecom_key,
    "address": _address_key,
}
#: The same for whoever asks where a value comes from; a name is one whatever its use is.
_SAME_VALUE: dict[str, Callable[[Any], str]] = {
    **_IDENTITY,
    "name": lambda name: _canonical(_name_key(name)),
}
