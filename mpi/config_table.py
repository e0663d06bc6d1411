"""A TOML table that says in which file and key a value is missing or of another kind."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hie.kernel.errors import Category, HieError


class ConfigTable:
    """A TOML table that says where a value is missing or of another kind."""

    def __init__(self, values: Mapping[str, Any], path: Path, prefix: str = "") -> None:
        self._values = values
        self._path = path
        self._prefix = prefix

    @classmethod
    def read(cls, path: Path) -> "ConfigTable":
        """The table of a whole file.

        Raises:
            HieError: INVALID, with the line and column that is no TOML.
        """
        try:
            return cls(tomllib.loads(path.read_text(encoding="utf-8")), path)
        except OSError as error:
            text = f"`{path}`: expected a file that can be read"
            raise HieError(Category.INVALID, text) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            text = f"`{path.name}`: must be TOML in UTF-8 ({error})"
            raise HieError(Category.INVALID, text) from error

    def fault(self, key: str, expected: str) -> HieError:
        """The error that this key is not what was expected."""
        text = f"`{self._path.name}` key `{self._prefix}{key}`: expected {expected}"
        return HieError(Category.INVALID, text)

    def keys(self) -> list[str]:
        """Its keys, in the order of the file."""
        return list(self._values)

    def numbers(self) -> Mapping[str, float]:
        """The whole table, if it holds nothing but numbers."""
        return MappingProxyType({key: self.number(key) for key in self._values})

    def strings(self) -> Mapping[str, str]:
        """The whole table, if it holds nothing but strings."""
        return MappingProxyType({key: self.text(key) for key in self._values})

    def sub(self, key: str) -> "ConfigTable":
        """The table under this key."""
        value = self._values.get(key)
        if not isinstance(value, dict):
            raise self.fault(key, "a table")
        return ConfigTable(value, self._path, f"{self._prefix}{key}.")

    def subs(self) -> list[tuple[str, "ConfigTable"]]:
        """Every table in it, by key."""
        return [(key, self.sub(key)) for key in self._values]

    def tables(self, key: str) -> list["ConfigTable"]:
        """The array of tables under this key."""
        value = self._values.get(key)
        if not isinstance(value, list):
            raise self.fault(key, "an array of tables")
        return [
            ConfigTable(v, self._path, f"{self._prefix}{key}[{n}].") for n, v in enumerate(value)
        ]

    def text(self, key: str, default: str | None = None) -> str:
        """The string under this key."""
        value = self._values.get(key, default)
        if not isinstance(value, str):
            raise self.fault(key, "a string")
        return value

    def texts(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """The array of strings under this key."""
        value = self._values.get(key, default)
        if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
            raise self.fault(key, "an array of strings")
        return tuple(value)

    def number(self, key: str, default: float | None = None) -> float:
        """The number under this key."""
        value = self._values.get(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.fault(key, "a number")
        return float(value)
