"""What some work says to a database: its statements with their values, to look at their plans."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection


@contextmanager
def noted(conn: AsyncConnection) -> Iterator[list[tuple[str, Any]]]:
    """The statements of a connection while the block runs, in their order."""
    said: list[tuple[str, Any]] = []
    raw = conn.sync_connection
    assert raw is not None

    def note(_c: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        said.append((statement, values))

    event.listen(raw, "before_cursor_execute", note)
    try:
        yield said
    finally:
        event.remove(raw, "before_cursor_execute", note)
