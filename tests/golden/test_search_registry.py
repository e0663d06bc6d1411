"""https://hl7.org/fhir/R4/searchparameter-registry.html: the hub's table is the registry's.

The oracle: what the hub would find a resource by is what two independent FHIRPath engines find
by the registry's own expressions, over the official examples. Every type in `make test`, every
example in `make test-long`.
"""

import copy
import itertools
import json
import random
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from hie.store.index import IndexValue, SearchIndex, SearchParam, load_index
from tests.support import fhirpath
from tests.support.fhir_examples import (
    IS_LONG,
    PACKAGE,
    examples,
    needs_examples,
    search_parameters,
)
from tests.support.search_values import Plain, asked_of, kept_in

pytestmark = needs_examples

FHIR = Path(__file__).resolve().parents[2] / "config/fhir"
EVERYWHERE = ("Resource", "DomainResource")
#: Parameters of every type that are no values of an element: `fhir_server.search` reads them, or
#: says that it does not.
NOT_INDEXED = {"_id", "_lastUpdated", "_content", "_text", "_filter", "_query"}
CORE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"
ASSERTED = "http://hl7.org/fhir/StructureDefinition/condition-assertedDate"
#: Of US Core 6.1.0, beside those it takes from the registry.
OF_US_CORE = {
    "CareTeam.role": "CareTeam.participant.role",
    "Condition.asserted-date": f"Condition.extension.where(url = '{ASSERTED}')"
    ".value.ofType(dateTime)",
    "Encounter.discharge-disposition": "Encounter.hospitalization.dischargeDisposition",
    "Goal.description": "Goal.description",
    "Patient.race": f"Patient.extension.where(url = '{CORE}race')"
    ".extension.value.ofType(Coding).code",
    "Patient.ethnicity": f"Patient.extension.where(url = '{CORE}ethnicity')"
    ".extension.value.ofType(Coding).code",
    "Patient.gender-identity": f"Patient.extension.where(url = '{CORE}genderIdentity')"
    ".value.ofType(CodeableConcept).coding.code",
}
#: Where the hub reads otherwise than the registry says, and why.
CORRECTED = {
    "Patient.mothersMaidenName": "the registry writes an address the extension does not have",
}
#: Faults of the engines, by what they are asked; each is seen in `make test-long`.
FAULTS = {
    "fhirpathpy": {},
    "fhirpathrs": {
        **dict.fromkeys(
            (
                *("CarePlan.activity-date", "ChargeItem.occurrence", "Procedure.date"),
                *("MedicationAdministration.effective-time", "MessageDefinition.event"),
                *("MessageHeader.event", "Observation.date", "Observation.gene-identifier"),
                "ServiceRequest.occurrence",
            ),
            "has no model: finds no Period, Timing, Coding or CodeableConcept of a choice",
        ),
        **dict.fromkeys(
            ("Observation.component-value-quantity", "Observation.combo-value-quantity"),
            "holds numbers in 64 bits: the example `decimal` has larger ones",
        ),
    },
}
ENGINES = (fhirpath.Python(), fhirpath.Rust())
Definition = dict[str, Any]


@cache
def index() -> SearchIndex:
    return load_index(FHIR)


@cache
def registry() -> dict[tuple[str, str], Definition]:
    """Definitions by type and name; the examples of definitions name no type."""
    return {
        (base, definition["code"]): definition
        for definition in search_parameters()
        for base in definition.get("base", ())
    }


def test_every_parameter_of_the_registry_is_there_or_its_absence_has_a_reason():
    table, missing = index(), []
    for (base, name), definition in registry().items():
        if base in EVERYWHERE:
            continue
        param = table.param(base, name)
        if param is None and not table.absent(base, name):
            missing.append(f"{base}.{name}")
        elif param is not None and param.type != definition["type"]:
            missing.append(f"{base}.{name} is {definition['type']}")
    assert not missing
    assert len(registry()) > 1700


def test_parameters_of_every_type_are_on_every_type():
    names = {name for base, name in registry() if base in EVERYWHERE} - NOT_INDEXED
    assert names == {"_profile", "_security", "_source", "_tag"}
    assert all(index().param(kind, name) for kind in index().types for name in names)


def test_what_the_table_has_beyond_the_registry_is_us_cores():
    beyond = {
        f"{kind}.{param.name}"
        for kind in index().types
        for param in index().params(kind)
        if (kind, param.name) not in registry() and param.name[0] != "_"
    }
    assert beyond == set(OF_US_CORE)


def test_composite_parameters_have_the_registrys_components():
    by_url = {definition["url"]: definition for definition in search_parameters()}
    for (base, name), definition in registry().items():
        if definition["type"] == "composite":
            param = index().param(base, name)
            assert param
            codes = [by_url[c["definition"]]["code"] for c in definition["component"]]
            if name == "relationship":
                codes.reverse()  # the registry has the two the wrong way round
            if not name.startswith("combo-"):  # answered by the rows of the parts it combines
                assert list(param.components) == codes, f"{base}.{name}"


