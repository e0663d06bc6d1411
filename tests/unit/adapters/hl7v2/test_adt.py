"""What each event of chapter 3 says, rule by rule. HL7 v2.8.2 chapter 3; guide maps of ADT."""

import pytest

from adapters.hl7v2 import er7
from adapters.hl7v2.judge import partitions_of
from hie.kernel.envelope import Draft, MergeKind, Submission, WriteMode
from tests.support.fhir_r4 import faults_of
from tests.support.mapping import (
    GENERAL,
    NOWHERE,
    PID,
    drafts_of,
    mapper,
    message_of,
    resource_of,
    rules_of,
    submission_of,
)

EVN = "EVN|A01|20260203105500||||20260203104500"
ACCOUNT = PID + "|" * 10 + "A55^^^GH^AN"


def pv1(**fields: str) -> str:
    """A PV1 of an inpatient's visit V1, with further fields by number."""
    found = {"f1": "1", "f2": "I", "f3": "W^1^2", "f19": "V1^^^GH^VN", **fields}
    last = max(int(name[1:]) for name in found)
    return "|".join(["PV1", *(found.get(f"f{n}", "") for n in range(1, last + 1))])


def visit(event: str, *segments: str) -> Draft:
    """What an event says of a visit, without what a new one needs."""
    submission = submission_of(EVN, PID, *(segments or (pv1(),)), trigger=f"ADT^{event}")
    return drafts_of(submission, "Encounter")[-1]


STATUS = {
    "A01": "in-progress",
    "A02": "in-progress",
    "A03": "finished",
    "A04": "in-progress",
    "A05": "planned",
    "A06": "in-progress",
    "A07": "in-progress",
    "A08": None,
    "A09": None,
    "A10": None,
    "A11": "cancelled",
    "A12": "in-progress",
    "A13": "in-progress",
    "A14": "planned",
    "A15": None,
    "A16": None,
    "A17": None,
    "A21": "onleave",
    "A22": "in-progress",
    "A23": "entered-in-error",
    "A25": "in-progress",
    "A26": "in-progress",
    "A27": "cancelled",
    "A32": None,
    "A33": None,
    "A38": "cancelled",
    "A52": "in-progress",
    "A53": "onleave",
    "A54": None,
    "A55": None,
    "A61": None,
    "A62": None,
}


@pytest.mark.parametrize(("event", "status"), STATUS.items())
def test_an_event_says_where_the_visit_stands_or_nothing(event: str, status: str | None):
    assert visit(event).resource.get("status") == status


@pytest.mark.parametrize("event", ["A11", "A13", "A23", "A27", "A38"])
def test_an_event_that_takes_back_is_not_finished_by_an_end_it_repeats(event: str):
    assert visit(event, pv1(f45="20260203")).resource["status"] != "finished"


def test_a_cancelled_discharge_states_no_end_and_no_disposition():
    stated = visit("A13", pv1(f36="01", f44="20260131", f45="20260203")).resource
    assert stated["period"] == {"start": "2026-01-31"}
    assert "hospitalization" not in stated


UNDOES = {
    "A12": ("location",),
    "A13": ("period.end", "hospitalization.dischargeDisposition", "hospitalization.destination"),
    "A26": ("location:reserved",),
    "A32": ("location",),
    "A33": ("location",),
    "A55": ("participant:ATND",),
    "A62": ("participant:CON",),
    "A08": (),
}


@pytest.mark.parametrize(("event", "undone"), UNDOES.items())
def test_a_cancelling_event_names_what_it_takes_back(event: str, undone: tuple[str, ...]):
    assert visit(event).undoes == undone


def test_what_a_visit_changes_has_the_time_when_it_happened():
    assert visit("A02").since == "2026-02-03T10:45:00-05:00"
    nowhere = submission_of(EVN, PID, pv1(), trigger="ADT^A02", source=NOWHERE)
    assert drafts_of(nowhere, "Encounter")[-1].since == "2026-02-03"  # no offset is made up


def test_a_transfer_says_where_the_patient_is_and_was():
    places = visit("A02", pv1(f6="ICU^3", f11="RAD^1", f42="OR^1", f43="LAB^1")).resource
    found = {p["location"]["display"]: p["status"] for p in places["location"]}
    assert found == {
        "2, 1, W": "active",
        "3, ICU": "completed",
        "1, RAD": "active",
        "1, LAB": "completed",
        "1, OR": "reserved",
    }


