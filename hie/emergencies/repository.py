"""The SQL of emergency accesses; what is sealed passes through as bytes."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, bindparam, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.emergencies.model import Emergency, EmergencyState, Suspension, Verdict
from hie.emergencies.tables import (
    emergency_access,
    emergency_alert,
    emergency_event,
    emergency_suspension,
)

_access, _event, _suspended = emergency_access.c, emergency_event.c, emergency_suspension.c
_alert = emergency_alert.c
# Built once: every request with an emergency token runs it.
_OPEN: Final = select(_access.person_id).where(
    _access.token_id == bindparam("token_id"),
    _access.user_name == bindparam("user_name"),
    _access.organization == bindparam("organization"),
    _access.opened_us <= bindparam("now_us"),
    _access.expires_us > bindparam("now_us"),
    _access.ended_us.is_(None),
)


async def opened_persons(
    conn: AsyncConnection, *, token_id: str, organization: str, user: str, now_us: int
) -> frozenset[str]:
    """The persons whose records a token opens now, for the user it was given to."""
    asked = {
        "token_id": token_id,
        "organization": organization,
        "user_name": user,
        "now_us": now_us,
    }
    return frozenset((await conn.execute(_OPEN, asked)).scalars())


async def add(conn: AsyncConnection, found: Emergency, key_id: int, words: bytes) -> None:
    """A question that was answered: the person is known."""
    await conn.execute(
        emergency_access.insert().values(
            id=found.id,
            token_id=found.token_id,
            organization=found.organization,
            user_name=found.user,
            person_id=found.person_id,
            asked_us=found.asked_us,
            code=found.code,
            key_id=key_id,
            words=words,
            factors=" ".join(found.factors),
            ended_by="",
            verdict=Verdict.NONE.value,
            reviewed_by="",
        )
    )


async def newest_of(
    conn: AsyncConnection, token_id: str, person_id: str
) -> tuple[Emergency, int, bytes] | None:
    """The last access of a token to a person, locked; with what is sealed of it."""
    query = (
        select(emergency_access)
        .where(_access.token_id == token_id, _access.person_id == person_id)
        .order_by(_access.id.desc())
        .limit(1)
        .with_for_update()
    )
    row = (await conn.execute(query)).first()
    return None if row is None else (_emergency(row), row.key_id, row.words)


async def by_id(
    conn: AsyncConnection, number: int, *, is_locked: bool = False
) -> tuple[Emergency, int, bytes] | None:
    """One access, with what is sealed of it."""
    query = select(emergency_access).where(_access.id == number)
    row = (await conn.execute(query.with_for_update() if is_locked else query)).first()
    return None if row is None else (_emergency(row), row.key_id, row.words)


async def change(conn: AsyncConnection, number: int, **values: Any) -> None:
    """Set columns of one access."""
    await conn.execute(update(emergency_access).where(_access.id == number).values(**values))


async def opened(conn: AsyncConnection, found: Emergency) -> None:
    """Keep that an access was opened."""
    await change(
        conn,
        found.id,
        opened_us=found.opened_us,
        expires_us=found.expires_us,
        notice_us=found.notice_us,
        task_id=found.task_id,
    )


async def end_of(
    conn: AsyncConnection, organization: str, user: str, now_us: int
) -> list[Emergency]:
    """End every open access of a user, by staff; those that were open."""
    whose = _is_open(now_us) & (_access.organization == organization) & (_access.user_name == user)
    return await _end(conn, whose, now_us, "staff")


async def end_about(
    conn: AsyncConnection, persons: Collection[str], now_us: int
) -> list[Emergency]:
    """End every open access to persons whose records changed hands, and what was only asked."""
    is_unopened = _access.opened_us.is_(None) & _access.ended_us.is_(None)
    whose = _access.person_id.in_(sorted(persons)) & (_is_open(now_us) | is_unopened)
    found = await _end(conn, whose, now_us, "merge")
    return [one for one in found if one.opened_us is not None]


async def _end(
    conn: AsyncConnection, whose: ColumnElement[bool], now_us: int, by: str
) -> list[Emergency]:
    found = [_emergency(row) for row in await conn.execute(select(emergency_access).where(whose))]
    if found:
        wanted = _access.id.in_([one.id for one in found])
        ended = update(emergency_access).where(wanted).values(ended_us=now_us, ended_by=by)
        await conn.execute(ended)
    return found


async def listed(
    conn: AsyncConnection,
    *,
    states: Collection[EmergencyState],
    is_reviewed: bool | None,
    now_us: int,
    before: int | None,
    limit: int,
) -> list[Emergency]:
    """Accesses, the newest first; their words stay sealed."""
    ways = {
        EmergencyState.ASKED: _access.opened_us.is_(None),
        EmergencyState.OPEN: _is_open(now_us),
        EmergencyState.ENDED: _access.opened_us.is_not(None) & ~_is_open(now_us),
    }
    query = select(emergency_access).where(or_(*(ways[state] for state in states)))
    if is_reviewed is not None:
        is_open = _access.verdict == Verdict.NONE.value
        query = query.where(~is_open if is_reviewed else is_open)
    if before is not None:
        query = query.where(_access.id < before)
    rows = await conn.execute(query.order_by(_access.id.desc()).limit(limit))
    return [_emergency(row) for row in rows]


async def told_to(conn: AsyncConnection, persons: Collection[str], now_us: int) -> list[Emergency]:
    """What the patient is told of by now, the newest first."""
    query = (
        select(emergency_access)
        .where(_access.person_id.in_(sorted(persons)), _access.notice_us <= now_us)
        .order_by(_access.id.desc())
    )
    return [_emergency(row) for row in await conn.execute(query)]


async def recent_of(
    conn: AsyncConnection, persons: Collection[str], since_us: int
) -> list[Emergency]:
    """Accesses to these persons that were asked for since."""
    query = select(emergency_access).where(
        _access.person_id.in_(sorted(persons)), _access.asked_us >= since_us
    )
    return [_emergency(row) for row in await conn.execute(query)]


async def unreviewed(conn: AsyncConnection) -> int:
    """How many opened accesses nobody has reviewed."""
    waiting = (_access.verdict == Verdict.NONE.value) & _access.opened_us.is_not(None)
    query = select(func.count()).select_from(emergency_access).where(waiting)
    return int((await conn.execute(query)).scalar_one())


async def add_event(conn: AsyncConnection, values: Mapping[str, Any]) -> None:
    """Keep what somebody did."""
    await conn.execute(emergency_event.insert().values(**values))


async def events(conn: AsyncConnection, number: int) -> Sequence[Row[Any]]:
    """What was done to an access, oldest first."""
    query = select(emergency_event).where(_event.emergency_id == number).order_by(_event.id)
    return (await conn.execute(query)).all()


async def is_suspended(conn: AsyncConnection, organization: str, user: str) -> bool:
    """Whether a user may not break the glass now."""
    whose = (_suspended.organization == organization) & (_suspended.user_name == user)
    query = select(_suspended.id).where(whose, _suspended.lifted_us.is_(None)).limit(1)
    return (await conn.execute(query)).first() is not None


async def suspend(conn: AsyncConnection, found: Suspension) -> None:
    """Take a user's privilege away."""
    await conn.execute(
        emergency_suspension.insert().values(
            id=found.id,
            organization=found.organization,
            user_name=found.user,
            since_us=found.since_us,
            by_name=found.by,
            emergency_id=found.emergency_id,
            lifted_by="",
        )
    )


