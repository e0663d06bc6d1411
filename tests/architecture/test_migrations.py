"""The migrations build exactly the tables that the packages declare, on both databases."""

from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from hie import migrations
from hie.db import Database, metadata


@pytest.fixture
async def empty(request: pytest.FixtureRequest, tmp_path: Path, database: Database):
    """A database of each kind without any table."""
    if database.is_sqlite:
        bare = Database(f"sqlite+aiosqlite:///{tmp_path / 'empty.db'}")
    else:
        bare = database
        async with bare.transaction() as conn:
            await conn.execute(text("DROP SCHEMA public CASCADE"))
            await conn.execute(text("CREATE SCHEMA public"))
    yield bare
    await bare.close()


def differences(connection: Any) -> list[Any]:
    return list(compare_metadata(MigrationContext.configure(connection), metadata))


async def test_the_newest_migration_is_the_declared_schema(empty: Database):
    await migrations.upgrade(empty)
    assert await empty.run_sync(differences) == []


async def test_migrating_twice_changes_nothing(empty: Database):
    await migrations.upgrade(empty)
    await migrations.upgrade(empty)
    assert await empty.run_sync(differences) == []


async def test_rules_about_whoever_asks_go_on_speaking_after_an_upgrade(empty: Database):
    """0026: no grantee was null, and is "" since; a denial that was lost there would open."""
    await migrations.upgrade(empty, "0025")
    columns = "pk, person_id, consent_id, consent_version, path, effect, grantee"
    rules = "(1, 'p', 'c', 1, '/', 'deny', NULL), (2, 'p', 'c', 1, '/1/', 'permit', 'o')"
    async with empty.transaction() as conn:
        await conn.execute(text(f"INSERT INTO consent_rule ({columns}) VALUES {rules}"))
    await migrations.upgrade(empty)
    async with empty.reading() as conn:
        found = await conn.execute(text("SELECT effect, grantee FROM consent_rule ORDER BY pk"))
        assert [tuple(row) for row in found] == [("deny", ""), ("permit", "o")]


def test_migrations_are_numbered_in_the_order_they_follow_each_other():
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    script = ScriptDirectory.from_config(config)
    assert script.get_current_head() == migrations.newest()
    chain = [revision.revision for revision in script.walk_revisions()]
    assert chain == sorted(chain, reverse=True)