def test_pending_events_say_when_the_patient_is_expected_to_come_or_go():
    stated = visit("A16", pv1(), "PV2||||||||20260210|20260212").resource
    assert [e["valueDateTime"] for e in stated["extension"]] == ["2026-02-10", "2026-02-12"]


def test_a_swap_is_two_patients_each_with_their_own_visit():
    other = "PID|2||P2^^^GH^MR||ROE^SAM"
    submission = submission_of(
        EVN, PID, pv1(f3="W^1^1"), other, pv1(f3="W^1^2", f19="V2"), trigger="ADT^A17"
    )
    visits = [d for d in drafts_of(submission, "Encounter") if d.mode is WriteMode.PATCH]
    assert [v.resource["subject"]["reference"] for v in visits] == [
        "urn:hie:patient",
        "urn:hie:p2-patient",
    ]
    assert [v.resource["location"][0]["location"]["display"] for v in visits] == [
        "1, 1, W",
        "2, 1, W",
    ]
    assert [v.key[-1] for v in visits] == ["V1", "V2"]
    assert rules_of(submission) == []
    for provenance in drafts_of(submission, "Provenance"):
        named = {t["reference"] for t in provenance.resource["target"]}
        assert len(named & {"urn:hie:patient", "urn:hie:p2-patient"}) == 1


def test_a_visit_without_a_number_belongs_to_its_own_patient_of_the_message():
    other = "PID|2||P2^^^GH^MR||ROE^SAM"
    bare = pv1(f19="", f44="20260131")
    submission = submission_of(EVN, PID, bare, other, bare, trigger="ADT^A17")
    keys = {d.key for d in drafts_of(submission, "Encounter")}
    assert len(keys) == 2


def test_a_bed_has_a_state_and_no_patient():
    submission = submission_of(EVN, "NPU|W^1^2^GH|H", trigger="ADT^A20")
    assert submission.subject == ""
    bed = resource_of(submission, "Location")
    assert (bed["name"], bed["operationalStatus"]["code"]) == ("2, 1, W, GH", "H")
    assert faults_of(bed) == []


@pytest.mark.parametrize(("event", "active"), [("A28", True), ("A29", False), ("A31", None)])
def test_a_person_is_added_or_deleted(event: str, active: bool | None):
    submission = submission_of(EVN, PID, pv1(), trigger=f"ADT^{event}")
    assert resource_of(submission, "Patient").get("active") is active
    assert drafts_of(submission, "Encounter") == []


# Allergies


@pytest.mark.parametrize(
    ("action", "clinical", "verification"),
    [
        ("A||||||||||||C", "active", "confirmed"),
        ("U||||||||||||I", "inactive", "confirmed"),
        ("A||||||||||||U", "active", "unconfirmed"),
        ("A||||||||||||E", None, "entered-in-error"),
        ("A", "active", None),
        ("", "active", None),
        ("D", None, "entered-in-error"),
    ],
)
def test_an_allergy_is_added_changed_or_withdrawn(
    action: str, clinical: str | None, verification: str | None
):
    fields = action.split("|")
    segment = f"IAM|1|DA|7980^Penicillin^RXN|SV|Hives|{fields[0]}"
    if len(fields) > 1:
        segment += "|" * 11 + fields[-1]
    found = resource_of(submission_of(EVN, PID, segment, trigger="ADT^A60"), "AllergyIntolerance")
    codes = {
        name: found[name]["coding"][0]["code"]
        for name in ("clinicalStatus", "verificationStatus")
        if name in found
    }
    assert codes == {
        name: code
        for name, code in (("clinicalStatus", clinical), ("verificationStatus", verification))
        if code
    }
    assert faults_of(found) == []


def test_an_unchanged_allergy_is_only_told_to_who_does_not_know_it():
    submission = submission_of(EVN, PID, "IAM|1|DA|7980^P^RXN|||X", trigger="ADT^A60")
    (draft,) = drafts_of(submission, "AllergyIntolerance")
    assert draft.mode is WriteMode.CREATE_IF_ABSENT


@pytest.mark.parametrize(("pv1", "made"), [("PV1|1|N", 0), (f"PV1|1|N{'|' * 17}V1^^^GH^VN", 2)])
def test_a_visit_that_does_not_apply_is_none(pv1, made):
    submission = submission_of(EVN, f"{PID}{'|' * 10}A1^^^GH^AN", pv1, trigger="ADT^A08")
    assert len(drafts_of(submission, "Encounter")) == made


