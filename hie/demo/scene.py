"""The demo's stage, set before the first message leaves: people, wishes, messages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapters.source_files import load_sources
from adapters.sources import Source
from hie.demo.lists import Lists, load_lists
from hie.demo.parcels import Parcel, Wire, consent_parcels, parcels
from hie.demo.records import build_world
from hie.demo.story import tell
from hie.demo.wishes import Wish, wishes
from hie.demo.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Everything the story needs.

    Attributes:
        sources: the registered sources that take part, by id.
        feeds: what each source sends, in order.
        consents: what each source sends when everybody is known.
    """

    lists: Lists
    sources: Mapping[str, Source]
    world: World
    wishes: Sequence[Wish]
    feeds: Mapping[str, Sequence[Parcel]]
    consents: Mapping[str, Sequence[Parcel]]

    @property
    def messages(self) -> int:
        """How many messages there are in all."""
        return sum(len(feed) for side in (self.feeds, self.consents) for feed in side.values())


def set_scene(config: Path) -> Scene:
    """The scene of a configuration: the same files give the same bytes.

    Raises:
        HieError: INVALID naming the file or key that is missing or not as it should be.
    """
    lists = load_lists(config / "demo")
    registry = load_sources(config / "sources", allow_adhoc=False)
    sources = {str(s.id): s for s in registry.all() if s.id in lists.senders}
    world = build_world(lists)
    wished = wishes(world, lists, sources)
    return Scene(
        lists=lists,
        sources=sources,
        world=world,
        wishes=wished,
        feeds=parcels(lists, tell(world, lists)),
        consents=consent_parcels(wished),
    )


def leave_samples(folder: Path, scene: Scene) -> None:
    """One message of each type as a file, from sources that send in the plain: to try by hand."""
    folder.mkdir(parents=True, exist_ok=True)
    for source, feed in scene.feeds.items():
        if scene.lists.senders[source].wire == "tls":
            continue
        for parcel in reversed(feed):
            if parcel.wire is Wire.MLLP and not parcel.note:
                name = parcel.kind.replace("^", "_")
                (folder / f"{name}.hl7").write_bytes(parcel.payload)
