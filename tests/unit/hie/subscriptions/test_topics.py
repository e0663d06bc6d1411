"""Topics fire on the step from one version to the next, and refuse tables that are none."""

from pathlib import Path

import pytest

from hie.kernel.errors import HieError
from hie.kernel.fhir import FhirJson
from hie.subscriptions.policy import load_policy
from hie.subscriptions.topics import load_topics

CONFIG = Path(__file__).resolve().parents[4] / "config"
TOPICS = load_topics(CONFIG / "fhir" / "topics")


def fires(topic: str, before: FhirJson | None, now: FhirJson) -> bool:
    found = TOPICS.by_url(f"urn:hie:topic:{topic}|1")
    assert found is not None
    return found.fires(before, now)


@pytest.mark.parametrize(
    ("topic", "before", "now", "is_event"),
    [
        ("encounter-start", None, "in-progress", True),
        ("encounter-start", None, "planned", False),
        ("encounter-start", "planned", "arrived", True),
        ("encounter-start", "arrived", "in-progress", False),
        ("encounter-start", "finished", "in-progress", True),  # the discharge was cancelled
        ("encounter-end", "in-progress", "finished", True),
        ("encounter-end", "finished", "finished", False),
        ("result-available", "registered", "final", True),
        ("result-available", "final", "final", False),
        ("result-available", "final", "corrected", True),
        ("result-available", "corrected", "amended", False),
        ("document-available", None, "current", True),
        ("document-available", "current", "superseded", False),
    ],
)
def test_a_topic_fires_when_its_condition_begins_to_hold(topic, before, now, is_event) -> None:
    assert fires(topic, before and {"status": before}, {"status": now}) is is_event


def test_every_element_of_a_condition_has_to_be_met() -> None:
    lab = {"status": "final", "category": [{"coding": [{"code": "laboratory"}]}]}
    assert fires("observation-available", None, lab)
    assert not fires("observation-available", None, {"status": "final"})
    vital = {"status": "final", "category": [{"coding": [{"code": "vital-signs"}]}]}
    assert not fires("observation-available", None, vital)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('url = "u"\ntitle = "t"\n', "resource"),
        ('url = "u"\ntitle = "t"\nresource = "Encounter"\n', "trigger"),
        ('url = "u"\ntitle = "t"\nresource = "E"\nwhat = 1\n', "what"),
        ('url = "u"\ntitle = "t"\nresource = "E"\n[[trigger]]\nstatus = 3\n', "status"),
        (
            'url = "u"\ntitle = "t"\nresource = "E"\nfilters = "patient"\non_identity = true',
            "filters",
        ),
    ],
)
def test_a_table_that_is_no_topic_is_refused_by_its_key(tmp_path, text, key) -> None:
    (tmp_path / "one.toml").write_text(text)
    with pytest.raises(HieError) as refused:
        load_topics(tmp_path)
    assert "topics/one.toml" in refused.value.text
    assert f"`{key}`" in refused.value.text


def test_the_policy_is_refused_by_table_and_key(tmp_path) -> None:
    whole = (CONFIG / "fhir" / "subscriptions.toml").read_text()
    assert load_policy(CONFIG, is_production=True).limits.max_count == 20
    (tmp_path / "fhir").mkdir()
    path = tmp_path / "fhir" / "subscriptions.toml"
    for old, new, place in (
        ("max_count = 20", "max_count = 0", "limits.max_count"),
        ("each_owner = 200", "each_other = 200", "[limits]"),
        ("allowed = []", 'allowed = "all"', "endpoints.allowed"),
        ("[delivery]", "[deliveries]", "[deliveries]"),
    ):
        path.write_text(whole.replace(old, new))
        with pytest.raises(HieError) as refused:
            load_policy(tmp_path, is_production=True)
        assert place in refused.value.text
