"""A FHIR Patient in comparable form, with default values taken out.

Everything later - keys, comparison, guard - sees only what this gives, so a default value
can count nowhere. Nothing here raises on odd input: what cannot be read is left out.
Spec: https://hl7.org/fhir/R4/patient.html
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import lru_cache
from typing import Any, TypeVar

import orjson

from hie.kernel.fhir import FhirJson
from mpi.demographics import Address, Demographics, Identifier
from mpi.settings import Defaults, Forms

T = TypeVar("T")

#: Bounds on what is read of one Patient, so that a hostile one costs no more than a busy one.
MOST_TEXT = 120
MOST_NAMES = 8
MOST_VALUES = 8
MOST_IDENTIFIERS = 24
ADULT_YEARS = 18

_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th"})
_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")
_HOUSE = re.compile(r"(\d+(?:[a-z]|-\d+)?) (.+)")
_EXTENSION = re.compile(r"(?:x|ext\.?|extension) *\d+ *$", re.IGNORECASE)
_MOTHERS_NAME = "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName"
#: What no number is sent as: one that its source has merged away.
_RETIRED = "retired"
_USES = {"official": 0, "usual": 1, "": 2, "maiden": 3, "old": 4, "nickname": 5}
_PARENTS = frozenset({"MTH", "PRN", "GUARD", "NMTH", "N", "parent", "guardian", "mother"})


@lru_cache(maxsize=50_000)
def fold(text: str) -> str:
    """Lower-case words without accents or punctuation, joined by one space.

    `O'Brien-Núñez` gives `obrien nunez`; letters of other scripts stay.
    """
    plain = unicodedata.normalize("NFKD", text[:MOST_TEXT].casefold())
    if not text.isascii():
        # A letter in another style is decomposed into one of either case.
        plain = unicodedata.normalize("NFKD", plain.casefold())
    plain = plain.translate(_LETTERS)
    kept = (
        char if char.isalnum() else "" if char in "'’`." else " "  # noqa: RUF001 - typed as apostrophe
        for char in plain
        if not unicodedata.combining(char)
    )
    return " ".join("".join(kept).split())


class Normalizer:
    """Brings Patients to comparable form by the forms and defaults of `config/mpi`."""

    def __init__(self, forms: Forms, defaults: Defaults) -> None:
        self._forms = forms
        self._defaults = defaults

    def demographics(self, patient: FhirJson, today: date) -> Demographics:
        """What of a Patient may be compared.

        Args:
            patient: FHIR R4 Patient.
            today: birth dates too far from it are defaults.
        """
        names = self._names(patient)
        numbers = self._numbers(patient)
        order = patient.get("multipleBirthInteger")
        return Demographics(
            given=_some(names.given),
            middle=_some(names.middle),
            surnames=_some(names.surnames),
            surname_parts=_some(names.parts),
            suffix=names.suffix,
            birth_date=self._birth_date(patient.get("birthDate"), today),
            birth_order=order if isinstance(order, int) and 0 < order < 20 else 0,
            sex={"male": "m", "female": "f"}.get(_text(patient.get("gender")), ""),
            phones=_some(self._phones(patient)),
            emails=_some(self._emails(patient)),
            addresses=_some(self._addresses(patient)),
            ssn=_some(numbers.ssn),
            ssn_last4=_some(numbers.ssn_last4),
            itin=_some(numbers.itin),
            identifiers=_some(numbers.identifiers, MOST_IDENTIFIERS),
            mothers=_some(self._mothers(patient)),
            is_placeholder=names.is_placeholder and not names.given,
            is_minor=_is_minor(self._birth_date(patient.get("birthDate"), today), today),
        )

    # Names

    def _names(self, patient: FhirJson) -> "_Names":
        found = _Names()
        names = _objects(patient.get("name"))
        for name in sorted(names, key=lambda n: _USES.get(_text(n.get("use")), 6))[:MOST_NAMES]:
            self._read_name(name, found)
        return found

    def _read_name(self, name: FhirJson, found: "_Names") -> None:
        family, given = self._parts_of(name)
        for word in (w for text in _texts(name.get("suffix")) for w in fold(text).split()):
            found.suffix = found.suffix or self._forms.suffixes.get(word, "")
        first_words = self._strip(fold(given[0]).split(), found) if given else []
        surname_words = self._strip(fold(family).split(), found)
        is_nobody = f"{' '.join(first_words)} {' '.join(surname_words)}" in self._defaults.pairs
        if is_nobody:
            found.is_placeholder = True
        elif self._defaults.given.matches(" ".join(first_words)):
            found.is_placeholder = True
            # `UNKNOWN` `Jane`: the further names are still theirs.
            others = [text for text in given[1:] if not self._defaults.given.matches(fold(text))]
            self._read_given([], others, found)
        else:
            self._read_given(first_words, given[1:], found)
        if is_nobody or self._defaults.surname.matches(" ".join(surname_words)):
            found.is_placeholder = True
        else:
            self._read_surname(surname_words, found)

    def _parts_of(self, name: FhirJson) -> tuple[str, list[str]]:
        """Family and given names; taken from `text` where the name is not split."""
        family, given = _text(name.get("family")), _texts(name.get("given"))
        if family or given:
            return family, given
        text = _text(name.get("text"))[:MOST_TEXT]
        if "," in text:
            family, _, rest = text.partition(",")
            return family, rest.split()
        words = text.split()
        return (words[-1], words[:-1]) if words else ("", [])

    def _strip(self, words: list[str], found: "_Names") -> list[str]:
        """The words without titles and generation suffix; a suffix is remembered."""
        words = [w for w in words if w not in self._forms.titles] or words
        while len(words) > 1 and len(words[-1]) > 1 and words[-1] in self._forms.suffixes:
            found.suffix = found.suffix or self._forms.suffixes[words[-1]]
            words = words[:-1]
        return words

    def _read_given(self, first: list[str], others: list[str], found: "_Names") -> None:
        # `John Q` in one field is a first name and an initial.
        initials = [w for w in first[1:] if len(w) == 1]
        first = [w for n, w in enumerate(first) if n == 0 or len(w) > 1]
        if first:
            found.given += ["".join(first), first[0]]
        more = [word for text in others for word in fold(text).split()]
        for word in more:
            found.suffix = found.suffix or (len(word) > 1 and self._forms.suffixes.get(word)) or ""
        names = [w for w in more if len(w) == 1 or w not in self._forms.suffixes]
        found.middle += [*first[1:], *initials, *names]

    def _read_surname(self, words: list[str], found: "_Names") -> None:
        if words:
            found.surnames.append("".join(words))
        if len(words) > 1:
            found.parts += [w for w in words if len(w) >= 3 and w not in self._forms.particles]

    def _mothers(self, patient: FhirJson) -> Iterator[str]:
        for extension in _objects(patient.get("extension")):
            if extension.get("url") == _MOTHERS_NAME:
                yield from fold(_text(extension.get("valueString"))).split()[-1:]
        for contact in _objects(patient.get("contact")):
            relations = _objects(contact.get("relationship"))
            codes = {_text(c.get("code")) for r in relations for c in _objects(r.get("coding"))}
            name = contact.get("name")
            if codes & _PARENTS and isinstance(name, dict):
                yield fold(_text(name.get("family"))).replace(" ", "")

    # Dates, telephones, addresses

    def _birth_date(self, value: Any, today: date) -> str:
        text = _text(value)[:10]
        if not _DATE.fullmatch(text) or text in self._defaults.birth_date.values:
            return ""
        try:
            born = date.fromisoformat((text + "-01-01")[:10])
        except ValueError:
            return ""
        oldest = today.year - self._defaults.oldest_years
        latest = today + timedelta(days=self._defaults.latest_days)
        return text if born.year >= oldest and born <= latest else ""

    def _phones(self, patient: FhirJson) -> Iterator[str]:
        for telecom in _objects(patient.get("telecom")):
            if _text(telecom.get("system")) in ("phone", "sms", ""):
                yield self._phone(_text(telecom.get("value"))[:MOST_TEXT])

    def _phone(self, text: str) -> str:
        if "@" in text:
            return ""
        digits = "".join(c for c in _EXTENSION.sub("", text) if c in "0123456789")
        if text.strip().startswith("+") and not digits.startswith("1"):
            return f"+{digits}" if len(digits) >= 8 else ""
        national = digits[1:] if len(digits) == 11 and digits[0] == "1" else digits
        if len(national) != 10 or self._defaults.phone.matches(national):
            return ""
        return f"+1{national}"

    def _emails(self, patient: FhirJson) -> Iterator[str]:
        for telecom in _objects(patient.get("telecom")):
            text = _text(telecom.get("value")).strip().lower().removeprefix("mailto:")
            local, at, domain = text.partition("@")
            if not at or not local or "." not in domain or len(text) > MOST_TEXT:
                continue
            if not (
                self._defaults.email_local.matches(local) or self._defaults.email.matches(text)
            ):
                yield text

    def _addresses(self, patient: FhirJson) -> Iterator[Address | None]:
        for address in _objects(patient.get("address")):
            lines = " ".join(_texts(address.get("line"))) or _text(address.get("text"))
            yield self._address(lines, _text(address.get("city")), _text(address.get("postalCode")))

    def _address(self, line: str, city: str, postal_code: str) -> Address | None:
        zip5 = (
            postal_code[:5]
            if re.match(r"\d{5}", postal_code, re.ASCII)
            else fold(postal_code).replace(" ", "")[:8]
        )
        zip5 = "" if zip5 in self._defaults.zips else zip5
        words = fold(line.replace("#", " unit ")).split()
        words = [self._forms.address_words.get(word, word) for word in words]
        unit = ""
        for n, word in enumerate(words):
            if n and word in self._forms.units:
                unit = "".join(w for w in words[n + 1 :] if w not in self._forms.units)
                words = words[:n]
                break
        text = " ".join(words)
        if self._defaults.address.matches(text) and not (unit and zip5):
            text = ""
        if not text and not zip5:
            return None
        split = _HOUSE.fullmatch(text)
        house, street = split.groups() if split else ("", text)
        return Address(house=house, street=street, unit=unit, city=fold(city), zip5=zip5)

    # Numbers

    def _numbers(self, patient: FhirJson) -> "_Numbers":
        found = _Numbers()
        for identifier in _objects(patient.get("identifier"))[: 2 * MOST_IDENTIFIERS]:
            system, kind = _text(identifier.get("system")), type_code(identifier)
            value = _text(identifier.get("value"))[:MOST_TEXT]
            digits = "".join(c for c in value if c in "0123456789")
            if kind in self._forms.itin_types:
                # A taxpayer number has the form of an SSN, but begins with 9.
                found.itin += [digits] if len(digits) == 9 and len(set(digits)) > 1 else []
            elif system in self._forms.ssn_systems or kind == "SS":
                self._read_ssn(digits, found)
            elif system and kind in self._forms.person_types:
                self._read_identifier(system, kind, value, found)
        return found

    def _read_ssn(self, digits: str, found: "_Numbers") -> None:
        if len(digits) == 4 and digits not in self._defaults.ssn_last4:
            found.ssn_last4.append(digits)
        elif len(digits) == 9 and not self._defaults.ssn.matches(digits):
            found.ssn.append(digits)

    def _read_identifier(self, system: str, kind: str, value: str, found: "_Numbers") -> None:
        plain = "".join(c for c in value.casefold() if c.isalnum())
        if plain and not self._defaults.identifier.matches(plain):
            found.identifiers.append(Identifier(system=system, value=plain, type=kind))


def _is_minor(birth_date: str, today: date) -> bool:
    """Whether somebody born then may have no number of their own yet; so may the unknown."""
    return not birth_date or today.year - int(birth_date[:4]) <= ADULT_YEARS


@dataclass(slots=True)
class _Names:
    given: list[str] = field(default_factory=list)
    middle: list[str] = field(default_factory=list)
    surnames: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    suffix: str = ""
    is_placeholder: bool = False


@dataclass(slots=True)
class _Numbers:
    ssn: list[str] = field(default_factory=list)
    ssn_last4: list[str] = field(default_factory=list)
    itin: list[str] = field(default_factory=list)
    identifiers: list[Identifier] = field(default_factory=list)


def pack(demographics: Demographics) -> bytes:
    """Compact JSON of demographics, for sealing."""
    d = demographics
    return orjson.dumps(
        [
            d.given, d.middle, d.surnames, d.surname_parts, d.suffix,
            d.birth_date, d.birth_order, d.sex, d.phones, d.emails,
            [(a.house, a.street, a.unit, a.city, a.zip5) for a in d.addresses],
            d.ssn, d.ssn_last4, d.itin,
            [(i.system, i.value, i.type) for i in d.identifiers],
            d.mothers, d.is_placeholder, d.is_minor,
        ]
    )  # fmt: skip


def unpack(packed: bytes) -> Demographics:
    """The demographics that `pack` wrote."""
    v = orjson.loads(packed)
    return Demographics(
        given=tuple(v[0]),
        middle=tuple(v[1]),
        surnames=tuple(v[2]),
        surname_parts=tuple(v[3]),
        suffix=v[4],
        birth_date=v[5],
        birth_order=v[6],
        sex=v[7],
        phones=tuple(v[8]),
        emails=tuple(v[9]),
        addresses=tuple(
            Address(house=h, street=s, unit=u, city=c, zip5=z) for h, s, u, c, z in v[10]
        ),
        ssn=tuple(v[11]),
        ssn_last4=tuple(v[12]),
        itin=tuple(v[13]),
        identifiers=tuple(Identifier(system=s, value=n, type=t) for s, n, t in v[14]),
        mothers=tuple(v[15]),
        is_placeholder=v[16],
        is_minor=v[17] if len(v) > 17 else True,  # version 1 did not say
    )


def _some(values: Iterable[T | None], most: int = MOST_VALUES) -> tuple[T, ...]:
    """The first distinct values that are not empty."""
    return tuple(dict.fromkeys(v for v in values if v))[:most]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    # A lone surrogate, left by a wrong character set, could not be stored.
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _texts(value: Any) -> list[str]:
    return [v for v in value if isinstance(v, str)][:MOST_NAMES] if isinstance(value, list) else []


def _objects(value: Any) -> list[FhirJson]:
    return [v for v in value if isinstance(v, dict)][:64] if isinstance(value, list) else []


def type_code(identifier: FhirJson) -> str:
    """The HL7 table 0203 code of a FHIR Identifier, or an empty string."""
    kind = identifier.get("type")
    codings = _objects(kind.get("coding")) if isinstance(kind, dict) else []
    return _text(codings[0].get("code")) if codings else ""


def retired(demographics: Demographics) -> Demographics:
    """The demographics of a record that its source merged away.

    Its numbers still say who it was, but contradict no other number of their authority.
    """
    plain = tuple(replace(identifier, type=_RETIRED) for identifier in demographics.identifiers)
    return replace(demographics, identifiers=plain)