async def lift(
    conn: AsyncConnection, now_us: int, by: str, *, number: int = 0, emergency_id: int = 0
) -> int:
    """Give the privilege back: of one suspension, or of those an access led to; how many."""
    whose = _suspended.id == number if number else _suspended.emergency_id == emergency_id
    held = update(emergency_suspension).where(whose, _suspended.lifted_us.is_(None))
    return int((await conn.execute(held.values(lifted_us=now_us, lifted_by=by))).rowcount)


async def suspensions(
    conn: AsyncConnection, *, is_all: bool, emergency_id: int = 0
) -> list[Suspension]:
    """Who may not now, or ever was not to; the newest first."""
    query = select(emergency_suspension).order_by(_suspended.id.desc())
    if not is_all:
        query = query.where(_suspended.lifted_us.is_(None))
    if emergency_id:
        query = query.where(_suspended.emergency_id == emergency_id)
    return [
        Suspension(
            id=row.id,
            organization=row.organization,
            user=row.user_name,
            since_us=row.since_us,
            by=row.by_name,
            emergency_id=row.emergency_id,
            lifted_us=row.lifted_us,
            lifted_by=row.lifted_by,
        )
        for row in await conn.execute(query)
    ]


def _is_open(now_us: int) -> ColumnElement[bool]:
    return (
        _access.opened_us.is_not(None) & (_access.expires_us > now_us) & _access.ended_us.is_(None)
    )


