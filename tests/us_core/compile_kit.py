"""Writes `kit.json`: what the certification kit of US Core 6.1.0 asks, one profile a line.

Usage: `python -m tests.us_core.compile_kit PATH` of the kit's own description, a YAML file; it is
not part of this repository, and neither are its words: searches, comparators, elements.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

KIT = Path(__file__).with_name("kit.json")
Row = Mapping[str, Any]


def compiled(text: str) -> list[dict[str, Any]]:
    """The profiles of the kit's description, in its order."""
    # Everything is text there: dates and `no` must not be read as something else.
    read = yaml.load(text, Loader=yaml.BaseLoader)
    return [_profile(_plain(group)) for group in read[":groups"]]


def written(profiles: list[dict[str, Any]]) -> str:
    """One profile a line, so that a change is seen."""
    lines = (json.dumps(profile, separators=(",", ":")) for profile in profiles)
    return "[\n" + ",\n".join(lines) + "\n]\n"


def _plain(node: Any) -> Any:
    """The same without the colons of the kit's names."""
    if isinstance(node, dict):
        return {str(key).lstrip(":"): _plain(value) for key, value in node.items()}
    return [_plain(value) for value in node] if isinstance(node, list) else node


def _profile(group: Row) -> dict[str, Any]:
    must = group["must_supports"]
    told = {
        "profile": group["profile_url"].rsplit("/", 1)[1],
        "type": group["resource"],
        "url": group["profile_url"],
        "is_found_by_reference": group["is_delayed"] == "true",
        "interactions": {
            one["code"]: one["expectation"]
            for one in group["interactions"]
            if one["expectation"] != "MAY"
        },
        "operations": [one["code"] for one in group["operations"]],
        "searches": {"+".join(s["names"]): s["expectation"] for s in group["searches"]},
        "params": {name: _param(one) for name, one in group["search_definitions"].items()},
        "includes": group["include_params"],
        "revincludes": group["revincludes"],
        "elements": [_element(one) for one in must["elements"]],
        "slices": [
            {"id": one["slice_id"], "path": one["path"], "told_by": one["discriminator"]}
            for one in must["slices"]
        ],
        "extensions": [[one["path"], one["url"]] for one in must["extensions"]],
        "choices": [
            {key: one[key] for key in ("paths", "target_profiles", "extension_ids") if key in one}
            for one in must.get("choices", ())
        ],
        "references": sorted({one["path"].partition(".")[2] for one in group["references"]}),
    }
    return {key: value for key, value in told.items() if value or key == "searches"}


def _param(one: Row) -> dict[str, Any]:
    told = {
        "type": one["type"].rsplit(".", 1)[-1],
        "paths": one["paths"],
        "comparators": [name for name, said in one["comparators"].items() if said == "SHALL"],
        "values": one["values"],
        "is_or": one["multiple_or"] == "SHALL",
    }
    return {key: value for key, value in told.items() if value}


def _element(one: Row) -> str | list[str]:
    """The path; with the value it must have where one is fixed."""
    path = one["path"]
    return [path, one["fixed_value"]] if "fixed_value" in one else path


def main() -> None:
    """Compile the file named on the command line."""
    KIT.write_text(written(compiled(Path(sys.argv[1]).read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
