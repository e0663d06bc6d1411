"""Parts of resources: `_summary` and `_elements` (pure).

A resource that lost something is marked SUBSETTED, so that nobody writes it back as the whole.
Which elements there are, count to the summary or must stay is in config/fhir/subsets.json.
Spec: https://hl7.org/fhir/R4/search.html#summary, https://hl7.org/fhir/R4/search.html#elements
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from fhir_server.search.params import refused
from fhir_server.search.results import Shown
from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson
from hie.store.body import dump
from hie.store.query import Page, Served

SUBSETTED: Final = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
    "display": "subsetted",
}
#: Never left out: what it is, and what changes the meaning of the rest.
ALWAYS: Final = frozenset({"resourceType", "id", "meta", "implicitRules", "modifierExtension"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """What is known of a type.

    Attributes:
        summary: elements of the summary, each with the type of which a part is told; "" = whole.
        mandatory: elements that must be there.
        choices: `value` to `valueQuantity` and so on.
        elements: all there are, of a resource type.
    """

    summary: Mapping[str, str]
    mandatory: frozenset[str] = frozenset()
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    elements: frozenset[str] = frozenset()


class Subsets:
    """Cuts resources down.

    Args:
        table: the content of config/fhir/subsets.json.
    """

    def __init__(self, table: Mapping[str, Any]) -> None:
        self._parts = {
            name: _Part(
                summary=row["summary"],
                mandatory=frozenset(row.get("mandatory", ())),
                choices=row.get("choices", {}),
                elements=frozenset(row.get("elements", ())),
            )
            for name, row in table.items()
        }

    def require_elements(self, types: Sequence[str], names: Sequence[str]) -> None:
        """Make sure that one of the types has each of these elements.

        Raises:
            HieError: INVALID naming the parameter; a misspelt name would leave out what it means.
        """
        parts = [self._parts[name] for name in types if name in self._parts]
        known = {each for part in parts for each in (*part.elements, *part.choices)}
        if parts and not known.issuperset(names):
            raise refused("_elements", f"expected names of elements of {' or '.join(types)}")

    def page(self, page: Page, shown: Shown) -> Page:
        """A page whose resources have no more than was asked for.

        `_elements` is about matches; `_summary` about what is included too.
        """
        cut = self._cut(shown.summary)
        matches = page.matches
        if shown.elements:
            matches = tuple(self._kept(one, self._elements(shown.elements)) for one in matches)
        if cut is None:
            return replace(page, matches=matches)
        return replace(
            page,
            matches=tuple(self._kept(one, cut) for one in matches),
            included=tuple(self._kept(one, cut) for one in page.included),
        )

    def served(self, served: Served, shown: Shown) -> Served:
        """The same of one resource."""
        return self.page(Page(matches=(served,)), shown).matches[0]

    def _cut(self, summary: str) -> Callable[[FhirJson], FhirJson] | None:
        return {"true": self._summary, "text": self._text, "data": _data}.get(summary)

    def _kept(self, served: Served, cut: Callable[[FhirJson], FhirJson]) -> Served:
        if served.is_deleted:
            return served
        whole: FhirJson = json.loads(served.body, parse_float=Decimal)
        if whole["resourceType"] not in self._parts:
            return served
        left = cut(whole)
        if left == whole:
            return served
        meta = whole.get("meta", {})  # definitions that the hub carries have none
        left["meta"] = {**meta, "tag": [*_tags(meta), SUBSETTED]}
        return replace(served, body=dump(left))

    def _summary(self, resource: FhirJson) -> FhirJson:
        always = {name: value for name, value in resource.items() if name in ALWAYS}
        return {**always, **self._summarized(resource, resource["resourceType"])}

    def _summarized(self, value: Any, type_name: str) -> Any:
        if isinstance(value, list):
            return [self._summarized(one, type_name) for one in value]
        if not isinstance(value, dict):
            return value
        summary = self._parts[type_name].summary
        return {
            name: self._summarized(inner, kind) if (kind := summary[plain]) else inner
            for name, inner in value.items()
            if (plain := name.removeprefix("_")) in summary
        }

    def _text(self, resource: FhirJson) -> FhirJson:
        kept = {"text", *self._parts[resource["resourceType"]].mandatory}
        return _only(resource, kept)

    def _elements(self, names: Sequence[str]) -> Callable[[FhirJson], FhirJson]:
        def cut(resource: FhirJson) -> FhirJson:
            part = self._parts[resource["resourceType"]]
            kept = {*names, *part.mandatory}
            return _only(resource, kept.union(*(part.choices.get(name, ()) for name in names)))

        return cut


def _data(resource: FhirJson) -> FhirJson:
    return {name: value for name, value in resource.items() if name != "text"}


def _only(resource: FhirJson, names: set[str]) -> FhirJson:
    return {
        name: value
        for name, value in resource.items()
        if name.removeprefix("_") in names or name in ALWAYS
    }


def _tags(meta: FhirJson) -> list[Any]:
    return [tag for tag in meta.get("tag", ()) if tag.get("code") != SUBSETTED["code"]]


def load_subsets(path: Path) -> Subsets:
    """The table of config/fhir/subsets.json.

    Raises:
        HieError: INVALID when the file is not that table.
    """
    try:
        return Subsets(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError) as error:
        text = f"`{path.name}`: must be the JSON that `make docs` writes"
        raise HieError(Category.INVALID, text) from error
