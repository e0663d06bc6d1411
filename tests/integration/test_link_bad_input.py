"""`hie mpi link` on files that are wrong, hostile or just large in the wrong place."""

import gzip

import pytest

from hie.cli import main
from tests.support.bounded import bounded
from tests.support.files import HEADER, MAP, LinkedFile, as_csv, row

TWO = [row("a"), row("b")]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "`file.csv` line 1: expected a header line"),
        (b"\n\n", "`file.csv` line 1: expected a header line"),
        (b"id,given\na,Nora\n", "`file.csv` column `family`, which the map names for `family`"),
        (as_csv(TWO).replace("given,", "family,", 1), "column `given`, which the map names"),
        (as_csv([row("a"), row("a")]), "line 3 column `id`: expected an id of its own; line 2 has"),
        (as_csv([row("a"), row(" ")]), "line 3 column `id`: expected an id"),
        (as_csv(TWO) + "c,Nora\n", "line 4: expected 10 cells, as in the header"),
        (as_csv(TWO).encode() + b"c,\xff\xfe,,,,,,,,\n", "expected text in utf-8-sig"),
        (as_csv(TWO) + '"c,Nora\n', "quotes closed within their row"),
    ],
    ids=[
        "empty", "blank lines", "column missing", "column twice", "id twice", "no id",
        "short row", "other encoding", "open quote",
    ],
)  # fmt: skip
def test_a_file_at_fault_is_refused_with_place_and_expectation(tmp_path, capsys, data, told):
    done = LinkedFile(tmp_path, data)
    assert done.status == 2
    text = capsys.readouterr().err
    assert told in text
    assert "Quinlan" not in text
    assert [p.name for p in tmp_path.iterdir() if p.name not in ("file.csv", "columns.toml")] == []


def test_a_gzip_file_is_read_and_a_torn_one_is_refused(tmp_path, capsys):
    packed = gzip.compress(as_csv(TWO).encode())
    (tmp_path / "columns.toml").write_text(MAP)
    for name, data, status in (("whole.csv.gz", packed, 0), ("torn.csv.gz", packed[:-12], 2)):
        (tmp_path / name).write_bytes(data)
        paths = [str(tmp_path / name), "--map", str(tmp_path / "columns.toml")]
        assert main(["mpi", "link", *paths, "--out", str(tmp_path / "out.csv")]) == status
    assert "`torn.csv.gz`" in capsys.readouterr().err


def test_an_output_never_overwrites_an_input_or_another_output(tmp_path, capsys):
    (tmp_path / "file.csv").write_text(as_csv(TWO))
    (tmp_path / "columns.toml").write_text(MAP)
    given = ["mpi", "link", str(tmp_path / "file.csv"), "--map", str(tmp_path / "columns.toml")]
    out = str(tmp_path / "out.csv")
    assert main([*given, "--out", str(tmp_path / "file.csv")]) == 2
    assert main([*given, "--out", out, "--pairs", out]) == 2
    assert main([*given, "--out", str(tmp_path / "missing" / "out.csv")]) == 2
    assert (tmp_path / "file.csv").read_text() == as_csv(TWO)
    assert not (tmp_path / "out.csv").exists()
    capsys.readouterr()


def test_a_header_alone_gives_headers_alone(tmp_path):
    done = LinkedFile(tmp_path, as_csv([]))
    assert (done.status, done.links, done.pairs) == (0, [], [])
    assert (tmp_path / "links.csv").read_text() == "record_id,person_id,grade,bits,reason\n"


def test_records_that_say_nothing_are_persons_of_their_own(tmp_path):
    nothing = dict.fromkeys(HEADER[1:], "")
    done = LinkedFile(tmp_path, as_csv([{"id": str(n)} | nothing for n in range(300)]))
    assert len(done.persons) == 300
    assert done.pairs == []


def test_records_of_default_values_alone_are_persons_of_their_own(tmp_path):
    nobody = row(
        "", given="UNKNOWN", family="UNKNOWN", born="1900-01-01", sex="u", phone="999-999-9999",
        street="HOMELESS", zip="00000", ssn="999-99-9999",
    )  # fmt: skip
    done = LinkedFile(tmp_path, as_csv([nobody | {"id": str(n)} for n in range(300)]))
    assert len(done.persons) == 300


def test_ten_kilobyte_names_and_control_characters_are_linked_or_left(tmp_path):
    odd = "".join(chr(c) for c in (1, 7, 8, 11, 27, 127, 0x200B, 0x202E, 0xFEFF))
    rows = [
        row("a", given="N" * 10_240, family="Q" * 10_240),
        row("b", given="N" * 10_240, family="Q" * 10_240),
        row("c", given=f"No{odd}ra", family=odd, street=odd * 100),
        row("d", born="not a date", phone="()", ssn="-", zip="\u0661\u0662"),
        row("e", born="9999-99-99", sex="?"),
    ]
    with bounded("long names and control characters"):
        done = LinkedFile(tmp_path, as_csv(rows))
    assert done.status == 0
    assert len(done.links) == 5


def test_a_thousand_strangers_who_share_one_telephone_stay_apart(tmp_path):
    """A clinic's number: nobody is compared by it, nobody is linked by it."""
    syllables = ("ba", "de", "fi", "go", "lu", "ma", "ne", "ri", "so", "tu")

    def name(number: int) -> str:
        return "".join(syllables[int(digit)] for digit in f"{number:04d}")

    rows = [
        row(
            str(n), given=name(n), family=name(9_999 - 7 * n), street=f"{n} Elm Street",
            born=f"{1940 + n % 70}-{1 + n % 12:02d}-{1 + n % 28:02d}", zip=f"{10_000 + n}",
        )
        for n in range(1_000)
    ]  # fmt: skip
    with bounded("one telephone", seconds=30):
        done = LinkedFile(tmp_path, as_csv(rows))
    assert len(done.persons) == 1_000


def test_a_thousand_visits_of_one_human_are_one_person(tmp_path):
    """More records than a key holds, alike in every field."""
    done = LinkedFile(tmp_path, as_csv([row(f"{n:04d}") for n in range(1_000)]))
    assert done.persons == {frozenset(f"{n:04d}" for n in range(1_000))}
    assert {link["reason"] for link in done.links} == {"identical"}
    assert len(done.pairs) < 10_000
