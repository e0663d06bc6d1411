"""What an audit record says, and its form as a FHIR AuditEvent (pure).

One record per patient touched. The patterns are IHE BALP's: who plays source and who
destination follows the action; the patient, the data, the query and the X-Request-Id are
entities.
Spec: https://hl7.org/fhir/R4/auditevent.html, https://profiles.ihe.net/ITI/BALP/
"""

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from hie.kernel.clock import instant
from hie.kernel.context import RequestContext
from hie.kernel.fhir import RELATIVE, FhirJson

SUCCESS, MINOR_FAILURE, SERIOUS_FAILURE, MAJOR_FAILURE = "0", "4", "8", "12"


class Description(str):
    """A `query`, or an id that led nowhere, that may say who is meant: sealed under its own key.

    So it can be destroyed when the person it describes is erased, whomever the question met.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One thing that was done, or refused, to one person's record.

    Attributes:
        action: `C` create, `R` read, `U` update, `D` delete, `E` execute (queries, the rest).
        subtype: a FHIR restful-interaction code, an ISO 21089 lifecycle code, or a code of
            `SUBTYPES`.
        outcome: `0` success, `4` minor, `8` serious, `12` major failure.
        person_id: None when nobody's record was touched.
        organization, user, purpose, token_id: who asked, and for what.
        resource_type, resource_id: what was read or written; a query has no id.
        detail: what else is known; the keys below go into the AuditEvent, others stay sealed.
            `query` the request as asked, a `Description` where it may name somebody; `reason`
            why it was refused or allowed, `address` the client's network address, `consents`
            ids of the Consents relied on, `shown` what left: `[source record, type, how many,
            ids]`, for corrections.
    """

    recorded_us: int
    action: str
    subtype: str
    outcome: str = SUCCESS
    person_id: str | None = None
    organization: str | None = None
    user: str | None = None
    purpose: str = ""
    request_id: str = ""
    token_id: str = ""
    resource_type: str = ""
    resource_id: str = ""
    detail: FhirJson = field(default_factory=dict)


