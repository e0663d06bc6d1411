"""The reference page of profiles, rules and codes, from the tables that judge resources."""

from pathlib import Path

from adapters.terminology import Terminology
from fhir_server.profiles.load import Profiles, load_profiles
from fhir_server.profiles.rules import RULES
from fhir_server.terminology.load import load_vocabulary
from fhir_server.terminology.vocabulary import Vocabulary

US_CORE = "/us/core/"


def validation_page(folder: Path, note: str) -> str:
    """The page as Markdown.

    Args:
        folder: `config/fhir`.
        note: what the page is written from.
    """
    profiles = load_profiles(folder / "profiles")
    vocabulary = load_vocabulary(folder / "terminology", Terminology({}))
    parts = ["# Validation\n", note, *_profiles(profiles), *_rules(profiles), *_codes(vocabulary)]
    return "\n".join(parts)


def _profiles(profiles: Profiles) -> list[str]:
    rows = []
    for profile in profiles.all():
        if US_CORE not in profile.url:
            continue
        elements = [each for each in profile.root.walk() if each is not profile.root]
        supported = sum(each.is_must_support for each in elements)
        sliced = sum(len(each.slices) for each in elements)
        bound = sum(each.binding is not None for each in elements)
        name = profile.url.rpartition("/")[2]
        row = (f"`{name}`", profile.type, profile.version, supported, sliced, bound)
        rows.append(tuple(str(cell) for cell in row))
    header = ("profile", "type", "version", "must-support", "slices", "bindings")
    others = len(profiles.all()) - len(rows)
    return [
        "## Profiles\n",
        f"{others} tables of R4 itself (invariants and bindings of types) and these of US Core; "
        "a profile that is not here is told as information and not checked.\n",
        _table(header, rows),
    ]


def _rules(profiles: Profiles) -> list[str]:
    asked = {
        key for profile in profiles.all() for each in profile.root.walk() for key in each.rules
    }
    open_ones = sorted(asked - RULES.keys())
    rows = [(f"`{key}`", RULES[key].expected) for key in sorted(RULES)]
    return [
        "## Invariants that are judged\n",
        "Beside these, on every resource: `ele-1` and cardinality (structure), `ext-1`, `ref-1`, "
        "`dom-2` to `dom-5`.\n",
        _table(("key", "expects"), rows),
        "## Invariants that are not\n",
        f"Most are of definitions (StructureDefinition, Questionnaire, ...): {len(open_ones)} of "
        f"{len(asked)} keys.\n",
        ", ".join(f"`{key}`" for key in open_ones) + "\n",
    ]


def _codes(vocabulary: Vocabulary) -> list[str]:
    urls = [each.url for each in vocabulary.value_sets]
    partly = [url for url in urls if vocabulary.codes_of(url) is None]
    concepts = sum(len(system.concepts) for system in vocabulary.code_systems)
    return [
        "## Codes\n",
        f"{len(vocabulary.code_systems)} code systems with {concepts} codes, {len(urls)} value "
        f"sets, {len(urls) - len(partly)} of them with all of their codes. Beside them each code "
        "map of `config/terminology/` is the value set `urn:hie:valueset:<map>`. LOINC codes that "
        "value sets list one by one are Regenstrief's, used under the LOINC licence.\n",
        "Not here with all codes (SNOMED CT, whole LOINC, RxNorm, CPT, ICD and others are not "
        "carried); a code of such a system is neither in nor out:\n",
        "\n".join(f"- `{url}`" for url in partly) + "\n",
    ]


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
