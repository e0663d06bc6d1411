"""https://hl7.org/fhir/R4/search.html: what a query string asks."""

from decimal import Decimal
from pathlib import Path

import pytest

from fhir_server.search.parse import Parsed, SearchParser
from fhir_server.settings import FhirSettings
from hie.kernel.errors import Category, HieError
from hie.store import query as q
from hie.store.dates import span
from hie.store.index import SearchParam, load_index

ROOT = Path(__file__).resolve().parents[3]
INDEX = load_index(ROOT / "config/fhir")
SETTINGS = FhirSettings(base_url="https://hub.test/fhir", max_count=100, max_criteria=30)
NOW_US = 1_769_851_800_000_000
#: A value that no error text may repeat.
SECRET = "Zyxwvut"


def parse(type_name: str, *params: tuple[str, str], lenient: bool = False) -> Parsed:
    return SearchParser(INDEX, SETTINGS).parse(type_name, params, is_lenient=lenient, now_us=NOW_US)


def one(type_name: str, name: str, text: str) -> q.Criterion:
    (criterion,) = parse(type_name, (name, text)).query.criteria
    return criterion


def refusal(type_name: str, *params: tuple[str, str]) -> HieError:
    with pytest.raises(HieError) as raised:
        parse(type_name, *params)
    assert raised.value.category is Category.INVALID
    assert SECRET not in str([raised.value.text, raised.value.issues])
    return raised.value


@pytest.mark.parametrize(
    ("text", "system", "code"),
    [
        ("8480-6", None, "8480-6"),
        ("http://loinc.org|8480-6", "http://loinc.org", "8480-6"),
        ("|8480-6", "", "8480-6"),
        ("http://loinc.org|", "http://loinc.org", None),
        (r"a\|b|c\,d", "a|b", "c,d"),
    ],
)
def test_a_token_is_read_in_its_four_forms(text: str, system: str | None, code: str | None):
    criterion = one("Observation", "code", text)
    assert isinstance(criterion, q.Token)
    assert criterion.values == (q.TokenValue(system=system, code=code),)


def test_commas_are_or_and_repeats_are_and():
    parsed = parse("Observation", ("status", "final,amended"), ("status", "final"))
    first, second = parsed.query.criteria
    assert isinstance(first, q.Token)
    assert isinstance(second, q.Token)
    assert [v.code for v in first.values] == ["final", "amended"]
    assert [v.code for v in second.values] == ["final"]


def test_not_keeps_what_lacks_the_value():
    criterion = one("Observation", "status:not", "final")
    assert isinstance(criterion, q.Token)
    assert criterion.is_not


@pytest.mark.parametrize(("text", "is_missing"), [("true", True), ("false", False)])
def test_missing_asks_for_rows_or_none(text: str, is_missing: bool):
    criterion = one("Observation", "code:missing", text)
    assert isinstance(criterion, q.Missing)
    assert (criterion.kind, criterion.is_missing) == ("token", is_missing)
    assert one("Patient", "birthdate:missing", text) == q.Missing(
        param="birthdate",
        param_ids=(INDEX.param("Patient", "birthdate").id,),  # type: ignore[union-attr]
        kind="blind",
        is_missing=is_missing,
    )


@pytest.mark.parametrize("prefix", list(q.Prefix))
def test_every_prefix_of_a_date_is_read(prefix: q.Prefix):
    criterion = one("Observation", "date", f"{prefix}2020-01-31")
    assert isinstance(criterion, q.Date)
    (value,) = criterion.values
    assert value.prefix is prefix
    if prefix is not q.Prefix.AP:
        assert (value.lo_us, value.hi_us) == span("2020-01-31")


def test_an_offset_whose_plus_came_as_a_space_is_read():
    criterion = one("Observation", "date", "2020-01-31T10:00:00 02:00")
    assert isinstance(criterion, q.Date)
    assert criterion.values[0].lo_us == (span("2020-01-31T08:00:00Z") or (0,))[0]


