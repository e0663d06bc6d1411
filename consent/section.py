"""A TOML file of the law, read key by key; what nobody reads of it is refused."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final, Literal, cast
from zoneinfo import ZoneInfo

from hie.kernel.clock import micros
from hie.kernel.errors import Category, HieError

_SOURCE: Final = re.compile(r"^[A-Za-z0-9_.-]{1,100}$")


class Section:
    """A TOML table that names its place when something is wrong in it."""

    def __init__(self, values: Mapping[str, Any], place: str) -> None:
        self._values, self._place = values, place
        self._read: set[str] = set()
        self._tables: dict[str, Section] = {}
        self._inner: list[Section] = []

    def fail(self, key: str, expected: str) -> HieError:
        """The fault of a key: place, key and what was expected there."""
        return HieError(Category.INVALID, f"{self._place}: `{key}`: expected {expected}")

    def _get(self, key: str, kind: type, expected: str, default: Any) -> Any:
        self._read.add(key)
        value = self._values.get(key, default)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.fail(key, expected)
        return value

    def text(self, key: str, default: str | None = None) -> str:
        """A text; without a default it must be there."""
        return str(self._get(key, str, "a text", default))

    def flag(self, key: str, *, default: bool | None = None) -> bool:
        """True or false; without a default it must be there."""
        return bool(self._get(key, bool, "true or false", default))

    def number(self, key: str) -> int:
        """A whole number, which must be there."""
        return int(self._get(key, int, "a whole number", None))

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; empty where the key is missing."""
        values = self._get(key, list, "a list of texts", [])
        if not all(isinstance(value, str) for value in values):
            raise self.fail(key, "a list of texts")
        return tuple(values)

    def codes(self, key: str) -> frozenset[str]:
        """The same as a set."""
        return frozenset(self.texts(key))

    def codes_or_any(self, key: str) -> frozenset[str] | None:
        """The same; None = any, where the key is missing."""
        return self.codes(key) if key in self._values else None

    def texts_or_any(self, key: str) -> tuple[str, ...] | None:
        """The same in order; None = any, where the key is missing."""
        return self.texts(key) if key in self._values else None

    def names_or_any(self, key: str) -> frozenset[str] | None:
        """Ids of sources; None = any, where the key is missing."""
        found = self.codes_or_any(key)
        if found is not None and not all(_SOURCE.match(name) for name in found):
            raise self.fail(key, "ids of sources: letters, digits, dots, dashes")
        return found

    def effect(self) -> Literal["permit", "deny"]:
        """What the key `effect` says."""
        value = self.text("effect")
        if value not in ("permit", "deny"):
            raise self.fail("effect", "`permit` or `deny`")
        return cast("Literal['permit', 'deny']", value)

    def start_of_day(self, key: str, zone: ZoneInfo) -> int | None:
        """The first microsecond of a date; None where the key is missing."""
        self._read.add(key)
        value = self._values.get(key)
        if value is None:
            return None
        if not isinstance(value, date) or isinstance(value, datetime):
            raise self.fail(key, "a date")
        return micros(datetime(value.year, value.month, value.day, tzinfo=zone))

    def table(self, key: str) -> "Section":
        """A table, which must be there."""
        if key not in self._tables:
            values = self._get(key, dict, "a table", None)
            self._tables[key] = Section(values, f"{self._place} [{key}]")
        return self._tables[key]

    def tables(self, key: str) -> list["Section"]:
        """An array of tables; empty where the key is missing."""
        values = self._get(key, list, "a list of tables", [])
        if not all(isinstance(value, dict) for value in values):
            raise self.fail(key, "a list of tables")
        found = [
            Section(value, f"{self._place} [[{key}]] {position}")
            for position, value in enumerate(values, start=1)
        ]
        self._inner += found
        return found

    def require_read(self) -> None:
        """Refuse keys that nobody asked for: what is written there has no effect.

        Raises:
            HieError: INVALID, naming the first of them.
        """
        if unknown := sorted(set(self._values) - self._read):
            raise self.fail(unknown[0], f"none but {', '.join(sorted(self._read))}")
        for inner in (*self._tables.values(), *self._inner):
            inner.require_read()

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def all_texts(self) -> dict[str, str]:
        """Every key with its text."""
        return {key: self.text(key) for key in self._values}

    def all_lists(self) -> dict[str, tuple[str, ...]]:
        """Every key with its list of texts."""
        return {key: self.texts(key) for key in self._values}


def read_section(path: Path) -> Section:
    """The TOML of a file.

    Raises:
        HieError: INVALID for one that is not there, or is none.
    """
    try:
        with path.open("rb") as file:
            return Section(tomllib.load(file), f"`{path.name}`")
    except FileNotFoundError:
        raise HieError(Category.INVALID, f"`{path.name}`: file not found") from None
    except tomllib.TOMLDecodeError as error:
        raise HieError(Category.INVALID, f"`{path.name}`: not TOML: {error}") from None
