"""The person-level guard: what no score may overrule, and what it lets pass."""

import pytest

from mpi.compare import Comparer
from mpi.guard import vetoes
from mpi.levels import Veto
from mpi.names import GivenNames
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
        pytest.param({}, {"born": "1971-03-27"}, (), id="two digits of the day"),
        pytest.param(
            {},
            MOVED | {"born": "1971-03-27"},
            (Veto.BIRTH_DATE,),
            id="two digits of the day, elsewhere",
        ),
        pytest.param(
            {"ssn": "412557781"},
            {"ssn": "412557781", "born": "1971-03-27"},
            (),
            id="two digits of the day, but one SSN",
        ),
        pytest.param(
            {"ssn": "412557781"}, MOVED | {"ssn": "518330042"}, (Veto.SSN,), id="two SSNs"
        ),
        pytest.param({"ssn": "412557781"}, {"ssn": "412557718"}, (), id="an SSN mistyped"),
        pytest.param({"ssn": "999999999"}, {"ssn": "412557781"}, (), id="a default SSN"),
        pytest.param(
            {"birth_order": 1}, {"birth_order": 2}, (Veto.BIRTH_ORDER,), id="first and second born"
        ),
        pytest.param({}, MOVED | {"gender": "male"}, (Veto.SEX,), id="another sex"),
        pytest.param(CHILD, CHILD | {"gender": "male"}, (), id="another sex, one name and home"),
        pytest.param(
            CHILD | {"given": ["Robin"]},
            CHILD | {"given": ["Robyn"], "gender": "male"},
            (Veto.TWIN, Veto.SEX),
            id="brother and sister of one sound",
        ),
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


