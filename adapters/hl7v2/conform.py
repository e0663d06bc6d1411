"""Does a message keep to the standard? Findings and the group tree; never a refusal.

The published tables are compiled once per version, structure and segment into the matchers of
`structure` and `fields`; see `standard`. hl7apy's own parser is far too slow for a receiver
and serves the deep check alone, see `deep`.
Spec: HL7 v2.8.2 chapter 2, sections 2.5 and 2.11 to 2.13.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from adapters.hl7v2.er7 import Message, Segment
from adapters.hl7v2.rules import Place, Rules
from adapters.hl7v2.standard import VERSIONS, Standard, nearest_version
from adapters.hl7v2.structure import Group, Match, Structure
from adapters.sources import Source
from hie.kernel.envelope import Finding

_MOST_TYPES: Final = 10_000
_TYPE_CHARACTERS: Final = 60


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
        self._tables: dict[str, Standard] = {}
        self._chosen: dict[tuple[str, str, str, str], tuple[Structure | None, str]] = {}

    def preload(self, versions: Iterable[str]) -> None:
        """Load the tables of these versions now, some 20 ms each, instead of at first use."""
        for version in versions:
            self.standard(nearest_version(version, self.rules.default_version))

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
        for trouble in self._field_findings(self.standard(version), message, source):
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

    def standard(self, version: str) -> Standard:
        """The tables of a published version."""
        found = self._tables.get(version)
        if found is None:
            found = self._tables[version] = Standard(version, self.rules)
        return found

    def _faults(self, layout: Match | tuple[Segment, ...], source: Source | None) -> list[Finding]:
        faults = layout.faults[: self.rules.most_findings] if isinstance(layout, Match) else ()
        return [
            self.rules.finding(fault.rule, source, Place(fault.segment, fault.sequence))
            for fault in faults
        ]

    def _field_findings(
        self, tables: Standard, message: Message, source: Source | None
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
        if named in usual:  # several may fit, and the sender says which
            usual = (named, *usual)
        own = VERSIONS.index(version)
        # A type that was withdrawn or came later is read by the nearest version that has it.
        for near in sorted(VERSIONS, key=lambda v: abs(VERSIONS.index(v) - own)):
            tables = self.standard(near)
            for name in (*usual, named):
                if found := tables.structure(name):
                    return found, "structure-mismatch" if named not in ("", found.name) else ""
        return None, "trigger-unknown"
