"""What codes mean at one source: staff over its files, its files over the tables of all."""

from dataclasses import replace
from typing import Any

import pytest

from adapters.hl7v2 import er7
from adapters.hl7v2.mapper import Mapper
from adapters.hl7v2.maps import load_maps
from adapters.sources import Source, adhoc_source
from adapters.terminology import Concept
from hie.kernel.envelope import Submission
from hie.kernel.errors import HieError
from hie.kernel.ids import MessageId
from tests.support.tree import ROOT

MAPS = load_maps(ROOT / "config")
LOINC = "http://loinc.org"
LAB = replace(adhoc_source("LAB", "X"), time_zone="UTC")
HEAD = "MSH|^~\\&|LAB|X|HIE|MA|20260101||ORU^R01^ORU_R01|1|P|2.5.1"
PID = "PID|1||7^^^X^MR||DOE^JANE||19800102|{}"
ORDER = "OBR|1|P1|F1|CBC^Blood count^L|||20260101|||||||||||||||20260101|||F"
OBX = "OBX|1|NM|{}||5|g/dL|||||F"


def mapped(
    mapper: Mapper, source: Source, observed: str = "HGB^Hemoglobin^L", sex: str = "F"
) -> Submission:
    text = "\r".join([HEAD, PID.format(sex), ORDER, OBX.format(observed)])
    return mapper.map(
        er7.parse(text.encode()), source, message_id=MessageId(1), received_us=1_769_851_800_000_000
    )


def codes(submission: Submission) -> list[Any]:
    (found,) = [
        d.resource for d in submission.drafts if d.resource["resourceType"] == "Observation"
    ]
    return [coding["code"] for coding in found["code"]["coding"]]


def test_a_source_without_codes_of_its_own_is_not_asked_about_its_local_codes():
    found = mapped(Mapper(MAPS), LAB)
    assert (codes(found), found.codes) == (["HGB"], ())


def test_a_source_that_translates_its_codes_is_asked_about_those_it_left_out():
    own = {"HGB": Concept(target="718-7", display="Hemoglobin", system=LOINC)}
    source = replace(LAB, codes={"observation-code": own})
    mapper = Mapper(MAPS)
    assert codes(mapped(mapper, source)) == ["718-7", "HGB"]
    left_out = mapped(mapper, source, "NA^Sodium^L")
    assert codes(left_out) == ["NA"]
    assert left_out.codes == (("observation-code", "NA", "Sodium"),)
    known = mapped(mapper, source, "2951-2^Sodium^LN")
    assert known.codes == (), "a code that everybody knows needs no translation"
    beside = mapped(mapper, source, "NA^Sodium^L^2951-2^Sodium^LN")
    assert beside.codes == ()


def test_staff_have_the_last_word_and_it_can_be_taken_back():
    source = replace(
        LAB,
        codes={"administrative-sex": {"1": Concept(target="male")}},
        overrides={"codes": {"administrative-sex": {"1": "female", "2": "female"}}},
    )
    mapper = Mapper(MAPS)

    def sex(code: str) -> Any:
        return mapped(mapper, source, sex=code).drafts[0].resource.get("gender")

    assert (sex("1"), sex("2"), sex("F")) == ("male", "female", "female")
    mapper.learn({source.id: {"administrative-sex": {"1": Concept(target="other")}}})
    assert (sex("1"), sex("2")) == ("other", "female")
    mapper.learn({source.id: {"administrative-sex": {"3": Concept(target="")}}})
    assert (sex("1"), sex("3")) == ("male", None)
    assert mapped(mapper, source, sex="3").codes == (), "it has no counterpart, and nobody asks"
    mapper.learn({})
    assert mapped(mapper, source, sex="3").codes == (("administrative-sex", "3", ""),)


def test_a_code_that_two_rows_read_is_asked_about_in_every_message():
    own = {"HGB": Concept(target="718-7", system=LOINC)}
    source = replace(LAB, codes={"service-code": own})
    mapper = Mapper(MAPS)
    for _ in range(3):
        assert mapped(mapper, source).codes == (("service-code", "CBC", "Blood count"),)


def test_every_message_knows_whose_answers_mapped_it():
    mapper = Mapper(MAPS)
    mapper.learn({LAB.id: {"administrative-sex": {"1": Concept(target="male", task_id=7)}}})
    for _ in range(3):
        assert mapped(mapper, LAB, sex="1").answers == (7,)
    assert mapped(mapper, LAB, sex="F").answers == ()


def test_what_one_source_means_is_not_what_another_means():
    mapper = Mapper(MAPS)
    mapper.learn({LAB.id: {"administrative-sex": {"1": Concept(target="male")}}})
    assert mapped(mapper, LAB, sex="1").codes == ()
    other = adhoc_source("LAB", "Y")
    assert mapped(mapper, other, sex="1").codes == (("administrative-sex", "1", ""),)


def test_a_map_that_is_gone_since_stops_no_feed():
    mapper = Mapper(MAPS)
    mapper.learn({LAB.id: {"no-such-map": {"1": Concept(target="x")}}})
    assert mapped(mapper, LAB).drafts


@pytest.mark.parametrize(
    ("codes_", "told"),
    [
        ({"sex": {"1": "male"}}, r"\[overrides.codes.sex\]: its name must be that of a table"),
        ({"administrative-sex": {"1": "masculine"}}, "`1` must be a target of"),
        ({"administrative-sex": {"1": 7}}, "`1` must be a target of"),
        ({"administrative-sex": "male"}, "must be a table of code and target"),
    ],
)
def test_an_override_of_codes_is_checked_at_start(codes_, told):
    source = replace(LAB, overrides={"codes": codes_})
    with pytest.raises(HieError, match=told):
        Mapper(MAPS).check(source)
