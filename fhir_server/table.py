"""The table of the FHIR API: every address, what it means and who answers it.

`fhir_server.routes` listens to it; the CapabilityStatement is made from it. Addresses are tried
from the top: what is more special stands first.
Spec: https://hl7.org/fhir/R4/http.html, https://hl7.org/fhir/R4/operations.html
"""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final

from fhir_server.exchange import Answer, Call, Edge
from fhir_server.interactions.binary import read_binary, write_binary
from fhir_server.interactions.compartment import search_all_types, search_compartment
from fhir_server.interactions.create import create
from fhir_server.interactions.delete import delete
from fhir_server.interactions.history import history, history_of_type
from fhir_server.interactions.patch import patch
from fhir_server.interactions.read import read
from fhir_server.interactions.search import search, search_system
from fhir_server.interactions.transaction import transaction
from fhir_server.interactions.update import update
from fhir_server.interactions.vread import vread
from fhir_server.negotiate import ANYTHING
from fhir_server.operations import panels, subscriptions
from fhir_server.operations.docref import docref
from fhir_server.operations.everything import everything
from fhir_server.operations.export import (
    NDJSON_TYPES,
    export,
    export_cancel,
    export_file,
    export_status,
)
from fhir_server.operations.lastn import lastn
from fhir_server.operations.match import match
from fhir_server.operations.meta import meta
from fhir_server.operations.pix import cross_reference
from fhir_server.operations.summary import summary
from fhir_server.operations.terminology import (
    expand,
    lookup,
    read_local,
    subsumes,
    validate_in_set,
    validate_in_system,
)
from fhir_server.operations.validate import validate

