"""What `config/consent/` and `config/sensitivity/` say, read once and checked.

Everything that is law or vocabulary is data in those folders; this file knows only its form.
"""

import csv
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from consent.coherence import incoherent
from consent.regime import (
    BreakGlass,
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
from consent.section import Section, read_section
from hie.kernel.errors import Category, HieError, Issue

#: Files of `config/consent/` that are no regime.
SHARED: Final = frozenset({"emergency", "hard-rules", "purposes", "vocabulary", "words"})
#: An emergency access ends within a day, whatever a regime says.
LONGEST_MINUTES: Final = 24 * 60


def load_consent_settings(config: Path, regime: str) -> ConsentSettings:
    """The settings of one regime.

    Args:
        config: the folder that holds `consent/` and `sensitivity/`.
        regime: file stem in `consent/`, `massachusetts`.

    Raises:
        HieError: INVALID, naming file, key and what was expected there.
    """
    folder = config / "consent"
    names = ("hard-rules", "purposes", "vocabulary", "words")
    hard, purposes, vocabulary, words = (read_section(folder / f"{name}.toml") for name in names)
    law = _regime(folder, regime)
    settings = ConsentSettings(
        regime=law,
        hard_rules=tuple(_hard_rule(rule, law.time_zone) for rule in hard.tables("rule")),
        obligations=_notices(hard.table("obligations")),
        purposes=_purposes(purposes),
        vocabulary=_vocabulary(vocabulary),
        words=_words(words),
        sensitivity=load_sensitivity(config / "sensitivity"),
    )
    for root in (hard, purposes, vocabulary, words):
        root.require_read()
    if faults := incoherent(settings):
        raise HieError(
            Category.INVALID, faults[0], [Issue(text=text, code="value") for text in faults]
        )
    return settings


def regimes(config: Path) -> list[str]:
    """The regimes there are: the other files of `config/consent/`, by their stems."""
    return sorted(
        path.stem for path in (config / "consent").glob("*.toml") if path.stem not in SHARED
    )


def load_sensitivity(folder: Path) -> Sensitivity:
    """The labels and the code lists.

    Raises:
        HieError: INVALID, naming file, key and what was expected there.
    """
    root = read_section(folder / "labels.toml")
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
        named=root.table("words").codes("named"),
        readable=root.table("words").texts("readable"),
        content_bytes=root.table("words").number("content_bytes"),
        takes=root.table("takes").all_lists(),
    )


def _regime(folder: Path, name: str) -> Regime:
    known = regimes(folder.parent)
    if name not in known:
        text = (
            f"`hie.toml` `regime`, `HIE_REGIME` or `--regime`: expected one of {', '.join(known)}"
        )
        raise HieError(Category.INVALID, text)
    root = read_section(folder / f"{name}.toml")
    try:
        zone = ZoneInfo(root.text("time_zone"))
    except (KeyError, ValueError):
        raise root.fail("time_zone", "an IANA time zone") from None
    found = Regime(
        name=name,
        title=root.text("title"),
        jurisdiction=root.text("jurisdiction"),
        time_zone=zone,
        trusts_attested=root.flag("attested_verification", default=False),
        hard=root.codes("hard"),
        rules=tuple(
            RegimeRule(
                effect=rule.effect(),
                purposes=rule.codes_or_any("purposes"),
                labels=rule.texts_or_any("labels"),
                types=rule.codes_or_any("types"),
                sources=rule.names_or_any("sources"),
                from_us=rule.start_of_day("from", zone),
                to_us=rule.start_of_day("to", zone),
            )
            for rule in root.tables("default")
        ),
        break_glass=_break_glass(root.table("break_glass"))
        if "break_glass" in root
        else BreakGlass(),
    )
    root.require_read()
    return found


def _break_glass(root: Section) -> BreakGlass:
    minutes = root.number("minutes")
    if not 0 < minutes <= LONGEST_MINUTES:
        raise root.fail("minutes", f"1 to {LONGEST_MINUTES}")
    return BreakGlass(
        is_allowed=root.flag("allowed"),
        overrides_patient_deny=root.flag("overrides_patient_deny"),
        heeds_named_deny=root.flag("heeds_named_deny", default=True),
        needs_second_factor=root.flag("second_factor"),
        minutes=minutes,
        never=root.texts("never"),
        law=root.text("law"),
    )


def _hard_rule(rule: Section, zone: ZoneInfo) -> HardRule:
    return HardRule(
        name=rule.text("name"),
        labels=rule.texts("labels"),
        is_everywhere=rule.flag("everywhere", default=True),
        lifted_by=rule.codes("lifted_by"),
        is_alone=rule.flag("alone", default=False),
        class_purposes=rule.codes("class_purposes"),
        law=rule.text("law"),
        obligation=rule.text("obligation", ""),
        opens_in_emergency=rule.flag("opens_in_emergency", default=False),
        from_us=rule.start_of_day("from", zone),
        to_us=rule.start_of_day("to", zone),
    )


def _notices(root: Section) -> dict[str, str]:
    found = root.all_texts()
    for name, text in found.items():
        if not text.isascii() or '"' in text:
            raise root.fail(name, "ASCII without quotation marks, for it goes into a header")
    return found


def _purposes(root: Section) -> Purposes:
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


def _vocabulary(root: Section) -> Vocabulary:
    terms = {}
    for element in ("status", "scope", "action", "actor", "data"):
        section = root.table(element)
        terms[element] = {code: key for key in section for code in section.texts(key)}
    return Vocabulary(
        terms=terms,
        research_purposes=root.table("scope").codes("research_purposes"),
        actor_types=root.table("actor").codes("types"),
        role_systems=root.table("actor").codes("role_systems"),
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


def _words(root: Section) -> Words:
    kinds = [key for key in root if key != "notes"]
    return Words(
        staff={kind: root.table(kind).text("staff") for kind in kinds},
        patient={kind: root.table(kind).text("patient") for kind in kinds},
        notes=root.table("notes").all_texts(),
    )


def _level(item: Section) -> Level:
    return Level(
        code=item.text("code"),
        display=item.text("display"),
        bit=item.number("bit") if "bit" in item else None,
    )


def _label(item: Section, system: str) -> Label:
    return Label(
        code=item.text("code"),
        system=item.text("system", system),
        display=item.text("display"),
        bit=item.number("bit"),
        implies=item.text("implies"),
        covers=item.texts("covers"),
    )


def _code_list(item: Section, folder: Path, known: frozenset[str]) -> CodeList:
    path = folder / item.text("file")
    return CodeList(
        systems=item.texts("systems"),
        is_prefix=item.flag("prefix", default=False),
        lines=code_lines(path, known),
        name=path.stem,
        is_ndc=item.flag("ndc", default=False),
    )


def code_lines(path: Path, known: frozenset[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The codes of a list with their labels.

    Args:
        path: a CSV file `code,labels,note`.
        known: the labels there are.

    Raises:
        HieError: INVALID, naming file, column and what was expected there.
    """
    return tuple(
        (row["code"], _label_codes(row["labels"], path, known))
        for row in _rows(path, ("code", "labels", "note"))
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
