"""What `config/consent/` and `config/sensitivity/` say, read once and checked.

Everything that is law or vocabulary is data in those folders; this file knows only its form.
"""

import csv
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final, Literal, cast
from zoneinfo import ZoneInfo

from consent.model import (
    CodeList,
    ConsentSettings,
    HardRule,
    Label,
    Level,
    Policy,
    Purposes,
    Regime,
    RegimeRule,
    Sensitivity,
    Vocabulary,
    WordLine,
    Words,
)
from hie.kernel.clock import micros
from hie.kernel.errors import Category, HieError

#: Files of `config/consent/` that are no regime.
SHARED: Final = frozenset({"hard-rules", "purposes", "vocabulary", "words"})


def load_consent_settings(config: Path, regime: str) -> ConsentSettings:
    """The settings of one regime.

    Args:
        config: the folder that holds `consent/` and `sensitivity/`.
        regime: file stem in `consent/`, `massachusetts`.

    Raises:
        HieError: INVALID, naming file, key and what was expected there.
    """
    folder = config / "consent"
    hard = _read(folder / "hard-rules.toml")
    return ConsentSettings(
        regime=_regime(folder, regime),
        hard_rules=tuple(_hard_rule(rule) for rule in hard.tables("rule")),
        obligations=hard.table("obligations").all_texts(),
        purposes=_purposes(_read(folder / "purposes.toml")),
        vocabulary=_vocabulary(_read(folder / "vocabulary.toml")),
        words=_words(_read(folder / "words.toml")),
        sensitivity=load_sensitivity(config / "sensitivity"),
    )


def load_sensitivity(folder: Path) -> Sensitivity:
    """The labels and the code lists.

    Raises:
        HieError: INVALID, naming file, key and what was expected there.
    """
    root = _read(folder / "labels.toml")
    confidentiality, vocabulary = root.table("confidentiality"), root.table("vocabulary")
    labels = tuple(_label(item, vocabulary.text("system")) for item in root.tables("label"))
    codes = frozenset(label.code for label in labels)
    lists = tuple(_code_list(item, folder, codes) for item in root.tables("list"))
    return Sensitivity(
        confidentiality_system=confidentiality.text("system"),
        systems=frozenset(
            system
            for section in (confidentiality, vocabulary)
            for system in (section.text("system"), *section.texts("also"))
        ),
        aliases=vocabulary.table("aliases").all_texts(),
        text_elements=root.table("words").codes("elements"),
        levels=tuple(_level(item) for item in confidentiality.tables("levels")),
        normal=confidentiality.text("normal"),
        labels=labels,
        unknown=vocabulary.text("unknown"),
        handling_systems=root.table("handling").codes("systems"),
        handling_codes=root.table("handling").codes("codes"),
        lists=lists,
        words=_word_lines(folder / root.table("words").text("file"), codes),
        sources=root.table("sources").all_lists(),
    )


class _Section:
    """A TOML table that names its place when something is wrong in it."""

    def __init__(self, values: Mapping[str, Any], place: str) -> None:
        self._values, self._place = values, place

    def fail(self, key: str, expected: str) -> HieError:
        return HieError(Category.INVALID, f"{self._place}: `{key}`: expected {expected}")

    def _get(self, key: str, kind: type, expected: str, default: Any) -> Any:
        value = self._values.get(key, default)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.fail(key, expected)
        return value

    def text(self, key: str, default: str | None = None) -> str:
        return str(self._get(key, str, "a text", default))

    def flag(self, key: str, *, default: bool) -> bool:
        return bool(self._get(key, bool, "true or false", default))

    def number(self, key: str) -> int:
        return int(self._get(key, int, "a whole number", None))

    def texts(self, key: str) -> tuple[str, ...]:
        values = self._get(key, list, "a list of texts", [])
        if not all(isinstance(value, str) for value in values):
            raise self.fail(key, "a list of texts")
        return tuple(values)

    def codes(self, key: str) -> frozenset[str]:
        return frozenset(self.texts(key))

    def codes_or_any(self, key: str) -> frozenset[str] | None:
        return self.codes(key) if key in self._values else None

    def texts_or_any(self, key: str) -> tuple[str, ...] | None:
        return self.texts(key) if key in self._values else None

    def effect(self) -> Literal["permit", "deny"]:
        value = self.text("effect")
        if value not in ("permit", "deny"):
            raise self.fail("effect", "`permit` or `deny`")
        return cast("Literal['permit', 'deny']", value)

    def start_of_day(self, key: str, zone: ZoneInfo) -> int | None:
        value = self._values.get(key)
        if value is None:
            return None
        if not isinstance(value, date) or isinstance(value, datetime):
            raise self.fail(key, "a date")
        return micros(datetime(value.year, value.month, value.day, tzinfo=zone))

    def table(self, key: str) -> "_Section":
        return _Section(self._get(key, dict, "a table", None), f"{self._place} [{key}]")

    def tables(self, key: str) -> list["_Section"]:
        values = self._get(key, list, "a list of tables", [])
        if not all(isinstance(value, dict) for value in values):
            raise self.fail(key, "a list of tables")
        return [
            _Section(value, f"{self._place} [[{key}]] {position}")
            for position, value in enumerate(values, start=1)
        ]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def all_texts(self) -> dict[str, str]:
        return {key: self.text(key) for key in self._values}

    def all_lists(self) -> dict[str, tuple[str, ...]]:
        return {key: self.texts(key) for key in self._values}


