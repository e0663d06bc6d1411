"""Comparison levels; names after Jaro-Winkler, Damerau-Levenshtein and their sound."""

import pytest

from mpi.compare import Comparer, Comparison, is_a_day_apart
from mpi.demographics import Demographics
from mpi.levels import Birth, First, Household, Last, Middle, Name, Number, Same
from mpi.names import GivenNames, is_close, sounds_alike
from mpi.normalize import retired
from tests.support.mpi import SETTINGS, demographics

HOSPITAL = "urn:hospital"
COMPARER = Comparer(
    GivenNames(SETTINGS.given_names), SETTINGS.forms.single_types, record_systems={HOSPITAL}
)


def against(other: Demographics, **ours: object) -> Comparison:
    """Nora as we have her against `other`; checked to be the same the other way round."""
    one = demographics(**ours)
    comparison = COMPARER.compare(one, other)
    mirrored = COMPARER.compare(other, one)
    assert (comparison.name, comparison.birth, comparison.household, comparison.ssn) == (
        mirrored.name, mirrored.birth, mirrored.household, mirrored.ssn
    )  # fmt: skip
    return comparison


NORA = demographics()


@pytest.mark.parametrize(
    ("given", "family", "level"),
    [
        (["Nora"], "Quinlan", Name.EXACT),
        (["NORA"], "QUINLAN", Name.EXACT),
        (["Eleanor"], "Quinlan", Name.NICKNAME),
        (["Norah"], "Quinlan", Name.FIRST_TYPO),  # one sound
        (["Norra"], "Quinlan", Name.FIRST_TYPO),
        (["Nora"], "Quinlen", Name.LAST_TYPO),
        (["Norra"], "Quinlen", Name.BOTH_TYPO),
        (["Quinlan"], "Nora", Name.SWAPPED),
        (["Nora"], "Quinlan-Reyes", Name.LAST_PART),
        (["N"], "Quinlan", Name.INITIAL),
        (["Nora"], "Castellano", Name.FIRST_ONLY),
        (["Peter"], "Quinlan", Name.LAST_ONLY),
        (["Peter"], "Castellano", Name.NONE),
        (["Norra"], "Castellano", Name.FIRST_CLOSE),
        (["Peter"], "Quinlen", Name.LAST_CLOSE),
        (["Quinlen"], "Norra", Name.SWAPPED_TYPO),
        (["Quinlan"], "Castellano", Name.CROSSED),
        (["BABY GIRL"], "Quinlan", Name.LAST_ALONE),
        (["BABY GIRL"], "Castellano", None),
        (["Nora"], None, Name.FIRST_ALONE),
        (["Peter"], None, None),
    ],
)
def test_first_name_and_surname_are_compared_together(
    given: list[str], family: str | None, level: Name | None
):
    assert against(NORA, given=given, family=family).name is level


def test_a_maiden_name_is_a_surname():
    married = COMPARER.compare(
        NORA,
        demographics(
            name=[
                {"family": "Castellano", "given": ["Nora"]},
                {"use": "maiden", "family": "Quinlan"},
            ]
        ),
    )
    assert (married.name, married.agreed_last) == (Name.EXACT, "quinlan")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Jayden", "Kayden"),
        ("Maria", "Marie"),
        ("Mark", "Mary"),
        ("Eric", "Erica"),
        ("Kristin", "Kristina"),
        ("Joan", "Jean"),
        ("Carla", "Karl"),
    ],
)
def test_two_names_one_letter_apart_may_be_two_people(one: str, other: str):
    found = COMPARER.compare(demographics(given=[one]), demographics(given=[other]))
    assert found.first in (First.RIVAL, First.DIFFERS)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sara", "sarah"),
        ("steven", "stephen"),
        ("catherine", "katherine"),
        ("brian", "bryan"),
        ("jon", "john"),
        ("nicolas", "nicholas"),
        ("hailey", "haley"),
        ("isabel", "isabelle"),
        ("ann", "anne"),
        ("megan", "meaghan"),
    ],
)
def test_spellings_of_one_sound_are_one_name(one: str, other: str):
    assert sounds_alike(one, other)
    assert sounds_alike(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [("taylor", "tyler"), ("kelly", "kylie"), ("jan", "jon"), ("maria", "marie"), ("tim", "tom"),
     ("ellen", "elaine"), ("eva", "ava"), ("jayden", "kayden"), ("王", "汪")],
)  # fmt: skip
def test_names_with_other_vowels_are_other_names(one: str, other: str):
    assert not sounds_alike(one, other)


