"""What charges, accounts, problems, referrals and acknowledgments become."""

from decimal import Decimal
from typing import Any

import pytest

from hie.kernel.envelope import WriteMode
from tests.support.fhir_r4 import faults_of
from tests.support.mapping import (
    PID,
    drafts_of,
    mapper,
    message_of,
    resource_of,
    segment,
    submission_of,
)

ACCOUNT = segment("PID", _1="1", _3="P1^^^GH^MR", _5="DOE^JANE", _18="A1^^^GH^AN")


def charge(*more: str, **fields: str) -> dict[str, Any]:
    ft1 = segment("FT1", **{"_1": "1", "_2": "T1", "_4": "20260219", "_6": "CG", **fields})
    submission = submission_of(ACCOUNT, ft1, *more, trigger="DFT^P03")
    found = resource_of(submission, "ChargeItem")
    assert faults_of(found) == []
    return found


@pytest.mark.parametrize(
    ("kind", "status", "reason"),
    [
        ("CG", "billable", None),
        ("CD", "not-billable", "Credit"),
        ("AJ", "not-billable", "Adjustment"),
        ("", "unknown", None),
    ],
)
def test_a_charge_is_billable_and_a_credit_says_that_it_is_one(kind, status, reason):
    found = charge(_6=kind, _7="1^Visit^L")
    assert found["status"] == status
    assert found.get("overrideReason") == reason


def test_a_payment_is_no_charge_and_stays_to_be_found():
    ft1 = segment("FT1", _1="1", _2="T1", _4="20260219", _6="PY", _7="1^Payment^L")
    submission = submission_of(ACCOUNT, ft1, trigger="DFT^P03")
    assert drafts_of(submission, "ChargeItem") == []
    assert "FT1-7" in submission.unmapped


def test_a_charge_and_its_credit_are_two_charges():
    lines = [segment("FT1", _1="1", _2="T1", _6=kind, _7="1^Visit^L") for kind in ("CG", "CD")]
    drafts = drafts_of(submission_of(ACCOUNT, *lines, trigger="DFT^P03"), "ChargeItem")
    assert [d.key for d in drafts] == [("charge", "T1", "CG"), ("charge", "T1", "CD")]


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ({"_11": "125.00&USD", "_12": "62.50&USD"}, "125.00"),
        ({"_12": "62.50&USD"}, "62.50"),
        ({"_22": "18.40&USD"}, "18.40"),
    ],
)
def test_the_price_is_that_of_the_whole_charge_first(fields, value):
    found = charge(_7="1^Visit^L", **fields)
    assert found["priceOverride"] == {"value": Decimal(value), "currency": "USD"}


def test_a_charge_belongs_to_its_account_visit_and_procedures():
    pr1 = segment("PR1", _1="1", _3="93000^ECG^C4", _5="20260219", _19="P9^GH")
    found = charge(pr1, _7="1^Visit^L", _20="7^DOC^DAN^^^^^^GH", _23="F1^GH")
    assert found["account"] == [{"reference": "urn:hie:account"}]
    assert {"reference": "urn:hie:procedure-1"} in found["service"]
    assert found["performer"][0]["actor"]["display"] == "DAN DOC"


def test_a_charge_over_days_has_a_period():
    found = charge(_4="20260219^20260221", _7="1^Bed^L")
    assert found["occurrencePeriod"] == {"start": "2026-02-19", "end": "2026-02-21"}


def test_the_procedure_is_the_code_where_the_charge_has_none():
    assert charge(_25="93000^ECG^C4")["code"]["coding"][0]["code"] == "93000"


def account(event: str, *segments: str) -> tuple[WriteMode, dict[str, Any]]:
    draft = drafts_of(submission_of(ACCOUNT, *segments, trigger=f"BAR^{event}"), "Account")[0]
    assert faults_of(draft.resource) == []
    return draft.mode, draft.resource


@pytest.mark.parametrize("event", ["P01", "P05", "P12"])
def test_an_account_has_its_guarantor_and_coverage(event):
    gt1 = segment("GT1", _1="1", _2="G1", _3="DOE^JOHN", _11="SPO^Spouse^HL70063")
    in1 = segment("IN1", _1="1", _2="BC^Blue^L", _3="B1", _4="Blue Choice", _36="POL1")
    _, found = account(event, gt1, in1)
    assert found["status"] == "active"
    assert found["guarantor"][0]["party"]["reference"] == "urn:hie:guarantor-1"
    assert found["coverage"][0]["coverage"]["reference"] == "urn:hie:coverage-1"


