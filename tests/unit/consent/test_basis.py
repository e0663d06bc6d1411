"""What the rows of consents are compiled by: anything it depends on changes its digest."""

from dataclasses import replace
from pathlib import Path

from consent.basis import digest_of
from consent.settings import load_consent_settings

CONFIG = Path(__file__).resolve().parents[3] / "config"
SOURCES = [("lab", "org-1", False), ("hospital", "org-2", True)]


def test_what_rules_are_compiled_by_changes_with_law_sources_and_compiler(tmp_path: Path):
    settings = load_consent_settings(CONFIG, "massachusetts")
    digest = digest_of(settings, SOURCES)
    assert digest == digest_of(settings, reversed(SOURCES)) != digest_of(settings, SOURCES[:1])
    vouched = [("lab", "org-1", True), SOURCES[1]]
    ruled = replace(settings, hard_rules=settings.hard_rules[:-1])
    elsewhere = replace(settings, regime=load_consent_settings(CONFIG, "deny-all").regime)
    compiler = tmp_path / "place.py"
    compiler.write_text("new")
    others = {
        digest_of(settings, vouched),
        digest_of(ruled, SOURCES),
        digest_of(elsewhere, SOURCES),
        digest_of(settings, SOURCES, [compiler]),
    }
    assert len(others - {digest}) == 4
