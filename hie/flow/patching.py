"""Patches of a plan, turned into updates of what is stored now.

A source patches what it sent itself and nothing else: the operations are carried out on the
resource as it is served to that source, whole, in the transaction that stores the result. A
view that the hub builds of several records is no resource of anybody's and takes no patch.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.fhir.body import Limits, parse_json
from adapters.fhir.bundle import without_server_data
from adapters.fhir.fhirpath import Elements
from adapters.fhir.fhirpath_patch import fhirpath_patch
from adapters.fhir.json_patch import depth, json_patch
from adapters.fhir.merge_patch import merge_patch
from adapters.fhir.plan import Method, Plan, PlannedWrite, Target
from adapters.fhir.references import HubId
from hie.flow.placement import Origin
from hie.flow.resolve import Resolver
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson
from hie.store.query import Served
from hie.store.repository import ResourceRepository
from hie.store.residual import Residual

_LIMITS = Limits()
_ABSENT = "there is no such resource of yours to patch"
_VIEW = "this Patient is built of several records; patch your own, `Patient/[id]` as you were told"
_FIXED = "a patch changes neither the type nor the id of a resource"


class Patches:
    """Reads what patches are aimed at, and applies them.

    Args:
        elements: the elements of a type, for FHIRPath Patch.
    """

    def __init__(
        self, repository: ResourceRepository, resolver: Resolver, elements: Elements
    ) -> None:
        self._repository = repository
        self._resolver = resolver
        self._elements = elements

    async def applied(
        self,
        conn: AsyncConnection,
        origin: Origin,
        plan: Plan,
        aims: Mapping[str, HubId],
    ) -> Plan:
        """The plan with each patch as the update it comes to.

        Args:
            conn: open write transaction, serialized for the source.
            origin: the message.
            plan: the writes.
            aims: the Patients that conditional writes are aimed at, by the write's name.

        Raises:
            HieError: NOT_FOUND, GONE or FORBIDDEN for what is not there or not the source's,
                STALE for a version gone by, and what the patch itself raises.
        """
        patches = [w for w in plan.writes if w.method is Method.PATCH]
        if not patches:
            return plan
        targets = {w.target for w in patches if w.target is not None}
        known = await self._resolver.known(conn, origin, targets, targets)
        updates = {
            write.name: await self._update(conn, origin, write, aims.get(write.name), known)
            for write in patches
        }
        return replace(plan, writes=tuple(updates.get(w.name, w) for w in plan.writes))

    async def _update(
        self,
        conn: AsyncConnection,
        origin: Origin,
        write: PlannedWrite,
        aim: HubId | None,
        known: Mapping[Target, HubId],
    ) -> PlannedWrite:
        hub_id = aim or (known.get(write.target) if write.target is not None else None)
        if hub_id is None:
            raise _refusal(Category.NOT_FOUND, _ABSENT, "not-found", write)
        if write.own_id and await self._resolver.is_view(conn, origin, write.type, write.own_id):
            raise _refusal(Category.BUSINESS_RULE, _VIEW, "business-rule", write)
        own = Residual(own_sources=frozenset({origin.source_id}))
        served = await self._repository.read(conn, own, *hub_id)
        if served is None:
            raise _refusal(Category.NOT_FOUND, _ABSENT, "not-found", write)
        if served.source_id != origin.source_id:
            text = "another source sent this resource; only that source may change it"
            raise _refusal(Category.FORBIDDEN, text, "forbidden", write)
        if served.is_deleted:
            raise _refusal(Category.GONE, "the resource was deleted", "deleted", write)
        if write.if_match and write.if_match != served.version:
            text = "`If-Match` names a version that is not current; read it again"
            raise _refusal(Category.STALE, text, "conflict", write)
        stored = (await self._repository.load(conn, [hub_id]))[hub_id].resource
        before: FhirJson = parse_json(served.body, _LIMITS)
        renamed = _renamed(before, stored)
        _add_members(renamed, before, served)
        after = _with_references(self._patched(before, write), renamed)
        return replace(
            write,
            method=Method.PUT,
            own_id=hub_id[1],
            condition=None,
            if_match=served.version,
            resource=without_server_data(after),
            patch=None,
            settled=frozenset(_literal(stored)),
        )

    def _patched(self, before: FhirJson, write: PlannedWrite) -> FhirJson:
        try:
            if isinstance(write.patch, list):
                after = json_patch(before, write.patch)
            elif write.patch.get("resourceType") == "Parameters":
                after = fhirpath_patch(before, write.patch, self._elements)
            else:
                after = merge_patch(before, write.patch)
        except HieError as error:
            raise _placed(error, write) from error
        is_same = isinstance(after, dict) and all(
            after.get(name) == before[name] for name in ("resourceType", "id")
        )
        if not is_same:
            raise _refusal(Category.BUSINESS_RULE, _FIXED, "business-rule", write)
        if depth(after) > _LIMITS.depth:
            text = f"a resource may be nested {_LIMITS.depth} deep"
            raise _refusal(Category.BUSINESS_RULE, text, "too-costly", write)
        patched: FhirJson = after
        return patched


def _renamed(served: Any, stored: Any) -> dict[str, list[str]]:
    """References served under another name than they are stored under, to those, in their order.

    Only patients are: as the person they belong to now. Two records of one person have one name.
    The two have one shape but for meta.
    """
    found: dict[str, list[str]] = {}
    stack = [(served, stored)]
    while stack:
        one, other = stack.pop()
        if isinstance(one, dict) and isinstance(other, dict):
            name, kept = one.get("reference"), other.get("reference")
            if isinstance(name, str) and isinstance(kept, str) and name != kept:
                found.setdefault(name, []).append(kept)
            shared = [n for n in one if n in other and n != "meta"]
            stack += [(one[n], other[n]) for n in reversed(shared)]
        elif isinstance(one, list) and isinstance(other, list):
            stack += reversed([*zip(one, other, strict=False)])
    return found


def _add_members(names: dict[str, list[str]], before: FhirJson, served: Served) -> None:
    """Members of a panel that this view names by record are known to its source by person."""
    by_record = {*_literal(before)}
    for person, record in [(served.person_id, served.source_record_id), *served.further]:
        if (name := f"Patient/{record}") in by_record:
            names.setdefault(f"Patient/{person}", []).append(name)


def _literal(node: Any) -> Iterator[str]:
    """Every literal reference of a resource but those to what is contained in it."""
    stack = [node]
    while stack:
        found = stack.pop()
        if isinstance(found, dict):
            reference = found.get("reference")
            if isinstance(reference, str) and not reference.startswith("#"):
                yield reference
            stack += found.values()
        elif isinstance(found, list):
            stack += found


def _with_references(resource: FhirJson, names: Mapping[str, Sequence[str]]) -> FhirJson:
    """`resource` itself, its references under other names.

    Where one name stands for several, the first reference gets the first of them, the next one
    the next, and what is left of the references the last: two members that are one person now
    stay two.
    """
    left = {name: [*kept] for name, kept in names.items()}
    stack: list[Any] = [resource] if names else []
    while stack:
        found = stack.pop()
        if isinstance(found, dict):
            name = found.get("reference")
            if isinstance(name, str) and (kept := left.get(name)):
                found["reference"] = kept.pop(0) if len(kept) > 1 else kept[0]
            stack += reversed(found.values())
        elif isinstance(found, list):
            stack += reversed(found)
    return resource


def _placed(error: HieError, write: PlannedWrite) -> HieError:
    """The patch's refusal, with the place of the patch in the request."""
    issues = error.issues or (Issue(text=error.text, code="processing"),)
    placed = [
        replace(issue, expression=tuple(_at(e, write) for e in issue.expression or ("",)))
        for issue in issues
    ]
    return HieError(error.category, error.text, placed)


def _at(expression: str, write: PlannedWrite) -> str:
    inner = expression.partition(".")[2] if expression else ""
    return f"{write.expression}.{inner}" if inner else write.expression


def _refusal(category: Category, text: str, code: str, write: PlannedWrite) -> HieError:
    return HieError(category, text, [Issue(text=text, code=code, expression=(write.expression,))])
