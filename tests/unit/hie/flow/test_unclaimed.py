"""Which messages nobody claimed tell of somebody."""

from dataclasses import replace

import pytest

from hie.flow.described import known_by
from hie.flow.questions import Sought
from hie.flow.unclaimed import says_name_and_birth, tells_of
from mpi.demographics import Demographics

NORA = Sought(
    persons=frozenset({"p1"}),
    patients=(),
    demographics=(Demographics(birth_date="1971-03-08"),),
    known=known_by([{"name": [{"family": "Quill-Feather"}]}]),
    keeps_met=False,
)


@pytest.mark.parametrize(
    ("text", "is_hers"),
    [
        ("PID|1||700^^^X||QUILL-FEATHER^NORA||19710308|F", True),
        ("PID|1||700^^^X||QUILL FEATHER^NORA||19710308|F", True),
        ('{"name": [{"family": "Quill Feather"}], "birthDate": "1971-03-08"}', True),
        ("PID|1||700^^^X||QUILL FEATHER^NORA||19710309|F", False),
        ("PID|1||700^^^X||QUILL^NORA||19710308|F", False),
        ("garbage", False),
    ],
)
def test_a_message_tells_of_whom_it_names_with_the_birth_date(text: str, is_hers: bool):
    assert says_name_and_birth(NORA, text) is is_hers


def test_a_birth_date_that_is_not_known_to_the_day_tells_of_nobody():
    vague = replace(NORA, demographics=(Demographics(birth_date="1971"),))
    assert not says_name_and_birth(vague, "QUILL FEATHER 1971")


def test_a_twins_message_stays_to_be_replayed():
    sent = {"name": [{"family": "Quill-Feather", "given": ["Nora Mae", "Ida"]}]}
    nora = replace(NORA, patients=(("a", sent),))
    assert says_name_and_birth(nora, "PID|1||700^^^X||QUILL-FEATHER^NORA MAE||19710308|F")
    assert not says_name_and_birth(nora, "PID|1||701^^^X||QUILL-FEATHER^OTTO||19710308|M")


HEAD = '{"method": "POST", "path": ""}\n'
HERS = (
    '{"resourceType": "Patient", "name": [{"family": "Quill-Feather"}], "birthDate": "1971-03-08"}'
)
ANOTHERS = '{"resourceType": "Patient", "name": [{"family": "Stone"}], "birthDate": "1950-01-02"}'


@pytest.mark.parametrize(
    ("text", "is_hers"),
    [
        pytest.param(HEAD + HERS, True, id="her own Patient"),
        pytest.param(HEAD + ANOTHERS, False, id="somebody else's"),
        pytest.param(
            f'{HEAD}{{"entry": [{{"resource": {HERS}}}]}}', True, id="a Bundle of hers alone"
        ),
        pytest.param(
            f'{HEAD}{{"entry": [{{"resource": {HERS}}}, {{"resource": {ANOTHERS}}}]}}',
            False,
            id="a Bundle of hers and others",
        ),
        pytest.param(HEAD + "{ QUILL FEATHER 1971-03-08", True, id="JSON that breaks off"),
        pytest.param(
            "MSH|x\rPID|1||7||QUILL FEATHER^NORA||19710308\rPID|2||8||STONE^ADA||19500102",
            False,
            id="two patients",
        ),
        pytest.param(
            "MSH|x\rPID|1||8||STONE^ADA||19500102\rNK1|1|QUILL FEATHER^NORA||||||||||||||19710308",
            False,
            id="a child whose mother she is",
        ),
    ],
)
def test_a_message_that_tells_of_others_too_stays(text: str, is_hers: bool):
    assert tells_of(NORA, text) is is_hers
