"""Limits of the wires in `config/hie.toml` and the environment: kind of value, and order."""

import pytest

from hie.kernel.errors import HieError
from hie.settings import load_settings


def test_the_committed_limits_can_be_read():
    limits = load_settings({}).limits
    assert 0 < limits.backlog_low < limits.backlog_high
    assert limits.connections_each < limits.connections


def test_a_backlog_may_have_no_mark():
    assert load_settings({"HIE_BACKLOG_HIGH": "0"}).limits.backlog_high == 0


def test_answers_name_the_address_that_clients_know():
    behind = load_settings({"HIE_BASE_URL": "https://hub.example"}).listen
    assert (behind.fhir, behind.websocket) == ("https://hub.example/fhir", "wss://hub.example")
    assert behind.local_fhir == "http://127.0.0.1:8080/fhir"
    direct = load_settings({"HIE_HTTP_PORT": "9000"}).listen
    assert (direct.fhir, direct.websocket) == (direct.local_fhir, "ws://127.0.0.1:9000")


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("HIE_CONNECTIONS_EACH", "0", "`HIE_CONNECTIONS_EACH`: expected a whole number above 0"),
        ("HIE_KEEPALIVE_SECONDS", "soon", "`HIE_KEEPALIVE_SECONDS`: expected a whole number"),
        ("HIE_FRAME_SECONDS", "-1", "`HIE_FRAME_SECONDS`: expected a whole number above 0"),
        ("HIE_HELD_BYTES", "1e6", "`HIE_HELD_BYTES`: expected a whole number above 0"),
        ("HIE_BACKLOG_HIGH", "-5", "`HIE_BACKLOG_HIGH`: expected a whole number, 0 for no mark"),
        ("HIE_BACKLOG_LOW", "50000", "`limits.backlog_low`: expected a whole number below"),
        ("HIE_BASE_URL", "http://hub.example", "`HIE_BASE_URL`: expected an origin as"),
        ("HIE_BASE_URL", "https://hub.example/fhir", "`HIE_BASE_URL`: expected an origin as"),
    ],
)
def test_a_wrong_limit_is_told_by_name_and_kind(variable: str, value: str, told: str):
    with pytest.raises(HieError) as caught:
        load_settings({variable: value})
    assert told in caught.value.issues[0].text
