"""Page links tell nothing and fit nobody else."""

import base64
from dataclasses import replace

import pytest

from fhir_server.search.cursor import Place, open_token, seal
from hie.crypto import KeyRing
from hie.kernel.context import Caller
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import OrganizationId, PersonId

SEALER = KeyRing.ephemeral().sealing_key("cursor")
CALLER = Caller(token_id="t1", organization=OrganizationId("org1"), user="dr")
PLACE = Place(position="[17]", params=(("name", "Zyxwvut"), ("_count", "5")))


def test_a_token_opens_to_the_place_it_was_made_of():
    token = seal(PLACE, SEALER, CALLER, "Patient")
    assert open_token(token, SEALER, CALLER, "Patient") == PLACE


def test_a_token_survives_a_fresh_access_token():
    token = seal(PLACE, SEALER, CALLER, "Patient")
    assert open_token(token, SEALER, replace(CALLER, token_id="t2"), "Patient") == PLACE


def test_a_token_tells_no_search_value():
    token = seal(PLACE, SEALER, CALLER, "Patient")
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert b"Zyxwvut" not in raw
    assert token != seal(PLACE, SEALER, CALLER, "Patient")


@pytest.mark.parametrize(
    "caller",
    [
        replace(CALLER, organization=OrganizationId("org2")),
        replace(CALLER, user="other"),
        replace(CALLER, patient=PersonId("p1")),
        replace(CALLER, purpose="HRESCH"),
    ],
)
def test_a_token_is_nothing_in_another_callers_hand(caller: Caller):
    token = seal(PLACE, SEALER, CALLER, "Patient")
    with pytest.raises(HieError) as raised:
        open_token(token, SEALER, caller, "Patient")
    assert raised.value.category is Category.INVALID


def test_a_token_is_nothing_at_another_address():
    token = seal(PLACE, SEALER, CALLER, "Patient")
    with pytest.raises(HieError):
        open_token(token, SEALER, CALLER, "Observation")


@pytest.mark.parametrize("token", ["", "x", "!!!", "QUJD", "ä", "A" * 5000])
def test_what_is_no_token_is_refused(token: str):
    with pytest.raises(HieError) as raised:
        open_token(token, SEALER, CALLER, "Patient")
    assert raised.value.category is Category.INVALID


def test_a_token_that_was_changed_is_refused():
    for longer in ("", "1", "12"):  # of each length modulo 3: the last letter may have spare bits
        place = replace(PLACE, position=PLACE.position + longer)
        token = seal(place, SEALER, CALLER, "Patient")
        for at in (*range(0, len(token), 7), len(token) - 1):
            for letter in {"A", "B", "Q", "_"} - {token[at]}:
                changed = token[:at] + letter + token[at + 1 :]
                with pytest.raises(HieError):
                    open_token(changed, SEALER, CALLER, "Patient")
