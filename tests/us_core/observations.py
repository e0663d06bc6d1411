"""Observations of each US Core profile: vital signs, social history, results."""

from typing import Any

from tests.us_core.build import CORE, HL7, LOINC, SNOMED, Chart, Resource, concept, quantity

CATEGORY = HL7 + "observation-category"
CORE_CATEGORY = f"{CORE}/CodeSystem/us-core-category"
#: Key, profile, LOINC code, its name, value, unit, UCUM code.
VITALS: tuple[tuple[str, str, str, str, float, str, str], ...] = (
    (
        "breaths",
        "us-core-respiratory-rate",
        "9279-1",
        "Respiratory rate",
        16,
        "breaths/min",
        "/min",
    ),
    ("pulse", "us-core-heart-rate", "8867-4", "Heart rate", 71, "beats/min", "/min"),
    ("warmth", "us-core-body-temperature", "8310-5", "Body temperature", 36.8, "Cel", "Cel"),
    ("height", "us-core-body-height", "8302-2", "Body height", 168.5, "cm", "cm"),
    ("weight", "us-core-body-weight", "29463-7", "Body weight", 70.25, "kg", "kg"),
    ("bmi", "us-core-bmi", "39156-5", "Body mass index", 24.7, "kg/m2", "kg/m2"),
    ("head", "us-core-head-circumference", "9843-4", "Head circumference", 55.0, "cm", "cm"),
    (
        "weight-for-height",
        "pediatric-weight-for-height",
        "77606-2",
        "Weight-for-length percentile",
        61,
        "%",
        "%",
    ),
    ("bmi-for-age", "pediatric-bmi-for-age", "59576-9", "BMI percentile", 57, "%", "%"),
    (
        "head-for-age",
        "head-occipital-frontal-circumference-percentile",
        "8289-1",
        "Head circumference percentile",
        48,
        "%",
        "%",
    ),
)


def add_observations(chart: Chart) -> None:
    """One or more of each profile."""
    for day, (key, profile, code, name, value, unit, ucum) in enumerate(VITALS, start=3):
        told = {"valueQuantity": quantity(value, unit, ucum)}
        _add(chart, key, profile, "vital-signs", concept(LOINC, code, name), day, told)
    _blood_pressure(chart)
    _pulse_oximetry(chart)
    _social_history(chart)
    _results(chart)
    _screening(chart)


def _add(  # noqa: PLR0917 - the columns of a table of observations
    chart: Chart,
    key: str,
    profile: str,
    category: str,
    code: Resource,
    ago: int,
    told: Resource,
    category_system: str = CATEGORY,
) -> None:
    when = {} if "effectivePeriod" in told else {"effectiveDateTime": chart.at(ago)}
    chart.add(
        key,
        profile,
        {
            "resourceType": "Observation",
            "status": "final",
            "category": [concept(category_system, category)],
            "code": code,
            "subject": chart.ref("patient"),
            "encounter": chart.ref("visit"),
            **when,
            **told,
        },
    )


def _blood_pressure(chart: Chart) -> None:
    code = concept(LOINC, "85354-9", "Blood pressure panel")
    for ago, is_measured in ((2, True), (33, False)):
        parts = [
            ("8480-6", "Systolic blood pressure", 118),
            ("8462-4", "Diastolic blood pressure", 76),
        ]
        told: dict[str, Any] = {
            "component": [
                {"code": concept(LOINC, loinc, name)}
                | (
                    {"valueQuantity": quantity(value, "mmHg", "mm[Hg]")}
                    if is_measured
                    else {"dataAbsentReason": concept(HL7 + "data-absent-reason", "unknown")}
                )
                for loinc, name, value in parts
            ]
        }
        _add(chart, f"pressure-{ago}", "us-core-blood-pressure", "vital-signs", code, ago, told)


def _pulse_oximetry(chart: Chart) -> None:
    code = {
        "coding": [
            {"system": LOINC, "code": "59408-5", "display": "Oxygen saturation by pulse oximetry"},
            {"system": LOINC, "code": "2708-6", "display": "Oxygen saturation in arterial blood"},
        ],
        "text": "Oxygen saturation",
    }
    told = {
        "valueQuantity": quantity(97, "%"),
        "component": [
            {
                "code": concept(LOINC, "3151-8", "Inhaled oxygen flow rate"),
                "valueQuantity": quantity(2, "L/min"),
            },
            {
                "code": concept(LOINC, "3150-0", "Inhaled oxygen concentration"),
                "valueQuantity": quantity(28, "%"),
            },
        ],
    }
    _add(chart, "oxygen", "us-core-pulse-oximetry", "vital-signs", code, 2, told)


