"""What a query message asks, and what is wrong with how it asks. Pure.

Three messages are understood: QBP^Q23 asks for the other numbers of a patient (IHE PIX, ITI-9),
QBP^Q22 for the persons of a description (IHE PDQ, ITI-21), QCN^J01 ends a query.
Spec: HL7 v2.5 chapter 5 (QPD, RCP, DSC, QID); IHE ITI TF-2 3.9.4.1 and 3.21.4.1.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType
from typing import Final

from adapters.domains import Authority, Domains
from adapters.hl7v2.er7 import Element, Message, Segment
from adapters.hl7v2.query_tables import Parameter, QueryTables
from adapters.hl7v2.rules import Place, Rules
from adapters.sources import Source
from hie.kernel.envelope import Finding, SourceIdentifier

CROSS_REFERENCE: Final = "QBP^Q23"
FIND: Final = "QBP^Q22"
CANCEL: Final = "QCN^J01"
#: Trigger to the name that `queries` of a source's file has for it.
KINDS: Final = MappingProxyType({CROSS_REFERENCE: "pix", FIND: "pdq", CANCEL: "pdq"})

_QPD: Final = "QPD"
_DATE: Final = re.compile(r"^(\d{4})(?:(\d{2})(?:(\d{2})(?:\d{2,6}(?:\.\d+)?)?)?)?(?:[+-]\d{4})?$")
_FIELD: Final = re.compile(r"^@?([A-Z]{3}(?:\.\d{1,2}){1,3})$")
_PARTS: Final = MappingProxyType({"namespace": 0, "universal-id": 1, "universal-id-type": 2})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One thing that a person must have.

    Attributes:
        name: a search parameter of Patient.
        value: as FHIR writes it.
        system: of an identifier.
        is_prefix: the value only begins so.
    """

    name: str
    value: str
    system: str = ""
    is_prefix: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked.

    Attributes:
        kind: `pix` or `pdq`.
        tag: QPD-2.
        identifier: whose other numbers are asked for.
        wanted: what a person must have, all of it.
        targets: identifier systems asked for; () = those of patients.
        limit: persons in the answer, at most.
        pointer: DSC-1, where the answer before ended; "" = from the beginning.
    """

    kind: str
    tag: str
    identifier: SourceIdentifier | None = None
    wanted: tuple[Wanted, ...] = ()
    targets: tuple[str, ...] = ()
    limit: int = 0
    pointer: str = ""


@dataclass(slots=True)
class _Faults:
    """Gathers what is wrong."""

    rules: Rules
    found: list[Finding] = field(default_factory=list)

    def add(self, rule: str, place: Place, detail: str = "") -> None:
        # No source's policy softens these: there is no answer without them.
        self.found.append(self.rules.finding(rule, None, place, detail))


class QuestionReader:
    """Reads questions."""

    def __init__(self, rules: Rules, tables: QueryTables, domains: Domains) -> None:
        self._rules = rules
        self._tables = tables
        self._domains = domains

    def read(self, message: Message, source: Source) -> tuple[Question | None, list[Finding]]:
        """The question, or None and what is wrong; a QCN has neither."""
        faults = _Faults(self._rules)
        if message.trigger == CANCEL:
            qid = message.first("QID")
            if qid is None or not qid.value(1):
                faults.add("query-field", Place("QID", 1, 1))
            return None, faults.found
        qpd = message.first(_QPD)
        if qpd is None:
            faults.add("query-field", Place(_QPD, 1))
            return None, faults.found
        if len(qpd.raw) > self._tables.limits.longest:
            detail = str(self._tables.limits.longest)
            faults.add("query-too-long", Place(_QPD, 1), detail)
            return None, faults.found
        question = self._question(message, qpd, source, faults)
        return (None if faults.found else question), faults.found

    def _question(
        self, message: Message, qpd: Segment, source: Source, faults: _Faults
    ) -> Question:
        for number in (1, 2):
            if not qpd.value(number):
                faults.add("query-field", Place(_QPD, 1, number))
        if message.first("RCP") is None:
            faults.add("query-field", Place("RCP", 1))
        if message.trigger == CROSS_REFERENCE:
            return Question(
                kind="pix",
                tag=qpd.value(2),
                identifier=self._identifier(qpd, source, faults),
                targets=self._targets(qpd, 4, source),
            )
        dsc = message.first("DSC")
        return Question(
            kind="pdq",
            tag=qpd.value(2),
            wanted=self._wanted(qpd, source, faults),
            targets=self._targets(qpd, 8, source, faults),
            limit=self._limit(message, faults),
            pointer=dsc.value(1) if dsc else "",
        )

    def _identifier(self, qpd: Segment, source: Source, faults: _Faults) -> SourceIdentifier | None:
        asked = next(iter(qpd.reps(3)), None)
        value = asked.value(1) if asked else ""
        if asked is None or not value or asked.component(1).is_null:
            faults.add("query-field", Place(_QPD, 1, 3, 1, 1))
            return None
        if len(qpd.reps(3)) > 1:
            faults.add("query-one-identifier", Place(_QPD, 1, 3, 2))
        system = self._domains.system(source, _authority(asked.component(4)))
        return SourceIdentifier(system=system, value=value)

    def _targets(
        self, qpd: Segment, number: int, source: Source, faults: _Faults | None = None
    ) -> tuple[str, ...]:
        """The systems of the domains asked for; of those unknown a fault, where it is asked."""
        found = []
        for place, domain in enumerate(qpd.reps(number), start=1):
            authority = _authority(domain.component(4))
            if not any(authority):
                continue
            system = self._domains.system(source, authority)
            if faults and not self._domains.knows(source, system):
                faults.add("query-unknown-domain", Place(_QPD, 1, number, place))
            found.append(system)
        return tuple(found)

    def _limit(self, message: Message, faults: _Faults) -> int:
        rcp, most = message.first("RCP"), self._tables.limits.page
        asked = rcp.value(2) if rcp else ""
        if not asked or rcp is None:
            return most
        unit = rcp.value(2, 2) or "RD"
        if not asked.isdecimal() or not asked.isascii() or int(asked[:9]) < 1 or unit != "RD":
            faults.add("query-value", Place("RCP", 1, 2), "a number of records, `5^RD`")
            return most
        return min(int(asked[:9]), most)

    # QPD-3 of QBP^Q22

    def _wanted(self, qpd: Segment, source: Source, faults: _Faults) -> tuple[Wanted, ...]:
        wanted: list[Wanted] = []
        number: tuple[int, str] | None = None
        authority = ["", "", ""]
        is_narrow = False
        for place, asked in enumerate(qpd.reps(3), start=1):
            parameter = self._parameter(asked, place, faults)
            value = asked.component(2).text.strip()
            if parameter is None or not value:
                continue
            is_narrow = is_narrow or parameter.is_narrow
            if parameter.kind == "identifier":
                number = (place, value)
            elif parameter.kind in _PARTS:
                authority[_PARTS[parameter.kind]] = value
            else:
                wanted += self._criterion(parameter, value, place, faults)
        if number:
            wanted.append(self._numbered(number[1], Authority(*authority), source, faults))
        elif any(authority):
            faults.add("query-value", Place(_QPD, 1, 3), "`@PID.3.1` beside `@PID.3.4`")
        if not is_narrow and not faults.found:
            faults.add("query-too-wide", Place(_QPD, 1, 3))
        return tuple(wanted)

    def _parameter(self, asked: Element, place: int, faults: _Faults) -> Parameter | None:
        named = _FIELD.match(asked.value(1).strip().upper())
        parameter = self._tables.parameters.get(named[1]) if named else None
        if parameter is None:
            faults.add("query-parameter", Place(_QPD, 1, 3, place, 1))
        return parameter

    def _numbered(
        self, value: str, authority: Authority, source: Source, faults: _Faults
    ) -> Wanted:
        system = self._domains.system(source, authority) if any(authority) else ""
        if system and not self._domains.knows(source, system):
            faults.add("query-unknown-domain", Place(_QPD, 1, 3))
        return Wanted(name="identifier", value=value, system=system)

    def _criterion(
        self, parameter: Parameter, value: str, place: int, faults: _Faults
    ) -> Iterator[Wanted]:
        at = Place(_QPD, 1, 3, place, 2)
        if parameter.kind == "date":
            read = _fhir_date(value)
            if read is None:
                faults.add("query-value", at, "a date, `19800512`")
        elif parameter.kind == "sex":
            read = self._sex(value)
            if read is None:
                faults.add("query-value", at, "a code of table 0001")
        else:
            yield from self._text(parameter, value, at, faults)
            return
        if read is not None:
            yield Wanted(name=parameter.name, value=read)

    def _text(
        self, parameter: Parameter, value: str, at: Place, faults: _Faults
    ) -> Iterator[Wanted]:
        stem = value.rstrip("*").rstrip()
        is_prefix = value.endswith("*")
        letters = sum(1 for c in stem if c.isalnum())
        fewest = self._tables.limits.shortest_prefix if is_prefix else 1
        if "*" in stem or (is_prefix and not parameter.takes_prefix):
            faults.add("query-value", at, "no `*` but at the end of a name or address")
        elif letters < fewest:
            faults.add("query-value", at, f"{fewest} letters or digits at least")
        else:
            yield Wanted(name=parameter.name, value=stem, is_prefix=is_prefix)

    def _sex(self, value: str) -> str | None:
        codes = self._tables.codes["sex"]
        return next((fhir for fhir, code in codes.items() if code == value.upper()), None)


def _authority(written: Element) -> Authority:
    """CX-4, type HD."""
    return Authority(*(str(written.sub(n)).strip() for n in (1, 2, 3)))


def _fhir_date(value: str) -> str | None:
    """A FHIR date of an HL7 v2 one; None where it is none. The time of day is left out."""
    found = _DATE.match(value)
    if not found:
        return None
    parts = [part for part in found.groups() if part]
    try:
        date(*(int(part) for part in [*parts, "01", "01"][:3]))
    except ValueError:
        return None
    return "-".join(parts)
