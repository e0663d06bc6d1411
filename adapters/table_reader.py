"""Reads one TOML table: takes its keys out, and remembers every fault and every key left over."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any


class TableReader:
    """One table of a file: takes keys out and remembers what is wrong or left over."""

    def __init__(
        self, place: str, content: Mapping[str, Any], faults: list[str] | None = None
    ) -> None:
        self._place = place
        self._content = dict(content)
        self._tables: list[TableReader] = []
        self.faults: list[str] = [] if faults is None else faults

    def fault(self, key: str, kind: str) -> None:
        """Note that `key` must be another kind of value."""
        self.faults.append(f"{self._place}: `{key}` must be {kind}")

    def table(self, key: str, *, required: bool = False) -> "TableReader":
        """The sub-table of that name, empty when absent."""
        content = self._content.pop(key, None)
        if (required and content is None) or not isinstance(content, dict | None):
            self.fault(key, "a table")
        found = TableReader(
            f"{self._place} [{key}]", content if isinstance(content, dict) else {}, self.faults
        )
        self._tables.append(found)
        return found

    def text(
        self,
        key: str,
        *,
        required: bool = False,
        form: re.Pattern[str] | None = None,
        kind: str = "text",
    ) -> str:
        """The text of that key, "" when absent."""
        value = self._content.pop(key, "")
        if not isinstance(value, str) or (required and not value):
            self.fault(key, kind)
            return ""
        if value and form and not form.match(value):
            self.fault(key, kind)
            return ""
        return value

    def texts(self, *, form: re.Pattern[str], kind: str) -> Mapping[str, str]:
        """All keys of the table, each with a text of that form."""
        return MappingProxyType({key: self.text(key, form=form, kind=kind) for key in self.keys()})

    def names(self, key: str) -> frozenset[str]:
        """A list of texts."""
        value = self._content.pop(key, [])
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            self.fault(key, "a list of texts")
            return frozenset()
        return frozenset(value)

    def switch(self, key: str, *, default: bool | None = None) -> bool | None:
        """True or false; `default` when absent."""
        value = self._content.pop(key, default)
        if value is not default and not isinstance(value, bool):
            self.fault(key, "true or false")
            return default
        return value

    def number(self, key: str, default: float) -> float:
        """A number above 0; `default` when absent."""
        value = self._content.pop(key, None)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            self.fault(key, "a number above 0")
            return default
        return float(value)

    def keys(self) -> tuple[str, ...]:
        """What has not been taken yet."""
        return tuple(self._content)

    def rest(self) -> dict[str, Any]:
        """Everything that has not been taken yet."""
        rest, self._content = self._content, {}
        return rest

    def finish(self) -> None:
        """Note every key nobody asked for: a misspelt key is a setting that does nothing."""
        for key in self._content:
            self.faults.append(f"{self._place}: `{key}` is not a known key")
        for table in self._tables:
            table.finish()
