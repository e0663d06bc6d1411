"""What a patient summary is made of, read once from config/fhir/summary.toml.

Every key is explained there.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson

FILE: Final = "summary.toml"
_DOCUMENT: Final = {"type", "title", "author", "beside", "empty"}
_SECTION: Final = {"code", "title", "is_kept", "take"}
_TAKE: Final = {"type", "only", "unless", "newest", "shows"}

#: Codes by element.
Codes = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """What a section takes of one resource type.

    Attributes:
        newest: of each kind so many; 0 = all.
        shows: heading, and the elements of which the first that is there is shown.
    """

    type: str
    only: Codes
    unless: Codes
    newest: int
    shows: tuple[tuple[str, tuple[str, ...]], ...]

    def takes(self, resource: FhirJson) -> bool:
        """Whether a resource of the type belongs into the section."""
        return all(codes & codes_of(resource.get(name)) for name, codes in self.only.items()) and (
            not any(codes & codes_of(resource.get(name)) for name, codes in self.unless.items())
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section: its LOINC code, its heading, what it takes."""

    code: str
    title: str
    is_kept: bool
    takes: tuple[Take, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryPlan:
    """The document and its sections in order."""

    type: str
    title: str
    author: str
    empty: str
    beside: frozenset[str]
    sections: tuple[Section, ...]

    @property
    def types(self) -> frozenset[str]:
        """Every type that a section takes."""
        return frozenset(take.type for section in self.sections for take in section.takes)


#: Of a server without a table.
NO_SUMMARY: Final = SummaryPlan(
    type="60591-5", title="", author="", empty="", beside=frozenset(), sections=()
)


def codes_of(value: Any) -> frozenset[str]:
    """The codes of a code, a CodeableConcept or a list of them."""
    found: set[str] = set()
    for one in value if isinstance(value, list) else (value,):
        if isinstance(one, str):
            found.add(one)
        elif isinstance(one, dict):
            codings = one.get("coding")
            for coding in codings if isinstance(codings, list) else (one,):
                if isinstance(coding, dict) and isinstance(coding.get("code"), str):
                    found.add(coding["code"])
    return frozenset(found)


def load_summary(folder: Path, types: Sequence[str]) -> SummaryPlan:
    """The plan of a folder's table.

    Args:
        folder: config/fhir.
        types: the resource types there are.

    Raises:
        HieError: INVALID naming key and what is expected there.
    """
    try:
        table = tomllib.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _bad("", "a readable TOML file") from error
    document = _table("document", table.get("document"), _DOCUMENT)
    sections = tuple(
        _section(n, one, frozenset(types)) for n, one in enumerate(table.get("section", ()))
    )
    return SummaryPlan(
        type=_text("document.type", document.get("type")),
        title=_text("document.title", document.get("title")),
        author=_text("document.author", document.get("author")),
        empty=_text("document.empty", document.get("empty")),
        beside=_types("document.beside", document.get("beside", ()), frozenset(types)),
        sections=sections,
    )


def _section(number: int, table: Any, types: frozenset[str]) -> Section:
    place = f"section[{number}]"
    table = _table(place, table, _SECTION)
    takes = table.get("take")
    if not isinstance(takes, list) or not takes:
        raise _bad(f"{place}.take", "a table for each resource type")
    return Section(
        code=_text(f"{place}.code", table.get("code")),
        title=_text(f"{place}.title", table.get("title")),
        is_kept=table.get("is_kept") is True,
        takes=tuple(_take(f"{place}.take[{n}]", one, types) for n, one in enumerate(takes)),
    )


def _take(place: str, table: Any, types: frozenset[str]) -> Take:
    table = _table(place, table, _TAKE)
    (name,) = _types(f"{place}.type", [table.get("type")], types)
    newest = table.get("newest", 0)
    if type(newest) is not int or newest < 0:
        raise _bad(f"{place}.newest", "a whole number")
    shows = table.get("shows")
    if not isinstance(shows, list) or not all(
        isinstance(one, list) and len(one) > 1 and all(isinstance(x, str) for x in one)
        for one in shows
    ):
        raise _bad(f"{place}.shows", "lists of a heading and elements")
    return Take(
        type=name,
        only=_codes(f"{place}.only", table.get("only", {})),
        unless=_codes(f"{place}.unless", table.get("unless", {})),
        newest=newest,
        shows=tuple((heading, tuple(elements)) for heading, *elements in shows),
    )


def _codes(place: str, table: Any) -> Codes:
    is_right = isinstance(table, dict) and all(isinstance(codes, list) for codes in table.values())
    if not is_right:
        raise _bad(place, "lists of codes by element")
    return {name: frozenset(codes) for name, codes in table.items()}


def _types(place: str, names: Any, types: frozenset[str]) -> frozenset[str]:
    if not isinstance(names, list | tuple) or not all(name in types for name in names):
        raise _bad(place, "resource types of types.toml")
    return frozenset(names)


def _text(place: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _bad(place, "a text")
    return value


def _table(place: str, table: Any, keys: set[str]) -> dict[str, Any]:
    if not isinstance(table, dict) or set(table) - keys:
        raise _bad(place, f"a table of {', '.join(sorted(keys))}")
    return table


def _bad(key: str, expected: str) -> HieError:
    place = f"`config/fhir/{FILE}`" + (f" `{key}`" if key else "")
    return HieError(Category.INVALID, f"{place}: expected {expected}")
