"""Settings of consent: what the shipped files say, and what a broken one is answered.

Spec: http://terminology.hl7.org/CodeSystem/v3-ActReason
"""

import shutil

import pytest

from consent.model import ReasonKind
from consent.settings import load_consent_settings, load_sensitivity
from hie.kernel.errors import Category, HieError
from tests.support.consents import CONFIG, REGIMES, law


@pytest.mark.parametrize("regime", REGIMES)
def test_every_shipped_regime_loads(regime):
    settings = load_consent_settings(CONFIG, regime)
    assert settings.regime.name == regime
    assert settings.regime.title


@pytest.mark.parametrize(
    ("purpose", "expected"),
    [
        ("TREAT", {"TREAT"}),
        ("COC", {"COC", "TREAT"}),
        ("PRECLINTRCH", {"PRECLINTRCH", "CLINTRCH", "HRESCH"}),
        ("ETREAT", {"ETREAT"}),
        ("BTG", {"BTG"}),
        ("ERTREAT", {"ERTREAT"}),  # what stands above it, ETREAT, is asked for by name
        ("urn:x|FooBar", {"urn:x|FooBar"}),
    ],
)
def test_a_purpose_is_what_subsumes_it_but_emergencies_stand_alone(purpose, expected):
    assert law().settings.purposes.expand(purpose) == expected


def test_every_reason_and_note_has_words():
    words = law().settings.words
    assert set(words.staff) == set(words.patient) == {kind.value for kind in ReasonKind}


def test_every_obligation_of_a_hard_rule_has_a_text():
    settings = law().settings
    assert {rule.obligation for rule in settings.hard_rules} - {""} <= set(settings.obligations)


def test_every_bit_belongs_to_one_label():
    sensitivity = load_sensitivity(CONFIG / "sensitivity")
    bits = [label.bit for label in sensitivity.labels]
    bits += [level.bit for level in sensitivity.levels if level.bit is not None]
    assert len(bits) == len(set(bits))
    assert max(bits) < 62  # masks and their complements stay positive 64-bit numbers


def test_the_bits_that_rows_hold_have_not_moved():
    table = law().labels
    known = {"HIV": 4, "ETH": 5, "ETHUD": 6, "OPIOIDUD": 7, "SUD": 8, "PSY": 9, "STD": 12}
    assert {code: table.bits([code]) for code in known} == {c: 1 << b for c, b in known.items()}


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("massachusetts.toml", '"America/New_York"', '"Nowhere"', "an IANA time zone"),
        ("massachusetts.toml", '"America/New_York"', "5", "expected a text"),
        ("hipaa-treatment.toml", 'effect = "permit"', 'effect = "perhaps"', "`permit` or `deny`"),
        ("purposes.toml", 'COC = "TREAT"', 'COC = "TREAT"\nTREAT = "COC"', "no circle"),
        ("purposes.toml", "[parents]", "[parents", "not TOML"),
        ("hard-rules.toml", 'labels = ["HIV"]', "labels = [4]", "a list of texts"),
        ("hipaa-treatment.toml", "[[default]]", "default = [1]\n[x]", "a list of tables"),
        ("vocabulary.toml", "[class]", "[klass]", "`class`: expected a table"),
    ],
)  # fmt: skip
def test_a_broken_file_is_named_with_key_and_kind(tmp_path, file, old, new, expected):
    shutil.copytree(CONFIG / "consent", tmp_path / "consent")
    shutil.copytree(CONFIG / "sensitivity", tmp_path / "sensitivity")
    path = tmp_path / "consent" / file
    path.write_text(path.read_text().replace(old, new))
    regime = file.removesuffix(".toml")
    with pytest.raises(HieError) as refused:
        load_consent_settings(tmp_path, regime if regime in REGIMES else "massachusetts")
    assert refused.value.category is Category.INVALID
    assert f"`{file}`" in refused.value.text
    assert expected in refused.value.text


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("cvx.csv", "code,labels\n61,HIV\n", "expected columns"),
        ("cvx.csv", "code,labels,note\n61,HIVE,x\n", "expected codes of labels.toml"),
        ("words.csv", "phrase,labels,unless\nhiv,,\n", "expected codes of labels.toml"),
    ],
)
def test_a_broken_code_list_is_named(tmp_path, file, text, expected):
    shutil.copytree(CONFIG / "sensitivity", tmp_path / "sensitivity")
    (tmp_path / "sensitivity" / file).write_text(text)
    with pytest.raises(HieError, match=expected) as refused:
        load_sensitivity(tmp_path / "sensitivity")
    assert file in refused.value.text


def test_an_unknown_regime_is_told_which_there_are():
    with pytest.raises(HieError, match="massachusetts") as refused:
        load_consent_settings(CONFIG, "narnia")
    assert "HIE_REGIME" in refused.value.text
    assert "purposes" not in refused.value.text


def test_a_missing_file_is_named(tmp_path):
    shutil.copytree(CONFIG / "consent", tmp_path / "consent")
    (tmp_path / "consent" / "words.toml").unlink()
    with pytest.raises(HieError, match=r"`words.toml`: file not found"):
        load_consent_settings(tmp_path, "part2")


def test_a_default_may_begin_and_end(tmp_path):
    shutil.copytree(CONFIG / "consent", tmp_path / "consent")
    shutil.copytree(CONFIG / "sensitivity", tmp_path / "sensitivity")
    path = tmp_path / "consent" / "hipaa-treatment.toml"
    path.write_text(path.read_text() + "from = 2026-01-01\nto = 2027-01-01\n")
    rule = load_consent_settings(tmp_path, "hipaa-treatment").regime.rules[0]
    assert rule.from_us is not None
    assert rule.to_us is not None
    assert rule.to_us - rule.from_us == 365 * 86_400_000_000
    path.write_text(path.read_text().replace("from = 2026-01-01", 'from = "soon"'))
    with pytest.raises(HieError, match="expected a date"):
        load_consent_settings(tmp_path, "hipaa-treatment")
