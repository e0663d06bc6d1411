"""What is shown of what a search finds (FHIR R4, search.html#return, #summary, #elements)."""

import importlib.util
import json
import os
from dataclasses import replace

import pytest

from fhir_server.search.results import ResultsReader, Shown
from fhir_server.search.subset import load_subsets
from fhir_server.settings import FhirSettings
from hie.kernel.errors import HieError
from hie.store.index import SearchParam, load_index
from hie.store.query import Include, Page, Query, Served, Sort
from tests.support.tree import ROOT

INDEX = load_index(ROOT / "config/fhir")
READER = ResultsReader(INDEX, FhirSettings(max_count=100))
SUBSETS = load_subsets(ROOT / "config/fhir/subsets.json")


def param_of(name: str) -> SearchParam:
    """A search parameter of Observation."""
    found = INDEX.param("Observation", name)
    assert found is not None
    return found


DATE, ENCOUNTER = param_of("date"), param_of("encounter")


def shown(*params, types=("Observation",)):
    found = READER.default
    for name, text in params:
        found = READER.read(found, types, name, text)
    return found


def test_nothing_asked_for_shows_a_page_in_the_order_of_storing():
    assert shown() == Shown(count=20)
    assert shown().of(Query(type="Observation")) == Query(type="Observation", count=20)


def test_sort_keys_carry_what_the_database_needs():
    assert shown(("_sort", "-date,_id")).sort == (
        Sort(param="date", param_ids=DATE.param_ids, kind="date", is_descending=True),
        Sort(param="_id"),
    )


def test_an_include_carries_where_it_leads():
    include = Include(
        source="Observation", param_ids=ENCOUNTER.param_ids, targets=ENCOUNTER.targets
    )
    assert shown(("_include", "Observation:encounter")).includes == (include,)
    again = (("_include", "Observation:encounter"), ("_include", "Observation:encounter"))
    assert shown(*again).includes == (include,)
    narrowed = shown(("_include:iterate", "Observation:encounter:Encounter")).includes[0]
    assert narrowed == replace(include, targets=("Encounter",), is_iterate=True)


def test_a_star_stands_for_every_reference_of_the_type():
    references = [param for param in INDEX.params("Observation") if param.type == "reference"]
    assert len(shown(("_include", "*")).includes) == len({p.param_ids for p in references})


def test_several_types_may_each_be_followed_from():
    types = ("Observation", "Encounter")
    found = shown(("_include", "Encounter:service-provider"), types=types)
    assert [include.source for include in found.includes] == ["Encounter"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("_count:exact", "1"),
        ("_sort", "date,date"),
        ("_sort", "nonsense"),
        ("_sort", "identifier"),
        ("_sort", "value-quantity"),
        ("_include", "Observation"),
        ("_include", "Observation::"),
        ("_include", "Observation:encounter:Patient:more"),
        ("_include:recurse", "Observation:encounter"),
        ("_revinclude", "*"),
        ("_elements", ""),
        ("_elements", "status,"),
        ("_total", "exact"),
        ("_summary", "TRUE"),
    ],
)
def test_what_cannot_be_shown_names_its_parameter(name, text):
    with pytest.raises(HieError) as caught:
        shown((name, text))
    assert f"`{name.partition(':')[0]}`" in caught.value.issues[0].text


OBSERVATION = {
    "resourceType": "Observation",
    "id": "o1",
    "meta": {"versionId": "1", "security": [{"code": "N"}]},
    "text": {"status": "generated", "div": "<div/>"},
    "modifierExtension": [{"url": "urn:x", "valueBoolean": True}],
    "status": "final",
    "_status": {"extension": [{"url": "urn:y", "valueCode": "z"}]},
    "code": {"coding": [{"code": "c"}], "text": "t"},
    "valueQuantity": {"value": 5.0, "unit": "mg"},
    "note": [{"text": "n"}],
    "component": [{"code": {"text": "k"}, "valueString": "v", "dataAbsentReason": {"text": "d"}}],
}
DOCUMENT = {
    "resourceType": "DocumentReference",
    "id": "d1",
    "meta": {"versionId": "1"},
    "status": "current",
    "content": [{"attachment": {"contentType": "text/plain", "data": "eA==", "url": "Binary/1"}}],
}


def cut(resource, **how):
    served = Served(
        type=resource["resourceType"],
        id=resource["id"],
        version="1",
        last_updated_us=0,
        body=json.dumps(resource).encode(),
    )
    return json.loads(SUBSETS.served(served, Shown(count=1, **how)).body)


@pytest.mark.parametrize(
    ("how", "gone"),
    [
        ({"summary": "true"}, {"text", "note"}),
        ({"summary": "data"}, {"text"}),
        ({"summary": "text"}, {"valueQuantity", "note", "component"}),
        ({"elements": ("value",)}, {"text", "note", "component"}),
        ({"elements": ("note",)}, {"text", "valueQuantity", "component"}),
    ],
    # A set has another text in each process: workers must collect the same names.
    ids=lambda value: str(sorted(value)),
)
def test_what_is_left_is_marked_and_keeps_what_must_be_there(how, gone):
    left = cut(OBSERVATION, **how)
    assert set(OBSERVATION) - set(left) == gone
    assert left["meta"].pop("tag")[0]["code"] == "SUBSETTED"
    assert left["meta"] == OBSERVATION["meta"]
    assert left["_status"] == OBSERVATION["_status"]


def test_a_summary_reaches_into_elements():
    assert cut(OBSERVATION, summary="true")["component"] == [
        {"code": {"text": "k"}, "valueString": "v"}
    ]
    attachment = cut(DOCUMENT, summary="true")["content"][0]["attachment"]
    assert attachment == {"contentType": "text/plain", "url": "Binary/1"}


def test_what_loses_nothing_is_the_same_bytes():
    served = Served(
        type="Organization",
        id="x",
        version="1",
        last_updated_us=0,
        body=b'{"resourceType":"Organization","id":"x","meta":{},"name":"n" }',
    )
    for how in ({"summary": "true"}, {"summary": "data"}, {"elements": ("name",)}, {}):
        page = SUBSETS.page(Page(matches=(served,), included=(served,)), Shown(count=1, **how))
        assert page.matches[0].body == page.included[0].body == served.body


def test_a_deletion_and_a_type_without_a_model_stay_as_they_are():
    gone = Served(type="Patient", id="x", version="2", last_updated_us=0, is_deleted=True)
    assert SUBSETS.served(gone, Shown(count=1, summary="true")) is gone
    odd = {"resourceType": "MedicinalProduct", "id": "m", "meta": {}, "x": 1}
    assert cut(odd, summary="true") == odd


def test_the_table_of_subsets_is_what_the_models_say():
    spec = importlib.util.spec_from_file_location("subsets", ROOT / "docs/subsets.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    told = (ROOT / "config/fhir/subsets.json").read_text(encoding="utf-8")
    if os.environ.get("HIE_TEST_LONG") == "1":
        assert told == module.table(), "run `make docs`"
    # All models take seconds to load: a few stand for them.
    some = module.table(["Observation", "Patient", "DocumentReference"])
    assert {line.rstrip(",") for line in some.splitlines()} <= {
        line.rstrip(",") for line in told.splitlines()
    }, "run `make docs`"
