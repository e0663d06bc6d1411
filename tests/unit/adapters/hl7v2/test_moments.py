"""Event times and status orders: what decides which of two versions is the later one."""

from pathlib import Path

import pytest

from adapters.hl7v2.context import Context
from adapters.hl7v2.mapmodel import Place
from adapters.hl7v2.moments import event_time, sent_time
from adapters.lifecycle import SILENT, load_lifecycles
from adapters.sources import Source
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import MessageId
from tests.support.mapping import GENERAL, NOWHERE, RECEIVED_US, maps, message_of, submission_of
from tests.support.mapping import PID as PATIENT
from tests.support.tree import ROOT

#: 2026-01-31T08:00:00-05:00
EIGHT_US = 1_769_864_400_000_000
EVN, MSH_7 = Place(segment="EVN", field=2), Place(segment="MSH", field=7)


def context_of(*segments: str, source: Source = GENERAL) -> Context:
    message = message_of(*segments)
    context = Context(message, source, maps().terminology, (MessageId(1), RECEIVED_US))
    for segment in message.segments:
        context.node.add(segment)
    return context


def test_the_first_place_that_holds_a_time_counts():
    context = context_of("EVN||20260131080000")
    assert event_time(context, (EVN, MSH_7)) == EIGHT_US
    assert event_time(context, (MSH_7, EVN)) == EIGHT_US + 90 * 60 * 1_000_000


@pytest.mark.parametrize("text", ["", '""', "20260131", "2026", "yesterday", "20261331080000"])
def test_what_is_no_time_of_day_is_passed_over(text: str):
    context = context_of(f"EVN||{text}")
    assert event_time(context, (EVN, MSH_7)) == sent_time(context)


def test_a_fraction_of_a_second_counts():
    context = context_of("EVN||20260131080000.250")
    assert event_time(context, (EVN,)) == EIGHT_US + 250_000


def test_an_offset_counts_and_without_one_the_order_holds_all_the_same():
    stated = context_of("EVN||20260131080000-0500", source=NOWHERE)
    assert event_time(stated, (EVN,)) == EIGHT_US
    earlier = context_of("EVN||20260131080000", source=NOWHERE)
    later = context_of("EVN||20260131080001", source=NOWHERE)
    assert event_time(later, (EVN,)) - event_time(earlier, (EVN,)) == 1_000_000


def test_a_message_without_any_time_was_so_when_it_was_received():
    context = context_of("MSH|^~\\&|ADT1|GH|HUB|HIE|||ADT^A01|M1|P|2.5.1")
    assert event_time(context, (EVN, MSH_7)) == sent_time(context) == RECEIVED_US


def test_every_draft_of_a_message_has_its_event_time():
    submission = submission_of("EVN||20260131080000", PATIENT, "PV1|1|I|W^1^1|||||||||||||||||V1")
    assert {d.event_us for d in submission.drafts if d.lifecycle or d.name == "patient"} == {
        EIGHT_US
    }
    assert submission.sent_us == EIGHT_US + 90 * 60 * 1_000_000


def test_the_status_orders_of_the_hub_end_with_what_was_withdrawn():
    for lifecycle in load_lifecycles(ROOT / "config" / "hl7v2" / "lifecycles.toml").values():
        last = max(lifecycle.ranks.values())
        named = {name for name, rank in lifecycle.ranks.items() if rank == last}
        assert named == {"entered-in-error"}, lifecycle.name


def test_a_rank_is_read_from_a_code_or_a_concept():
    found = load_lifecycles(ROOT / "config" / "hl7v2" / "lifecycles.toml")
    result, statement = found["result"], found["statement"]
    assert result.rank({"status": "final"}) > result.rank({"status": "preliminary"})
    assert result.rank({}) == SILENT
    assert result.rank({"status": "odd"}) == 0
    assert statement.rank({"verificationStatus": {"coding": [{"code": "entered-in-error"}]}}) == 1
    assert statement.rank({"verificationStatus": {}}) == SILENT


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[[", "x.toml"),
        ("x = 1", "[x]"),
        ('[x]\nelement = "status"\nsteps = [["a"]]\ncolour = 1', "[x]"),
        ('[x]\nsteps = [["a"]]', "`element`"),
        ('[x]\nelement = "status"\nsteps = []', "`steps`"),
        ('[x]\nelement = "status"\nsteps = [[1]]', "`steps`"),
        ('[x]\nelement = "status"\nsteps = [["a"], ["a"]]', "`steps`"),
    ],
)
def test_a_fault_in_a_status_order_is_named(tmp_path: Path, text: str, named: str):
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(HieError) as caught:
        load_lifecycles(path)
    assert caught.value.category is Category.INVALID
    assert named in caught.value.text