def test_birth_dates_are_asked_for_by_keys():
    criterion = one("Patient", "birthdate", "1980-05")
    assert criterion == q.Keyed(
        param="birthdate",
        param_ids=(INDEX.param("Patient", "birthdate").id,),  # type: ignore[union-attr]
        keys=("d:1980-05",),
    )


def test_a_name_is_asked_for_among_all_its_parts():
    criterion = one("Patient", "name", "Ash,Birch")
    assert isinstance(criterion, q.Keyed)
    assert criterion.keys == ("p:ash", "p:birch")
    ids = [INDEX.param("Patient", n) for n in ("name", "family", "given")]
    assert criterion.param_ids == tuple(param.id for param in ids if param)


def test_an_exact_name_keeps_case_and_accents():
    criterion = one("Patient", "family:exact", "Muñoz")
    assert isinstance(criterion, q.Keyed)
    assert criterion.keys == ("x:Muñoz",)


@pytest.mark.parametrize(
    ("text", "key"), [("17", "v:17"), ("urn:mrn|17", "s:urn:mrn|17"), ("|17", "s:|17")]
)
def test_an_identifier_is_asked_for_by_value_and_system(text: str, key: str):
    criterion = one("Patient", "identifier", text)
    assert isinstance(criterion, q.Keyed)
    assert criterion.keys == (key,)


def test_a_telephone_number_is_asked_for_by_its_digits():
    criterion = one("Patient", "phone", "(617) 555-0101")
    assert isinstance(criterion, q.Keyed)
    assert criterion.keys == ("v:6175550101",)
    clear = one("Practitioner", "phone", "(617) 555-0101")
    assert isinstance(clear, q.Token)
    assert clear.values[0].code == "6175550101"


@pytest.mark.parametrize(
    ("name", "mode", "value"),
    [
        ("name", q.StringMode.STARTS, "saint marys"),
        ("name:contains", q.StringMode.CONTAINS, "saint marys"),
        ("name:exact", q.StringMode.EXACT, "=Saint Mary's"),
    ],
)
def test_clear_strings_are_compared_as_asked(name: str, mode: q.StringMode, value: str):
    criterion = one("Organization", name, "Saint Mary's")
    assert isinstance(criterion, q.String)
    assert (criterion.mode, criterion.values) == (mode, (value,))


@pytest.mark.parametrize(
    ("text", "lo", "hi"),
    [
        ("100", "99.5", "100.4999999999"),
        ("100.00", "99.995", "100.0049999999"),
        ("1e2", "50", "149.9999999999"),
        ("gt100", "100", "100"),
        ("ap100", "90", "110"),
        ("sa100", "100", "100.0000000001"),
        ("-5", "-5.5", "-4.5000000001"),
    ],
)
def test_a_number_is_the_range_its_digits_leave_open(text: str, lo: str, hi: str):
    criterion = one("Observation", "value-quantity", text)
    assert isinstance(criterion, q.Quantity)
    (value,) = criterion.values
    assert (value.number.lo, value.number.hi) == (Decimal(lo), Decimal(hi))
    plain = one("RiskAssessment", "probability", text)
    assert isinstance(plain, q.Number)


@pytest.mark.parametrize(
    ("text", "system", "code"),
    [
        ("5.4", None, None),
        ("5.4|http://unitsofmeasure.org|mg", "http://unitsofmeasure.org", "mg"),
        ("5.4||mg", None, "mg"),
    ],
)
def test_a_quantity_may_name_its_unit(text: str, system: str | None, code: str | None):
    criterion = one("Observation", "value-quantity", text)
    assert isinstance(criterion, q.Quantity)
    assert (criterion.values[0].system, criterion.values[0].code) == (system, code)


def test_a_canonical_is_a_uri():
    criterion = one("QuestionnaireResponse", "questionnaire", "http://x.org/q")
    assert isinstance(criterion, q.Uri)
    assert criterion.values == ("http://x.org/q",)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("patient", "p1"),
        ("patient", "Patient/p1"),
        ("patient", "https://hub.test/fhir/Patient/p1"),
        ("subject", "p1"),
        ("subject", "Patient/p1"),
        ("subject:Patient", "p1"),
        ("subject:Patient", "Patient/p1"),
    ],
)
def test_a_patient_is_asked_for_by_person(name: str, text: str):
    query = parse("Observation", (name, text)).query
    assert query.persons == ("p1",)
    assert query.criteria == ()