#: What the guard lets pass, because a family could not look like it; and, beside each, the
#: family that does and is stopped.
SSN = {"ssn": "412557781"}
MAIL = {"email": "nora@example.org"}
NAMELESS = {"given": ["UNKNOWN", "Jane"]}
JANE = {"given": ["Nora", "Jane"]}
UNDATED = {"born": "1900-01-01"}


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        # A wrong SSN, all else agreeing at home.
        pytest.param(SSN, {"ssn": "518330042"}, (), id="a spouse's SSN"),
        pytest.param(
            SSN | {"born": "1971-01-01"},
            {"ssn": "518330042", "born": "1971-01-01"},
            (Veto.SSN,),
            id="two of one name to whom a registrar gave the first of January",
        ),
        pytest.param(
            SSN | JANE,
            {"ssn": "518330042", "given": ["Nora", "Ruth"]},
            (Veto.SSN,),
            id="cousins of one first name and birth date",
        ),
        pytest.param(
            SSN, {"ssn": "518330042", "line": None, "zip5": None}, (), id="the telephone for a home"
        ),
        pytest.param(
            SSN | MAIL, MOVED | MAIL | {"ssn": "518330042"}, (), id="an e-mail address for a home"
        ),
        pytest.param(
            SSN, {"ssn": "518330042", "born": "1971-03-09"}, (), id="with a slip in the birth date"
        ),
        pytest.param(
            SSN,
            {"ssn": "518330042", "born": "1971-03-09", "family": "Rossi"},
            (Veto.SURNAME, Veto.SSN),
            id="two of one first name at one home, born a day apart",
        ),
        pytest.param(
            SSN, {"ssn": "518330042", "family": "Rossi"}, (), id="with another surname, on one day"
        ),
        # An SSN of two slips, first name and birth date to the letter.
        pytest.param(SSN, MOVED | {"ssn": "412575718"}, (), id="an SSN mistyped twice"),
        pytest.param(
            SSN | {"given": ["Zhaylen"]},
            MOVED | {"ssn": "412575718", "given": ["Zhaylon"]},
            (Veto.SSN,),
            id="sisters with neighbouring SSNs",
        ),
        pytest.param(
            SSN | {"born": "1971-01-01"},
            MOVED | {"ssn": "412575718", "born": "1971-01-01"},
            (Veto.SSN,),
            id="an SSN of two slips and a birth date for none",
        ),
        # Another birth date, the name and a number or the home agreeing.
        pytest.param(
            SSN, SSN | MOVED | {"born": "1977-11-27"}, (), id="another birth date under one SSN"
        ),
        pytest.param(
            SSN,
            SSN | MOVED | {"born": "1959-11-27"},
            (Veto.BIRTH_DATE,),
            id="a parent of the same name, maybe, under one SSN",
        ),
        pytest.param(
            SSN | {"given": ["Robert"]},
            SSN | MOVED | {"given": ["Bob"], "born": "1977-11-27"},
            (Veto.BIRTH_DATE,),
            id="a short form and another birth date under one SSN",
        ),
        pytest.param(
            JANE, JANE | {"born": "1977-11-27"}, (Veto.BIRTH_DATE,), id="two of one name at home"
        ),
        # No first name, all else agreeing, of adults.
        pytest.param(JANE, NAMELESS, (), id="an adult whose first name is not known"),
        pytest.param(JANE, {"given": ["UNKNOWN"]}, (Veto.PLACEHOLDER_NAME,), id="an adult twin"),
        pytest.param(
            CHILD | JANE, CHILD | NAMELESS, (Veto.PLACEHOLDER_NAME,), id="a child, maybe the twin"
        ),
        pytest.param(
            JANE, NAMELESS | {"gender": "male"}, (Veto.PLACEHOLDER_NAME, Veto.SEX), id="a brother"
        ),
        # No birth date, whole name and home agreeing, of women.
        pytest.param(JANE, JANE | UNDATED, (), id="a woman without birth date, at home"),
        pytest.param(JANE, JANE | MOVED | UNDATED, (Veto.NO_BIRTH_DATE,), id="a woman elsewhere"),
        pytest.param(
            JANE,
            UNDATED | {"given": ["Nora", "Ruth"]},
            (Veto.NO_BIRTH_DATE,),
            id="mother and daughter with their own middle names",
        ),
        pytest.param(
            CHILD | JANE, JANE | UNDATED, (Veto.NO_BIRTH_DATE,), id="a girl and maybe her mother"
        ),
        pytest.param(
            {"given": ["John", "Paul"], "gender": "male"},
            {"given": ["John", "Paul"], "gender": "male"} | UNDATED,
            (Veto.NO_BIRTH_DATE,),
            id="maybe father and son",
        ),
        # An SSN stands for a missing birth date, but not of men.
        pytest.param(SSN, SSN | UNDATED, (), id="a woman without birth date, under her SSN"),
        pytest.param(
            SENIOR | SSN, SENIOR | SSN | UNDATED, (Veto.NO_BIRTH_DATE,), id="a son, maybe, under"
            " his father's SSN"
        ),
        pytest.param(
            SENIOR | SSN,
            SENIOR | SSN | {"born": "1980-02-02"},
            (Veto.GENERATION,),
            id="father and son of one birthday under one SSN",
        ),
        pytest.param(
            SENIOR | number("urn:a", "MR", "77"),
            SENIOR | UNDATED | number("urn:a", "MR", "77"),
            (),
            id="a man without birth date, under his record number",
        ),
        pytest.param(
            SSN,
            UNDATED | MOVED | {"ssn": "412557718"},
            (),
            id="a woman without birth date, under her SSN mistyped",
        ),
        pytest.param(
            SSN,
            UNDATED | {"ssn": "412557718", "given": ["Norra"]},
            (Veto.NO_BIRTH_DATE,),
            id="sisters, maybe, with neighbouring SSNs",
        ),
        pytest.param(
            SENIOR | SSN,
            SENIOR | UNDATED | {"ssn": "412557718"},
            (Veto.NO_BIRTH_DATE,),
            id="a son, maybe, under his father's SSN mistyped",
        ),
        # An own number and birth date, whatever became of the first name.
        pytest.param(SSN, SSN | {"given": ["Nrxa"]}, (), id="a garbled name under one SSN"),
        pytest.param(
            SSN, SSN | {"given": ["Clara"]}, (Veto.TWIN,), id="a twin picked from the list"
        ),
        pytest.param(
            SSN, SSN | MOVED | {"given": ["Clara"]}, (Veto.FIRST_NAME,), id="a lent SSN"
        ),
        pytest.param(
            CHILD | SSN, CHILD | SSN | {"given": ["Nrxa"]}, (Veto.TWIN,), id="a mother's SSN"
        ),
        pytest.param(
            SSN, SSN | {"given": ["Clara"], "family": "Rossi"}, (), id="two other names at home"
        ),
        pytest.param(
            SSN,
            SSN | MOVED | {"given": ["Clara"], "family": "Rossi"},
            (Veto.FIRST_NAME,),
            id="two other names elsewhere",
        ),
        # A misread name that is none.
        pytest.param(
            {"given": ["Roberta"]}, {"given": ["Rwberla"]}, (), id="two letters misread"
        ),
        pytest.param(
            CHILD | {"given": ["Roberta"]},
            CHILD | {"given": ["Rwberla"]},
            (Veto.TWIN,),
            id="two letters of a child's name misread, maybe the twin's",
        ),
        # A short form in the list may still be another child.
        pytest.param(
            CHILD | {"given": ["Danielle", "Eve"]},
            CHILD | {"given": ["Ellie", "Grace"]},
            (Veto.TWIN,),
            id="twins of whom one bears the other's short form",
        ),
        pytest.param(
            CHILD | {"given": ["Danielle", "Eve"]},
            CHILD | {"given": ["Ellie", "E"]},
            (),
            id="a short form and an initial",
        ),
        # A child's name one letter off: no list knows every name that twins are given.
        pytest.param(
            CHILD | {"given": ["Zhaylen"]},
            CHILD | {"given": ["Zhaylon"]},
            (Veto.TWIN,),
            id="twins of rare names",
        ),
        pytest.param(
            CHILD | {"given": ["Zhaylen", "Ruth"]},
            CHILD | {"given": ["Zhaylon", "R"]},
            (),
            id="a child's rare name mistyped, the middle name kept",
        ),
        # Names in each other's field.
        pytest.param(
            JAYDEN | {"family": "Stanman"},
            JAYDEN | {"given": ["Stanman"], "family": "Jayden"},
            (),
            id="a child's names exchanged",
        ),
        pytest.param(
            JAYDEN | {"family": "Stanman"},
            JAYDEN | {"given": ["Stanman"], "family": "Kayden"},
            (Veto.TWIN,),
            id="twins a letter apart, one's names exchanged",
        ),
        pytest.param(
            JAYDEN | {"family": "Stanman", "born": "1971-05-06"},
            JAYDEN | {"given": ["Stanman"], "family": "Kayden", "born": "1971-05-06"},
            (Veto.TWIN,),
            id="grown twins a letter apart, one's names exchanged",
        ),
        pytest.param(
            JAYDEN | {"family": "Stanman", "born": "1971-05-06"},
            JAYDEN | {"given": ["Stanman"], "family": "Jaydne", "born": "1971-05-06"},
            (),
            id="names exchanged and one mistyped",
        ),
        pytest.param(
            JAYDEN | {"given": ["Stanman"], "family": "Jayden"},
            JAYDEN | {"given": ["Stanman"], "family": "Perry"},
            (Veto.SURNAME,),
            id="twins, the names of both exchanged",
        ),
        # Another surname, and something that stays.
        pytest.param({}, MOVED | {"family": "Rossi"}, (Veto.SURNAME,), id="of one birth date"),
        pytest.param(
            JANE, JANE | MOVED | {"family": "Castellano"}, (), id="married and moved"
        ),
        pytest.param(
            JANE | {"gender": "male"},
            JANE | MOVED | {"gender": "male", "family": None},
            (),
            id="a man without surname",
        ),
        pytest.param(
            JANE | {"gender": "male"},
            JANE | MOVED | {"gender": "male", "family": "Castellano"},
            (Veto.SURNAME,),
            id="men of one first name, initial and birth date",
        ),
        pytest.param(
            {}, {"family": "Rossi", "born": "1971-03-09"}, (Veto.SURNAME,), id="sisters-in-law"
        ),
    ],
)  # fmt: skip
def test_an_easing_of_the_guard_stops_before_the_family_next_to_it(
    one: dict[str, object], other: dict[str, object], expected: tuple[Veto, ...]
):
    assert found(one, other) == expected
    assert found(other, one) == expected
