"""Chains, `_has`, lists, composites, modifiers and compartments, as a search reads them."""

from pathlib import Path

import pytest

from fhir_server.search.compartments import Compartments, load_compartments
from fhir_server.search.parse import SearchParser
from fhir_server.settings import FhirSettings
from fhir_server.terminology.model import CodeSystem, Concept
from fhir_server.terminology.vocabulary import Vocabulary
from hie.kernel.errors import Category, HieError
from hie.store import query as q
from hie.store.index import load_index

CONFIG = Path(__file__).resolve().parents[3] / "config/fhir"
INDEX = load_index(CONFIG)
SETTINGS = FhirSettings(base_url="https://hub.test/fhir")
COMPARTMENTS = load_compartments(CONFIG / "compartments.toml", INDEX)
#: A value that no error text may repeat.
SECRET = "Zyxwvut"


def parse(type_name: str, name: str, text: str, *, closed: str = "") -> q.Query:
    parser = SearchParser(INDEX, SETTINGS)
    return parser.parse(type_name, ((name, text),), may=lambda other: other != closed).query


def one(type_name: str, name: str, text: str) -> q.Criterion:
    (criterion,) = parse(type_name, name, text).criteria
    return criterion


def refusal(type_name: str, name: str, text: str, **more: str) -> HieError:
    with pytest.raises(HieError) as raised:
        parse(type_name, name, text, **more)
    assert SECRET not in str([raised.value.text, raised.value.issues])
    return raised.value


def test_a_chain_asks_the_far_end_as_a_search_of_its_own():
    chain = one("Observation", "encounter.status", "finished")
    assert isinstance(chain, q.Chain)
    (nested,) = chain.targets
    assert nested.type == "Encounter"
    (status,) = nested.criteria
    assert status == one("Encounter", "status", "finished")


def test_a_chain_through_a_person_keeps_what_the_person_must_meet():
    chain = one("Observation", "patient.organization.name", "Saint")
    assert isinstance(chain, q.Chain)
    assert chain.person == "first"
    (patient,) = chain.targets
    (further,) = patient.criteria
    assert isinstance(further, q.Chain)
    assert [nested.type for nested in further.targets] == ["Organization"]


def test_a_chained_id_of_a_patient_is_a_person():
    chain = one("Observation", "patient._id", "p1")
    assert isinstance(chain, q.Chain)
    assert chain.targets == (q.Nested(type="Patient", persons=("p1",), is_own=True),)


def test_a_reference_to_several_types_is_followed_to_those_that_know_the_parameter():
    chain = one("Observation", "performer:Practitioner.name", "Ash")
    assert isinstance(chain, q.Chain)
    assert [nested.type for nested in chain.targets] == ["Practitioner"]
    refused = refusal("Observation", "focus.name", SECRET)
    assert "expected a type" in refused.issues[0].text


def test_has_asks_those_that_refer():
    has = one("Patient", "_has:Observation:patient:code", "8480-6")
    assert isinstance(has, q.Has)
    assert (has.type, has.of.type, has.person) == ("Patient", "Observation", "first")
    assert has.of.criteria == (one("Observation", "code", "8480-6"),)
    nested = one("Encounter", "_has:Observation:encounter:_has:List:item:status", "current")
    assert isinstance(nested, q.Has)
    (inner,) = nested.of.criteria
    assert isinstance(inner, q.Has)
    assert (inner.type, inner.of.type, inner.person) == ("Observation", "List", "")


def test_a_list_is_what_its_entries_refer_to():
    listed = one("Observation", "_list", "List/42")
    assert isinstance(listed, q.Has)
    assert listed.of == q.Nested(type="List", criteria=(q.Ids(values=("42",)),))


@pytest.mark.parametrize(
    ("type_name", "name", "text", "named"),
    [
        ("Observation", "patient.name:contains", SECRET, "patient.name:contains"),
        ("Observation", "patient.birthdate", SECRET, "patient.birthdate"),
        ("Observation", "encounter.subject.organization.name", SECRET, "encounter.subject"),
        ("Observation", "code.text", SECRET, "code"),
        ("Observation", "subject:Nothing.name", SECRET, "subject"),
        ("Observation", "_has:Patient", SECRET, "_has"),
        ("Observation", "_has:Encounter:status:class", SECRET, "_has"),
        ("Observation", "_has:Condition:patient:code", SECRET, "_has"),
        ("Observation", "_list", f"$current-{SECRET}", "_list"),
        ("Observation", "code-value-quantity", SECRET, "code-value-quantity"),
        ("Observation", "code-value-quantity", f"1${SECRET}", "code-value-quantity"),
        ("Observation", "code:in", f"http://{SECRET}", "code"),
        ("Observation", "code:below", f"http://a|{SECRET}", "code"),
        ("Patient", "identifier:of-type", SECRET, "identifier"),
        ("Observation", "performer:identifier", f"urn:{SECRET}|", "performer"),
        ("Patient", "phonetic", f"{SECRET} Ash", "phonetic"),
        ("Location", "near", SECRET, "near"),
    ],
)
def test_a_fault_names_the_parameter_as_it_was_asked(
    type_name: str, name: str, text: str, named: str
):
    refused = refusal(type_name, name, text)
    assert refused.category is Category.INVALID
    assert f"`{named}" in refused.issues[0].text


