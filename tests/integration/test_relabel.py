"""Lists of labels that change: what is stored follows, and until then the stricter label counts."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update

from consent.labels import Labeller
from consent.regime import Sensitivity, WordLine
from consent.settings import load_sensitivity
from hie.crypto import KeyRing
from hie.db import Database
from hie.flow.labelling import Labelling
from hie.flow.placement import Origin, Placement
from hie.flow.relabel import Relabel
from hie.kernel.ids import MessageId, PersonId, SourceId, SourceRecordId
from hie.keystore import KeyStore
from hie.store.index import load_index
from hie.store.marks import Marks
from hie.store.predicate import bound, shape_of, visibility_of
from hie.store.residual import DefaultRule, Pending, Residual
from hie.store.tables import label_job, label_lists, resource, resource_version
from hie.store.writer import NewVersion, ResourceWriter
from tests.support.consents import CONFIG

LISTS = load_sensitivity(CONFIG / "sensitivity")
TABLE = Labeller(LISTS).table
INDEX = load_index(CONFIG / "fhir")
HIV = TABLE.raised(["HIV"])
LOINC = "http://loinc.org"
VISIBILITY = visibility_of(INDEX)
#: Sees whatever has no label.
PLAIN = Residual(defaults=(DefaultRule(effect="permit", label_mask=0),))
BEGUN_US = 1_000_000_000_000


def with_word(lists: Sensitivity, phrase: str, *labels: str) -> Sensitivity:
    line = WordLine(phrase=tuple(phrase.split()), labels=labels, unless=frozenset())
    return replace(lists, words=(*lists.words, line))


def with_code(lists: Sensitivity, code: str, *labels: str) -> Sensitivity:
    more = [
        replace(one, lines=(*one.lines, (code, labels))) if one.name == "loinc" else one
        for one in lists.lists
    ]
    return replace(lists, lists=tuple(more))


class World:
    """A hub's store, with the lists it goes by."""

    def __init__(self, database: Database, ring: KeyRing, lists: Sensitivity) -> None:
        self.database, self.now_us = database, BEGUN_US
        keys = KeyStore(database, ring)
        self.labeller = Labeller(lists)
        marks = Marks(keys, INDEX)
        self.labelling = Labelling(self.labeller, marks, INDEX)
        self.writer = ResourceWriter(database, keys, ring, INDEX, lambda coding: False)
        self.pending: Pending | None = None
        self.relabel = Relabel(
            database, self.labelling, marks, INDEX, lambda: self.now_us, self.heed
        )

        self.relabel.begins = True

    def heed(self, pending: Pending | None) -> None:
        self.pending = pending

    async def start(self) -> None:
        async with self.database.transaction() as conn:
            await self.relabel.start(conn)

    async def write(self, type_name: str, key: str, *, raised: int = 0, **content: Any) -> None:
        """A resource of a person's, through the labelling of every write."""
        origin = Origin(source_id=SourceId("s"), message_id=MessageId(1), now_us=self.now_us)
        body = {"resourceType": type_name, "id": key, **content}
        placement = Placement(type=type_name, id=key, resource=body, label_mask=raised)
        mask, kept = self.labelling.own(origin, placement)
        new = new_version(type_name, key, body, mask, kept)
        async with self.database.transaction() as conn:
            versions = await self.labelling.with_taken(conn, [new])
            await self.writer.write(conn, versions, self.now_us)
            await self.labelling.raise_takers(conn, versions)

    async def seen(self, keys: Iterable[str], kind: str = "Observation") -> set[str]:
        """What may be seen by who sees plain resources alone."""
        residual = replace(PLAIN, pending=self.pending)
        r = resource.alias("r")
        visible = VISIBILITY.visible(shape_of(residual), "r")
        query = select(r.c.id).where(r.c.type_id == INDEX.type_id(kind), r.c.id.in_([*keys]))
        async with self.database.reading() as conn:
            return set((await conn.execute(query.where(visible), bound(residual))).scalars())

    async def labels(self) -> dict[str, set[str]]:
        async with self.database.reading() as conn:
            rows = await conn.execute(select(resource.c.id, resource.c.label_mask))
            return {key: set(TABLE.codes(mask)) for key, mask in rows}


def new_version(type_name: str, key: str, body: Any, mask: int, raised: int) -> NewVersion:
    return NewVersion(
        type=type_name,
        id=key,
        resource=body,
        source_id="s",
        message_id=1,
        label_mask=mask,
        raised_mask=raised,
        patients=((SourceRecordId("rec"), PersonId("person")),),
        key_owner="rec",
    )


def said(text: str, code: str = "1-8") -> dict[str, Any]:
    return {"code": {"coding": [{"system": LOINC, "code": code}], "text": text}}