@pytest.mark.parametrize("allergen", ["", '""', "^"])
def test_an_allergy_to_nothing_is_none_and_is_not_hidden(allergen):
    submission = submission_of(EVN, PID, f"AL1|1|DA|{allergen}|SV", trigger="ADT^A01")
    assert drafts_of(submission, "AllergyIntolerance") == []
    if allergen != "^":
        assert "AL1-4" in submission.unmapped


def test_al1_and_iam_speak_of_one_statement():
    submission = submission_of(EVN, PID, "AL1|1|DA|7980^P^RXN", trigger="ADT^A01")
    later = submission_of(EVN, PID, "IAM|1|DA|7980^P^RXN|||A|I7^GH", trigger="ADT^A60")
    keys = {d.key for s in (submission, later) for d in drafts_of(s, "AllergyIntolerance")}
    assert len(keys) == 1


# Accounts and insurance


def test_an_account_knows_its_patient_guarantor_and_insurance():
    gt1 = "GT1|1||DOE^JOHN||12 ELM ST||||||SPO"
    submission = submission_of(EVN, ACCOUNT, pv1(f44="20260131"), gt1, "IN1|1|GOLD|PAY1|Insurer")
    account = drafts_of(submission, "Account")[0].resource
    assert account["subject"] == [{"reference": "urn:hie:patient"}]
    assert account["guarantor"][0]["party"]["reference"] == "urn:hie:guarantor-1"
    assert account["coverage"][0]["coverage"]["reference"] == "urn:hie:coverage-1"
    assert (account["status"], account["servicePeriod"]["start"]) == ("active", "2026-01-31")
    assert faults_of(account) == []
    encounter = drafts_of(submission, "Encounter")[0].resource
    assert encounter["account"] == [{"reference": "urn:hie:account"}]


def test_a_patient_who_pays_is_no_other_person():
    submission = submission_of(EVN, ACCOUNT, pv1(), "GT1|1||DOE^JANE||||||||SEL")
    assert drafts_of(submission, "RelatedPerson") == []
    (guarantor,) = drafts_of(submission, "Account")[0].resource["guarantor"]
    assert guarantor["party"]["reference"] == "urn:hie:patient"


@pytest.mark.parametrize(
    ("relation", "subscriber"), [("SEL", "urn:hie:patient"), ("SPO", "urn:hie:subscriber-1")]
)
def test_a_policy_has_its_holder(relation: str, subscriber: str):
    in1 = "IN1|1|GOLD^Gold|PAY1|Insurer" + "|" * 12 + f"DOE^JOHN|{relation}|19790505|12 ELM ST"
    submission = submission_of(EVN, PID, in1, "IN2||900223344", "IN3|1||" + "|" * 18 + "CASEY")
    coverage = resource_of(submission, "Coverage")
    assert coverage["subscriber"]["reference"] == subscriber
    assert faults_of(coverage) == []
    team = resource_of(submission, "CareTeam")
    assert team["participant"][0]["member"]["display"] == "CASEY"


def test_every_insurance_has_its_own_holder():
    first = "IN1|1|GOLD|P1|One" + "|" * 12 + "DOE^JOHN|SPO"
    second = "IN1|2|IRON|P2|Two" + "|" * 12 + "DOE^JANE|SEL"
    submission = submission_of(EVN, PID, first, second)
    holders = [d.resource["subscriber"]["reference"] for d in drafts_of(submission, "Coverage")]
    assert holders == ["urn:hie:subscriber-1", "urn:hie:patient"]


# Who takes part


def test_roles_are_participants_and_primary_care_is_the_patients():
    doctor = "ROL|1|AD|{}^^HL70443|{}^LAST^FIRST^^^^^^GH|20260101|20260201"
    submission = submission_of(
        EVN,
        PID,
        doctor.format("PP", "11"),
        pv1(f7="77^ATTEND^AL"),
        doctor.format("CP", "22"),
        doctor.format("AT", "33").replace("|AD|", "|DE|"),
    )
    patient = resource_of(submission, "Patient")
    assert len(patient["generalPractitioner"]) == 1
    people = drafts_of(submission, "Encounter")[0].resource["participant"]
    roles = [p["type"][0]["coding"][0]["code"] for p in people]
    assert roles == ["ATND", "CON"]
    assert people[1]["period"] == {"start": "2026-01-01", "end": "2026-02-01"}


# US Core facts of the patient


