"""Writes config/fhir/terminology/{fhir-r4,us-core}.ndjson: codes and value sets bound by profiles.

Run by hand when a standard's version changes; the files it writes are committed, so the hub
needs neither source:

    python -m docs.vocabulary DEFINITIONS US_CORE

DEFINITIONS is the unpacked npm package `hl7.fhir.r4.examples` (the official definitions of R4,
CC0), US_CORE the unpacked package `hl7.fhir.us.core` (CC0). Kept are facts: urls, versions,
codes, displays and which code stands under which; no prose. Kept are codes that anybody may
carry: of HL7, CDC (race and ethnicity), USPS, the language tags and units and the LOINC codes
(LOINC licence) that a value set lists one by one. Of SNOMED CT, CPT, ICD and others the
include stays, marked as one whose codes are not here: such a code is neither in nor out.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "config" / "fhir" / "terminology"
NOT_HERE = "urn:hie:codes-not-carried"
CARRIED = (
    "http://hl7.org/fhir/",
    "http://terminology.hl7.org/",
    "https://www.usps.com/",
    "http://loinc.org",
    "http://unitsofmeasure.org",
    "urn:ietf:bcp:",
    "urn:oid:2.16.840.1.113883.6.238",
)
STRENGTHS = ("required", "extensible", "preferred")
RACE = "urn:oid:2.16.840.1.113883.6.238"
OMB_RACES = ("1002-5", "2028-9", "2054-5", "2076-8", "2106-3")
ETHNICITIES = ("2135-2", "2186-5")
NULL_FLAVOR = "http://terminology.hl7.org/CodeSystem/v3-NullFlavor"
GENDER = "http://terminology.hl7.org/CodeSystem/v3-AdministrativeGender"
USPS = "https://www.usps.com/"
STATES = (
    "AK AL AR AS AZ CA CO CT DC DE FL FM GA GU HI IA ID IL IN KS KY LA MA MD ME MH MI MN MO MP "
    "MS MT NC ND NE NH NJ NM NV NY OH OK OR PA PR PW RI SC SD TN TX UM UT VA VI VT WA WI WV WY "
    "AA AE AP"
)
#: A longer list (every document type of LOINC) is a code system's business, not this table's.
MOST_LISTED = 1500
VSAC = "http://cts.nlm.nih.gov/fhir/ValueSet/"

Json = dict[str, Any]


def main() -> None:
    """Write both files."""
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, text in tables(*(Path(folder) for folder in sys.argv[1:3])).items():
        (TARGET / name).write_text(text, encoding="utf-8")
        print(name, text.count("\n"), "resources")


def tables(definitions: Path, us_core: Path) -> dict[str, str]:
    """Both files by name, from the unpacked packages."""
    base, core = _definitions(definitions), _definitions(us_core)
    known = {**core, **base, **_vsac(), RACE: _race(base), USPS: _states()}
    bound = sorted(_bound(base.values()) | _bound(core.values()))
    kept: dict[str, Json] = {}
    for url in [*bound, RACE, *_vsac()]:
        _keep(url, known, kept)
    ours = {url: made for url, made in kept.items() if url in base}
    theirs = {url: kept[url] for url in kept.keys() - ours.keys()}
    return {"fhir-r4.ndjson": _text(ours), "us-core.ndjson": _text(theirs)}


def _text(resources: dict[str, Json]) -> str:
    ordered = sorted(resources.items(), key=lambda each: (each[1]["resourceType"], each[0]))
    lines = [json.dumps(r, ensure_ascii=False, separators=(",", ":")) for _, r in ordered]
    return "\n".join(lines) + "\n"


def _definitions(folder: Path) -> dict[str, Json]:
    """Definitions by url."""
    found: dict[str, Json] = {}
    for kind in ("ValueSet", "CodeSystem", "StructureDefinition"):
        for path in sorted(folder.glob(f"{kind}-*.json")):
            resource = json.loads(path.read_text(encoding="utf-8"))
            # Of the same url twice (v3 tables are published so) the richer one counts.
            other = found.get(resource["url"])
            if other is None or len(json.dumps(other)) < len(json.dumps(resource)):
                found[resource["url"]] = resource
    return found


def _bound(definitions: Iterable[Json]) -> set[str]:
    return {
        element["binding"]["valueSet"].split("|")[0]
        for definition in definitions
        if definition["resourceType"] == "StructureDefinition"
        and definition.get("kind") in ("resource", "complex-type")
        for element in definition.get("snapshot", {}).get("element", ())
        if element.get("binding", {}).get("valueSet")
        and element["binding"]["strength"] in STRENGTHS
    }


def _keep(url: str, known: dict[str, Json], kept: dict[str, Json]) -> None:
    """Keep a value set or code system and what it is made of."""
    found = known.get(url)
    if found is None or url in kept or found["resourceType"] == "StructureDefinition":
        return
    if found["resourceType"] == "CodeSystem":
        if found.get("content") == "complete" and found.get("concept"):
            kept[url] = _system(found)
        return
    made = kept[url] = _value_set(found)
    for include in [*made["compose"]["include"], *made["compose"].get("exclude", [])]:
        for used in [include.get("system"), *include.get("valueSet", [])]:
            if used and (used in (RACE,) or used.startswith((*CARRIED[:3], VSAC))):
                _keep(used.split("|")[0], known, kept)


def _head(resource: Json) -> Json:
    kept: Json = {n: resource[n] for n in ("url", "version", "name") if n in resource}
    return {"resourceType": resource["resourceType"], "id": resource["id"], **kept}


def _system(resource: Json) -> Json:
    return {
        **_head(resource),
        "status": "active",
        "caseSensitive": resource.get("caseSensitive", True),
        "content": "complete",
        "concept": [_concept(each) for each in resource["concept"]],
    }


def _concept(concept: Json) -> Json:
    made: Json = {"code": concept["code"]}
    if concept.get("display"):
        made["display"] = concept["display"]
    parents = [
        {"code": "parent", "valueCode": each.get("valueCode") or each.get("valueString")}
        for each in concept.get("property", ())
        if each["code"] in ("parent", "subsumedBy")
    ]
    if parents:
        made["property"] = parents
    if concept.get("concept"):
        made["concept"] = [_concept(each) for each in concept["concept"]]
    return made


def _value_set(resource: Json) -> Json:
    compose = resource.get("compose", {})
    made: Json = {"include": [_include(each) for each in compose.get("include", [])]}
    if compose.get("exclude"):
        made["exclude"] = [_include(each) for each in compose["exclude"]]
    return {**_head(resource), "status": "active", "compose": made}


def _include(include: Json) -> Json:
    system = include.get("system", "")
    made: Json = {n: include[n] for n in ("system", "valueSet", "filter") if n in include}
    listed = include.get("concept", [])
    if system.startswith(CARRIED) and 0 < len(listed) <= MOST_LISTED:
        made["concept"] = [
            {name: each[name] for name in ("code", "display") if name in each} for each in listed
        ]
    elif listed:
        made["extension"] = [{"url": NOT_HERE, "valueBoolean": True}]
    return made


def _race(base: dict[str, Json]) -> Json:
    """CDC's race and ethnicity codes, which HL7 publishes as two code systems of v3."""
    tables = [
        base[f"http://terminology.hl7.org/CodeSystem/v3-{name}"] for name in ("Race", "Ethnicity")
    ]
    return {
        "resourceType": "CodeSystem",
        "id": "cdcrec",
        "url": RACE,
        "name": "RaceAndEthnicityCDC",
        "content": "complete",
        "concept": [concept for table in tables for concept in table["concept"]],
    }