@pytest.mark.parametrize("event", ["P02", "P06"])
def test_a_purged_or_ended_account_is_inactive_and_keeps_who_pays(event):
    mode, found = account(event)
    assert (mode, found["status"]) == (WriteMode.PATCH, "inactive")
    assert "coverage" not in found


# Problems


def problem(event: str = "PC1", *more: str, **fields: str) -> dict[str, Any]:
    prb = segment(
        "PRB", **{"_1": "AD", "_2": "20260220", "_3": "I10^BP^I10", "_4": "P1^GH", **fields}
    )
    submission = submission_of(PID, prb, *more, trigger=f"PPR^{event}")
    found = resource_of(submission, "Condition")
    assert faults_of(found) == []
    return found


@pytest.mark.parametrize(
    ("fields", "clinical"),
    [
        ({}, "active"),
        ({"_14": "I^Inactive^L"}, "inactive"),
        ({"_9": "20260101"}, "resolved"),
        ({"_9": "20260101", "_14": "A"}, "resolved"),
        ({"_9": "20260101", "_14": "I"}, "inactive"),
        ({"_1": "UP", "_14": "remission"}, "remission"),
    ],
)
def test_a_problem_is_where_its_life_cycle_is(fields, clinical):
    found = problem(**fields)
    assert found["clinicalStatus"]["coding"][0]["code"] == clinical
    assert found["category"][-1]["coding"][0]["code"] == "problem-list-item"


@pytest.mark.parametrize("event", ["PC2", "PC3"])
def test_a_deleted_problem_is_entered_in_error_and_has_no_clinical_status(event):
    found = problem(event, _1="DE", _14="A")
    assert found["verificationStatus"]["coding"][0]["code"] == "entered-in-error"
    assert found["clinicalStatus"] is None


@pytest.mark.parametrize(("said", "status"), [("C", "confirmed"), ("P", "provisional")])
def test_a_problem_is_as_sure_as_it_is_said_to_be(said, status):
    assert problem(_13=said)["verificationStatus"]["coding"][0]["code"] == status


def test_an_onset_in_words_is_one_where_no_date_is_named():
    assert problem(_17="in childhood")["onsetString"] == "in childhood"
    dated = problem(_16="2019", _17="after surgery")
    assert (dated["onsetDateTime"], dated["note"]) == ("2019", [{"text": "after surgery"}])


def test_a_link_to_a_problem_says_nothing_of_it():
    prb = segment("PRB", _1="LI", _3="I10^BP^I10", _4="P1^GH")
    assert drafts_of(submission_of(PID, prb, trigger="PPR^PC1"), "Condition") == []


@pytest.mark.parametrize(
    ("fields", "status"),
    [({}, "active"), ({"_18": "completed"}, "completed"), ({"_1": "DE"}, "entered-in-error")],
)
def test_a_goal_belongs_to_its_problem_and_has_a_status(fields, status):
    gol = segment(
        "GOL", **{"_1": "AD", "_3": "G^Lower BP^L", "_4": "G1^GH", "_8": "20260801", **fields}
    )
    prb = segment("PRB", _1="AD", _3="I10^BP^I10", _4="P1^GH")
    goal = resource_of(submission_of(PID, prb, gol, trigger="PPR^PC1"), "Goal")
    assert goal["lifecycleStatus"] == status
    assert goal["addresses"] == [{"reference": "urn:hie:problem-1"}]
    assert goal["target"] == [{"dueDate": "2026-08-01"}]
    assert faults_of(goal) == []


def test_a_pathway_is_a_care_plan_for_the_problem():
    prb = segment("PRB", _1="AD", _3="I10^BP^I10", _4="P1^GH")
    pth = segment("PTH", _1="AD", _2="BP^Pathway^L", _3="W1^GH", _4="20260220", _5="on hold")
    plan = resource_of(submission_of(PID, prb, pth, trigger="PPR^PC2"), "CarePlan")
    assert (plan["status"], plan["intent"], plan["title"]) == ("on-hold", "plan", "Pathway")
    assert plan["addresses"] == [{"reference": "urn:hie:problem-1"}]
    assert faults_of(plan) == []


# Referrals


def referral(event: str = "I12", *more: str, **fields: str) -> dict[str, Any]:
    rf1 = segment("RF1", **{"_1": "A", "_3": "MED^Medical^HL70281", "_6": "R1^GH", **fields})
    submission = submission_of(rf1, *more, PID, trigger=f"REF^{event}")
    found = resource_of(submission, "ServiceRequest")
    assert faults_of(found) == []
    return found