async def test_a_hub_without_resources_takes_the_lists_as_they_are(
    sqlite_database: Database, keyring: KeyRing
):
    database = sqlite_database
    world = World(database, keyring, LISTS)
    await world.start()
    assert world.pending is None
    assert world.relabel.last.is_over


async def test_new_words_count_at_once_and_are_found_in_every_version(
    database: Database, keyring: KeyRing
):
    old = World(database, keyring, LISTS)
    await old.start()
    await old.write("Observation", "told", **said("grumble fever"))
    await old.write("Observation", "changed", **said("grumble fever"))
    await old.write("Observation", "changed", **said("something else"))
    await old.write("Observation", "other", **said("plain"))
    assert await old.seen(["told", "changed", "other"]) == {"told", "changed", "other"}

    new = World(database, keyring, with_word(LISTS, "grumble fever", "HIV"))
    await new.start()
    assert await new.seen(["told", "changed", "other"]) == set(), "nobody knows yet who has it"
    assert await old.seen(["told"]) == {"told"}, "another process goes by the lists it read"
    done = await new.relabel.work(30)
    assert done.is_over
    assert done.raised == 2
    assert await new.seen(["told", "changed", "other"]) == {"changed", "other"}
    async with database.reading() as conn:
        masks = (
            await conn.execute(
                select(resource_version.c.version, resource_version.c.label_mask)
                .join(resource, resource.c.pk == resource_version.c.resource_pk)
                .where(resource.c.id == "changed")
                .order_by(resource_version.c.version)
            )
        ).all()
    assert [tuple(row) for row in masks] == [(1, HIV), (2, 0)]
    await World(database, keyring, new.labeller.sensitivity).start()


async def test_new_codes_are_found_in_the_index_and_hide_nothing_else(
    database: Database, keyring: KeyRing
):
    old = World(database, keyring, LISTS)
    await old.start()
    await old.write("Observation", "coded", **said("x", "777-7"))
    await old.write("Observation", "other", **said("x", "777-8"))
    await old.write(
        "DiagnosticReport", "holds", result=[{"reference": "Observation/coded"}], status="final"
    )
    new = World(database, keyring, with_code(LISTS, "777-7", "HIV"))
    await new.start()
    assert await new.seen(["coded", "other"]) == {"other"}, "before the work has begun"
    assert await new.seen(["holds"], "DiagnosticReport") == set(), "nor what holds it"
    await new.relabel.work(30)
    assert await new.seen(["coded", "other"]) == {"other"}
    assert (await new.labels())["holds"] == {"HIV"}


async def test_a_label_goes_with_its_line_unless_somebody_raised_it(
    database: Database, keyring: KeyRing
):
    more = with_word(LISTS, "grumble fever", "HIV")
    old = World(database, keyring, more)
    await old.start()
    await old.write("Observation", "found", **said("grumble fever"))
    await old.write("Observation", "raised", raised=HIV, **said("grumble fever"))
    await old.write("Observation", "sent", meta=hiv_label(), **said("plain"))
    await old.write("Observation", "before", **said("grumble fever"))
    async with database.transaction() as conn:  # as versions are that are older than the column
        before = select(resource.c.pk).where(resource.c.id == "before").scalar_subquery()
        await conn.execute(
            update(resource_version)
            .where(resource_version.c.resource_pk == before)
            .values(raised_mask=None)
        )
    new = World(database, keyring, LISTS)
    await new.start()
    assert await new.seen(["found"]) == set(), "nothing is shown before its turn came"
    done = await new.relabel.work(30)
    assert done.lowered == 1
    assert await new.labels() == {
        "found": set(),
        "raised": {"HIV"},
        "sent": {"HIV"},
        "before": {"HIV"},
    }


def hiv_label() -> dict[str, Any]:
    return {"security": [dict(TABLE.codings(HIV)[1])]}