def _social_history(chart: Chart) -> None:
    history: tuple[tuple[str, str, Resource, Resource], ...] = (
        (
            "smoking",
            "us-core-smokingstatus",
            concept(LOINC, "72166-2", "Tobacco smoking status"),
            {"valueCodeableConcept": concept(SNOMED, "266919005", "Never smoked tobacco")},
        ),
        (
            "pregnancy",
            "us-core-observation-pregnancystatus",
            concept(LOINC, "82810-3", "Pregnancy status"),
            {"valueCodeableConcept": concept(SNOMED, "60001007", "Not pregnant")},
        ),
        (
            "intent",
            "us-core-observation-pregnancyintent",
            concept(LOINC, "86645-9", "Pregnancy intention in the next year"),
            {"valueCodeableConcept": concept(SNOMED, "454401000124105", "Not wanting")},
        ),
        (
            "orientation",
            "us-core-observation-sexual-orientation",
            concept(LOINC, "76690-7", "Sexual orientation"),
            {"valueCodeableConcept": concept(SNOMED, "20430005", "Heterosexual")},
        ),
        (
            "occupation",
            "us-core-observation-occupation",
            concept(LOINC, "11341-5", "History of occupation"),
            {
                "effectivePeriod": {"start": chart.day(4000), "end": chart.day(400)},
                "valueCodeableConcept": concept(
                    "urn:oid:2.16.840.1.114222.4.5.327", "23-1012.00.007748", "Law clerk"
                ),
                "component": [
                    {
                        "code": concept(LOINC, "86188-0", "Industry"),
                        "valueCodeableConcept": concept(
                            "urn:oid:2.16.840.1.114222.4.5.327", "541110.000762", "Law office"
                        ),
                    }
                ],
            },
        ),
    )
    for day, (key, profile, code, told) in enumerate(history, start=20):
        _add(chart, key, profile, "social-history", code, day, told)


def _results(chart: Chart) -> None:
    specimen = {"specimen": chart.ref("specimen"), "performer": [chart.ref("hospital")]}
    interpretation = concept(HL7 + "v3-ObservationInterpretation", "N", "Normal")
    labs: tuple[tuple[str, Resource, Resource], ...] = (
        (
            "glucose",
            concept(LOINC, "2345-7", "Glucose in serum or plasma"),
            {"valueQuantity": quantity(92.0, "mg/dL"), "interpretation": [interpretation]},
        ),
        (
            "blood-type",
            concept(LOINC, "883-9", "ABO group in blood"),
            {"valueCodeableConcept": concept(SNOMED, "112144000", "Blood group A")},
        ),
        (
            "smear",
            concept(LOINC, "5909-7", "Blood smear finding"),
            {"valueString": "no abnormal forms seen"},
        ),
    )
    for day, (key, code, value) in enumerate(labs, start=6):
        _add(chart, key, "us-core-observation-lab", "laboratory", code, day, value | specimen)
    clinical: tuple[tuple[str, str, Resource, Resource], ...] = (
        (
            "ecg",
            "procedure",
            concept(LOINC, "8601-7", "EKG impression"),
            {"valueString": "sinus rhythm"},
        ),
        (
            "qrs",
            "procedure",
            concept(LOINC, "8633-0", "QRS duration"),
            {"valueQuantity": quantity(88, "ms")},
        ),
        (
            "lump",
            "imaging",
            concept(SNOMED, "300577008", "Finding of lesion"),
            {"valueCodeableConcept": concept(SNOMED, "260415000", "Not detected")},
        ),
    )
    for day, (key, category, code, value) in enumerate(clinical, start=9):
        _add(chart, key, "us-core-observation-clinical-result", category, code, day, value)


def _screening(chart: Chart) -> None:
    performer = {"performer": [chart.ref("practitioner")]}
    survey: tuple[tuple[str, Resource, Resource], ...] = (
        (
            "hunger-panel",
            concept(LOINC, "88121-9", "Hunger vital sign"),
            {
                "hasMember": [chart.ref("hunger-risk")],
                "derivedFrom": [chart.ref("answers")],
                "valueString": "asked in full",
            },
        ),
        (
            "hunger-risk",
            concept(LOINC, "88124-3", "Food insecurity risk"),
            {"valueCodeableConcept": concept(LOINC, "LA19983-8", "No risk")},
        ),
        (
            "mood-score",
            concept(LOINC, "44261-6", "PHQ-9 total score"),
            {"valueQuantity": quantity(3, "{score}")},
        ),
    )
    for day, (key, code, value) in enumerate(survey, start=12):
        profile = "us-core-observation-screening-assessment"
        _add(chart, key, profile, "survey", code, day, value | performer)
        chart.made[key]["category"].append(concept(CORE_CATEGORY, "sdoh", "SDOH"))
    simple: tuple[tuple[str, Resource], ...] = (
        ("steps", {"valueQuantity": quantity(7200, "{steps}/d")}),
        ("walks", {"valueBoolean": True}),
        ("aid", {"valueCodeableConcept": concept(SNOMED, "165245003", "Walks without aid")}),
        ("says", {"valueString": "walks to work"}),
    )
    for day, (key, value) in enumerate(simple, start=15):
        told = value | performer | {"derivedFrom": [chart.ref("answers")]}
        code = concept(LOINC, "54800-8", "Walking")
        _add(
            chart,
            key,
            "us-core-simple-observation",
            "functional-status",
            code,
            day,
            told,
            CORE_CATEGORY,
        )