def _emergency(row: Row[Any]) -> Emergency:
    return Emergency(
        id=row.id,
        token_id=row.token_id,
        organization=row.organization,
        user=row.user_name,
        person_id=row.person_id,
        asked_us=row.asked_us,
        code=row.code,
        factors=tuple(row.factors.split()),
        opened_us=row.opened_us,
        expires_us=row.expires_us,
        ended_us=row.ended_us,
        ended_by=row.ended_by,
        notice_us=row.notice_us,
        task_id=row.task_id,
        verdict=Verdict(row.verdict),
        reviewed_us=row.reviewed_us,
        reviewed_by=row.reviewed_by,
    )


# Telling the privacy office


async def announce(conn: AsyncConnection, number: int, now_us: int) -> None:
    """An access is to be told of, in the transaction that opens it."""
    row = {"emergency_id": number, "attempts": 0, "due_us": now_us}
    await conn.execute(emergency_alert.insert(), [row])


async def alerts_waiting(conn: AsyncConnection) -> tuple[int, int | None]:
    """How many alerts wait, and when the next one is due (µs); None where none waits."""
    query = select(func.count(), func.min(_alert.due_us)).where(_alert.settled_us.is_(None))
    count, due_us = (await conn.execute(query)).one()
    return int(count), due_us


async def claim_alert(
    conn: AsyncConnection, *, now_us: int, until_us: int
) -> tuple[int, int, int, bool] | None:
    """The alert that has been due longest, which nobody else takes until `until_us`.

    Returns:
        Number of the access, tries with this one, when it was opened, and whether it was
        reviewed meanwhile.
    """
    due = (
        select(emergency_alert.c.emergency_id)
        .where(_alert.settled_us.is_(None), _alert.due_us <= now_us)
        .order_by(_alert.due_us, _alert.emergency_id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    number = (await conn.execute(due)).scalar()
    if number is None:
        return None
    await conn.execute(
        update(emergency_alert)
        .where(_alert.emergency_id == number)
        .values(due_us=until_us, attempts=_alert.attempts + 1)
    )
    query = (
        select(_alert.attempts, _access.opened_us, _access.verdict)
        .join_from(emergency_alert, emergency_access, _access.id == _alert.emergency_id)
        .where(_alert.emergency_id == number)
    )
    row = (await conn.execute(query)).one()
    return number, row.attempts, row.opened_us or 0, row.verdict != Verdict.NONE.value


async def put_off(conn: AsyncConnection, number: int, due_us: int) -> None:
    """An alert that was not taken is tried again."""
    changed = update(emergency_alert).where(_alert.emergency_id == number)
    await conn.execute(changed.values(due_us=due_us))


async def settle_alert(conn: AsyncConnection, number: int, now_us: int) -> None:
    """An alert was taken, or is no news any more."""
    changed = update(emergency_alert).where(_alert.emergency_id == number)
    await conn.execute(changed.values(settled_us=now_us))
