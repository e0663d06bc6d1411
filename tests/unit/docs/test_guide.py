"""Coverage of the published guide: every row is mapped or explained, nothing is explained twice."""

from collections import Counter
from functools import cache

import pytest

from docs.guide.claims import claims_of
from docs.guide.judge import message_rows, reference_rows, segment_rows
from docs.guide.probe import Prober
from docs.guide.rows import Fate, GuideRow, Stated, guide_codes, guide_rows, path_of
from docs.guide.vocabulary import code_rows
from tests.support.mapping import maps

KINDS = ("segments", "datatypes", "messages", "references", "codes")


@cache
def judged():
    stated = Stated.read()
    claims = claims_of(maps())
    rows = {
        "segments": segment_rows(claims, stated),
        "datatypes": Prober(maps()).judge(stated),
        "messages": message_rows(claims, stated),
        "references": reference_rows(claims, stated),
        "codes": code_rows(maps().terminology, stated),
    }
    return stated, rows


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_of_the_guide_is_mapped_or_explained(kind):
    _, rows = judged()
    unexplained = [
        f"{row.map} {row.code}" if kind == "codes" else f"{row.row.map}: {row.row.text}"
        for row in rows[kind]
        if row.fate in (Fate.OPEN, Fate.ELSEWHERE)
    ]
    assert unexplained == [], "map it, or say why not in docs/guide/stated.toml"


def test_no_statement_is_about_a_row_that_is_mapped_or_is_not_there():
    stated, _ = judged()
    assert stated.needless() == []


def test_every_reason_is_a_sentence_of_some_length():
    stated, _ = judged()
    for section, owners in stated.content.items():
        for table in owners.values() if section != "tables" else ():
            for said in table.values():
                fate, _, reason = said.partition(": ")
                assert Fate(fate) in (Fate.PUT_RIGHT, Fate.LEFT_OUT)
                assert len(reason) > 15


def test_most_rows_are_mapped():
    _, rows = judged()
    share = {kind: Counter(row.fate for row in rows[kind]) for kind in KINDS}
    for kind, least in (("segments", 0.65), ("datatypes", 0.5), ("messages", 0.7), ("codes", 0.8)):
        counts = share[kind]
        assert counts[Fate.MAPPED] / counts.total() >= least, kind


def test_the_guide_is_there_whole():
    counts = {kind: len(guide_rows(kind)) for kind in ("segments", "datatypes", "messages")}
    assert counts == {"segments": 1097, "datatypes": 647, "messages": 402}
    assert len(guide_codes()) == 2324


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("participant[1].actor(Practitioner)", ("participant", "actor")),
        ("occurneceTiming.boundsPeriod.end", ("occurrence[x]", "bounds[x]", "end")),
        ("[1].family", ("family",)),
        ("_birthDate.extension[1].valueDateTime", ("birthDate", "extension", "value[x]")),
        ("code[1].text assign: x", ("code", "text")),
    ],
)
def test_a_path_of_the_guide_is_read_as_it_is_meant(text, path):
    assert path_of(text) == path


def test_a_row_that_only_our_other_extension_matches_is_not_mapped():
    claims = claims_of(maps())
    row = GuideRow(
        map="PID[Patient]",
        place="PID-17",
        to="extension[9].valueCodeableConcept",
        url="http://hl7.org/fhir/StructureDefinition/patient-other",
    )
    own = claims.reads["PID", 17]
    assert {claim.url for claim in own} == {
        "http://hl7.org/fhir/StructureDefinition/patient-religion"
    }
    assert row.url not in {claim.url for claim in own}