def _read(path: Path) -> _Section:
    try:
        with path.open("rb") as file:
            return _Section(tomllib.load(file), f"`{path.name}`")
    except FileNotFoundError:
        raise HieError(Category.INVALID, f"`{path.name}`: file not found") from None
    except tomllib.TOMLDecodeError as error:
        raise HieError(Category.INVALID, f"`{path.name}`: not TOML: {error}") from None


def _regime(folder: Path, name: str) -> Regime:
    known = sorted(path.stem for path in folder.glob("*.toml") if path.stem not in SHARED)
    if name not in known:
        raise HieError(Category.INVALID, f"`HIE_REGIME`: expected one of {', '.join(known)}")
    root = _read(folder / f"{name}.toml")
    try:
        zone = ZoneInfo(root.text("time_zone"))
    except (KeyError, ValueError):
        raise root.fail("time_zone", "an IANA time zone") from None
    return Regime(
        name=name,
        title=root.text("title"),
        time_zone=zone,
        trusts_attested=root.flag("attested_verification", default=False),
        hard=root.codes("hard"),
        rules=tuple(
            RegimeRule(
                effect=rule.effect(),
                purposes=rule.codes_or_any("purposes"),
                labels=rule.texts_or_any("labels"),
                from_us=rule.start_of_day("from", zone),
                to_us=rule.start_of_day("to", zone),
            )
            for rule in root.tables("default")
        ),
    )


def _hard_rule(rule: _Section) -> HardRule:
    return HardRule(
        name=rule.text("name"),
        labels=rule.texts("labels"),
        is_everywhere=rule.flag("everywhere", default=True),
        lifted_by=rule.codes("lifted_by"),
        is_alone=rule.flag("alone", default=False),
        law=rule.text("law"),
        obligation=rule.text("obligation", ""),
    )


def _purposes(root: _Section) -> Purposes:
    parents = root.table("parents").all_texts()
    for code in parents:
        seen = {code}
        while (code := parents.get(code, "")) in parents:
            if code in seen:
                raise root.fail(f"parents.{code}", "no circle")
            seen.add(code)
    return Purposes(
        systems=frozenset({root.text("system"), *root.texts("also")}),
        parents=parents,
        exact=root.codes("exact"),
        needs_reason=root.codes("needs_reason"),
    )


def _vocabulary(root: _Section) -> Vocabulary:
    terms = {}
    for element in ("status", "scope", "action", "actor", "data"):
        section = root.table(element)
        terms[element] = {code: key for key in section for code in section.texts(key)}
    return Vocabulary(
        terms=terms,
        research_purposes=root.table("scope").codes("research_purposes"),
        actor_types=root.table("actor").codes("types"),
        encounter_types=root.table("data").codes("encounter_types"),
        class_system=root.table("class").text("system"),
        types=root.table("class").codes("known"),
        code_systems=root.table("code").codes("systems"),
        policies={
            name: Policy(
                effect=policy.effect(),
                purposes=policy.codes_or_any("purposes"),
                labels=policy.texts_or_any("labels"),
            )
            for policy in root.tables("policy")
            for name in policy.texts("names")
        },
    )


def _words(root: _Section) -> Words:
    kinds = [key for key in root if key != "notes"]
    return Words(
        staff={kind: root.table(kind).text("staff") for kind in kinds},
        patient={kind: root.table(kind).text("patient") for kind in kinds},
        notes=root.table("notes").all_texts(),
    )


def _level(item: _Section) -> Level:
    return Level(
        code=item.text("code"),
        display=item.text("display"),
        bit=item.number("bit") if "bit" in item else None,
    )


def _label(item: _Section, system: str) -> Label:
    return Label(
        code=item.text("code"),
        system=item.text("system", system),
        display=item.text("display"),
        bit=item.number("bit"),
        implies=item.text("implies"),
        covers=item.texts("covers"),
    )


def _code_list(item: _Section, folder: Path, known: frozenset[str]) -> CodeList:
    path = folder / item.text("file")
    return CodeList(
        systems=item.texts("systems"),
        is_prefix=item.flag("prefix", default=False),
        lines=tuple(
            (row["code"], _label_codes(row["labels"], path, known))
            for row in _rows(path, ("code", "labels", "note"))
        ),
    )


def _word_lines(path: Path, known: frozenset[str]) -> tuple[WordLine, ...]:
    return tuple(
        WordLine(
            phrase=tuple(row["phrase"].lower().split()),
            labels=_label_codes(row["labels"], path, known),
            unless=frozenset(row["unless"].lower().split()),
        )
        for row in _rows(path, ("phrase", "labels", "unless"))
    )


def _rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file, restval="")
        if tuple(reader.fieldnames or ()) != columns:
            raise HieError(Category.INVALID, f"`{path.name}`: expected columns {','.join(columns)}")
        return list(reader)


def _label_codes(cell: str, path: Path, known: frozenset[str]) -> tuple[str, ...]:
    codes = tuple(cell.split())
    if not codes or not known.issuperset(codes):
        raise HieError(Category.INVALID, f"`{path.name}`: `labels`: expected codes of labels.toml")
    return codes
