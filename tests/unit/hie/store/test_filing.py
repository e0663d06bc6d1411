"""Whom a served version is told to be about."""

import pytest

from hie.store.body import Opened, decode, encode, filed
from hie.store.filing import Filing, People

NOBODY = People(of_record={}, seen=frozenset())


def opened(*records, named=None):
    """A body about some records, as it is stored; `named`: what it says of them."""
    members = [{"entity": {"reference": f"Patient/{record}"}} for record in records]
    body = {"resourceType": "Group", "id": "g", "member": members}
    stored = encode(body, {record: n for n, record in enumerate(records)}, lambda _: False)
    return Opened(filed(stored, records if named is None else named))


def names(body, *now, people=NOBODY, is_panel=False, is_own=False):
    """What a version's patients are told to be; `now`: record and person, its own first."""
    (record, person), *others = now
    further = [(p, r) for r, p in others]
    filing = Filing(body, is_panel, person, record, further)
    return filing.names(people, is_own=is_own), set(filing.former)


def test_a_version_is_told_as_of_whom_its_record_is_of_now():
    assert names(opened("r1"), ("r1", "after")) == (["after"], set())


def test_a_version_names_its_own_people_whatever_order_they_have_now():
    now = (("r2", "p2"), ("r3", "p3"), ("r1", "p1"))
    assert names(opened("r1", "r2"), *now) == (["p1", "p2"], set())


def test_what_was_about_somebody_else_is_its_source_s_alone():
    body, now = opened("r1"), ("r2", "p2")
    people = People(of_record={"r1": "p1"}, seen=frozenset())
    assert names(body, now, people=people) == ([], {"r1"})
    assert names(body, now, people=people, is_own=True) == (["r1"], {"r1"})


def test_a_record_that_its_source_merged_is_the_same_person_s():
    people = People(of_record={"r1": "p2"}, seen=frozenset())
    assert names(opened("r1"), ("r2", "p2"), people=people) == (["p2"], {"r1"})


def test_two_records_of_one_person_stay_two():
    now = (("r1", "same"), ("r2", "same"))
    assert names(opened("r1", "r2"), *now) == (["same", "same"], set())


@pytest.mark.parametrize("is_own", [True, False])
def test_a_member_of_a_panel_whom_its_reader_may_not_see_keeps_the_name_of_the_record(is_own):
    now = (("r1", "p1"), ("r2", "p2"))
    people = People(of_record={}, seen={"p2"})
    told, _ = names(opened("r1", "r2"), *now, people=people, is_panel=True, is_own=is_own)
    assert told == ["r1", "p2"]


def test_bodies_from_before_are_told_while_nobody_left():
    old = opened("r1", "r2", named=())
    assert names(old, ("r1", "p1"), ("r2", "p2")) == (["p1", "p2"], set())
    assert names(old, ("r1", "p1")) == ([], set())


def test_a_deletion_and_what_is_about_nobody_have_no_people():
    assert names(None, ("r1", "p1")) == (["p1"], set())
    assert Filing(opened(), False, None, None, ()).names(NOBODY, is_own=False) == [""]


def test_whose_a_body_is_stays_out_of_what_is_told_and_read_back():
    stored = filed(encode({"resourceType": "Basic", "id": "b"}, {"r1": 0}, lambda _: False), ["r1"])
    assert b"r1" not in Opened(stored).filled("b", 1, 0, b'{"code":"N"}', ["p1"])
    assert decode(stored, resource_id="b", records=["r1"]) == {
        "resourceType": "Basic",
        "id": "b",
        "meta": {"security": []},
    }
    assert filed(b"", ["r1"]) == b""
