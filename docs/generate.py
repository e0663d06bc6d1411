"""Writes docs/reference from the hub's tables: what can be searched, which codes are mapped, ...

`make docs` runs it (`python -m docs.generate`); a test fails while a page is not what it
would write.
"""

import csv
import tomllib
from pathlib import Path
from typing import Any

from adapters.hl7v2 import ack
from docs.guide.pages import coverage_page, maps_page
from docs.validation import validation_page
from fhir_server import outcome
from hie.kernel.errors import Category
from hie.staff.api import ROUTES
from hie.staff.model import Field
from hie.staff.openapi import scope

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
NOTE = "_Written by `make docs`; change `{}` instead of this page._\n"


def pages() -> dict[str, str]:
    """Every reference page by its file name."""
    return {
        "search-parameters.md": search_parameters(),
        "code-maps.md": code_maps(),
        "sources.md": sources(),
        "validation.md": validation(),
        "errors.md": errors(),
        "staff-api.md": staff_api(),
        "hl7v2-maps.md": maps_page(ROOT / "config"),
        "guide-coverage.md": coverage_page(ROOT / "config"),
    }


def search_parameters() -> str:
    """What each resource type can be searched by, and which values are kept as hashes only."""
    types = _toml("config/fhir/search.toml")
    types.pop("ids")
    absent = types.pop("absent")
    types["every type"] = types.pop("Resource")
    parts = ["# Search parameters\n", NOTE.format("config/fhir/search.toml")]
    parts.append(
        "Beside these: `_id`, `_lastUpdated` and the common parameters of every type. *Blind* "
        "values are stored as keyed hashes: they are found by equality, by the first 12 "
        "characters (strings) or by year, month and day (dates; `death-date` to the second). "
        "*Text* is kept as one keyed hash: it is found by its first 24 characters, or whole.\n"
    )
    lacking = [(f"`{name}`", reason) for name, reason in absent.items()]
    parts.append("Of the standard's parameters the hub lacks:\n")
    parts.append(_table(("parameter", "because"), lacking))
    for name in sorted(types):
        parts.append(f"## {name}\n")
        rows = [
            (f"`{parameter}`", row["type"], _stored(row), _looks(row))
            for parameter, row in types[name].items()
        ]
        parts.append(_table(("parameter", "type", "stored", "elements"), rows))
    return "\n".join(parts)


def _stored(row: dict[str, Any]) -> str:
    if row.get("as") == "text":
        return "text"
    return "blind" if row.get("blind") else "clear"


def _looks(row: dict[str, Any]) -> str:
    paths = [f"`{path}`" for path in row.get("paths", ())]
    covered = [f"as `{other}`" for other in row.get("covers", ())]
    return ", ".join(paths + covered)


def code_maps() -> str:
    """The code tables, with the codes that have no target."""
    parts = ["# Code maps\n", NOTE.format("config/terminology/")]
    rows = []
    for path in sorted((ROOT / "config/terminology").glob("*.csv")):
        lines = path.read_text(encoding="utf-8").splitlines()
        comment = next((line.lstrip("# ") for line in lines if line.startswith("#")), "")
        table = list(csv.DictReader(line for line in lines if line and not line.startswith("#")))
        unmapped = [row["code"] for row in table if not row.get("target")]
        rows.append((f"`{path.stem}`", comment, str(len(table)), ", ".join(unmapped) or "-"))
    parts.append(_table(("map", "what it maps", "codes", "kept as text only"), rows))
    return "\n".join(parts)


def sources() -> str:
    """The sources this tree knows."""
    parts = ["# Sources\n", NOTE.format("config/sources/")]
    rows = []
    for path in sorted((ROOT / "config/sources").glob("*.toml")):
        source = _toml(path.relative_to(ROOT).as_posix())
        match = ", ".join(f"{key} `{value}`" for key, value in source.get("match", {}).items())
        organization = source["organization"]
        identifier = f"`{organization['system']}|{organization['value']}`"
        policy = source.get("validation", {})
        faults = ", ".join(f"{key} `{value}`" for key, value in policy.items()) or "warn"
        rows.append((f"`{path.stem}`", source["name"], match, identifier, faults))
    header = ("id", "name", "recognised by", "organisation", "faults beyond structure")
    parts.append(_table(header, rows))
    return "\n".join(parts)


def validation() -> str:
    """Which profiles, rules and codes there are to judge resources by."""
    note = NOTE.format("config/fhir/profiles/`, `config/fhir/terminology/`, `fhir_server/profiles/")
    return validation_page(ROOT / "config" / "fhir", note)


def errors() -> str:
    """What each category of error becomes on each wire."""
    parts = ["# Errors\n", NOTE.format("fhir_server/outcome.py`, `adapters/hl7v2/ack.py")]
    rows = []
    for category in Category:
        row = outcome.TABLE[category]
        code, err = ack.FAULTS[category]
        rows.append((category.name, str(row.status), row.code, code.value, err))
    header = ("category", "HTTP", "OperationOutcome code", "MSA-1", "ERR-3 (table 0357)")
    return "\n".join([*parts, _table(header, rows)])


def staff_api() -> str:
    """Every address of the staff API, with its role, fields and answer."""
    parts = ["# Staff API\n", NOTE.format("hie/staff/api.py")]
    parts.append(
        "Under `/staff/v1`, which describes itself as a page and as an OpenAPI 3.1 document "
        "(`/staff/v1/openapi.json`). Guide: [review identities](../howto/review-identities.md).\n"
    )
    for section in dict.fromkeys(route.section for route in ROUTES):
        parts.append(f"## {section}\n")
        rows = [
            (
                f"`{route.method} {route.path}`",
                route.summary,
                f"`{scope(route).removeprefix('staff/')}`",
                _fields([*route.query, *route.body]),
                ", ".join(need.value for need in route.needs) or "-",
                f"`{route.answer}`",
            )
            for route in ROUTES
            if route.section == section
        ]
        header = ("address", "what", "role", "takes", "headers", "answers")
        parts.append(_table(header, rows))
    return "\n".join(parts)


def _fields(fields: list[Field]) -> str:
    return ", ".join(f"`{f.name}`{'*' if f.is_required else ''}" for f in fields) or "-"


def _toml(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / name).read_text(encoding="utf-8"))


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(cell for cell in line)} |" for line in lines) + "\n"


def main() -> None:
    """Write the pages."""
    REFERENCE.mkdir(exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
        print(f"docs/reference/{name}")


if __name__ == "__main__":
    main()
