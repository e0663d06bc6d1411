"""What goes with a visit or an account to another patient, and what stays."""

from hie.flow import belongings
from hie.flow.belongings import Address
from hie.kernel.fhir import FhirJson


def linked(*references: str, **more: object) -> FhirJson:
    """A resource that refers to these."""
    return {"links": [{"reference": r} for r in references], **more}


def record(**resources: FhirJson) -> dict[Address, FhirJson]:
    """Resources by `Type_id`."""
    found = {}
    for name, resource in resources.items():
        kind, _, key = name.partition("_")
        found[kind, key] = resource
    return found


def names(moved: frozenset[Address]) -> set[str]:
    return {f"{kind}/{key}" for kind, key in moved}


RECORD = record(
    Patient_r1=linked(),
    Encounter_v1=linked("Patient/r1", "Account/a1"),
    Encounter_v2=linked("Patient/r1", "Account/a1", "Condition/c1"),
    Condition_c1=linked("Patient/r1", "Encounter/v1"),
    Condition_c2=linked("Patient/r1", "Encounter/v2"),
    DiagnosticReport_d1=linked("Patient/r1", "Encounter/v1", "Observation/o1"),
    Observation_o1=linked("Patient/r1", "Specimen/s1"),
    Observation_o2=linked("Patient/r1"),
    Specimen_s1=linked("Patient/r1"),
    DocumentReference_f1={"context": {"encounter": [{"reference": "Encounter/v1"}]},
                          "content": [{"attachment": {"url": "Binary/b1"}}]},
    Binary_b1={},
    Account_a1=linked("Patient/r1", "Coverage/k1"),
    Coverage_k1=linked("Patient/r1"),
    Consent_n1=linked("Patient/r1", "Encounter/v1"),
    Provenance_p1={"target": [{"reference": "Patient/r1"}, {"reference": "Encounter/v1"}]},
    Provenance_p2={"target": [{"reference": "Encounter/v1"}, {"reference": "Condition/c2"}]},
    Provenance_p3={"target": [{"reference": "Patient/r1"}]},
)  # fmt: skip


def test_a_visit_takes_along_what_points_to_it_and_what_nobody_else_needs():
    moved = belongings.belonging([("Encounter", "v1")], RECORD)
    assert names(moved) == {
        "Encounter/v1",
        "Condition/c1",
        "DiagnosticReport/d1",
        "Observation/o1",
        "Specimen/s1",
        "DocumentReference/f1",
        "Binary/b1",
        "Provenance/p1",
    }


def test_an_account_takes_its_visits_and_its_insurance_along():
    moved = belongings.belonging([("Account", "a1")], RECORD)
    left = RECORD.keys() - moved
    assert names(frozenset(left)) == {
        "Patient/r1",
        "Observation/o2",
        "Consent/n1",
        "Provenance/p3",
    }


def test_what_two_visits_share_stays():
    shared = {**RECORD, ("Observation", "o3"): linked("Encounter/v2", "Specimen/s1")}
    moved = belongings.belonging([("Encounter", "v1")], shared)
    assert ("Specimen", "s1") not in moved


def test_a_visit_that_is_not_there_takes_nothing():
    assert belongings.belonging([("Encounter", "none")], RECORD) == frozenset()


def test_what_moves_is_the_other_patients_and_forgets_what_stays():
    visit: FhirJson = {
        "subject": {"reference": "Patient/r1"},
        "account": [{"reference": "Account/a1"}],
        "partOf": {"reference": "Encounter/v9"},
    }
    given = belongings.given_to(visit, {"r1": "r2"}, [("Account", "a1")])
    assert given == {
        "subject": {"reference": "Patient/r2"},
        "partOf": {"reference": "Encounter/v9"},
    }
    assert visit["subject"]["reference"] == "Patient/r1"  # what is stored is not touched


def test_a_provenance_of_both_sides_is_divided():
    moved = [("Encounter", "v1")]
    stays, goes = belongings.divided(RECORD["Provenance", "p2"], moved) or ({}, {})
    assert [t["reference"] for t in stays["target"]] == ["Condition/c2"]
    assert [t["reference"] for t in goes["target"]] == ["Encounter/v1"]
    assert belongings.divided(RECORD["Provenance", "p3"], moved) is None


def test_of_two_visits_that_are_one_the_first_wins_and_keeps_both_numbers():
    kept = {"status": "in-progress", "identifier": [{"value": "V1"}]}
    gone = {"status": "planned", "identifier": [{"value": "V2"}], "priority": {"text": "high"}}
    assert belongings.united(kept, gone) == {
        "status": "in-progress",
        "identifier": [{"value": "V1"}, {"value": "V2", "use": "old"}],
        "priority": {"text": "high"},
    }


def test_a_changed_number_is_marked_as_the_old_one():
    visit = {"identifier": [{"system": "s", "value": "V1"}, {"system": "t", "value": "V1"}]}
    marked = belongings.renumbered(visit, "s", "V1")
    assert [i.get("use") for i in marked["identifier"]] == ["old", None]
