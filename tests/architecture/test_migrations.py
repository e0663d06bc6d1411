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


def test_migrations_are_numbered_in_the_order_they_follow_each_other():
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    script = ScriptDirectory.from_config(config)
    assert script.get_current_head() == migrations.newest()
    chain = [revision.revision for revision in script.walk_revisions()]
    assert chain == sorted(chain, reverse=True)
