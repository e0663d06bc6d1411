"""Writes two tables of config/fhir: what the models of FHIR say, for a hub that does not load them.

`elements.json` has the elements of every type, for the check of the maps; `required.json` the
elements that must be there on the way to a reference, for what is left of a resource where a
reference is not shown (`hie.store.masking`). The models may be imported by the validator alone,
and take a second to load. `make docs` runs it; a test fails while a file is not what it would
write.
"""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

from fhir_server.validate import elements

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "config" / "fhir" / "elements.json"
REQUIRED = ROOT / "config" / "fhir" / "required.json"
#: What may lead to another resource; of the rest only what holds such a thing matters.
_LEADING = frozenset({"Attachment", "Reference"})


def table() -> str:
    """Type to element to its type, with `*` behind that of a list, as JSON; one type a line."""
    found: dict[str, dict[str, str]] = {}
    left = [*_resource_types(), "Extension", "Element"]
    while left:
        name = left.pop()
        if name in found:
            continue
        try:
            known = elements(name)
        except (ValueError, KeyError):
            continue  # a type of R4 that has no model
        found[name] = {
            element.name: (element.type or element.primitive) + "*" * element.is_list
            for element in known.values()
        }
        left += [element.type for element in known.values() if element.type]
    lines = [f"{json.dumps(name)}: {json.dumps(found[name])}" for name in sorted(found)]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def required() -> str:
    """Resource type to the paths of required elements with a reference in them, as JSON."""
    found = {name: sorted(_required(name, "", ())) for name in _resource_types()}
    lines = [f"{json.dumps(name)}: {json.dumps(found[name])}" for name in sorted(found)]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _required(type_name: str, path: str, above: tuple[str, ...]) -> Iterator[str]:
    try:
        known = elements(type_name)
    except (ValueError, KeyError):
        return  # a type of R4 that has no model
    for element in known.values():
        kind, place = element.type, path + element.name
        is_own = kind.startswith(above[0] if above else type_name) and kind not in above
        is_leading = kind in _LEADING or (is_own and _leads(kind, ()))
        if is_leading and (element.is_required or element.is_choice_required):
            yield place
        if is_own:
            yield from _required(kind, f"{place}.", (*(above or (type_name,)), kind))


def _leads(type_name: str, above: tuple[str, ...]) -> bool:
    """Whether a part of a resource may hold a reference of its own."""
    parts = {element.type for element in elements(type_name).values()} - {*above, type_name}
    if not parts.isdisjoint(_LEADING):
        return True
    own = (part for part in parts if part.startswith(type_name))
    return any(_leads(part, (*above, type_name)) for part in own)


def _resource_types() -> list[str]:
    content = (ROOT / "config/fhir/types.toml").read_text(encoding="utf-8")
    return list(tomllib.loads(content)["ids"])


def main() -> None:
    """Write the tables."""
    for target, text in ((TARGET, table()), (REQUIRED, required())):
        target.write_text(text, encoding="utf-8")
        print(target.relative_to(ROOT))


if __name__ == "__main__":
    main()
