"""Subscription: create, read, update, delete, and the operations of topics.

Subscriptions are kept apart from other resources, with their secrets sealed: what stands here is
their HTTP face.
Spec: https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from adapters.fhir.body import Limits, parse_body
from fhir_server.exchange import Answer, Call, Edge, KeptSubscription
from fhir_server.negotiate import etag, http_date, is_fresh, require_json_content
from fhir_server.search.parse import GENERAL
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson

_LIMITS: Final = Limits(body_bytes=128 * 1024, depth=20)
_MOST_NUMBER: Final = 2**31 - 1


async def create(edge: Edge, call: Call) -> Answer:
    """A new subscription of the caller's organisation, or patient."""
    if call.headers.get("If-None-Exist"):
        raise HieError(Category.UNSUPPORTED, "a Subscription is not created on a condition")
    kept = await edge.subscriptions.create(call.ctx, _resource(call))
    location = f"{edge.settings.base_url}/Subscription/{kept.id}/_history/{kept.version}"
    return _answer(kept, call, status=201, more={"Location": location})


async def read(edge: Edge, call: Call) -> Answer:
    """One of the caller's subscriptions, without its secrets."""
    kept = await edge.subscriptions.read(call.ctx, call.id)
    if is_fresh(call.headers.get("If-None-Match"), kept.version):
        return Answer(status=304, headers=_headers(kept))
    return _answer(kept, call)


async def update(edge: Edge, call: Call) -> Answer:
    """New terms of a subscription that is there."""
    if_match = call.headers.get("If-Match", "").removeprefix("W/").strip('"')
    return _answer(
        await edge.subscriptions.update(call.ctx, call.id, _resource(call), if_match), call
    )


async def delete(edge: Edge, call: Call) -> Answer:
    """The end of a subscription."""
    await edge.subscriptions.delete(call.ctx, call.id)
    return Answer(status=204)


async def status(edge: Edge, call: Call) -> Answer:
    """`$status`: how subscriptions stand."""
    if call.id:
        return Answer(body=await edge.subscriptions.status_of(call.ctx, call.id))
    asked = _asked(call, ("id", "status"))
    return Answer(body=await edge.subscriptions.status(call.ctx, asked["id"], asked["status"]))


async def events(edge: Edge, call: Call) -> Answer:
    """`$events`: what was told, as far as the caller may see it now."""
    asked = _asked(call, ("eventsSinceNumber", "eventsUntilNumber", "content"))
    since, until = (_number(asked[n], n) for n in ("eventsSinceNumber", "eventsUntilNumber"))
    content = asked["content"][-1] if asked["content"] else ""
    body = await edge.subscriptions.events(call.ctx, call.id, since or 1, until, content)
    return Answer(body=body)


async def binding_token(edge: Edge, call: Call) -> Answer:
    """`$get-ws-binding-token`: a token to bind a websocket with."""
    names = [call.id] if call.id else _asked(call, ("id",))["id"]
    return Answer(body=orjson.dumps(await edge.subscriptions.bind(call.ctx, names)))


async def topics(edge: Edge, _call: Call) -> Answer:
    """`$topics`: what can be subscribed to, as Basic, R4's form of SubscriptionTopic."""
    entries = [{"resource": one} for one in edge.subscriptions.told_topics()]
    told = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    return Answer(body=orjson.dumps(told))


def _resource(call: Call) -> FhirJson:
    require_json_content(call.headers.get("Content-Type"))
    return parse_body(call.body, _LIMITS)


def _answer(
    kept: KeptSubscription, call: Call, *, status: int = 200, more: Mapping[str, str] | None = None
) -> Answer:
    is_minimal = "return=minimal" in call.headers.get("Prefer", "") and call.method != "GET"
    body = b"" if is_minimal else orjson.dumps(kept.resource)
    return Answer(status=status, headers={**_headers(kept), **(more or {})}, body=body)


def _headers(kept: KeptSubscription) -> dict[str, str]:
    return {"ETag": etag(kept.version), "Last-Modified": http_date(kept.updated_us)}


def _asked(call: Call, names: Sequence[str]) -> dict[str, list[str]]:
    """The parameters of an operation, from the address or a Parameters resource.

    Raises:
        HieError: INVALID, naming those that the operation does not have.
    """
    pairs = [(name, value) for name, value in call.params if name not in GENERAL]
    if call.body.strip():
        for parameter in _resource(call).get("parameter", ()):
            pairs.append(_pair(parameter))
    found: dict[str, list[str]] = {name: [] for name in names}
    for name, value in pairs:
        if name not in found:
            text = f"the operation has no parameter of that name: expected {', '.join(names)}"
            raise HieError(Category.INVALID, text, [Issue(text=text, code="not-supported")])
        found[name].append(value)
    return found


def _pair(parameter: Any) -> tuple[str, str]:
    if isinstance(parameter, dict):
        for name, value in parameter.items():
            if name.startswith("value") and isinstance(value, str | int):
                return str(parameter.get("name", "")), str(value)
    raise HieError(Category.INVALID, "`Parameters.parameter`: expected `name` and a value")


def _number(values: Sequence[str], name: str) -> int | None:
    if not values:
        return None
    if not values[-1].isascii() or not values[-1].isdigit() or int(values[-1]) > _MOST_NUMBER:
        text = f"`{name}`: expected a whole number"
        raise HieError(Category.INVALID, text, [Issue(text=text, code="value")])
    return int(values[-1])
