"""A visit through its events: what changes is kept, what is taken back is as before."""

from typing import Any

import pytest

from hie.flow.visit import continued, kept_numbers
from hie.kernel.fhir import FhirJson

T1, T2, T3 = "2026-01-01", "2026-01-02", "2026-01-03"


def at(place: str, status: str = "active", **more: Any) -> FhirJson:
    return {"location": {"reference": f"Location/{place}"}, "status": status, **more}


def with_part(role: str, who: str, **period: str) -> FhirJson:
    found: FhirJson = {
        "type": [{"coding": [{"code": role}]}],
        "individual": {"reference": f"Practitioner/{who}"},
    }
    return {**found, "period": period} if period else found


def after(old: FhirJson, *events: tuple[FhirJson, str, tuple[str, ...]]) -> FhirJson:
    """A visit after events, each with its time and what it takes back."""
    for said, since, undoes in events:
        base, told = continued(old, said, since, undoes)
        old = {name: value for name, value in {**base, **told}.items() if value is not None}
    return old


def places(visit: FhirJson) -> list[tuple[str, str]]:
    return [(p["location"]["reference"][-1], p["status"]) for p in visit.get("location", [])]


def test_the_place_before_ends_when_the_next_begins():
    visit = after({"location": [at("a")]}, ({"location": [at("b")]}, T2, ()))
    assert visit["location"] == [
        at("a", "completed", period={"end": T2}),
        at("b", period={"start": T2}),
    ]


def test_the_same_place_again_changes_nothing():
    visit = {"location": [at("a", period={"start": T1})]}
    assert after(visit, ({"location": [at("a")]}, T2, ())) == visit


def test_a_move_taken_back_leaves_the_place_before_as_it_was():
    visit = {"location": [at("a", period={"start": T1})]}
    moved = ({"location": [at("b")]}, T2, ())
    back = ({"location": [at("a")]}, T3, ("location",))
    assert after(visit, moved, back) == visit


def test_a_move_taken_back_that_was_never_heard_of_says_where_the_patient_is():
    back = ({"location": [at("a")]}, T3, ("location",))
    assert places(after({"location": [at("b")]}, back)) == [("b", "completed"), ("a", "active")]
    assert places(after({}, back)) == [("a", "active")]


def test_a_patient_who_comes_back_has_been_there_twice():
    visit = after(
        {"location": [at("a")]},
        ({"location": [at("b")]}, T2, ()),
        ({"location": [at("a")]}, T3, ()),
    )
    assert places(visit) == [("a", "completed"), ("b", "completed"), ("a", "active")]


def test_a_reserved_place_waits_until_it_is_taken_or_given_up():
    reserved = ({"location": [at("a"), at("b", "reserved")]}, T2, ())
    visit = after({"location": [at("a")]}, reserved, ({"location": [at("a")]}, T3, ()))
    assert places(visit) == [("a", "active"), ("b", "reserved")]
    taken = after(visit, ({"location": [at("b")]}, T3, ()))
    assert places(taken) == [("a", "completed"), ("b", "active")]
    given_up = after(visit, ({"location": [at("a")]}, T3, ("location:reserved",)))
    assert places(given_up) == [("a", "active")]


def test_a_place_the_message_says_was_left_is_not_there_twice():
    visit = after({"location": [at("a")]}, ({"location": [at("b"), at("a", "completed")]}, T2, ()))
    assert places(visit) == [("a", "completed"), ("b", "active")]


def test_a_message_without_a_place_leaves_every_place():
    visit = {"location": [at("a")]}
    assert after(visit, ({"status": "onleave"}, T2, ()))["location"] == [at("a")]


def test_who_had_a_part_before_keeps_the_time_of_it():
    visit = after(
        {"participant": [with_part("ATND", "x"), with_part("CON", "c")]},
        ({"participant": [with_part("ATND", "y")]}, T2, ()),
    )
    assert visit["participant"] == [
        with_part("ATND", "x", end=T2),
        with_part("CON", "c"),  # the message does not speak of consultants
        with_part("ATND", "y", start=T2),
    ]
    back = after(visit, ({"participant": [with_part("ATND", "x")]}, T3, ("participant:ATND",)))
    assert back["participant"] == [with_part("CON", "c"), with_part("ATND", "x")]


def test_a_class_before_is_kept_with_its_time():
    visit = after(
        {"class": {"code": "EMER"}, "period": {"start": T1}},
        ({"class": {"code": "IMP"}}, T2, ()),
        ({"class": {"code": "IMP"}}, T2, ()),
        ({"class": {"code": "AMB"}}, T3, ()),
    )
    assert visit["classHistory"] == [
        {"class": {"code": "EMER"}, "period": {"start": T1, "end": T2}},
        {"class": {"code": "IMP"}, "period": {"start": T2, "end": T3}},
    ]


def test_a_change_of_class_at_a_time_nobody_says_has_no_history():
    visit = after({"class": {"code": "EMER"}}, ({"class": {"code": "IMP"}}, "", ()))
    assert "classHistory" not in visit  # R4 wants its period


@pytest.mark.parametrize("path", ["period.end", "status", "hospitalization.destination"])
def test_any_element_can_be_taken_back(path: str):
    visit: FhirJson = {
        "status": "finished",
        "period": {"start": T1, "end": T2},
        "hospitalization": {"destination": {"display": "Home"}, "admitSource": {}},
    }
    name, _, part = path.partition(".")
    base, _ = continued(visit, {}, T3, (path,))
    assert (part not in base[name]) if part else (name not in base)
    assert visit["period"]["end"] == T2  # what is stored is not touched


def test_an_extension_is_taken_back_by_its_url():
    visit = {"extension": [{"url": "end"}, {"url": "start"}]}
    assert after(visit, ({}, T2, ("extension:end",)))["extension"] == [{"url": "start"}]


def test_retired_numbers_stay_beside_new_ones():
    old = {"identifier": [{"value": "V2"}, {"value": "V1", "use": "old"}]}
    said = kept_numbers(old, {"identifier": [{"value": "V2"}]})
    assert said["identifier"] == [{"value": "V2"}, {"value": "V1", "use": "old"}]
    revived = kept_numbers(old, {"identifier": [{"value": "V1"}]})
    assert revived["identifier"] == [{"value": "V1"}]
    assert kept_numbers(old, {"status": "planned"}) == {"status": "planned"}
