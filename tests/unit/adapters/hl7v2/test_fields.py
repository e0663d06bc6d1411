"""Chapter 2A: every kind of value in every field, by one pattern and by taking it apart."""

import os
import random
import time
from pathlib import Path

import pytest

from adapters.hl7v2 import er7
from adapters.hl7v2.conform import Conformer
from adapters.hl7v2.escape import Delimiters
from adapters.hl7v2.rules import load_rules
from adapters.hl7v2.standard import VERSIONS

RULES = load_rules(Path(__file__).parents[4] / "config" / "hl7v2" / "conformance.toml")
IS_LONG = os.environ.get("HIE_TEST_LONG") == "1"
VALUES = (
    *("", '""', "1", "x", "20260131", "20260230", "2026013112", "72.5", "A", "MR", "ISO", "F"),
    *("10^a^b", "a&b&ISO", "a^b^c^d&e&ISO", "^", "~", "a~b", "x" * 25, "x" * 210, "~~", "&"),
    *("^^^H&1&X^MR", "20260101^M", "N", "L", "^PRN^PH", "4^x", "+1"),
)


@pytest.fixture(scope="module")
def conformer() -> Conformer:
    return Conformer(RULES)


def first(raw: str) -> er7.Segment:
    """A line as the last segment of a message."""
    return er7.parse(f"MSH|^~\\&|\r{raw}\r".encode()).segments[-1]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_segment_and_structure_of_every_version_can_be_compiled(
    conformer: Conformer, version: str
):
    standard = conformer.standard(version)
    began = time.process_time()
    assert all(standard.check(name) for name in standard.segment_names)
    # A second of 180 segments; nested patterns took a hundred times as long.
    assert time.process_time() - began < 15
    assert all(standard.structure(name) for name in standard.structure_names)


@pytest.mark.parametrize("version", VERSIONS if IS_LONG else ("2.1", "2.3", "2.5.1", "2.8.2"))
def test_what_passes_at_first_sight_has_no_trouble_when_taken_apart(
    conformer: Conformer, version: str
):
    standard, dice = conformer.standard(version), random.Random(version)
    for name in sorted(standard.segment_names - {"MSH", "BHS", "FHS"}):
        check = standard.check(name)
        assert check is not None
        for _ in range(60 if IS_LONG else 12):
            sent = [dice.choice(VALUES) if dice.random() < 0.35 else "" for _ in range(24)]
            segment = first("|".join([name, *sent[: dice.randrange(2, 24)]]))
            slow = [*check._searched(segment.fields, Delimiters())]
            assert bool(check.troubles(segment, Delimiters())) is bool(slow), segment.raw


@pytest.mark.parametrize(
    "field",
    [
        "1" * 200_000 + "x",
        "~" * 200_000,
        "^" * 200_000,
        "&" * 200_000,
        "^&" * 100_000,
        '""' * 100_000,
        "2026" * 50_000,
        ".1" * 100_000,
        "x" * 200_000,
    ],
    ids=lambda field: field[:2],
)
def test_a_field_of_any_content_is_judged_in_linear_time(conformer: Conformer, field: str):
    standard = conformer.standard("2.5.1")
    for name in ("PID", "OBX", "IN2", "OBR", "PV1", "NTE"):
        check = standard.check(name)
        assert check is not None
        check.troubles(first(f"{name}|1"), Delimiters())  # compiled
        began = time.process_time()
        for n in (1, 3, 5, 7, 12):
            line = "|".join([name, *[field if k == n else "" for k in range(1, 60)]])
            check.troubles(first(line), Delimiters())
        assert time.process_time() - began < 3


@pytest.mark.parametrize(
    ("version", "line", "expected"),
    [
        ("2.5.1", "PID|1||1||N", []),
        ("2.5.1", "PID|1||1^^^A&1.2.3&XYZ||N", [("table-value", "PID-3.4.3")]),
        ("2.5.1", "PID|1||1^^^A^ZZZ||N", [("table-value", "PID-3.5")]),
        ("2.5.1", "PID|1||1^^^A^MR^^2026||N", []),
        ("2.5.1", "PID|1||1^^^A^MR^^2026-01||N", [("datatype", "PID-3.7")]),
        ("2.8.2", "PID|1||^^^A^MR||N", [("required-component", "PID-3.1")]),
        ("2.8.2", "PID|1||1^^^A||N", [("required-component", "PID-3.5")]),
        ("2.8.2", "PID|1|9|1^^^A^MR|8|N", [("field-withdrawn", "PID-2")]),
        ("2.5.1", "PID|1||1||N||||||||||||||" + "x" * 200, [("field-length", "PID-19")]),
        ("2.8.2", "NTE|1||" + "x" * 70_000, []),
        ("2.5.1", "NTE|1||" + "x" * 70_000, [("field-length", "NTE-3")]),
        ("2.5.1", "NTE|1||a & b ^ c", []),
        ("2.6", "ARV||A|DEM|X~Y~Z", []),
        ("2.5.1", "OBX|1|SN|1||>^x||||||F", [("datatype", "OBX-5.2")]),
        ("2.5.1", "OBX|1|SN|1||>^100||||||F", []),
        ("2.5.1", "OBX|1|DR|1||2026^x||||||F", [("datatype", "OBX-5.2")]),
        ("2.5.1", "OBX|1|ED|1||^^^Base64^" + "A" * 70_000 + "||||||F", []),
        ("2.3", "PID|1||1||N||||||||||||||||X", []),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_a_value_is_remarked_where_it_stands(
    conformer: Conformer, version: str, line: str, expected: list[tuple[str, str]]
):
    check = conformer.standard(version).check(line[:3])
    assert check is not None
    found = [
        (
            t.rule,
            f"{line[:3]}-" + ".".join(str(n) for n in (t.field, t.component, t.subcomponent) if n),
        )
        for t in check.troubles(first(line), Delimiters())
    ]
    assert found == expected


def test_other_separators_are_judged_as_the_standard_ones(conformer: Conformer):
    check = conformer.standard("2.5.1").check("PID")
    marks = Delimiters(field="#", component="*", repetition="!", escape="@", subcomponent="%")
    segment = er7.parse(b"MSH#*!@%#\rPID#1##1***A*ZZZ!2##N##2026x\r").segments[-1]
    assert check is not None
    found = [(t.rule, t.field, t.component) for t in check.troubles(segment, marks)]
    assert found == [("table-value", 3, 5), ("datatype", 7, 0)]
