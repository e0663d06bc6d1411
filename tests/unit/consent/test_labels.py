"""Labels of a resource.

Spec: https://hl7.org/fhir/R4/security-labels.html, http://terminology.hl7.org/CodeSystem/v3-ActCode
"""

import base64

import pytest

from consent.labels import Labeller, Labels
from consent.settings import load_sensitivity
from tests.support.consents import ACT_CODE, CONFIDENTIALITY, CONFIG, LOINC, coded, label

LABELLER = Labeller(load_sensitivity(CONFIG / "sensitivity"))
TABLE = LABELLER.table
ICD = "http://hl7.org/fhir/sid/icd-10-cm"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
SNOMED = "http://snomed.info/sct"
ATC = "http://www.whocc.no/atc"


def codes(resource, **beside):
    return set(TABLE.codes(LABELLER.labels(resource, **beside).mask))


def concept(system, code, text=None):
    found = {"coding": coded(system, code)}
    return found | ({"text": text} if text else {})


def condition(system, code):
    return {"resourceType": "Condition", "code": concept(system, code)}


@pytest.mark.parametrize(
    ("system", "code", "expected"),
    [
        (ICD, "B20", {"HIV"}),
        (ICD, "B2", set()),
        (ICD, "B21", set()),
        (ICD, "O98.711", {"HIV"}),  # below a listed code
        (ICD, "O98.6", set()),
        (ICD, "Z21", {"HIV"}),
        (ICD, "F10.20", {"ETHUD"}),
        (ICD, "F1020", {"ETHUD"}),  # claims leave the dot out
        (ICD, "F11.10", {"OPIOIDUD"}),
        (ICD, "F12", {"SUD"}),
        (ICD, "F16.99", {"SUD"}),
        (ICD, "F17.210", set()),  # nicotine
        (ICD, "F19", {"SUD"}),
        (ICD, "F20", {"PSY"}),
        (ICD, "F48.9", {"PSY"}),
        (ICD, "F49", set()),
        (ICD, "F64.0", {"GENDER"}),
        (ICD, "F84.0", {"DVD"}),
        (ICD, "T40.1X1A", {"OPIOIDUD"}),
        (ICD, "T40.5X1A", {"SUD"}),
        (ICD, "A50", {"STD"}),
        (ICD, "A64", {"STD"}),
        (ICD, "A65", set()),
        (ICD, "Y07.01", {"SDV", "VIO"}),  # X92-Y09 crosses a letter
        (ICD, "X91", set()),
        (ICD, "J45.909", set()),
        ("urn:oid:2.16.840.1.113883.6.90", "B20", {"HIV"}),
        ("http://hl7.org/fhir/sid/icd-9-cm", "042", {"HIV"}),
        ("http://hl7.org/fhir/sid/icd-9-cm", "V08", {"HIV"}),
        ("http://hl7.org/fhir/sid/icd-9-cm", "305.1", set()),  # tobacco
        ("http://hl7.org/fhir/sid/icd-9-cm", "304.01", {"OPIOIDUD", "SUD"}),
        (LOINC, "20447-9", {"HIV"}),
        (LOINC, "4548-4", set()),
        (LOINC, "20507-0", {"STD"}),
        (RXNORM, "1433868", {"HIV"}),
        (RXNORM, "6813", {"OPIOIDUD"}),
        ("http://hl7.org/fhir/sid/cvx", "61", {"HIV"}),
        ("http://hl7.org/fhir/sid/cvx", "03", set()),
        (SNOMED, "7200002", {"ETHUD"}),
        (SNOMED, "38341003", set()),
        ("http://hl7.org/fhir/sid/icd-10", "B22", {"HIV"}),  # not the clinical modification
        (ICD, "Z29.81", {"HIV"}),
        (ICD, "T43.211A", {"PSY"}),
        (ICD, "T43.621A", {"SUD"}),
        (ICD, "Z31.5", {"SEX", "GDIS"}),
        (ICD, "Z91.42", {"SDV"}),
        ("http://hl7.org/fhir/sid/icd-9-cm", "282.60", {"SICKLE"}),
        ("http://hl7.org/fhir/sid/icd-9-cm", "V25.01", {"SEX"}),
        (LOINC, "50956-2", {"HIV"}),  # asked for before abacavir
        (LOINC, "19295-5", {"OPIOIDUD"}),
        (LOINC, "34904-3", {"PSY"}),  # a class of documents
        (LOINC, "81247-9", {"GDIS"}),
        (LOINC, "2106-3", {"SEX"}),
        (RXNORM, "1721603", {"HIV"}),  # tenofovir alafenamide
        (RXNORM, "10737", {"PSY"}),
        (ATC, "J05AR20", {"HIV"}),
        (ATC, "J05AF05", {"HIV"}),
        (ATC, "J05AF10", set()),  # against hepatitis B
        (ATC, "N07BC51", {"OPIOIDUD"}),
        (ATC, "C09AA03", set()),
        ("http://nucc.org/provider-taxonomy", "2084P0802X", {"PSY", "SUD"}),
        ("http://nucc.org/provider-taxonomy", "207R00000X", set()),
        ("http://terminology.hl7.org/CodeSystem/v3-RoleCode", "PSYCHF", {"PSY"}),
        ("http://terminology.hl7.org/CodeSystem/v3-RoleCode", "HOSP", set()),
        ("http://terminology.hl7.org/CodeSystem/v2-0270", "PC", {"PSY"}),
        ("http://terminology.hl7.org/CodeSystem/v2-0270", "CN", set()),
        ("http://terminology.hl7.org/CodeSystem/v2-0074", "GE", {"GDIS"}),
        ("urn:local", "B20", set()),  # another system's B20
        (ACT_CODE, "HIV", {"HIV"}),  # an inline label
        (ACT_CODE, "AMB", set()),  # an encounter class
    ],
)
def test_a_code_brings_the_labels_of_its_list(system, code, expected):
    assert codes(condition(system, code)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("HIV 1 RNA, viral load", {"HIV"}),
        ("hiv-1/2 ab", {"HIV"}),
        ("shiver", set()),
        ("Hearing aids", set()),
        ("Efavirenz 600 MG Oral Tablet", {"HIV"}),
        ("12 HR ritonavir 100 MG", {"HIV"}),
        ("nirmatrelvir 150 MG / ritonavir 100 MG", set()),  # for COVID-19
        ("Buprenorphine 8 MG / Naloxone 2 MG", {"OPIOIDUD"}),
        ("Naltrexone / bupropion", set()),
        ("Alcohol-free diet", set()),
        ("Isopropyl alcohol", set()),
        ("non-alcoholic steatohepatitis", set()),
        ("Alcoholic hepatitis", {"ETHUD"}),
        ("Psychotherapy note", {"PSYTHPN", "PSY"}),
        ("MAJOR DEPRESSION, single episode", {"PSY"}),
        ("spontaneous abortion", set()),
        ("cabotegravir 200 MG/ML Injectable Suspension", {"HIV"}),
        ("Biktarvy", {"HIV"}),
        ("Inpatient Psych Unit 4", {"PSY"}),
        ("Methadone Clinic", {"OPIOIDUD"}),
        ("Chlamydia pneumoniae IgG", set()),
        ("quetiapine 25 MG", {"PSY"}),
        ("BRCA1 gene analysis", {"GDIS"}),
        ("mifepristone 200 MG", {"SEX"}),
        ("", set()),
    ],
)
def test_words_say_what_local_codes_hide(text, expected):
    assert codes({"resourceType": "Observation", "code": {"text": text}}) == expected


