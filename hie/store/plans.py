"""Rows of config/fhir/search.toml compiled: what may be asked, and what reads the values.

Pure. Spec: https://hl7.org/fhir/R4/search.html
"""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson
from hie.store.extract import (
    CONVERTERS,
    CONVERTERS_AS,
    LOGICAL,
    OF_TYPE,
    TEXT,
    Convert,
    Field,
    IndexValue,
    Kind,
)
from hie.store.paths import Walk, compile_path, whole_path

FILE: Final = "search.toml"
#: Types of parameters with rows, and what has none: `composite` has rows made of others'.
TYPES: Final = frozenset({*CONVERTERS, "composite", "special"})
ROW_KEYS: Final = frozenset(
    {"type", "paths", "covers", "targets", "system", "as", "blind", "person", "components"}
)
#: Raised where a converter of a type begins to make other rows of the same elements: what was
#: stored before is then read again.
READERS: Final[Mapping[str, int]] = MappingProxyType({"reference": 2})
#: Starts the path of a component that stands outside the element of the others.
WHOLE: Final = "%resource."

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchParam:
    """What may be asked of one resource type under one name.

    Attributes:
        name: `birthdate`.
        id: its own number; rows may also stand under the numbers of what it covers.
        param_ids: the numbers whose rows answer it, in a fixed order.
        type: FHIR search type: token, date, string, number, quantity, uri, reference,
            composite, special.
        kind: the index table of its rows; `blind` where they are keyed hashes; `text` where
            they name a text of `sp_text`; `uri` for references to canonical addresses.
        targets: the types a reference may point to; () = any.
        is_contact: values are telephone numbers and addresses, compared by `blind.contact`.
        is_sound: values are compared by `extract.sounds_of`.
        is_moment: of a date that is kept as keyed hashes: also by its time of day.
        person: "first" or "any" where a reference to a Patient is answered by the
            resource's person; else "".
        components: of a composite, the parameters of the type that its parts are of, in the
            order of the searched value's parts: `a$b`.
    """

    name: str
    id: int
    param_ids: tuple[int, ...]
    type: str
    kind: Kind
    is_blind: bool = False
    targets: tuple[str, ...] = ()
    is_contact: bool = False
    is_sound: bool = False
    is_moment: bool = False
    person: str = ""
    components: tuple[str, ...] = ()

    @property
    def text_ids(self) -> tuple[int, ...]:
        """Of a token: the numbers of the rows of `sp_token` that `:text` asks."""
        return tuple(number + TEXT for number in self.param_ids)

    @property
    def of_type_ids(self) -> tuple[int, ...]:
        """Of a token: the numbers of the rows of `sp_token` that `:of-type` asks."""
        return tuple(number + OF_TYPE for number in self.param_ids)

    @property
    def logical_ids(self) -> tuple[int, ...]:
        """Of a reference: the numbers of the keyed rows that `:identifier` asks.

        By `blind.token_asked`; an address of another server by `blind.elsewhere_key`.
        """
        return tuple(number + LOGICAL for number in self.param_ids)


class Reading(NamedTuple):
    """What makes rows of an element of the resource: `walk` to the values, then `convert`."""

    walk: Walk
    convert: Convert
    field: Field


