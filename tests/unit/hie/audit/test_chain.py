"""The hash chain, its signed heads and the names of faults."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hie.audit.chain import (
    GENESIS,
    HEAD_SLACK_US,
    ROW_SLACK_US,
    ChainedRow,
    ChainState,
    Checker,
    Heads,
    StoredRow,
    Tamper,
    TamperKind,
    TreeHead,
    classify,
    link,
    row_hash,
    sign,
)
from hie.audit.merkle import Frontier

ROWS = [bytes([n]) * 32 for n in range(1, 7)]
STATE, CHAIN = ChainState().append(ROWS)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))


def row(seq, content=None, chain_hash=None):
    """The row that belongs at `seq`, unless told to carry something else."""
    stored = ROWS[seq] if content is None else content
    return ChainedRow(seq=seq, actual=stored, stored=stored, chain_hash=chain_hash or CHAIN[seq])


def test_the_chain_begins_with_zeros_and_links_each_row_to_the_one_before():
    assert CHAIN[0] == link(GENESIS, ROWS[0], 0)
    assert CHAIN[1] == link(CHAIN[0], ROWS[1], 1)


def test_the_place_of_a_row_is_part_of_its_link():
    assert link(GENESIS, ROWS[0], 0) != link(GENESIS, ROWS[0], 1)


def test_a_head_is_genuine_only_as_signed_and_only_under_its_key():
    signed = sign(STATE.head(7), KEY)
    assert signed.is_genuine(KEY.public_key())
    assert not signed.is_genuine(Ed25519PrivateKey.from_private_bytes(b"\x01" * 32).public_key())


@pytest.mark.parametrize(
    "change",
    [{"size": 5}, {"at_us": 8}, {"root": bytes(32)}, {"chain_hash": bytes(32)}],
    ids=lambda change: next(iter(change)),
)
def test_no_part_of_a_signed_head_can_be_changed(change):
    signed = sign(STATE.head(7), KEY)
    parts = {"size": 6, "at_us": 7, "root": signed.head.root, "chain_hash": signed.head.chain_hash}
    forged = type(signed)(head=TreeHead(**{**parts, **change}), signature=signed.signature)
    assert not forged.is_genuine(KEY.public_key())


def test_other_peaks_with_the_same_root_are_not_sound():
    swapped = ChainState(
        chain_hash=STATE.chain_hash, frontier=Frontier(size=6, peaks=(STATE.frontier.root(),))
    )
    assert STATE.is_sound
    assert swapped.head(1) == STATE.head(1)
    assert not swapped.is_sound


def test_a_second_row_in_one_place_is_a_fork():
    checker = Checker(Heads.of([STATE.head(1)]))
    assert [checker.take(row(0)), checker.take(row(1))] == [None, None]
    fault = checker.take(row(1))
    assert fault is not None
    assert (fault.seq, fault.kind) == (1, TamperKind.FORK)


EARLIER, _ = ChainState().append(ROWS[:2])
OTHER = TreeHead(size=4, at_us=1, root=bytes(32), chain_hash=CHAIN[3])


def followed(heads):
    """What the end of the whole trail shows."""
    checker = Checker(heads)
    assert [checker.take(row(seq)) for seq in range(6)] == [None] * 6
    return checker.finish()


def test_a_head_that_differs_names_the_first_row_after_the_last_head_that_agrees():
    fault = followed(Heads.of([EARLIER.head(1), OTHER]))
    assert (fault.seq, fault.kind) == (2, TamperKind.RECHAINED)


def test_a_chain_that_only_the_database_signed_anew_is_rechained():
    fault = followed(Heads.of([EARLIER.head(1), STATE.head(2)], exported=[OTHER]))
    assert (fault.seq, fault.kind) == (2, TamperKind.RECHAINED)


def test_a_history_that_was_exported_beside_another_is_a_fork():
    fault = followed(Heads.of([], exported=[EARLIER.head(1), OTHER, STATE.head(2)]))
    assert (fault.seq, fault.kind) == (2, TamperKind.FORK)


def test_a_head_signed_before_a_smaller_one_shows_a_clock_that_went_back():
    steady = Heads.of([EARLIER.head(HEAD_SLACK_US), STATE.head(0)])
    assert steady.clock_fault() is None
    fault = Heads.of([EARLIER.head(HEAD_SLACK_US + 1), STATE.head(0)]).clock_fault()
    assert fault == Tamper(seq=2, kind=TamperKind.CLOCK_BACKWARDS)


def test_a_row_recorded_long_before_an_earlier_one_shows_a_clock_that_went_back():
    times = [5 * ROW_SLACK_US, 4 * ROW_SLACK_US, 4 * ROW_SLACK_US - 1, 0]
    for clock_from, seq in ((0, 2), (3, 3)):
        checker = Checker(Heads.of([]), clock_from)
        for place, at_us in enumerate(times):
            assert checker.take(replace(row(place), recorded_us=at_us)) is None
        assert checker.clock == Tamper(seq=seq, kind=TamperKind.CLOCK_BACKWARDS)


@pytest.mark.parametrize("change", [{"subtype": None}, {"agent": 8}, {"agent": None}])
def test_what_auditors_search_by_is_part_of_the_row_hash(change):
    whole = StoredRow(
        pk=1,
        recorded_us=2,
        person_id="p",
        organization=None,
        action="R",
        outcome="0",
        key_id=3,
        sealed=b"s",
        subtype="read",
        agent=7,
    )
    assert row_hash(replace(whole, **change)) != row_hash(whole)


@pytest.mark.parametrize(
    ("broken", "rest", "missing", "kind"),
    [
        # rows 1 and 3 change places, each keeping its chain hash
        (row(1, ROWS[3], CHAIN[3]), [row(2), row(3, ROWS[1], CHAIN[1])], 0, TamperKind.REORDERED),
        # the same, the chain hashes staying in their places
        (row(1, ROWS[3]), [row(2), row(3, ROWS[1])], 0, TamperKind.REORDERED),
        # neighbours change places
        (row(1, ROWS[2], CHAIN[2]), [row(2, ROWS[1], CHAIN[1])], 0, TamperKind.REORDERED),
        # row 1 is gone and the rest moved up by one
        (
            row(1, ROWS[2], CHAIN[2]),
            [row(2, ROWS[3], CHAIN[3]), row(3, ROWS[4], CHAIN[4])],
            1,
            TamperKind.DELETED,
        ),
        # the last row but one is gone and the last moved up
        (row(4, ROWS[5], CHAIN[5]), [], 1, TamperKind.DELETED),
        # the row and its row hash were rewritten
        (row(1, bytes(32)), [row(2), row(3)], 0, TamperKind.EDITED),
        # ... or its chain hash
        (row(1, None, bytes(32)), [row(2), row(3)], 0, TamperKind.EDITED),
        # ... and the tail was cut as well
        (row(1, bytes(32)), [row(2), row(3)], 2, TamperKind.EDITED),
    ],
    ids=[
        "swapped",
        "swapped-in-place",
        "neighbours",
        "renumbered",
        "renumbered-last",
        "rewritten",
        "chain-hash",
        "rewritten-and-cut",
    ],
)
def test_a_broken_link_is_named_for_what_was_done(broken, rest, missing, kind):
    assert classify(CHAIN[broken.seq - 1], broken, rest, missing) is kind


def test_a_row_chained_without_a_hash_is_an_edit():
    broken = ChainedRow(seq=1, actual=ROWS[1], stored=ROWS[1], chain_hash=None)
    assert classify(CHAIN[0], broken, [row(2)], 1) is TamperKind.EDITED
