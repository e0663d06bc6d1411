"""What a FHIR write asks for, as a plan: its entries, checked, in processing order (pure).

Spec: https://hl7.org/fhir/R4/http.html#transaction, https://hl7.org/fhir/R4/bundle.html
"""

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from adapters.fhir.body import Limits, parse_json
from adapters.fhir.condition import condition_of, identifiers_of
from adapters.fhir.json_patch import MEDIA_TYPE as JSON_PATCH
from adapters.fhir.plan import (
    DIRECTORY_TYPES,
    READ_ONLY_TYPES,
    URN,
    Condition,
    Fault,
    Method,
    Plan,
    PlanKind,
    PlannedWrite,
    PlanSettings,
    WriteRequest,
)
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import ID, FhirJson

_TYPE: Final = re.compile(r"^[A-Z][A-Za-z]{1,63}$")
_IF_MATCH: Final = re.compile(r'^(?:W/)?"([A-Za-z0-9\-.]{1,64})"$')


class Planner:
    """Turns write requests into plans."""

    def __init__(self, settings: PlanSettings) -> None:
        self.settings = settings

    def plan(self, request: WriteRequest) -> Plan:
        """The plan of a request.

        Raises:
            HieError: the request as a whole cannot be read; faults of its entries are in
                the plan.
        """
        if not request.target:
            return self._bundle(request)
        body = request.resource
        root = body.get("resourceType") if isinstance(body, dict) else None
        entry = _Entry(
            position=0,
            place="",
            expression=root if isinstance(root, str) and _TYPE.match(root) else "$this",
            method=request.method,
            url=request.target,
            if_none_exist=request.if_none_exist,
            if_match=request.if_match,
            if_none_match=request.if_none_match,
            resource=request.resource,
        )
        return _assemble(PlanKind.SINGLE, 1, [self._write(entry)])

    def _bundle(self, request: WriteRequest) -> Plan:
        bundle = request.resource
        if request.method != "POST" or not isinstance(bundle, dict):
            _refuse(Category.UNSUPPORTED, "only a Bundle may be sent to the base", "not-supported")
        if bundle.get("resourceType") != "Bundle":
            text = "the base takes a Bundle; other resources go to `[base]/[type]`"
            _refuse(Category.INVALID, text, "structure", "$this")
        kind = bundle.get("type")
        if kind not in (PlanKind.TRANSACTION, PlanKind.BATCH):
            text = "a Bundle sent to the base is a `transaction` or a `batch`"
            _refuse(Category.INVALID, text, "value", "Bundle.type")
        entries = bundle.get("entry", [])
        if not isinstance(entries, list):
            _refuse(Category.INVALID, "`entry` is a list", "structure", "Bundle.entry")
        limit = self.settings.limits.entries
        if len(entries) > limit:
            text = f"a Bundle may have {limit} entries"
            _refuse(Category.TOO_LARGE, text, "too-long", "Bundle.entry")
        reads = tuple(n for n, entry in enumerate(entries) if is_read(entry))
        found = [self._bundle_entry(n, e) for n, e in enumerate(entries) if not is_read(e)]
        return _assemble(PlanKind(kind), len(entries), _without_twins(found), reads)

    def _bundle_entry(self, position: int, entry: Any) -> "PlannedWrite | Fault":
        place = f"Bundle.entry[{position}]"
        try:
            if not isinstance(entry, dict):
                _refuse(Category.INVALID, "an entry is an object", "structure", place)
            request = entry.get("request")
            if not isinstance(request, dict):
                text = "`request` is required in each entry"
                _refuse(Category.INVALID, text, "required", f"{place}.request")
            texts = {
                name: _text(holder, name, f"{place}{where}")
                for holder, where, names in (
                    (request, ".request", _REQUEST_TEXTS),
                    (entry, "", ("fullUrl",)),
                )
                for name in names
            }
        except HieError as error:
            return _fault(position, error)
        return self._write(
            _Entry(
                position=position,
                place=f"{place}.request.",
                expression=f"{place}.resource",
                method=texts["method"],
                url=texts["url"],
                full_url=texts["fullUrl"],
                if_none_exist=texts["ifNoneExist"],
                if_match=texts["ifMatch"],
                if_none_match=texts["ifNoneMatch"],
                resource=entry.get("resource"),
            )
        )

    def _write(self, entry: "_Entry") -> "PlannedWrite | Fault":
        try:
            method = _method(entry)
            address = self._address(entry, method)
            if method in (Method.DELETE, Method.PATCH):
                return _planned(entry, method, address, None)
            return _planned(entry, method, address, _resource(entry, address))
        except HieError as error:
            return _fault(entry.position, error)

    def _address(self, entry: "_Entry", method: Method) -> "_Address":
        url = entry.url
        for base in self.settings.bases:
            url = url.removeprefix(f"{base}/")
        path, _, query = url.removeprefix("/").partition("?")
        type_name, _, own_id = path.partition("/")
        known = self.settings.types
        where = f"{entry.place}url" if entry.place else ""
        if "$" in (type_name[:1], own_id[:1]):
            text = "an operation is POSTed by itself, in no Bundle"
            _refuse(Category.UNSUPPORTED, text, "not-supported", where)
        if known and type_name == "Subscription" and type_name not in known:
            text = (
                "a Subscription is written by itself, whole: in no Bundle, by no patch or condition"
            )
            _refuse(Category.UNSUPPORTED, text, "not-supported", where)
        if not _TYPE.match(type_name) or (known and type_name not in known):
            text = "the address names no resource type of FHIR R4"
            _refuse(Category.UNSUPPORTED, text, "not-supported", where)
        if type_name in READ_ONLY_TYPES:
            text = "audit events are written by the hub alone"
            _refuse(Category.UNSUPPORTED, text, "not-supported", where)
        condition = entry.if_none_exist if method is Method.POST else query
        is_fit = not (own_id or query) if method is Method.POST else bool(own_id) != bool(query)
        if not is_fit or (own_id and not ID.match(own_id)):
            _refuse(Category.INVALID, _ADDRESS_FORMS[method], "value", where)
        asked_at = f"{entry.place}ifNoneExist" if method is Method.POST else where
        return _Address(
            type=type_name,
            own_id=own_id,
            condition=condition_of(type_name, condition, asked_at) if condition else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """An entry as sent; `place` is the FHIRPath that its request's elements stand under."""

    position: int
    place: str
    expression: str
    method: str
    url: str
    full_url: str = ""
    if_none_exist: str = ""
    if_match: str = ""
    if_none_match: str = ""
    resource: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Address:
    type: str
    own_id: str
    condition: Condition | None


_REQUEST_TEXTS: Final = ("method", "url", "ifNoneExist", "ifMatch", "ifNoneMatch")
_ADDRESS_FORMS: Final = {
    Method.POST: "a create goes to `[type]`",
    Method.PUT: "an update goes to `[type]/[id]` or `[type]?[parameter]=[value]`",
    Method.PATCH: "a patch goes to `[type]/[id]` or `[type]?[parameter]=[value]`",
    Method.DELETE: "a delete goes to `[type]/[id]` or `[type]?[parameter]=[value]`",
}
_READS: Final = frozenset({"GET", "HEAD"})
#: A patch that stands in a Bundle: as text in a Binary.
_PATCH_LIMITS: Final = Limits(body_bytes=1024 * 1024)


#: The tag of a resource of which a part was asked for (FHIR R4, search.html#subsetted).
SUBSETTED: Final = ("http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "SUBSETTED")


def is_read(entry: Any) -> bool:
    """Whether an entry of a Bundle asks for something instead of writing."""
    request = entry.get("request") if isinstance(entry, dict) else None
    return isinstance(request, dict) and request.get("method") in _READS


def _method(entry: _Entry) -> Method:
    try:
        return Method(entry.method)
    except ValueError:
        where = f"{entry.place}method" if entry.place else ""
        text = "an entry is a GET, POST, PUT, PATCH or DELETE"
        _refuse(Category.UNSUPPORTED, text, "not-supported", where)


def _resource(entry: _Entry, address: _Address) -> FhirJson:
    resource, where = entry.resource, entry.expression
    if not isinstance(resource, dict):
        _refuse(Category.INVALID, "a create or update carries a resource", "required", where)
    if resource.get("resourceType") != address.type:
        text = "the resource is not of the type that the address names"
        _refuse(Category.INVALID, text, "value", f"{where}.resourceType")
    given = resource.get("id")
    if given is not None and not (isinstance(given, str) and ID.match(given)):
        text = "an id has 1 to 64 letters, digits, `-` and `.`"
        _refuse(Category.INVALID, text, "value", f"{where}.id")
    if address.own_id and given != address.own_id:
        text = "an update's resource has the id that the address names"
        _refuse(Category.INVALID, text, "value", f"{where}.id")
    _require_whole(resource, where)
    return resource


def _require_whole(resource: FhirJson, where: str) -> None:
    """Refuse what `_summary` or `_elements` left of a resource: the rest would be lost."""
    meta = resource.get("meta")
    tags = meta.get("tag") if isinstance(meta, dict) else None
    for tag in tags if isinstance(tags, list) else ():
        if isinstance(tag, dict) and (tag.get("system"), tag.get("code")) == SUBSETTED:
            text = "the resource is marked SUBSETTED: a part is not written as the whole"
            _refuse(Category.BUSINESS_RULE, text, "business-rule", f"{where}.meta.tag")


def _planned(
    entry: _Entry, method: Method, address: _Address, resource: FhirJson | None
) -> PlannedWrite:
    own_name = address.own_id or (resource or {}).get("id")
    is_directory = resource is not None and address.type in DIRECTORY_TYPES
    url = entry.full_url if is_directory or not entry.full_url.startswith(URN) else ""
    names = (url, f"{address.type}/{own_name}" if own_name else "")
    return PlannedWrite(
        position=entry.position,
        method=method,
        type=address.type,
        own_id=address.own_id,
        full_url=entry.full_url,
        condition=address.condition,
        if_match=_if_match(entry),
        must_be_new=_must_be_new(entry, method),
        resource=None if resource is None else without_server_data(resource),
        patch=_patch(entry) if method is Method.PATCH else None,
        expression=entry.expression,
        aliases=tuple(name for name in names if name) if resource is not None else (),
        identifiers=identifiers_of(resource) if is_directory and resource else (),
    )


def _if_match(entry: _Entry) -> str:
    if not entry.if_match:
        return ""
    found = _IF_MATCH.match(entry.if_match)
    if not found:
        where = f"{entry.place}ifMatch" if entry.place else ""
        _refuse(Category.INVALID, 'If-Match has the form `W/"[version]"`', "value", where)
    return found[1]


def _must_be_new(entry: _Entry, method: Method) -> bool:
    if not entry.if_none_match or method is not Method.PUT:
        return False
    if entry.if_none_match.strip() != "*":
        where = f"{entry.place}ifNoneMatch" if entry.place else ""
        _refuse(Category.INVALID, "If-None-Match of an update is `*`", "value", where)
    return True


def _patch(entry: _Entry) -> Any:
    """The operations of a patch: of a request as sent, of an entry from its Binary."""
    content, where = entry.resource, entry.expression
    if isinstance(content, dict) and content.get("resourceType") == "Binary" and entry.place:
        content = _in_binary(content, where)
    if isinstance(content, dict):
        kind = content.get("resourceType")
        is_merge = kind is None and not entry.place
        if kind == "Parameters" or is_merge:
            return content
    if not isinstance(content, list):
        text = (
            "a patch is a JSON Patch (in a Bundle: as a Binary), a Parameters resource, or an"
            " object of the changed elements; a whole resource is an update, PUT"
        )
        _refuse(Category.INVALID, text, "structure", where)
    return content


def _in_binary(binary: FhirJson, where: str) -> Any:
    if binary.get("contentType") != JSON_PATCH:
        text = f"a Binary that patches has the content type `{JSON_PATCH}`"
        _refuse(Category.UNSUPPORTED_MEDIA, text, "not-supported", f"{where}.contentType")
    try:
        return parse_json(
            base64.b64decode(str(binary.get("data", "")), validate=True), _PATCH_LIMITS
        )
    except ValueError:
        _refuse(Category.INVALID, "expected base64", "value", f"{where}.data")


def without_server_data(resource: FhirJson) -> FhirJson:
    """The resource without what the hub assigns: id, version and time."""
    kept = {name: value for name, value in resource.items() if name != "id"}
    meta = kept.get("meta")
    if isinstance(meta, dict):
        rest = {k: v for k, v in meta.items() if k not in ("versionId", "lastUpdated")}
        if rest:
            kept["meta"] = rest
        else:
            del kept["meta"]
    return kept


def _without_twins(found: Iterable[PlannedWrite | Fault]) -> list[PlannedWrite | Fault]:
    """The entries, a second write of one resource or fullUrl turned into a fault."""
    seen: set[object] = set()
    kept: list[PlannedWrite | Fault] = []
    for one in found:
        if isinstance(one, PlannedWrite):
            names: set[object] = {n for n in (one.full_url, one.target) if n}
            if names & seen:
                text = "two entries have one fullUrl or write one resource"
                issue = Issue(text=text, code="duplicate", expression=(one.expression,))
                kept.append(Fault(position=one.position, category=Category.INVALID, issue=issue))
                continue
            seen |= names
        kept.append(one)
    return kept


def _assemble(
    kind: PlanKind,
    entries: int,
    found: Iterable[PlannedWrite | Fault],
    reads: tuple[int, ...] = (),
) -> Plan:
    order = list(Method)
    everything = list(found)
    writes = [one for one in everything if isinstance(one, PlannedWrite)]
    return Plan(
        kind=kind,
        entries=entries,
        writes=tuple(sorted(writes, key=lambda w: (order.index(w.method), w.position))),
        faults=tuple(one for one in everything if isinstance(one, Fault)),
        reads=reads,
    )


def _text(holder: FhirJson, name: str, place: str) -> str:
    value = holder.get(name, "")
    if not isinstance(value, str):
        _refuse(Category.INVALID, f"`{name}` is a string", "structure", f"{place}.{name}")
    return value


def _fault(position: int, error: HieError) -> Fault:
    return Fault(position=position, category=error.category, issue=error.issues[0])


def _refuse(category: Category, text: str, code: str, expression: str = "") -> NoReturn:
    issue = Issue(text=text, code=code, expression=(expression,) if expression else ())
    raise HieError(category, text, [issue])