@cache
def differences() -> tuple[Counter[tuple[str, str]], int]:
    """By engine and parameter: in how many examples it and the hub disagree; and of how many."""
    found: Counter[tuple[str, str]] = Counter()
    compared = 0
    by_type: dict[str, list[tuple[str, Definition]]] = {}
    for (base, name), definition in registry().items():
        if definition.get("expression") and base not in EVERYWHERE:
            by_type.setdefault(base, []).append((name, definition))
    for resource in examples(None if IS_LONG else 2):
        kind, rows = resource["resourceType"], index().values(resource)
        # The engines compute with floats.
        read = json.loads(json.dumps(resource, default=float))
        for name, definition in by_type.get(kind, ()):
            param = index().param(kind, name)
            if param is None or param.type == "special":
                continue
            compared += 1
            for engine in ENGINES:
                if not _agree(engine.evaluate, param, definition, rows, read):
                    found[engine.name, f"{kind}.{name}"] += 1
    return found, compared


def _agree(
    evaluate: fhirpath.Evaluate,
    param: SearchParam,
    definition: Definition,
    rows: tuple[IndexValue, ...],
    resource: dict[str, Any],
) -> bool:
    if param.type == "composite":
        return _combined(evaluate, param, definition, resource) == _kept_combined(param, rows)
    numbers = {*param.param_ids, *(param.logical_ids if param.kind == "ref" else ())}
    kept = {v for row in rows if row.param_id in numbers for v in kept_in(param, row)}
    asked = {
        value
        for part in fhirpath.parts_of(definition["expression"], resource["resourceType"])
        for element in evaluate(part, resource)
        for value in asked_of(param, element)
    }
    if "resolve()" in definition["expression"]:  # the search keeps to the type, not the rows
        kept, asked = ({v for v in found if v[0] in param.targets} for found in (kept, asked))
    if param.person:  # answered by the person whose the resource is
        kept, asked = ({v for v in found if v[0] != "Patient"} for found in (kept, asked))
    return kept == asked


def _combined(
    evaluate: fhirpath.Evaluate, param: SearchParam, definition: Definition, resource: Any
) -> set[Plain]:
    kind, found = resource["resourceType"], set()
    for within in fhirpath.parts_of(definition["expression"], kind):
        for number in range(len(evaluate(within, resource))):
            values = []
            for name, component in zip(param.components, definition["component"], strict=True):
                part = index().param(kind, name)
                assert part
                values.append(
                    {
                        value
                        for alternative in component["expression"].split("|")
                        for element in evaluate(
                            _within(f"{within}[{number}]", alternative.strip(), kind), resource
                        )
                        for value in asked_of(part, element)
                    }
                )
            found |= set(itertools.product(*values))
    return found


def _within(element: str, component: str, kind: str) -> str:
    if component.startswith("%resource"):
        return component.replace("%resource", kind)
    # `DateTime` is no type of FHIR.
    return fhirpath.plain(f"{element}.{component}".replace("DateTime", "dateTime"))


def _kept_combined(param: SearchParam, rows: tuple[IndexValue, ...]) -> set[Plain]:
    return {
        combined
        for row in rows
        if row.param_id in param.param_ids
        for combined in itertools.product(*(kept_in(param, part) for part in row.parts))
    }


def test_both_engines_find_what_the_hub_finds():
    found, compared = differences()
    assert compared > (90_000 if IS_LONG else 2_000)
    strange = {
        key: count
        for key, count in found.items()
        if key[1] not in CORRECTED and key[1] not in FAULTS[key[0]]
    }
    assert not strange


def coded(*codes: str) -> dict[str, Any]:
    return {"coding": [{"system": "urn:s", "code": code} for code in codes]}


def extension(url: str, *inner: dict[str, Any], **value: Any) -> dict[str, Any]:
    return {"url": url, "extension": list(inner)} if inner else {"url": url, **value}


US_CORE = (
    {
        "resourceType": "Patient",
        "extension": [
            extension(
                f"{CORE}race",
                extension("ombCategory", valueCoding={"system": "urn:r", "code": "2106-3"}),
                extension("detailed", valueCoding={"system": "urn:r", "code": "1586-7"}),
                extension("text", valueString="White"),
            ),
            extension(
                f"{CORE}ethnicity",
                extension("ombCategory", valueCoding={"system": "urn:r", "code": "2135-2"}),
            ),
            extension(f"{CORE}genderIdentity", valueCodeableConcept=coded("a", "b")),
        ],
    },
    {"resourceType": "CareTeam", "participant": [{"role": [coded("r1"), coded("r2")]}]},
    {
        "resourceType": "Condition",
        "extension": [extension(ASSERTED, valueDateTime="2020-05"), extension("urn:other")],
    },
    {"resourceType": "Encounter", "hospitalization": {"dischargeDisposition": coded("home")}},
    {"resourceType": "Goal", "description": coded("walk")},
)


