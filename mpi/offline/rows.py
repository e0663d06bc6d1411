"""Rows of a file as demographics, by the map of its columns."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson
from mpi.demographics import Demographics
from mpi.normalize import Normalizer, pack
from mpi.offline.columns import ColumnMap
from mpi.offline.dates import joined

#: Of a national number; fewer digits are part of one, or none.
FEWEST_DIGITS = 6
_NINE = 9
_SSN = "http://hl7.org/fhir/sid/us-ssn"
_MBI = "http://hl7.org/fhir/sid/us-mbi"
_NATIONAL = "urn:hie:file:national-id"
_LICENSE = "urn:hie:file:license:"
_MOTHERS_NAME = "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName"
_DIGITS = re.compile(r"\d", re.ASCII)


class RowReader:
    """Reads the rows of one file.

    Args:
        header: names of the columns, in their order.
        columns: which of them hold what.
        file: name of the file, for faults.
        normalizer: brings patients to comparable form.
        as_of: today; birth dates too far from it are defaults.

    Raises:
        HieError: INVALID, one issue per column that the header lacks or has twice.
    """

    def __init__(
        self,
        header: Sequence[str],
        columns: ColumnMap,
        file: str,
        normalizer: Normalizer,
        as_of: date,
    ) -> None:
        self._columns = columns
        self._normalizer = normalizer
        self._as_of = as_of
        self._places = _places(header, columns, file)
        self._constants = {name: [value] for name, value in columns.constants.items() if value}
        self._unread_dates = 0

    def record_id(self, cells: Sequence[str]) -> str:
        """The row's own id; may be empty."""
        return cells[self._places["record_id"][0]].strip()

    def pages(self, rows: Sequence[Sequence[str]]) -> tuple[list[tuple[str, bytes]], int]:
        """Rows as record ids and packed demographics; how many dates no format could read."""
        before = self._unread_dates
        packed = [(self.record_id(cells), pack(self.demographics(cells))) for cells in rows]
        return packed, self._unread_dates - before

    def demographics(self, cells: Sequence[str]) -> Demographics:
        """What of the row may be compared; what cannot be read is left out."""
        found = self._normalizer.demographics(self.patient(cells), self._as_of)
        others = [digits for text in self._all(cells, "ssn") if (digits := _other_number(text))]
        return replace(found, ssn=(*found.ssn, *others)) if others else found

    def patient(self, cells: Sequence[str]) -> FhirJson:
        """The row as a FHIR Patient, as far as its elements are compared."""
        one, every = self._one, self._all
        first, *more = (*every(cells, "given"), "") if "given" in self._places else ("",)
        sex = self._columns.sexes.get(one(cells, "sex").casefold(), "")
        made: FhirJson = {
            "name": self._names(cells, first, more),
            "birthDate": self._birth_date(cells),
            "gender": sex,
            "telecom": [
                {"system": system, "value": value}
                for system, attribute in (("phone", "phone"), ("email", "email"))
                for value in every(cells, attribute)
            ],
            "address": self._addresses(cells),
            "identifier": self._identifiers(cells),
        }
        if (order := one(cells, "birth_order")).isascii() and order.isdigit() and len(order) < 3:
            made["multipleBirthInteger"] = int(order)
        if maiden := one(cells, "mother_maiden"):
            made["extension"] = [{"url": _MOTHERS_NAME, "valueString": maiden}]
        if guardian := one(cells, "guardian"):
            family = guardian.partition(",")[0] if "," in guardian else guardian.split()[-1]
            code = {"coding": [{"code": "GUARD"}]}
            made["contact"] = [{"relationship": [code], "name": {"family": family}}]
        return made

    def _names(self, cells: Sequence[str], first: str, more: Sequence[str]) -> list[FhirJson]:
        others = [name for name in (*more, *self._all(cells, "middle")) if name]
        # An empty first name is kept before a middle name, which else were taken for it.
        given = [first, *others] if first or others else []
        family = " ".join(self._all(cells, "family"))
        suffix = self._all(cells, "suffix")
        names: list[FhirJson] = []
        if family or any(given):
            names.append({"family": family, "given": given, "suffix": suffix})
        if whole := self._one(cells, "name"):
            names.append({"text": whole, "suffix": suffix})
        names += [{"use": "maiden", "family": name} for name in self._all(cells, "maiden")]
        names += [{"use": "old", "family": name} for name in self._all(cells, "alias")]
        return names

    def _birth_date(self, cells: Sequence[str]) -> str:
        texts = self._all(cells, "birth_date")
        for text in texts:
            if found := self._columns.read_date(text):
                return found
        year = self._one(cells, "birth_year")
        if year.isascii() and year.isdigit() and len(year) == 4:
            month, day = (self._number(cells, name) for name in ("birth_month", "birth_day"))
            if found := joined(int(year), month, day):
                return found
        if texts or year:
            self._unread_dates += 1
        return ""

    def _number(self, cells: Sequence[str], attribute: str) -> str | None:
        text = self._one(cells, attribute)
        return text if text.isascii() and text.isdigit() and len(text) <= 2 else None

    def _addresses(self, cells: Sequence[str]) -> list[FhirJson]:
        house, unit = self._one(cells, "house"), self._one(cells, "unit")
        line = " ".join(v for v in (house, *self._all(cells, "street")) if v)
        if unit:
            line += f" unit {unit}"
        city, code = self._one(cells, "city"), self._one(cells, "zip")
        return [{"line": [line], "city": city, "postalCode": code}] if line or city or code else []

    def _identifiers(self, cells: Sequence[str]) -> list[FhirJson]:
        kinds = (
            ("ssn", _SSN, "SS"),
            ("itin", "urn:hie:file:itin", "TAX"),
            ("mrn", self._one(cells, "authority"), "MR"),
            ("national_id", _NATIONAL, "NI"),
            ("license", _LICENSE + self._one(cells, "state").casefold(), "DL"),
            ("mbi", _MBI, "MC"),
            ("member_id", self._one(cells, "payer"), "MB"),
        )
        return [
            {"system": system, "value": value, "type": {"coding": [{"code": code}]}}
            for attribute, system, code in kinds
            for value in self._all(cells, attribute)
        ]

    def _one(self, cells: Sequence[str], attribute: str) -> str:
        found = self._all(cells, attribute)
        return found[0] if found else ""

    def _all(self, cells: Sequence[str], attribute: str) -> list[str]:
        """The values of an attribute that are not empty; a constant where it has no column."""
        places = self._places.get(attribute)
        if places is None:
            return self._constants.get(attribute, [])
        texts = [cells[place].strip() for place in places]
        found = [text for text in texts if text and text not in self._columns.missing]
        return found or self._constants.get(attribute, [])


def _places(header: Sequence[str], columns: ColumnMap, file: str) -> Mapping[str, tuple[int, ...]]:
    issues = []
    places = {}
    for attribute, names in columns.columns.items():
        for name in names:
            if (count := header.count(name)) != 1:
                said = "is there twice" if count else "is missing"
                text = f"`{file}` column `{name}`, which the map names for `{attribute}`, {said}"
                issues.append(Issue(text=text))
        if all(name in header for name in names):
            places[attribute] = tuple(header.index(name) for name in names)
    if issues:
        raise HieError(Category.INVALID, "the file does not have the columns of the map", issues)
    return places


def _other_number(text: str) -> str:
    """A person's number that is no SSN by its length, filled to nine digits; else empty."""
    digits = "".join(_DIGITS.findall(text))
    if len(digits) < FEWEST_DIGITS or len(digits) == _NINE or len(set(digits)) == 1:
        return ""
    return digits.zfill(_NINE)
