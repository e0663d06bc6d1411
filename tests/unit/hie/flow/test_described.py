"""Whom the words of a question describe, and whom they do not."""

import json

import pytest

from hie.flow.described import description_of, known_by, says_who

NORA = {
    "resourceType": "Patient",
    "name": [{"family": "Quill-Feather", "given": ["Nora"]}],
    "identifier": [{"system": "urn:a", "value": "MR-70077"}],
    "telecom": [{"system": "phone", "value": "+1 (978) 555-0143"}],
    "address": [{"line": ["14 Larkspur St"], "city": "Concord"}],
}
KNOWN = known_by([NORA])


def search(param: str, key: str) -> str:
    criterion = {"param": param, "param_ids": [4], "keys": [key], "is_not": False}
    chained = {"param": "patient", "targets": [{"type": "Patient", "criteria": [criterion]}]}
    return json.dumps({"type": "Observation", "persons": None, "criteria": [chained]})


@pytest.mark.parametrize(
    ("question", "alone", "beside"),
    [
        # What nobody else has tells whomever the question met.
        (search("identifier", "s:urn:a|mr70077"), True, True),
        (search("identifier", "v:mr70077"), True, True),
        (search("identifier", "o:urn:types|MR|mr70077"), True, True),
        (f"$match {json.dumps(NORA)}", True, True),
        # Another authority gave the same number to whom the question met.
        (search("identifier", "s:urn:b|mr70077"), True, False),
        ('$match {"resourceType": "Patient", "identifier": [{"system": "urn:b", '
         '"value": "MR-70077"}], "telecom": [{"value": "MR70077"}]}', True, False),
        ("identifier=urn:a|MR-70077", True, True),
        ("$ihe-pix urn:a|MR-70077 urn:b", True, True),
        # What a namesake or the family has too tells only where nobody was met.
        (search("family", "p:quill feather"), True, False),
        (search("family", "p:quill"), True, False),
        (search("phone", "v:9785550143"), True, False),
        ('$match {"resourceType": "Patient", "address": [{"line": ["14 LARKSPUR STREET"]}]}',
         True, False),
        ('$match {"resourceType": "Patient", "name": [{"family": "QUILL-FEATHER"', True, False),
        # Others: parameters are no words, nor is a first name, a place or part of a number.
        (search("family", "p:winterbottom"), False, False),
        (search("given", "p:nora"), False, False),
        (search("identifier", "v:7007"), False, False),
        (search("address-city", "p:concord"), False, False),
        ("", False, False),
    ],
)  # fmt: skip
def test_a_question_describes_whom_its_words_tell(question: str, alone: bool, beside: bool):
    assert says_who(KNOWN, question, has_met=False) is alone
    assert says_who(KNOWN, question, has_met=True) is beside


def test_a_search_is_compared_as_the_patient_it_asks_for():
    criteria = [
        {"param": "family", "keys": ["p:quilfeather"]},
        {"param": "given", "keys": ["p:nora"]},
        {"param": "birthdate", "keys": ["d:1971-03-08"]},
        {"param": "identifier", "keys": ["s:urn:a|700"]},
        {"param": "email", "keys": ["v:n@q.example"]},
        {"param": "birthdate", "keys": ["d:1971", "o:1971"]},
    ]
    assert description_of(json.dumps({"type": "Patient", "criteria": criteria})) == {
        "resourceType": "Patient",
        "name": [{"family": "quilfeather", "given": ["nora"]}],
        "birthDate": "1971-03-08",
        "identifier": [{"system": "urn:a", "value": "700"}],
        "telecom": [{"system": "email", "value": "n@q.example"}],
    }
    assert description_of(f"$match {json.dumps(NORA)}") == NORA
    assert description_of("$ihe-pix urn:a|1") is None
    assert description_of('{"type": "Patient", "criteria": []}') is None
