"""Writes config/fhir/subsets.json: what `_summary` and `_elements` leave of each resource type.

Which elements FHIR counts to the summary, which must be there, and how the elements of a choice
are called, as facts of the models that validate. `make docs` runs it; a test fails while the
file is not what it would write.
Spec: https://hl7.org/fhir/R4/search.html#summary, https://hl7.org/fhir/R4/search.html#elements
"""

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fhir.resources.R4B import get_fhir_model_class

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "config" / "fhir" / "subsets.json"
#: Elements that every type has and no summary needs, so they decide nothing.
EVERYWHERE = frozenset({"id", "extension", "fhir_comments", "resource_type"})

#: Types told whole wherever they stand.
WHOLE = frozenset({"Extension", "Identifier", "Meta", "Reference"})


def table(types: Sequence[str] = ()) -> str:
    """Type to what is left of it, as JSON; one type a line. Without `types`, of all there are."""
    found: dict[str, dict[str, Any]] = {}
    left = list(types) or _resource_types()
    while left:
        name = left.pop()
        if name in found:
            continue
        try:
            fields = _fields(name)
        except (ValueError, KeyError):
            continue  # a type of R4 that has no model
        found[name] = _row(name, fields)
        left += [kind for kind in found[name]["summary"].values() if kind]
    for row in found.values():
        row["summary"] = {n: k if k in found else "" for n, k in row["summary"].items()}
    lines = [f"{json.dumps(name)}: {json.dumps(found[name])}" for name in sorted(found)]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _fields(name: str) -> dict[str, Any]:
    fields = get_fhir_model_class(name).model_fields
    return {field.alias: field for key, field in fields.items() if not key.endswith("__ext")}


def _row(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    is_resource = name in _resource_types()
    row: dict[str, Any] = {
        "summary": {
            alias: _partial(field)
            for alias, field in fields.items()
            if _told(field).get("summary_element_property") or (is_resource and alias == "id")
        }
    }
    if is_resource:
        choices: dict[str, list[str]] = {}
        for alias, field in fields.items():
            if choice := _told(field).get("one_of_many"):
                choices.setdefault(choice, []).append(alias)
        needed = [
            alias
            for alias, field in fields.items()
            if _told(field).get("element_required")
            or field.is_required()
            or _told(field).get("one_of_many_required")
        ]
        row["mandatory"] = needed
        row["choices"] = choices
        row["elements"] = sorted(set(fields) - {"fhir_comments", "resource_type"})
    return row


def _told(field: Any) -> dict[str, Any]:
    return field.json_schema_extra or {}


def _partial(field: Any, above: frozenset[str] = WHOLE) -> str:
    """The type of an element of which the summary has a part alone; else ""."""
    kind = _type_name(field.annotation)
    if kind in above:
        return ""
    try:
        inner = _fields(kind) if kind else {}
    except (ValueError, KeyError):
        return ""
    own = [one for alias, one in inner.items() if alias not in EVERYWHERE]
    is_whole = all(
        _told(one).get("summary_element_property") and not _partial(one, above | {kind})
        for one in own
    )
    return "" if is_whole else kind


def _type_name(annotation: Any) -> str:
    """The FHIR type of an element that is no primitive; else ""."""
    inner = getattr(annotation, "__args__", ())
    for one in inner:
        if found := _type_name(one):
            return found
    name = getattr(annotation, "__name__", "")
    return name.removesuffix("Type") if name.endswith("Type") and name[0].isupper() else ""


def _resource_types() -> list[str]:
    content = (ROOT / "config/fhir/types.toml").read_text(encoding="utf-8")
    return list(tomllib.loads(content)["ids"])


def main() -> None:
    """Write the table."""
    TARGET.write_text(table(), encoding="utf-8")
    print(TARGET.relative_to(ROOT))


if __name__ == "__main__":
    main()