def _states() -> Json:
    """The Postal Service's codes of states, territories and armed forces."""
    return {
        "resourceType": "CodeSystem",
        "id": "usps",
        "url": USPS,
        "name": "USPS",
        "content": "complete",
        "concept": list(_codes(STATES.split())),
    }


def _vsac() -> dict[str, Json]:
    """Small value sets that US Core takes from the NLM and does not ship."""
    unknown = {"system": NULL_FLAVOR, "concept": [{"code": "ASKU"}, {"code": "UNK"}]}
    under = [
        {"system": RACE, "filter": [{"property": "concept", "op": "descendent-of", "value": code}]}
        for code in OMB_RACES
    ]
    ethnic = {"property": "concept", "op": "descendent-of", "value": ETHNICITIES[0]}
    ethnicity = [{"system": RACE, "filter": [ethnic]}]
    sexes = [{"system": GENDER, "concept": [{"code": "F"}, {"code": "M"}]}]
    rows: dict[str, tuple[str, list[Json]]] = {
        "2.16.840.1.113762.1.4.1021.102": ("AskedButUnknown", [unknown]),
        "2.16.840.1.113762.1.4.1021.103": ("Unknown", [unknown]),
        "2.16.840.1.113762.1.4.1": ("BirthSex", sexes),
        "2.16.840.1.114222.4.11.836": ("RaceCategory", [_listed(OMB_RACES)]),
        "2.16.840.1.113883.3.2074.1.1.3": ("RaceCategoryExcluded", [_listed(OMB_RACES)]),
        "2.16.840.1.113883.1.11.14914": ("Race", [_listed(OMB_RACES), *under]),
        "2.16.840.1.114222.4.11.837": ("EthnicityCategory", [_listed(ETHNICITIES)]),
        "2.16.840.1.114222.4.11.877": ("DetailedEthnicity", ethnicity),
    }
    return {
        VSAC + oid: {
            "resourceType": "ValueSet",
            "id": oid,
            "url": VSAC + oid,
            "name": name,
            "compose": {"include": include},
        }
        for oid, (name, include) in rows.items()
    }


def _listed(codes: Iterable[str]) -> Json:
    return {"system": RACE, "concept": list(_codes(codes))}


def _codes(codes: Iterable[str]) -> Iterator[Json]:
    for code in codes:
        yield {"code": code}


if __name__ == "__main__":
    main()
