"""Texts of codes and free text: kept once for all resources, as keyed hashes, and never half."""

from pathlib import Path

import pytest
from sqlalchemy import func, select

from hie.crypto import KeyRing
from hie.db import Database
from hie.keystore import KeyStore
from hie.store import blind
from hie.store.extract import TEXT
from hie.store.index import load_index
from hie.store.query import StringMode
from hie.store.tables import sp_text, sp_token
from hie.store.writer import NewVersion, ResourceWriter

FHIR = Path(__file__).resolve().parents[2] / "config/fhir"
INDEX = load_index(FHIR)
SPOKEN = "Glucose in the blood, fasting"


@pytest.fixture
def writer(database: Database, keyring: KeyRing) -> ResourceWriter:
    return ResourceWriter(
        database, KeyStore(database, keyring), keyring, INDEX, lambda coding: False
    )


def new(number: int, text: str = SPOKEN) -> NewVersion:
    return NewVersion(
        type="Observation",
        id=f"o{number}",
        resource={"resourceType": "Observation", "code": {"text": text}, "valueString": text},
        source_id="s",
        message_id=1,
        label_mask=0,
    )


async def write(database: Database, writer: ResourceWriter, *items: NewVersion) -> None:
    async with database.transaction() as conn:
        await writer.write(conn, items, 1)


async def found(database: Database, keyring: KeyRing, asked: str, mode: StringMode) -> int:
    """Rows of `code:text` that a text finds."""
    param = INDEX.param("Observation", "code")
    assert param
    assert param.text_ids == (param.id + TEXT,)
    key = keyring.blind(blind.TEXTS, blind.text_asked(asked, mode))
    texts = select(sp_text.c.text).where(sp_text.c.key == key)
    rows = select(func.count()).select_from(sp_token)
    rows = rows.where(sp_token.c.param_id.in_(param.text_ids), sp_token.c.code.in_(texts))
    async with database.reading() as conn:
        return int((await conn.execute(rows)).scalar_one())


@pytest.mark.parametrize(
    ("asked", "mode", "count"),
    [
        ("g", StringMode.STARTS, 2),
        ("GLUCOSE in the", StringMode.STARTS, 2),
        ("glucose in the blood fas", StringMode.STARTS, 2),
        ("glucose in the blood fast", StringMode.STARTS, 0),  # beyond 24 characters: the whole
        ("glucose in the blood fasting", StringMode.STARTS, 2),
        (SPOKEN, StringMode.EXACT, 2),
        (SPOKEN.lower(), StringMode.EXACT, 0),
        ("blood", StringMode.STARTS, 0),
    ],
)
async def test_a_text_is_found_by_its_beginning_or_whole(
    sqlite_database: Database, keyring: KeyRing, asked: str, mode: StringMode, count: int
):
    keys = KeyStore(sqlite_database, keyring)
    writer = ResourceWriter(sqlite_database, keys, keyring, INDEX, lambda coding: False)
    await write(sqlite_database, writer, new(1), new(2), new(3, "Sodium"))
    assert await found(sqlite_database, keyring, asked, mode) == count


async def test_a_text_is_kept_once_and_in_no_clear_word(database: Database, writer: ResourceWriter):
    await write(database, writer, new(1))
    await write(database, writer, new(2), new(3))
    async with database.reading() as conn:
        rows = (await conn.execute(select(sp_text))).all()
        tokens = (await conn.execute(select(sp_token.c.code))).scalars().all()
    assert len(rows) == len(set(rows)) == len(blind.text_keys(SPOKEN))
    assert {row.text for row in rows} == set(tokens)
    assert not any("lucose" in value for row in rows for value in row)


async def test_a_text_whose_first_write_was_undone_is_kept_by_the_next(
    database: Database, writer: ResourceWriter, keyring: KeyRing
):
    async def undone() -> None:
        async with database.transaction() as conn:
            await writer.write(conn, [new(1)], 1)
            await writer.write(conn, [new(2)], 1)  # finds what is not yet kept
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await undone()
    await write(database, writer, new(3))
    assert await found(database, keyring, "glucose", StringMode.STARTS) == 1
    await write(database, writer, new(4))
    await write(database, writer, new(5))  # remembered by now
    assert await found(database, keyring, "glucose", StringMode.STARTS) == 3
