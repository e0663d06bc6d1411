"""Where notifications may go: no address inside the hub's own network, however it is written."""

import ipaddress

import pytest

from hie.subscriptions.endpoint import Guard
from hie.subscriptions.policy import EndpointRules

PRODUCTION = Guard(EndpointRules())
DEVELOPMENT = Guard(EndpointRules(is_development=True))


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.org/told",
        "https://hooks.example.org:8443/told?key=1",
        "https://93.184.216.34/told",
        "https://[2606:2800:220:1:248:1893:25c8:1946]/told",
    ],
)
def test_https_to_a_public_host_is_allowed(url: str) -> None:
    assert PRODUCTION.check_url(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.org/told",
        "https://127.0.0.1/told",
        "https://[::1]/told",
        "https://10.1.2.3/",
        "https://172.16.0.1/",
        "https://192.168.0.1/",
        "https://169.254.169.254/",
        "https://100.64.0.1/",
        "https://[fd00::1]/",
        "https://[::ffff:10.1.2.3]/",
        "https://[64:ff9b::10.1.2.3]/",
        "https://[2002:a01:203::1]/",
        "https://0.0.0.0/",
        "https://224.0.0.1/",
        "https://hooks.example.org/#part",
        "https://user@hooks.example.org/",
        "https://hooks.example.org:99999/",
        "https://hooks.example.org/\u00e9",
        "file:///etc/passwd",
        "gopher://hooks.example.org/",
    ],
)
def test_anything_else_is_refused(url: str) -> None:
    assert PRODUCTION.check_url(url)


async def test_a_name_that_means_this_machine_is_not_connected_to() -> None:
    assert PRODUCTION.check_url("https://localhost/told") is None  # a name, until it is looked up
    with pytest.raises(OSError, match="not one notifications may go to"):
        await PRODUCTION.addresses("localhost", 443)
    assert await DEVELOPMENT.addresses("localhost", 443)


def test_development_takes_http_to_this_machine_alone() -> None:
    assert DEVELOPMENT.check_url("http://127.0.0.1:8000/told") is None
    assert DEVELOPMENT.check_url("http://localhost:8000/told") is None
    assert DEVELOPMENT.check_url("http://10.0.0.1/told")
    assert DEVELOPMENT.check_url("http://hooks.example.org/told")


def test_what_the_policy_names_is_allowed() -> None:
    guard = Guard(EndpointRules(allowed=("10.1.2.0/24", "hooks.internal")))
    assert guard.check_url("https://10.1.2.3/told") is None
    assert guard.check_url("https://10.1.3.3/told")
    assert guard.allows("hooks.internal", ipaddress.ip_address("10.9.9.9"))
    assert not guard.allows("other.internal", ipaddress.ip_address("10.9.9.9"))
