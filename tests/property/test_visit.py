"""A visit after any events: one present place, every place left with its end, moves undone."""

from hypothesis import given
from hypothesis import strategies as st

from hie.flow.visit import continued
from hie.kernel.fhir import FhirJson

PLACES = st.sampled_from("abcd")
#: A move to a place, or to where the patient is; a status alone; a move taken back.
EVENTS = st.lists(
    st.one_of(st.tuples(st.just("move"), PLACES), st.tuples(st.just("status"), st.just(""))),
    max_size=12,
)


def at(place: str) -> list[FhirJson]:
    return [{"location": {"reference": f"Location/{place}"}, "status": "active"}]


def after(visit: FhirJson, said: FhirJson, day: int, undoes: tuple[str, ...] = ()) -> FhirJson:
    base, told = continued(visit, said, f"2026-01-{day:02}", undoes)
    return {**base, **told}


def told(events: list[tuple[str, str]]) -> FhirJson:
    visit: FhirJson = {"location": at("a")}
    for day, (kind, place) in enumerate(events, start=1):
        said = {"location": at(place)} if kind == "move" else {"status": "in-progress"}
        visit = after(visit, said, day)
    return visit


@given(EVENTS)
def test_a_patient_is_in_one_place_and_every_place_left_has_its_end(events: list[tuple[str, str]]):
    places = told(events)["location"]
    present = [p for p in places if p["status"] == "active"]
    assert len(present) == 1
    assert all("end" in p["period"] for p in places if p["status"] == "completed")
    moves = [place for kind, place in events if kind == "move"]
    assert present[0]["location"]["reference"][-1] == (moves or ["a"])[-1]


@given(EVENTS, PLACES)
def test_a_move_and_its_undoing_leave_the_visit_as_it_was(
    events: list[tuple[str, str]], place: str
):
    visit = told(events)
    here = next(p for p in visit["location"] if p["status"] == "active")
    moved = after(visit, {"location": at(place)}, 20)
    if moved == visit:
        return  # the patient was there already: nothing to take back
    back = {"location": at(here["location"]["reference"][-1])}
    assert after(moved, back, 21, ("location",)) == visit


@given(EVENTS, PLACES)
def test_the_same_statement_twice_changes_nothing(events: list[tuple[str, str]], place: str):
    once = after(told(events), {"location": at(place)}, 20)
    assert after(once, {"location": at(place)}, 21) == once
