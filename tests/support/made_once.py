"""What every hub of a test process needs alike, made once: what config/ says, a file of tables."""

from pathlib import Path
from typing import Any

from hie import migrations
from hie.config import Config
from hie.db import Database
from hie.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]


def config_of(settings: Settings) -> Config:
    """What `config/` says: read once for all hubs of a test process that read the same."""
    if settings.config != REPOSITORY / "config":
        return Config(settings)
    known = (settings.is_production, settings.regime)
    if known not in _READ:
        _READ[known] = Config(settings)
    return _READ[known]


async def with_tables(path: Path) -> None:
    """A SQLite file with every table, copied: making them takes longer than many a test."""
    if _TABLES:
        _copy(path)
        return
    database = Database(f"sqlite+aiosqlite:///{path}")
    await migrations.upgrade(database)
    await database.close()
    _keep(path)


def _copy(path: Path) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_TABLES[0])
        path.chmod(0o600)


def _keep(path: Path) -> None:
    _TABLES.append(path.read_bytes())


_TABLES: list[bytes] = []
_READ: dict[tuple[Any, ...], Config] = {}
