"""A subscription as R4 writes it: the profile `backport-subscription` (pure).

Spec: https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/StructureDefinition-backport-subscription.html
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from hie.kernel.clock import instant, micros
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson
from hie.subscriptions.model import Channel, ChannelType, Content, Status, Subscription, Terms
from hie.subscriptions.policy import Limits
from hie.subscriptions.topics import Topics

BACKPORT: Final = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"
PROFILE: Final = f"{BACKPORT}backport-subscription"
#: What a header's value is told as; sent back, it means the value that is kept.
SECRET: Final = "***"  # noqa: S105 - stands in for one
_FILTER: Final = f"{BACKPORT}backport-filter-criteria"
_CONTENT: Final = f"{BACKPORT}backport-payload-content"
_HEARTBEAT: Final = f"{BACKPORT}backport-heartbeat-period"
_TIMEOUT: Final = f"{BACKPORT}backport-timeout"
_MAX_COUNT: Final = f"{BACKPORT}backport-max-count"
_ELEMENTS: Final = frozenset(
    {"resourceType", "id", "meta", "language", "text", "status", "contact", "end", "reason"}
    | {"criteria", "_criteria", "error", "channel"}
)
_CHANNEL: Final = frozenset({"type", "endpoint", "payload", "_payload", "header", "extension"})
_PAYLOADS: Final = ("application/fhir+json", "application/json")
_HEADER: Final = re.compile(r"^(?P<name>[A-Za-z0-9-]{1,64}): ?(?P<value>[\x20-\x7e]{1,2000})$")
#: Headers the hub itself answers for.
_OWN_HEADERS: Final = frozenset(
    {"host", "content-type", "content-length", "transfer-encoding", "connection", "te", "upgrade"}
    | {"expect", "trailer", "keep-alive", "proxy-authorization", "content-encoding"}
)
_LONGEST: Final = 2_000
_MOST: Final = 20


@dataclass(slots=True)
class _Faults:
    """What is wrong, by the place it is at."""

    issues: list[Issue] = field(default_factory=list)

    def add(self, place: str, expected: str) -> None:
        text = f"`{place}`: expected {expected}"
        self.issues.append(Issue(text=text, code="value", expression=(place,)))

    def refuse(self) -> None:
        if self.issues:
            raise HieError(Category.BUSINESS_RULE, self.issues[0].text, self.issues)


def read(resource: FhirJson, topics: Topics, limits: Limits) -> tuple[Terms, Status]:
    """What a subscriber asks for, and the status it wants: `requested`, or `off`.

    Raises:
        HieError: BUSINESS_RULE with one issue per fault.
    """
    faults = _Faults()
    if resource.get("resourceType") != "Subscription":
        faults.add("resourceType", "`Subscription`")
        faults.refuse()
    for name in sorted(resource.keys() - _ELEMENTS):
        faults.add(f"Subscription.{name}", "no such element: the hub would not keep to it")
    status = resource.get("status")
    if status not in (Status.REQUESTED, Status.ACTIVE, Status.OFF):
        faults.add("Subscription.status", "`requested`, or `off`")
    topic = topics.by_url(_text(resource, "criteria", faults))
    if topic is None:
        known = ", ".join(one.url for one in topics)
        faults.add("Subscription.criteria", f"the canonical URL of a topic: {known}")
    terms = Terms(
        topic=topic.url if topic else "",
        filters=_filters(resource, faults),
        channel=_channel(resource.get("channel"), limits, faults),
        content=_content(resource.get("channel"), faults),
        end_us=_end(resource, faults),
        text=_text(resource, "reason", faults),
        contact=_contact(resource, faults),
    )
    faults.refuse()
    return terms, Status.OFF if status == Status.OFF else Status.REQUESTED


def render(one: Subscription) -> FhirJson:
    """The resource as its owner reads it; secrets are not told."""
    terms, channel = one.terms, one.terms.channel
    told: FhirJson = {
        "resourceType": "Subscription",
        "id": one.id,
        "meta": {
            "versionId": str(one.version),
            "lastUpdated": instant(one.updated_us),
            "profile": [PROFILE],
        },
        "status": one.status.value,
        **({"contact": list(terms.contact)} if terms.contact else {}),
        **({"end": instant(terms.end_us)} if terms.end_us is not None else {}),
        "reason": terms.text,
        "criteria": terms.topic,
    }
    if terms.filters:
        told["_criteria"] = {
            "extension": [{"url": _FILTER, "valueString": text} for text in terms.filters]
        }
    if one.error:
        told["error"] = one.error
    extensions: list[FhirJson] = [
        {"url": _TIMEOUT, "valueUnsignedInt": channel.timeout_seconds},
        {"url": _MAX_COUNT, "valuePositiveInt": channel.max_count},
    ]
    if channel.heartbeat_seconds:
        extensions.insert(0, {"url": _HEARTBEAT, "valueUnsignedInt": channel.heartbeat_seconds})
    told["channel"] = {
        "extension": extensions,
        "type": channel.type.value,
        **({"endpoint": channel.endpoint} if channel.endpoint else {}),
        "payload": _PAYLOADS[0],
        "_payload": {"extension": [{"url": _CONTENT, "valueCode": terms.content.value}]},
    }
    if channel.headers:
        told["channel"]["header"] = [f"{name_of(text)}: {SECRET}" for text in channel.headers]
    return told


def name_of(header: str) -> str:
    """The name of a `Name: value`."""
    return header.partition(":")[0]


def with_kept_secrets(new: Channel, old: Channel) -> tuple[str, ...]:
    """The headers of an update, with the value that is kept where the client was told none."""
    kept = {name_of(text).lower(): text for text in old.headers}
    hidden = f": {SECRET}"
    return tuple(
        kept.get(name_of(text).lower(), text) if text.endswith(hidden) else text
        for text in new.headers
    )


def _text(resource: FhirJson, name: str, faults: _Faults) -> str:
    found = resource.get(name, "")
    if not isinstance(found, str) or len(found) > _LONGEST:
        faults.add(f"Subscription.{name}", f"a text of at most {_LONGEST} characters")
        return ""
    return found


def _filters(resource: FhirJson, faults: _Faults) -> tuple[str, ...]:
    found: list[str] = []
    for one in _extensions(resource.get("_criteria")):
        value = one.get("valueString")
        is_filter = one.get("url") == _FILTER and isinstance(value, str) and len(value) <= _LONGEST
        if is_filter and len(found) < _MOST:
            found.append(str(value))
        else:
            faults.add("Subscription.criteria.extension", f"`{_FILTER}` with `valueString`")
    return tuple(found)


def _channel(found: Any, limits: Limits, faults: _Faults) -> Channel:
    if not isinstance(found, dict):
        faults.add("Subscription.channel", "an element")
        return Channel(type=ChannelType.REST_HOOK)
    for name in sorted(found.keys() - _CHANNEL):
        faults.add(f"Subscription.channel.{name}", "no such element")
    kinds = [kind.value for kind in ChannelType]
    if found.get("type") not in kinds:
        faults.add("Subscription.channel.type", " or ".join(f"`{kind}`" for kind in kinds))
    kind = ChannelType(found["type"]) if found.get("type") in kinds else ChannelType.REST_HOOK
    endpoint = found.get("endpoint", "")
    if not isinstance(endpoint, str) or bool(endpoint) != (kind is ChannelType.REST_HOOK):
        faults.add("Subscription.channel.endpoint", "an address for rest-hook, none for websocket")
        endpoint = ""
    if found.get("payload", _PAYLOADS[0]) not in _PAYLOADS:
        faults.add("Subscription.channel.payload", f"`{_PAYLOADS[0]}`")
    numbers = {one.get("url"): one for one in _extensions(found)}
    heartbeat = _number(numbers, _HEARTBEAT, "valueUnsignedInt", 0, faults)
    if heartbeat and heartbeat < limits.heartbeat_seconds:
        place = "Subscription.channel.extension(backport-heartbeat-period)"
        faults.add(place, f"{limits.heartbeat_seconds} seconds or more")
    timeout = _number(numbers, _TIMEOUT, "valueUnsignedInt", 30, faults)
    count = _number(numbers, _MAX_COUNT, "valuePositiveInt", limits.max_count, faults)
    return Channel(
        type=kind,
        endpoint=endpoint,
        headers=_headers(found.get("header", []), faults),
        heartbeat_seconds=heartbeat,
        timeout_seconds=max(1, min(timeout, limits.timeout_seconds)),
        max_count=max(1, min(count, limits.max_count)),
    )


def _number(found: dict[Any, FhirJson], url: str, name: str, default: int, faults: _Faults) -> int:
    if url not in found:
        return default
    value = found[url].get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        faults.add("Subscription.channel.extension", f"`{url}` with `{name}`")
        return default
    return value


def _headers(found: Any, faults: _Faults) -> tuple[str, ...]:
    if not isinstance(found, list) or len(found) > _MOST:
        faults.add("Subscription.channel.header", f"at most {_MOST} texts `Name: value`")
        return ()
    for text in found:
        fits = isinstance(text, str) and _HEADER.match(text)
        if not fits or name_of(text).lower() in _OWN_HEADERS:
            expected = "`Name: value`, and no header that HTTP itself needs"
            faults.add("Subscription.channel.header", expected)
            return ()
    return tuple(found)


def _content(found: Any, faults: _Faults) -> Content:
    payload = found.get("_payload") if isinstance(found, dict) else None
    codes = [o.get("valueCode") for o in _extensions(payload) if o.get("url") == _CONTENT]
    known = [content.value for content in Content]
    if len(codes) != 1 or codes[0] not in known:
        place = "Subscription.channel.payload.extension"
        faults.add(place, f"`{_CONTENT}` with one of {', '.join(known)}")
        return Content.EMPTY
    return Content(codes[0])


def _end(resource: FhirJson, faults: _Faults) -> int | None:
    if "end" not in resource:
        return None
    try:
        moment = datetime.fromisoformat(resource["end"])
        return micros(moment)
    except (TypeError, ValueError):
        faults.add("Subscription.end", "an instant with a time zone")
        return None


def _contact(resource: FhirJson, faults: _Faults) -> tuple[FhirJson, ...]:
    found = resource.get("contact", [])
    is_list = isinstance(found, list) and len(found) <= _MOST
    if not is_list or not all(isinstance(one, dict) for one in found):
        faults.add("Subscription.contact", "a list of ContactPoint")
        return ()
    return tuple(found)


def _extensions(element: Any) -> Iterable[FhirJson]:
    found = element.get("extension", []) if isinstance(element, dict) else []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
