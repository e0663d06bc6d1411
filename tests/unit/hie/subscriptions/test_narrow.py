"""Who is in a panel, and when; numbers in a search."""

from hie.store.dates import span
from hie.subscriptions.narrow import by_number, is_member, members_of, numbers_of

GROUP = {
    "resourceType": "Group",
    "member": [
        {"entity": {"reference": "Patient/p1"}, "period": {"start": "2026-01", "end": "2026-02"}},
        {"entity": {"reference": "Patient/p2"}, "inactive": True},
        {"entity": {"identifier": {"system": "urn:a", "value": "1"}}},
        {"entity": {"identifier": {"system": "urn:a", "value": "2"}}},
        {"entity": {"reference": "Device/d1"}},
        {"entity": {"display": "somebody"}},
    ],
}


def at(text: str) -> int:
    found = span(text)
    assert found is not None
    return found[0]


def test_a_member_counts_in_its_period() -> None:
    members = members_of(GROUP, {("urn:a", "1"): "p3"})
    assert set(members) == {"p1", "p3"}
    assert not is_member(members, "p1", at("2025-12-31"))
    assert is_member(members, "p1", at("2026-02-28"))
    assert not is_member(members, "p1", at("2026-03-01"))
    assert is_member(members, "p3", at("1999-01-01"))
    assert not is_member(members, "p2", at("2026-01-15"))


def test_nobody_is_in_a_group_that_is_off_or_absent() -> None:
    assert not members_of({**GROUP, "active": False}, {})
    assert not members_of(None, {})
    assert numbers_of(None) == []
    assert numbers_of(GROUP) == [("urn:a", "1"), ("urn:a", "2")]


def test_a_number_is_escaped_in_a_search() -> None:
    assert by_number("urn:a", "1,2|3$4\\5") == ("identifier", "urn:a|1\\,2\\|3\\$4\\\\5")
