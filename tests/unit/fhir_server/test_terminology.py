"""The local codes: what is in, what is out, what nobody here can tell; and the operations."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from adapters.terminology import Concept, ConceptMap, Terminology
from fhir_server.terminology.load import load_vocabulary
from fhir_server.terminology.read import read_code_system, read_value_set
from fhir_server.terminology.vocabulary import Vocabulary
from hie.kernel.errors import HieError
from tests.support.fhir_api import VOCABULARY, running_api

CORE = "http://hl7.org/fhir/us/core/ValueSet/"
R4 = "http://hl7.org/fhir/ValueSet/"
RACE = "urn:oid:2.16.840.1.113883.6.238"
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
SNOMED = "http://snomed.info/sct"
LOCAL = "https://hub.test/CodeSystem/animals"
IS_A = {"property": "concept", "op": "is-a", "value": "dog"}


@pytest.fixture
async def api():
    async with running_api() as running:
        yield running


def animals(**more) -> Vocabulary:
    system = read_code_system(
        {
            "id": "animals",
            "url": LOCAL,
            "version": "1",
            "caseSensitive": False,
            "concept": [
                {"code": "animal", "concept": [{"code": "dog", "concept": [{"code": "pug"}]}]},
                {"code": "cat", "property": [{"code": "parent", "valueCode": "animal"}]},
                {"code": "rock"},
            ],
        }
    )
    compose = {"include": [{"system": LOCAL, **more}]}
    value_set = read_value_set({"id": "s", "url": "urn:s", "compose": compose})
    return Vocabulary([system], [value_set])


def codes(vocabulary: Vocabulary, url: str = "urn:s") -> set[str] | None:
    found = vocabulary.codes_of(url)
    return None if found is None else {code for _, code in found}


@pytest.mark.parametrize(
    ("op", "value", "expected"),
    [
        ("is-a", "dog", {"dog", "pug"}),
        ("is-a", "animal", {"animal", "dog", "pug", "cat"}),
        ("descendent-of", "animal", {"dog", "pug", "cat"}),
        ("is-not-a", "dog", {"animal", "cat", "rock"}),
        ("in", "cat, rock", {"cat", "rock"}),
        ("not-in", "cat,rock", {"animal", "dog", "pug"}),
        ("=", "cat", {"cat"}),
    ],
)
def test_a_filter_selects_by_the_hierarchy(op, value, expected):
    vocabulary = animals(filter=[{"property": "concept", "op": op, "value": value}])
    assert codes(vocabulary) == expected
    told = {code: vocabulary.is_member("urn:s", LOCAL, code) for code in ("pug", "rock", "cat")}
    assert told == {code: code in expected for code in told}


def test_a_filter_that_is_not_understood_leaves_membership_open():
    vocabulary = animals(filter=[{"property": "legs", "op": "=", "value": "4"}])
    assert codes(vocabulary) is None
    assert vocabulary.is_member("urn:s", LOCAL, "dog") is None
    assert vocabulary.is_member("urn:s", "urn:other", "dog") is False


def test_codes_of_a_system_without_case_compare_so():
    vocabulary = animals(concept=[{"code": "dog"}])
    assert vocabulary.is_member("urn:s", LOCAL, "DOG") is True
    assert vocabulary.is_member("urn:s", LOCAL, "cat") is False
    assert animals().is_member("urn:s", LOCAL, "RocK") is True


def test_a_version_that_is_not_here_is_not_found():
    vocabulary = animals()
    assert vocabulary.code_system(f"{LOCAL}|1") is not None
    assert vocabulary.code_system(f"{LOCAL}|2") is None
    assert vocabulary.codes_of("urn:s|9") is None


def test_value_sets_that_take_each_other_in_end():
    sets = [
        read_value_set({"id": name, "url": name, "compose": {"include": [{"valueSet": [other]}]}})
        for name, other in (("urn:a", "urn:b"), ("urn:b", "urn:a"))
    ]
    vocabulary = Vocabulary([], sets)
    assert vocabulary.codes_of("urn:a") is None
    assert vocabulary.is_member("urn:a", "urn:x", "y") is None


def test_a_value_set_that_takes_itself_in_many_times_ends_at_once():
    many = {"include": [{"valueSet": ["urn:a"]}] * 100, "exclude": [{"valueSet": ["urn:a"]}] * 100}
    itself = read_value_set({"id": "a", "url": "urn:a", "compose": many})
    vocabulary = Vocabulary([], [itself])
    # Each time it was looked into anew, twelve deep: one request held the hub for ever.
    assert vocabulary.codes_of("urn:a") is None
    assert vocabulary.is_member("urn:a", "urn:x", "y") is None


def test_bound_value_sets_are_here_with_all_codes():
    assert codes(VOCABULARY, R4 + "administrative-gender") == {"male", "female", "other", "unknown"}
    race = VOCABULARY.codes_of(CORE + "omb-race-category") or frozenset()
    assert (RACE, "2106-3") in race
    assert len(VOCABULARY.codes_of(CORE + "us-core-usps-state") or ()) > 50
    # What is detailed is not one of the five categories.
    assert VOCABULARY.is_member(CORE + "detailed-race", RACE, "2029-7") is True
    assert VOCABULARY.is_member(CORE + "detailed-race", RACE, "2028-9") is False
    assert (ACT, "AMB") in (VOCABULARY.under(ACT, "_ActEncounterCode") or ())


def test_codes_nobody_here_carries_are_neither_in_nor_out():
    url = CORE + "us-core-condition-code"
    assert VOCABULARY.is_member(url, SNOMED, "38341003") is None
    assert VOCABULARY.is_member(url, "http://loinc.org", "8480-6") is False
    assert VOCABULARY.codes_of(url) is None


def test_every_expansion_agrees_with_membership():
    for value_set in VOCABULARY.value_sets:
        expansion = VOCABULARY.expand(value_set.url)
        assert expansion is not None
        for member in expansion.members[::7]:
            held = VOCABULARY.is_member(value_set.url, member.system, member.code)
            assert held is True or (held is None and not expansion.is_whole), value_set.url


def test_a_concept_map_is_a_value_set(tmp_path: Path):
    rows = {"F": Concept(target="female", system="urn:sex"), "U": Concept(target="")}
    maps = Terminology({"sex": ConceptMap("sex", rows)})
    vocabulary = load_vocabulary(tmp_path, maps)
    assert vocabulary.codes_of("urn:hie:valueset:sex") == frozenset({("urn:sex", "female")})


def test_a_file_that_is_no_resource_is_named(tmp_path: Path):
    (tmp_path / "a.json").write_text('{"resourceType": "ValueSet", "id": "x"}', encoding="utf-8")
    (tmp_path / "b.ndjson").write_text("\n{]\n", encoding="utf-8")
    with pytest.raises(HieError) as refused:
        load_vocabulary(tmp_path, Terminology({}))
    assert [issue.text.partition(": ")[0] for issue in refused.value.issues] == [
        "a.json",
        "b.ndjson:2",
    ]


def outcome_of(parameters) -> dict[str, object]:
    return {
        each["name"]: next(v for k, v in each.items() if k != "name")
        for each in parameters["parameter"]
    }


async def test_an_expansion_is_filtered_and_paged(api):
    url = f"/fhir/ValueSet/$expand?url={quote(CORE + 'us-core-usps-state')}"
    whole = (await api.get(url)).json["expansion"]
    assert whole["total"] == len(whole["contains"])
    page = (await api.get(f"{url}&count=2&offset=3")).json["expansion"]
    assert page["contains"] == whole["contains"][3:5]
    assert page["total"] == whole["total"]
    found = (await api.get(f"{url}&filter=MA")).json["expansion"]
    assert "MA" in {each["code"] for each in found["contains"]}
    none = (await api.get(f"{url}&filter=zzz")).json["expansion"]
    assert none["total"] == 0
    assert "contains" not in none


async def test_an_instance_is_expanded_and_read(api):
    read = await api.get("/fhir/ValueSet/birthsex")
    assert read.json["url"] == CORE + "birthsex"
    answer = await api.get("/fhir/ValueSet/birthsex/$expand")
    assert {"F", "M"} <= {each["code"] for each in answer.json["expansion"]["contains"]}
    system = await api.get("/fhir/CodeSystem/us-core-category")
    assert system.json["content"] == "complete"
    assert (await api.get("/fhir/ValueSet/nobody")).status == 404


async def test_a_value_set_sent_along_is_expanded(api):
    parent = {"property": "concept", "op": "is-a", "value": "_ActEncounterCode"}
    sent = {
        "resourceType": "ValueSet",
        "status": "active",
        "compose": {"include": [{"system": ACT, "filter": [parent]}]},
    }
    answer = await post(api, "ValueSet/$expand", valueSet=("resource", sent))
    assert {"AMB", "IMP", "EMER"} <= {c["code"] for c in answer.json["expansion"]["contains"]}


async def test_a_value_set_that_a_source_stored_is_asked_by_its_id(api):
    genders = "http://hl7.org/fhir/administrative-gender"
    include = [{"system": genders, "concept": [{"code": "male"}, {"code": "female"}]}]
    kept = {"resourceType": "ValueSet", "id": "own", "url": "urn:own", "status": "active"}
    api.door.put(kept | {"compose": {"include": include}})
    told = (await api.get("/fhir/ValueSet/own/$expand")).json
    assert [each["code"] for each in told["expansion"]["contains"]] == ["male", "female"]
    assert (told["id"], told["url"]) == ("own", "urn:own")
    path = f"/fhir/ValueSet/own/$validate-code?system={genders}&code="
    for code, is_in in (("male", True), ("other", False)):
        (result, *_) = (await api.get(path + code)).json["parameter"]
        assert result == {"name": "result", "valueBoolean": is_in}
    api.door.put(kept | {"id": "empty"})
    assert (await api.get("/fhir/ValueSet/empty/$expand")).status == 422
    assert (await api.get("/fhir/ValueSet/none/$expand")).status == 404
    api.door.hidden.add("own")
    assert (await api.get("/fhir/ValueSet/own/$expand")).status == 404


async def test_a_value_set_sent_along_has_bounded_parts(api):
    parts = [{"valueSet": [R4 + "languages"]}] * 101
    sent = {"resourceType": "ValueSet", "status": "active", "compose": {"include": parts}}
    answer = await post(api, "ValueSet/$expand", valueSet=("resource", sent))
    assert answer.status == 413
    for part in ({"valueSet": [R4 + "languages"] * 101}, {"filter": [IS_A] * 101, "system": LOCAL}):
        sent["compose"] = {"include": [part]}
        answer = await post(api, "ValueSet/$expand", valueSet=("resource", sent))
        assert answer.status == 413
    sent["compose"] = {"include": "nonsense"}
    assert (await post(api, "ValueSet/$expand", valueSet=("resource", sent))).status == 400


async def post(api, path, **named):
    parameters = [{"name": name, kind: value} for name, (kind, value) in named.items()]
    body = {"resourceType": "Parameters", "parameter": parameters}
    return await api.send(
        "POST",
        f"/fhir/{path}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/fhir+json"},
    )


async def test_a_code_is_looked_up(api):
    answer = await api.get(f"/fhir/CodeSystem/$lookup?system={quote(ACT)}&code=AMB")
    assert outcome_of(answer.json)["display"] == "ambulatory"
    coding = {"system": RACE, "code": "2106-3"}
    posted = await post(api, "CodeSystem/$lookup", coding=("valueCoding", coding))
    assert outcome_of(posted.json)["display"] == "White"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("CodeSystem/$lookup?system=http://loinc.org&code=8480-6", 404),
        (f"CodeSystem/$lookup?system={quote(ACT)}&code=nope", 404),
        ("CodeSystem/$lookup?code=AMB", 400),
        ("ValueSet/$expand?url=urn:nobody", 404),
        ("ValueSet/$expand", 400),
        (f"ValueSet/$expand?url={quote(CORE + 'us-core-condition-code')}", 422),
        ("ValueSet/$expand?url=urn:nobody&count=-1", 400),
        ("ValueSet/$expand?url=urn:nobody&nonsense=1", 400),
        ("ValueSet/$validate-code?url=urn:nobody&code=x", 404),
        (f"ValueSet/us-core-condition-code/$validate-code?system={quote(SNOMED)}&code=1", 422),
        ("CodeSystem/$validate-code?url=urn:nobody&code=x", 404),
        ("CodeSystem/$validate-code?code=x", 400),
    ],
)
async def test_what_is_not_here_or_no_request_is_refused(api, path, status):
    answer = await api.get(f"/fhir/{path}")
    assert (answer.status, bool(answer.texts)) == (status, True)


async def test_codes_are_validated_against_sets_and_systems(api):
    gender = quote(R4 + "administrative-gender")
    url = f"/fhir/ValueSet/$validate-code?url={gender}"
    assert outcome_of((await api.get(f"{url}&code=female")).json)["result"] is True
    assert outcome_of((await api.get(f"{url}&code=fem")).json)["result"] is False
    wrong = await api.get(f"{url}&code=female&display=Male")
    assert outcome_of(wrong.json)["result"] is False
    assert outcome_of(wrong.json)["display"] == "Female"
    concept = {"coding": [{"system": "urn:x", "code": "1"}, {"system": RACE, "code": "2106-3"}]}
    posted = await post(
        api,
        "ValueSet/omb-race-category/$validate-code",
        codeableConcept=("valueCodeableConcept", concept),
    )
    assert outcome_of(posted.json)["result"] is True
    system = await api.get(f"/fhir/CodeSystem/$validate-code?url={quote(ACT)}&code=AMB")
    assert outcome_of(system.json) == {"result": True, "display": "ambulatory"}


@pytest.mark.parametrize(
    ("one", "other", "outcome"),
    [
        ("_ActEncounterCode", "AMB", "subsumes"),
        ("AMB", "_ActEncounterCode", "subsumed-by"),
        ("AMB", "AMB", "equivalent"),
        ("AMB", "EMER", "not-subsumed"),
    ],
)
async def test_one_code_stands_above_another(api, one, other, outcome):
    path = f"/fhir/CodeSystem/$subsumes?system={quote(ACT)}&codeA={one}&codeB={other}"
    assert outcome_of((await api.get(path)).json) == {"outcome": outcome}


async def test_the_local_codes_ask_for_a_scope(api):
    path = f"/fhir/ValueSet/$expand?url={quote(CORE + 'birthsex')}"
    assert (await api.get(path, "narrow")).status == 403
    assert (await api.get(path, None)).status == 401
