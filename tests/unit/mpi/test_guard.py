"""The person-level guard: what no score may overrule, and what it lets pass."""

import pytest

from mpi.compare import Comparer, GivenNames
from mpi.guard import combined, vetoes
from mpi.levels import Veto
from tests.support.mpi import SETTINGS, demographics

COMPARER = Comparer(GivenNames(SETTINGS.given_names), SETTINGS.forms.single_types)


def found(one: dict[str, object], other: dict[str, object]) -> tuple[Veto, ...]:
    a, b = demographics(**one), demographics(**other)
    comparison = COMPARER.compare(a, b)
    return vetoes(comparison, has_placeholder=a.is_placeholder or b.is_placeholder)


def number(system: str, kind: str, value: str) -> dict[str, object]:
    return {
        "identifier": [
            {"system": system, "type": {"coding": [{"code": kind}]}, "value": value},
        ]
    }


MOVED = {"line": "3 Quarry Road", "zip5": "02138", "phone": "781-234-0000"}
JAYDEN = {"given": ["Jayden"], "gender": "male", "born": "2015-05-06"}
KAYDEN = JAYDEN | {"given": ["Kayden"]}
CHILD = {"born": "2015-05-06", "gender": "female"}
SENIOR = {"given": ["John"], "gender": "male", "born": "1950-02-02"}


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        pytest.param({}, {}, (), id="the same record"),
        pytest.param({}, {"given": ["Norra"]}, (), id="a typing error in the first name"),
        pytest.param({}, {"born": "1971-08-03"}, (), id="month and day swapped"),
        pytest.param({}, {"born": "1971-03-09"}, (), id="a day off"),
        pytest.param({}, {"given": ["Quinlan"], "family": "Nora"}, (), id="names swapped"),
        pytest.param({}, {"family": "Castellano"}, (), id="married"),
        pytest.param({}, MOVED, (), id="moved"),
        pytest.param(
            {"given": ["Robert"], "gender": "male"},
            {"given": ["Bob"], "gender": "male"},
            (),
            id="a short form",
        ),
        pytest.param(CHILD, CHILD | {"given": ["Ida"]}, (Veto.TWIN,), id="twins"),
        pytest.param(JAYDEN, KAYDEN, (Veto.TWIN,), id="twins one letter apart"),
        pytest.param(
            CHILD | {"phone": None, "line": None, "zip5": None},
            CHILD | {"given": ["Ida"]},
            (Veto.TWIN,),
            id="twins, one without address",
        ),
        pytest.param(
            JAYDEN | {"ssn": "412557781"},
            KAYDEN | {"ssn": "412557781"},
            (Veto.TWIN,),
            id="twins under their mother's number",
        ),
        pytest.param(
            JAYDEN | number("urn:a", "MR", "77"),
            KAYDEN | number("urn:a", "MR", "77"),
            (),
            id="one record number, the name mistyped",
        ),
        pytest.param(CHILD, CHILD | MOVED | {"given": ["Ida"]}, (Veto.FIRST_NAME,), id="namesakes"),
        pytest.param(
            SENIOR, SENIOR | {"born": "1975-06-07"}, (Veto.GENERATION,), id="father and son"
        ),
        pytest.param(
            SENIOR,
            SENIOR | {"born": "1975-02-02"},
            (Veto.GENERATION,),
            id="father and son of one birthday",
        ),
        pytest.param(
            SENIOR,
            SENIOR | {"born": "1980-02-02"},
            (Veto.GENERATION,),
            id="father and son of one birthday, one digit apart",
        ),
        pytest.param(
            SENIOR, SENIOR | MOVED | {"born": "1975-06-07"}, (Veto.BIRTH_DATE,), id="a namesake"
        ),
        pytest.param(
            SENIOR | {"suffix": "Sr"},
            SENIOR | {"suffix": "Jr", "born": "1975-06-07"},
            (Veto.GENERATION, Veto.SUFFIX),
            id="senior and junior",
        ),
        pytest.param(
            SENIOR | {"suffix": "Sr"}, SENIOR | {"suffix": "Jr"}, (Veto.SUFFIX,), id="suffix alone"
        ),
        pytest.param({}, {"born": "1971-11-27"}, (Veto.BIRTH_DATE,), id="another birth date"),
        pytest.param({}, {"born": "1971-03-27"}, (Veto.BIRTH_DATE,), id="two digits of the day"),
        pytest.param(
            {"ssn": "412557781"},
            {"ssn": "412557781", "born": "1971-03-27"},
            (),
            id="two digits of the day, but one SSN",
        ),
        pytest.param({"ssn": "412557781"}, {"ssn": "518330042"}, (Veto.SSN,), id="two SSNs"),
        pytest.param({"ssn": "412557781"}, {"ssn": "412557718"}, (), id="an SSN mistyped"),
        pytest.param({"ssn": "999999999"}, {"ssn": "412557781"}, (), id="a default SSN"),
        pytest.param(
            {"birth_order": 1}, {"birth_order": 2}, (Veto.BIRTH_ORDER,), id="first and second born"
        ),
        pytest.param({}, {"gender": "male"}, (Veto.SEX,), id="another sex"),
        pytest.param({}, {"gender": "unknown"}, (), id="sex unknown"),
        pytest.param(
            {"ssn": "412557781"}, {"ssn": "412557781", "gender": "male"}, (), id="sex, but one SSN"
        ),
        pytest.param(
            number("urn:a", "MR", "77"),
            number("urn:a", "MR", "78"),
            (Veto.SAME_AUTHORITY,),
            id="two numbers at one hospital",
        ),
        pytest.param({}, {"given": ["BABY GIRL"]}, (Veto.PLACEHOLDER_NAME,), id="a newborn"),
        pytest.param({}, {"given": None}, (Veto.NO_FIRST_NAME,), id="no first name"),
        pytest.param({}, {"given": ["N"]}, (Veto.NO_FIRST_NAME,), id="an initial alone"),
        pytest.param(
            {"ssn": "412557781"}, {"ssn": "412557781", "given": ["N"]}, (), id="initial and SSN"
        ),
        pytest.param({}, {"born": "1900-01-01"}, (Veto.NO_BIRTH_DATE,), id="a default birth date"),
        pytest.param(
            {"ssn": "412557781"},
            {"ssn": "412557781", "born": "1900-01-01"},
            (),
            id="a default birth date, but one SSN",
        ),
    ],
)
def test_the_guard_stops_what_cannot_be_one_human(
    one: dict[str, object], other: dict[str, object], expected: tuple[Veto, ...]
):
    assert found(one, other) == expected
    assert found(other, one) == expected


@pytest.mark.parametrize(
    ("per_record", "has_anchor", "expected"),
    [
        ([()], False, ()),
        ([(), (Veto.NO_BIRTH_DATE,)], False, ()),
        ([(Veto.NO_BIRTH_DATE,)], False, (Veto.NO_BIRTH_DATE,)),
        ([(Veto.PLACEHOLDER_NAME,), (Veto.SSN,)], False, (Veto.SSN,)),
        ([(), (Veto.SSN,)], False, (Veto.SSN,)),
        ([(), (Veto.SSN,)], True, (Veto.SSN,)),
        ([(), (Veto.FIRST_NAME,)], False, (Veto.FIRST_NAME,)),
        ([(), (Veto.FIRST_NAME, Veto.BIRTH_DATE)], True, ()),
        ([(Veto.SEX, Veto.NO_BIRTH_DATE)], False, (Veto.SEX, Veto.NO_BIRTH_DATE)),
    ],
)
def test_a_person_is_judged_by_all_of_its_records(
    per_record: list[tuple[Veto, ...]], *, has_anchor: bool, expected: tuple[Veto, ...]
):
    assert combined(per_record, has_anchor=has_anchor) == expected
