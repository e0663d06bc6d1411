"""A patch that says some entries of a list only: the others stay, the same are said anew."""

from dataclasses import replace
from typing import Any

import pytest

from hie.flow.state import Change, Stamp, patched
from hie.kernel.envelope import WriteMode

DAN = {"actor": {"reference": "Practitioner/1"}, "status": "accepted"}
ROOM = {"actor": {"display": "Room 7"}, "status": "tentative"}
VISIT = {"type": [{"text": "Visit"}], "status": "accepted"}
OLD = {"resourceType": "Appointment", "participant": [DAN, ROOM, VISIT]}


def change(said: dict[str, Any], *adds: str) -> Change:
    stamp = Stamp(event_us=2, sent_us=2, message_id=2)
    return Change(stamp=stamp, mode=WriteMode.PATCH, resource=said, adds=adds)


@pytest.mark.parametrize(
    ("entry", "kept"),
    [
        ({**DAN, "status": "declined"}, [ROOM, VISIT]),
        ({**ROOM, "status": "accepted"}, [DAN, VISIT]),
        ({**VISIT, "status": "declined"}, [DAN, ROOM]),
        ({"actor": {"reference": "Practitioner/2"}, "status": "accepted"}, [DAN, ROOM, VISIT]),
        ({**DAN, "required": "information-only"}, [DAN, ROOM, VISIT]),
    ],
)
def test_an_entry_takes_the_place_of_what_was_said_of_the_same(entry, kept):
    found = patched(OLD, change({"participant": [entry]}, "participant"))
    assert found["participant"] == [*kept, entry]


def test_a_list_the_patch_does_not_add_to_is_the_patchs():
    assert patched(OLD, change({"participant": [DAN]}))["participant"] == [DAN]


def test_a_list_nobody_speaks_of_is_not_made():
    assert "comment" not in patched(OLD, change({}, "participant", "comment"))
    assert patched(OLD, change({}, "participant"))["participant"] == OLD["participant"]


def test_the_same_statement_twice_changes_nothing():
    said = change({"participant": [{**DAN, "status": "declined"}]}, "participant")
    once = patched(OLD, said)
    assert patched(once, replace(said)) == once
