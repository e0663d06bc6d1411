"""One made-up message per supported trigger, and everything it maps to."""

import re
from pathlib import Path

import orjson
import pytest

from adapters.hl7v2 import er7
from adapters.hl7v2.convert import to_json
from adapters.hl7v2.coverage import coverage
from hie.kernel.envelope import Submission
from hie.kernel.ids import MessageId
from tests.support.fhir_r4 import faults_of
from tests.support.mapping import GENERAL, RECEIVED_US, mapper

FOLDER = Path(__file__).parent / "hl7v2"
MESSAGES = sorted(FOLDER.glob("*.hl7"))


def name_of(path: Path) -> str:
    return path.stem


def mapped(path: Path) -> tuple[er7.Message, Submission]:
    message = er7.parse(path.read_bytes())
    return message, mapper().map(message, GENERAL, message_id=MessageId(7), received_us=RECEIVED_US)


def written(message: er7.Message, submission: Submission) -> bytes:
    """A submission as people review it: indented, numbers as the sender wrote them."""
    value = {
        "subject": submission.subject,
        "drafts": [
            {"name": d.name, "mode": d.mode, "key": d.key, "resource": d.resource}
            for d in submission.drafts
        ],
        "merges": [
            [f"{i.system}|{i.value}" for i in (merge.survivor, merge.retired)]
            for merge in submission.merges
        ],
        "findings": [f"{f.place} {f.severity} {f.rule}: {f.text}" for f in submission.findings],
        "coverage": coverage(message, submission.unmapped).percent,
        "unmapped": submission.unmapped,
    }
    return indented(to_json(value)) + b"\n"


def indented(compact: bytes) -> bytes:
    """The same JSON on many lines, every character of its values kept."""
    text = compact.decode()
    out: list[str] = []
    depth, begin = 0, 0
    for mark in re.finditer(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]', text):
        out.append(text[begin : mark.start()])
        begin = mark.end()
        char = mark[0]
        if char in "}]":
            depth -= 1
            out.append("\n" + " " * depth if text[mark.start() - 1] not in "{[" else "")
        depth += char in "{["
        out.append(": " if char == ":" else char)
        if char in "{[," and text[begin] not in "}]":
            out.append("\n" + " " * depth)
    return "".join(out).encode()


def test_there_is_a_message_for_every_supported_trigger():
    triggers = {mapped(path)[0].trigger for path in MESSAGES}
    assert triggers == mapper().triggers - {"ORU", "ORM"}  # how v2.1 wrote R01 and O01


@pytest.mark.parametrize("path", MESSAGES, ids=name_of)
def test_a_message_maps_to_what_was_reviewed(path: Path, is_golden_update: bool):
    expected = path.with_suffix(".fhir.json")
    found = written(*mapped(path))
    assert orjson.loads(found)
    if is_golden_update:
        expected.write_bytes(found)
    assert found == expected.read_bytes()


@pytest.mark.parametrize("path", MESSAGES, ids=name_of)
def test_every_resource_is_valid_r4(path: Path):
    _, submission = mapped(path)
    complete = [d for d in submission.drafts if not d.name.endswith("-update")]
    assert [fault for d in complete for fault in faults_of(d.resource)] == []


@pytest.mark.parametrize("path", MESSAGES, ids=name_of)
def test_every_link_leads_to_a_draft(path: Path):
    _, submission = mapped(path)
    names = {f"urn:hie:{d.name}" for d in submission.drafts}
    assert {link for d in submission.drafts for link in links_of(d.resource)} <= names


def links_of(node: object) -> set[str]:
    if isinstance(node, dict):
        own = {
            child
            for name, child in node.items()
            if name in ("reference", "url") and re.fullmatch(r"urn:hie:[^:]+", str(child))
        }
        return own.union(*(links_of(child) for child in node.values()))
    if isinstance(node, list):
        return set().union(*(links_of(child) for child in node))
    return set()
