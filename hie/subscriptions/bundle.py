"""Notifications: a Bundle of type history whose first entry is a status as Parameters (pure).

Spec: https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/notifications.html
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from hie.kernel.clock import instant
from hie.kernel.fhir import FhirJson
from hie.store.query import Served
from hie.subscriptions.fhir import BACKPORT
from hie.subscriptions.model import Content, Event, Kind, Status, Subscription

_NOTIFICATION: Final = f"{BACKPORT}backport-subscription-notification-r4"
_STATUS: Final = f"{BACKPORT}backport-subscription-status-r4"
_ERRORS: Final = "http://terminology.hl7.org/CodeSystem/subscription-error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An event with what the subscriber may see of it now."""

    event: Event
    focus: Served


def notification(
    one: Subscription,
    kind: Kind,
    *,
    base: str,
    now_us: int,
    content: Content = Content.EMPTY,
    seen: Sequence[Seen] = (),
) -> bytes:
    """A notification as JSON.

    Args:
        one: the subscription.
        kind: of the notification; a handshake has the status `requested`.
        base: FHIR base of the hub.
        now_us: when it is written.
        content: how much is told of each event.
        seen: the events, numbered.
    """
    # The same notification, written again, has the same name: a receiver sees a repeat.
    numbers = f"{seen[0].event.number}-{seen[-1].event.number}" if seen else f"{now_us}"
    name = uuid.uuid5(uuid.NAMESPACE_URL, f"{base}/Subscription/{one.id}/{kind.value}/{numbers}")
    head = {
        "fullUrl": f"urn:uuid:{name}",
        "resource": {"id": str(name), **status(one, kind, base=base, content=content, seen=seen)},
        "request": {"method": "GET", "url": f"{base}/Subscription/{one.id}/$status"},
        "response": {"status": "200"},
    }
    entries = [orjson.dumps(head)]
    if content is not Content.EMPTY:
        entries += list(_entries(base, content, seen))
    opening = orjson.dumps(
        {
            "resourceType": "Bundle",
            "id": str(name),
            "meta": {"profile": [_NOTIFICATION]},
            "type": "history",
            "timestamp": instant(now_us),
        }
    )
    return opening[:-1] + b',"entry":[' + b",".join(entries) + b"]}"


def status(
    one: Subscription,
    kind: Kind,
    *,
    base: str,
    content: Content = Content.EMPTY,
    seen: Sequence[Seen] = (),
) -> FhirJson:
    """The Parameters that say how a subscription stands."""
    now = Status.REQUESTED if kind is Kind.HANDSHAKE else one.status
    told = max([one.told, *(s.event.number or 0 for s in seen)])
    parameters: list[FhirJson] = [
        {"name": "subscription", "valueReference": {"reference": f"{base}/Subscription/{one.id}"}}
    ]
    # With an empty payload not even the topic is told.
    if content is not Content.EMPTY or not seen:
        parameters.append({"name": "topic", "valueCanonical": one.terms.topic})
    parameters += [
        {"name": "status", "valueCode": now.value},
        {"name": "type", "valueCode": kind.value},
        {"name": "events-since-subscription-start", "valueString": str(told)},
        *(_event(s, base, content) for s in seen),
    ]
    if one.error and kind in (Kind.QUERY_STATUS, Kind.QUERY_EVENT):
        coding = {"system": _ERRORS, "code": "no-response"}
        error = {"coding": [coding], "text": one.error}
        parameters.append({"name": "error", "valueCodeableConcept": error})
    return {"resourceType": "Parameters", "meta": {"profile": [_STATUS]}, "parameter": parameters}


def statuses(found: Sequence[Subscription], base: str, now_us: int) -> bytes:
    """The searchset that `$status` answers with."""
    entries = []
    for one in found:
        name = uuid.uuid5(uuid.NAMESPACE_URL, f"{base}/Subscription/{one.id}/$status")
        told = {"id": str(name), **status(one, Kind.QUERY_STATUS, base=base)}
        entry = {"fullUrl": f"urn:uuid:{name}", "resource": told, "search": {"mode": "match"}}
        entries.append(entry)
    return orjson.dumps(
        {
            "resourceType": "Bundle",
            "type": "searchset",
            "timestamp": instant(now_us),
            "total": len(entries),
            **({"entry": entries} if entries else {}),
        }
    )


def _event(seen: Seen, base: str, content: Content) -> FhirJson:
    parts: list[FhirJson] = [{"name": "event-number", "valueString": str(seen.event.number)}]
    if content is not Content.EMPTY:
        focus = {"reference": f"{base}/{seen.focus.type}/{seen.focus.id}"}
        parts += [
            {"name": "timestamp", "valueInstant": instant(seen.event.happened_us)},
            {"name": "focus", "valueReference": focus},
        ]
    return {"name": "notification-event", "part": parts}


def _entries(base: str, content: Content, seen: Sequence[Seen]) -> list[bytes]:
    """The resources, once each, in the order of their events."""
    found: dict[tuple[str, str], bytes] = {}
    for one in seen:
        place = f"{one.focus.type}/{one.focus.id}"
        request = {"method": "PUT", "url": place}
        entry = orjson.dumps(
            {"fullUrl": f"{base}/{place}", "request": request, "response": {"status": "200"}}
        )
        if content is Content.FULL:
            entry = entry[:-1] + b',"resource":' + one.focus.body + b"}"
        found[one.focus.type, one.focus.id] = entry
    return list(found.values())
