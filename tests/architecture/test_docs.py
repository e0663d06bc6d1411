"""What the pages say exists: targets, commands, files, settings. A page is short."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hie.settings import VARIABLES
from tests.support.tree import ROOT, name_of, tracked_files

PAGES = [path for path in tracked_files() if path.suffix == ".md"]
ADRS = [path for path in PAGES if path.parent.name == "adr" and path.name != "README.md"]
ADR_LINES = 60


def test_the_pages_a_newcomer_looks_for_are_there():
    for name in (
        "README.md",
        "ARCHITECTURE.md",
        "GLOSSARY.md",
        "CHANGELOG.md",
        "SECURITY.md",
        "docs/operations.md",
    ):
        assert (ROOT / name).is_file(), name


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_link_to_a_file_resolves(path: Path):
    links = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_file_named_in_backticks_exists(path: Path):
    folders = "hie|adapters|fhir_server|mpi|consent|config|tests|docs|bench|setup"
    named = re.findall(rf"`((?:{folders})/[\w./-]+?\.\w+)`", path.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_make_target_named_exists(path: Path):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:`|^\s*\$? ?)make ([a-z-]+)", path.read_text("utf-8"), re.MULTILINE)
    assert set(named) <= targets


def test_every_command_named_exists():
    help_text = subprocess.run(
        [sys.executable, "-m", "hie", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    commands = set(re.findall(r"[a-z][a-z-]+", help_text))
    named = {
        word
        for path in PAGES
        if path.parent.name != "adr"
        for word in re.findall(
            r"(?:`|^\s*\$? ?)(?:\.venv/bin/)?hie ([a-z-]+)", path.read_text("utf-8"), re.MULTILINE
        )
    }
    assert named <= commands


def test_the_reference_pages_say_what_the_tables_say_now():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    assert spec
    assert spec.loader
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    stale = [
        name
        for name, text in generate.pages().items()
        if not (path := ROOT / "docs/reference" / name).is_file() or path.read_text("utf-8") != text
    ]
    assert stale == [], "run `make docs`"


def test_every_setting_is_documented_and_every_documented_setting_exists():
    text = (ROOT / "docs/operations.md").read_text("utf-8")
    documented = set(re.findall(r"\bHIE_[A-Z][A-Z_]+[A-Z]\b", text))
    assert documented ^ set(VARIABLES) == set()


@pytest.mark.parametrize("path", ADRS, ids=name_of)
def test_a_decision_record_fits_one_page_and_has_its_parts(path: Path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= ADR_LINES
    assert re.match(r"# \d{4} ", text)
    assert [
        part for part in ("Context", "Decision", "Consequences") if f"## {part}" not in text
    ] == []


def test_decision_records_are_numbered_without_gaps():
    numbers = sorted(int(path.name[:4]) for path in ADRS)
    assert numbers == list(range(1, len(numbers) + 1))
