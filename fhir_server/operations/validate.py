"""`$validate`: what is wrong with a resource, whatever would come of it here.

Of a type (a resource in the body, bare or in Parameters) or of an instance (what is stored, or
a resource meant to replace it). The answer is 200 with an OperationOutcome, however bad the
resource; nothing is stored.
Spec: https://hl7.org/fhir/R4/resource-operation-validate.html
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from adapters.fhir.body import Limits, parse_body
from fhir_server.exchange import Answer, Call, Edge
from fhir_server.inner import require_scope
from fhir_server.interactions.create import READ_ONLY_TYPES
from fhir_server.negotiate import require_json_content
from fhir_server.outcome import operation_outcome
from fhir_server.search.parse import GENERAL
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson
from hie.store.query import Served

MODES: Final = frozenset({"create", "update", "delete", "profile"})
SOUND: Final = Issue(text="no fault was found", code="informational", severity="information")
#: The SMART action a mode would need.
_ACTIONS: Final = {"create": "c", "update": "u", "delete": "d"}
_OPTIONS: Final = {"mode": "valueCode", "profile": "valueUri"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be validated, and how."""

    resource: FhirJson | None = None
    mode: str = ""
    profiles: tuple[str, ...] = ()


async def validate(edge: Edge, call: Call) -> Answer:
    """The faults of a resource as an OperationOutcome.

    Raises:
        HieError: FORBIDDEN without any right on the type, and without one to read it for what
            is stored; NOT_FOUND and GONE for an instance the caller may not see; TOO_LARGE,
            UNSUPPORTED_MEDIA, and INVALID for a request that names no resource.
    """
    if not any(call.ctx.caller.may(call.type, action) for action in "rcud"):
        raise HieError(Category.FORBIDDEN, f"the token has no scope for {call.type}")
    try:
        asked = _asked(edge, call)
    except HieError as error:
        if error.category is not Category.INVALID or not error.issues:
            raise
        return Answer(body=operation_outcome(error.issues))
    issues = [*_of_mode(asked.mode, call), *await _of_resource(edge, call, asked)]
    return Answer(body=operation_outcome(issues or [SOUND]))


async def _of_resource(edge: Edge, call: Call, asked: Asked) -> Sequence[Issue]:
    """What is wrong with the resource sent, or with the one stored."""
    resource = asked.resource
    if resource is None and asked.mode == "delete":
        if call.id:
            await _stored(edge, call)
        return ()
    if resource is None:
        if not call.id:
            text = "expected a resource in the body, bare or as parameter `resource`"
            return [Issue(text=text, code="required", expression=("Parameters.parameter",))]
        resource = parse_body((await _stored(edge, call)).body, Limits())
    if resource["resourceType"] != call.type:
        text = f"`resourceType`: expected {call.type}, as in the address"
        return [Issue(text=text, code="invalid", expression=("resourceType",))]
    issues = list(edge.judge.issues(resource, asked.profiles))
    if asked.mode == "update" and call.id and resource.get("id") != call.id:
        text = f"`{call.type}.id`: expected the id of the address"
        issues.append(Issue(text=text, code="invalid", expression=(f"{call.type}.id",)))
    return issues


async def _stored(edge: Edge, call: Call) -> Served:
    """What is stored: whether it is there, and what is wrong with it, only a reader may know.

    Raises:
        HieError: FORBIDDEN without a right to read; NOT_FOUND and GONE.
    """
    require_scope(edge.index, "r", call)
    return await edge.door.read(call.ctx, call.type, call.id)


def _of_mode(mode: str, call: Call) -> Sequence[Issue]:
    """Whether the caller could do what the mode says, as far as that shows beforehand."""
    action = _ACTIONS.get(mode)
    if action is None:
        return ()
    if call.type in READ_ONLY_TYPES:
        text = f"{call.type} is made by the hub alone: no {mode}"
        return [Issue(text=text, code="not-supported")]
    if not (call.ctx.caller.may(call.type, action) and call.ctx.caller.sources):
        text = f"the token does not allow a {mode} of {call.type}"
        return [Issue(text=text, code="forbidden")]
    return ()


def _asked(edge: Edge, call: Call) -> Asked:
    options: dict[str, list[str]] = {"mode": [], "profile": []}
    for name, value in call.params:
        if name in options:
            options[name].append(value)
        elif name not in GENERAL:
            raise _refused("expected `mode` and `profile` only", "Parameters.parameter.name")
    resource: FhirJson | None = None
    if call.body.strip():
        require_json_content(call.headers.get("Content-Type"))
        resource = parse_body(call.body, Limits(body_bytes=edge.settings.max_body_bytes))
        if resource["resourceType"] == "Parameters" and call.type != "Parameters":
            resource = _unpacked(resource, options)
    if len(options["mode"]) > 1 or not set(options["mode"]) <= MODES:
        raise _refused(f"`mode`: expected one of {', '.join(sorted(MODES))}", "mode")
    return Asked(
        resource=resource,
        mode="".join(options["mode"]),
        profiles=tuple(dict.fromkeys(options["profile"])),
    )


def _unpacked(body: FhirJson, options: dict[str, list[str]]) -> FhirJson | None:
    """The resource of a Parameters resource; its options go to the others."""
    found: FhirJson | None = None
    parameters: Any = body.get("parameter", [])
    for n, parameter in enumerate(parameters if isinstance(parameters, list) else [None]):
        place = f"Parameters.parameter[{n}]"
        name = parameter.get("name") if isinstance(parameter, dict) else None
        if name == "resource" and found is None:
            inner = parameter.get("resource")
            if not isinstance(inner, dict) or not isinstance(inner.get("resourceType"), str):
                raise _refused("`resource`: expected a resource", f"{place}.resource")
            found = inner
        elif name in _OPTIONS:
            value = parameter.get(_OPTIONS[name], parameter.get("valueCanonical"))
            if not isinstance(value, str):
                raise _refused(f"`{name}`: expected `{_OPTIONS[name]}`", place)
            options[name].append(value)
        else:
            text = "expected `resource`, once, `mode` and `profile`"
            raise _refused(text, f"{place}.name")
    return found


def _refused(text: str, place: str) -> HieError:
    issue = Issue(text=text, code="invalid", expression=(place,))
    return HieError(Category.INVALID, text, [issue])