def test_patients_in_a_list_are_or_and_repeats_are_and():
    both = parse("Observation", ("patient", "p1,p2"), ("subject", "Patient/p2,Patient/p3"))
    assert both.query.persons == ("p1", "p2")
    assert both.query.is_own
    # Two ids may mean one person, once merges are followed.
    assert both.query.criteria == (q.About(param="subject", persons=("p2", "p3")),)


def test_the_id_of_a_patient_is_a_persons():
    assert parse("Patient", ("_id", "p1,p2")).query.persons == ("p1", "p2")
    assert one("Observation", "_id", "o1") == q.Ids(values=("o1",))


@pytest.mark.parametrize(
    ("name", "text", "types"),
    [
        ("subject", "Group/g1", ("Group",)),
        ("performer", "Practitioner/g1", ("Practitioner",)),
        ("performer", "g1", ()),
        ("specimen", "g1", ("Specimen",)),
        ("performer:Organization", "g1", ("Organization",)),
    ],
)
def test_other_references_are_asked_for_by_type_and_id(
    name: str, text: str, types: tuple[str, ...]
):
    criterion = one("Observation", name, text)
    assert isinstance(criterion, q.Reference)
    assert criterion.values == (q.ReferenceValue(types=types, id="g1"),)


def test_a_parameter_over_another_narrows_its_type():
    criterion = one("Encounter", "practitioner", "d1")
    participant = INDEX.param("Encounter", "participant")
    assert isinstance(criterion, q.Reference)
    assert participant
    assert criterion.param_ids == (participant.id,)
    assert criterion.values == (q.ReferenceValue(types=("Practitioner",), id="d1"),)


@pytest.mark.parametrize(
    ("params", "count", "is_total_wanted", "is_count_only"),
    [
        ([], 20, False, False),
        ([("_count", "7")], 7, False, False),
        ([("_count", "100000")], 100, False, False),
        ([("_count", "0")], 0, True, True),
        ([("_summary", "count"), ("_count", "7")], 0, True, True),
        ([("_summary", "false")], 20, False, False),
        ([("_total", "accurate")], 20, True, False),
        ([("_total", "none")], 20, False, False),
        ([("_format", "json"), ("_pretty", "true")], 20, False, False),
    ],
)
def test_result_parameters_shape_the_page(
    params: list[tuple[str, str]], count: int, is_total_wanted: bool, is_count_only: bool
):
    parsed = parse("Observation", *params)
    assert parsed.query.count == count
    assert parsed.query.is_total_wanted is is_total_wanted
    assert parsed.shown.is_count_only is is_count_only


def test_sort_keys_keep_their_order_and_direction():
    keys = parse("Observation", ("_sort", "-date,status,_lastUpdated,-_id")).query.sort
    assert [(key.param, key.kind, key.is_descending) for key in keys] == [
        ("date", "date", True),
        ("status", "token", False),
        ("_lastUpdated", "", False),
        ("_id", "", True),
    ]


def test_last_updated_is_compared_as_a_date():
    criterion = one("Observation", "_lastUpdated", "ge2020,lt2019")
    assert isinstance(criterion, q.LastUpdated)
    assert [v.prefix for v in criterion.values] == [q.Prefix.GE, q.Prefix.LT]


