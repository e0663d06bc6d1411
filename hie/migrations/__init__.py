"""Alembic migrations, the only reader of every package's tables."""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from hie.db import Database


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


async def upgrade(db: Database) -> None:
    """Bring a database to the newest schema; an empty one gets every table."""

    def run(connection: Any) -> None:
        if not db.is_sqlite:  # several processes start at once: one of them migrates
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('hie-migrate'))"))
        newest = ScriptDirectory.from_config(_config()).get_current_head()
        if MigrationContext.configure(connection).get_current_revision() == newest:
            return
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    await db.run_sync(run)
