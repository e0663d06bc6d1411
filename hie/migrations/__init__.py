"""Alembic migrations, the only reader of every package's tables."""

from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import inspect, text

from hie.db import Database


@cache
def newest() -> str:
    """The newest revision: migrations are numbered in the order they follow each other."""
    folder = Path(__file__).parent / "versions"
    return max(path.stem[:4] for path in folder.glob("[0-9]*.py"))


async def upgrade(db: Database, to: str = "head") -> None:
    """Bring a database to the newest schema; an empty one gets every table.

    `to`: an older revision, for tests of what the later ones make of its rows.
    """

    def run(connection: Any) -> None:
        if not db.is_sqlite:  # several processes start at once: one of them migrates
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('hie-migrate'))"))
        if _revision(connection) != newest():
            _migrate(connection, to)

    await db.run_sync(run)


def _revision(connection: Any) -> str | None:
    """The revision a database is at; None for one that was never migrated."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _migrate(connection: Any, to: str) -> None:
    # Read only where there is something to do: every command of `hie` asks for the newest schema.
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)
