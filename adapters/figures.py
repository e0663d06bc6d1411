"""What the journal tells of each source: when it spoke last, how often, with what answers."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.tables import inbound_message
from hie.kernel.clock import SECOND_US

HOUR_US: Final = 3_600 * SECOND_US
_T = inbound_message.c


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedFigures:
    """One source's messages, counted.

    Attributes:
        last_us: when its last message came, whatever became of it; None = it never spoke.
        hour, day: messages of the last hour, of the last 24.
        answers: all messages by MSA-1 or HTTP status; states: by what became of them.
    """

    last_us: int | None = None
    hour: int = 0
    day: int = 0
    answers: Mapping[str, int] = field(default_factory=dict)
    states: Mapping[str, int] = field(default_factory=dict)


async def last_spoken(conn: AsyncConnection, source_ids: Iterable[str]) -> dict[str, int]:
    """When each source's last message came; one look into an index a source."""
    found = {}
    for source_id in source_ids:
        query = (
            select(_T.received_us).where(_T.source_id == source_id).order_by(_T.pk.desc()).limit(1)
        )
        last = (await conn.execute(query)).scalar()
        if last is not None:
            found[source_id] = int(last)
    return found


async def senders(conn: AsyncConnection, prefix: str) -> list[str]:
    """The sources that have sent something and whose ids begin so, in order."""
    named = _T.source_id.startswith(prefix, autoescape=True)
    rows = await conn.execute(select(_T.source_id).where(named).distinct())
    return sorted(rows.scalars())


async def figures_of(conn: AsyncConnection, source_id: str, now_us: int) -> FeedFigures:
    """The figures of one source; reads all its rows."""
    by = (_T.answer_code, _T.state)
    query = select(*by, func.count()).where(_T.source_id == source_id).group_by(*by)
    answers: Counter[str] = Counter()
    states: Counter[str] = Counter()
    for answer, state, n in await conn.execute(query):
        answers[answer or "-"] += n
        states[state] += n
    last = await last_spoken(conn, [source_id])
    return FeedFigures(
        last_us=last.get(source_id),
        hour=await _since(conn, source_id, now_us - HOUR_US),
        day=await _since(conn, source_id, now_us - 24 * HOUR_US),
        answers=dict(sorted(answers.items())),
        states=dict(sorted(states.items())),
    )


async def _since(conn: AsyncConnection, source_id: str, from_us: int) -> int:
    query = select(func.count()).where(_T.source_id == source_id, _T.received_us >= from_us)
    return int((await conn.execute(query)).scalar_one())
