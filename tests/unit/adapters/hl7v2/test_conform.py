"""HL7 v2 chapters 2 to 16 as tables; hl7apy's own parser is the oracle where it is right."""

import random
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7v2 import conform, er7
from adapters.hl7v2.conform import Conformance, Conformer
from adapters.hl7v2.deep import deep_verdict
from adapters.hl7v2.rules import Rules, load_rules
from adapters.hl7v2.standard import VERSIONS, nearest_version
from adapters.hl7v2.structure import Group, Node, Structure
from adapters.sources import Source, adhoc_source
from hie.kernel.envelope import Finding, Severity
from hie.kernel.errors import Category, HieError
from tests.support.hl7_shapes import LINES, SHAPES, Shape

RULES = Path(__file__).parents[4] / "config" / "hl7v2" / "conformance.toml"


@pytest.fixture(scope="module")
def rules() -> Rules:
    return load_rules(RULES)


@pytest.fixture(scope="module")
def conformer(rules: Rules) -> Conformer:
    return Conformer(rules)


def source_with(**severities: Severity) -> Source:
    ordinary = adhoc_source("FEED", "HOSP")
    return Source(
        id=ordinary.id,
        name=ordinary.name,
        organization=ordinary.organization,
        own_authority=ordinary.own_authority,
        severities={name.replace("_", "-"): severity for name, severity in severities.items()},
    )


def checked(conformer: Conformer, *lines: str, **header: str) -> Conformance:
    kind, version = header.get("kind", "ADT^A01^ADT_A01"), header.get("version", "2.5.1")
    first = f"MSH|^~\\&|FEED|HOSP|HUB|STATE|20260131||{kind}|C-1|P|{version}"
    return conformer.conform(er7.parse("".join(f"{line}\r" for line in (first, *lines)).encode()))


def remarks(conformance: Conformance) -> list[tuple[str, str]]:
    return [(found.rule, found.place) for found in conformance.findings]


def tree(group: Group) -> list[object]:
    return [
        {child.name: tree(child)} if isinstance(child, Group) else child.name
        for child in group.children
    ]


EVN, PID, PV1 = LINES["EVN"], LINES["PID"], LINES["PV1"]


# --- structures -----------------------------------------------------------------------------------


def test_segments_come_in_groups(conformer: Conformer):
    shape = Shape("ORU^R01", "PID NTE PV1 ORC OBR OBX NTE OBX SPM OBR OBX ZPI", "2.5.1", end=b"\r")
    found = conformer.conform(er7.parse(shape.payload()))
    assert found.structure == found.groups.name == "ORU_R01"
    assert tree(found.groups) == [
        "MSH",
        {
            "PATIENT_RESULT": [
                {"PATIENT": ["PID", "NTE", {"VISIT": ["PV1"]}]},
                {
                    "ORDER_OBSERVATION": [
                        "ORC",
                        "OBR",
                        {"OBSERVATION": ["OBX", "NTE"]},
                        {"OBSERVATION": ["OBX"]},
                        {"SPECIMEN": ["SPM"]},
                    ]
                },
                {"ORDER_OBSERVATION": ["OBR", {"OBSERVATION": ["OBX", "ZPI"]}]},
            ]
        },
    ]
    assert found.findings == ()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((EVN, PID, PV1), []),
        ((PID, PV1), [("segment-required", "EVN")]),
        ((EVN, PID), [("segment-required", "PV1")]),
        ((EVN,), [("segment-required", "PID"), ("segment-required", "PV1")]),
        ((PID, EVN, PV1), [("segment-order", "EVN")]),
        ((EVN, PV1, PID), [("segment-order", "PID")]),
        ((EVN, PID, LINES["DG1"], PV1), [("segment-order", "PV1")]),
        ((EVN, PID, PID, PV1), [("segment-repeats", "PID")]),
        ((EVN, PID, PV1, "TXA|1|CN|TX|||||||||D|||||AU"), [("segment-unexpected", "TXA")]),
        ((EVN, PID, PV1, "ABC|1"), [("segment-unexpected", "ABC")]),
        ((EVN, PID, PV1, "rubbish"), [("segment-unreadable", "")]),
        (("ZAA|1", EVN, "ZBB|1", PID, PV1, "ZCC|1"), []),
    ],
)
def test_a_departure_from_the_structure_is_one_remark(
    conformer: Conformer, lines: tuple[str, ...], expected: list[tuple[str, str]]
):
    assert remarks(checked(conformer, *lines)) == expected