def record_of(context: RequestContext, action: str, subtype: str, **more: Any) -> AuditRecord:
    """The record of what this request did; `more` are fields of `AuditRecord`."""
    caller = context.caller
    return AuditRecord(
        recorded_us=context.now_us,
        action=action,
        subtype=subtype,
        organization=caller.organization,
        user=caller.user or (f"Patient/{caller.patient}" if caller.patient else None),
        purpose=caller.purpose,
        request_id=context.request_id,
        token_id=caller.token_id,
        **more,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """The hub as agent and observer: its name, and its FHIR base address."""

    name: str = "health information exchange hub"
    address: str = ""


_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_TERMS = "http://terminology.hl7.org/CodeSystem/"
_REST = (f"{_TERMS}audit-event-type", "rest", "RESTful Operation")
_INTERACTION = "http://hl7.org/fhir/restful-interaction"
_LIFECYCLE = f"{_TERMS}iso-21089-lifecycle"
_SECURITY_ALERT = (_DCM, "110113", "Security Alert")
_AUTHENTICATION = (_DCM, "110114", "User Authentication")

Term = tuple[str, str, str]

#: Subtypes that are no restful interaction: AuditEvent.type and the system of the subtype.
SUBTYPES: dict[str, tuple[Term, str]] = {
    "disclose": ((_DCM, "110106", "Export"), _LIFECYCLE),
    "receive": ((_DCM, "110107", "Import"), _LIFECYCLE),
    **{
        code: ((_LIFECYCLE, code, display), _LIFECYCLE)
        for code, display in (
            ("link", "Link Record Lifecycle Event"),
            ("unlink", "Unlink Record Lifecycle Event"),
            ("merge", "Merge Record Lifecycle Event"),
            ("unmerge", "Unmerge Record Lifecycle Event"),
            ("destroy", "Destroy/Delete Record Lifecycle Event"),
            ("restore", "Restore Record Lifecycle Event"),
            ("amend", "Amend (Update) Record Lifecycle Event"),
            ("attest", "Attest Record Lifecycle Event"),
            ("verify", "Verify Record Lifecycle Event"),
        )
    },
    "AuthZ-Consent": (
        _SECURITY_ALERT,
        "https://profiles.ihe.net/ITI/BALP/CodeSystem/AuthZsubType",
    ),
    "ITI-71": (_AUTHENTICATION, "urn:ihe:event-type-code"),  # Get Access Token
    "110137": (_SECURITY_ALERT, _DCM),  # User Security Attributes Changed: a revoked token
    "110127": (_SECURITY_ALERT, _DCM),  # Emergency Override Started: a record opened
    "110128": (_SECURITY_ALERT, _DCM),  # Emergency Override Stopped
    "110126": (_SECURITY_ALERT, _DCM),  # Node Authentication: a refused token or certificate
}

_SOURCE: Term = (_DCM, "110153", "Source Role ID")
_DESTINATION: Term = (_DCM, "110152", "Destination Role ID")
_APPLICATION: Term = (_DCM, "110150", "Application")
_CUSTODIAN: Term = (f"{_TERMS}provenance-participant-type", "custodian", "Custodian")
_AUTHORIZER: Term = (f"{_TERMS}extra-security-role-type", "authserver", "authorization server")

#: (client, hub) by action. In a query the parameters flow, not the data: BALP keeps it so.
_ROLES: dict[str, tuple[Term, Term]] = {
    "C": (_SOURCE, _DESTINATION),
    "U": (_SOURCE, _DESTINATION),
    "R": (_DESTINATION, _SOURCE),
    "E": (_SOURCE, _DESTINATION),
    "D": (_APPLICATION, _CUSTODIAN),
}
_AUTHORIZATION_SUBTYPES = ("AuthZ-Consent", "ITI-71", "110137", "110126")
_USER: Term = (f"{_TERMS}v3-ParticipationType", "IRCP", "information recipient")
_ORGANIZATION: Term = (f"{_TERMS}v3-RoleClass", "PROV", "healthcare provider")
_PURPOSE = f"{_TERMS}v3-ActReason"
_PERSON: Term = (f"{_TERMS}audit-entity-type", "1", "Person")
_OBJECT: Term = (f"{_TERMS}audit-entity-type", "2", "System Object")
_ROLE = f"{_TERMS}object-role"
_REQUEST_ID: Term = (
    "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType",
    "XrequestId",
    "transport specific unique identifier where http X-Request-Id is used",
)


def to_fhir(record: AuditRecord, *, event_id: str = "", hub: Hub | None = None) -> FhirJson:
    """The record as a FHIR R4 AuditEvent in IHE BALP's pattern.

    Args:
        record: what happened.
        event_id: becomes `AuditEvent.id` where given.
        hub: named as server agent and as observer.
    """
    observer = hub or Hub()
    kind, subtype_system = SUBTYPES.get(record.subtype, (_REST, _INTERACTION))
    event: FhirJson = {"resourceType": "AuditEvent"}
    if event_id:
        event["id"] = event_id
    event |= {
        "type": _coding(kind),
        "subtype": [{"system": subtype_system, "code": record.subtype}],
        "action": record.action,
        "recorded": instant(record.recorded_us),
        "outcome": record.outcome,
    }
    if reason := record.detail.get("reason"):
        event["outcomeDesc"] = reason
    if record.purpose:
        event["purposeOfEvent"] = [_purpose(record)]
    event |= {
        "agent": list(_agents(record, observer)),
        "source": {
            "observer": {"display": observer.name},
            "type": [
                _coding((f"{_TERMS}security-source-type", "4", "Application Server")),
            ],
        },
    }
    if entities := list(_entities(record)):
        event["entity"] = entities
    return event


def type_of(subtype: str) -> tuple[str, str]:
    """System and code of AuditEvent.type."""
    system, code, _ = SUBTYPES.get(subtype, (_REST, ""))[0]
    return system, code


def agent_names(event: FhirJson, name: Callable[[str], str]) -> FhirJson:
    """The event with each organisation called by its name, where `name` knows one by its id."""
    for agent in event["agent"]:
        kind, _, found = str(agent["who"].get("reference", "")).partition("/")
        if kind == "Organization" and (called := name(found)):
            agent["who"]["display"] = called
    return event


def _agents(record: AuditRecord, hub: Hub) -> Iterator[FhirJson]:
    client, server = _ROLES[record.action]
    if record.subtype in _AUTHORIZATION_SUBTYPES:
        client, server = _APPLICATION, _AUTHORIZER
    yield _client(record, client)
    yield {
        "type": _concept(server),
        "who": {"display": hub.name},
        "requestor": False,
        **({"network": {"address": hub.address, "type": "5"}} if hub.address else {}),
    }
    purpose = {"purposeOfUse": [_purpose(record)]} if record.purpose else {}
    if record.user:
        yield {"type": _concept(_USER), "who": _who(record.user), "requestor": True, **purpose}
    if record.organization:
        yield {
            "type": _concept(_ORGANIZATION),
            "who": {"reference": f"Organization/{record.organization}"},
            "requestor": False,
            **purpose,
        }


def _client(record: AuditRecord, role: Term) -> FhirJson:
    who: FhirJson = {"display": "client"}
    if record.token_id:
        who = {"identifier": {"system": "urn:hie:token", "value": record.token_id}}
    agent: FhirJson = {"type": _concept(role), "who": who, "requestor": not record.user}
    if address := record.detail.get("address"):
        agent["network"] = {"address": address, "type": "2"}
    return agent


def _entities(record: AuditRecord) -> Iterator[FhirJson]:
    if record.person_id:
        yield {
            "what": {"reference": f"Patient/{record.person_id}"},
            "type": _coding(_PERSON),
            "role": {"system": _ROLE, "code": "1", "display": "Patient"},
        }
    if record.resource_type and record.resource_id:
        yield {
            "what": {"reference": f"{record.resource_type}/{record.resource_id}"},
            "type": _coding(_OBJECT),
            "role": {"system": _ROLE, "code": "4", "display": "Domain Resource"},
        }
    if query := record.detail.get("query"):
        yield {
            "type": _coding(_OBJECT),
            "role": {"system": _ROLE, "code": "24", "display": "Query"},
            "query": base64.b64encode(query.encode()).decode(),
        }
    for consent in record.detail.get("consents", ()):
        yield {
            "what": {"reference": f"Consent/{consent}"},
            "type": _coding(("http://hl7.org/fhir/resource-types", "Consent", "Consent")),
        }
    if record.subtype == "AuthZ-Consent" and record.token_id:
        yield {
            "what": {
                "identifier": {"type": {"coding": [{"code": "jti"}]}, "value": record.token_id}
            },
            "type": _coding(_OBJECT),
            "role": {"system": _ROLE, "code": "13", "display": "Security Resource"},
        }
    if record.request_id:
        yield {
            "what": {"identifier": {"value": record.request_id}},
            "type": _coding(_REQUEST_ID),
        }


def _who(user: str) -> FhirJson:
    """A reference where the user is one, else the name the client gave."""
    return {"reference": user} if RELATIVE.match(user) else {"display": user}


def _purpose(record: AuditRecord) -> FhirJson:
    return {"coding": [{"system": _PURPOSE, "code": record.purpose}]}


def _concept(term: Term) -> FhirJson:
    return {"coding": [_coding(term)]}


def _coding(term: Term) -> FhirJson:
    system, code, display = term
    return {"system": system, "code": code, "display": display}
