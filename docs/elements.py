"""Writes config/fhir/elements.json: the elements of every FHIR type, for the check of the maps.

The models that know them may be imported by the validator alone, and take a second to load; the
hub reads this table instead. `make docs` runs it; a test fails while the file is not what it
would write.
"""

import json
import tomllib
from pathlib import Path

from fhir_server.validate import elements

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "config" / "fhir" / "elements.json"


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


def _resource_types() -> list[str]:
    content = (ROOT / "config/fhir/types.toml").read_text(encoding="utf-8")
    return list(tomllib.loads(content)["ids"])


def main() -> None:
    """Write the table."""
    TARGET.write_text(table(), encoding="utf-8")
    print(TARGET.relative_to(ROOT))


if __name__ == "__main__":
    main()
