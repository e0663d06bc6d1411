"""The map of columns, dates, and rows as demographics."""

import tomllib
from datetime import date
from pathlib import Path

import pytest

from hie.kernel.errors import HieError
from mpi.config_table import ConfigTable
from mpi.demographics import Demographics, Identifier
from mpi.normalize import Normalizer
from mpi.offline.columns import ATTRIBUTES, column_map
from mpi.offline.dates import date_reader
from mpi.offline.rows import RowReader
from tests.support.mpi import SETTINGS
from tests.support.tree import ROOT

AS_OF = date(2026, 1, 31)
NORMALIZER = Normalizer(SETTINGS.forms, SETTINGS.defaults)


def mapped(text: str):
    return column_map(ConfigTable(tomllib.loads(text), Path("columns.toml")), AS_OF)


def read(columns: str, **cells: str) -> Demographics:
    """A row whose cells stand under columns named as given."""
    reader = RowReader(list(cells), mapped(columns), "file.csv", NORMALIZER, AS_OF)
    return reader.demographics(list(cells.values()))


@pytest.mark.parametrize(
    ("pattern", "text", "read_as"),
    [
        ("YYYY-MM-DD", "1971-03-08", "1971-03-08"),
        ("YYYYMMDD", "19710308", "1971-03-08"),
        ("%Y%m%d", "19710308", "1971-03-08"),
        ("MM/DD/YYYY", "3/8/1971", "1971-03-08"),
        ("DD.MM.YYYY", "08.03.1971", "1971-03-08"),
        ("DD-MON-YYYY", "08-MAR-1971", "1971-03-08"),
        ("MON DD, YYYY", "March 8, 1971", "1971-03-08"),
        ("MM/DD/YY", "03/08/71", "1971-03-08"),
        ("MM/DD/YY", "03/08/25", "2025-03-08"),
        ("YYYY-MM-DD", "1971-03-08 00:00:00.000", "1971-03-08"),
        ("YYYY-MM-DD", "1971-03-08T00:00", "1971-03-08"),
        ("YYYYMM", "197103", "1971-03"),
        ("YYYY", "1971", "1971"),
        ("YYYYMMDD", "19710230", ""),
        ("YYYYMMDD", "1971038", ""),
        ("MM/DD/YYYY", "14/01/1971", ""),
        ("DD-MON-YYYY", "08-XYZ-1971", ""),
        ("YYYY-MM-DD", "", ""),
        ("YYYY-MM-DD", "١٩٧١-٠٣-٠٨", ""),
    ],
)
def test_a_date_is_read_as_its_pattern_says_or_not_at_all(pattern, text, read_as):
    reader = date_reader(pattern, AS_OF)
    assert reader is not None
    assert reader(text) == read_as


@pytest.mark.parametrize(
    "pattern", ["", "DD.MM.", "YYYY-YYYY", "YYYY YY", "DD YYYY", "MM MON YYYY"]
)
def test_a_pattern_without_one_year_is_refused(pattern):
    assert date_reader(pattern, AS_OF) is None


def test_the_first_format_that_reads_a_date_wins():
    columns = (
        'date_formats = ["DD/MM/YYYY", "MM/DD/YYYY"]\n[columns]\nrecord_id="id"\nbirth_date="b"'
    )
    assert read(columns, id="1", b="08/03/1971").birth_date == "1971-03-08"
    assert read(columns, id="1", b="08/23/1971").birth_date == "1971-08-23"


EVERYTHING = """
missing = ["NA"]
[columns]
record_id = "id"
given = ["g1", "g2"]
middle = "m"
family = ["f1", "f2"]
maiden = "mn"
alias = "al"
suffix = "sf"
birth_year = "by"
birth_month = "bm"
birth_day = "bd"
birth_order = "bo"
sex = "sx"
ssn = "ssn"
itin = "it"
phone = ["p1", "p2"]
email = "e"
house = "h"
street = ["s1", "s2"]
unit = "u"
city = "c"
state = "st"
zip = "z"
mrn = "mrn"
national_id = "ni"
license = "dl"
mbi = "mbi"
member_id = "mi"
mother_maiden = "mm"
guardian = "gu"
[constants]
authority = "urn:test:mercy"
payer = "urn:test:payer"
[sexes]
W = "female"
"""
ROW = {
    "id": "7", "g1": "Maria", "g2": "NA", "m": "L.", "f1": "García", "f2": "López", "mn": "Quinlan",
    "al": "Quin", "sf": "Jr", "by": "1971", "bm": "3", "bd": "8", "bo": "2", "sx": "w",
    "ssn": "219-45-6789", "it": "", "p1": "617-234-8871", "p2": "", "e": "M@example.org", "h": "14",
    "s1": "Orchard", "s2": "Street", "u": "3B", "c": "Concord", "st": "MA", "z": "01742-1234",
    "mrn": "A17", "ni": "", "dl": "S123", "mbi": "1EG4TE5MK73", "mi": "", "mm": "Brandt",
    "gu": "Anna Petersen",
}  # fmt: skip


