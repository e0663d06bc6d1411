"""Does a message keep to the standard? Findings and the group tree; never a refusal.

The published tables of hl7apy are compiled once per version, structure and segment into the
matchers of `structure` and `fields`; its own parser is far too slow for a receiver and serves
the deep check alone. This is the only file that imports hl7apy.
Spec: HL7 v2.1 to v2.8.2, chapters 2 to 16, as published in hl7apy's tables.
"""

import importlib
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.exceptions import HL7apyException
from hl7apy.parser import parse_message

from adapters.hl7v2 import er7
from adapters.hl7v2.er7 import Message, Segment
from adapters.hl7v2.fields import FieldSpec, SegmentCheck
from adapters.hl7v2.rules import Place, Rules
from adapters.hl7v2.structure import Group, Match, Node, Structure
from adapters.sources import Source
from hie.kernel.envelope import Finding

#: The versions with published tables, oldest first.
VERSIONS: Final = (
    *("2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.8.1", "2.8.2"),
)

_CODED: Final = frozenset({"CE", "CWE", "CNE", "CF"})
_HEADER_GATE: Final = frozenset({9, 10, 11, 12})  # judged before conformance, each by its own rule
_MOST_TYPES: Final = 10_000
_TYPE_CHARACTERS: Final = 60
_PREFIX: Final = re.compile(r"^[A-Z0-9]{3}_[A-Z0-9]{3}_")
_NUMBERS: Final = re.compile(r"^\d{1,3}(?:\.\d{1,3}){0,3}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conformance:
    """How a message compares with the standard.

    Attributes:
        findings: of the tokenizer and of the checks, weighed for the source.
        structure: the structure it was read as, `ADT_A01`; empty when not known.
        version: the version whose tables were used.
    """

    findings: tuple[Finding, ...]
    structure: str
    version: str
    layout: Match | tuple[Segment, ...]

    @property
    def groups(self) -> Group:
        """The message as groups, built when asked for; flat when its structure is not known."""
        if isinstance(self.layout, Match):
            return self.layout.groups
        return Group("", self.layout)


class Conformer:
    """Checks messages; compiled tables are kept for its life."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._tables: dict[str, _Tables] = {}
        self._chosen: dict[tuple[str, str, str, str], tuple[Structure | None, str]] = {}

    def preload(self, versions: Iterable[str]) -> None:
        """Load the tables of these versions now, some 20 ms each, instead of at first use."""
        for version in versions:
            self._of(nearest_version(version, self.rules.default_version))

    def conform(self, message: Message, source: Source | None = None) -> Conformance:
        """Findings and groups of a message; never raises, whatever is in it."""
        version = nearest_version(message.version, self.rules.default_version)
        structure, remark = self._structure(version, message)
        layout = structure.match(message.segments) if structure else message.segments
        findings = [*self.rules.weigh(message.findings, source)]
        if version != message.version:
            at = Place("MSH", 1, 12)
            findings.append(self.rules.finding("version-unknown", source, at, version))
        if remark:
            detail = structure.name if structure else ""
            findings.append(self.rules.finding(remark, source, Place("MSH", 1, 9), detail))
        findings += self._faults(layout, source)
        room = self.rules.most_findings - len(findings)
        for trouble in self._field_findings(self._of(version), message, source):
            if room <= 0:
                findings.append(self.rules.finding("more", source))
                break
            findings.append(trouble)
            room -= 1
        return Conformance(
            findings=tuple(findings),
            structure=structure.name if structure else "",
            version=version,
            layout=layout,
        )

    def _of(self, version: str) -> "_Tables":
        found = self._tables.get(version)
        if found is None:
            found = self._tables[version] = _Tables(version, self.rules)
        return found

    def _faults(self, layout: Match | tuple[Segment, ...], source: Source | None) -> list[Finding]:
        faults = layout.faults[: self.rules.most_findings] if isinstance(layout, Match) else ()
        return [
            self.rules.finding(fault.rule, source, Place(fault.segment, fault.sequence))
            for fault in faults
        ]

    def _field_findings(
        self, tables: "_Tables", message: Message, source: Source | None
    ) -> Iterator[Finding]:
        marks = message.delimiters
        for segment in message.segments:
            check = tables.check(segment.name)
            for trouble in check.troubles(segment, marks) if check else ():
                at = Place(segment.name, segment.sequence, *trouble.steps)
                yield self.rules.finding(trouble.rule, source, at, trouble.detail)

    def _structure(self, version: str, message: Message) -> tuple[Structure | None, str]:
        """The structure to read a message as, and the rule its message type breaks."""
        key = (version, message.code, message.event, message.structure)
        found = self._chosen.get(key)
        if found is None:
            found = self._choose(*key)
            # Senders may make up any number of types, of any length.
            if len(self._chosen) < _MOST_TYPES and sum(map(len, key)) < _TYPE_CHARACTERS:
                self._chosen[key] = found
        return found

    def _choose(
        self, version: str, code: str, event: str, named: str
    ) -> tuple[Structure | None, str]:
        trigger = f"{code}^{event}"
        usual = (f"{code}_{event}", *self.rules.structures.get(trigger, ()), code)
        own = VERSIONS.index(version)
        # A type that was withdrawn or came later is read by the nearest version that has it.
        for near in sorted(VERSIONS, key=lambda v: abs(VERSIONS.index(v) - own)):
            tables = self._of(near)
            for name in (*usual, named):
                if found := tables.structure(name):
                    return found, "structure-mismatch" if named not in ("", found.name) else ""
        return None, "trigger-unknown"


def nearest_version(version: str, default: str) -> str:
    """The published version that a message's MSH-12 means or comes closest to."""
    if version in VERSIONS:
        return version
    if not _NUMBERS.match(version):
        return default
    wanted = _numbers(version)
    older = [known for known in VERSIONS if _numbers(known) <= wanted]
    return older[-1] if older else VERSIONS[0]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


class _Tables:
    """The tables of one version, compiled piece by piece as messages need them."""

    def __init__(self, version: str, rules: Rules) -> None:
        self._module: ModuleType = importlib.import_module(f"hl7apy.v{version.replace('.', '_')}")
        self._rules = rules
        self._structures: dict[str, Structure] = {}
        self._checks: dict[str, SegmentCheck | None] = {}
        self._values: dict[str, frozenset[str]] = {}

    def structure(self, name: str) -> Structure | None:
        """The structure of that name; None where this version has none."""
        found = self._structures.get(name)
        if found is None and name in self._module.MESSAGES:
            children = [_node(child) for child in self._module.MESSAGES[name][1]]
            found = self._structures[name] = Structure(name, children)
        return found

    def check(self, segment: str) -> SegmentCheck | None:
        """The checks of a segment; None where this version has no such segment."""
        try:
            return self._checks[segment]
        except KeyError:
            known = self._module.SEGMENTS.get(segment)
            if known is None:
                return None  # not remembered: senders may make up any number of names
            specs = [self._spec(segment, child) for child in known[1]]
            shift = 1 if segment == "MSH" else 0
            check = self._checks[segment] = SegmentCheck(specs, shift=shift)
            return check

    def _spec(self, segment: str, child: Any) -> FieldSpec:
        name, (_, parts, datatype, _, table, _), (least, most), _ = child
        number = int(name.rpartition("_")[2])
        is_gate = segment == "MSH" and number in _HEADER_GATE
        table = table or ""
        # OBX-5 of 2.7 and later has a word, not a list, where its components would stand.
        listed = parts if isinstance(parts, tuple | list) else ()
        return FieldSpec(
            number=number,
            is_required=least > 0 and not is_gate and (segment, number) not in self._rules.relaxed,
            repeats=most != 1,
            datatype=datatype,
            components=tuple(part[1][2] for part in listed),
            table=table.removeprefix("HL7"),
            values=self._table(table, datatype),
        )

    def _table(self, table: str, datatype: str) -> frozenset[str]:
        """The values to check a field against; empty for tables that senders may extend."""
        is_bound = datatype == "ID" or table in self._rules.user_tables
        if not table or not is_bound or table in self._rules.open_tables:
            return frozenset()
        if table not in self._values:
            known = getattr(self._module, "TABLES", {}).get(table)
            added = self._rules.added_values.get(table, frozenset())
            self._values[table] = frozenset(known[1]) | added if known else frozenset()
        return self._values[table]


def _node(child: Any) -> Node:
    name, reference, (least, most), kind = child
    if kind != "GRP":
        return Node(name, least, most)
    inner = [_node(part) for part in reference[1]]
    return Node(_PREFIX.sub("", name), least, most, inner, choice=reference[0] == "choice")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepVerdict:
    """What hl7apy's own parser and validator say.

    Attributes:
        problems: in its words, without the values it quotes.
    """

    is_valid: bool
    problems: tuple[str, ...]


def deep_verdict(payload: bytes) -> DeepVerdict:
    """hl7apy's opinion of a message: slow (tens of milliseconds), for `hie lint --deep`.

    Line ends are brought to CR first, and the fifth encoding character is dropped below v2.7,
    which hl7apy cannot read.
    """
    message = er7.parse(payload)
    text = "\r".join(segment.raw for segment in message.segments) + "\r"
    if message.segments[0].value(2) == "^~\\&#" and message.version < "2.7":
        text = text.replace("^~\\&#", "^~\\&", 1)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        try:
            parsed = parse_message(text, validation_level=VALIDATION_LEVEL.TOLERANT)
            parsed.validate(report_file=str(report))
        except (
            HL7apyException,
            AttributeError,
            KeyError,
            IndexError,
            TypeError,
            ValueError,
        ) as error:
            if not report.exists():
                return DeepVerdict(is_valid=False, problems=(_unquoted(str(error)),))
        problems = tuple(_unquoted(line) for line in _report_lines(report))
    return DeepVerdict(
        is_valid=not any(line.startswith("Error") for line in problems), problems=problems
    )


def _report_lines(report: Path) -> Sequence[str]:
    return report.read_text(encoding="utf-8").splitlines()


def _unquoted(text: str) -> str:
    """A remark of hl7apy without the value it quotes."""
    return re.sub(r"Value .* not in table", "value not in table", text)
