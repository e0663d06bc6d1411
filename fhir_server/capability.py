"""The CapabilityStatement, computed from what routes requests and answers searches (pure).

Spec: https://hl7.org/fhir/R4/capabilitystatement.html
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import orjson

from adapters.fhir.json_patch import MEDIA_TYPE as JSON_PATCH
from adapters.fhir.merge_patch import MEDIA_TYPE as MERGE_PATCH
from fhir_server.interactions.audit import SEARCHED as AUDIT_SEARCHED
from fhir_server.negotiate import FHIR_JSON
from fhir_server.offered import interactions_of
from fhir_server.operations.subscription_search import SEARCHED
from fhir_server.search.linked import included, reverse_included
from fhir_server.search.params import modifiers_of
from fhir_server.settings import FhirSettings
from hie.kernel.clock import instant
from hie.store.index import SearchIndex, SearchParam

#: What the base address offers.
SYSTEM_INTERACTIONS: Final = {
    "transaction": ("transaction", "batch"),
    "search-system": ("search-system",),
}
#: What a server says that offers bulk exports.
BULK_DATA: Final = "http://hl7.org/fhir/uv/bulkdata/CapabilityStatement/bulk-data"
#: What a patch may be written in, besides FHIR JSON (FHIRPath Patch).
PATCH_FORMATS: Final = (JSON_PATCH, MERGE_PATCH, FHIR_JSON)
#: Parameters every type has.
EVERYWHERE: Final = (
    {
        "name": "_id",
        "type": "token",
        "definition": "http://hl7.org/fhir/SearchParameter/Resource-id",
    },
    {
        "name": "_lastUpdated",
        "type": "date",
        "definition": "http://hl7.org/fhir/SearchParameter/Resource-lastUpdated",
    },
    {"name": "_has", "type": "special", "documentation": "`_has:Type:reference:parameter`"},
    {"name": "_list", "type": "special", "documentation": "ids of Lists"},
)
#: What keyed hashes cannot answer, by the type of the parameter.
_LACKING: Final = {
    "string": "its beginning (12 characters) or the whole, no contains, no sorting",
    "token": "no system alone, no sorting",
}
COMPARTMENTS: Final = "http://hl7.org/fhir/CompartmentDefinition/"
BACKPORT: Final = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"
TOPIC: Final = f"{BACKPORT}capabilitystatement-subscriptiontopic-canonical"
WEBSOCKET: Final = "http://hl7.org/fhir/StructureDefinition/capabilitystatement-websocket"
SECURITY_SERVICES: Final = "http://terminology.hl7.org/CodeSystem/restful-security-service"
OAUTH_URIS: Final = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"


class Routed(Protocol):
    """What of a route the statement tells."""

    @property
    def interaction(self) -> str:
        """FHIR's name, `search-type`, or the operation's, `everything`."""
        ...

    @property
    def method(self) -> str:
        """Of HTTP."""
        ...

    @property
    def path(self) -> str:
        """Its address; `/{type}/...` stands at every type."""
        ...

    @property
    def of_type(self) -> str:
        """The resource type an operation stands at."""
        ...

    @property
    def definition(self) -> str:
        """The OperationDefinition; "" for an interaction."""
        ...

    @property
    def suits(self) -> Callable[[SearchIndex, str], bool] | None:
        """Whether an operation of every type has a meaning at one; None = at each."""
        ...


def capability_statement(
    routes: Iterable[Routed],
    index: SearchIndex,
    settings: FhirSettings,
    now_us: int,
    compartments: Sequence[str] = (),
    profiles: Mapping[str, Sequence[str]] | None = None,
) -> bytes:
    """The CapabilityStatement of this server as JSON.

    Args:
        routes: every route the server has.
        index: types and search parameters.
        settings: where the server is.
        now_us: when the statement was made: the start of the server.
        compartments: types whose compartments may be searched.
        profiles: urls of those that resources are judged by, by type.
    """
    listed = list(routes)
    offered = {route.interaction for route in listed}
    rest = _rest(listed, index, settings, compartments)
    for resource in rest["resource"]:
        if judged := (profiles or {}).get(resource["type"]):
            resource["supportedProfile"] = list(judged)
    return orjson.dumps(
        {
            "resourceType": "CapabilityStatement",
            "status": "active",
            "date": instant(now_us),
            "publisher": "the exchange's operator",
            "kind": "instance",
            **({"instantiates": [BULK_DATA]} if "export" in offered else {}),
            "software": {"name": "hie", "version": settings.software_version},
            "implementation": {
                "description": "Health information exchange hub",
                "url": settings.base_url,
            },
            "fhirVersion": "4.0.1",
            "format": ["application/fhir+json", "json"],
            "patchFormat": list(PATCH_FORMATS),
            "rest": [rest],
        }
    )


def _rest(
    listed: Sequence[Routed],
    index: SearchIndex,
    settings: FhirSettings,
    compartments: Sequence[str],
) -> dict[str, Any]:
    """What the server does for clients."""
    offered = {route.interaction for route in listed}
    reverse = reverse_included(index)
    rest: dict[str, Any] = {
        "mode": "server",
        "security": _security(settings),
        "resource": [
            _typed(name, listed, index, reverse[name])
            | (_subscriptions(settings) if name == "Subscription" else {})
            for name in index.types
        ],
        **_operations("", listed, index),
    }
    if compartments:
        rest["compartment"] = [f"{COMPARTMENTS}{c[0].lower()}{c[1:]}" for c in compartments]
    if settings.websocket_url:
        rest["extension"] = [{"url": WEBSOCKET, "valueUri": settings.websocket_url}]
    system = [code for name in SYSTEM_INTERACTIONS if name in offered for code in _codes(name)]
    if system:
        rest["interaction"] = [{"code": code} for code in system]
    return rest


def _codes(name: str) -> Sequence[str]:
    return SYSTEM_INTERACTIONS[name]


def _security(settings: FhirSettings) -> dict[str, Any]:
    # SMART is more than its scopes: a client would go and look for where to sign in.
    code = "SMART-on-FHIR" if settings.auth_url else "OAuth"
    told: dict[str, Any] = {
        "cors": bool(settings.cors_origins),
        "service": [{"coding": [{"system": SECURITY_SERVICES, "code": code}]}],
        "description": "bearer tokens with SMART scopes; what a caller may see follows consent"
        + ("" if settings.auth_url else "; tokens are given out by the operator"),
    }
    if settings.auth_url:
        ends = [
            {"url": name, "valueUri": f"{settings.auth_url}/{name}"}
            for name in ("authorize", "token", "introspect", "revoke")
        ]
        told["extension"] = [{"url": OAUTH_URIS, "extension": ends}]
    return told


def _typed(
    name: str, listed: Sequence[Routed], index: SearchIndex, reverse: Sequence[str]
) -> dict[str, Any]:
    """What stands at a type; Subscription is kept apart from what is included and labelled."""
    told = _resource(name, {route.interaction for route in listed}, index)
    if name == "AuditEvent":
        return told | _trail()
    if not told["interaction"]:
        sent = [one for one in listed if one.interaction == "validate" and "{id}" not in one.path]
        return _carrier(name) | _operations(name, sent, index)
    if name == "Subscription":
        listed = [one for one in listed if one.interaction != "meta"]
        return told | _operations(name, listed, index)
    return told | _includes(index, name, reverse) | _operations(name, listed, index)


def _carrier(name: str) -> dict[str, Any]:
    """A type that is never stored."""
    text = "never stored: what operations are asked with and what they answer"
    return {"type": name, "documentation": text}


def _subscriptions(settings: FhirSettings) -> dict[str, Any]:
    """What is different for Subscription, which is kept apart from other resources."""
    topics = [{"url": TOPIC, "valueCanonical": topic} for topic in settings.topics]
    return {
        "supportedProfile": [f"{BACKPORT}backport-subscription"],
        "versioning": "versioned-update",
        "readHistory": False,
        "updateCreate": False,
        "conditionalRead": "full-support",
        "conditionalCreate": False,
        "conditionalUpdate": False,
        "conditionalDelete": "not-supported",
        "searchParam": [{"name": name, "type": kind} for name, kind in SEARCHED.items()],
        **({"extension": topics} if topics else {}),
    }


def _trail() -> dict[str, Any]:
    """What is different for AuditEvent, which has one version and its own searches."""
    return {
        "versioning": "no-version",
        "readHistory": False,
        "searchParam": [{"name": name, "type": kind} for name, kind in AUDIT_SEARCHED.items()],
    }


def _resource(name: str, offered: set[str], index: SearchIndex) -> dict[str, Any]:
    done = [code for code in interactions_of(name) if code in offered]
    return {
        "type": name,
        "interaction": [{"code": code} for code in done],
        "versioning": "versioned",
        "readHistory": "history-instance" in done,
        "updateCreate": "update" in done,
        "conditionalCreate": "create" in done,
        "conditionalRead": "full-support",
        "conditionalUpdate": "update" in done,
        "conditionalDelete": "single" if "delete" in done else "not-supported",
        "referencePolicy": ["literal", "local"],
        "searchParam": [*EVERYWHERE, *(_param(param) for param in index.params(name))],
    }


def _includes(index: SearchIndex, name: str, reverse: Sequence[str]) -> dict[str, Any]:
    """FHIR JSON has no empty arrays."""
    told = {"searchInclude": included(index, name), "searchRevInclude": list(reverse)}
    return {key: values for key, values in told.items() if values}


def _stands_at(route: Routed, of_type: str, index: SearchIndex) -> bool:
    """Whether an operation is one of a type, or (of type "") of the server."""
    if not route.path.startswith("/{type}/"):
        return route.of_type == of_type
    return bool(of_type) and (route.suits is None or route.suits(index, of_type))


def _operations(of_type: str, routes: Iterable[Routed], index: SearchIndex) -> dict[str, Any]:
    """The operations that stand at a type, or (of type "") at the server; once each."""
    found: dict[str, dict[str, str]] = {}
    for route in routes:
        if route.definition and _stands_at(route, of_type, index):
            told = {"name": route.interaction, "definition": route.definition}
            addresses = found.setdefault(route.interaction, told)
            address = f"{route.method} {route.path.replace('{type}', of_type)}"
            before = addresses.get("documentation")
            addresses["documentation"] = f"{before}, {address}" if before else address
    return {"operation": list(found.values())} if found else {}


def _param(param: SearchParam) -> dict[str, Any]:
    told: dict[str, Any] = {"name": param.name, "type": param.type}
    offered = ", ".join(modifiers_of(param))
    notes = [f"modifiers: {offered}"] if offered else []
    if param.is_blind:
        notes.append(f"stored as keyed hashes: {_LACKING.get(param.type, 'no sorting')}")
    if param.type == "date" and param.is_blind:
        notes.append(f"asked to the {'second' if param.is_moment else 'day'}")
    if notes:
        told["documentation"] = "; ".join(notes)
    return told
