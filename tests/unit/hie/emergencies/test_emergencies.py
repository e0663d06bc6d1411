"""Reasons, times and the patient's notice."""

from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from hie.emergencies.model import Emergency, EmergencyState, Stated
from hie.emergencies.notice import notice_of
from hie.emergencies.policy import EmergencyPolicy, load_emergency_policy
from hie.kernel.errors import HieError

CONFIG = Path(__file__).resolve().parents[4] / "config"
ASKED = Emergency(
    id=1,
    token_id="00000000000000aa",
    organization="org1",
    user="dr.grey",
    person_id="p1",
    asked_us=1_000_000,
    code="unresponsive",
)
OPENED = replace(ASKED, opened_us=2_000_000, expires_us=5_000_000, notice_us=2_000_000)


@pytest.fixture(scope="module")
def policy() -> EmergencyPolicy:
    return load_emergency_policy(CONFIG)


@pytest.mark.parametrize(
    ("found", "now_us", "state"),
    [
        (ASKED, 9_000_000, EmergencyState.ASKED),
        (OPENED, 4_999_999, EmergencyState.OPEN),
        (OPENED, 5_000_000, EmergencyState.ENDED),
        (replace(OPENED, ended_us=3_000_000), 3_000_001, EmergencyState.ENDED),
    ],
)
def test_an_access_is_open_from_its_opening_to_its_end(found, now_us, state):
    assert found.state_at(now_us) is state


@pytest.mark.parametrize(
    ("stated", "code"),
    [
        (None, "required"),
        (Stated(code=""), "value"),
        (Stated(code="curiosity"), "value"),
        (Stated(code="abuse-suspected", words=" \n"), "required"),
        (Stated(code="unresponsive", words="x" * 2_001), "value"),
    ],
)
def test_a_reason_that_is_none_is_refused_without_being_repeated(policy, stated, code):
    with pytest.raises(HieError) as refused:
        policy.require(stated)
    assert "curiosity" not in str(refused.value)
    (issue,) = refused.value.issues
    assert (issue.code, issue.expression) == (
        code,
        ("Parameters.parameter.where(name = 'reason')",),
    )


def test_every_reason_has_words_for_staff_and_for_the_patient(policy):
    for cause in policy.causes.values():
        stated = Stated(code=cause.code, words="because")
        assert policy.require(stated).patient
        text = _notice(policy, replace(OPENED, code=cause.code))
        assert cause.patient in text
        assert "{" not in text


def test_the_notice_says_who_when_until_when_and_why(policy):
    text = _notice(policy, OPENED)
    assert "On January 1, 1970 at 00:00, dr.grey at Green Hills" in text
    assert "you could not be asked" in text


def test_who_stands_in_for_the_patient_is_not_told_why(policy):
    told = _told(policy, replace(OPENED, code="psychiatric-crisis"), is_neutral=True)
    assert "crisis" not in str(told)
    assert "reasonCode" not in told


def _told(policy, found, *, is_neutral=False):
    return notice_of(
        found,
        policy,
        patient="p1",
        name_of=lambda _: "Green Hills",
        zone=ZoneInfo("UTC"),
        is_neutral=is_neutral,
    )


def _notice(policy, found):
    return _told(policy, found)["payload"][0]["contentString"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("[[reason]]", "[[because]]", "an array of tables"),
        ("notice_after_hours = 72", "notice_after_hours = 9000", "0 to 2160"),
        ("subject = ", "object = ", "notice.subject"),
        ("asked_minutes = 10", 'asked_minutes = "ten"', "a number"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_key(tmp_path, old, new, expected):
    (tmp_path / "consent").mkdir()
    text = (CONFIG / "consent" / "emergency.toml").read_text()
    (tmp_path / "consent" / "emergency.toml").write_text(text.replace(old, new))
    with pytest.raises(HieError, match=r"emergency\.toml") as refused:
        load_emergency_policy(tmp_path)
    assert expected in str(refused.value)


@pytest.mark.parametrize(
    ("alert", "text"),
    [
        ('url = "http://office.example/alerts"', "`url` must be an https address"),
        ('url = "https://office.example/alerts"', "`secret_file` must be"),
        ('url = "https://office.example/alerts"\nsecret = "x"', "secret"),
        ('uri = "https://office.example/alerts"', "`url` must be"),
    ],
)
def test_an_endpoint_for_alerts_that_is_none_does_not_start(tmp_path, alert, text):
    shipped = (CONFIG / "consent" / "emergency.toml").read_text()
    nobody = 'url = ""\nsecret_file = ""\nauthorities = ""\n'
    assert nobody in shipped
    (tmp_path / "consent").mkdir()
    path = tmp_path / "consent" / "emergency.toml"
    path.write_text(shipped.replace(nobody, alert + "\n"))
    with pytest.raises(HieError, match=text):
        load_emergency_policy(tmp_path)
    path.write_text(shipped.replace(f"[alert]\n{nobody}", ""))
    assert load_emergency_policy(tmp_path).alert is None
