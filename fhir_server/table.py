"""The table of the FHIR API: every address, what it means and who answers it.

`fhir_server.routes` listens to it; the CapabilityStatement is made from it. Addresses are tried
from the top: what is more special stands first.
Spec: https://hl7.org/fhir/R4/http.html, https://hl7.org/fhir/R4/operations.html
"""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final

from fhir_server.exchange import Answer, Call, Edge
from fhir_server.interactions.audit import read_event, search_events
from fhir_server.interactions.binary import read_binary, write_binary
from fhir_server.interactions.compartment import search_all_types, search_compartment
from fhir_server.interactions.create import create, deliver
from fhir_server.interactions.delete import delete
from fhir_server.interactions.history import history, history_of_type
from fhir_server.interactions.patch import patch
from fhir_server.interactions.read import read
from fhir_server.interactions.search import search, search_system
from fhir_server.interactions.transaction import transaction
from fhir_server.interactions.update import update
from fhir_server.interactions.vread import vread
from fhir_server.negotiate import ANYTHING
from fhir_server.operations import consent_preview, emergency, panels, proxies, subscriptions
from fhir_server.operations.accounting import accounting
from fhir_server.operations.consents import consent_question
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
from fhir_server.operations.subscription_search import search as search_subscriptions
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
from hie.flow.hiding import can_be_hidden
from hie.store.index import SearchIndex

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
        suits: whether an operation of every type has a meaning at one; None = at each.
    """

    method: str
    path: str
    interaction: str
    handler: Handler
    action: str = ""
    of_type: str = ""
    definition: str = ""
    gives: frozenset[str] = frozenset()
    suits: Callable[[SearchIndex, str], bool] | None = None


#: An id and nothing else: `_history` stands behind a type, too.
_ID: Final = r"{id:[A-Za-z0-9\-.]+}"
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
    ("POST", "/_search", "search-type", search_subscriptions, "s"),
    ("GET", "/{id}", "read", subscriptions.read, "r"),
    ("PUT", "/{id}", "update", subscriptions.update, "u"),
    ("DELETE", "/{id}", "delete", subscriptions.delete, "d"),
    ("GET", "", "search-type", search_subscriptions, "s"),
    ("POST", "", "create", subscriptions.create, "c"),
)

#: Operations of the hub's own: method, type, address below it, name, who answers, action.
_OWN: Final[tuple[tuple[str, str, str, str, Handler, str], ...]] = (
    ("GET", "Patient", "/{id}/$proxies", "proxies", proxies.proxies, "r"),
    ("GET", "Patient", "/{id}/$acting-for", "acting-for", proxies.acting_for, "r"),
    ("POST", "RelatedPerson", "/$appoint", "appoint", proxies.appoint, "c"),
    ("POST", "RelatedPerson", "/{id}/$accept", "accept", proxies.accept, "u"),
    ("POST", "RelatedPerson", "/{id}/$end", "end", proxies.end, ""),  # who may not write, too
    ("POST", "", "/{id}/$hide-from-proxies", "hide-from-proxies", proxies.hide, "u"),
    ("POST", "Group", "/$load-panel", "load-panel", panels.load, "c"),
    ("POST", "Group", "/{id}/$load-panel", "load-panel", panels.load, "u"),
    ("POST", "Group", "/{id}/$undo-load", "undo-load", panels.undo, "u"),
    ("POST", "Consent", "/$fileConsent", "fileConsent", deliver, "c"),
    ("POST", "Consent", "/{id}/$revokeConsent", "revokeConsent", deliver, "u"),
    ("POST", "Consent", "/{id}/$verifyConsent", "verifyConsent", deliver, "u"),
    ("GET", "Consent", "/$consent-forms", "consent-forms", consent_question, "r"),
    ("POST", "Consent", "/$consent-draft", "consent-draft", consent_question, "r"),
    ("GET", "Consent", "/{id}/$consent-standing", "consent-standing", consent_question, "r"),
)


def _own() -> Iterator[Route]:
    for method, of_type, path, name, handler, action in _OWN:
        yield Route(
            method=method,
            path=f"/{of_type or '{type}'}{path}",
            interaction=name,
            handler=handler,
            action=action,
            of_type=of_type,
            definition=f"urn:hie:operation:{name}",
            suits=can_be_hidden if handler is proxies.hide else None,
        )


def _subscriptions() -> Iterator[Route]:
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
            path=f"/{of_type}/{_ID}",
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


_CORE: Final = "http://hl7.org/fhir/OperationDefinition/"
_IHE: Final = "https://profiles.ihe.net/ITI/"
#: Operations: methods, address, name, who answers, action of a scope, type, OperationDefinition.
_OPERATIONS: Final[tuple[tuple[str, str, str, Handler, str, str, str], ...]] = (
    *(
        (
            "POST",
            f"/Patient/{{id}}/${name}",
            name,
            handler,
            "",
            "Patient",
            f"urn:hie:operation:{name}",
        )
        for name, handler in (
            ("break-glass", emergency.open_record),
            ("end-break-glass", emergency.end_access),
            ("consent-preview", consent_preview.preview),
        )
    ),
    (
        *("GET", "/Patient/{id}/$emergency-notices", "emergency-notices", emergency.notices),
        *("r", "Patient", "urn:hie:operation:emergency-notices"),
    ),
    (
        *("GET POST", "/Patient/{id}/$summary", "summary", summary),
        *("r", "Patient", "http://hl7.org/fhir/uv/ips/OperationDefinition/summary"),
    ),
    ("GET", "/{type}/{id}/$meta", "meta", meta, "r", "", f"{_CORE}Resource-meta"),
    ("GET", "/{type}/$meta", "meta", meta, "s", "", f"{_CORE}Resource-meta"),
    *(
        (
            *("GET POST", f"/{of_type}/{{id}}/$everything", "everything", everything),
            *("r", of_type, f"{_CORE}{of_type}-everything"),
        )
        for of_type in ("Patient", "Encounter")
    ),
    (
        *("GET POST", "/Observation/$lastn", "lastn", lastn),
        *("s", "Observation", f"{_CORE}Observation-lastn"),
    ),
    (
        *("GET POST", "/DocumentReference/$docref", "docref", docref, "s", "DocumentReference"),
        "http://hl7.org/fhir/us/core/OperationDefinition/docref",
    ),
    (
        *("POST", "/Patient/$match", "match", match, "s", "Patient"),
        f"{_IHE}PDQm/OperationDefinition/PDQmMatch",
    ),
    (
        *("GET POST", "/Patient/$ihe-pix", "ihe-pix", cross_reference, "s", "Patient"),
        f"{_IHE}PIXm/OperationDefinition/IHE.PIXm.pix",
    ),
)


def _operations() -> Iterator[Route]:
    for methods, path, name, handler, action, of_type, definition in _OPERATIONS:
        for method in methods.split():
            yield Route(
                method=method,
                path=path,
                interaction=name,
                handler=handler,
                action=action,
                of_type=of_type,
                definition=definition,
            )


#: Levels of a bulk export: address, type, its OperationDefinition.
_EXPORTS: Final = (
    ("/$export", "", "export"),
    ("/Patient/$export", "Patient", "patient-export"),
    ("/Group/{id}/$export", "Group", "group-export"),
)


#: The trail: who may see what of it says the handler, for staff may, too.
_AUDIT: Final = (
    ("GET", "/AuditEvent", "search-type", search_events),
    ("POST", "/AuditEvent/_search", "search-type", search_events),
    ("GET", "/Patient/{id}/AuditEvent", "search-type", search_events),
    ("POST", "/Patient/{id}/AuditEvent/_search", "search-type", search_events),
    ("GET", "/AuditEvent/{id}", "read", read_event),
)


def _audit() -> Iterator[Route]:
    for method, path, name, handler in _AUDIT:
        yield Route(
            method=method, path=path, interaction=name, handler=handler, of_type="AuditEvent"
        )
    yield Route(
        method="GET",
        path="/Patient/{id}/$accounting",
        interaction="accounting",
        handler=accounting,
        of_type="Patient",
        definition="urn:hie:operation:accounting",
        gives=frozenset({"application/pdf", "text/csv"}),
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
                gives=NDJSON_TYPES,
            )
    job = "/$export/{id}"
    for method, path, name, handler in (
        ("GET", job, "export-status", export_status),
        ("DELETE", job, "export-cancel", export_cancel),
        ("GET", f"{job}/{{version}}", "export-file", export_file),
    ):
        yield Route(method=method, path=path, interaction=name, handler=handler, gives=NDJSON_TYPES)


ROUTES: Final = (
    *_exports(),
    *_audit(),
    *_subscriptions(),
    *_own(),
    *_terminology(),
    *_validate(),
    *_operations(),
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
            (f"/Binary/{_ID}", "read"),
            ("/Binary/{id}/_history/{version}", "vread"),
        )
    ),
    *(
        Route(
            method=method,
            path=path,
            interaction=name,
            handler=write_binary,
            action=name[0],
            of_type="Binary",
        )
        for method, path, name in (("POST", "/Binary", "create"), ("PUT", "/Binary/{id}", "update"))
    ),
    *(
        Route(method=method, path=path, interaction=interaction, handler=handler, action=action)
        for method, path, interaction, handler, action in (
            ("GET", "/{type}/{id}/_history/{version}", "vread", vread, "r"),
            ("GET", "/{type}/{id}/_history", "history-instance", history, "r"),
            ("GET", "/{type}/_history", "history-type", history_of_type, "r"),
            ("POST", "/{type}/_search", "search-type", search, "s"),
        )
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
