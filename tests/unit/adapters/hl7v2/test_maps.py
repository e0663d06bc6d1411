"""The tables of config/hl7v2: read whole, and a fault in one is named with file and key."""

import shutil
from pathlib import Path

import pytest

from adapters.hl7v2.mapper import Mapper, load_maps
from hie.kernel.errors import Category, HieError
from tests.support.mapping import maps
from tests.support.tree import ROOT

SEGMENT = '["PID[Patient]"]\nrows = [{row}]\n'
RULE = '[patient]\ntype = "Patient"\nparts = ["PID[Patient]"]\n'
MESSAGE = '[ADT]\ntriggers = ["ADT^A31"]\nresources = ["patient"]\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small configuration that can be loaded."""
    shutil.copytree(ROOT / "config" / "terminology", tmp_path / "terminology")
    for name in ("segments", "resources", "messages", "datatypes"):
        (tmp_path / "hl7v2" / name).mkdir(parents=True)
    write(tmp_path, "segments", SEGMENT.format(row='{ from = 5, to = "name[]", as = "XPN" }'))
    write(tmp_path, "resources", RULE)
    write(tmp_path, "messages", MESSAGE)
    return tmp_path


def write(folder: Path, kind: str, text: str) -> None:
    (folder / "hl7v2" / kind / "x.toml").write_text(text)


def test_a_small_configuration_maps(folder: Path):
    assert Mapper(load_maps(folder)).triggers == {"ADT^A31"}


@pytest.mark.parametrize(
    ("kind", "text", "named"),
    [
        ("segments", "[[", "x.toml"),
        ("segments", '["PID"]\nrows = []', "PID"),
        ("segments", SEGMENT.format(row="1"), "row 1"),
        ("segments", SEGMENT.format(row='{ from = 5, as = "XPN" }'), "`to`"),
        ("segments", SEGMENT.format(row='{ from = "PID", to = "name", as = "XPN" }'), "`from`"),
        ("segments", SEGMENT.format(row='{ from = 5, to = "name", az = "XPN" }'), "`az`"),
        ("segments", SEGMENT.format(row='{ from = 5, to = 5, as = "XPN" }'), "`to`"),
        ("segments", SEGMENT.format(row='{ from = 5, to = "x", with = "6" }'), "`with`"),
        ("segments", SEGMENT.format(row='{ from = 5, to = "x", fill = 1 }'), "`fill`"),
        ("segments", SEGMENT.format(row='{ from = 5, to = "name" }'), "`as`"),
        ("segments", SEGMENT.format(row='{ from = 5, to = "name", as = "ODD" }'), "ODD"),
        ("segments", SEGMENT.format(row='{ from = 5, to = "a b", as = "XPN" }'), "a b"),
        ("segments", SEGMENT.format(row='{ from = 5, to = "a[].b", as = "XPN" }'), "a[].b"),
        ("segments", SEGMENT.format(row='{ from = 5, to = "a[0]", as = "XPN" }'), "a[0]"),
        ("segments", SEGMENT.format(row='{ from = 5, to = "a", as = "code" }'), ".csv"),
        (
            "segments",
            SEGMENT.format(row='{ from = 5, to = "a", as = "XPN", when = "PID 5" }'),
            "PID 5",
        ),
        ("segments", '["PID[Patient]"]\nscope = "odd"', "`scope`"),
        ("segments", '["PID[Patient]"]\nslot = "odd"', "`slot`"),
        ("segments", '["PID[Patient]"]\nneeds = "odd"', "`needs`"),
        ("segments", '["PID[Patient]"]\nignored = ["odd"]', "`ignored`"),
        ("segments", '["PID[Patient]"]\nrows = 5', "`rows`"),
        ("segments", '["PID[Patient]"]\ncolour = 5', "`colour`"),
        ("resources", RULE + 'mode = "odd"', "`mode`"),
        ("resources", RULE + 'colour = "odd"', "`colour`"),
        ("resources", RULE + 'when = "no condition"', "no condition"),
        ("resources", '[patient]\ntype = "Patient"', "`parts`"),
        ("resources", '[patient]\nlike = "nobody"', "`like`"),
        ("resources", RULE.replace("PID[", "PV1["), "PV1[Patient]"),
        ("resources", RULE + 'at = ["5"]', "`at`"),
        ("resources", RULE + 'lifecycle = "odd"', "`lifecycle`"),
        ("messages", MESSAGE.replace('"patient"', '"nobody"'), "nobody"),
        ("messages", MESSAGE + "colour = 1", "`colour`"),
        ("messages", MESSAGE + "[ADT.groups]\norder = { colour = 1 }", "`colour`"),
        ("datatypes", "NM = 5", "NM"),
        ("datatypes", 'NM = { as = "quantity" }', "`element`"),
    ],
)
def test_a_fault_is_named_with_its_place(folder: Path, kind: str, text: str, named: str):
    write(folder, kind, text)
    with pytest.raises(HieError) as caught:
        Mapper(load_maps(folder))
    assert caught.value.category is Category.INVALID
    assert named in caught.value.text


def test_every_rule_refers_to_rules_that_some_message_has():
    for message in maps().messages:
        names = {rule.name for rule in message.resources}
        for rule in message.resources:
            assert set(rule.requires) <= names, (message.name, rule.name)


def test_every_segment_map_is_part_of_some_rule():
    used = {part for m in maps().messages for rule in m.resources for part in rule.parts}
    assert set(maps().segments) == used


def test_every_message_says_what_the_hub_reads_of_its_header():
    for message in maps().messages:
        assert {("MSH", n) for n in (7, 9, 10, 12)} <= message.read


@pytest.mark.parametrize(
    ("kind", "text", "named"),
    [
        ("segments", SEGMENT.format(row='{ from = 5, to = "name[]", as = "XPN" }'), "PID[Patient]"),
        ("resources", RULE, "patient"),
        ("messages", MESSAGE.replace("[ADT]", "[ADT_OTHER]"), "ADT^A31"),
    ],
)
def test_what_is_named_twice_is_a_fault_and_not_overridden(folder: Path, kind, text, named):
    (folder / "hl7v2" / kind / "y.toml").write_text(text)
    with pytest.raises(HieError) as caught:
        Mapper(load_maps(folder))
    assert caught.value.category is Category.INVALID
    assert named in caught.value.text
