"""The published tables of every version, compiled piece by piece into matchers.

hl7apy ships structures, groups, segments, fields, data types and tables of v2.1 to v2.8.2 as
data; a version's are read once, and each structure and segment is compiled when a message
first needs it. What is wrong in them is put right by the corrections of conformance.toml.
Spec: HL7 v2.1 to v2.8.2, chapters 2 to 16, as published in hl7apy's tables.
"""

import importlib
import re
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, Final

from adapters.hl7v2.field_forms import Part
from adapters.hl7v2.fields import FieldSpec, SegmentCheck
from adapters.hl7v2.rules import Corrections, Rules
from adapters.hl7v2.structure import Node, Structure

#: The versions with published tables, oldest first.
VERSIONS: Final = (
    *("2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.8.1", "2.8.2"),
)

_HEADERS: Final = frozenset({"MSH", "BHS", "FHS"})
_HEADER_GATE: Final = frozenset({9, 10, 11, 12})  # judged before conformance, each by its own rule
_OLDEST_TABLES: Final = "2.3.1"  # published lists of values begin with it
_MOST_FREE: Final = 64  # fields that a query's own definition may give a QPD
_NO_LENGTHS: Final = (2, 7)  # from here on a length is a recommendation
_CODED: Final = frozenset({"ID", "IS"})
_PREFIX: Final = re.compile(r"^[A-Z0-9]{3}_[A-Z0-9]{3}_")
_NUMBERS: Final = re.compile(r"^\d{1,3}(?:\.\d{1,3}){0,3}$")


def nearest_version(version: str, default: str) -> str:
    """The published version that a message's MSH-12 means or comes closest to."""
    if version in VERSIONS:
        return version
    if not _NUMBERS.match(version):
        return default
    wanted = numbers_of(version)
    older = [known for known in VERSIONS if numbers_of(known) <= wanted]
    return older[-1] if older else VERSIONS[0]


def numbers_of(version: str) -> tuple[int, ...]:
    """`2.5.1` as numbers that can be compared."""
    return tuple(int(part) for part in version.split("."))


class Standard:
    """One version's structures and segments."""

    def __init__(self, version: str, rules: Rules) -> None:
        self.version = version
        self._rules = rules
        self._module = _module(version)
        self._tables: Mapping[str, Any] = (
            getattr(self._module, "TABLES", None) or _module(_OLDEST_TABLES).TABLES
        )
        self._has_lengths = numbers_of(version) < _NO_LENGTHS
        self._structures: dict[str, Structure] = {}
        self._checks: dict[str, SegmentCheck] = {}
        self._values: dict[str, frozenset[str]] = {}
        self._value_types = _ValueTypes(self)

    @property
    def structure_names(self) -> frozenset[str]:
        """Every structure of this version."""
        return frozenset(self._module.MESSAGES)

    @property
    def segment_names(self) -> frozenset[str]:
        """Every segment of this version."""
        return frozenset(name for name in self._module.SEGMENTS if len(name) == 3)

    def structure(self, name: str) -> Structure | None:
        """The structure of that name; None where this version has none."""
        found = self._structures.get(name)
        if found is None and name in self._module.MESSAGES:
            children = [
                _node(child, self._rules.corrections) for child in self._module.MESSAGES[name][1]
            ]
            found = self._structures[name] = Structure(name, children)
        return found

    def check(self, segment: str) -> SegmentCheck | None:
        """The checks of a segment; None where this version has no such segment."""
        found = self._checks.get(segment)
        # Names nobody knows are not remembered: senders may make up any number of them.
        if found is None and segment in self._module.SEGMENTS:
            shift = 1 if segment in _HEADERS else 0
            specs = self._specs(segment)
            found = self._checks[segment] = SegmentCheck(
                segment, _gapless(specs), self._value_types, shift=shift
            )
        return found

    def _specs(self, segment: str) -> list[FieldSpec]:
        specs = [self._spec(segment, child) for child in self._children(segment)]
        free = self._rules.corrections.free.get(segment)
        if free is None:
            return specs
        anything = Part(datatype="")
        return [spec for spec in specs if spec.number < free] + [
            FieldSpec(number=n, least=0, most=-1, part=anything)
            for n in range(free, _MOST_FREE + 1)
        ]

    def value_type(self, datatype: str) -> Part | None:
        """What stands in OBX-5 of that type; None where this version has no such type."""
        parts = self._module.DATATYPES_STRUCTS.get(datatype)
        if parts is None:
            return self._part(("leaf", None, datatype, "", None, -1), ())
        return self._part(("sequence", parts, datatype, "", None, -1), ())

    def _children(self, segment: str) -> Iterator[Any]:
        """The published rows of a segment's fields."""
        like = self._rules.corrections.segments.get((self.version, segment), self.version)
        yield from (_module(like).SEGMENTS[segment][1] if like else ())

    def _spec(self, segment: str, child: Any) -> FieldSpec:
        name, reference, (least, most), _ = child
        number = int(name.rpartition("_")[2])
        is_gate = segment == "MSH" and number in _HEADER_GATE
        is_relaxed = (segment, number) in self._rules.relaxed
        longest = self._rules.lengths.fields.get((segment, number), 0) if self._has_lengths else 0
        datatype = self._rules.corrections.datatypes.get((self.version, segment, number))
        part = self._part(_reference(reference, datatype), (), longest=longest)
        return FieldSpec(
            number=number,
            least=0 if is_gate or is_relaxed else min(least, 1),
            most=most,
            part=part,
        )

    def _part(
        self, reference: Any, above: tuple[str, ...], *, is_required: bool = False, longest: int = 0
    ) -> Part:
        """A published row as a part; rows may hold rows, three levels deep."""
        _, inner, datatype, _, table, _ = reference
        # OBX-5 of 2.7 and later has a word, not a list, where its components would stand.
        listed = inner if isinstance(inner, tuple | list) and len(above) < 2 else ()
        kind = (datatype or "").upper()
        if kind == "ST" and not listed and above[-1:] == ("TS",):
            kind = "DTM"  # the first component of a time stamp, a text in the tables below 2.4
        code = (table or "").removeprefix("HL7")
        if self._has_lengths and not listed:
            longest = longest or self._rules.lengths.datatypes.get(kind, 0)
        return Part(
            datatype=kind if kind != "VARIES" else "varies",
            parts=tuple(
                self._part(row, (*above, kind), is_required=card[0] > 0)
                for _, row, card, _ in listed
            ),
            table=code,
            values=self._listed(table or "", kind),
            longest=longest,
            is_required=is_required,
        )

    def _listed(self, table: str, datatype: str) -> frozenset[str]:
        """The values to check against; empty for tables that senders may extend."""
        rules = self._rules
        is_bound = datatype == "ID" or (datatype in _CODED and table in rules.user_tables)
        if not table or not is_bound or table in rules.open_tables:
            return frozenset()
        if table not in self._values:
            known = self._tables.get(table)
            added = rules.added_values.get(table, frozenset())
            self._values[table] = frozenset(known[1]) | added if known else frozenset()
        return self._values[table]


