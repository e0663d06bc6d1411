"""The CapabilityStatement, computed from what routes requests and answers searches (pure).

Spec: https://hl7.org/fhir/R4/capabilitystatement.html
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

import orjson

from adapters.fhir.json_patch import MEDIA_TYPE as JSON_PATCH
from adapters.fhir.merge_patch import MEDIA_TYPE as MERGE_PATCH
from fhir_server.interactions.create import READ_ONLY_TYPES
from fhir_server.negotiate import FHIR_JSON
from fhir_server.operations.subscriptions import SEARCHED
from fhir_server.search.linked import included, reverse_included
from fhir_server.search.params import modifiers_of
from fhir_server.settings import FhirSettings
from hie.kernel.clock import instant
from hie.store.index import SearchIndex, SearchParam

#: Interactions that stand at a resource type, in the order FHIR lists them.
TYPE_INTERACTIONS: Final = (
    "read",
    "vread",
    "update",
    "patch",
    "delete",
    "history-instance",
    "history-type",
    "create",
    "search-type",
)
#: What the base address offers.
SYSTEM_INTERACTIONS: Final = {
    "transaction": ("transaction", "batch"),
    "search-system": ("search-system",),
}
#: What a server says that offers bulk exports.
BULK_DATA: Final = "http://hl7.org/fhir/uv/bulkdata/CapabilityStatement/bulk-data"
WRITING: Final = frozenset({"update", "patch", "create", "delete"})
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


def capability_statement(
    routes: Iterable[Routed],
    index: SearchIndex,
    settings: FhirSettings,
    now_us: int,
    compartments: Sequence[str] = (),
) -> bytes:
    """The CapabilityStatement of this server as JSON.

    Args:
        routes: every route the server has.
        index: types and search parameters.
        settings: where the server is.
        now_us: when the statement was made: the start of the server.
        compartments: types whose compartments may be searched.
    """
    listed = list(routes)
    offered = {route.interaction for route in listed}
    rest = _rest(listed, index, settings, compartments)
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
        **_operations("", listed),
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
    told: dict[str, Any] = {
        "cors": bool(settings.cors_origins),
        "service": [{"coding": [{"system": SECURITY_SERVICES, "code": "SMART-on-FHIR"}]}],
        "description": "bearer tokens with SMART scopes; what a caller may see follows consent",
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
    if name == "Subscription":
        return told | _operations(name, [one for one in listed if one.interaction != "meta"])
    return told | _includes(index, name, reverse) | _operations(name, listed)


def _subscriptions(settings: FhirSettings) -> dict[str, Any]:
    """What is different for Subscription, which is kept apart from other resources."""
    topics = [{"url": TOPIC, "valueCanonical": topic} for topic in settings.topics]
    return {
        "interaction": [{"code": code} for code in ("read", "update", "delete", "create")]
        + [{"code": "search-type"}],
        "supportedProfile": [f"{BACKPORT}backport-subscription"],
        "versioning": "versioned-update",
        "readHistory": False,
        "updateCreate": False,
        "conditionalRead": "full-support",
        "conditionalCreate": False,
        "conditionalUpdate": False,
        "conditionalDelete": "not-supported",
        "searchParam": [{"name": name, "type": kind} for name, (kind, _) in SEARCHED.items()],
        **({"extension": topics} if topics else {}),
    }


def _resource(name: str, offered: set[str], index: SearchIndex) -> dict[str, Any]:
    refused = WRITING if name in READ_ONLY_TYPES else frozenset()
    return {
        "type": name,
        "interaction": [
            {"code": code} for code in TYPE_INTERACTIONS if code in offered and code not in refused
        ],
        "versioning": "versioned",
        "readHistory": "history-instance" in offered,
        "updateCreate": "update" in offered - refused,
        "conditionalCreate": "create" in offered - refused,
        "conditionalUpdate": "update" in offered - refused,
        "conditionalDelete": "single" if "delete" in offered - refused else "not-supported",
        "referencePolicy": ["literal", "local"],
        "searchParam": [*EVERYWHERE, *(_param(param) for param in index.params(name))],
    }


def _includes(index: SearchIndex, name: str, reverse: Sequence[str]) -> dict[str, Any]:
    """FHIR JSON has no empty arrays."""
    told = {"searchInclude": included(index, name), "searchRevInclude": list(reverse)}
    return {key: values for key, values in told.items() if values}


def _stands_at(route: Routed, of_type: str) -> bool:
    """Whether an operation is one of a type, or (of type "") of the server."""
    if route.path.startswith("/{type}/"):
        return bool(of_type)
    return route.of_type == of_type


def _operations(of_type: str, routes: Iterable[Routed]) -> dict[str, Any]:
    """The operations that stand at a type, or (of type "") at the server; once each."""
    found = {
        route.interaction: route.definition
        for route in routes
        if route.definition and _stands_at(route, of_type)
    }
    told = [{"name": name, "definition": definition} for name, definition in found.items()]
    return {"operation": told} if told else {}


def _param(param: SearchParam) -> dict[str, Any]:
    told: dict[str, Any] = {"name": param.name, "type": param.type}
    notes = [f"modifiers: {', '.join(modifiers_of(param))}"] if modifiers_of(param) else []
    if param.is_blind:
        notes.append("stored as keyed hashes: no contains, no system alone, no sorting")
    if notes:
        told["documentation"] = "; ".join(notes)
    return told
