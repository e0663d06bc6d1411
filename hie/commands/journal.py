"""Commands about journaled messages: parked, replay, discard."""

import argparse
import asyncio
import getpass
import sys
from datetime import UTC, datetime
from typing import Final

from adapters.message import State
from adapters.replays import Found, MessageFilter
from hie.commands.parser import Group, command, settings_of
from hie.flow.replay import REPLAYABLE
from hie.kernel.clock import instant
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import MessageId
from hie.services import Services
from hie.settings import Settings

#: How often the work of a replay is told, and looked at.
_TELL_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.2


def register(group: Group) -> None:
    """Add the commands of the journal."""
    arguments = command(
        group,
        "parked",
        "List messages that were acknowledged and then failed, with counts by reason.",
        lambda a: asyncio.run(parked(settings_of(), a)),
    )
    arguments.add_argument("--kept", action="store_true", help="those that no map reads, instead")
    arguments.add_argument("--discarded", action="store_true", help="those that were closed")
    arguments.add_argument("--counts", action="store_true", help="only count them")
    arguments.add_argument("--limit", type=int, default=100)
    _filter(arguments)
    arguments = command(
        group,
        "replay",
        "Work off messages once more: count them, and with --yes do it.",
        lambda a: asyncio.run(replay(settings_of(), a)),
    )
    arguments.add_argument("ids", nargs="*", type=_message_id, metavar="ID")
    arguments.add_argument(
        "--state",
        action="append",
        choices=[state.value for state in REPLAYABLE],
        help="where they are: parked and kept unless given; processed only when asked for",
    )
    arguments.add_argument("--no-wait", action="store_true", help="leave the work to a running hub")
    _deed(arguments)
    arguments = command(
        group,
        "discard",
        "Close parked or kept messages for good: count them, and with --yes do it.",
        lambda a: asyncio.run(discard(settings_of(), a)),
    )
    arguments.add_argument("ids", nargs="*", type=_message_id, metavar="ID")
    arguments.add_argument("--undo", action="store_true", help="park discarded ones again")
    _deed(arguments)


def _filter(arguments: argparse.ArgumentParser) -> None:
    arguments.add_argument("--source", default="", help="of this source")
    arguments.add_argument("--since", type=_time, metavar="TIME", help="received from then on, UTC")
    arguments.add_argument("--until", type=_time, metavar="TIME", help="received before then, UTC")
    arguments.add_argument("--stage", default="", help="parse, map, identify or store")
    arguments.add_argument("--reason", default="", help="words of the reason they stopped for")


def _deed(arguments: argparse.ArgumentParser) -> None:
    _filter(arguments)
    arguments.add_argument("--because", default="", metavar="WHY", help="kept with the messages")
    arguments.add_argument("--yes", action="store_true", help="do it; without, it only counts")


def _message_id(text: str) -> int:
    if not 0 < int(text) < 1 << 63:
        raise ValueError
    return int(text)


