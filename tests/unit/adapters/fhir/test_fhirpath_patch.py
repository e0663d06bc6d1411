"""FHIRPath Patch: https://hl7.org/fhir/R4/fhirpatch.html."""

import pytest

from adapters.fhir.fhirpath_patch import MOST_OPERATIONS, fhirpath_patch
from fhir_server.validate import elements
from hie.kernel.errors import Category, HieError

PATIENT = {
    "resourceType": "Patient",
    "birthDate": "1951-04-12",
    "_birthDate": {"extension": [{"url": "urn:time", "valueTime": "10:00:00"}]},
    "name": [
        {"use": "official", "family": "Quillfeather", "given": ["Hortensia", "May"]},
        {"use": "nickname", "given": ["Tensie"]},
    ],
    "contact": [{"name": {"text": "A"}, "gender": "male"}],
    "deceasedBoolean": False,
    "extension": [{"url": "urn:x", "valueString": "1"}],
}


def operation(kind, path, value=None, **more):
    part = [{"name": "type", "valueCode": kind}, {"name": "path", "valueString": path}]
    if value is not None:
        part.append({"name": "value", **value})
    for name, given in more.items():
        member = "valueString" if isinstance(given, str) else "valueInteger"
        part.append({"name": name, member: given})
    return {"name": "operation", "part": part}


def patched(*operations, document=PATIENT):
    parameters = {"resourceType": "Parameters", "parameter": list(operations)}
    return fhirpath_patch(document, parameters, elements)


def text(value):
    return {"valueString": value}


@pytest.mark.parametrize(
    ("done", "path", "wanted"),
    [
        (
            operation("replace", "Patient.birthDate", {"valueDate": "1930-01-01"}),
            "birthDate",
            "1930-01-01",
        ),
        (
            operation("replace", "Patient.birthDate", {"valueDate": "1930-01-01"}),
            "_birthDate",
            None,
        ),
        (operation("delete", "Patient.birthDate"), "birthDate", None),
        (operation("delete", "Patient.maritalStatus"), "maritalStatus", None),
        (operation("delete", "Patient.birthDate.extension('urn:time')"), "birthDate", "1951-04-12"),
        (operation("add", "Patient", {"valueCode": "female"}, name="gender"), "gender", "female"),
        (
            operation("add", "Patient", {"valueHumanName": {"text": "N"}}, name="name"),
            "name.2",
            {"text": "N"},
        ),
        (
            operation("add", "Patient.name[0]", text("Marie"), name="given"),
            "name.0.given",
            ["Hortensia", "May", "Marie"],
        ),
        (
            operation("add", "Patient", {"valueContactPoint": {"value": "1"}}, name="telecom"),
            "telecom",
            [{"value": "1"}],
        ),
        (
            operation("add", "Patient", {"valueBoolean": True}, name="multipleBirth"),
            "multipleBirthBoolean",
            True,
        ),
        (
            operation("replace", "Patient.deceased", {"valueDateTime": "2020"}),
            "deceasedDateTime",
            "2020",
        ),
        (
            operation("replace", "Patient.deceased", {"valueDateTime": "2020"}),
            "deceasedBoolean",
            None,
        ),
        (
            operation("replace", "Patient.name.where(use = 'official').family", text("Q")),
            "name.0.family",
            "Q",
        ),
        (
            operation(
                "replace",
                "Patient.name.where(given.exists() and use != 'official').given[0]",
                text("T"),
            ),
            "name.1.given",
            ["T"],
        ),
        (
            operation("replace", "name.first().given.last()", text("M")),
            "name.0.given",
            ["Hortensia", "M"],
        ),
        (
            operation("replace", "Patient.extension('urn:x').value", text("2")),
            "extension.0.valueString",
            "2",
        ),
        (
            operation("replace", "Patient.contact[0].name", {"valueHumanName": {"text": "B"}}),
            "contact.0.name.text",
            "B",
        ),
        (
            operation("insert", "Patient.name", {"valueHumanName": {"text": "N"}}, index=1),
            "name.1",
            {"text": "N"},
        ),
        (
            operation(
                "insert",
                "Patient.communication",
                {
                    "part": [
                        {"name": "language", "valueCodeableConcept": {"text": "Welsh"}},
                        {"name": "preferred", "valueBoolean": True},
                    ]
                },
                index=0,
            ),
            "communication",
            [{"language": {"text": "Welsh"}, "preferred": True}],
        ),
        (
            operation(
                "add",
                "Patient",
                {
                    "part": [
                        {"name": "relationship", "valueCodeableConcept": {"text": "son"}},
                        {"name": "relationship", "valueCodeableConcept": {"text": "heir"}},
                        {"name": "gender", "valueCode": "male"},
                    ]
                },
                name="contact",
            ),
            "contact.1",
            {"relationship": [{"text": "son"}, {"text": "heir"}], "gender": "male"},
        ),
        (operation("move", "Patient.name", source=1, destination=0), "name.0.use", "nickname"),
        (operation("delete", "Patient.name[1]"), "name.0.use", "official"),
        (operation("delete", "Patient.contact[0]"), "contact", None),
    ],
)
def test_operations_do_what_the_standard_says(done, path, wanted):
    found = patched(done)
    for step in path.split("."):
        found = found[int(step)] if isinstance(found, list) else found.get(step)
    assert found == wanted


