"""The remarks the hub makes about messages, as data: code, weight and words of each.

Read from `config/hl7v2/conformance.toml`; a source's `[severity]` has the last word on weight.
"""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from adapters.sources import Source
from hie.kernel.envelope import Finding, Severity
from hie.kernel.errors import Category, HieError, Issue


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One kind of remark.

    Attributes:
        code: HL7 table 0357.
        text: with `{place}`, `{segment}` and `{detail}` to fill in.
    """

    code: str
    severity: Severity
    text: str


class Place(NamedTuple):
    """Where in a message; 0 = not that deep."""

    segment: str = ""
    sequence: int = 0
    field: int = 0
    repetition: int = 0
    component: int = 0
    subcomponent: int = 0


#: The message as a whole.
NOWHERE: Final = Place()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """How many characters a value may have: by data type, and by field, `("MSH", 10)`."""

    datatypes: Mapping[str, int]
    fields: Mapping[tuple[str, int], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrections:
    """What is wrong in the published tables.

    Attributes:
        segments: version and segment to the version whose definition to take; empty = none.
        datatypes: version, segment and field to its data type.
        sequences: groups that are no choice though the tables say so.
        choices: groups of which one segment comes, and of which.
        free: segments, and the field from which on each message of its own defines them.
    """

    segments: Mapping[tuple[str, str], str]
    datatypes: Mapping[tuple[str, str, int], str]
    sequences: frozenset[str]
    choices: Mapping[str, tuple[str, ...]]
    free: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """All remarks, and what the checks need beside the published tables.

    Attributes:
        rules: by name.
        structures: event to the structures it may have, `ADT^A04` to `("ADT_A01",)`.
        relaxed: fields that need not be valued whatever the tables say, `("RXA", 4)`.
        user_tables: user-defined tables to check, `HL70001`.
        open_tables: tables not to check.
        added_values: values that belong to a table though its published list lacks them.
        lengths: how long values may be, below v2.7.
        corrections: of the published tables.
        default_version: of messages whose MSH-12 says nothing.
        most_findings: of one message.
    """

    rules: Mapping[str, Rule]
    structures: Mapping[str, tuple[str, ...]]
    relaxed: frozenset[tuple[str, int]]
    user_tables: frozenset[str]
    open_tables: frozenset[str]
    added_values: Mapping[str, frozenset[str]]
    lengths: "Lengths"
    corrections: "Corrections"
    default_version: str
    most_findings: int

    def finding(
        self, rule: str, source: Source | None = None, at: Place = NOWHERE, detail: str = ""
    ) -> Finding:
        """The remark `rule` at a place, with the weight it has for `source`."""
        severity = self._severity(rule, source)
        return _finding(self.rules[rule], rule, severity, at, detail)

    def weigh(self, findings: Iterable[Finding], source: Source | None) -> tuple[Finding, ...]:
        """The findings of the tokenizer, each with the weight it has for `source`."""
        return tuple(
            replace(found, severity=self._severity(found.rule, source))
            if found.rule in self.rules
            else found
            for found in findings
        )

    def _severity(self, rule: str, source: Source | None) -> Severity:
        default = self.rules[rule].severity
        return source.severities.get(rule, default) if source else default

    def check(self, sources: Iterable[Source], codec_of: Callable[[str], str | None]) -> None:
        """Refuse sources that speak of rules or character sets which do not exist.

        Raises:
            HieError: INVALID, naming file and key.
        """
        faults: list[str] = []
        for source in sources:
            faults += [
                f"{source.id}.toml [severity]: `{rule}` is not a rule of conformance.toml"
                for rule in source.severities
                if rule not in self.rules
            ]
            if source.charset and codec_of(source.charset) is None:
                faults.append(f"{source.id}.toml: `charset` must be a code of HL7 table 0211")
        if faults:
            issues = [Issue(text=fault) for fault in faults]
            raise HieError(Category.INVALID, "; ".join(faults), issues)


@lru_cache(maxsize=4096)
def _finding(known: Rule, rule: str, severity: Severity, at: Place, detail: str) -> Finding:
    """One finding; the same sender makes the same remarkable choices in every message."""
    found = Finding(
        code=known.code,
        rule=rule,
        text="",
        severity=severity,
        segment=at.segment,
        sequence=at.sequence,
        field=at.field,
        repetition=at.repetition,
        component=at.component,
        subcomponent=at.subcomponent,
    )
    text = known.text.format(place=found.place, segment=found.segment, detail=detail)
    return replace(found, text=text)


def load_rules(path: Path) -> Rules:
    """The rules of a TOML file.

    Raises:
        HieError: INVALID, naming file, key and the kind of value expected.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        checks = content["checks"]
        return Rules(
            rules=MappingProxyType({name: _rule(row) for name, row in content["rules"].items()}),
            structures=_structures(content["structures"]),
            relaxed=frozenset(
                _field(name) for row in content.get("relaxed", []) for name in row["fields"]
            ),
            user_tables=frozenset(f"HL7{number}" for number in checks["user_tables"]),
            open_tables=frozenset(f"HL7{number}" for number in checks["open_tables"]),
            added_values={
                f"HL7{row['table']}": frozenset(row["add"]) for row in content.get("tables", [])
            },
            lengths=_lengths(content["lengths"]),
            corrections=_corrections(content.get("corrections", [])),
            default_version=str(checks["default_version"]),
            most_findings=int(checks["most_findings"]),
        )
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        text = f"{path.name}: must be a conformance table ({type(error).__name__}: {error})"
        raise HieError(Category.INVALID, text) from error


def _rule(row: Mapping[str, Any]) -> Rule:
    return Rule(code=str(row["code"]), severity=Severity(row["severity"]), text=str(row["text"]))


def _structures(table: Mapping[str, Iterable[str]]) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for structure, events in table.items():
        for event in events:
            trigger = f"{structure[:3]}^{event}"
            found[trigger] = (*found.get(trigger, ()), structure)
    return MappingProxyType(found)


def _field(name: str) -> tuple[str, int]:
    segment, _, number = name.partition("-")
    return segment, int(number)


def _lengths(table: Mapping[str, Any]) -> Lengths:
    return Lengths(
        datatypes={name: int(most) for name, most in table["datatypes"].items()},
        fields={_field(name): int(most) for name, most in table["fields"].items()},
    )


def _corrections(rows: Iterable[Mapping[str, Any]]) -> Corrections:
    segments: dict[tuple[str, str], str] = {}
    datatypes: dict[tuple[str, str, int], str] = {}
    sequences: set[str] = set()
    choices: dict[str, tuple[str, ...]] = {}
    free: dict[str, int] = {}
    for row in rows:
        free |= dict(_field(name) for name in row.get("free", []))
        sequences.update(row.get("sequences", []))
        choices |= {name: tuple(row["segments"]) for name in row.get("choices", [])}
        for version in row.get("versions", []):
            for name in row.get("segments", []):
                segments[version, name] = str(row["like"])
            for name in row.get("fields", []):
                datatypes[version, *_field(name)] = str(row["datatype"])
    return Corrections(
        segments=segments,
        datatypes=datatypes,
        sequences=frozenset(sequences),
        choices=choices,
        free=free,
    )
