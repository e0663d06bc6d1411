"""What operations are asked with, what is the newest of a kind, what a summary says in words."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from fhir_server.exchange import Call
from fhir_server.latest import latest
from fhir_server.operations import asked
from fhir_server.summary.document import Content, choose, document, wanted
from fhir_server.summary.narrative import narrative, shown
from fhir_server.summary.plan import SummaryPlan, Take, codes_of, load_summary
from fhir_server.validate import validate
from hie.kernel.context import RequestContext
from hie.kernel.errors import HieError
from hie.store.query import Served
from tests.support.fhir_api import BASE, INDEX, NOW_US, READER, running_api
from tests.support.tree import ROOT

FORM = "application/x-www-form-urlencoded"
PLAN = load_summary(ROOT / "config/fhir", INDEX.types)


def call(body: object = b"", content_type: str = "", **params: str) -> Call:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    kind = content_type or ("application/fhir+json" if data else "")
    return Call(
        ctx=RequestContext(caller=READER, request_id="r", now_us=NOW_US),
        interaction="everything",
        params=tuple(params.items()),
        headers={"Content-Type": kind, "Prefer": ""},
        body=data,
    )


def posted(*parameters: object) -> dict[str, object]:
    return {"resourceType": "Parameters", "parameter": list(parameters)}


def test_parameters_mean_the_same_however_they_come():
    concept = {"coding": [{"system": "urn:s", "code": "c"}]}
    body = posted(
        {"name": "_type", "valueCode": "Observation"},
        {"name": "max", "valuePositiveInt": 3},
        {"name": "on-demand", "valueBoolean": True},
        {"name": "type", "valueCodeableConcept": concept},
        {"name": "patient", "valueReference": {"reference": "Patient/1"}},
        {"name": "code", "valueCoding": {"code": "x"}},
    )
    expected = (
        ("_type", "Observation"),
        ("max", "3"),
        ("on-demand", "true"),
        ("type", "urn:s|c"),
        ("patient", "Patient/1"),
        ("code", "x"),
    )
    assert asked.params_of(call(body)) == expected
    form = b"_type=Observation&max=3&on-demand=true&type=urn:s|c&patient=Patient/1&code=x"
    assert asked.params_of(call(form, FORM)) == expected
    assert asked.params_of(call(_type="Patient", _format="json")) == (("_type", "Patient"),)


@pytest.mark.parametrize(
    "body",
    [
        {"resourceType": "Patient"},
        posted({"name": "x"}),
        posted({"valueString": "x"}),
        posted({"name": "x", "valueString": "y", "valueCode": "z"}),
        posted({"name": "x", "valueDecimal": None}),
        posted("x"),
        {"resourceType": "Parameters", "parameter": {}},
    ],
)
def test_what_holds_no_parameters_is_refused_with_its_place(body: object):
    with pytest.raises(HieError) as refused:
        asked.params_of(call(body))
    assert refused.value.issues[0].expression


@pytest.mark.parametrize(
    ("read", "value"), [(asked.period, "yesterday"), (asked.boolean, "yes"), (asked.period, "")]
)
def test_values_that_cannot_be_read_are_refused_by_name_alone(read: Any, value: str):
    with pytest.raises(HieError, match="`start`") as refused:
        read((("start", value),), "start")
    assert value == "" or value not in refused.value.text


def concept(*codings: str, text: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    if codings:
        found["coding"] = [{"system": "urn:s", "code": code} for code in codings]
    return {**found, "text": text} if text else found


def observed(key: str, code: object, when: str = "2025-01-01", **more: object) -> Served:
    body = {"resourceType": "Observation", "id": key, "code": code, "effectiveDateTime": when}
    return Served(
        type="Observation", id=key, version="1", last_updated_us=0, body=orjson.dumps(body | more)
    )


def test_kinds_are_joined_by_any_shared_coding_and_by_their_words():
    found = [
        observed("1", concept("a"), "2025-01-01"),
        observed("2", concept("b"), "2025-01-02"),
        observed("3", concept("a", "b"), "2025-01-03"),
        observed("4", concept("c", text="Glucose"), "2025-01-05"),
        observed("5", concept(text="Glucose"), "2025-01-04"),
        observed("6", concept(text="GLUCOSE "), "2025-01-06"),
        observed("7", {}, "2025-01-07"),
        observed("8", None, "2024-01-01"),
    ]
    assert [one.id for one in latest(found, "code", 1, INDEX)] == ["7", "6", "4", "3"]
    assert [one.id for one in latest(found, "code", 2, INDEX)] == [
        *("7", "8"),
        *("6", "5"),
        "4",
        *("3", "2"),
    ]


def test_times_are_compared_by_their_end_and_ties_by_id():
    found = [
        observed("b", concept("a"), "2025-01-01"),
        observed("a", concept("a"), "2025-01-01"),
        observed("c", concept("a"), "2025-01-01T23:00:00Z"),
        observed("d", concept("a"), ""),
    ]
    assert [one.id for one in latest(found, "code", 9, INDEX)] == ["a", "b", "c", "d"]
    assert latest([], "code", 1, INDEX) == []


@pytest.mark.parametrize(
    ("entry", "names", "expected"),
    [
        ({"code": {"text": "Sugar", "coding": [{"display": "x"}]}}, ["code"], "Sugar"),
        ({"code": {"coding": [{"code": "1"}, {"display": "Named"}]}}, ["code"], "Named"),
        ({"code": {"coding": [{"code": "1"}]}}, ["code"], "1"),
        ({"valueQuantity": {"value": Decimal("72.50"), "unit": "mg"}}, ["value"], "72.50 mg"),
        (
            {"valueQuantity": {"value": 5, "code": "mg", "comparator": "<"}},
            ["value"],
            "<5 mg",
        ),
        ({"valueBoolean": False}, ["value"], "no"),
        ({"valueString": "text"}, ["dataAbsentReason", "value"], "text"),
        ({"p": {"start": "2025", "end": "2026"}}, ["p"], "2025 to 2026"),
        ({"p": {"start": "2025"}}, ["p"], "from 2025"),
        ({"p": {"end": "2026"}}, ["p"], "to 2026"),
        (
            {"component": [{"code": {"text": "Sys"}, "valueQuantity": {"value": 120}}]},
            ["value", "component"],
            "Sys: 120",
        ),
        ({"m": {"reference": "Medication/1"}}, ["m"], "Aspirin"),
        ({"m": {"reference": "Medication/2", "display": "said"}}, ["m"], "said"),
        (
            {
                "reaction": [
                    {"manifestation": [{"text": "rash"}]},
                    {"manifestation": [{"text": "itch"}]},
                ]
            },
            ["reaction.manifestation"],
            "rash; itch",
        ),
        (
            {"v": {"numerator": {"value": 1, "unit": "mg"}, "denominator": {"value": 2}}},
            ["v"],
            "1 mg/2",
        ),
        ({"v": {"low": {"value": 1}, "high": {"value": 2}}}, ["v"], "1 to 2"),
        ({"v": {"odd": 1}}, ["v", "w"], ""),
        ({}, ["v"], ""),
    ],
)
def test_elements_in_words(entry: dict[str, Any], names: list[str], expected: str):
    beside = {"Medication/1": {"resourceType": "Medication", "code": {"text": "Aspirin"}}}
    assert shown(entry, names, beside) == expected


def test_nothing_a_sender_wrote_gets_out_of_its_cell():
    take = Take(type="Condition", only={}, unless={}, newest=0, shows=(("What", ("code",)),))
    hostile = '</td></tr><script src="//x">\x00\x0b\ufffe' + "a" * 400
    text = narrative([(take, [{"code": {"text": hostile}}])], {})["div"]
    assert "<script" not in text
    assert "&lt;script src=&quot;//x&quot;&gt;" in text
    assert not set(text) & {"\x00", "\x0b", "\ufffe"}
    assert text.count("<td>") == 1
    assert len(text) < 600


@pytest.mark.parametrize(
    ("value", "codes"),
    [
        ("final", {"final"}),
        ({"coding": [{"code": "a"}, {"code": "b"}, 3]}, {"a", "b"}),
        ([{"coding": [{"code": "a"}]}, {"code": "c"}, None], {"a", "c"}),
        (None, set()),
    ],
)
def test_codes_of_an_element(value: object, codes: set[str]):
    assert codes_of(value) == codes


def served(resource: dict[str, Any]) -> Served:
    return Served(
        type=resource["resourceType"],
        id=resource["id"],
        version="3",
        last_updated_us=NOW_US,
        body=orjson.dumps(resource),
    )


SUBJECT = {"subject": {"reference": "Patient/p1"}}
RECORD: list[dict[str, Any]] = [
    {
        "resourceType": "MedicationRequest",
        "id": "m1",
        "status": "active",
        "intent": "order",
        "medicationReference": {"reference": "Medication/d1"},
        "requester": {"reference": "Practitioner/x1"},
        "encounter": {"reference": "Encounter/e1"},
        **SUBJECT,
    },
    {"resourceType": "MedicationRequest", "id": "m2", "status": "stopped", "intent": "order"}
    | {"medicationCodeableConcept": {"text": "old"}}
    | SUBJECT,
    {
        "resourceType": "Observation",
        "id": "v1",
        "status": "final",
        "code": {"text": "Pulse"},
        "category": [{"coding": [{"code": "vital-signs"}]}],
        "meta": {
            "security": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality",
                    "code": "R",
                }
            ]
        },
        **SUBJECT,
    },
    {"resourceType": "Observation", "id": "o9", "status": "preliminary", "code": {"text": "x"}}
    | SUBJECT,
]


def test_a_section_takes_what_its_table_says_once():
    chosen = choose(PLAN, INDEX, [served(one) for one in RECORD])
    assert [one.id for one in chosen] == ["m1", "v1"]
    assert wanted(PLAN, chosen) == {"Medication": ["d1"], "Practitioner": ["x1"]}


def test_a_document_is_valid_and_its_ids_follow_its_content():
    chosen = choose(PLAN, INDEX, [served(one) for one in RECORD])
    patient = served({"resourceType": "Patient", "id": "p1"})
    drug = served({"resourceType": "Medication", "id": "d1", "code": {"text": "Aspirin"}})

    def made(content: Content, now_us: int = NOW_US) -> dict[str, Any]:
        return orjson.loads(document(PLAN, INDEX, content, BASE, now_us))  # type: ignore[no-any-return]  # a Bundle

    whole = made(Content(patient=patient, chosen=chosen, beside=[drug]))
    assert validate(whole) == ()
    composition = whole["entry"][0]["resource"]
    assert composition["confidentiality"] == "R"
    titles = [section["title"] for section in composition["section"]]
    kept = [section.title for section in PLAN.sections if section.is_kept]
    assert set(titles) == {*kept, "Vital signs"}
    later = made(Content(patient=patient, chosen=chosen, beside=[drug]), NOW_US + 10**9)
    assert later["id"] == whole["id"]
    assert later["timestamp"] != whole["timestamp"]
    less = made(Content(patient=patient, chosen=chosen[:1], beside=[drug]))
    assert less["id"] != whole["id"]
    nothing = made(Content(patient=patient, chosen=[], beside=[]))
    assert all("emptyReason" in s for s in nothing["entry"][0]["resource"]["section"])
    assert validate(nothing) == ()


@pytest.mark.parametrize(
    ("before", "after", "place"),
    [
        ('type = "60591-5"', "type = 1", "document.type"),
        ('beside = ["Device"', 'beside = ["Devise"', "document.beside"),
        ('title = "Problems"', "titel = 1", "section[0]"),
        ('type = "Condition"', 'type = "Problem"', "section[0].take[0].type"),
        ("newest = 1", "newest = -1", "take[0].newest"),
        ("only = { status", "only = 7 #", "only"),
        ('shows = [["Problem", "code"]', 'shows = [["Problem"]', "shows"),
        ("[document]\ntype", "[document\ntype", ""),
    ],
)
def test_a_wrong_table_is_refused_with_its_place(
    tmp_path: Path, before: str, after: str, place: str
):
    text = (ROOT / "config/fhir/summary.toml").read_text()
    assert before in text
    (tmp_path / "summary.toml").write_text(text.replace(before, after, 1))
    with pytest.raises(HieError) as refused:
        load_summary(tmp_path, INDEX.types)
    assert "summary.toml" in refused.value.text
    assert place in refused.value.text


def test_the_table_keeps_what_the_guide_requires_and_recommends():
    kept = {section.code for section in PLAN.sections if section.is_kept}
    assert {"11450-4", "48765-2", "10160-0", "11369-6", "47519-4", "30954-2", "46264-8"} <= kept
    assert isinstance(PLAN, SummaryPlan)


async def test_operations_refuse_what_they_cannot_answer():
    async with running_api() as hub:
        for path, told in (
            ("Observation/$lastn?patient=1", "category"),
            ("Observation/$lastn?code=1", "patient"),
            ("Observation/$lastn?patient=1&code=1&max=0", "max"),
            ("Observation/$lastn?patient=1&code=1&_sort=date", "_sort"),
            ("Observation/$lastn?patient=1&code=1&_include:iterate=x", "_include"),
            ("DocumentReference/$docref?patient=1&on-demand=maybe", "on-demand"),
            ("DocumentReference/$docref?patient=1&profile=x", "profile"),
            ("Patient/p1/$everything?_since=then", "_since"),
            ("Patient/p1/$everything?start=then", "start"),
            ("Patient/p1/$summary?profile=x", "profile"),
            ("Observation/$meta?x=1", "x"),
        ):
            reply = await hub.get(f"/fhir/{path}")
            assert (reply.status, told in reply.texts) == (400, True), path
        reply = await hub.get("/fhir/Observation/$meta")
        assert reply.json["parameter"][0]["valueMeta"]["tag"][0]["code"] == "Observation"
