"""The output of every golden message against US Core 6.1.0 and R4's required codes.

`us_core.csv` lists must-support elements and the v2 places that carry them; `bindings.csv` the
codes of required bindings; `extensions.csv` where each extension may stand and what it holds.
"""

import csv
import re
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest

from adapters.hl7v2.er7 import NULL
from fhir_server import validate
from hie.kernel.fhir import FhirJson, rewrite_references
from tests.support.golden import MESSAGES, Made, made_of, mapped

HERE = Path(__file__).parent
CHOICE = re.compile(
    "(Quantity|CodeableConcept|String|DateTime|Time|Period|Range|Ratio|Integer|Boolean|Timing"
    "|Reference|SampledData|Date|Age)$"
)
PLACE = re.compile(r"(\w+)-(\d+)(?:\.(\d+))?")
DATATYPES = ("HumanName", "Address", "ContactPoint", "Identifier", "Quantity", "Timing")


@cache
def rows(name: str) -> list[dict[str, str]]:
    with (HERE / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def name_of(path: Path) -> str:
    return path.stem


def has(node: object, path: str) -> bool:
    """Whether an element is there; `a|b` either, `value[x]` any type, `extension:name` that one."""
    if "|" in path:
        return any(has(node, one) for one in path.split("|"))
    head, _, rest = path.partition(".")
    nodes = node if isinstance(node, list) else [node]
    for one in nodes:
        for child in children(one, head):
            if not rest or has(child, rest):
                return True
    return False


def children(node: object, head: str) -> Iterator[object]:
    if not isinstance(node, dict):
        return
    for name, child in node.items():
        if head.startswith("extension:"):
            if name == "extension" and any(e["url"].endswith("/" + head[10:]) for e in child):
                yield child
        elif name.lstrip("_") == head or (
            head.endswith("[x]") and CHOICE.sub("", name.lstrip("_")) == head[:-3]
        ):
            yield child


def is_meant(row: dict[str, str], resource: FhirJson) -> bool:
    if resource["resourceType"] != row["type"]:
        return False
    element, _, code = row["when"].partition("=")
    return not element or code in str(resource.get(element, ""))


def carried(row: dict[str, str], made: Made) -> str:
    """The place of the resource's own segments that carries the element; "" for none."""
    if row["only"] and not holds(row["only"], made):
        return ""
    return next((place for place in row["places"].split() if value_at(place, made)), "")


def value_at(place: str, made: Made) -> str:
    """What stands there in the resource's own segments; "" for nothing and for null."""
    found = PLACE.fullmatch(place)
    assert found, f"{place} is no place"
    segment, number, component = found.groups()
    for origin in made.origins:
        if origin.name == segment:
            value = origin.value(int(number), int(component or 1))
            if value and value != NULL:
                return value
    return ""


def holds(only: str, made: Made) -> bool:
    """Whether the message is one the element is expected of: `ORC-1 in NW SN`."""
    place, operator, *values = only.split()
    found = made.trigger.split("^")[1] if place == "MSH-9.2" else value_at(place, made)
    return (found in values) is (operator == "in")


@pytest.mark.parametrize("path", MESSAGES, ids=name_of)
def test_what_must_be_supported_and_the_message_carries_is_there(path: Path):
    missing = []
    for made in made_of(path):
        for row in rows("us_core.csv"):
            if not is_meant(row, made.resource) or has(made.resource, row["element"]):
                continue
            place = "always" if row["min"] else carried(row, made)
            if place and not is_excused(row, made):
                missing.append(f"{made.name}: {row['type']}.{row['element']} ({place})")
    assert missing == []


def is_excused(row: dict[str, str], made: Made) -> bool:
    """Minimal elements of a person that a message leaves out: nobody invents a gender or name."""
    return row["profile"] == "us-core-patient" and not carried(row, made)


@pytest.mark.parametrize("path", MESSAGES, ids=name_of)
def test_every_required_code_is_one_of_its_value_set(path: Path):
    wrong = []
    for made in made_of(path):
        for row in rows("bindings.csv"):
            owner, _, element = row["path"].partition(".")
            if owner == made.resource["resourceType"]:
                codes = list(codes_at(made.resource, element.split(".")))
            elif owner in DATATYPES:
                codes = list(codes_of_type(made.resource, owner, element))
            else:
                continue
            allowed = row["codes"].split()
            wrong += [f"{made.name}: {row['path']} {code}" for code in codes if code not in allowed]
    assert wrong == []


def codes_at(node: object, path: list[str]) -> Iterator[str]:
    if isinstance(node, list):
        for one in node:
            yield from codes_at(one, path)
    elif not path:
        yield from ([node] if isinstance(node, str) else coded(node))
    elif isinstance(node, dict) and path[0] in node:
        yield from codes_at(node[path[0]], path[1:])


def coded(node: object) -> Iterator[str]:
    """Codes of a CodeableConcept; one coding of the value set is enough, so the first counts."""
    if isinstance(node, dict) and node.get("coding"):
        yield node["coding"][0]["code"]


#: Elements that hold a value of a data type with required codes.
HOLDERS = {
    "HumanName": ("name",),
    "Address": ("address", "valueAddress"),
    "ContactPoint": ("telecom",),
    "Identifier": ("identifier",),
    "Quantity": ("valueQuantity", "doseQuantity", "quantity"),
    "Timing": ("timing", "occurrenceTiming"),
}


def codes_of_type(node: object, kind: str, element: str) -> Iterator[str]:
    if isinstance(node, list):
        for one in node:
            yield from codes_of_type(one, kind, element)
    elif isinstance(node, dict):
        for name, child in node.items():
            if name in HOLDERS[kind] and isinstance(child, dict | list):
                yield from codes_at(child, element.split("."))
            yield from codes_of_type(child, kind, element)


#: Data types an extension may stand in, by the elements that are of that type.
TYPED = {
    "ContactPoint": ("telecom", "valueContactPoint"),
    "HumanName": ("name",),
    "Identifier": ("identifier", "accessionIdentifier", "masterIdentifier"),
    "Annotation": ("note", "valueAnnotation"),
    "Address.line": ("address",),
    "Address": ("address", "valueAddress"),
    "HumanName.family": ("family",),
}


@pytest.mark.parametrize("path", MESSAGES, ids=name_of)
def test_every_extension_is_known_and_stands_where_it_may(path: Path):
    known = {row["url"]: row for row in rows("extensions.csv")}
    wrong = []
    for made in made_of(path):
        for where, extension in extensions_of(made.resource, (made.resource["resourceType"],)):
            row = known.get(extension["url"])
            place = ".".join(where)
            if row is None:
                wrong.append(f"{place}: {extension['url']} is in no row of extensions.csv")
            elif not any(may_stand(context, where) for context in row["contexts"].split()):
                wrong.append(f"{place}: {extension['url']} may stand at {row['contexts']} only")
            elif not set(values_of(extension)) <= set(row["types"].lower().split()):
                wrong.append(f"{place}: {extension['url']} holds {row['types']}")
    assert wrong == []


def extensions_of(
    node: object, where: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], FhirJson]]:
    """Every extension with an address of its own, and the path of the element it is on."""
    if isinstance(node, list):
        for one in node:
            yield from extensions_of(one, where)
    elif isinstance(node, dict):
        for name, child in node.items():
            if name == "extension":
                yield from ((where, e) for e in child if ":" in e["url"])
            yield from extensions_of(child, (*where, name.lstrip("_")))


def may_stand(context: str, where: tuple[str, ...]) -> bool:
    if context == "Element" or (context == "Resource" and len(where) == 1):
        return True
    return ".".join(where) == context or where[-1] in TYPED.get(context, ())


def values_of(extension: FhirJson) -> list[str]:
    found = [name[5:].lower() for name in extension if name.startswith("value")]
    return found or ["extension"]


@pytest.mark.parametrize("path", MESSAGES, ids=name_of)
def test_the_hubs_own_validator_finds_nothing_wrong(path: Path):
    """What the FHIR side would refuse from a source, the mapper does not make either."""
    types = {d.name: d.resource["resourceType"] for d in mapped(path)[1].drafts}

    def resolved(reference: str) -> str:
        name = reference.removeprefix("urn:hie:")
        return f"{types[name]}/{name}" if name in types else reference

    found = [
        f"{made.name}: {issue.text}"
        for made in made_of(path)
        for issue in validate.validate(rewrite_references(deepcopy(made.resource), resolved))
        if issue.severity in ("error", "fatal")
    ]
    assert found == []
