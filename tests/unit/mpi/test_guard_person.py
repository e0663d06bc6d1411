"""The guard over all records of a person: what one of them answers for the others."""

import pytest

from mpi.compare import Comparer
from mpi.guard import answers, combined
from mpi.levels import Veto
from mpi.names import GivenNames
from tests.support.mpi import SETTINGS, demographics

COMPARER = Comparer(GivenNames(SETTINGS.given_names), SETTINGS.forms.single_types)
MOVED = {"line": "3 Quarry Road", "zip5": "02138", "phone": "781-234-0000"}
SSN = {"ssn": "412557781"}


def answered(one: dict[str, object], other: dict[str, object]) -> set[Veto]:
    return set(answers(COMPARER.compare(demographics(**one), demographics(**other))))


NAME = {Veto.FIRST_NAME, Veto.TWIN}
BIRTH = {Veto.BIRTH_DATE, Veto.GENERATION}
LAST = {Veto.SURNAME}


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        pytest.param({}, {}, NAME | BIRTH | LAST | {Veto.SSN}, id="at home"),
        pytest.param({}, MOVED, NAME | BIRTH | LAST, id="elsewhere a namesake may have the number"),
        pytest.param(SSN, SSN | MOVED, NAME | BIRTH | LAST | {Veto.SSN}, id="under one SSN"),
        pytest.param({}, {"given": ["Norra"]}, BIRTH | LAST, id="a first name mistyped"),
        pytest.param({}, {"born": "1971-03-09"}, NAME | LAST, id="a birth date mistyped"),
        pytest.param({}, MOVED | {"family": None}, NAME | BIRTH, id="a record without surname"),
        pytest.param({}, {"given": ["Norra"], "born": "1971-03-09"}, LAST, id="both mistyped"),
    ],
)
def test_what_one_record_has_to_the_letter_is_answered_for_the_others(
    one: dict[str, object], other: dict[str, object], expected: set[Veto]
):
    assert answered(one, other) == answered(other, one) == expected


@pytest.mark.parametrize(
    ("per_record", "answered", "expected"),
    [
        ([()], set(), ()),
        ([(), (Veto.NO_BIRTH_DATE,)], set(), ()),
        ([(), (Veto.SURNAME,)], set(), (Veto.SURNAME,)),
        ([(), (Veto.SURNAME,)], {Veto.SURNAME}, ()),
        ([(Veto.NO_BIRTH_DATE,)], set(), (Veto.NO_BIRTH_DATE,)),
        ([(Veto.PLACEHOLDER_NAME,), (Veto.SSN,)], set(), (Veto.SSN,)),
        ([(), (Veto.SSN,)], set(), (Veto.SSN,)),
        ([(), (Veto.SSN,)], NAME | BIRTH, (Veto.SSN,)),
        ([(), (Veto.SSN,)], NAME | BIRTH | {Veto.SSN}, ()),
        ([(), (Veto.FIRST_NAME,)], set(), (Veto.FIRST_NAME,)),
        ([(), (Veto.FIRST_NAME, Veto.BIRTH_DATE)], NAME, (Veto.BIRTH_DATE,)),
        ([(), (Veto.FIRST_NAME, Veto.BIRTH_DATE)], NAME | BIRTH, ()),
        ([(Veto.SEX, Veto.NO_BIRTH_DATE)], set(), (Veto.SEX, Veto.NO_BIRTH_DATE)),
    ],
)
def test_a_person_is_judged_by_all_of_its_records(
    per_record: list[tuple[Veto, ...]], answered: set[Veto], expected: tuple[Veto, ...]
):
    assert combined(per_record, answered) == expected
