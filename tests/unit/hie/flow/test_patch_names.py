"""What a patch that names persons comes to among the records that are kept."""

from hie.flow.patching import _renamed, _with_references


def group(*members):
    return {"member": [{"entity": {"reference": f"Patient/{one}"}} for one in members]}


def test_two_members_that_are_one_person_now_stay_two():
    names = _renamed(group("p", "p", "q"), group("r1", "r2", "r3"))
    assert _with_references(group("p", "p", "q"), names) == group("r1", "r2", "r3")


def test_who_is_named_once_more_is_the_last_of_them():
    names = _renamed(group("p", "p"), group("r1", "r2"))
    assert _with_references(group("p", "p", "p"), names) == group("r1", "r2", "r2")


def test_what_is_no_name_stays_as_it_is():
    consent = {"provision": {"data": [{"reference": {"reference": "Observation/o"}}]}}
    assert _renamed(consent, consent) == {}
    told = _with_references(consent, {"Patient/p": ["Patient/r1"]})
    assert told == {"provision": {"data": [{"reference": {"reference": "Observation/o"}}]}}
