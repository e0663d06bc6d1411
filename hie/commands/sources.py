"""Commands about sources: how each feed does, and what its codes mean."""

import asyncio
import csv
import sys

from adapters.terminology import HEADER, Concept
from hie.commands.parser import Group, command, settings_of
from hie.feeds.watch import Feed
from hie.kernel.clock import instant
from hie.kernel.errors import Category, HieError
from hie.services import Services
from hie.settings import Settings


def register(group: Group) -> None:
    """Add the commands about sources."""
    sources = group.add_parser("source", help="How each feed does, and what its codes mean.")
    actions = sources.add_subparsers(title="actions", required=True, metavar="ACTION")
    command(
        actions,
        "list",
        "List sources: id, last message, messages of an hour and a day, late since, open tasks.",
        lambda _: asyncio.run(listed(settings_of())),
    )
    arguments = command(
        actions,
        "show",
        "Print one source: how it is recognised, its pace, its messages by answer and state.",
        lambda a: asyncio.run(show(settings_of(), a.id)),
    )
    arguments.add_argument("id", metavar="ID")
    arguments = command(
        actions,
        "codes",
        "Print what a source's own codes mean, as the CSV file config/sources/ID/MAP.csv.",
        lambda a: asyncio.run(codes(settings_of(), a.id, a.map)),
    )
    arguments.add_argument("id", metavar="ID")
    arguments.add_argument("--map", required=True, metavar="NAME", help="a concept map")


async def listed(settings: Settings) -> int:
    """Print one line a source."""
    async with Services(settings) as hub, hub.db.surveying() as conn:
        feeds = await hub.watch.feeds(conn)
    for feed in feeds:
        late = f"late since {instant(feed.late_us)}" if feed.late_us else "-"
        figures = feed.figures
        print(
            f"{feed.source.id}\t{_when(figures.last_us)}\t{figures.hour}/h\t{figures.day}/d\t{late}"
            f"\t{sum(feed.tasks.values())} tasks"
        )
    print(f"{len(feeds)} sources, {sum(1 for f in feeds if f.late_us)} late", file=sys.stderr)
    return 0


async def show(settings: Settings, source_id: str) -> int:
    """Print one source."""
    async with Services(settings) as hub, hub.db.surveying() as conn:
        feeds = {feed.source.id: feed for feed in await hub.watch.feeds(conn)}
    for name, feed in feeds.items():
        if name == source_id:
            print("\n".join(_lines(feed)))
            return 0
    raise HieError(Category.NOT_FOUND, f"`ID`: expected one of {', '.join(sorted(feeds))}")


def _lines(feed: Feed) -> list[str]:
    source, figures = feed.source, feed.figures
    lines = [
        f"name\t{source.name}",
        f"organization\t{source.organization.system}|{source.organization.value}",
        f"application\t{source.application or 'any'}",
        f"facility\t{source.facility or 'any'}",
        f"certificate\t{source.certificate or 'none asked'}",
        f"time zone\t{source.time_zone}",
        f"expected every\t{_pace(feed)}",
        f"late since\t{_when(feed.late_us)}",
        f"last message\t{_when(figures.last_us)}",
        f"last hour\t{figures.hour}",
        f"last day\t{figures.day}",
    ]
    lines += [f"answered {code}\t{n}" for code, n in figures.answers.items()]
    lines += [f"{state}\t{n}" for state, n in figures.states.items()]
    lines += [f"own codes {name}\t{len(found)}" for name, found in source.codes.items()]
    lines += [
        f"open tasks {kind} {topic}".rstrip() + f"\t{n}"
        for (kind, topic), n in sorted(feed.tasks.items())
    ]
    return lines


def _pace(feed: Feed) -> str:
    expected = feed.source.expected
    if expected is None:
        return "-"
    quiet = ", ".join(f"{a:%H:%M}-{b:%H:%M}" for a, b in expected.quiet_hours)
    return f"{expected.interval_us // 1_000_000} s" + (f", quiet {quiet}" if quiet else "")


def _when(at_us: int | None) -> str:
    return instant(at_us) if at_us else "-"


async def codes(settings: Settings, source_id: str, concept_map: str) -> int:
    """Print a source's own translations: its file's, and over them what staff decided."""
    async with Services(settings) as hub, hub.db.reading() as conn:
        source = hub.config.sources.by_id(source_id)
        if source is None:
            known = ", ".join(s.id for s in hub.config.sources.all())
            raise HieError(Category.NOT_FOUND, f"`ID`: expected one of {known}")
        hub.config.terminology.map(concept_map)
        decided = await hub.codes.decided(conn, source_id, concept_map)
    folded = {code.upper() for code in decided}
    rows: dict[str, Concept] = {
        code: concept
        for code, concept in source.codes.get(concept_map, {}).items()
        if code.upper() not in folded
    }
    print(",".join(HEADER))
    # Quoted, for a code that begins like a note; what cannot be printed is no row of a file.
    writer = csv.writer(sys.stdout, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for code, concept in sorted({**rows, **decided}.items(), key=lambda row: row[0]):
        if code.isprintable():
            writer.writerow([code, concept.target, concept.display, concept.system])
    return 0