def test_gender_identity_and_tribe_are_facts_of_the_patient():
    submission = submission_of(
        EVN,
        PID,
        "OBX|1|CWE|76691-5^Gender identity^LN||446141000124107^^SCT||||||F",
        "OBX|2|CWE|95370-3^Tribe^LN||170^Tribe of Examples^L||||||F",
        "OBX|3|CWE|76689-9^Birth sex^LN||F||||||F",
    )
    patient = resource_of(submission, "Patient")
    urls = {e["url"].rsplit("/", 1)[1] for e in patient["extension"]}
    assert urls == {"us-core-genderIdentity", "us-core-tribal-affiliation", "us-core-birthsex"}
    assert drafts_of(submission, "Observation") == []
    assert faults_of(patient) == []


@pytest.mark.parametrize(
    ("kind", "use"),
    [("L", "official"), ("D", "usual"), ("M", "maiden"), ("N", "nickname"), ("BAD", "old")],
)
def test_a_name_has_the_use_its_type_says(kind: str, use: str):
    pid = PID.replace("DOE^JANE", f"DOE^JANE^^^^^{kind}^^^^^20200101^20240101")
    (name,) = resource_of(submission_of(EVN, pid), "Patient")["name"]
    assert name["use"] == use
    assert name["period"] == {"start": "2020-01-01", "end": "2024-01-01"}


@pytest.mark.parametrize("kind", ["A", "P", "C"])
def test_a_name_of_another_type_has_no_use(kind: str):
    pid = PID.replace("DOE^JANE", f"DOE^JANE^^^^^{kind}")
    (name,) = resource_of(submission_of(EVN, pid), "Patient")["name"]
    assert "use" not in name


def test_a_procedure_that_took_a_while_has_a_period():
    pr1 = "PR1|1||93010^ECG^C4||{}||30"
    timed = submission_of(EVN, PID, pr1.format("20260131093000"))
    assert resource_of(timed, "Procedure")["performedPeriod"] == {
        "start": "2026-01-31T09:30:00-05:00",
        "end": "2026-01-31T10:00:00-05:00",
    }
    dated = resource_of(submission_of(EVN, PID, pr1.format("20260131")), "Procedure")
    assert dated["performedPeriod"] == {"start": "2026-01-31"}


# Merges, moves, links

JANE = "PID|1|E1^^^GH^PI|P1^^^GH^MR||DOE^JANE|||||||||||||A1^^^GH^AN"
MRG = "MRG|P9^^^GH^MR|X9^^^GH^PI|A9^^^GH^AN|E9^^^GH^PI|V9^^^GH^VN|W9^^^GH^VN|OLD^JANE"
STATEMENTS = {
    "A18": [("patient", "P1", "P9"), ("account", "A1", "A9"), ("visit", "V1", "V9")],
    "A30": [("person", "E1", "E9"), ("patient", "P1", "P9")],
    "A34": [("patient", "P1", "P9")],
    "A35": [("account", "A1", "A9")],
    "A36": [("patient", "P1", "P9"), ("account", "A1", "A9")],
    "A39": [("person", "E1", "E9"), ("patient", "P1", "P9")],
    "A40": [("patient", "P1", "P9")],
    "A41": [("account", "A1", "A9")],
    "A42": [("visit", "V1", "V9"), ("visit", "W1", "W9")],
    "A43": [("patient", "P1", "P9")],
    "A44": [("move-account", "P1", "A9"), ("account", "A1", "A9")],
    "A45": [("move-visit", "P1", "V9"), ("visit", "V1", "V9")],
    "A46": [("person", "E1", "E9"), ("patient", "P1", "P9")],
    "A47": [("patient", "P1", "P9")],
    "A48": [("person", "X1", "X9")],
    "A49": [("account", "A1", "A9")],
    "A50": [("visit", "V1", "V9"), ("visit", "W1", "W9")],
    "A51": [("visit", "W1", "W9")],
}


def said(submission: Submission) -> list[tuple[str, str, str]]:
    return [(m.kind.value, m.survivor.value, m.retired.value) for m in submission.merges]


@pytest.mark.parametrize(("event", "statements"), STATEMENTS.items())
def test_a_merge_says_which_numbers_it_is_about(event: str, statements: list[tuple[str, ...]]):
    pid = JANE.replace("P1^^^GH^MR|", "P1^^^GH^MR|X1^^^GH^PI") if event == "A48" else JANE
    submission = submission_of(EVN, pid, MRG, pv1(f50="W1^^^GH^VN"), trigger=f"ADT^{event}")
    assert said(submission) == statements


