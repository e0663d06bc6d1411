"""What an emergency access opens: one person, as far as the regime says."""

import shutil

import pytest

from consent.evaluate import Law, decide, in_words
from consent.model import ReasonKind
from consent.settings import load_consent_settings
from hie.kernel.errors import HieError
from tests.support.consents import (
    CONFIG,
    REGIMES,
    consent,
    facts,
    judged,
    law,
    provision,
    request,
)

P1 = frozenset({"p1"})
EMERGENCY = request("clinic", purpose="BTG", break_glass=P1)
GENERAL = consent(provision("deny"))
NAMED = consent(provision("deny", purposes=["BTG"]))
FOR_TREATMENT = consent(provision("deny", purposes=["TREAT"]))
UNREAD = consent(provision("deny", actor=[{"role": {"coding": [{"code": "GOSSIP"}]}}]))
OPEN_TO_ALL = consent(provision("permit"))


@pytest.mark.parametrize(
    ("regime", "consents", "expected"),
    [
        ("massachusetts", (), ReasonKind.EMERGENCY),
        ("massachusetts", (GENERAL,), ReasonKind.EMERGENCY),
        ("massachusetts", (FOR_TREATMENT,), ReasonKind.EMERGENCY),
        ("massachusetts", (NAMED,), ReasonKind.CONSENT_DENY),
        ("massachusetts", (UNREAD,), ReasonKind.CONSENT_DENY),
        ("massachusetts", (OPEN_TO_ALL,), ReasonKind.CONSENT_PERMIT),
        ("hipaa-treatment", (GENERAL,), ReasonKind.EMERGENCY),
        ("part2", (GENERAL,), ReasonKind.EMERGENCY),
        ("break-glass-only", (), ReasonKind.EMERGENCY),
        ("break-glass-only", (GENERAL,), ReasonKind.CONSENT_DENY),
        ("deny-all", (), ReasonKind.DEFAULT_DENY),
        ("deny-all", (OPEN_TO_ALL,), ReasonKind.CONSENT_PERMIT),
    ],
)
def test_the_regime_says_what_an_emergency_overrides(regime, consents, expected):
    decision = judged(EMERGENCY, facts(), *consents, regime=regime)
    assert [reason.kind for reason in decision.reasons] == [expected]


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("label", ["HIV", "PSYTHPN"])
def test_what_the_law_opens_in_no_emergency_stays_hidden(regime, label):
    decision = judged(EMERGENCY, facts(labels=[label]), OPEN_TO_ALL, regime=regime)
    assert [(r.kind, r.label) for r in decision.reasons] == [(ReasonKind.HARD_RULE, label)]
    staff, patient = in_words(decision, law(regime))
    assert all(staff)
    assert all(patient)


def test_records_of_a_part_2_programme_open_with_their_notice():
    decision = judged(EMERGENCY, facts(labels=["42CFRPart2"]))
    assert decision.is_permitted
    assert [obligation.code for obligation in decision.obligations] == ["part2-notice"]


def test_an_emergency_opens_the_person_it_was_opened_for_and_nobody_else():
    other = facts(person_id="p2")
    assert judged(EMERGENCY, facts()).is_permitted
    assert [r.kind for r in judged(EMERGENCY, other, OPEN_TO_ALL).reasons] == [ReasonKind.NO_REASON]


@pytest.mark.parametrize("purpose", ["TREAT", "ETREAT", "HPAYMT"])
def test_no_other_purpose_is_widened(purpose):
    asked = request("clinic", purpose=purpose, break_glass=P1)
    assert not judged(asked, facts()).is_permitted
    assert not judged(asked, facts(), consent(provision("permit", purposes=["BTG"]))).is_permitted


def test_a_consent_for_treatment_is_none_for_emergencies_and_the_other_way_round():
    only_treatment = consent(provision("permit", purposes=["TREAT"]))
    only_urgent = consent(provision("permit", purposes=["BTG"]))
    assert not judged(EMERGENCY, facts(), only_treatment, regime="deny-all").is_permitted
    assert judged(EMERGENCY, facts(), only_urgent, regime="deny-all").is_permitted
    assert not judged(request("clinic"), facts(), only_urgent).is_permitted


def test_a_label_the_regime_names_stays_hidden_though_no_rule_holds_it(tmp_path):
    for folder in ("consent", "sensitivity"):
        shutil.copytree(CONFIG / folder, tmp_path / folder)
    path = tmp_path / "consent" / "hipaa-treatment.toml"
    path.write_text(path.read_text().replace('never = ["PSYTHPN"]', 'never = ["SDV"]'))
    strict = Law(load_consent_settings(tmp_path, "hipaa-treatment"))
    about = facts(labels=["SDV"])
    assert decide(request("clinic"), about, (), strict).is_permitted
    decision = decide(EMERGENCY, about, (), strict)
    assert [(r.kind, r.label) for r in decision.reasons] == [(ReasonKind.HARD_RULE, "SDV")]
    assert "45 CFR" in in_words(decision, strict)[0][0]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("minutes = 60", "minutes = 0", "1 to 1440"),
        ("minutes = 60", "minutes = 5000", "1 to 1440"),
        ("allowed = true", 'allowed = "yes"', "true or false"),
        ("second_factor = true", "", "true or false"),
        ('never = ["PSYTHPN"]', "never = [4]", "a list of texts"),
    ],
)
def test_terms_that_cannot_be_read_are_named(tmp_path, old, new, expected):
    for folder in ("consent", "sensitivity"):
        shutil.copytree(CONFIG / folder, tmp_path / folder)
    path = tmp_path / "consent" / "massachusetts.toml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(HieError, match=r"massachusetts\.toml.*break_glass") as refused:
        load_consent_settings(tmp_path, "massachusetts")
    assert expected in str(refused.value)