@pytest.mark.parametrize(
    "resource",
    [
        {"component": [{"code": concept(LOINC, "20447-9")}]},
        {"contained": [{"resourceType": "Condition", "code": concept(ICD, "B20")}]},
        {"extension": [{"valueCodeableConcept": concept(ICD, "B20")}]},
        {"valueCodeableConcept": {"text": "HIV positive"}},
        {"note": [{"text": "known hiv, on treatment"}]},
        {"text": {"status": "generated", "div": "<div>Diagnosis: HIV disease</div>"}},
        {"section": [{"title": "HIV history", "entry": []}]},
        {"medicationReference": {"reference": "Medication/m1", "display": "Dolutegravir 50 MG"}},
        {"content": [{"attachment": {"title": "HIV clinic letter"}}]},
        {"contained": [{"meta": {"security": label("HIV")}}]},
        {"meta": {"security": [{"code": "AID"}]}},  # HL7 v2 table 0177
    ],
    ids=lambda resource: next(iter(resource)),
)
def test_a_label_is_found_at_any_depth(resource):
    assert codes({"resourceType": "Basic"} | resource) == {"HIV"}


def attached(text, kind="text/plain", encoding="utf-8"):
    data = base64.b64encode(text.encode(encoding)).decode()
    return {"contentType": kind, "data": data}


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "Binary", **attached("Known HIV, on treatment")},
        {"resourceType": "Binary", **attached("<p>hiv</p>", "text/html; charset=utf-8")},
        {"resourceType": "Binary", **attached('{"text": "HIV"}', "application/json")},
        {"resourceType": "DiagnosticReport", "presentedForm": [attached("HIV 1 RNA")]},
        {"resourceType": "DocumentReference", "content": [{"attachment": attached("hiv")}]},
        {"resourceType": "Location", "name": "HIV Clinic"},
        {"resourceType": "Encounter", "contained": [{"resourceType": "Location", "name": "hiv"}]},
        {"resourceType": "Bundle", "entry": [{"resource": condition(ICD, "B20")}]},
    ],
    ids=lambda resource: resource["resourceType"],
)
def test_what_is_attached_named_or_bundled_is_read(resource):
    assert codes(resource) == {"HIV"}


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "Binary", **attached("hiv", "application/pdf")},
        {"resourceType": "Binary", "contentType": "text/plain", "data": "%%%"},
        {"resourceType": "Binary", "contentType": ["text/plain"], "data": "aGl2"},
        {"resourceType": "Binary", "contentType": "text/plain", "data": 5},
        {"resourceType": "Patient", "name": [{"text": "Jane"}]},
        {"resourceType": "Location", "name": "Main street"},
    ],
)
def test_what_cannot_be_read_brings_no_label_of_its_own(resource):
    assert codes(resource) == set()