def test_a_segment_out_of_order_still_stands_in_its_group(conformer: Conformer):
    lines = [LINES[name] for name in ("PID", "OBR", "OBX", "PV1", "OBX")]
    found = checked(conformer, *lines, kind="ORU^R01^ORU_R01")
    assert remarks(found) == [("segment-order", "PV1")]
    assert tree(found.groups)[1] == {
        "PATIENT_RESULT": [
            {"PATIENT": ["PID", {"VISIT": ["PV1"]}]},
            {"ORDER_OBSERVATION": ["OBR", {"OBSERVATION": ["OBX"]}, {"OBSERVATION": ["OBX"]}]},
        ]
    }


def test_a_group_may_begin_again_without_its_first_segment(conformer: Conformer):
    rxa = LINES["RXA"]
    found = checked(conformer, PID, LINES["ORC"], rxa, rxa, kind="VXU^V04^VXU_V04")
    assert remarks(found) == [("segment-required", "ORC")]
    assert tree(found.groups)[2:] == [{"ORDER": ["ORC", "RXA"]}, {"ORDER": ["RXA"]}]


def test_a_segment_may_come_so_often_and_no_more():
    structure = Structure("X", [Node("MSH", 1, 1), Node("NTE", 0, 2), Node("PID", 1, 1)])
    assert structure.match(segments(["MSH", "NTE", "NTE", "PID"])).faults == ()
    (fault,) = structure.match(segments(["MSH", "NTE", "NTE", "NTE", "PID"])).faults
    assert (fault.rule, fault.segment, fault.sequence) == ("segment-repeats", "NTE", 3)


def test_a_type_of_any_length_is_judged(conformer: Conformer):
    known = len(conformer._chosen)
    assert checked(conformer, PID, kind="ADT^A01^" + "X" * 5_000).structure == "ADT_A01"
    assert len(conformer._chosen) == known


def test_a_report_without_its_header_keeps_its_observations_in_their_group(conformer: Conformer):
    found = checked(conformer, PID, LINES["OBX"], LINES["OBX"], kind="ORU^R01^ORU_R01")
    assert remarks(found) == [("segment-required", "OBR")]
    assert tree(found.groups)[1] == {
        "PATIENT_RESULT": [
            {"PATIENT": ["PID"]},
            {"ORDER_OBSERVATION": [{"OBSERVATION": ["OBX"]}, {"OBSERVATION": ["OBX"]}]},
        ]
    }


def structure_of(conformer: Conformer, version: str, name: str) -> Structure:
    found = conformer.standard(version).structure(name)
    assert found is not None
    return found


def sentence(node: Node, dice: random.Random, names: Mapping[str, str] | None = None) -> list[str]:
    """A random sequence of segments that the structure allows."""
    chosen = [dice.choice(node.children)] if node.is_choice else node.children
    found: list[str] = []
    for child in chosen:
        times = max(child.least, int(node.is_choice)) + (dice.random() < 0.5)
        if child.most == -1:
            times += dice.random() < 0.3
        elif times > child.most:
            times = child.most
        for _ in range(times):
            if not child.is_segment:
                found += sentence(child, dice, names)
            elif names is None or child.name in names or child.name == "MSH":
                found.append(child.name)
    return found


def segments(names: list[str]) -> tuple[er7.Segment, ...]:
    lines = "".join(f"{name}|1\r" for name in names[1:])
    return er7.parse(("MSH|^~\\&|\r" + lines).encode()).segments


MAPPED = (
    *("ADT_A01", "ADT_A02", "ADT_A03", "ADT_A05", "ADT_A06", "ADT_A09", "ADT_A21", "ADT_A39"),
    *("ORU_R01", "VXU_V04", "RDE_O11", "RDS_O13", "MDM_T02", "SIU_S12", "DFT_P03"),
)


@pytest.mark.parametrize("version", ["2.3.1", "2.5.1", "2.8.2"])
@pytest.mark.parametrize("name", MAPPED)
def test_every_sentence_of_a_structure_is_matched_without_remark(
    conformer: Conformer, version: str, name: str
):
    structure = conformer.standard(version).structure(name)
    if structure is None:
        assert version == "2.3.1"  # came with a later version
        return
    for seed in range(40):
        names = sentence(structure._root, random.Random(seed))
        match = structure.match(segments(names))
        assert match.faults == (), names
        flat = [segment.name for segment in leaves(match.groups)]
        assert flat == names