@pytest.mark.parametrize(
    ("one", "other", "close"),
    [
        ("quinlan", "quinlen", True),
        ("quinlan", "qiunlan", True),
        ("castellano", "castelano", True),
        ("bartholomew", "batrholemew", True),  # two edits in eleven letters
        ("lee", "leo", False),  # too short to tell
        ("quinlan", "callahan", False),
    ],
)
def test_a_misspelt_name_is_close_to_the_right_one(one: str, other: str, *, close: bool):
    assert is_close(one, other) is close


@pytest.mark.parametrize(
    ("born", "level", "gap"),
    [
        ("1971-03-08", Birth.EXACT, 0),
        ("1971-08-03", Birth.SWAPPED, 0),
        ("1971-03-09", Birth.EDIT, 0),
        ("1971-03-18", Birth.EDIT, 0),
        ("1917-03-08", Birth.EDIT, 54),
        ("1972-03-08", Birth.EDIT, 1),
        ("1971-03-27", Birth.PART, 0),
        ("1971-11-08", Birth.PART, 0),
        ("1971-12-27", Birth.DIFFERS, 0),
        ("1999-12-27", Birth.DIFFERS, 28),
        ("1971-03", Birth.PART, 0),
        ("1971", Birth.PART, 0),
        ("1972", Birth.DIFFERS, 1),
        ("1900-01-01", None, None),
    ],
)
def test_birth_dates_agree_by_degrees(born: str, level: Birth | None, gap: int | None):
    found = against(NORA, born=born)
    assert (found.birth, found.year_gap) == (level, gap)


def test_the_day_before_and_after_are_neighbours_over_the_end_of_a_month():
    assert is_a_day_apart("1971-03-31", "1971-04-01")
    assert not is_a_day_apart("1971-03-31", "1971-04-02")
    assert not is_a_day_apart("1971-03-31", "1871-03-30")


ELSEWHERE = {"address": [{"line": ["3 Quarry Road"], "city": "Lowell", "postalCode": "01852"}]}


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({}, Household.ADDRESS_AND_PHONE),
        ({"line": "14 ORCHARD ST."}, Household.ADDRESS_AND_PHONE),
        ({"line": "14 Orchrad Street"}, Household.ADDRESS_AND_PHONE),
        ({"phone": "781-234-0000"}, Household.ADDRESS),
        ({"line": "3 Quarry Road", "zip5": "02138"}, Household.PHONE),
        ({"line": "16 Orchard Street", "phone": None}, Household.STREET),
        ({"line": "3 Quarry Road", "phone": None}, Household.ZIP),
        ({"line": "3 Quarry Road", "zip5": "01749", "phone": None}, Household.NEAR),
        (ELSEWHERE | {"phone": "781-234-0000"}, Household.NONE),
        ({"line": None, "zip5": None, "phone": None}, None),
        ({"line": None, "zip5": None, "phone": "781-234-0000"}, Household.NONE),
        ({"phone": "617-555-0123", "line": None, "zip5": None}, None),  # a default says nothing
    ],
)
def test_who_lives_together_shares_one_piece_of_evidence(
    changes: dict[str, str | None], level: Household | None
):
    assert against(NORA, **changes).household is level


def test_neighbours_in_one_house_do_not_live_together():
    flats = [demographics(line=f"14 Orchard Street Apt {n}", phone=None) for n in (1, 2)]
    assert COMPARER.compare(*flats).household is Household.ZIP


@pytest.mark.parametrize(
    ("one", "other", "level"),
    [
        ("412-55-7781", "412557781", Number.EXACT),
        ("412-55-7781", "412-55-7718", Number.EDIT),
        ("412-55-7781", "412-55-7782", Number.EDIT),
        ("412-55-7781", "418-55-7782", Number.NEAR),
        ("412-55-7781", "421-55-7718", Number.NEAR),
        ("412-55-7781", "418-56-7782", Number.DIFFERS),
        ("412-55-7781", "7781", Number.LAST4),
        ("412-55-7781", "7782", Number.DIFFERS),
        ("412-55-7781", "999-99-9999", None),
        ("412-55-7781", None, None),
    ],
)
def test_social_security_numbers_agree_by_degrees(
    one: str, other: str | None, level: Number | None
):
    assert against(demographics(ssn=other), ssn=one).ssn is level


