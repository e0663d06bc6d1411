"""Writes config/fhir/profiles/{fhir-r4,us-core}.ndjson: the facts of profiles, one profile a line.

Run by hand when a standard's version changes; the files it writes are committed, so the hub
needs neither source:

    python -m docs.profiles DEFINITIONS US_CORE

DEFINITIONS is the unpacked npm package `hl7.fhir.r4.examples` (the official definitions of R4,
CC0), US_CORE the unpacked package `hl7.fhir.us.core` (CC0). Of each element of a snapshot are
kept: cardinality, must-support, fixed and pattern values, slicing, types with their profiles and
targets, required and extensible bindings, and the keys of invariants - none of its prose. What
the base type says already is left out.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "config" / "fhir" / "profiles"
BASE = "http://hl7.org/fhir/StructureDefinition/"
#: Rules of every element and resource, which are checked without a table.
EVERYWHERE = frozenset({"ele-1", "ext-1", "ref-1", "dom-2", "dom-3", "dom-4", "dom-5", "dom-6"})
STRENGTHS = ("required", "extensible")

Json = dict[str, Any]


def main() -> None:
    """Write both files."""
    for name, text in tables(*(Path(folder) for folder in sys.argv[1:3])).items():
        (TARGET / name).write_text(text, encoding="utf-8")
        print(name, text.count("\n"), "profiles")


def tables(definitions: Path, us_core: Path) -> dict[str, str]:
    """Both files by name, from the unpacked packages."""
    base = {each["url"]: each for each in _read(definitions)}
    core = {each["url"]: each for each in _read(us_core)}
    ours = [_profile(each, base) for each in core.values()]
    plain = [
        each
        for each in base.values()
        if each["kind"] in ("resource", "complex-type")
        and each.get("derivation") == "specialization"
        and not each.get("abstract")
        and each["type"] not in ("Extension", "Element")
    ]
    facts = [_profile(each, {}) for each in plain]
    vital = _profile(base[BASE + "vitalsigns"], base)
    plain = [*(each for each in facts if each["elements"]), vital]
    return {"us-core.ndjson": _text(ours), "fhir-r4.ndjson": _text(plain)}


def _read(folder: Path) -> Iterator[Json]:
    for path in sorted(folder.glob("StructureDefinition-*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        if found.get("snapshot") and found["kind"] in ("resource", "complex-type"):
            yield found


def _text(profiles: list[Json]) -> str:
    ordered = sorted(profiles, key=lambda each: each["url"])
    lines = [json.dumps(each, ensure_ascii=False, separators=(",", ":")) for each in ordered]
    return "\n".join(lines) + "\n"


def _profile(definition: Json, base: dict[str, Json]) -> Json:
    """The facts of one profile beyond those of its base type."""
    of_type = base.get(BASE + definition["type"], {"snapshot": {"element": []}})
    known = {each["path"]: each for each in of_type["snapshot"]["element"]}
    elements = [_element(each, known) for each in definition["snapshot"]["element"]]
    named = {each["id"].rpartition(":")[0] for each in elements if ":" in each["id"]}
    for each in elements:
        if each["id"] not in named:
            each.pop("slicing", None)  # without slices it says nothing
    return {
        "url": definition["url"],
        "version": definition.get("version", ""),
        "name": definition["name"],
        "type": definition["type"],
        "elements": [each for each in elements if len(each) > 1 or _is_slice(each["id"])],
    }


def _is_slice(element_id: str) -> bool:
    return ":" in element_id.rpartition(".")[2]


def _element(element: Json, known: dict[str, Json]) -> Json:
    told: Json = {"id": element["id"]}
    base = known.get(element["path"], {})
    told |= _cardinality(element)
    if element.get("mustSupport"):
        told["mustSupport"] = True
    for name, value in element.items():
        if name.startswith(("fixed", "pattern")):
            told["fixed" if name.startswith("fixed") else "pattern"] = value
    if "slicing" in element:
        told["slicing"] = _slicing(element)
    types = _types(element)
    says = element["path"].endswith("[x]") or any(len(each) > 1 for each in types)
    if known and says and (types != _types(base) or _is_slice(element["id"])):
        told["types"] = types
    told |= _binding(element, base, is_base=not known)
    keys = [c["key"] for c in element.get("constraint", ()) if c["key"] not in EVERYWHERE]
    if keys:
        told["rules"] = sorted(set(keys))
    return told


def _cardinality(element: Json) -> Json:
    """What the element narrows; all of it where it heads a slice."""
    told: Json = {}
    if "." not in element["path"]:
        return told
    base, heads = element["base"], _is_slice(element["id"])
    if element["min"] and (heads or element["min"] != base["min"]):
        told["min"] = element["min"]
    if element["max"] != "*" and (heads or element["max"] != base["max"]):
        told["max"] = int(element["max"])
    return told


def _binding(element: Json, base: Json, *, is_base: bool) -> Json:
    """A binding that counts; the models check the codes of base types' code elements."""
    binding = element.get("binding", {})
    url = binding.get("valueSet", "").split("|")[0]
    if binding.get("strength") not in STRENGTHS or not url:
        return {}
    is_code = [each["code"] for each in element.get("type", ())] == ["code"]
    of_base = base.get("binding", {}).get("valueSet", "").split("|")[0]
    if is_code and (is_base or url == of_base):
        return {}
    return {"binding": [binding["strength"], url]}


def _slicing(element: Json) -> Json:
    slicing = element["slicing"]
    by = [[each["type"], each["path"]] for each in slicing.get("discriminator", ())]
    return {"by": by, "rules": slicing["rules"]}


def _types(element: Json) -> list[Json]:
    made = []
    for each in element.get("type", ()):
        told = {"code": each["code"]}
        for name, key in (("profile", "profile"), ("targetProfile", "target")):
            if each.get(name):
                told[key] = [url.split("|")[0] for url in each[name]]
        made.append(told)
    return made


if __name__ == "__main__":
    main()
