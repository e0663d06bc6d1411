"""What the writes of a plan come to: placements, names, statuses - and what forbids them (pure)."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import NoReturn

from adapters.fhir.plan import Method, Named, Plan, PlannedWrite, Target
from adapters.fhir.references import HubId
from adapters.validation_policy import labelled
from hie.flow.placement import Origin, Placement
from hie.kernel.envelope import WriteMode
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import SourceRecordId
from hie.store.loader import Head
from mpi.model import Identified


def issue_in(issue: Issue, write: PlannedWrite) -> Issue:
    """An issue of a resource with the place of that resource in the request."""
    expressions = tuple(
        write.expression + e[len(write.type) :] if e.startswith(write.type) else write.expression
        for e in issue.expression or ("",)
    )
    return replace(issue, expression=expressions)


def tagged(plan: Plan, labels: Mapping[int, tuple[str, ...]]) -> Plan:
    """The plan with resources tagged by the labels of their entries, and by no such tag else."""
    writes = (
        replace(write, resource=labelled(write.resource, labels.get(write.position, ())))
        if write.resource is not None
        else write
        for write in plan.writes
    )
    return replace(plan, writes=tuple(writes))


def aliases_of(plan: Plan, ids: Mapping[str, HubId]) -> dict[str, HubId]:
    """What the source may call each resource it has written."""
    return {
        alias: ids[write.name]
        for write in plan.writes
        for alias in write.aliases
        if write.method is not Method.DELETE
    }


def aims_of(plan: Plan) -> frozenset[Target]:
    """What updates and deletes are aimed at, which may be deleted."""
    return frozenset(write.target for write in plan.writes if write.target is not None)


def after_deletes(plan: Plan, known: Mapping[Target, HubId]) -> dict[Target, HubId]:
    """What names and conditions mean once the deletes of a plan are carried out: they go first."""
    aims = {w.target for w in plan.writes if w.method is Method.DELETE}
    gone = {hub_id for target, hub_id in known.items() if target in aims}
    return {target: hub_id for target, hub_id in known.items() if hub_id not in gone}


def own_names(plan: Plan) -> frozenset[Target]:
    """What resources of conditional updates call themselves; it must be known to compare it."""
    return frozenset(
        name for write in plan.writes if (name := _own_name(write)) and write.condition is not None
    )


def _own_name(write: PlannedWrite) -> Named | None:
    is_aimed = write.method is Method.PUT and write.condition is not None
    mine = [alias for alias in write.aliases if alias.startswith(f"{write.type}/")]
    return Named(mine[0]) if is_aimed and mine else None


def placements_of(
    plan: Plan,
    ids: Mapping[str, HubId],
    kept: Collection[str],
    resources: Mapping[str, FhirJson],
    records: Mapping[str, Identified],
) -> list[Placement]:
    """The writes of a plan as they go to the store.

    Args:
        plan: the writes.
        ids: where each goes, by its name.
        kept: those whose condition found what is there already.
        resources: with references resolved, by the write's name.
        records: Patients of the plan, by the write's name.
    """
    owners = [found.source_record_id for found in records.values()]
    # What names no patient is filed under the only one the request is about.
    owner = owners[0] if len(owners) == 1 else None
    return [
        _placement(write, ids[write.name], resources, owner, records)
        for write in plan.writes
        if write.name not in kept
    ]


def _placement(
    write: PlannedWrite,
    hub_id: HubId,
    resources: Mapping[str, FhirJson],
    owner: SourceRecordId | None,
    records: Mapping[str, Identified],
) -> Placement:
    if write.method is Method.DELETE:
        deleted = {"resourceType": write.type}
        return Placement(type=hub_id[0], id=hub_id[1], resource=deleted, mode=WriteMode.DELETE)
    return Placement(
        type=hub_id[0],
        id=hub_id[1],
        resource=_without_own_link(resources[write.name], hub_id[1]),
        # A Patient whose new demographics a task holds, or whose number was merged away, does
        # not overwrite what is stored.
        mode=WriteMode.CREATE_IF_ABSENT
        if (found := records.get(write.name)) and (found.is_held or found.redirected_from)
        else write.draft().mode,
        owner=owner,
    )


def _without_own_link(resource: FhirJson, own_id: str) -> FhirJson:
    """A Patient without the link that the hub adds when it serves it: to who it is itself."""
    links = resource.get("link")
    if resource.get("resourceType") != "Patient" or not isinstance(links, list):
        return resource
    added = {"other": {"reference": f"Patient/{own_id}"}, "type": "refer"}
    kept = [link for link in links if link != added]
    rest = {name: value for name, value in resource.items() if name != "link"}
    if len(kept) == len(links):
        return resource
    return {n: kept if n == "link" else v for n, v in resource.items()} if kept else rest


def require_distinct(plan: Plan, ids: Mapping[str, HubId], known: Mapping[Target, HubId]) -> None:
    """Refuse two writes of one resource under different names, and a resource that is another.

    Raises:
        HieError: INVALID.
    """
    seen: set[HubId] = set()
    for write in plan.writes:
        hub_id = ids[write.name]
        # Deletes come first: what a request deletes it cannot create again under the same id.
        if hub_id in seen:
            _refuse(Category.INVALID, "two entries write one resource", "duplicate", write)
        if write.method is not Method.POST:
            seen.add(hub_id)
        name = _own_name(write)
        if name is not None and known.get(name, hub_id) != hub_id and write.target in known:
            text = "the id in the resource is that of another than the condition finds"
            _refuse(Category.INVALID, text, "value", write)


def require_versions(
    plan: Plan, ids: Mapping[str, HubId], before: Mapping[HubId, Head], origin: Origin
) -> None:
    """Refuse what is aimed at another's resource, a missing one, or a version gone by.

    Raises:
        HieError: FORBIDDEN or STALE.
    """
    for write in plan.writes:
        head = before.get(ids[write.name])
        if write.method is not Method.POST and head and head.source_id != origin.source_id:
            text = "another source sent this resource; only that source may change it"
            _refuse(Category.FORBIDDEN, text, "forbidden", write)
        if write.if_match and (head is None or str(head.version) != write.if_match):
            text = "`If-Match` names a version that is not current; read it again"
            _refuse(Category.STALE, text, "conflict", write)
        if write.must_be_new and head is not None and not head.is_deleted:
            text = "`If-None-Match`: the resource is there already"
            _refuse(Category.STALE, text, "conflict", write)


def audited(plan: Plan, *, is_new: bool) -> tuple[str, str]:
    """Action and interaction that an audit row tells of a plan: what it did at the most."""
    methods = {write.method for write in plan.writes}
    if is_new:
        return "C", "create"
    if methods == {Method.DELETE}:
        return "D", "delete"
    return "U", "update"


def status_of(write: PlannedWrite, before: Head | None) -> int:
    """The HTTP status of a write that was carried out."""
    if write.method is Method.DELETE:
        return 204
    return 200 if before is not None and not before.is_deleted else 201


def _refuse(category: Category, text: str, code: str, write: PlannedWrite) -> NoReturn:
    raise HieError(category, text, [Issue(text=text, code=code, expression=(write.expression,))])