@pytest.mark.parametrize("event", ["A18", "A30", "A35", "A36", "A39", "A41", "A46", "A50"])
def test_an_event_about_another_number_repeats_the_patients_own(event: str):
    same = MRG.replace("P9", "P1")
    submission = submission_of(EVN, JANE, same, pv1(f50="W1^^^GH^VN"), trigger=f"ADT^{event}")
    assert submission.merges
    assert "patient" not in {kind for kind, _, _ in said(submission)}


@pytest.mark.parametrize("event", ["A34", "A40", "A47"])
def test_a_number_merged_with_itself_is_handed_on_to_be_reported(event: str):
    same = MRG.replace("P9", "P1")
    assert said(submission_of(EVN, JANE, same, trigger=f"ADT^{event}")) == [("patient", "P1", "P1")]


def test_a_record_that_moves_keeps_its_number():
    submission = submission_of(EVN, JANE, MRG.replace("P9", "P1"), trigger="ADT^A43")
    assert said(submission) == [("move-patient", "E1", "P1")]


def test_a_bare_number_above_the_records_is_one_of_the_sources_numbers_of_persons():
    pid, mrg = JANE.replace("E1^^^GH^PI", "E1"), MRG.replace("E9^^^GH^PI", "E9")
    submission = submission_of(EVN, pid, mrg, trigger="ADT^A39")
    merge = submission.merges[0]
    assert merge.survivor.system == merge.retired.system == "urn:hie:authority:general:person"
    numbers = resource_of(submission, "Patient")["identifier"]
    assert (merge.survivor.system, "E1") in {(i.get("system"), i["value"]) for i in numbers}


def test_the_name_of_a_retired_number_is_an_old_one():
    patient = resource_of(submission_of(EVN, JANE, MRG, trigger="ADT^A40"), "Patient")
    assert [n.get("use") for n in patient["name"]] == [None, "old"]


def test_every_visit_of_a_move_is_mapped():
    submission = submission_of(
        EVN, JANE, MRG, pv1(f19="V9"), MRG.replace("V9", "V8"), pv1(f19="V8"), trigger="ADT^A45"
    )
    assert [(m.kind, m.retired.value) for m in submission.merges] == [
        (MergeKind.MOVE_VISIT, "V9"),
        (MergeKind.MOVE_VISIT, "V8"),
    ]
    assert len({d.key for d in drafts_of(submission, "Encounter")}) == 2


@pytest.mark.parametrize(("event", "kind"), [("A24", "link"), ("A37", "unlink")])
def test_a_link_names_two_patients(event: str, kind: str):
    submission = submission_of(EVN, JANE, "PID|2||P2^^^GH^MR", trigger=f"ADT^{event}")
    assert said(submission) == [(kind, "P1", "P2")]
    assert len(drafts_of(submission, "Patient")) == 2


# Partitions


@pytest.mark.parametrize(
    ("segments", "names"),
    [
        ([PID], ["general|P1"]),
        ([PID, MRG], ["general|P1", "general|P9"]),
        ([PID, MRG, "PID|2||P2^^^GH^MR", "MRG|P8^^^GH^MR"],
         ["general|P1", "general|P2", "general|P9", "general|P8"]),
        ([PID, "MRG|P1^^^GH^MR"], ["general|P1"]),
        (["NPU|W^1^2|H"], ["general"]),
        (["PID|1||77^^^ELSE^MR", MRG], ["general", "general|P9"]),
        (["PID|1||P1^^^GH^MR~P7^^^GH^PI"], ["general|P1", "general|P7"]),
        (["PID|1||P7^^^GH^PI~P1^^^GH^MR"], ["general|P7", "general|P1"]),
        (["PID|1||" + "~".join(f"N{n}^^^GH^MR" for n in range(5_000))],
         [f"general|N{n}" for n in range(16)]),
    ],
)  # fmt: skip
def test_a_message_is_of_every_patient_it_is_about(segments: list[str], names: list[str]):
    message = message_of(*segments, trigger="ADT^A40")
    assert partitions_of(message, GENERAL) == tuple(names)


def test_a_message_of_nobody_known_is_of_one_partition():
    assert partitions_of(er7.parse(message_of(PID).encode()), None) == ("unknown",)


def test_every_event_the_issue_asks_for_has_a_map():
    numbers = [*range(1, 18), 18, 20, 21, 22, 23, 24, *range(25, 33), 33, 34, 35, 36, 37, 38]
    numbers += [*range(39, 52), 52, 53, 54, 55, 60, 61, 62]
    missing = [n for n in numbers if not mapper().supports(f"ADT^A{n:02}")]
    assert missing == []
