"""What may not stand in a tracked file: package indexes, one machine's paths, secrets, excuses."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from tests.support.tree import ROOT, name_of, tracked_files

# Written in pieces, so that this file does not hold what it looks for.
FORBIDDEN = {
    "the address of a package index": re.compile(
        r"files\.python" + r"hosted|pypi\.org/" + r"simple|registry\.npm" + r"js|index-" + r"url"
    ),
    "a path of one machine": re.compile(
        r"(?<![\w.$}-])/(?:" + "|".join(["wor" + "k", "farm", "roo" + "t", r"home/\w+"]) + r")/"
    ),
    "a private key": re.compile(r"BEGIN (?:[A-Z]+ )?PRIVATE " + r"KEY"),
    "an access token": re.compile(r"\b(?:AKIA[0-9A-Z]{16}|gh[pous]_[A-Za-z0-9]{36}|xox[bp]-\d+)"),
    "an unfinished thought": re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b"),
}
#: Synthetic messages may hold any text, whatever its words.
FREE_TEXT = (".hl7", ".csv", ".ndjson")
LARGEST_BYTES = 2_000_000
REQUIREMENTS = tuple(f"requirements{part}.txt" for part in ("", "-dev", "-data", "-census"))


def text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_tracked_file_holds(what: str):
    found = [
        f"{name_of(path)}:{number}"
        for path in tracked_files()
        if path.suffix not in FREE_TEXT
        for number, line in enumerate(text_of(path).splitlines(), start=1)
        if FORBIDDEN[what].search(line)
    ]
    assert not found


def test_no_tracked_file_is_large():
    assert not [name_of(path) for path in tracked_files() if path.stat().st_size > LARGEST_BYTES]


def test_no_tracked_file_is_a_database_a_key_or_a_log():
    suffixes = {".db", ".sqlite", ".sqlite3", ".pem", ".key", ".p12", ".log", ".pyc"}
    assert not [name_of(path) for path in tracked_files() if path.suffix in suffixes]


def test_every_silenced_check_says_which_and_why():
    silenced = re.compile(r"#\s*(noqa|type:\s*ignore)(.*)")
    # One code or more, then the reason.
    reasoned = re.compile(r"^(?:: ?|\[)[A-Za-z0-9, -]+\]?\s*[-#]\s*\S+")
    bare = [
        f"{name_of(path)}:{number}"
        for path in tracked_files()
        if path.suffix == ".py" and path.name != "test_tracked_files.py"
        for number, line in enumerate(text_of(path).splitlines(), start=1)
        if (found := silenced.search(line)) and not reasoned.match(found[2])
    ]
    assert not bare


def test_every_pinned_requirement_names_one_version_and_no_address():
    for name in REQUIREMENTS:
        for line in (ROOT / name).read_text().splitlines():
            if line and not line.startswith("#"):
                assert re.fullmatch(r"-r requirements\.txt|[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", line)


def test_everything_the_hub_asks_for_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {normal(re.split(r"[\[<>=!~ ]", line)[0]) for line in project["dependencies"]}
    pinned = {
        normal(line.split("==")[0])
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if "==" in line
    }
    assert asked <= pinned


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize(
    "path", [p for p in tracked_files() if p.suffix in (".toml", ".json")], ids=name_of
)
def test_every_structured_file_parses(path: Path):
    text = path.read_text(encoding="utf-8")
    assert tomllib.loads(text) if path.suffix == ".toml" else json.loads(text) is not None
