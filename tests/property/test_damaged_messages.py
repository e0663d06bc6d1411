"""Whatever a message of a feed leaves out or mixes up, what is made of it is valid R4.

Each is a reviewed message with segments lost or doubled and fields lost, filled with nonsense or
with what belongs elsewhere; the seed is fixed.
"""

import os
import random
from pathlib import Path

import pytest

from adapters.hl7v2 import er7
from hie.kernel.envelope import Draft
from hie.kernel.ids import MessageId
from tests.support.fhir_constraints import breaches
from tests.support.fhir_r4 import faults_of
from tests.support.mapping import GENERAL, NOWHERE, RECEIVED_US, mapper
from tests.support.tree import ROOT

FEEDS = ("rde", "omp", "rds", "ras", "siu", "dft", "bar", "ppr", "ref", "ack")
MESSAGES = [
    path
    for path in sorted((ROOT / "tests/golden/hl7v2").glob("*.hl7"))
    if path.stem.split("_")[0] in FEEDS
]
COUNT = 100 if os.environ.get("HIE_TEST_LONG") == "1" else 4
NONSENSE = (
    *("", '""', "x", "9", "-1", "20260101", "202601010101", "a^b^c", "^^x", "1&2^3", "~", "D"),
    *("E~F", "0", "99999999999999", " ", "T^T&T", "1^furlong", "Q6H PRN"),
)


def damaged(path: Path, chance: random.Random) -> bytes:
    header, *segments = path.read_text(encoding="utf-8").strip("\r").split("\r")
    values = [value for segment in segments for value in segment.split("|")[1:]]
    kept = [header]
    for segment in segments:
        if chance.random() < 0.1 and not segment.startswith("PID"):
            continue
        name, *fields = segment.split("|")
        kept.append("|".join([name, *(_spoilt(f, values, chance) for f in fields)]))
        if chance.random() < 0.05:
            kept.append(kept[-1])
    return "\r".join(kept).encode()


def _spoilt(field: str, values: list[str], chance: random.Random) -> str:
    what = chance.random()
    if what < 0.12:
        return ""
    if what < 0.18:
        return chance.choice(NONSENSE)
    return chance.choice(values) if what < 0.28 else field


def drafts_of(payload: bytes, chance: random.Random) -> list[Draft]:
    source = chance.choice((GENERAL, NOWHERE))
    submission = mapper().map(
        er7.parse(payload), source, message_id=MessageId(1), received_us=RECEIVED_US
    )
    # An update is laid over what is stored and is whole only then.
    return [d for d in submission.drafts if not d.name.endswith("-update")]


@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: path.stem)
def test_a_damaged_message_makes_valid_resources_only(path: Path):
    chance = random.Random(path.stem)
    for _ in range(COUNT):
        payload = damaged(path, chance)
        for draft in drafts_of(payload, chance):
            found = [*faults_of(draft.resource), *breaches(draft.resource)]
            assert found == [], payload


@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: path.stem)
def test_a_reviewed_message_keeps_the_constraints(path: Path):
    drafts = drafts_of(path.read_bytes(), random.Random(1))
    assert [breach for d in drafts for breach in breaches(d.resource)] == []
