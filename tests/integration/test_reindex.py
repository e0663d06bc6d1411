"""A table of search parameters that changes: old rows follow, until then nothing is left out."""

import asyncio
import shutil
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from hie.crypto import KeyRing
from hie.db import Database
from hie.kernel.errors import Category, HieError
from hie.keystore import KeyStore
from hie.store.index import RenewalError, SearchIndex, load_index
from hie.store.loader import ResourceLoader
from hie.store.rebuild import PORTION, IndexRebuild
from hie.store.rows import INDEX_TABLES
from hie.store.tables import resource, search_rebuild
from hie.store.writer import NewVersion, ResourceWriter
from tests.support.running_hub import running_hub

CONFIG = Path(__file__).resolve().parents[2] / "config"
METHOD = 'method = { type = "token", paths = ["method"] }\n'
NOW_US = 1_769_851_800_000_000


def older(folder: Path, *rows: str) -> Path:
    """A copy of config/fhir that lacks rows of the table."""
    shutil.copytree(CONFIG / "fhir", folder)
    table = folder / "search.toml"
    text = table.read_text(encoding="utf-8")
    for row in rows:
        assert row in text
        text = text.replace(row, "")
    table.write_text(text, encoding="utf-8")
    return folder


@cache
def index_of(folder: Path) -> SearchIndex:
    return load_index(folder)


class Store:
    """A database written to by one version of the table."""

    def __init__(self, database: Database, keyring: KeyRing, folder: Path) -> None:
        keys = KeyStore(database, keyring)
        self.database = database
        self.index = index_of(folder)
        self.writer = ResourceWriter(database, keys, keyring, self.index, lambda coding: False)
        loader = ResourceLoader(keys, self.index)
        self.rebuild = IndexRebuild(database, self.index, loader, self.writer.rows, lambda: NOW_US)

    async def start(self) -> None:
        async with self.database.transaction() as conn:
            await self.rebuild.start(conn)

    async def write(self, count: int, **more: Any) -> None:
        items = [
            NewVersion(
                type="Observation",
                id=f"o{number}",
                resource={
                    "resourceType": "Observation",
                    "method": {
                        "coding": [{"system": "m", "code": f"m{number}"}],
                        "text": "By hand",
                    },
                    "code": {"coding": [{"system": "c", "code": "c", "display": "Some test"}]},
                    "valueQuantity": {"value": number, "code": "mg"},
                    **more,
                },
                source_id="s",
                message_id=1,
                label_mask=0,
                patients=((f"r{number % 3}", f"p{number % 3}"),),  # type: ignore[arg-type]  # ids
                key_owner=f"r{number % 3}",
            )
            for number in range(count)
        ]
        async with self.database.transaction() as conn:
            await self.writer.write(conn, items, NOW_US)

    async def rows(self) -> Mapping[tuple[Any, ...], int]:
        """Every index row, whatever key its resource has."""
        found: Counter[tuple[Any, ...]] = Counter()
        async with self.database.reading() as conn:
            known = (await conn.execute(select(resource.c.pk, resource.c.id))).all()
            ids = {row.pk: row.id for row in known}
            for table in INDEX_TABLES:
                for row in await conn.execute(select(table)):
                    values = row._asdict()
                    values["resource_pk"] = ids[values["resource_pk"]]
                    found[table.name, *values.values()] += 1
        return found


@pytest.fixture(scope="module")
def older_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return older(tmp_path_factory.mktemp("tables") / "older", METHOD)


@pytest.fixture
def before(database: Database, keyring: KeyRing, older_folder: Path) -> Store:
    return Store(database, keyring, older_folder)


@pytest.fixture
def after(database: Database, keyring: KeyRing) -> Store:
    store = Store(database, keyring, CONFIG / "fhir")
    store.index.hold_back(None)
    return store


async def test_rows_of_an_older_table_become_those_of_the_new(before: Store, after: Store):
    await before.start()
    await before.write(2 * PORTION + 3)
    old = await before.rows()
    await after.start()
    told: list[tuple[int, int]] = []
    done = await after.rebuild.work(60, lambda count, total: told.append((count, total)))
    assert (done.is_over, done.total) == (True, 2 * PORTION + 3)
    assert told[0] == (PORTION, 2 * PORTION + 3)
    renewed = await after.rows()
    assert len(renewed) > len(old)
    assert set(renewed.values()) == {1}
    # They are what the new table writes.
    await after.write(2 * PORTION + 3, status="final")
    assert {row for row in await after.rows() if "final" not in row} == set(renewed)


async def test_what_is_not_all_there_is_refused_until_it_is(before: Store, after: Store):
    await before.start()
    await before.write(PORTION + 1)
    await after.start()
    with pytest.raises(HieError, match="`method`") as refused:
        after.index.param("Observation", "method")
    assert refused.value.category is Category.BUSY
    assert f"(0 of {PORTION + 1} resources done)" in refused.value.text
    assert after.index.param("Observation", "code")
    await after.rebuild.work(60)
    assert after.index.param("Observation", "method")