def leaves(group: Group) -> list[er7.Segment]:
    return [
        leaf
        for child in group.children
        for leaf in (leaves(child) if isinstance(child, Group) else [child])
    ]


@given(seed=st.integers(), shuffles=st.integers(1, 8))
def test_whatever_the_order_no_segment_is_lost(conformer: Conformer, seed: int, shuffles: int):
    dice = random.Random(seed)
    structure = structure_of(conformer, "2.5.1", dice.choice(MAPPED))
    names = sentence(structure._root, dice)
    for _ in range(shuffles):
        place = dice.randrange(1, len(names) + 1)
        names.insert(place, dice.choice([*LINES, "ZZZ", "QQQ"]))
    sent = segments(names)
    match = structure.match(sent)
    assert sorted(leaf.position for leaf in leaves(match.groups)) == list(range(len(sent)))


MISSING = re.compile(r"Missing required child \S+\.([A-Z][A-Z0-9]{2}|[A-Z]{3}_[A-Z0-9]{3}_\w+)$")


@pytest.mark.parametrize(
    ("name", "trigger"),
    [
        ("ADT_A01", "ADT^A01"),
        ("ADT_A03", "ADT^A03"),
        ("ADT_A05", "ADT^A31"),
        ("ADT_A39", "ADT^A40"),
        ("ORU_R01", "ORU^R01"),
        ("VXU_V04", "VXU^V04"),
        ("RDS_O13", "RDS^O13"),
        ("MDM_T02", "MDM^T02"),
    ],
)
def test_hl7apy_misses_the_same_segments(conformer: Conformer, name: str, trigger: str):
    structure = structure_of(conformer, "2.5.1", name)
    for seed in range(6):
        dice = random.Random(seed)
        names = sentence(structure._root, dice, LINES)[1:]
        if seed % 2 and names:
            names.pop(dice.randrange(len(names)))
        payload = Shape(trigger, " ".join(names), "2.5.1", name, end=b"\r").payload()
        ours = conformer.conform(er7.parse(payload)).findings
        theirs = deep_verdict(payload).problems
        assert any(found.rule == "segment-required" for found in ours) == any(
            MISSING.search(problem) for problem in theirs
        ), names


VALID = (
    Shape("ADT^A01", "EVN PID PV1", "2.5.1"),
    Shape("ADT^A01", "SFT EVN PID PD1 NK1 PV1 PV2 DB1 OBX AL1 DG1 PR1 GT1 IN1 IN2", "2.5.1"),
    Shape("ADT^A03", "EVN PID PV1 DG1", "2.5.1"),
    Shape("ADT^A08", "EVN PID PV1 OBX OBX AL1 AL1", "2.5.1", "ADT_A01"),
    Shape("ADT^A31", "EVN PID PV1", "2.5.1", "ADT_A05"),
    Shape("ADT^A40", "EVN PID MRG", "2.5.1", "ADT_A39"),
    Shape("ORU^R01", "PID PV1 ORC OBR OBX NTE OBX SPM ORC OBR OBX", "2.5.1"),
    Shape("VXU^V04", "PID PD1 NK1 ORC RXA RXR OBX", "2.5.1"),
    Shape("RDS^O13", "PID PV1 ORC RXE TQ1 RXR RXD RXR", "2.5.1"),
)


@pytest.mark.parametrize("shape", VALID, ids=lambda shape: shape.name)
def test_what_hl7apy_finds_valid_has_no_remark(conformer: Conformer, shape: Shape):
    payload = shape.payload().replace(b"\n", b"\r")
    assert deep_verdict(payload).is_valid
    assert conformer.conform(er7.parse(payload)).findings == ()


@pytest.mark.parametrize(
    ("before", "after", "rule", "place"),
    [
        (b"Testperson^Ada^Q^^^^L", b"", "required-field", "PID-5"),
        (b"|I|3W", b"||3W", "required-field", "PV1-2"),
        (b"|19800229|", b"|1980-02-29|", "datatype", "PID-7"),
    ],
)
def test_what_we_remark_hl7apy_does_not_find_valid_or_cannot_see(
    conformer: Conformer, before: bytes, after: bytes, rule: str, place: str
):
    payload = VALID[0].payload().replace(before, after).replace(b"\n", b"\r")
    assert (rule, place) in remarks(conformer.conform(er7.parse(payload)))
    if rule == "required-field":
        assert not deep_verdict(payload).is_valid


