"""What messages say of who may see them: labels to raise, wishes about sharing."""

from pathlib import Path

import pytest

from adapters.hl7v2 import er7
from adapters.hl7v2.sensitivity import NOTHING, Privacy, Raised, load_sensitivity
from adapters.terminology import load_terminology
from hie.kernel.errors import Category, HieError
from tests.support.tree import ROOT

TERMS = load_terminology(ROOT / "config" / "terminology")
TABLE = ROOT / "config" / "hl7v2" / "sensitivity.toml"
FIELDS = load_sensitivity(TABLE, TERMS)
LEVEL = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
HEAD = "MSH|^~\\&|A|B|C|D|20260101||ADT^A08^ADT_A01|1|P|2.8"


def read(*lines: str) -> Privacy:
    return FIELDS.read(er7.parse("\r".join([HEAD, *lines]).encode()), TERMS)


def field(segment: str, number: int, value: str) -> str:
    return f"{segment}{'|' * number}{value}"


def label(scope: str, code: str, system: str = LEVEL) -> Raised:
    return Raised(scope=scope, system=system, code=code)


def test_a_message_that_says_nothing_of_it_gives_nothing():
    assert read("PID|1||1^^^A^MR", "PV1|1|I") is NOTHING
    assert read("PD1|" + "|" * 10 + '""', field("PV1", 16, "")) is NOTHING


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (field("PV1", 16, "VIP"), label("visit", "CEL", ACT)),
        (field("PV1", 16, "y"), label("visit", "CEL", ACT)),
        (field("PV2", 22, "Y"), label("visit", "R")),
        (field("TXA", 18, "V"), label("content", "V")),
        (field("PD1", 12, "Y"), label("person", "R")),
        ("ARV|1|A|HIV^HIV status^HL70717", label("person", "HIV", ACT)),
    ],
)
def test_a_field_raises_the_label_of_its_code(line, expected):
    assert read("PID|1", line).raised == (expected,)


def test_a_restriction_behind_the_visit_speaks_of_the_visit():
    found = read("PID|1", "ARV|1|A|PSY", "PV1|1|I", "ARV|1|A|STD~SMD")
    assert found.raised == (
        label("person", "PSY", ACT),
        label("visit", "STD", ACT),
        label("visit", "SPI", ACT),
    )


def test_a_code_nobody_knows_is_sensitive_and_asked_about():
    found = read(field("PV1", 16, "7^Board member"))
    assert found.raised == (label("visit", "R"),)
    assert found.codes == (("vip", "7", "Board member"),)


@pytest.mark.parametrize("value", ["N", "0"])
def test_a_field_that_says_no_raises_nothing_and_lowers_nothing(value):
    found = read(field("PV1", 16, value))
    assert found.raised == ()
    assert found.wishes == ()


@pytest.mark.parametrize(
    ("line", "withholds", "releases"),
    [
        (field("PD1", 12, "Y"), True, False),
        (field("PD1", 12, "N"), False, True),
        ("ARV|1|A|OO", True, False),
        ("ARV|1|D|OO", False, True),
        ("ARV|1|A|OI", False, True),
    ],
)
def test_a_wish_about_sharing_is_told_as_what_it_asks(line, withholds, releases):
    (wish,) = read("PID|1", line).wishes
    assert (wish.withholds, wish.releases) == (withholds, releases)
    assert wish.said


@pytest.mark.parametrize(
    ("kind", "status", "withholds", "releases"),
    [
        ("001", "R", True, False),
        ("001", "X", True, False),
        ("001", "A", False, True),
        ("001", "P", False, False),
        ("002", "R", False, False),
        ("", "R", False, False),
    ],
)
def test_a_consent_withholds_by_its_status_where_it_is_about_sharing(
    kind, status, withholds, releases
):
    con = ["CON", "1", kind, "F12", "", "", "", "", "", "", "", status, "", "20260101"]
    (wish,) = read("|".join(con)).wishes
    assert (wish.withholds, wish.releases) == (withholds, releases)
    assert wish.said["CON-3"] == "F12"


def test_a_statement_is_kept_as_found_and_bounded():
    (wish,) = read("CON|1|001^Release^HL70496|||||||No to \\T\\ all~" + "x" * 900 + "||R").wishes
    assert wish.said["CON-2"] == "001 Release HL70496"
    assert wish.said["CON-9"].startswith("No to & all; xxx")
    assert len(wish.said["CON-9"]) == 200


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('"PD1-12"', '"PD1"', "`place` must be a field"),
        ('scope = "person"', 'scope = "everyone"', "`scope` must be one of"),
        ('map = "vip"', 'map = "vips"', "`map` must be the name of a table"),
        ('otherwise = "R"\nwithholds = ["Y"]', 'other = "R"', "`other` must be a key"),
        ("[consent]", "[consents]", "must be"),
    ],
)
def test_a_wrong_table_is_named_by_file_and_key(tmp_path: Path, old, new, named):
    text = TABLE.read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "sensitivity.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(HieError, match=named) as caught:
        load_sensitivity(tmp_path / "sensitivity.toml", TERMS)
    assert caught.value.category is Category.INVALID
    assert "`sensitivity.toml`" in caught.value.text


def test_what_is_read_of_privacy_counts_as_read():
    assert {("PV1", 16), ("PD1", 12), ("ARV", 5), ("CON", 11)} <= FIELDS.reads
    assert ("PV1", 3) not in FIELDS.reads
