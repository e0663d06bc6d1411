"""The SQL of raised labels."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import String, bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.raised.tables import label_taken_back, raised_label

_T = raised_label.c
_CHUNK = 500
# Built once: every message runs these.
_OF_RECORDS = select(_T.record_id, _T.target, _T.mask).where(
    _T.record_id.in_(bindparam("records", type_=String, expanding=True))
)
_OF_TARGETS = select(_T.target, _T.mask).where(
    _T.target.in_(bindparam("targets", type_=String, expanding=True))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenBack:
    """Labels that an officer took back from what a sender raised."""

    number: int
    record_id: str
    target: str
    mask: int
    is_undone: bool


#: Record to target (`Type/id`, or "" for all of the record) to mask.
RaisedLabels = Mapping[str, Mapping[str, int]]


async def load(conn: AsyncConnection, record_ids: Iterable[str]) -> dict[str, dict[str, int]]:
    """What is raised on the records; a record without anything is not in it."""
    wanted = sorted(set(record_ids))
    found: dict[str, dict[str, int]] = {}
    for start in range(0, len(wanted), _CHUNK):
        asked = {"records": wanted[start : start + _CHUNK]}
        for record_id, target, mask in await conn.execute(_OF_RECORDS, asked):
            found.setdefault(record_id, {})[target] = mask
    return found


async def of_targets(conn: AsyncConnection, targets: Iterable[str]) -> dict[str, int]:
    """What is raised on resources, whichever record they are filed under."""
    wanted = sorted(set(targets))
    found: dict[str, int] = {}
    for start in range(0, len(wanted), _CHUNK):
        asked = {"targets": wanted[start : start + _CHUNK]}
        for target, mask in await conn.execute(_OF_TARGETS, asked):
            found[target] = found.get(target, 0) | mask
    return found


async def inherit(
    conn: AsyncConnection, heir: str, retired: str, *, message_id: int, now_us: int
) -> None:
    """Let the record that is left of two carry what was raised on both."""
    known = await load(conn, [heir, retired])
    more = {(heir, target): mask for target, mask in known.get(retired, {}).items()}
    await add(conn, known, more, message_id=message_id, now_us=now_us)


async def repeat_target(
    conn: AsyncConnection, record: str, target: str, old: str, *, message_id: int, now_us: int
) -> None:
    """Let a resource of a record carry what was raised on the one that is united with it."""
    if mask := (await of_targets(conn, [old])).get(old, 0):
        known = await load(conn, [record])
        await add(conn, known, {(record, target): mask}, message_id=message_id, now_us=now_us)


async def add(
    conn: AsyncConnection,
    known: RaisedLabels,
    more: Mapping[tuple[str, str], int],
    *,
    message_id: int,
    now_us: int,
) -> None:
    """Raise labels on (record, target); bits are only ever added.

    Args:
        conn: open write transaction.
        known: what is raised on these records, as loaded in this transaction.
        more: the masks to add.
        message_id: which message asks for it.
        now_us: when.
    """
    for (record_id, target), mask in sorted(more.items()):
        before = known.get(record_id, {}).get(target)
        values = {"mask": (before or 0) | mask, "message_id": message_id, "at_us": now_us}
        if before is None:
            row = {"record_id": record_id, "target": target, **values}
            await conn.execute(insert(raised_label), [row])
        elif before | mask != before:
            await conn.execute(
                update(raised_label)
                .where(_T.record_id == record_id, _T.target == target)
                .values(**values)
            )


async def set_masks(conn: AsyncConnection, record_id: str, masks: Mapping[str, int]) -> None:
    """Put other masks in the place of what is raised on targets of a record.

    The one way to lower what a sender raised; see `hie.flow.lowering`.
    """
    for target, mask in masks.items():
        await conn.execute(
            update(raised_label)
            .where(_T.record_id == record_id, _T.target == target)
            .values(mask=mask)
        )


async def take_back(
    conn: AsyncConnection, number: int, record_id: str, target: str, mask: int, now_us: int
) -> None:
    """Remember that labels were taken back."""
    row = {"id": number, "record_id": record_id, "target": target, "mask": mask}
    await conn.execute(insert(label_taken_back).values(**row, at_us=now_us))


async def taken_back(conn: AsyncConnection, number: int) -> TakenBack | None:
    """What was taken back under a number."""
    query = select(label_taken_back).where(label_taken_back.c.id == number)
    row = (await conn.execute(query)).first()
    if row is None:
        return None
    return TakenBack(
        number=row.id,
        record_id=row.record_id,
        target=row.target,
        mask=row.mask,
        is_undone=row.undone_us is not None,
    )


async def undo(conn: AsyncConnection, number: int, now_us: int) -> None:
    """Remember that it was put back."""
    of_number = label_taken_back.c.id == number
    await conn.execute(update(label_taken_back).where(of_number).values(undone_us=now_us))