async def test_stopped_anywhere_it_goes_on_and_shows_nothing_weaker(
    database: Database, keyring: KeyRing, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("hie.flow.relabel.PORTION", 2)
    old = World(database, keyring, LISTS)
    await old.start()
    keys = [f"o{n}" for n in range(6)]
    for n, key in enumerate(keys):
        await old.write("Observation", key, **said("grumble fever" if n % 2 else "plain"))
    await old.write("Composition", "doc", section=[{"entry": [ref("o5")]}], status="final")
    lists = with_word(LISTS, "grumble fever", "SEX")
    shown: set[str] = set()
    for _ in range(40):
        world = World(database, keyring, lists)  # a process of its own, killed after a portion
        await world.start()
        now = await world.seen(keys)
        assert now <= {key for n, key in enumerate(keys) if not n % 2}
        assert now >= shown, "what was shown by its new label stays"
        assert await world.seen(["doc"], "Composition") == set()
        shown = now
        if (await world.relabel.work(0.000001)).is_over:
            break
    assert shown == {key for n, key in enumerate(keys) if not n % 2}
    assert (await world.labels())["doc"] == {"SEX"}
    async with database.reading() as conn:
        assert (await conn.execute(select(label_job))).first() is None


def ref(key: str) -> dict[str, str]:
    return {"reference": f"Observation/{key}"}


async def test_what_was_raised_ahead_owes_only_what_was_written_since(
    sqlite_database: Database, keyring: KeyRing
):
    database = sqlite_database
    old = World(database, keyring, LISTS)
    await old.start()
    await old.write("Observation", "early", **said("grumble fever"))
    await old.write("Observation", "plain", **said("plain"))
    lists = with_word(LISTS, "grumble fever", "HIV")
    old.now_us += 3_600_000_000
    ahead = World(database, keyring, lists)
    ahead.now_us = old.now_us
    ahead.relabel.begins = False  # a command's
    await ahead.start()
    await ahead.relabel.ahead()
    done = await ahead.relabel.work(30)
    assert (done.raised, done.is_over) == (1, True)
    async with database.reading() as conn:
        await old.relabel.follow(conn)
    assert await old.seen(["early", "plain"]) == {"plain"}, "raised, and nothing else is hidden"
    await old.write("Observation", "late", **said("grumble fever"))
    new = World(database, keyring, lists)
    await new.start()
    assert new.pending is not None
    assert new.pending.current_mask == HIV, "by what the change may bring, and no more"
    assert await new.seen(["early", "plain", "late"]) == {"plain"}
    await new.relabel.work(30)
    assert await new.labels() == {"early": {"HIV"}, "plain": set(), "late": {"HIV"}}


async def test_what_a_process_with_other_lists_wrote_meanwhile_has_another_turn(
    sqlite_database: Database, keyring: KeyRing
):
    database = sqlite_database
    old = World(database, keyring, LISTS)
    await old.start()
    await old.write("Observation", "early", **said("plain"))
    lists = with_word(LISTS, "grumble fever", "HIV")
    new = World(database, keyring, lists)
    await new.start()
    await new.relabel.work(30)
    await old.write("Observation", "late", **said("grumble fever"))
    async with database.reading() as conn:
        await old.relabel.follow(conn)
    await old.relabel.work(1)  # it finds that it is behind, and says since when
    again = World(database, keyring, lists)
    await again.start()
    assert await again.seen(["late"]) == set()
    await again.relabel.work(30)
    assert (await again.labels())["late"] == {"HIV"}


async def test_a_command_with_other_lists_sees_no_more_and_leaves_the_work_to_the_hub(
    sqlite_database: Database, keyring: KeyRing
):
    database = sqlite_database
    old = World(database, keyring, LISTS)
    await old.start()
    await old.write("Observation", "told", **said("grumble fever"))
    command = World(database, keyring, with_word(LISTS, "grumble fever", "HIV"))
    command.relabel.begins = False
    await command.start()
    assert await command.seen(["told"]) == set()
    async with database.reading() as conn:
        assert (await conn.execute(select(label_job))).first() is None
        await old.relabel.follow(conn)
        held = await conn.execute(select(label_lists.c.stale_since_us))
        assert held.scalar_one() is None, "it has written nothing"
    assert await old.seen(["told"]) == {"told"}
    await command.write("Observation", "by-hand", **said("plain"))
    async with database.reading() as conn:
        held = await conn.execute(select(label_lists.c.stale_since_us))
        assert held.scalar_one() == BEGUN_US, "which the hub looks at again when it starts"


async def test_a_part_that_is_written_later_raises_what_holds_it(
    sqlite_database: Database, keyring: KeyRing
):
    database = sqlite_database
    world = World(database, keyring, LISTS)
    await world.start()
    await world.write("Observation", "part", **said("plain"))
    await world.write("DiagnosticReport", "report", result=[ref("part")], status="final")
    holds = [{"entry": [{"reference": "DiagnosticReport/report"}]}]
    await world.write("Composition", "whole", section=holds, status="final")
    assert set().union(*(await world.labels()).values()) == set()
    await world.write("Observation", "part", **said("HIV 1 RNA"))
    assert await world.labels() == {key: {"HIV"} for key in ("part", "report", "whole")}


async def test_a_visit_takes_over_what_its_department_says(
    sqlite_database: Database, keyring: KeyRing
):
    database = sqlite_database
    world = World(database, keyring, LISTS)
    await world.start()
    await world.write("Location", "unit", name="Inpatient psychiatry")
    await world.write("Encounter", "visit", location=[{"location": {"reference": "Location/unit"}}])
    await world.write("Observation", "weight", encounter={"reference": "Encounter/visit"})
    found = await world.labels()
    assert (found["visit"], found["weight"]) == ({"PSY"}, set())