def test_a_request_takes_over_what_its_medication_brings():
    request = {"resourceType": "MedicationRequest", "medicationReference": {"reference": "#m"}}
    medication = {"resourceType": "Medication", "code": concept(RXNORM, "1433868")}
    assert codes(request) == set()
    assert codes(request, beside=[medication]) == {"HIV"}


def test_a_source_may_carry_a_label_on_everything(tmp_path):
    for file in (CONFIG / "sensitivity").iterdir():
        text = file.read_text()
        if file.name == "labels.toml":
            text = text.replace("[sources]", '[sources]\nrecovery = ["42CFRPart2"]')
        (tmp_path / file.name).write_text(text)
    labeller = Labeller(load_sensitivity(tmp_path))
    resource = {"resourceType": "Encounter"}
    assert labeller.labels(resource, source_id="recovery").mask == TABLE.raised(["42CFRPart2"])
    assert labeller.labels(resource, source_id="clinic") == Labels(0)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ([], ["N"]),
        (label("U"), ["N"]),
        (label("L", "M"), ["N"]),
        (label("R"), ["R"]),
        (label("V"), ["V"]),
        (label("V", "N"), ["V"]),
        (label("PSY"), ["R", "PSY"]),
        (label("U", "PSY"), ["R", "PSY"]),
        (label("PSYTHPN"), ["V", "PSYTHPN"]),
        (label("GOSSIP"), ["R", "other"]),
        ([{"system": "urn:local", "code": "x"}], ["R", "other"]),
        ([{"system": "urn:local", "code": "HIV"}], ["R", "HIV"]),
        ([{"code": "VIP"}], ["R", "CEL"]),
        (label("NODSCLCD"), ["N"]),
        (coded("http://terminology.hl7.org/CodeSystem/v3-ActReason", "HTEST"), ["N"]),
        (["not a coding", {"code": 5}, {"system": {}, "code": "R"}], ["R", "other"]),
    ],
)
def test_a_senders_label_raises_and_is_served_with_one_confidentiality(sent, expected):
    mask = LABELLER.labels({"resourceType": "Basic", "meta": {"security": sent}}).mask
    assert [coding["code"] for coding in LABELLER.codings(mask)] == expected


def test_a_sender_cannot_lower_what_a_code_brings():
    resource = condition(ICD, "F33.1")
    raised = LABELLER.labels(resource).mask
    resource["meta"] = {"security": label("U", "N")}
    assert LABELLER.labels(resource).mask == raised
    assert TABLE.codes(raised) == ("PSY",)


