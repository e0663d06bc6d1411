"""Coverage in numbers: what a person and what a program is told."""

import json

from adapters.hl7v2.convert import coverage_files
from tests.support.mapping import GENERAL, MSH, PID, mapper

ADT = "\r".join((MSH.format(trigger="ADT^A01"), PID, "ZPD|1|x", "ZPD|2|y", "")).encode()
OTHER = "\r".join((MSH.format(trigger="XYZ^Z99"), PID, "")).encode()


def report_of(*contents: bytes, is_json: bool = False):
    files = [(f"m{n}.hl7", content) for n, content in enumerate(contents, start=1)]
    return coverage_files(files, mapper(), lambda _: GENERAL, is_json=is_json)


def test_each_message_and_all_together_are_counted():
    report = report_of(ADT, OTHER, is_json=True)
    one, other, total = (json.loads(line) for line in report.output)
    assert (one["name"], one["trigger"]) == ("m1.hl7", "ADT^A01")
    assert one["places"] == {"ZPD-1": 2, "ZPD-2": 2}
    assert one["kept"] == 4
    assert one["present"] == one["mapped"] + one["kept"]
    assert other["mapped"] == 0
    assert total["messages"] == 2
    for count in ("present", "mapped", "kept"):
        assert total[count] == one[count] + other[count]
    assert report.exit_code == 3  # one was kept whole


def test_a_reader_gets_a_table():
    report = report_of(ADT)
    head, line, total = report.output
    assert head.split() == ["message", "trigger", "present", "mapped", "kept", "%", "places"]
    assert line.endswith("ZPD-1 x2, ZPD-2 x2")
    assert total.startswith("total")
    assert "DOE" not in "".join(report.output)
    assert report.exit_code == 0


def test_what_cannot_be_read_counts_nothing():
    report = report_of(b"hello", is_json=True)
    assert json.loads(report.output[0])["present"] == 0
    assert report.exit_code == 1
