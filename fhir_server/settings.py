"""Settings of the FHIR server."""

from collections.abc import Callable, Collection
from dataclasses import dataclass


def alone(organization: str) -> Collection[str]:
    """An organisation of which nothing is known: itself."""
    return (organization,)


@dataclass(frozen=True, slots=True, kw_only=True)
class FhirSettings:
    """How the FHIR API presents itself and what it takes.

    Attributes:
        base_url: what clients call the API by, without a slash at the end; it stands in
            every link and fullUrl.
        default_count: resources on a page of a search or history that asks for no number.
        max_count: the most a page may have; a larger `_count` is taken as this.
        max_body_bytes: the largest request body, after decompression.
        max_criteria: parameters and comma-separated values one search may have in all.
        software_version: of the hub, for the CapabilityStatement.
        cors_origins: origins whose pages may call the API from a browser.
        auth_url: base of the authorization server, named in the CapabilityStatement; "" = none.
        topics: canonical URLs that can be subscribed to.
        websocket_url: where websockets of subscriptions connect; "" = nowhere.
        lineage: an organisation's id to its own and those above it.
    """

    base_url: str = "http://127.0.0.1:8080/fhir"
    default_count: int = 20
    max_count: int = 200
    max_body_bytes: int = 50 * 1024 * 1024
    max_criteria: int = 200
    software_version: str = "0.1.0"
    cors_origins: frozenset[str] = frozenset()
    auth_url: str = ""
    topics: tuple[str, ...] = ()
    websocket_url: str = ""
    lineage: Callable[[str], Collection[str]] = alone