def test_the_deep_verdict_quotes_no_value(conformer: Conformer):
    payload = VALID[0].payload().replace(b"|F||2106", b"|Secretvalue||2106")
    problems = " ".join(deep_verdict(payload).problems)
    assert "not in table HL70001" in problems
    assert "Secretvalue" not in problems


def test_the_deep_verdict_survives_what_hl7apy_cannot_read():
    odd = b"MSH|^~\\&#|A|B|||||ADT^A08|1|P|2.5.1\nPID|1\n"
    assert not deep_verdict(odd).is_valid
    assert not deep_verdict(b"MSH|^~\\&|A|B|||||ADT^A01|1|P|banana\r").is_valid
    assert not deep_verdict(b"MSH|").is_valid


# --- type and version -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "version", "structure", "rule"),
    [
        ("ADT^A01^ADT_A01", "2.5.1", "ADT_A01", ""),
        ("ADT^A01", "2.5.1", "ADT_A01", ""),
        ("ADT^A08", "2.3", "ADT_A01", ""),
        ("ADT^A08", "2.2", "ADT_A08", ""),
        ("ADT^A31", "2.5", "ADT_A05", ""),
        ("ADT^A40", "2.3.1", "ADT_A39", ""),
        ("ADT^A08^ADT_A08", "2.8", "ADT_A01", "structure-mismatch"),
        ("ADT^A01^ORU_R01", "2.5", "ADT_A01", "structure-mismatch"),
        ("RDE^O11", "2.5.1", "RDE_O11", ""),
        ("RDE^O25^RDE_O11", "2.5.1", "RDE_O11", ""),
        ("RDE^O01", "2.3", "RDE_O01", ""),
        ("ORM^O01^ORM_O01", "2.8", "ORM_O01", ""),  # withdrawn: read as in 2.6
        ("OML^O21", "2.3", "OML_O21", ""),  # came later: read as in 2.4
        ("MDM^T10", "2.5.1", "MDM_T02", ""),
        ("ACK", "2.5.1", "ACK", ""),
        ("ACK^A01^ACK", "2.5.1", "ACK", ""),
        ("ZZZ^Z01^ZZZ_Z01", "2.5.1", "", "trigger-unknown"),
        ("ADT^Z99", "2.5.1", "", "trigger-unknown"),
        ("XYZ^A01^ADT_A01", "2.5.1", "ADT_A01", ""),
        ("", "2.5.1", "", "trigger-unknown"),
    ],
)
def test_the_event_names_the_structure(
    conformer: Conformer, kind: str, version: str, structure: str, rule: str
):
    found = checked(conformer, EVN, PID, PV1, kind=kind, version=version)
    assert found.structure == structure
    told = {name for name, _ in remarks(found)} & {"structure-mismatch", "trigger-unknown"}
    assert told == ({rule} if rule else set())


def test_an_unknown_type_is_one_flat_group(conformer: Conformer):
    found = checked(conformer, PID, "ZPI|1", kind="ZZZ^Z01")
    assert tree(found.groups) == ["MSH", "PID", "ZPI"]


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        *[(version, version) for version in VERSIONS],
        ("2.9", "2.8.2"),
        ("3.0", "2.8.2"),
        ("2.5.2", "2.5.1"),
        ("2.3.9", "2.3.1"),
        ("2.0", "2.1"),
        ("1", "2.1"),
        ("", "2.5.1"),
        ("banana", "2.5.1"),
        ("2." + "9" * 400, "2.5.1"),
    ],
)
def test_a_version_is_read_as_the_nearest(conformer: Conformer, sent: str, read: str):
    assert nearest_version(sent, "2.5.1") == read
    found = checked(conformer, EVN, PID, PV1, version=sent)
    assert found.version == read
    told = [found for found in found.findings if found.rule == "version-unknown"]
    assert bool(told) is (sent != read)


def test_every_version_can_be_loaded(rules: Rules):
    conformer = Conformer(rules)
    conformer.preload(VERSIONS)
    for version in VERSIONS:
        assert checked(conformer, EVN, PID, PV1, version=version).structure == "ADT_A01"


