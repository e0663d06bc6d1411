"""The list of what was erased, in a file beside the keys: ids alone, one JSON object a line.

The database cannot keep it: a restored backup would bring back both what was erased and the
ignorance of that. Back it up apart from the database, as the key file.
"""

import asyncio
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from hie.kernel.errors import Category, HieError


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """One erasure.

    Attributes:
        merged: ids of the persons that were merged into it.
        records: ids of the source records.
        keys: ids of the data keys destroyed.
        keeps_trail: whether the key of the person's audit rows was kept.
    """

    at_us: int
    person: str
    records: tuple[str, ...]
    keys: tuple[int, ...]
    keeps_trail: bool = False
    merged: tuple[str, ...] = ()


class ErasedList:
    """Appends to the file and reads it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def add(self, erased: Erased) -> None:
        """Write a line, on the disk before this returns."""
        await asyncio.to_thread(self._append, json.dumps(asdict(erased)))

    async def read(self) -> list[Erased]:
        """Every erasure, oldest first.

        Raises:
            HieError: FAULT for a line that is none; put the file right before you start.
        """
        return await asyncio.to_thread(self._lines)

    def _append(self, line: str) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(self._path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{line}\n")
            file.flush()
            os.fsync(file.fileno())

    def _lines(self) -> list[Erased]:
        if not self._path.exists():
            return []
        found = []
        lines = self._path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, start=1):
            try:
                read = json.loads(line)
                # Lines of before persons merged away were listed have no `merged`.
                named = {**read, "merged": read.get("merged", ())}
                lists = {name: tuple(named[name]) for name in ("records", "keys", "merged")}
                found.append(Erased(**{**read, **lists}))
            except (ValueError, KeyError, TypeError) as error:
                text = f"`{self._path.name}` line {number}: expected an erasure as JSON"
                raise HieError(Category.FAULT, text) from error
        return found