class _ValueTypes(Mapping[str, Part]):
    """The types that OBX-2 may name, each compiled when first asked for."""

    def __init__(self, standard: Standard) -> None:
        self._standard = standard
        self._known: dict[str, Part] = {}

    def __getitem__(self, name: str) -> Part:
        found = self._known.get(name)
        if found is None:
            if name not in _TYPE_NAMES:
                raise KeyError(name)
            part = self._standard.value_type(name)
            if part is None:
                raise KeyError(name)
            found = self._known[name] = part
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(_TYPE_NAMES)

    def __len__(self) -> int:
        return len(_TYPE_NAMES)


#: HL7 table 0125, without ED and RP, whose content is anybody's.
_TYPE_NAMES: Final = frozenset(
    {
        *("AD", "CE", "CF", "CK", "CN", "CNE", "CP", "CWE", "CX", "DR", "DT", "DTM", "FT", "MO"),
        *("NM", "PN", "SI", "SN", "ST", "TM", "TN", "TS", "TX", "XAD", "XCN", "XON", "XPN", "XTN"),
    }
)


def _module(version: str) -> ModuleType:
    return importlib.import_module(f"hl7apy.v{version.replace('.', '_')}")


def _reference(published: Any, datatype: str | None) -> Any:
    """A row with its data type put right: what it consists of is then not looked at."""
    if datatype is not None:
        return ("leaf", None, datatype, "", None, -1)
    return published


def _gapless(specs: list[FieldSpec]) -> list[FieldSpec]:
    """The fields in order, each number once; a published list with a gap gets what fills it."""
    known = {spec.number: spec for spec in specs}
    anything = Part(datatype="")
    return [
        known.get(n) or FieldSpec(number=n, least=0, most=-1, part=anything)
        for n in range(1, max(known, default=0) + 1)
    ]


def _node(child: Any, corrections: Corrections) -> Node:
    name, reference, (least, most), kind = child
    if kind != "GRP":
        return Node(name, least, most)
    if name in corrections.choices:
        inner = [Node(segment, 1, 1) for segment in corrections.choices[name]]
    else:
        inner = [_node(part, corrections) for part in reference[1]]
    is_choice = reference[0] == "choice" and name not in corrections.sequences
    return Node(_PREFIX.sub("", name), least, most, inner, choice=is_choice)
