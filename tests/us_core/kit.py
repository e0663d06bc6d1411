"""What the certification kit of US Core 6.1.0 asks of a server, read from `kit.json`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KIT = Path(__file__).with_name("kit.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """A search parameter of one profile.

    Attributes:
        type: FHIR datatype of the elements.
        paths: the elements, below the resource.
        comparators: prefixes a server SHALL know.
        values: codes that the kit searches for; () = those found.
        is_or: whether a list of values SHALL be known.
    """

    name: str
    type: str
    paths: tuple[str, ...]
    comparators: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    is_or: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A profile and what is tested of it.

    Attributes:
        searches: names of parameters asked together, and how strongly they are expected.
        is_found_by_reference: such resources are not searched for by patient.
        must_support: elements, slices, extensions and choices as the kit tells them.
    """

    name: str
    type: str
    url: str
    searches: Mapping[tuple[str, ...], str]
    params: Mapping[str, Param]
    includes: Sequence[str]
    revincludes: Sequence[str]
    references: Sequence[str]
    is_found_by_reference: bool
    must_support: Mapping[str, Any]


def profiles() -> list[Profile]:
    """Every profile of the kit, in its order."""
    return [_profile(row) for row in json.loads(KIT.read_text())]


def _profile(row: Mapping[str, Any]) -> Profile:
    return Profile(
        name=row["profile"],
        type=row["type"],
        url=row["url"],
        searches={tuple(names.split("+")): said for names, said in row["searches"].items()}
        if row["searches"]
        else {},
        params={name: _param(name, one) for name, one in row.get("params", {}).items()},
        includes=row.get("includes", ()),
        revincludes=row.get("revincludes", ()),
        references=row.get("references", ()),
        is_found_by_reference=row.get("is_found_by_reference", False),
        must_support={
            kind: row.get(kind, ()) for kind in ("elements", "slices", "extensions", "choices")
        },
    )


def _param(name: str, row: Mapping[str, Any]) -> Param:
    return Param(
        name=name,
        type=row["type"],
        paths=tuple(row["paths"]),
        comparators=tuple(row.get("comparators", ())),
        values=tuple(row.get("values", ())),
        is_or=row.get("is_or", False),
    )