@pytest.mark.parametrize(
    ("event", "said", "status"),
    [
        ("I12", "P", "active"),
        ("I13", "A", "active"),
        ("I12", "R", "revoked"),
        ("I15", "E", "completed"),
        ("I14", "A", "revoked"),
    ],
)
def test_a_referral_stands_where_it_is_said_to_or_is_cancelled(event, said, status):
    assert referral(event, _1=said)["status"] == status


def test_who_refers_asks_and_to_whom_performs():
    found = referral(
        "I12",
        segment("PRD", _1="RP^Referring", _2="DOC^DAN", _7="1999999976^NPI"),
        segment("PRD", _1="RT^Referred to", _2="HEART^HELEN", _4="CARD^R2"),
        segment("PRD", _1="PP^Primary", _2="FAM^FRAN"),
    )
    assert found["requester"]["display"] == "DAN DOC"
    assert found["performer"] == [{"display": "HELEN HEART"}]
    assert found["supportingInfo"] == [{"display": "FRAN FAM"}]
    assert found["locationReference"][0]["display"] == "R2, CARD"


def test_a_provider_is_of_the_directory_with_name_numbers_and_contacts():
    prd = segment(
        "PRD",
        _1="RP",
        _2="DOC^DAN^^^DR",
        _3="1 Road^^Boston^MA",
        _5="617-555-0101",
        _7="1999999976^NPI^^20301231~77^L",
    )
    submission = submission_of(segment("RF1", _6="R1^GH"), prd, PID, trigger="REF^I12")
    (draft,) = drafts_of(submission, "Practitioner")
    first, second = draft.resource["identifier"]
    assert first["system"] == "http://hl7.org/fhir/sid/us-npi"
    assert (first["period"], second["value"]) == ({"end": "2030-12-31"}, "77")
    assert draft.resource["telecom"][0]["value"] == "617-555-0101"
    assert draft.resource["address"][0]["city"] == "Boston"


def test_an_authorisation_is_the_payers_answer():
    aut = segment("AUT", _1="BC", _3="Blue Choice", _6="AUTH5^PAYER", _8="3", _9="2")
    found = referral("I12", aut)
    assert found["insurance"][0]["identifier"]["value"] == "AUTH5"
    assert found["quantityQuantity"] == {"value": 2}


# Acknowledgments

ACK = "MSH|^~\\&|LAB2|LABS|HUB|HIE|20260220100001-0500||{trigger}|A1|P|2.5.1"


@pytest.mark.parametrize(
    ("code", "error", "outcome"),
    [
        ("AA", "", "ok"),
        ("CA", "", "ok"),
        ("AE", "101", "fatal-error"),
        ("AR", "200", "fatal-error"),
        ("AR", "207", "transient-error"),
        ("CR", "206", "transient-error"),
    ],
)
def test_an_acknowledgment_is_a_response_without_a_patient(code, error, outcome):
    segments = [ACK.format(trigger="ACK^R01^ACK"), f"MSA|{code}|OUT-1"]
    if error:
        segments.append(segment("ERR", _3=error, _4="E", _8="Why"))
    submission = submission_of(*segments)
    (draft,) = submission.drafts
    assert submission.subject == ""
    assert draft.resource["response"]["code"] == outcome
    assert draft.resource["response"]["identifier"] == "OUT-1"
    assert faults_of(draft.resource) == []


def test_the_errors_of_an_acknowledgment_are_issues():
    errors = [segment("ERR", _2="PID^1^3", _3=c, _4=s) for c, s in (("204", "E"), ("101", "W"))]
    submission = submission_of(ACK.format(trigger="ACK"), "MSA|AE|OUT-1", *errors)
    header = resource_of(submission, "MessageHeader")
    assert header["response"]["details"] == {"reference": "#errors"}
    issues = header["contained"][0]["issue"]
    assert [(i["severity"], i["code"]) for i in issues] == [
        ("error", "not-found"),
        ("warning", "required"),
    ]


@pytest.mark.parametrize("trigger", ["ACK", "ACK^A01", "ACK^O11"])
def test_an_answer_is_known_whatever_it_answers(trigger):
    assert mapper().supports(trigger)
    assert message_of(ACK.format(trigger=trigger)).code == "ACK"


def test_an_acknowledgment_without_its_answer_makes_nothing():
    assert submission_of(ACK.format(trigger="ACK")).drafts == ()
