"""Settings of consent: what the shipped files say, and what a broken one is answered.

Spec: http://terminology.hl7.org/CodeSystem/v3-ActReason
"""

import re
import shutil

import pytest

from consent.evaluate import decide
from consent.model import ReasonKind
from consent.settings import load_consent_settings, load_sensitivity
from hie.kernel.errors import Category, HieError
from tests.support.consents import CONFIG, NOW_US, PATCHWORK, REGIMES, facts, law, request


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
        ("massachusetts.toml", "title =", "default = [1]\ntitle =", "a list of tables"),
        ("vocabulary.toml", "[class]", "[klass]", "`class`: expected a table"),
        # What nobody reads would have no effect: it is refused.
        ("massachusetts.toml", "title =", 'effect = "deny"\ntitle =', "`effect`: expected none"),
        ("hipaa-treatment.toml", "purposes =", "purpose =", "`purpose`: expected none but"),
        ("hipaa-treatment.toml", "[break_glass]", "[break_glas]", "`break_glas`: expected none"),
        ("hard-rules.toml", "alone = true", "alone = true\nsize = 1", "`size`: expected none but"),
        ("words.toml", "[directory]", '[directory]\nnurse = "x"', "`nurse`: expected none but"),
        ("vocabulary.toml", "[class]", '[class]\nx = "y"', "`x`: expected none but"),
        ("purposes.toml", "exact =", 'loose = ["X"]\nexact =', "`loose`: expected none but"),
        # What a file names, another has to know.
        ("part2.toml", '"SUD"', '"SOD"', "`hard`: expected names of hard-rules.toml"),
        ("hipaa-treatment.toml", '["TREAT"]', '["TREET"]', "`purposes`: expected codes of"),
        ("hipaa-treatment.toml", "purposes =", 'types = ["Chart"]\npurposes =', "resource types"),
        ("hipaa-treatment.toml", "purposes =", 'labels = ["PSI"]\npurposes =', "labels.toml"),
        ("hipaa-treatment.toml", "purposes =", 'sources = ["a b"]\npurposes =', "ids of sources"),
        ("hard-rules.toml", '"hiv-notice"', '"hiv-note"', "`obligation`: expected a key"),
        ("hard-rules.toml", 'labels = ["HIV"]', 'labels = ["HIVE"]', "codes of labels.toml"),
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


def test_a_default_is_about_a_kind_of_data_from_a_source_for_a_purpose_in_its_time():
    patchwork = law(PATCHWORK)

    def permits(now_us=NOW_US, purpose="TREAT", **elements):
        asked = request("clinic", purpose=purpose, now_us=now_us)
        return decide(asked, facts(**elements), (), patchwork).is_permitted

    assert permits()
    assert not permits(type_name="Condition")
    assert not permits(purpose="COVERAGE")
    assert permits(type_name="Condition", source_id="lab-oru", labels=["R"])
    assert not permits(type_name="Condition", source_id="hospital-fhir")
    assert not permits(type_name="Condition", source_id="lab-oru", labels=["PSY"])


def test_a_hard_rule_holds_in_its_time_alone():
    patchwork = law(PATCHWORK)
    about = facts(labels=["HIV"])
    during = request("clinic", now_us=NOW_US - 2)
    for asked, held in ((request("clinic"), False), (during, True)):
        reasons = decide(asked, about, (), patchwork).reasons
        assert (reasons[0].kind is ReasonKind.HARD_RULE) is held


@pytest.mark.parametrize("regime", REGIMES)
def test_every_regime_says_whose_law_it_is(regime):
    assert law(regime).settings.regime.jurisdiction.startswith("US")


def grade(text):
    """The school grade a text asks of its reader, by Flesch and Kincaid."""
    sentences = max(1, len(re.findall(r"[.!?]", text)))
    words = re.findall(r"[a-z']+", text.lower())
    return 0.39 * len(words) / sentences + 11.8 * sum(map(syllables, words)) / len(words) - 15.59


def syllables(word):
    """Groups of vowels; a silent e at the end is none."""
    spoken = word[:-1] if word.endswith("e") and not word.endswith("le") else word
    return max(1, len(re.findall(r"[aeiouy]+", spoken)))


def test_the_measure_of_a_text_tells_plain_from_hard():
    assert grade("You asked us not to share this.") < 3
    assert grade("The regime authorizes dissemination of confidential information.") > 12


@pytest.mark.parametrize("kind", [*ReasonKind, "unread"])
def test_what_a_patient_is_told_can_be_read_after_six_years_of_school(kind):
    words = law().settings.words
    text = words.notes["patient"] if kind == "unread" else words.patient[kind]
    assert grade(text) <= 6, text
    assert "{" not in text, "no codes, numbers of versions or names of laws"