@pytest.mark.parametrize(
    ("one", "other", "level"),
    [
        ("Jane", "Jane", Middle.EXACT),
        ("Jane", "J", Middle.INITIAL),
        ("Jane", "Jayne", Middle.INITIAL),
        ("Jane", "Ruth", Middle.DIFFERS),
        ("J", "R", Middle.DIFFERS),
    ],
)
def test_middle_names_agree_by_degrees(one: str, other: str, level: Middle):
    ours = demographics(given=["Nora", one])
    assert COMPARER.compare(ours, demographics(given=["Nora", other])).middle is level
    assert COMPARER.compare(ours, NORA).middle is None


def numbered(*identifiers: tuple[str, str, str]) -> Demographics:
    return demographics(
        identifier=[
            {"system": system, "value": value}
            | ({"type": {"coding": [{"code": kind}]}} if kind else {})
            for system, kind, value in identifiers
        ]
    )


@pytest.mark.parametrize(
    ("one", "other", "level"),
    [
        (("urn:a", "MR", "12"), ("urn:a", "MR", "12"), Same.SAME),
        (("urn:a", "MR", "12"), ("urn:a", "MR", "13"), Same.DIFFERS),
        (("urn:a", "MR", "12"), ("urn:b", "MR", "12"), None),
        (("urn:a", "DL", "12"), ("urn:a", "DL", "13"), None),  # a licence is renewed
        (("urn:a", "MC", "12x"), ("urn:a", "MC", "13x"), None),  # a Medicare number is replaced
        # Without a type it is a record number where a source numbers its patients so.
        ((HOSPITAL, "", "12"), (HOSPITAL, "", "13"), Same.DIFFERS),
        ((HOSPITAL, "", "12"), (HOSPITAL, "MR", "13"), Same.DIFFERS),
        ((HOSPITAL, "", "12"), (HOSPITAL, "", "12"), Same.SAME),
        ((HOSPITAL, "", "12"), (HOSPITAL, "DL", "13"), None),
        (("urn:a", "", "12"), ("urn:a", "", "13"), None),
        (("urn:a", "", "12"), ("urn:a", "MR", "13"), None),
    ],
)
def test_a_number_counts_within_its_authority(
    one: tuple[str, str, str], other: tuple[str, str, str], level: Same | None
):
    assert COMPARER.compare(numbered(one), numbered(other)).identifier is level


@pytest.mark.parametrize("kind", ["", "MR"])
def test_a_number_merged_away_contradicts_no_other(kind: str):
    gone, stands = numbered((HOSPITAL, kind, "12")), numbered((HOSPITAL, kind, "13"))
    assert COMPARER.compare(retired(gone), stands).identifier is None
    assert COMPARER.compare(retired(gone), gone).identifier is Same.SAME


def test_one_common_number_outweighs_a_different_one():
    one = numbered(("urn:a", "MR", "12"), ("urn:b", "MR", "7"))
    other = numbered(("urn:a", "MR", "12"), ("urn:b", "MR", "8"))
    assert COMPARER.compare(one, other).identifier is Same.SAME


@pytest.mark.parametrize(
    ("one", "other", "level"),
    [
        ("Jr", "Jr", Same.SAME),
        ("Jr", "II", Same.SAME),
        ("Jr", "Sr", Same.DIFFERS),
        ("Jr", None, None),
    ],
)
def test_a_junior_is_the_second_of_his_name(one: str, other: str | None, level: Same | None):
    found = COMPARER.compare(demographics(suffix=one), demographics(suffix=other))
    assert found.suffix is level


@pytest.mark.parametrize(
    ("one", "other", "level"),
    [
        ("Haag", "Fredericka Haag", Same.SAME),
        ("Hyatt", "Hyat", Same.SAME),
        ("Haag", "Rowe", Same.DIFFERS),
    ],
)
def test_mothers_are_compared_by_their_maiden_names(one: str, other: str, level: Same):
    records = [
        demographics(
            extension=[
                {
                    "url": "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName",
                    "valueString": name,
                }
            ]
        )
        for name in (one, other)
    ]
    assert COMPARER.compare(*records).mother is level


def test_empty_records_have_nothing_to_compare():
    found = COMPARER.compare(Demographics(), Demographics())
    assert {found.name, found.birth, found.sex, found.household, found.identifier} == {None}
    assert COMPARER.compare(Demographics(), NORA).last is None
    assert found.level("name") is None
    assert COMPARER.compare(NORA, NORA).last is Last.EXACT