def test_a_primitives_sibling_goes_where_it_goes():
    document = {
        "resourceType": "Patient",
        "name": [{"given": ["A", "B", "C"], "_given": [None, {"id": "b"}, None]}],
    }
    done = patched(
        operation("move", "Patient.name.given", source=1, destination=0), document=document
    )
    assert done["name"] == [{"given": ["B", "A", "C"], "_given": [{"id": "b"}, None, None]}]
    done = patched(operation("insert", "Patient.name.given", text("X"), index=0), document=document)
    assert done["name"][0]["_given"][2] == {"id": "b"}
    done = patched(operation("delete", "Patient.name.given[0]"), document=document)
    assert done["name"] == [{"given": ["B", "C"], "_given": [{"id": "b"}, None]}]


@pytest.mark.parametrize(
    ("done", "category"),
    [
        ({"name": "operation"}, Category.INVALID),
        ({"name": "other", "part": []}, Category.INVALID),
        (operation("burn", "Patient.name"), Category.INVALID),
        (operation("replace", "Patient.birthDate"), Category.INVALID),
        (operation("replace", "Patient.birthDate", {"part": "x"}), Category.INVALID),
        (operation("replace", "Patient.name.iif(true, 1)", text("x")), Category.INVALID),
        (operation("replace", "Patient.name[", text("x")), Category.INVALID),
        (operation("replace", "Patient.name.exists()", text("x")), Category.INVALID),
        (operation("replace", "name." * 400 + "use", text("x")), Category.INVALID),
        (operation("replace", "Patient.name", text("x")), Category.BUSINESS_RULE),
        (operation("replace", "Patient.maritalStatus", text("x")), Category.BUSINESS_RULE),
        (operation("replace", "Patient", text("x")), Category.BUSINESS_RULE),
        (operation("delete", "Patient"), Category.BUSINESS_RULE),
        (operation("delete", "Patient.name"), Category.BUSINESS_RULE),
        (
            operation("add", "Patient", {"valueDate": "2000"}, name="birthDate"),
            Category.BUSINESS_RULE,
        ),
        (
            operation("add", "Patient", {"valueBoolean": True}, name="deceased"),
            Category.BUSINESS_RULE,
        ),
        (operation("add", "Patient", text("x"), name="nothing"), Category.BUSINESS_RULE),
        (operation("add", "Patient.birthDate", text("x"), name="id"), Category.BUSINESS_RULE),
        (operation("insert", "Patient.name", text("x"), index=3), Category.BUSINESS_RULE),
        (operation("insert", "Patient.birthDate", text("x"), index=0), Category.BUSINESS_RULE),
        (operation("move", "Patient.name", source=2, destination=0), Category.BUSINESS_RULE),
        (operation("move", "Patient.name[0]", source=0, destination=0), Category.INVALID),
        (operation("replace", "Patient.name.given.single()", text("x")), Category.BUSINESS_RULE),
    ],
)
def test_what_does_not_fit_is_refused_at_its_place(done, category):
    with pytest.raises(HieError) as caught:
        patched(operation("delete", "Patient.photo"), done)
    assert caught.value.category is category
    assert caught.value.issues[0].expression == ("Parameters.parameter[1]",)


def test_a_patch_is_bounded_and_changes_no_document():
    many = [operation("delete", "Patient.photo")] * (MOST_OPERATIONS + 1)
    with pytest.raises(HieError) as caught:
        patched(*many)
    assert caught.value.category is Category.TOO_LARGE
    before = repr(PATIENT)
    patched(
        operation("delete", "Patient.birthDate"), operation("delete", "Patient.name[0].given[0]")
    )
    assert repr(PATIENT) == before
    with pytest.raises(HieError):
        fhirpath_patch(PATIENT, {"resourceType": "Parameters"}, elements)