def _time(text: str) -> int:
    """`2026-01-31` or `2026-01-31T09:30`, in UTC unless it has an offset; µs."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1_000_000)


def _wanted(arguments: argparse.Namespace, states: tuple[State, ...]) -> MessageFilter:
    return MessageFilter(
        ids=tuple(MessageId(number) for number in getattr(arguments, "ids", ())),
        source_id=arguments.source,
        since_us=arguments.since,
        until_us=arguments.until,
        stage=arguments.stage,
        reason=arguments.reason,
        states=states,
    )


async def parked(settings: Settings, arguments: argparse.Namespace) -> int:
    """List messages that wait for a person, or those that no map reads; then count them."""
    state = State.PARKED
    if arguments.kept or arguments.discarded:
        state = State.KEPT if arguments.kept else State.DISCARDED
    wanted = _wanted(arguments, (state,))
    limit = 0 if arguments.counts else arguments.limit
    async with Services(settings) as hub, hub.db.reading() as conn:
        messages = await hub.journal.replays.listed(conn, wanted, limit=limit) if limit else []
        counts = await hub.journal.replays.counts(conn, wanted)
    for m in messages:
        received = instant(m.received_us)
        print(f"{m.id}\t{m.source_id}\t{m.trigger}\t{m.stage}\t{m.reason}\t{received}")
    _tell_counts(counts)
    print(f"{sum(found.count for found in counts)} {state.value}", file=sys.stderr)
    return 0


def _tell_counts(counts: list[Found]) -> None:
    for found in counts:
        told = f"{found.count}\t{found.source_id}\t{found.state}\t{found.stage}\t{found.reason}"
        print(told, file=sys.stderr)


async def replay(settings: Settings, arguments: argparse.Namespace) -> int:
    """Put messages back in the queue; a running hub works them off, or this command does.

    Returns:
        0 when each was worked off; 1 when one is parked again, waits still, or was not there.
    """
    states = tuple(State(name) for name in arguments.state or (State.PARKED, State.KEPT))
    wanted = _wanted(arguments, states)
    async with Services(settings) as hub:
        total = await _counted(hub, wanted, arguments, "put back")
        if not arguments.yes:
            return 0
        run = await hub.replay.run(wanted, "replay", reason=arguments.because, actor=_actor())
        outcomes = await _worked_off(hub, run, is_waited_for=not arguments.no_wait)
    done = sum(outcomes.values())
    for outcome, count in sorted(outcomes.items()):
        print(f"{outcome or 'waiting'}\t{count}")
    missing = max(total, len(set(wanted.ids))) - done
    print(f"{done} put back, {missing} not in such a state", file=sys.stderr)
    is_done = not missing and not outcomes.get(State.PARKED.value)
    return 0 if is_done and (arguments.no_wait or not outcomes.get("")) else 1


async def discard(settings: Settings, arguments: argparse.Namespace) -> int:
    """Close messages for good, or park discarded ones again."""
    states = (State.DISCARDED,) if arguments.undo else (State.PARKED, State.KEPT)
    wanted = _wanted(arguments, states)
    name, verb = ("restore", "parked again") if arguments.undo else ("discard", "discarded")
    async with Services(settings) as hub:
        total = await _counted(hub, wanted, arguments, verb)
        if not arguments.yes:
            return 0
        if not arguments.because:
            raise HieError(Category.INVALID, "`--because`: expected why, for whoever asks later")
        run = await hub.replay.run(wanted, name, reason=arguments.because, actor=_actor())
        async with hub.db.reading() as conn:
            done = sum((await hub.journal.replays.outcomes(conn, run)).values())
    print(f"{done} {verb}", file=sys.stderr)
    return 0 if done == max(total, len(set(wanted.ids))) else 1


async def _counted(
    hub: Services, wanted: MessageFilter, arguments: argparse.Namespace, verb: str
) -> int:
    """How many messages are meant, told before anything is done.

    Raises:
        HieError: INVALID when the filter says nothing.
    """
    if wanted.is_empty:
        text = "expected ids, `--source`, `--since`, `--until`, `--stage` or `--reason`"
        raise HieError(Category.INVALID, f"{text}: an empty filter would mean every message")
    async with hub.db.reading() as conn:
        counts = await hub.journal.replays.counts(conn, wanted)
    _tell_counts(counts)
    total = sum(found.count for found in counts)
    if not arguments.yes:
        print(f"{total} would be {verb}; add --yes to do it", file=sys.stderr)
    return total


async def _worked_off(hub: Services, run: int, *, is_waited_for: bool) -> dict[str, int]:
    """What came of a run, told as it goes on."""
    loop = asyncio.get_running_loop()
    told = loop.time()
    while True:
        worked = await hub.worker.work_off_batch() if is_waited_for else 0
        async with hub.db.reading() as conn:
            outcomes = await hub.journal.replays.outcomes(conn, run)
        waiting = outcomes.get("", 0)
        if not waiting or not is_waited_for:
            return outcomes
        if loop.time() - told >= _TELL_SECONDS:
            told = loop.time()
            done = sum(outcomes.values()) - waiting
            print(f"{done} done, {waiting} waiting", file=sys.stderr, flush=True)
        if not worked:  # a running hub is at them
            await asyncio.sleep(_LOOK_SECONDS)


def _actor() -> str:
    return f"cli:{getpass.getuser()}"