@pytest.mark.parametrize("resource", US_CORE, ids=lambda r: r["resourceType"])
def test_us_cores_own_parameters_find_what_both_engines_find(resource: dict[str, Any]):
    rows = index().values(resource)
    for place, expression in OF_US_CORE.items():
        kind, _, name = place.partition(".")
        if kind == resource["resourceType"]:
            param = index().param(kind, name)
            assert param
            kept = {v for row in rows if row.param_id == param.id for v in kept_in(param, row)}
            for engine in ENGINES:
                elements = engine.evaluate(expression, resource)
                assert kept == {v for e in elements for v in asked_of(param, e)} != set()


@pytest.mark.skipif(not IS_LONG, reason="HIE_TEST_LONG=1 reads every example")
def test_every_fault_that_is_named_of_an_engine_is_one():
    found, _ = differences()
    named = {(engine, name) for engine, names in FAULTS.items() for name in names}
    named |= {(engine.name, name) for engine in ENGINES for name in CORRECTED}
    assert named <= set(found)


@cache
def elements_of(kind: str) -> dict[str, Definition]:
    """The elements of a type by their path."""
    path = PACKAGE / f"StructureDefinition-{kind}.json"
    snapshot = json.loads(path.read_text(encoding="utf-8"))["snapshot"]
    return {element["path"]: element for element in snapshot["element"]}


def systems_of(element: Definition) -> set[str]:
    """The code systems of the value set that a `code` element is bound to; {} = not told."""
    url = element.get("binding", {}).get("valueSet", "").partition("|")[0]
    path = PACKAGE / f"ValueSet-{url.rpartition('/')[2]}.json"
    if not path.exists():
        return set()
    included = json.loads(path.read_text(encoding="utf-8")).get("compose", {}).get("include", ())
    return {include["system"] for include in included if "system" in include}


@pytest.mark.skipif(not IS_LONG, reason="HIE_TEST_LONG=1 reads every definition")
def test_codes_have_the_code_systems_they_are_bound_to():
    table = tomllib.loads((FHIR / "search.toml").read_text(encoding="utf-8"))
    checked, wrong = 0, []
    for kind in index().types:
        for name, row in table.get(kind, {}).items():
            for path in row.get("paths", ()) if row["type"] == "token" else ():
                element = elements_of(kind).get(f"{kind}.{path}")
                if element and [t["code"] for t in element.get("type", ())] == ["code"]:
                    stated = row.get("system", [])
                    systems = systems_of(element)
                    checked += 1
                    if systems and systems != {*([stated] if isinstance(stated, str) else stated)}:
                        wrong.append(f"{kind}.{name}")
    assert not wrong
    assert checked > 150


#: Where an element ought to be, of any shape but its own.
JUNK: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, "", "x", "2020", "http://a|1", 10**400, [], {}, [[]], [None], [1]),
    *({"a": 1}, {"coding": 1}, {"coding": [1, None]}, {"value": {}}, {"value": 10**400}),
    *({"reference": 1}, {"reference": "a", "identifier": [1]}, {"low": 1, "high": []}),
    *({"origin": 1}, {"origin": {"value": 1}, "data": [1], "factor": None}, {"event": 1}),
    *({"repeat": {"boundsPeriod": {"start": 1}}}, {"start": 1, "end": {}}),
    *({"type": {"coding": [None, {"code": 1}]}, "value": "x"}, {"latitude": 1, "longitude": "x"}),
)


def places_in(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a JSON tree, as what holds it and the key there."""
    for key in node if isinstance(node, dict) else range(len(node) if type(node) is list else 0):
        yield node, key
        yield from places_in(node[key])


def test_whatever_stands_where_an_element_ought_to_the_rest_is_still_read():
    rng = random.Random(5)
    for resource in examples(3 if IS_LONG else 1, largest=30_000):
        for _ in range(100 if IS_LONG else 10):
            broken = copy.deepcopy(resource)
            found = [place for place in places_in(broken) if place[1] != "resourceType"]
            for holder, key in rng.choices(found, k=2):
                holder[key] = rng.choice(JUNK)
            index().values(broken)


def test_no_number_was_given_twice_and_none_reaches_the_faces():
    numbers = Counter(
        {param.name: param.id for kind in index().types for param in index().params(kind)}.values()
    )
    assert max(numbers.values()) == 1
    assert max(numbers) < 10_000
