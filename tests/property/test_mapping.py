"""Whatever can be read can be mapped: nothing raises, nothing is lost, links hold."""

import re
from collections import Counter

from hypothesis import example, given
from hypothesis import strategies as st

from adapters.hl7v2 import er7
from adapters.hl7v2.convert import convert, to_json
from adapters.hl7v2.coverage import coverage
from hie.kernel.ids import MessageId
from tests.support.mapping import GENERAL, NOWHERE, RECEIVED_US, mapper, maps

NAMES = sorted(
    {
        *(segment_map.segment for segment_map in maps().segments.values()),
        *("ZPD", "GT1", "IN2", "MRG", "EVN", "FT1"),
    }
    - {"MSH"}
)
VALUES = st.one_of(
    st.sampled_from(
        [
            *("", '""', "1", "A", "F", "Y", "NW", "RE", "20260131", "202601310930-0500", "998"),
            *("GH^MR", "P1^^^GH^MR", "DOE^JANE", "2345-7^Glucose^LN", "^text", "NM", "TX", "ED"),
            *("CWE", "SN", "<^5", "72.50", "70-99", "A^B^99X~C^D^LN", "a&b^c&d~e", "\\F\\\\X41\\"),
            *("76689-9", "69764-9", "A^application^pdf^Base64^SGk=", "BID", "^Q6H^^2026^2027"),
        ]
    ),
    st.text(alphabet="AZ09^~&\\|. \x00\u00e9\u2028-+<>:", max_size=12),
)
SEGMENTS = st.builds(
    lambda name, fields: "|".join([name, *(f.replace("|", "") for f in fields)]),
    st.sampled_from(NAMES),
    st.lists(VALUES, max_size=30),
)
TRIGGERS = st.sampled_from([*sorted(mapper().triggers), "ADT^A02", "ADT", ""])


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    trigger = draw(TRIGGERS)
    header = f"MSH|^~\\&|A|B|||{draw(VALUES).replace('|', '')}||{trigger}|M1|P|2.5.1"
    patient = draw(st.sampled_from([[], ["PID|1||P1^^^GH^MR||DOE^JANE||19800102|F"]]))
    return "\r".join([header, *patient, *draw(st.lists(SEGMENTS, max_size=14))]).encode()


_NUMBERED = "PID|||{}|" + "|" * 14 + "7"
#: The patient, and the account, of which two parts of a message speak.
FOUND = (
    b"MSH|^~\\&|A|B|||||ADT^A34|M1|P|2.5.1\rPID||0\rPID||0",
    "\r".join(
        ["MSH|^~\\&|A|B|||||ADT^A41|M1|P|2.5.1", *map(_NUMBERED.format, ("P1", "P2"))]
    ).encode(),
)


def _part(name: str) -> str:
    """Of which of the parts a message map works `per` a draft is; the first has no mark."""
    found = re.match(r"p\d+-", name)
    return found[0] if found else ""


@example(FOUND[0], GENERAL)
@example(FOUND[1], GENERAL)
@given(messages(), st.sampled_from([GENERAL, NOWHERE]))
def test_any_message_maps_without_raising_and_its_links_hold(payload, source):
    message = er7.parse(payload)
    submission = mapper().map(message, source, message_id=MessageId(7), received_us=RECEIVED_US)
    names = [draft.name for draft in submission.drafts]
    assert len(names) == len(set(names))
    assert submission.subject in ("", "patient")
    links = {link for draft in submission.drafts for link in links_of(draft.resource)}
    assert links <= {f"urn:hie:{name}" for name in names}
    # A part for each PID of a merge may speak of one patient, account or visit again.
    keys = Counter(
        (_part(draft.name), draft.resource["resourceType"], draft.key, draft.mode)
        for draft in submission.drafts
        if draft.key
    )
    assert not [key for key, count in keys.items() if count > 1]
    to_json([draft.resource for draft in submission.drafts])


@given(messages())
def test_every_value_is_mapped_or_listed(payload):
    message = er7.parse(payload)
    submission = mapper().map(message, GENERAL, message_id=MessageId(7), received_us=RECEIVED_US)
    found = coverage(message, submission.unmapped)
    assert Counter(found.present) == Counter(found.mapped) + Counter(found.unmapped)
    assert 0 <= found.percent <= 100
    if [finding.rule for finding in submission.findings] == ["unmapped-message"]:
        assert found.mapped == ()


@given(st.binary(max_size=200))
def test_any_bytes_convert_to_one_line(payload):
    line = to_json(convert(payload, mapper(), lambda _: GENERAL).bundle)
    assert b"\n" not in line


def links_of(node: object) -> set[str]:
    if isinstance(node, dict):
        own = {
            str(child)
            for name, child in node.items()
            if name == "reference" and str(child).startswith("urn:hie:")
        }
        return own.union(*(links_of(child) for child in node.values()))
    if isinstance(node, list):
        return set().union(*(links_of(child) for child in node))
    return set()