Handler = Callable[[Edge, Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One address of the API.

    Attributes:
        interaction: FHIR's name, or the operation's.
        action: the SMART action a scope must grant on the type; "" = the handler checks.
        of_type: resource type where the path names none.
        definition: of an operation: its OperationDefinition, told in the CapabilityStatement.
        gives: media types it answers with besides FHIR JSON.
    """

    method: str
    path: str
    interaction: str
    handler: Handler
    action: str = ""
    of_type: str = ""
    definition: str = ""
    gives: frozenset[str] = frozenset()


#: Operations on the local codes: type, whether of one resource too, name, who answers.
_TERMINOLOGY: Final[tuple[tuple[str, bool, str, Handler], ...]] = (
    ("ValueSet", True, "expand", expand),
    ("ValueSet", True, "validate-code", validate_in_set),
    ("CodeSystem", False, "lookup", lookup),
    ("CodeSystem", False, "validate-code", validate_in_system),
    ("CodeSystem", False, "subsumes", subsumes),
)

_BACKPORT: Final = "http://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition/"
#: Subscription's own: method, address below it, FHIR's name, who answers, action of a scope.
_SUBSCRIPTION: Final[tuple[tuple[str, str, str, Handler, str], ...]] = (
    ("GET", "/$topics", "topics", subscriptions.topics, "s"),
    ("GET", "/$status", "status", subscriptions.status, "s"),
    ("POST", "/$status", "status", subscriptions.status, "s"),
    ("GET", "/{id}/$status", "status", subscriptions.status, "r"),
    ("GET", "/{id}/$events", "events", subscriptions.events, "r"),
    ("POST", "/{id}/$events", "events", subscriptions.events, "r"),
    ("GET", "/$get-ws-binding-token", "get-ws-binding-token", subscriptions.binding_token, "r"),
    ("POST", "/$get-ws-binding-token", "get-ws-binding-token", subscriptions.binding_token, "r"),
    (
        *("GET", "/{id}/$get-ws-binding-token", "get-ws-binding-token"),
        *(subscriptions.binding_token, "r"),
    ),
    ("POST", "/_search", "search-type", subscriptions.search, "s"),
    ("GET", "/{id}", "read", subscriptions.read, "r"),
    ("PUT", "/{id}", "update", subscriptions.update, "u"),
    ("DELETE", "/{id}", "delete", subscriptions.delete, "d"),
    ("GET", "", "search-type", subscriptions.search, "s"),
    ("POST", "", "create", subscriptions.create, "c"),
)

_PANELS: Final[tuple[tuple[str, str, Handler, str], ...]] = (
    ("/$load-panel", "load-panel", panels.load, "c"),
    ("/{id}/$load-panel", "load-panel", panels.load, "u"),
    ("/{id}/$undo-load", "undo-load", panels.undo, "u"),
)


def _subscriptions() -> Iterator[Route]:
    for path, name, handler, action in _PANELS:
        yield Route(
            method="POST",
            path=f"/Group{path}",
            interaction=name,
            handler=handler,
            action=action,
            of_type="Group",
            definition=f"urn:hie:operation:{name}",
        )
    for method, path, name, handler, action in _SUBSCRIPTION:
        definition = f"{_BACKPORT}backport-subscription-{name}" if "$" in path else ""
        yield Route(
            method=method,
            path=f"/Subscription{path}",
            interaction=name,
            handler=handler,
            action=action,
            of_type="Subscription",
            definition="urn:hie:operation:topics" if name == "topics" else definition,
        )


def _terminology() -> Iterator[Route]:
    for of_type, has_instances, name, handler in _TERMINOLOGY:
        for path in (f"/{of_type}/${name}", *[f"/{of_type}/{{id}}/${name}"] * has_instances):
            for method in ("GET", "POST"):
                yield Route(
                    method=method,
                    path=path,
                    interaction=name,
                    handler=handler,
                    action="r",
                    of_type=of_type,
                    definition=f"http://hl7.org/fhir/OperationDefinition/{of_type}-{name}",
                )
    for of_type in ("ValueSet", "CodeSystem"):
        yield Route(
            method="GET",
            path=f"/{of_type}/{{id}}",
            interaction="read",
            handler=read_local,
            action="r",
            of_type=of_type,
        )


def _validate() -> Iterator[Route]:
    for method, path in (
        ("POST", "/{type}/$validate"),
        ("GET", "/{type}/{id}/$validate"),
        ("POST", "/{type}/{id}/$validate"),
    ):
        yield Route(
            method=method,
            path=path,
            interaction="validate",
            handler=validate,
            definition="http://hl7.org/fhir/OperationDefinition/Resource-validate",
        )


#: Levels of a bulk export: address, type, its OperationDefinition.
_EXPORTS: Final = (
    ("/$export", "", "export"),
    ("/Patient/$export", "Patient", "patient-export"),
    ("/Group/{id}/$export", "Group", "group-export"),
)


def _exports() -> Iterator[Route]:
    for path, of_type, name in _EXPORTS:
        for method in ("GET", "POST"):
            yield Route(
                method=method,
                path=path,
                interaction="export",
                handler=export,
                of_type=of_type,
                definition=f"http://hl7.org/fhir/uv/bulkdata/OperationDefinition/{name}",
            )
    job = "/$export/{id}"
    yield Route(method="GET", path=job, interaction="export-status", handler=export_status)
    yield Route(method="DELETE", path=job, interaction="export-cancel", handler=export_cancel)
    yield Route(
        method="GET",
        path=f"{job}/{{version}}",
        interaction="export-file",
        handler=export_file,
        gives=NDJSON_TYPES,
    )


ROUTES: Final = (
    *_exports(),
    *_subscriptions(),
    *_terminology(),
    *_validate(),
    *(
        Route(
            method=method,
            path="/Patient/{id}/$summary",
            interaction="summary",
            handler=summary,
            action="r",
            of_type="Patient",
            definition="http://hl7.org/fhir/uv/ips/OperationDefinition/summary",
        )
        for method in ("GET", "POST")
    ),
    *(
        Route(
            method="GET",
            path=path,
            interaction="meta",
            handler=meta,
            action=action,
            definition="http://hl7.org/fhir/OperationDefinition/Resource-meta",
        )
        for path, action in (("/{type}/{id}/$meta", "r"), ("/{type}/$meta", "s"))
    ),
    *(
        Route(
            method=method,
            path=f"/{of_type}/{{id}}/$everything",
            interaction="everything",
            handler=everything,
            action="r",
            of_type=of_type,
            definition=f"http://hl7.org/fhir/OperationDefinition/{of_type}-everything",
        )
        for of_type in ("Patient", "Encounter")
        for method in ("GET", "POST")
    ),
    *(
        Route(
            method=method,
            path=f"/{of_type}/${name}",
            interaction=name,
            handler=handler,
            action="s",
            of_type=of_type,
            definition=definition,
        )
        for of_type, name, handler, definition in (
            (
                "Observation",
                "lastn",
                lastn,
                "http://hl7.org/fhir/OperationDefinition/Observation-lastn",
            ),
            (
                "DocumentReference",
                "docref",
                docref,
                "http://hl7.org/fhir/us/core/OperationDefinition/docref",
            ),
        )
        for method in ("GET", "POST")
    ),
    Route(
        method="POST",
        path="/Patient/$match",
        interaction="match",
        handler=match,
        action="s",
        of_type="Patient",
        definition="https://profiles.ihe.net/ITI/PDQm/OperationDefinition/PDQmMatch",
    ),
    *(
        Route(
            method=method,
            path="/Patient/$ihe-pix",
            interaction="ihe-pix",
            handler=cross_reference,
            action="s",
            of_type="Patient",
            definition="https://profiles.ihe.net/ITI/PIXm/OperationDefinition/IHE.PIXm.pix",
        )
        for method in ("GET", "POST")
    ),
    *(
        Route(
            method="GET",
            path=path,
            interaction=interaction,
            handler=read_binary,
            action="r",
            of_type="Binary",
            gives=frozenset({ANYTHING}),
        )
        for path, interaction in (
            ("/Binary/{id}", "read"),
            ("/Binary/{id}/_history/{version}", "vread"),
        )
    ),
    Route(
        method="POST",
        path="/Binary",
        interaction="create",
        handler=write_binary,
        action="c",
        of_type="Binary",
    ),
    Route(
        method="PUT",
        path="/Binary/{id}",
        interaction="update",
        handler=write_binary,
        action="u",
        of_type="Binary",
    ),
    Route(
        method="GET",
        path="/{type}/{id}/_history/{version}",
        interaction="vread",
        handler=vread,
        action="r",
    ),
    Route(
        method="GET",
        path="/{type}/{id}/_history",
        interaction="history-instance",
        handler=history,
        action="r",
    ),
    Route(
        method="GET",
        path="/{type}/_history",
        interaction="history-type",
        handler=history_of_type,
        action="r",
    ),
    Route(
        method="POST",
        path="/{type}/_search",
        interaction="search-type",
        handler=search,
        action="s",
    ),
    *(
        Route(method=method, path=path, interaction="search-type", handler=handler, action=action)
        for method, path, handler, action in (
            ("GET", "/{compartment}/{id}/{type:[A-Z][A-Za-z]*}", search_compartment, "s"),
            ("POST", "/{compartment}/{id}/{type:[A-Z][A-Za-z]*}/_search", search_compartment, "s"),
            ("GET", r"/{type}/{id}/{all:\*}", search_all_types, ""),
            ("POST", "/{type}/{id}/_search", search_all_types, ""),
        )
    ),
    *(
        Route(method=method, path=path, interaction="search-system", handler=search_system)
        for method, path in (("GET", ""), ("GET", "/"), ("POST", "/_search"))
    ),
    Route(method="GET", path="/{type}/{id}", interaction="read", handler=read, action="r"),
    Route(method="PUT", path="/{type}/{id}", interaction="update", handler=update, action="u"),
    Route(method="PATCH", path="/{type}/{id}", interaction="patch", handler=patch, action="u"),
    Route(method="DELETE", path="/{type}/{id}", interaction="delete", handler=delete, action="d"),
    Route(method="GET", path="/{type}", interaction="search-type", handler=search, action="s"),
    Route(method="POST", path="/{type}", interaction="create", handler=create, action="c"),
    Route(method="PUT", path="/{type}", interaction="update", handler=update, action="u"),
    Route(method="PATCH", path="/{type}", interaction="patch", handler=patch, action="u"),
    Route(method="DELETE", path="/{type}", interaction="delete", handler=delete, action="d"),
    Route(method="POST", path="/", interaction="transaction", handler=transaction),
    Route(method="POST", path="", interaction="transaction", handler=transaction),
)