#: Rows that several elements make together, from the whole resource.
Whole = Callable[[FhirJson], Iterable[IndexValue]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TypePlan:
    """What is known of one resource type.

    Attributes:
        params: by name, in the order of the table.
        readings: by the name of an element of the resource.
        wholes: by the name of an element without which they have nothing to say.
    """

    params: Mapping[str, SearchParam]
    readings: Mapping[str, tuple[Reading, ...]]
    wholes: Mapping[str, tuple[Whole, ...]]


def compile_type(
    type_name: str,
    rows: Mapping[str, Row],
    ids: Mapping[str, int],
    public: frozenset[str] = frozenset(),
) -> TypePlan:
    """The plan of a resource type.

    Args:
        type_name: for the place in errors.
        rows: the type's rows of the table, with those of every type.
        ids: the numbers of parameters.
        public: types that are everybody's to see.

    Raises:
        HieError: INVALID naming the row and what is expected there.
    """
    for name, row in rows.items():
        _check(f"{type_name}.{name}", name, row, rows, ids)
    readings: dict[str, tuple[Reading, ...]] = {}
    wholes: dict[str, tuple[Whole, ...]] = {}
    for name, row in rows.items():
        key, fields = f"{type_name}.{name}", _fields(name, row, ids, public)
        if row["type"] == "composite":
            for first, whole in _composites(key, row, rows, ids):
                wholes[first] = (*wholes.get(first, ()), whole)
        elif row.get("as") == "deceased":
            whole = _of_whole(_converter(row)[0], fields[0])
            wholes["resourceType"] = (*wholes.get("resourceType", ()), whole)
        else:
            for first, walk in compiled(FILE, key, row.get("paths", ())):
                made = tuple(Reading(walk, _converter(row)[0], field) for field in fields)
                readings[first] = (*readings.get(first, ()), *made)
    return TypePlan(
        params={name: _param(name, row, rows, ids) for name, row in rows.items()},
        readings=readings,
        wholes=wholes,
    )


def bad(file: str, key: str, expected: str) -> HieError:
    """An INVALID error about a table of config/fhir: which file and key, what is expected."""
    place = f"`config/fhir/{file}` `{key}`" if key else f"`config/fhir/{file}`"
    return HieError(Category.INVALID, f"{place}: expected {expected}")


def compiled(file: str, key: str, paths: Any) -> Iterable[tuple[str, Walk]]:
    """Paths of a table, compiled.

    Raises:
        HieError: INVALID naming file and key.
    """
    if not isinstance(paths, list | tuple):
        raise bad(file, key, "a list of paths")
    for path in paths:
        try:
            yield compile_path(path)
        except (ValueError, TypeError) as error:
            raise bad(file, key, "paths such as `name.family`") from error


def _check(key: str, name: str, row: Any, rows: Mapping[str, Row], ids: Mapping[str, int]) -> None:
    if not isinstance(row, dict) or set(row) - ROW_KEYS or row.get("type") not in TYPES:
        raise bad(FILE, key, f"a table of {', '.join(sorted(ROW_KEYS))}")
    if row.get("as") not in (None, *CONVERTERS_AS):
        raise bad(FILE, key, f"`as` to be one of {', '.join(sorted(CONVERTERS_AS))}")
    for used in (name, *row.get("covers", ()), *row.get("components", ())):
        if used not in ids or used not in rows:
            raise bad(FILE, key, f"`{used}` among [ids] and the type's rows")
    if row["type"] == "composite" and len(row.get("components", ())) not in (0, 2, 3):
        raise bad(FILE, key, "two or three `components`")


def _converter(row: Row) -> tuple[Convert, Kind]:
    return CONVERTERS_AS[row["as"]] if "as" in row else CONVERTERS[row["type"]]


def _kind(row: Row) -> Kind:
    if row["type"] == "composite":
        return "composite"
    if row["type"] == "special" and "as" not in row:
        return "place"
    kind = _converter(row)[1]
    return "blind" if row.get("blind") and kind != "text" else kind


def _param(name: str, row: Row, rows: Mapping[str, Row], ids: Mapping[str, int]) -> SearchParam:
    covered = row.get("covers", ())
    own = (ids[name],) if row.get("paths") else ()
    return SearchParam(
        name=name,
        id=ids[name],
        param_ids=(*own, *(ids[used] for used in covered)),
        type=row["type"],
        kind=_kind(row),
        is_blind=bool(row.get("blind")),
        targets=tuple(row.get("targets", ())),
        is_contact=row.get("as") == "contact",
        is_sound=row.get("as") == "sound",
        is_moment=row.get("as") == "moment",
        person=row.get("person", ""),
        components=tuple(row.get("components", ()))
        or tuple(itertools.chain.from_iterable(rows[c].get("components", ()) for c in covered[:1])),
    )


def _fields(
    name: str, row: Row, ids: Mapping[str, int], public: frozenset[str] = frozenset()
) -> tuple[Field, ...]:
    """One field, or one for each code system that the values may be of."""
    systems = row.get("system", "")
    return tuple(
        Field(
            param=name,
            param_id=ids[name],
            system=system,
            is_contact=row.get("as") == "contact",
            is_blind=bool(row.get("blind")),
            is_person=bool(row.get("person")),
            public=public,
        )
        for system in (systems if isinstance(systems, list) else [systems])
    )


def _of_whole(convert: Convert, field: Field) -> Whole:
    def read(resource: FhirJson) -> Iterable[IndexValue]:
        return convert(field, resource)

    return read


class _Part(NamedTuple):
    """One component: its values of the element that holds all, or of the resource."""

    is_whole: bool
    walk: Walk
    convert: Convert
    field: Field

    def values(self, resource: FhirJson, element: Any) -> Iterator[IndexValue]:
        for leaf in self.walk(resource if self.is_whole else element):
            for value in self.convert(self.field, leaf):
                if value.param_id == self.field.param_id:  # a face is no value
                    yield value


def _composites(
    key: str, row: Row, rows: Mapping[str, Row], ids: Mapping[str, int]
) -> Iterator[tuple[str, Whole]]:
    """Each path `within: a $ b` (or `a $ b` of the resource itself), by what it cannot lack."""
    for path in row.get("paths", ()):
        within, _, inner = path.rpartition(":") if ": " in path else ("", "", path)
        named = [part.strip() for part in inner.split("$")]
        names = row["components"]
        if len(named) != len(names):
            raise bad(FILE, key, "a path for every component: `within: a $ b`")
        try:
            parts = [
                _part(text, name, rows[name], ids) for text, name in zip(named, names, strict=True)
            ]
            walk = whole_path(within) if within else None
            first = compile_path(within or named[-1])[0]
        except ValueError as error:
            raise bad(FILE, key, "paths such as `component: code $ valueQuantity`") from error
        yield first, _composite(row_name(key), ids[row_name(key)], walk, parts)


def row_name(key: str) -> str:
    """The parameter of `Type.parameter`."""
    return key.partition(".")[2]


def _part(text: str, name: str, row: Row, ids: Mapping[str, int]) -> _Part:
    is_whole = text.startswith(WHOLE)
    walk = whole_path(text.removeprefix(WHOLE))
    return _Part(is_whole, walk, _converter(row)[0], _fields(name, row, ids)[0])


def _composite(name: str, number: int, within: Walk | None, parts: Sequence[_Part]) -> Whole:
    def read(resource: FhirJson) -> Iterable[IndexValue]:
        for element in (resource,) if within is None else within(resource):
            found = []
            for part in reversed(parts):  # the last is what most often is not there
                values = tuple(part.values(resource, element))
                if not values:
                    break
                found.append(values)
            else:
                for combined in itertools.product(*reversed(found)):
                    yield IndexValue(name, number, "composite", parts=combined)

    return read


def definitions_of(rows: Mapping[str, Row], ids: Mapping[str, int]) -> dict[int, str]:
    """By number, a digest of what makes a parameter's rows; the same rows have the same."""
    found = {}
    for name, row in rows.items():
        if row.get("paths"):
            made = [row, *(rows[component] for component in row.get("components", ()))]
            found[ids[name]] = digest([_reads(part) for part in made])
    return found


def _reads(row: Row) -> dict[str, Any]:
    """What of a row decides how its rows in the index look; what it may be asked for does not."""
    kept = {key: row[key] for key in ("type", "paths", "system", "as", "blind") if key in row}
    return kept | {"is_person": bool(row.get("person")), "reader": READERS.get(row["type"], 1)}


def digest(made: Any, size: int = 6) -> str:
    """A digest of JSON, `size` bytes as hexadecimal digits."""
    text = json.dumps(made, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()
