"""What may be asked in queries and how persons are told, as data.

Read from `config/hl7v2/queries.toml`, where the keys are explained.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from hie.kernel.errors import Category, HieError

#: What a parameter may be read as.
KINDS: Final = frozenset(
    {"identifier", "namespace", "universal-id", "universal-id-type", "text", "date", "sex"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A field that QPD-3 may ask about.

    Attributes:
        name: the search parameter of Patient it stands for.
        kind: how its value is read, one of `KINDS`.
        is_narrow: enough to search by.
        takes_prefix: may end with `*`.
    """

    name: str
    kind: str
    is_narrow: bool = False
    takes_prefix: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PidField:
    """A field of the PID of an answer.

    Attributes:
        element: of Patient; `url` of the extension meant and where its value stands.
        kind: how it is written.
        codes: table of codes; "" = none.
        use, unless_use: of ContactPoint, the only one taken, and the one left out.
    """

    field: int
    element: str
    kind: str
    url: str = ""
    value: str = ""
    codes: str = ""
    use: str = ""
    unless_use: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryLimits:
    """Bounds of queries.

    Attributes:
        page: persons in one answer, at most.
        longest: characters of a QPD.
        shortest_prefix: letters or digits before `*`.
        pointer_seconds: how long a continuation pointer holds.
    """

    page: int
    longest: int
    shortest_prefix: int
    pointer_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryTables:
    """The tables of queries.

    Attributes:
        parameters: by field, `PID.5.1`.
        codes: by table, FHIR code to HL7 v2 code.
    """

    parameters: Mapping[str, Parameter]
    pid: tuple[PidField, ...]
    codes: Mapping[str, Mapping[str, str]]
    limits: QueryLimits


def load_query_tables(path: Path) -> QueryTables:
    """The tables of a TOML file.

    Raises:
        HieError: INVALID, naming the file and the key.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        limits = content["limits"]
        return QueryTables(
            parameters=MappingProxyType(
                {field: _parameter(row) for row in content["parameters"] for field in row["fields"]}
            ),
            pid=tuple(_pid_field(row) for row in content["pid"]),
            codes=MappingProxyType({name: dict(rows) for name, rows in content["codes"].items()}),
            limits=QueryLimits(
                page=int(limits["page"]),
                longest=int(limits["longest"]),
                shortest_prefix=int(limits["shortest_prefix"]),
                pointer_seconds=60 * int(limits["pointer_minutes"]),
            ),
        )
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        text = f"{path.name}: must be a table of queries ({type(error).__name__}: {error})"
        raise HieError(Category.INVALID, text) from error


def _parameter(row: Mapping[str, Any]) -> Parameter:
    if row["as"] not in KINDS:
        raise ValueError(f"`as` must be one of {', '.join(sorted(KINDS))}")
    return Parameter(
        name=str(row["name"]),
        kind=str(row["as"]),
        is_narrow=bool(row.get("narrow", False)),
        takes_prefix=bool(row.get("prefix", False)),
    )


def _pid_field(row: Mapping[str, Any]) -> PidField:
    return PidField(
        field=int(row["field"]),
        element=str(row["from"]),
        kind=str(row["as"]),
        url=str(row.get("where", "")),
        value=str(row.get("value", "")),
        codes=str(row.get("codes", "")),
        use=str(row.get("use", "")),
        unless_use=str(row.get("unless_use", "")),
    )
