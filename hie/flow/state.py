"""Which of two statements about a resource holds: the later one, not the one that came last. Pure.

Every statement has a stamp: when it was so, when it was sent, which message said it. What is
whole in each message (a result) is compared by status and stamp. What is told in parts (a
patient, a visit, an order's status) keeps its last statements, and is told anew in the order
of their stamps whenever one comes late. So the outcome does not depend on the order of arrival.
"""

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from adapters.lifecycle import SILENT, Lifecycle
from hie.flow.visit import continued, kept_numbers
from hie.kernel.envelope import WriteMode
from hie.kernel.fhir import FhirJson

#: Statements kept of one resource; what is older than all of them fills only what is absent.
KEPT: Final = 16
#: Elements whose parts a patch overlays one by one.
_OVERLAID: Final = ("period", "hospitalization")


class Stamp(NamedTuple):
    """When something was so and when it was sent, µs; the message decides between equals."""

    event_us: int
    sent_us: int
    message_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One statement about a resource.

    Attributes:
        resource: what is said; of a patch, None clears an element.
        since, undoes: see `hie.flow.visit`.
        adds: lists of which a patch says some entries only.
        is_base: stands for all the statements before it, which are forgotten.
    """

    stamp: Stamp
    mode: WriteMode
    resource: FhirJson
    lifecycle: Lifecycle | None = None
    since: str = ""
    undoes: tuple[str, ...] = ()
    adds: tuple[str, ...] = ()
    is_base: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is stored.

    Attributes:
        resource: None where its content was not read: it is whole in each message.
        rank: step of its status, SILENT where it has none.
        log: its last statements in order of their stamps; () = none were kept.
    """

    stamp: Stamp
    resource: FhirJson | None = None
    is_deleted: bool = False
    rank: int = SILENT
    log: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of a statement.

    Attributes:
        known: what is to be stored; what was, where nothing changes.
        is_written: whether there is anything to store.
        remark: name of the finding it leaves; "" = none.
    """

    known: Known
    is_written: bool = True
    remark: str = ""


OLDER: Final = "older-version"
REGRESSION: Final = "status-regression"
DELETED: Final = "deleted-before"
LATE: Final = "late-message"


def judge(known: Known | None, change: Change) -> Verdict:
    """What a statement does to what is known.

    Args:
        known: None where nothing is stored.
        change: the statement.
    """
    if known is None:
        return Verdict(known=_first(change))
    if is_told_in_parts(change) or known.log:
        return _woven(known, change)
    return _compared(known, change)


def is_told_in_parts(change: Change) -> bool:
    """Whether a message says only some of the resource, so that others' words stay."""
    if change.mode is WriteMode.UPSERT:
        return change.lifecycle is not None and not change.lifecycle.is_whole
    return change.mode is not WriteMode.DELETE


def _first(change: Change) -> Known:
    is_deleted = change.mode is WriteMode.DELETE
    is_kept = is_told_in_parts(change) and change.mode is not WriteMode.CREATE_IF_ABSENT
    return Known(
        stamp=change.stamp,
        resource=_stated(change.resource),
        is_deleted=is_deleted,
        rank=_rank(change.lifecycle, change.resource),
        log=(change,) if is_kept else (),
    )


# What is whole in each message


def _compared(known: Known, change: Change) -> Verdict:
    rank = _rank(change.lifecycle, change.resource)
    is_same = known.stamp.message_id == change.stamp.message_id  # processed anew
    is_later = is_same or change.stamp >= known.stamp
    if change.mode is WriteMode.DELETE or known.is_deleted or is_same:
        loss = "" if is_later else (DELETED if known.is_deleted else OLDER)
    elif rank != known.rank:
        loss = "" if rank > known.rank else REGRESSION
    else:
        loss = "" if is_later else OLDER
    if loss:
        return Verdict(known=known, is_written=False, remark=loss)
    is_deleted = change.mode is WriteMode.DELETE
    return Verdict(
        known=Known(
            stamp=change.stamp,
            resource=(known.resource or {}) if is_deleted else _stated(change.resource),
            is_deleted=is_deleted,
            rank=rank,
        )
    )


# What is told in parts


def _woven(known: Known, change: Change) -> Verdict:
    log = list(known.log) or [_base_of(known, change)]
    again = [n for n, e in enumerate(log) if _is_same_statement(e, change)]
    is_first = bool(known.log) and change.stamp < log[0].stamp
    if change.mode is WriteMode.CREATE_IF_ABSENT and not again and not is_first:
        return Verdict(known=known, is_written=False)
    for position in reversed(again):
        del log[position]
    is_late = bool(log) and change.stamp < log[-1].stamp
    if log and log[0].is_base and change.stamp < log[0].stamp:
        log[0] = _beneath(log[0], change)
    else:
        log.insert(bisect_right(log, change.stamp, key=_stamp_of), change)
    log = _bounded(log)
    resource, is_deleted = _told(log)
    found = Known(
        stamp=max(known.stamp, log[-1].stamp),
        resource=resource,
        is_deleted=is_deleted,
        rank=_rank(change.lifecycle, resource or {}),
        log=tuple(log),
    )
    return Verdict(known=found, remark=_remark(known, found, change, is_late=is_late))


