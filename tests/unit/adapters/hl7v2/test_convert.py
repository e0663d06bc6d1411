"""`hie convert` and `hie lint`: a line for every message, whatever is in it."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from fhir.resources.R4B.bundle import Bundle

from adapters.hl7v2.conform import Conformer
from adapters.hl7v2.convert import (
    Outcome,
    convert,
    convert_files,
    lint_files,
    split_messages,
    to_json,
)
from adapters.hl7v2.rules import load_rules
from tests.support.mapping import GENERAL, PID, mapper, message_of
from tests.support.tree import ROOT

A31 = message_of(PID, trigger="ADT^A31").encode()
A08 = message_of(PID, "PV1|1|O||||||||||||||||V1", trigger="ADT^A08").encode()
A02 = message_of(PID, trigger="ADT^Q99").encode()
RUBBISH = b"GET / HTTP/1.1"
T02 = message_of(
    PID, "TXA|1|DS||||||||||D1", "OBX|1|TX|A^A^L||text||||||F", trigger="MDM^T02"
).encode()


def source_of(_message):
    return GENERAL


def converted(payload: bytes):
    return convert(payload, mapper(), source_of)


def kinds(bundle) -> list[str]:
    return [entry["resource"]["resourceType"] for entry in bundle["entry"]]


@pytest.mark.parametrize(
    ("payload", "outcome", "first"),
    [
        (A31, Outcome.MAPPED, "Patient"),
        (A02, Outcome.KEPT, "MessageHeader"),
        (RUBBISH, Outcome.UNREADABLE, "MessageHeader"),
        (b"", Outcome.UNREADABLE, "MessageHeader"),
    ],
)
def test_every_message_becomes_a_valid_bundle(payload, outcome, first):
    found = converted(payload)
    assert found.outcome is outcome
    assert found.bundle["type"] == "collection"
    assert kinds(found.bundle)[0] == first
    if outcome is not Outcome.MAPPED:
        assert kinds(found.bundle) == ["MessageHeader", "OperationOutcome"]
    Bundle.model_validate_json(to_json(found.bundle))


def test_links_lead_to_entries_references_and_addresses_alike():
    found = converted(T02)
    addresses = {entry["fullUrl"] for entry in found.bundle["entry"]}
    text = to_json(found.bundle).decode()
    assert "urn:hie:binary" not in text
    assert "urn:hie:patient" not in text
    document = next(
        e["resource"] for e in found.bundle["entry"] if "masterIdentifier" in e["resource"]
    )
    assert document["subject"]["reference"] in addresses
    assert document["content"][0]["attachment"]["url"] in addresses


def test_the_same_message_has_the_same_addresses():
    assert converted(A31).bundle == converted(A31).bundle
    assert converted(A31).bundle != converted(A08).bundle


def test_what_would_be_stored_first_is_one_entry():
    found = converted(A08)
    (visit,) = [
        e["resource"] for e in found.bundle["entry"] if e["resource"]["resourceType"] == "Encounter"
    ]
    assert visit["status"] == "unknown"


def test_a_cleared_element_is_left_out():
    payload = message_of(f'{PID}|||||""', trigger="ADT^A31").encode()
    assert b"null" not in to_json(converted(payload).bundle)


def test_numbers_are_printed_as_they_were_written():
    assert to_json({"a": Decimal("72.50"), "b": Decimal("0.0000001")}) == (
        b'{"a":72.50,"b":0.0000001}'
    )
    with pytest.raises(TypeError):
        to_json({"a": object()})


def test_the_outcome_says_why_nothing_was_made():
    issue = converted(A02).bundle["entry"][1]["resource"]["issue"][0]
    assert issue["code"] == "not-supported"
    assert issue["diagnostics"].startswith("MSH-9: ")


def test_a_line_a_message_in_the_order_of_the_files():
    two = A31 + A02.replace(b"\r", b"\n")
    report = convert_files([("two.hl7", two), ("-", RUBBISH)], mapper(), source_of)
    lines = [json.loads(line) for line in report.output]
    assert [kinds(line)[0] for line in lines] == ["Patient", "MessageHeader", "MessageHeader"]
    assert any(remark.startswith("two.hl7[1]: ADT^A31: Patient 1") for remark in report.remarks)
    assert any(remark.startswith("two.hl7[2]: ADT^Q99: no map") for remark in report.remarks)
    assert report.remarks[-1] == "-: cannot be read"


@pytest.mark.parametrize(
    ("payloads", "code"),
    [
        ([A31], 0),
        ([A31, A02], 3),
        ([A02, RUBBISH], 1),
        ([RUBBISH, A02], 1),
        ([b""], 1),
        ([], 0),
    ],
)
def test_the_exit_code_is_that_of_the_worst(payloads, code):
    files = [(str(n), payload) for n, payload in enumerate(payloads)]
    assert convert_files(files, mapper(), source_of).exit_code == code


def test_the_remarks_count_what_no_map_reads():
    payload = message_of(
        f"{PID}{'|' * 19}yes", "UB2|1|x", "ZPD|1", "ZPD|2", trigger="ADT^A31"
    ).encode()
    report = convert_files([("f", payload)], mapper(), source_of)
    assert report.remarks[-1].endswith("not mapped: PID-27, UB2 (all 2), ZPD (all 2)")


def test_a_source_with_a_charset_is_read_with_it():
    payload = message_of(PID.replace("JANE", "ZOE"), trigger="ADT^A31").encode()
    latin = payload.replace(b"ZOE", b"ZO\xcb")
    found = convert(latin, mapper(), lambda _: replace(GENERAL, charset="8859/1"))
    assert found.bundle["entry"][0]["resource"]["name"][0]["given"] == ["ZOË"]


def lint(*payloads: bytes, is_deep: bool = False):
    conformer = Conformer(load_rules(ROOT / "config" / "hl7v2" / "conformance.toml"))
    files = [(f"f{n}", payload) for n, payload in enumerate(payloads)]
    return lint_files(files, mapper(), conformer, source_of, is_deep=is_deep)


def test_a_merge_is_said_though_no_resource_shows_it():
    merge = message_of(PID, "MRG|P9^^^GH^MR", trigger="ADT^A40")
    assert "; merges and moves: patient 1; coverage" in lint(merge.encode()).output[-1]


def test_lint_prints_place_weight_and_words_and_then_the_coverage():
    bad = message_of(PID.replace("19800102", "19801345").replace("|F", "|Q9"), trigger="ADT^A31")
    report = lint(bad.encode())
    assert any(line.startswith("f0: PID-7 warning datatype: ") for line in report.output)
    assert any(line.startswith("f0: PID-8.1 warning unmapped-code: ") for line in report.output)
    assert "coverage" in report.output[-1]
    assert "Q9" not in "\n".join(report.output)


def test_lint_says_which_occurrence_is_meant():
    report = lint(message_of(PID, "NK1|1|A", "NK1|2|B||||||19801345", trigger="ADT^A31").encode())
    assert any("NK1(2)-8 warning datatype" in line for line in report.output)


@pytest.mark.parametrize(("payload", "code"), [(RUBBISH, 1), (A31, 0), (A02, 0)])
def test_lint_fails_for_errors_and_for_what_cannot_be_read(payload, code):
    report = lint(payload)
    assert report.exit_code == code or "error" in "".join(report.output)


def test_lint_names_a_remark_of_reading_once():
    report = lint(b"\xef\xbb\xbf" + A31)
    assert sum("byte-order-mark" in line for line in report.output) == 1


def test_a_deep_lint_asks_hl7apy_too():
    report = lint(message_of("PV1|1|I", trigger="ADT^A31").encode(), RUBBISH, is_deep=True)
    assert any(": hl7apy: " in line for line in report.output)


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
def test_messages_of_a_file_are_split_at_any_line_end(end):
    content = (A31 + A02).replace(b"\r", end)
    assert [m[:4] for m in split_messages(content)] == [b"MSH|", b"MSH|"]