# --- fields ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("PID|1||1^^^A||N^G", []),
        ('PID|1||1||N|""|""|""', []),
        ("PID|1||||N", [("required-field", "PID-3")]),
        ("PID|1||1", [("required-field", "PID-5")]),
        ("PID", [("required-field", "PID-3"), ("required-field", "PID-5")]),
        ("PID|x||1||N", [("datatype", "PID-1")]),
        ("PID|1||1||N||19800230", [("datatype", "PID-7")]),
        ("PID|1||1||N||198002", []),
        ("PID|1||1||N||1980", []),
        ("PID|1||1||N||198", [("datatype", "PID-7")]),
        ("PID|1||1||N||19801301", [("datatype", "PID-7")]),
        ("PID|1||1||N||19800131", []),
        ("PID|1||1||N||19800431", [("datatype", "PID-7")]),
        ("PID|1||1||N||198001312359", []),
        ("PID|1||1||N||198001312460", [("datatype", "PID-7")]),
        ("PID|1||1||N||19800131235959.1234-0500", []),
        ("PID|1||1||N||19800131235959-05", [("datatype", "PID-7")]),
        ("PID|1||1||N||19800131^D", []),
        ("PID|1||1||N|||Q", [("table-value", "PID-8")]),
        ("PID|1||1||N|||M~F", [("field-repeats", "PID-8[2]")]),
        ("PID|1||1||N||19800131~x", [("datatype", "PID-7[2]"), ("field-repeats", "PID-7[2]")]),
        ("PID|1||1^^^A^MR^^20200101^20301301||N", [("datatype", "PID-3.8")]),
        ("PID|1||1^^^A^MR^^20200101&x||N", []),
        ("PID|1||1^^^A^MR^^&x||N", []),
        ("PID|1||1~2^^^A^MR^^nope||N", [("datatype", "PID-3[2].7")]),
        ("PID|1||1||N" + "|" * 34, []),
        ("PID|1||1||N" + "|" * 35 + "x||y", [("field-unexpected", "PID-40")]),
        ("PID|1||1||N" + "|" * 19 + "X", [("table-value", "PID-24")]),
    ],
)
def test_a_field_is_remarked_where_it_is_wrong(
    conformer: Conformer, line: str, expected: list[tuple[str, str]]
):
    assert remarks(checked(conformer, EVN, line, PV1)) == expected


@pytest.mark.parametrize(
    ("kind", "value", "is_right"),
    [
        ("NM", "72", True),
        ("NM", "-7.50", True),
        ("NM", "+.5", True),
        ("NM", "7.", True),
        ("NM", "7,5", False),
        ("NM", "<5", False),
        ("NM", "1~2", False),  # repeats where v2.5.1 lets it; each must be a number: it is
        ("DT", "20260131", True),
        ("DT", "202601311200", False),
        ("TM", "0930", True),
        ("TM", "2530", False),
        ("TS", "20260131093000", True),
        ("DTM", "20260131093000", True),
        ("SI", "x", False),
        ("ST", "anything at all & more ^", True),
        ("XX", "unknown type", True),
        ("", "", True),
    ],
)
def test_an_observations_value_is_of_the_type_it_says(
    conformer: Conformer, kind: str, value: str, is_right: bool
):
    obx = f"OBX|1|{kind}|8867-4^Heart rate^LN||{value}||||||F"
    found = checked(conformer, EVN, PID, PV1, obx)
    told = [found for found in found.findings if found.rule == "datatype"]
    if value == "1~2":
        assert not told
    else:
        assert bool(told) is not is_right


def test_values_that_the_published_tables_lack_are_known(conformer: Conformer):
    obr = "OBR|1|P|F|1^T^LN|||||||||||||||||||" + "|LAB|F"
    found = checked(conformer, PID, obr, kind="ORU^R01^ORU_R01")
    assert ("table-value", "OBR-24") not in remarks(found)


def test_the_fifth_encoding_character_is_nothing_to_remark_in_any_version(conformer: Conformer):
    payload = VALID[0].payload().replace(b"^~\\&|", b"^~\\&#|").replace(b"\n", b"\r")
    assert conformer.conform(er7.parse(payload)).findings == ()


# --- policy ---------------------------------------------------------------------------------------