@pytest.mark.parametrize(
    ("done", "total", "after_seconds", "expected"),
    [
        pytest.param(0, 60_000, 0, 100, id="some 600 a second, before it showed how many it is"),
        pytest.param(10_000, 40_000, 10, 30, id="as fast as so far"),
        pytest.param(39_999, 40_000, 10, 5, id="no sooner than five seconds"),
        pytest.param(10_000, 4_000_000, 10, 600, id="no later than ten minutes"),
    ],
)
async def test_when_to_ask_again_follows_how_fast_it_is(
    before: Store, after: Store, done: int, total: int, after_seconds: int, expected: int
):
    await before.start()
    await before.write(1)
    await after.start()
    async with after.database.transaction() as conn:
        at_us = NOW_US - after_seconds * 1_000_000
        stands = {"done": done, "total": total, "started_us": at_us}
        await conn.execute(update(search_rebuild).values(**stands))
        await after.rebuild.follow(conn)
    with pytest.raises(RenewalError, match=rf"\({done} of {total} resources done\)") as refused:
        after.index.param("Observation", "method")
    assert refused.value.after_seconds == expected


async def test_it_goes_on_where_it_was_and_new_writes_need_no_rebuild(
    before: Store, after: Store, keyring: KeyRing
):
    await before.start()
    await before.write(2 * PORTION)
    await after.start()
    half = await after.rebuild.work(0)
    assert not half.is_over
    async with after.database.transaction() as conn:
        assert not await after.rebuild._portion(conn)  # one, then a crash
    await after.write(PORTION, status="final")
    resumed = Store(after.database, keyring, CONFIG / "fhir")
    await resumed.start()
    assert (await resumed.rebuild.progress()).done == PORTION
    assert (await resumed.rebuild.work(60)).is_over
    async with after.database.reading() as conn:
        await after.rebuild.follow(conn)
    assert after.index.param("Observation", "method")


async def test_an_empty_hub_and_another_comment_need_nothing(
    database: Database, keyring: KeyRing, tmp_path: Path, older_folder: Path, after: Store
):
    await after.start()
    await after.write(1)
    folder = older(tmp_path / "same")
    table = folder / "search.toml"
    table.write_text(table.read_text(encoding="utf-8") + "\n# another word\n", encoding="utf-8")
    await Store(database, keyring, folder).start()
    # A parameter less makes no rows that lack: nothing is read again, or held back.
    fewer = Store(database, keyring, older_folder)
    await fewer.start()
    async with database.reading() as conn:
        assert (await conn.execute(select(search_rebuild))).first() is None


async def test_only_types_whose_table_changed_are_read_again(before: Store, after: Store):
    await before.start()
    await before.write(2)
    other = NewVersion(
        type="Organization",
        id="org",
        resource={"resourceType": "Organization", "name": "River Trust"},
        source_id="s",
        message_id=1,
        label_mask=0,
    )
    async with before.database.transaction() as conn:
        await before.writer.write(conn, [other], NOW_US)
    await after.start()
    assert (await after.rebuild.progress()).total == 2
    await after.rebuild.again()
    assert (await after.rebuild.progress()).total == 3


async def test_everything_can_be_read_again_at_will(after: Store):
    await after.start()
    await after.write(3)
    rows = await after.rows()
    await after.rebuild.again()
    assert after.index.param("Observation", "method")
    done = await after.rebuild.work(60)
    assert (done.is_over, done.total) == (True, 3)
    assert await after.rows() == rows


async def test_writers_beside_it_neither_lose_rows_nor_wait_for_ever(before: Store, after: Store):
    await before.start()
    await before.write(2 * PORTION)
    await after.start()

    async def writing() -> None:
        for status in ("registered", "preliminary", "final"):
            await after.write(2 * PORTION, status=status)

    done, _ = await asyncio.gather(after.rebuild.work(60), writing())
    assert done.is_over
    rows = await after.rows()
    assert set(rows.values()) == {1}
    assert sum("final" in row for row in rows) == 2 * PORTION
    await after.rebuild.again()
    await after.rebuild.work(60)
    assert await after.rows() == rows


async def test_an_apps_question_is_refused_with_when_to_come_again(tmp_path: Path):
    async with running_hub(tmp_path) as running:
        token = await running.token("saint-aurelia")
        index = running.hub.config.index
        index.hold_back({}, " (7 of 9 resources done)", 40)
        try:
            search = running.request("GET", "Observation?code=1", None, token)
            async with search as answer:
                assert answer.status == 503
                assert answer.headers["Retry-After"] == "40"
                (issue,) = (await answer.json())["issue"]
                assert issue["code"] == "transient"
                for said in ("`code`", "(7 of 9 resources done)", "in 40 s, or without this"):
                    assert said in issue["details"]["text"]
        finally:
            index.hold_back(None)
        assert (await running.ask(token, "Observation?code=1"))[0] == 200
