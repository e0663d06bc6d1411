"""The recheck of what is about to leave."""

import pytest

from consent.confine import Reach, confined
from consent.enforce import recheck
from hie.kernel.errors import Category, HieError
from tests.support.consents import consent, facts, law, provision, read, request

PERMIT = read(consent(provision("permit", provision("deny", labels=["PSY"]))))


def test_what_is_permitted_leaves_with_its_obligations():
    release = read(
        consent(provision("permit", actors=["clinic"], purposes=["TREAT"], labels=["HIV"]))
    )
    leaving = [facts(id="r1"), facts(id="r2", labels=["HIV"]), facts(id="r2", labels=["HIV"])]
    obligations = recheck(request("clinic"), leaving, {"p1": PERMIT + release}, law())
    assert [o.code for o in obligations] == ["hiv-notice"]


@pytest.mark.parametrize(
    "slipped",
    [
        facts(labels=["PSY"]),
        facts(labels=["HIV"]),
        facts(person_id="p2"),
        facts(person_id=None),
        facts(labels=["PSY"], is_partial=True),
    ],
)
def test_one_denied_resource_stops_the_whole_answer(slipped):
    with pytest.raises(HieError) as stopped:
        recheck(request("clinic"), [facts(id="r9"), slipped], {"p1": PERMIT}, law())
    assert stopped.value.category is Category.FAULT
    assert "p1" not in stopped.value.text


def test_a_row_of_the_other_side_is_not_taken_for_one_that_was_judged():
    reach = Reach(opens=frozenset({"record-1"}))
    narrow = tuple(confined(directive, reach) for directive in PERMIT)
    here, there = (facts(id=f"r{n}", source_record_id=f"record-{n}") for n in (1, 2))
    assert recheck(request("clinic"), [here], {"p1": narrow}, law()) == ()
    with pytest.raises(HieError) as stopped:
        recheck(request("clinic"), [here, there], {"p1": narrow}, law())
    assert stopped.value.category is Category.FAULT


def test_an_empty_answer_leaves():
    assert recheck(request("clinic"), [], {}, law()) == ()
