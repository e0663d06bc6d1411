"""What holds of labels whatever a sender writes.

Spec: HL7 Healthcare Privacy and Security Classification System: the highest of the parts.
"""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from consent.labels import Labeller
from consent.settings import load_sensitivity
from tests.support.consents import ACT_CODE, CONFIDENTIALITY, CONFIG

LABELLER = Labeller(load_sensitivity(CONFIG / "sensitivity"))
TABLE = LABELLER.table

_CODES = st.sampled_from(
    ["HIV", "PSY", "U", "L", "N", "R", "V", "GOSSIP", "", "NODSCLCD", "AID", "other"]
)
_SYSTEMS = st.sampled_from([ACT_CODE, CONFIDENTIALITY, "urn:local", ""])
CODING: Any = st.one_of(
    st.fixed_dictionaries({"system": _SYSTEMS, "code": _CODES}),
    st.fixed_dictionaries({"code": _CODES}),
    st.sampled_from(["text", 5, None, {}]),
)
_ICD = "http://hl7.org/fhir/sid/icd-10-cm"
_LEAF = st.one_of(
    st.sampled_from(["B20", "F33.1", "J45", "F11.10"]).map(
        lambda code: {"coding": [{"system": _ICD, "code": code}]}
    ),
    st.sampled_from(["HIV 1 RNA", "asthma", "psychosis"]).map(lambda text: {"text": text}),
)
TREE: Any = st.recursive(
    _LEAF, lambda child: st.dictionaries(st.sampled_from("abc"), child, max_size=3), max_leaves=6
)


def mask(resource: dict[str, Any]) -> int:
    return LABELLER.labels(resource).mask


@given(TREE, st.lists(CODING, max_size=4))
@settings(max_examples=150, deadline=None)
def test_what_a_sender_says_of_sensitivity_only_raises(content: Any, sent: list[Any]):
    plain = mask({"resourceType": "Basic", "content": content})
    said = mask({"resourceType": "Basic", "content": content, "meta": {"security": sent}})
    assert said & plain == plain


@given(TREE, TREE)
@settings(max_examples=100, deadline=None)
def test_a_resource_has_the_labels_of_everything_in_it(one: Any, other: Any):
    both = mask({"resourceType": "Bundle", "entry": [{"resource": one}, {"resource": other}]})
    assert both == mask({"resourceType": "Basic", "c": one}) | mask({"c": other})


@given(st.lists(CODING, min_size=1, max_size=4), st.lists(CODING, max_size=3))
@settings(max_examples=150, deadline=None)
def test_a_label_nobody_knows_widens_no_permit_and_narrows_no_deny(
    named: list[Any], unknown: list[Any]
):
    strange = [c for c in unknown if not TABLE.knows([c])]
    permitted, with_strange = TABLE.permitted(named), TABLE.permitted([*named, *strange])
    assert (with_strange or 0) & ~(permitted or 0) == 0
    denied, with_denied = TABLE.denied(named), TABLE.denied([*named, *strange])
    assert with_denied is None or (denied is not None and with_denied & denied == denied)