def _remark(known: Known, found: Known, change: Change, *, is_late: bool) -> str:
    if found.is_deleted and change.mode is not WriteMode.DELETE:
        return DELETED
    said = _rank(change.lifecycle, change.resource)
    if SILENT < said < found.rank and not is_late:
        return REGRESSION
    if not is_late or change.mode is WriteMode.CREATE_IF_ABSENT:
        return ""
    return OLDER if found.resource == known.resource else LATE


def _stamp_of(change: Change) -> Stamp:
    return change.stamp


def _is_same_statement(entry: Change, change: Change) -> bool:
    return entry.stamp.message_id == change.stamp.message_id and entry.mode is change.mode


def _base_of(known: Known, change: Change) -> Change:
    """What is stored, as the first statement: something that only mentioned it made it."""
    return Change(
        stamp=known.stamp,
        mode=WriteMode.DELETE if known.is_deleted else WriteMode.CREATE_IF_ABSENT,
        resource=known.resource or {},
        lifecycle=change.lifecycle,
    )


def _beneath(base: Change, change: Change) -> Change:
    """A statement older than all that is kept fills only what is absent."""
    if change.mode not in (WriteMode.PATCH, WriteMode.CREATE_IF_ABSENT):
        return base
    return replace(base, resource={**_stated(change.resource), **base.resource})


def _bounded(log: list[Change]) -> list[Change]:
    if len(log) <= KEPT:
        return log
    cut = len(log) - KEPT + 1
    resource, is_deleted = _told(log[:cut])
    base = replace(
        log[cut - 1],
        mode=WriteMode.DELETE if is_deleted else WriteMode.UPSERT,
        resource=resource,
        since="",
        undoes=(),
        adds=(),
        is_base=True,
    )
    return [base, *log[cut:]]


def _told(log: Sequence[Change]) -> tuple[FhirJson, bool]:
    """The resource as its statements in order make it, and whether it is deleted."""
    resource: FhirJson = {}
    is_there = is_deleted = False
    for change in log:
        if change.mode is WriteMode.DELETE:
            resource, is_deleted = resource or change.resource, True
        elif change.mode is WriteMode.UPSERT:
            resource, is_deleted = _replaced(resource, change), False
        elif is_deleted:
            continue  # a mere mention brings nothing back
        elif not is_there:
            resource = _stated(change.resource)
        elif change.mode is WriteMode.PATCH:
            resource = patched(resource, change)
        is_there = True
    return resource, is_deleted


def _replaced(old: FhirJson, change: Change) -> FhirJson:
    return _with_status(old, _stated(change.resource), change.lifecycle)


def patched(old: FhirJson, change: Change) -> FhirJson:
    """A resource with the elements of a patch laid over it."""
    said = change.resource
    if change.since or change.undoes:
        old, said = continued(old, said, change.since, change.undoes)
    said = kept_numbers(old, said)
    merged = {**old, **said}
    for name in _OVERLAID:
        # A discharge that does not repeat when the visit began leaves its beginning.
        was, now = old.get(name), said.get(name)
        if isinstance(was, dict) and isinstance(now, dict):
            merged[name] = {**was, **now}
    for name in change.adds:
        merged[name] = _joined(old.get(name) or [], said.get(name) or []) or None
    return _with_status(old, _stated(merged), change.lifecycle)


def _joined(old: Sequence[FhirJson], said: Sequence[FhirJson]) -> list[FhirJson]:
    """Entries of a list with those of a message in place of what was said of the same before."""
    spoken = {_of_whom(entry) for entry in said}
    return [*(entry for entry in old if _of_whom(entry) not in spoken), *said]


def _of_whom(entry: FhirJson) -> str:
    """Who or what an entry is about: its actor, else its kind, else all it says."""
    actor = entry.get("actor") or {}
    who = actor.get("reference") or actor.get("identifier") or actor.get("display")
    if who:
        return json.dumps([who, entry.get("required")], sort_keys=True)
    return json.dumps(entry.get("type") or entry, sort_keys=True, default=str)


def _with_status(old: FhirJson, new: FhirJson, lifecycle: Lifecycle | None) -> FhirJson:
    """The new content, its status not falling behind the one there was."""
    if lifecycle is None or lifecycle.rank(new) >= lifecycle.rank(old):
        return new
    return {**new, lifecycle.element: old[lifecycle.element]}


def _stated(resource: FhirJson) -> FhirJson:
    return {name: value for name, value in resource.items() if value is not None}


def _rank(lifecycle: Lifecycle | None, resource: FhirJson) -> int:
    return lifecycle.rank(resource) if lifecycle is not None else SILENT