def test_every_attribute_reaches_its_place():
    found = read(EVERYTHING, **ROW)
    assert found.given == ("maria",)
    assert found.middle == ("l",)
    assert found.surnames == ("garcialopez", "quinlan", "quin")
    assert found.surname_parts == ("garcia", "lopez")
    assert (found.suffix, found.birth_date, found.birth_order) == ("jr", "1971-03-08", 2)
    assert (found.sex, found.ssn) == ("f", ("219456789",))
    assert found.phones == ("+16172348871",)
    assert found.emails == ("m@example.org",)
    (home,) = found.addresses
    assert (home.house, home.street, home.unit) == ("14", "orchard st", "3b")
    assert (home.city, home.zip5) == ("concord", "01742")
    assert Identifier(system="urn:test:mercy", value="a17", type="MR") in found.identifiers
    assert {i.type for i in found.identifiers} == {"MR", "DL", "MC"}
    assert set(found.mothers) == {"brandt", "petersen"}


def test_the_attributes_of_the_map_are_all_read():
    said = tomllib.loads(EVERYTHING)
    assert set(ATTRIBUTES) - {*said["columns"], *said["constants"]} == {"name", "birth_date"}


@pytest.mark.parametrize(
    ("text", "counts_as"),
    [
        ("219-45-6789", ("219456789",)),
        ("7035316", ("007035316",)),  # seven digits, as in febrl
        ("45 67 89", ("000456789",)),
        ("12345678901", ("12345678901",)),
        ("12345", ()),
        ("999999999", ()),
        ("0000000", ()),
        ("none", ()),
    ],
)
def test_a_number_of_six_digits_or_more_counts_whatever_its_length(text, counts_as):
    assert read('[columns]\nrecord_id="id"\nssn="s"', id="1", s=text).ssn == counts_as


def test_a_whole_name_in_one_column_is_split():
    found = read('[columns]\nrecord_id="id"\nname="n"', id="1", n="Quinlan, Nora Anne")
    assert (found.given, found.middle, found.surnames) == (("nora",), ("anne",), ("quinlan",))


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("[columns]\ngiven='g'", "record_id", "the column of the row's id"),
        ("[columns]\nrecord_id='r'", "columns", "columns that tell patients apart"),
        ("[columns]\nrecord_id='r'\ngiven=3", "columns.given", "names of columns"),
        ("[columns]\nrecord_id='r'\ngiven=[]", "columns.given", "the name of one column"),
        ("[columns]\nrecord_id=['r','s']\ngiven='g'", "columns.record_id", "the name of one"),
        ("[columns]\nrecord_id='r'\nfirstname='g'", "columns.firstname", "one of record_id, name"),
        ("[columns]\nrecord_id='r'\nmrn='m'", "authority", "because `mrn` is given"),
        ("[columns]\nrecord_id='r'\nbirth_day='d'", "birth_year", "because `birth_month`"),
        ("[columns]\nrecord_id='r'\ngiven='g'\n[constants]\nfoo='x'", "constants.foo", "one of"),
        ("date_formats=['DD']\n[columns]\nrecord_id='r'\ngiven='g'", "date_formats", "YYYY"),
        ("separator=';'\n[columns]\nrecord_id='r'\ngiven='g'", "separator", "one of"),
        ("delimiter=';;'\n[columns]\nrecord_id='r'\ngiven='g'", "delimiter", "one character"),
        ("[columns]\nrecord_id='r'\nsex='s'\n[sexes]\nW='woman'", "sexes.W", "`male` or `female`"),
    ],
)
def test_a_fault_of_the_map_names_key_and_what_was_expected(text, key, expected):
    with pytest.raises(HieError) as fault:
        mapped(text)
    told = [fault.value.text, *(issue.text for issue in fault.value.issues)]
    assert any(f"`columns.toml` key `{key}`" in line and expected in line for line in told), told


def test_attributes_may_stand_at_the_top_of_a_short_map():
    assert mapped('record_id = "id"\ngiven = "g"').columns == {
        "record_id": ("id",),
        "given": ("g",),
    }


def test_the_committed_maps_of_the_benchmarks_can_be_read():
    for path in (ROOT / "bench" / "maps").glob("*.toml"):
        assert column_map(ConfigTable.read(path), AS_OF).columns
