"""`hie mpi link`, the whole command in this process."""

import pytest

from tests.support.files import MAP, LinkedFile, as_csv, row

TWO = [row("a", middle="Anne"), row("b", middle="A")]
STRANGER = row(
    "c",
    given="Otto",
    family="Brandt",
    born="1950-11-30",
    sex="m",
    phone="",
    street="9 Elm Street",
    zip="02114",
)


def link(folder, rows, columns=MAP, *more):
    return LinkedFile(folder, as_csv(rows), columns, *more)


def test_two_records_of_a_human_are_one_person_and_a_stranger_is_another(tmp_path):
    done = link(tmp_path, [*TWO, STRANGER])
    assert done.status == 0
    assert done.persons == {frozenset("ab"), frozenset("c")}
    assert list(done.links[0]) == ["record_id", "person_id", "grade", "bits", "reason"]
    assert [r["record_id"] for r in done.links] == ["a", "b", "c"]
    assert [(r["grade"], r["reason"]) for r in done.links[:2]] == [("certain", "clear")] * 2
    assert list(done.links[2].values()) == ["c", "c", "", "", ""]
    assert list(done.pairs[0]) == [
        "record_id_1",
        "record_id_2",
        "bits",
        "grade",
        "decision",
        "reason",
    ]
    assert done.decided("a", "b") == ("link", "clear")


def test_twins_are_not_linked_and_not_hidden(tmp_path):
    twins = [
        row("a", given="Jayden", born="2015-05-05"),
        row("b", given="Kayden", born="2015-05-05"),
    ]
    done = link(tmp_path, twins)
    assert done.persons == {frozenset("a"), frozenset("b")}
    assert done.decided("a", "b") == ("review", "twin")


def test_the_order_of_rows_makes_no_difference_to_a_byte(tmp_path):
    outputs = []
    rows = [*TWO, STRANGER, row("d", given="Norah", phone=""), row("e", family="Quinlen", zip="")]
    for number, ordered in enumerate((rows, rows[::-1], rows[2:] + rows[:2])):
        folder = tmp_path / str(number)
        folder.mkdir()
        link(folder, ordered)
        outputs.append([(folder / name).read_bytes() for name in ("links.csv", "pairs.csv")])
    assert outputs[0] == outputs[1] == outputs[2]


@pytest.mark.parametrize(
    ("data", "columns"),
    [
        (as_csv(TWO).encode("utf-8-sig"), MAP),
        (as_csv(TWO).replace(",", ";").encode(), MAP),
        (as_csv(TWO).replace(",", "\t").encode(), MAP),
        (as_csv(TWO).replace("\n", "\r\n").encode(), MAP),
        (
            as_csv([*TWO]).replace("Quinlan", "Müller").encode("latin-1"),
            'encoding = "latin-1"' + MAP,
        ),
        (as_csv(TWO).replace("Orchard", "Orc\0hard").encode(), MAP),
    ],
    ids=["byte order mark", "semicolons", "tabs", "CRLF", "latin-1", "NUL"],
)
def test_files_are_read_as_partners_send_them(tmp_path, data, columns):
    assert LinkedFile(tmp_path, data, columns).persons == {frozenset("ab")}
