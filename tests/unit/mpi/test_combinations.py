"""The deterministic pack: CMS Patient Matching Proposal 3.4.0, tables 2, 2-H, 2-I and 3."""

import math

import pytest

from mpi.combinations import Hit, Pack
from mpi.compare import Comparer
from mpi.names import GivenNames
from tests.support.mpi import MBI, MODEL, SETTINGS, demographics

COMPARER = Comparer(GivenNames(SETTINGS.given_names), SETTINGS.forms.single_types)
ALONE = {"phone": None, "line": None, "zip5": None}


def hits(one: dict[str, object], other: dict[str, object]) -> set[str]:
    """Ids of every combination that the pair satisfies, `~` where one field is fuzzy."""
    a, b = demographics(**one), demographics(**other)
    comparison = COMPARER.compare(a, b)
    found = (
        Pack([combination], SETTINGS.forms).best_hit(a, b, comparison)
        for combination in MODEL.combinations
    )
    return {f"{'~' if hit.is_fuzzy else ''}{hit.id}" for hit in found if hit}


def identified(system: str, kind: str, value: str) -> dict[str, object]:
    return {
        "identifier": [{"system": system, "type": {"coding": [{"code": kind}]}, "value": value}]
    }


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        pytest.param(ALONE, ALONE, set(), id="name and birth date alone are not enough"),
        pytest.param({"phone": None}, {"phone": None}, {"CMS-01"}, id="street"),
        pytest.param(
            {"phone": None},
            {"phone": None, "line": "14 Orchrad Street"},
            {"~CMS-01"},
            id="street, one edit",
        ),
        pytest.param(
            {"phone": None},
            {"phone": None, "line": "14 Orchrad Street", "family": "Quinlen"},
            set(),
            id="two fuzzy fields",
        ),
        pytest.param(ALONE | {"phone": "617-234-8871"}, {}, {"CMS-02", "CMS-11"}, id="phone"),
        pytest.param(
            ALONE | {"phone": "617-234-8871", "born": "1971-03-09"},
            {},
            {"~CMS-02"},
            id="phone, a day off",
        ),
        pytest.param(
            ALONE | {"email": "n@b.org"}, {"email": "n@b.org"}, {"CMS-03", "CMS-12"}, id="email"
        ),
        pytest.param(
            ALONE | {"ssn": "7781"}, {"ssn": "412557781"}, {"CMS-04", "CMS-05"}, id="last four"
        ),
        pytest.param(
            ALONE | {"ssn": "7781", "family": "Quinlen"},
            {"ssn": "412557781"},
            {"~CMS-05"},
            id="last four, surname one edit",
        ),
        pytest.param(
            ALONE | identified(MBI, "MC", "1EG4-TE5-MK73"),
            identified(MBI, "MC", "1EG4TE5MK73"),
            {"CMS-08", "HUB-01", "HUB-02"},
            id="Medicare number",
        ),
        pytest.param(
            ALONE | identified("urn:ma:dl", "DL", "S99928510"),
            identified("urn:ma:dl", "DL", "S99928510"),
            {"CMS-09", "CMS-10", "HUB-01", "HUB-02"},
            id="driver's licence",
        ),
        pytest.param(
            ALONE | identified("urn:ma:dl", "DL", "S99928510"),
            identified("urn:nh:dl", "DL", "S99928510"),
            set(),
            id="the same licence number of another state",
        ),
        pytest.param(
            ALONE | identified("urn:payer", "MB", "ZGP10001-02"),
            identified("urn:payer", "MB", "ZGP1000102"),
            {"CMS-23", "CMS-24", "HUB-01", "HUB-02"},
            id="member number",
        ),
        pytest.param(
            ALONE | {"ssn": "412557781", "born": "1900-01-01"},
            {"ssn": "412557781"},
            {"HUB-05"},
            id="SSN without a birth date",
        ),
        pytest.param(
            {"phone": "617-555-0100"} | {"line": None}, {"line": None}, set(), id="default"
        ),
    ],
)
def test_a_combination_is_satisfied_by_its_fields(
    one: dict[str, object], other: dict[str, object], expected: set[str]
):
    assert hits(one, other) == expected
    assert hits(other, one) == expected


def test_the_least_likely_coincidence_is_the_one_reported():
    record = demographics(email="n@b.org")
    comparison = COMPARER.compare(record, record)
    hit = Pack(MODEL.combinations, SETTINGS.forms).best_hit(record, record, comparison)
    assert hit == Hit(id="CMS-H14-I01", collision=6e-17)
    # -20 - log2(6e-17) = -20 + 53.9
    assert hit.bits(-20.0) == pytest.approx(-20 + 17 * math.log2(10) - math.log2(6))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        pytest.param({"line": None}, {}, {"CMS-02", "CMS-11", "CMS-H12-I01"}, id="phone, ZIP"),
        pytest.param(
            {}, {"family": "Castellano"}, {"CMS-11", "CMS-H12-I01", "CMS-H14-I01"}, id="phone, home"
        ),
        pytest.param({}, {"given": ["Ida"]}, set(), id="a sister in the household"),
        pytest.param({}, {"born": "1973-03-08"}, set(), id="a mother of the same name"),
        pytest.param(
            ALONE | {"phone": "617-234-8871", "ssn": "7781"},
            {"ssn": "412557781"},
            {"CMS-02", "CMS-04", "CMS-05", "CMS-11", "CMS-13", "CMS-H01-I01"},
            id="last four and phone",
        ),
    ],
)
def test_a_household_is_no_person_until_first_name_and_birth_date_tell_who(
    one: dict[str, object], other: dict[str, object], expected: set[str]
):
    assert hits(one, other) == expected


def test_any_value_that_was_ever_true_may_satisfy_a_field():
    moved = demographics(
        line=None,
        zip5=None,
        phone=None,
        name=[
            {"use": "official", "family": "Castellano", "given": ["Nora"]},
            {"use": "maiden", "family": "Quinlan"},
        ],
        address=[
            {"line": ["3 Quarry Road"], "postalCode": "02138"},
            {"use": "old", "line": ["14 Orchard Street"], "postalCode": "01742"},
        ],
    )
    before = demographics(phone=None)
    comparison = COMPARER.compare(before, moved)
    hit = Pack(MODEL.combinations, SETTINGS.forms).best_hit(before, moved, comparison)
    assert hit == Hit(id="CMS-01", collision=3e-13)


def test_the_pack_is_the_published_one_but_for_what_the_file_says_it_leaves_out():
    ids = {c.id for c in MODEL.combinations if c.id.startswith("CMS-")}
    flat = {f"CMS-{n:02d}" for n in range(1, 30)} - {f"CMS-{n}" for n in (22, 27, 28, 29)}
    household = {f"CMS-H{n:02d}-I01" for n in (1, 2, 4, 5, 12, 13, 14)}
    assert ids == flat | household


def test_every_combination_needs_more_than_names_and_a_birth_date():
    """The pack is not asked where the two share neither a home nor a number."""
    plain = {"first", "last", "birth"}
    assert all(set(c.fields) - plain for c in MODEL.combinations)


def test_every_combination_stays_under_the_published_threshold():
    assert all(max(c.exact, c.fuzzy) <= 2e-12 for c in MODEL.combinations)
    assert len({c.id for c in MODEL.combinations}) == len(MODEL.combinations)


def test_no_combination_rests_on_what_a_household_shares():
    personal = {"first", "last4", "itin4", "mbi", "legal_id", "member_id", "identifier", "ssn"}
    assert all(personal & set(c.fields) for c in MODEL.combinations)
