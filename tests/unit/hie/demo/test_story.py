"""The story: told in order, in time, about everybody, in the words of each source."""

from collections import Counter
from datetime import timedelta

import pytest

from hie.demo import events as e
from hie.demo.story import tell
from hie.demo.world import Case


@pytest.fixture(scope="module")
def told(scene):
    return tell(scene.world, scene.lists)


def test_the_story_is_the_same_every_time(scene, told):
    assert tell(scene.world, scene.lists) == told


def test_every_source_tells_in_order_of_time(told):
    for events in told.values():
        assert [x.at for x in events] == sorted(x.at for x in events)


def test_nothing_happens_after_the_last_day(scene, told):
    end = scene.world.as_of + timedelta(days=1)
    assert all(x.at < end for events in told.values() for x in events)


def test_every_registration_is_told(scene, told):
    told_of = {(x.source, x.value) for events in told.values() for x in events}
    truth = {(k.source, k.value) for k in scene.world.truth()}
    assert told_of == truth


def test_a_hospital_registers_before_it_tells_anything_else(told, scene):
    for source, events in told.items():
        if scene.lists.senders[source].kind != "hospital":
            continue
        seen = set()
        for x in events:
            if isinstance(x.detail, e.Registered):
                seen.add(x.value)
            assert x.value in seen


def test_a_visit_begins_before_it_changes_and_ends_last(told):
    order = {e.Step.ARRIVE: 0, e.Step.UPDATE: 1, e.Step.LEAVE: 2, e.Step.CANCEL: 2}
    steps: dict[tuple[str, str], list[e.Step]] = {}
    for events in told.values():
        for x in events:
            if isinstance(x.detail, e.VisitStep):
                steps.setdefault((x.source, x.detail.visit.number), []).append(x.detail.step)
    assert steps
    for found in steps.values():
        assert found[0] is e.Step.ARRIVE
        assert [order[s] for s in found] == sorted(order[s] for s in found)
        assert not {e.Step.LEAVE, e.Step.CANCEL} <= set(found)


def test_a_doubled_record_says_nothing_after_its_merge(told):
    for events in told.values():
        retired = set()
        for x in events:
            assert x.value not in retired
            if isinstance(x.detail, e.Merged):
                retired.add(x.detail.retired)


def test_every_doubled_person_is_merged(scene, told):
    merged = {
        x.person for events in told.values() for x in events if isinstance(x.detail, e.Merged)
    }
    assert merged == {p.number for p in scene.world.people if p.case is Case.DUPLICATE}


def test_numbers_of_orders_documents_and_visits_are_unique_in_a_source(told):
    numbers: Counter[tuple[object, ...]] = Counter()
    for events in told.values():
        for x in events:
            if isinstance(x.detail, e.LabReport):
                numbers[x.source, x.detail.filler] += 1
            if isinstance(x.detail, e.Documented):
                numbers[x.source, x.detail.number] += 1
            if isinstance(x.detail, e.Dispensed):
                numbers[x.source, x.detail.prescription.number, x.detail.fill] += 1
    assert max(numbers.values()) == 1


def test_results_are_flagged_by_their_range(told):
    flags: Counter[str] = Counter()
    for events in told.values():
        for x in events:
            if isinstance(x.detail, e.LabReport):
                for result in x.detail.results:
                    flags[result.flag] += 1
                    test = result.test
                    if test.low is not None and test.high is not None and not test.answers:
                        value = float(result.value)
                        is_normal = test.low <= value <= test.high
                        assert (result.flag == "N") == is_normal
    assert {"N", "L", "H", "A"} <= set(flags)


def test_the_heroine_is_told_of_by_all_five(scene, told):
    sources = {
        source
        for source, events in told.items()
        if any(x.person == scene.world.heroine.number for x in events)
    }
    assert sources == set(scene.lists.senders)


def test_there_is_sensitive_data_of_every_kind(told):
    codes = set()
    for events in told.values():
        for x in events:
            if isinstance(x.detail, e.VisitStep):
                codes |= {c.code for c in x.detail.visit.conditions}
                codes.add(x.detail.visit.reason.code)
    assert {"B20", "F11.20", "F32.9"} <= codes
    assert codes & {"A56.2", "Z11.4"}