@pytest.mark.parametrize(
    ("type_name", "name", "closed"),
    [
        ("Observation", "patient.name", "Patient"),
        ("Observation", "patient.organization.name", "Organization"),
        ("Patient", "_has:Observation:patient:code", "Observation"),
        ("Patient", "_has:Observation:patient:encounter.status", "Encounter"),
        ("Observation", "_list", "List"),
    ],
)
def test_each_type_on_the_way_must_be_in_the_scopes(type_name: str, name: str, closed: str):
    refused = refusal(type_name, name, "x", closed=closed)
    assert refused.category is Category.FORBIDDEN
    assert f"on {closed}," in refused.text


def test_references_are_not_followed_where_nobody_says_what_the_caller_may_search():
    parser = SearchParser(INDEX, SETTINGS)
    for name in ("patient.name", "_has:List:item:status", "_list"):
        with pytest.raises(HieError) as raised:
            parser.parse("Observation", ((name, "x"),))
        assert raised.value.category is Category.INVALID


def test_a_composite_is_read_part_by_part():
    composite = one("Observation", "code-value-quantity", "http://loinc.org|2345-7$gt5.4||mg")
    assert isinstance(composite, q.Composite)
    (value,) = composite.values
    assert value.first == q.TokenValue(system="http://loinc.org", code="2345-7")
    assert isinstance(value.second, q.QuantityValue)
    assert (value.second.number.prefix, value.second.code) == (q.Prefix.GT, "mg")


def test_modifiers_of_codes_ask_other_rows():
    param = INDEX.param("Observation", "code")
    assert param is not None
    text = one("Observation", "code:text", "Glucose in")
    assert text == q.Text(param="code", param_ids=param.text_ids, keys=("p:glucose in",))
    typed = one("Patient", "identifier:of-type", "urn:t|MR|17")
    assert isinstance(typed, q.Keyed)
    assert typed.keys == ("o:urn:t|MR|17",)
    logical = one("Observation", "performer:identifier", "urn:npi|123")
    assert isinstance(logical, q.Keyed)
    assert logical.keys == ("s:urn:npi|123",)


def test_codes_below_a_code_are_asked_for_one_by_one():
    fruit = Concept(code="fruit")
    system = CodeSystem(
        id="food",
        url="urn:food",
        concepts={"fruit": fruit, "apple": Concept(code="apple", parents=("fruit",))},
        children={"fruit": ("apple",)},
    )
    parser = SearchParser(INDEX, SETTINGS, Vocabulary((system,), ()))
    (below,) = parser.parse("Observation", (("code:below", "urn:food|fruit"),)).query.criteria
    assert isinstance(below, q.Token)
    assert [value.code for value in below.values] == ["apple", "fruit"]


def test_addresses_are_compared_by_whole_steps():
    below = one("ValueSet", "url:below", "http://a.org/fhir/")
    assert isinstance(below, q.Uri)
    assert below.below == ("http://a.org/fhir",)
    above = one("ValueSet", "url:above", "http://a.org/fhir/ValueSet/7")
    assert isinstance(above, q.Uri)
    assert {"http://a.org/fhir", "http://a.org/fhir/ValueSet/7", "http://a.org"} <= {*above.values}
    assert "http://a.or" not in above.values


def test_a_compartment_is_a_criterion_of_its_type():
    (person,) = COMPARTMENTS.within("Patient", "p1", "Observation")
    assert person == q.About(param="Patient", persons=("p1",), is_any=True)
    (visit,) = COMPARTMENTS.within("Encounter", "e1", "Observation")
    assert visit == q.Reference(
        param="Encounter",
        param_ids=INDEX.param("Observation", "encounter").param_ids,  # type: ignore[union-attr]
        values=(q.ReferenceValue(types=("Encounter",), id="e1"),),
    )
    assert COMPARTMENTS.within("Device", "d1", "Device") == (q.Ids(values=("d1",)),)


@pytest.mark.parametrize(
    ("compartment", "type_name", "category"),
    [
        ("Organization", "Observation", Category.NOT_FOUND),
        ("Patient", "Organization", Category.INVALID),
        ("Encounter", "Patient", Category.INVALID),
    ],
)
def test_what_is_in_no_compartment_is_said(compartment: str, type_name: str, category: Category):
    with pytest.raises(HieError) as raised:
        COMPARTMENTS.within(compartment, "1", type_name)
    assert raised.value.category is category


def test_a_compartments_table_names_what_it_cannot_mean(tmp_path: Path):
    table = tmp_path / "compartments.toml"
    for text, named in (
        ("[Nothing]\nObservation = []", "`Nothing`"),
        ('[Encounter]\nObservation = ["status"]', "`Encounter.Observation`"),
        ("[", "expected a readable TOML file"),
    ):
        table.write_text(text)
        with pytest.raises(HieError) as raised:
            load_compartments(table, INDEX)
        assert named in raised.value.text
    assert isinstance(COMPARTMENTS, Compartments)