@pytest.mark.parametrize(
    ("type_name", "name", "text", "named"),
    [
        ("Observation", "cod", SECRET, "cod"),
        ("Observation", "_id:missing", "true", "_id:missing"),
        ("Observation", "code:missing", SECRET, "code"),
        ("Observation", "code", "a|b|c", "code"),
        ("Observation", "code", "|", "code"),
        ("Observation", "code", "", "code"),
        ("Observation", "code", "a,,b", "code"),
        ("Observation", "date", SECRET, "date"),
        ("Observation", "date", "2020-02-30", "date"),
        ("Observation", "date:exact", "2020", "date"),
        ("Observation", "value-quantity", SECRET, "value-quantity"),
        ("Observation", "value-quantity", "5|mg", "value-quantity"),
        ("Observation", "patient", f"Group/{SECRET}", "patient"),
        ("Observation", "subject", "Patient/p1,Group/g1", "subject"),
        ("Observation", "subject:Patient", "Group/g1", "subject"),
        ("Observation", "specimen", f"Device/{SECRET}", "specimen"),
        ("Observation", "_id", f"{SECRET}!", "_id"),
        ("Observation", "_count", SECRET, "_count"),
        ("Observation", "_count", "-1", "_count"),
        ("Observation", "_total", SECRET, "_total"),
        ("Observation", "_summary", SECRET, "_summary"),
        ("Observation", "_lastUpdated", SECRET, "_lastUpdated"),
        ("Observation", "_sort", "nothing", "_sort"),
        ("Observation", "_sort", "value-quantity", "_sort"),
        ("Patient", "_sort", "birthdate", "_sort"),
        ("Patient", "name:contains", SECRET, "name"),
        ("Patient", "name", "--", "name"),
        ("Encounter", "identifier", f"urn:{SECRET}|", "identifier"),
        ("Patient", "identifier", f"urn:{SECRET}|,urn:a|1", "identifier"),
        ("Patient", "birthdate", "1980-05-12T10:00:00Z", "birthdate"),
        ("Patient", "birthdate", SECRET, "birthdate"),
        ("Observation", "code", ",".join("x" * 31), "code"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(type_name: str, name: str, text: str, named: str):
    issues = refusal(type_name, (name, text)).issues
    assert len(issues) == 1
    assert f"`{named}`" in issues[0].text


def test_a_name_that_is_no_name_is_not_repeated():
    (issue,) = refusal("Observation", (f"{SECRET} is ill", "x")).issues
    assert issue.expression == ()


def test_every_fault_of_a_search_is_told_at_once():
    issues = refusal("Observation", ("cod", "x"), ("date", "x"), ("_count", "x")).issues
    assert sorted(issue.expression[0] for issue in issues) == [
        "http._count",
        "http.cod",
        "http.date",
    ]


def test_a_lenient_client_is_warned_of_what_was_passed_over():
    parsed = parse("Observation", ("cod", "x"), ("code", "y"), lenient=True)
    assert parsed.used == (("code", "y"),)
    assert [issue.severity for issue in parsed.warnings] == ["warning"]
    with pytest.raises(HieError):
        parse("Observation", ("date", "never"), lenient=True)


def test_every_parameter_of_every_type_can_be_asked():
    plain = {
        "token": "code",
        "string": "text",
        "date": "2026-01-31",
        "number": "5",
        "quantity": "5.4",
        "uri": "http://example.org/a",
        "special": "42.3|-71.1|5|km",
    }

    def value_of(type_name: str, param: SearchParam) -> str:
        if param.type == "composite":
            parts = [INDEX.param(type_name, name) for name in param.components]
            return "$".join(value_of(type_name, part) for part in parts if part)
        if param.type == "reference":
            target = param.targets[0] if param.targets else "Patient"
            return "http://example.org/a" if param.kind == "uri" else f"{target}/a"
        return plain[param.type]

    asked = 0
    for type_name in INDEX.types:
        for param in INDEX.params(type_name):
            parsed = parse(type_name, (param.name, value_of(type_name, param)))
            assert parsed.query.criteria or parsed.query.persons == ("a",), param.name
            asked += 1
    assert asked > 2_200


def test_why_a_parameter_of_the_standard_is_absent_is_told():
    (issue,) = refusal("Patient", ("age", "40")).issues
    assert "ask for `birthdate`" in issue.text


def test_an_address_kept_as_a_hash_is_asked_for_whole():
    criterion = one("Device", "url", "http://10.0.0.7/pump")
    assert isinstance(criterion, q.Keyed)
    assert criterion.keys == ("u:http://10.0.0.7/pump",)
    assert "supported: `:missing`" in refusal("Device", ("url:below", "http://x")).issues[0].text
