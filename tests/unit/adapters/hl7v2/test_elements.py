"""Every element the tables name is one of FHIR R4; a misspelt one is named with its table."""

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from adapters.hl7v2.elements import faults_of_maps, faults_of_source, load_elements, refuse
from adapters.hl7v2.mapmodel import Maps, Place, Row, SegmentMap
from adapters.hl7v2.maps import load_maps
from adapters.hl7v2.plans import overlay
from adapters.sources import adhoc_source
from hie.kernel.errors import Category, HieError
from tests.support.tree import ROOT

ELEMENTS = load_elements(ROOT / "config" / "fhir" / "elements.json")
MAPS = load_maps(ROOT / "config")
PID = "PID[Patient]"


def with_map(name: str, change: Callable[[SegmentMap], SegmentMap]) -> Maps:
    return replace(MAPS, segments={**MAPS.segments, name: change(MAPS.segments[name])})


def with_row(**row: Any) -> Maps:
    """The tables with one more row for PID."""
    row.setdefault("place", Place(field=99))
    return with_map(PID, lambda found: replace(found, rows=(*found.rows, Row(**row))))


def test_the_tables_name_elements_of_fhir_alone():
    assert faults_of_maps(MAPS, ELEMENTS) == []


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"to": "gendre"}, "`gendre` must be an element of Patient"),
        ({"to": "contact[0].nmae"}, "`nmae` must be an element of PatientContact"),
        ({"to": "gender[]"}, "`gender` of Patient must have no `[]`"),
        ({"to": "address.city"}, "`address` of Patient must have an index"),
        ({"to": "_name.extension[]"}, "`_name` must be an element of Patient"),
        ({"to": "_birthDate.valueX"}, "`valueX` must be an element of _"),
        (
            {"to": "extension[]", "shape": {"url": "u", "valueCodeableConept": "$"}},
            "`shape`: `valueCodeableConept` must be an element of Extension",
        ),
        (
            {"to": "maritalStatus", "value": {"coding": {"code": "M"}}},
            "`value`: `coding` of CodeableConcept must be a list",
        ),
        ({"to": "name[]", "fill": {"usage": "old"}}, "`fill`: `usage` must be an element of"),
    ],
)
def test_a_row_that_names_something_else_is_told_with_its_map_and_number(row, told):
    (fault,) = faults_of_maps(with_row(**row), ELEMENTS)
    number = len(MAPS.segments[PID].rows) + 1
    assert fault.startswith(f"[{PID}] of Patient row {number} ")
    assert told in fault


@pytest.mark.parametrize(
    "to", ["name[]", "address[0].city", "_birthDate.extension[]", "*", "meta.security[]"]
)
def test_what_fhir_has_is_no_fault(to):
    assert faults_of_maps(with_row(to=to), ELEMENTS) == []


def test_where_a_segment_goes_and_what_it_refers_to_are_checked_too():
    lost = with_map("NK1[Patient]", lambda found: replace(found, into="contacts[]"))
    assert "`into`: `contacts[]`" in faults_of_maps(lost, ELEMENTS)[0]
    astray = with_map("PV1[Encounter]", lambda found: replace(found, refs={"subjekt": "patient"}))
    assert "`refs`: `subjekt`" in faults_of_maps(astray, ELEMENTS)[0]


def test_the_rows_a_source_adds_are_checked_under_its_own_name():
    rows = {PID: [{"from": 31, "to": "gendre", "as": "text"}]}
    source = replace(adhoc_source("A", "B"), overrides={"rows": rows})
    (fault,) = faults_of_source(source, overlay(MAPS, source), ELEMENTS)
    assert fault.startswith(f"{source.id}.toml [overrides.rows.{PID}] row 1 ")


def test_faults_are_refused_together():
    refuse([])
    with pytest.raises(HieError) as caught:
        refuse(["one", "two"])
    assert caught.value.category is Category.INVALID
    assert [issue.text for issue in caught.value.issues] == ["one", "two"]


def test_the_tables_of_elements_are_what_the_models_say():
    spec = importlib.util.spec_from_file_location("elements", ROOT / "docs/elements.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, made in (("elements", module.table()), ("required", module.required())):
        told = (ROOT / f"config/fhir/{name}.json").read_text(encoding="utf-8")
        assert told == made, "run `make docs`"