def test_served_labels_are_codings_with_system_and_display():
    codings = LABELLER.codings(TABLE.raised(["HIV"]))
    assert codings == [
        {"system": CONFIDENTIALITY, "code": "R", "display": "restricted"},
        {"system": ACT_CODE, "code": "HIV", "display": "HIV/AIDS information sensitivity"},
    ]
    assert LABELLER.mask_of(codings) == TABLE.raised(["HIV"])


@pytest.mark.parametrize(
    "code", [label.code for label in load_sensitivity(CONFIG / "sensitivity").labels]
)
def test_every_label_survives_being_served(code):
    mask = TABLE.raised([code])
    assert LABELLER.mask_of(LABELLER.codings(mask)) == mask


# What a consent means by a label: the resources it would permit and deny.
@pytest.mark.parametrize(
    ("named", "resource", "permits", "denies"),
    [
        ("N", "", True, True),
        ("N", "R", False, True),
        ("N", "PSY", False, True),
        ("R", "", True, False),
        ("R", "R", True, True),
        ("R", "V", False, True),
        ("R", "PSY", True, True),  # R alone means any sensitivity that needs no more than R
        ("R", "PSYTHPN", False, True),  # which needs V
        ("V", "PSYTHPN", True, True),
        ("PSY", "", True, False),
        ("PSY", "PSY", True, True),
        ("PSY", "MH", True, True),
        ("PSY", "R", True, False),  # a permit for PSY covers the R it implies
        ("PSY", "PSY HIV", False, True),
        ("PSY HIV", "PSY HIV", True, True),
        ("PSY N", "PSY", True, True),
        ("PSY", "V PSY", False, True),
        ("V PSY", "V PSY", True, True),
        ("SUD", "OPIOIDUD", True, True),
        ("ETH", "ETHUD", True, True),
        ("ETHUD", "SUD", False, False),
        ("BH", "ETHUD", True, True),
        ("42CFRPart2", "42CFRPart2 OPIOIDUD", True, True),
        ("SUD", "42CFRPart2 OPIOIDUD", False, True),
    ],
)
def test_a_permit_covers_every_label_and_a_deny_shares_one(named, resource, permits, denies):
    mask = TABLE.mask_of(label(*resource.split()))
    permitted = TABLE.permitted(label(*named.split()))
    denied = TABLE.denied(label(*named.split()))
    assert permitted is not None
    assert (mask & ~permitted == 0) is permits
    assert (denied is None or mask & denied != 0) is denies


def test_an_unknown_label_widens_a_deny_and_leaves_a_permit_nothing():
    assert TABLE.denied(label("PSY", "GOSSIP")) is None
    assert TABLE.permitted(label("GOSSIP")) is None
    assert TABLE.permitted(label("PSY", "GOSSIP")) == TABLE.permitted(label("PSY"))
    assert TABLE.permitted([{"system": "urn:local", "code": "PSY"}]) is None
    assert TABLE.permitted(["PSY"]) is None
    assert not TABLE.knows(label("PSY", "GOSSIP"))
    assert TABLE.knows(label("PSY", "R"))


def test_remembered_codes_are_forgotten_before_they_fill_the_memory():
    labeller = Labeller(load_sensitivity(CONFIG / "sensitivity"), remembered=2)
    for code in ("B20", "J45", "F10", "B20"):
        found = labeller.labels(condition(ICD, code)).mask
    assert TABLE.codes(found) == ("HIV",)


def test_a_label_is_asked_for_by_the_masks_that_show_it():
    sensitivity = load_sensitivity(CONFIG / "sensitivity")
    bits = [level.bit for level in sensitivity.levels if level.bit is not None]
    bits += [each.bit for each in sensitivity.labels]
    masks = [0, *(1 << bit for bit in bits), *(1 << a | 1 << b for a in bits for b in bits)]
    names = {(c["system"], c["code"]) for mask in masks for c in TABLE.codings(mask)}
    asked = {*names, *((None, code) for _, code in names), *((s, None) for s, _ in names)}
    for system, code in asked:
        ways = TABLE.asked(system, code)
        for mask in masks:
            shown = any(
                system in (None, c["system"]) and code in (None, c["code"])
                for c in TABLE.codings(mask)
            )
            met = any(mask & counted == wanted for counted, wanted in ways)
            assert met is shown, (system, code, mask)
    assert TABLE.asked("urn:other", "HIV") == []
