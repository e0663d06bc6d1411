"""The hash chain, its signed heads and the names of faults."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hie.audit.chain import (
    GENESIS,
    ChainedRow,
    ChainState,
    Checker,
    Heads,
    TamperKind,
    TreeHead,
    classify,
    link,
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


def test_two_heads_of_one_size_that_differ_are_a_fork_after_the_last_that_agrees():
    earlier, _ = ChainState().append(ROWS[:2])
    other = TreeHead(size=4, at_us=1, root=bytes(32), chain_hash=CHAIN[3])
    checker = Checker(Heads.of([earlier.head(1), other]))
    faults = [checker.take(row(seq)) for seq in range(4)]
    assert faults[:3] == [None, None, None]
    assert faults[3] is not None
    assert (faults[3].seq, faults[3].kind) == (2, TamperKind.FORK)


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