def test_the_source_says_how_much_a_remark_weighs(conformer: Conformer):
    message = er7.parse(Shape("ADT^A01", "EVN PID").payload())
    weights = {
        found.rule: found.severity
        for found in conformer.conform(
            message, source_with(segment_required=Severity.ERROR, segment_end=Severity.WARNING)
        ).findings
    }
    assert weights == {"segment-required": Severity.ERROR, "segment-end": Severity.WARNING}
    assert {found.severity for found in conformer.conform(message).findings} == {
        Severity.NOTE,
        Severity.WARNING,
    }


def test_findings_are_bounded(conformer: Conformer, rules: Rules):
    lines = [f"OBX|x{n}|NM|1||y" for n in range(500)]
    found = checked(conformer, EVN, PID, PV1, *lines).findings
    assert len(found) == rules.most_findings + 1
    assert found[-1].rule == "more"


def test_a_finding_says_where_and_never_what(conformer: Conformer):
    found = checked(conformer, EVN, "PID|1||1||N||Secretdate||Q", PV1).findings
    assert [str(f.text) for f in found] == [
        "`PID-7` is not a time stamp (YYYYMMDDHHMMSS)",
    ]
    assert isinstance(found[0], Finding)
    assert (found[0].segment, found[0].sequence, found[0].field) == ("PID", 1, 7)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_no_known_shape_is_refused_by_default(conformer: Conformer, shape: Shape):
    found = conformer.conform(er7.parse(shape.payload()))
    assert found.structure
    assert all(finding.severity is not Severity.ERROR for finding in found.findings)


LINE = st.one_of(
    st.sampled_from(sorted(LINES.values())),
    st.text(alphabet='PIDOBXMSH|^~\\&"1 \n', max_size=40),
)


@given(
    kind=st.one_of(st.sampled_from(["ADT^A01", "ORU^R01", "ACK", "", "^^^"]), st.text(max_size=9)),
    version=st.one_of(st.sampled_from(VERSIONS), st.text(max_size=6)),
    marks=st.sampled_from(["^~\\&", "^", "", "^^^^", "^~\\&#"]),
    lines=st.lists(LINE, max_size=12),
)
def test_no_message_is_too_odd_to_be_judged(
    conformer: Conformer, kind: str, version: str, marks: str, lines: list[str]
):
    header = f"MSH|{marks}|A|B|||||{kind}|1|P|{version}"
    text = "\r".join([header, *lines])
    message = er7.parse(text.encode("utf-8", "replace"))
    found = conformer.conform(message, source_with(datatype=Severity.ERROR))
    assert len(leaves(found.groups)) == len(message.segments)
    assert len(found.findings) <= conformer.rules.most_findings + 5


# --- rules ----------------------------------------------------------------------------------------


def test_a_source_that_speaks_of_no_rule_is_refused(rules: Rules):
    with pytest.raises(HieError, match=r"\[severity\]: `no-such-rule` is not a rule") as caught:
        rules.check([source_with(no_such_rule=Severity.ERROR)], lambda name: "utf-8")
    assert caught.value.category is Category.INVALID


def test_a_source_with_a_character_set_that_there_is_not_is_refused(rules: Rules):
    odd = adhoc_source("A", "B")
    odd = Source(
        id=odd.id, name="", organization=odd.organization, own_authority="x:y", charset="klingon"
    )
    with pytest.raises(HieError, match="`charset` must be a code of HL7 table 0211"):
        rules.check([odd], lambda name: None)


@pytest.mark.parametrize("content", ["", "[rules]\n", "rules = 3", "[rules.x]\ncode = 1\n", "[["])
def test_a_rule_file_that_cannot_be_used_is_refused(tmp_path: Path, content: str):
    path = tmp_path / "conformance.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(HieError, match=r"conformance\.toml: must be a conformance table"):
        load_rules(path)


def test_every_rule_of_the_tokenizer_and_the_matchers_is_in_the_file(rules: Rules):
    folder = Path(conform.__file__).parent
    named = {
        name
        for file in ("er7", "charset", "structure", "fields", "conform", "judge", "intake")
        for name in re.findall(
            r'"([a-z]+(?:-[a-z]+)+)"', (folder / f"{file}.py").read_text(encoding="utf-8")
        )
    }
    codecs = {"utf-8", "utf-16-le", "utf-16-be"}
    assert named - codecs <= set(rules.rules)
