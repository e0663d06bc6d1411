"""Merkle trees and the hash chain under random growth and random change (RFC 9162 section 2.1)."""

import hashlib

from hypothesis import assume, given
from hypothesis import strategies as st

from hie.audit import merkle
from hie.audit.chain import ChainedRow, ChainState, Checker, Heads, StoredRow, TamperKind, row_hash

entries = st.lists(st.binary(max_size=8), min_size=1, max_size=40)
hashes = st.lists(st.binary(min_size=32, max_size=32), min_size=2, max_size=30, unique=True)


def leaves_of(content):
    return [merkle.leaf_hash(entry) for entry in content]


def naive_root(leaves):
    """The definition of RFC 9162 section 2.1.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return merkle.node_hash(naive_root(leaves[:split]), naive_root(leaves[split:]))


def rows_of(stored, state_hashes):
    return [
        ChainedRow(seq=seq, actual=row, stored=row, chain_hash=chain_hash)
        for seq, (row, chain_hash) in enumerate(zip(stored, state_hashes, strict=True))
    ]


def check(rows, heads):
    checker = Checker(Heads.of(heads))
    for row in rows:
        if fault := checker.take(row):
            return fault
    return checker.finish()


@given(entries)
def test_the_frontier_has_the_root_of_the_definition(content):
    leaves = leaves_of(content)
    assert merkle.root(leaves) == naive_root(leaves)


@given(entries, st.data())
def test_every_leaf_has_a_proof_and_no_other_leaf_fits_it(content, data):
    leaves = leaves_of(content)
    index = data.draw(st.integers(0, len(leaves) - 1))
    path = merkle.inclusion_path(leaves, index)
    root = merkle.root(leaves)
    assert merkle.root_by_inclusion(leaves[index], index, len(leaves), path) == root
    other = merkle.leaf_hash(b"not there: " + content[index])
    assert merkle.root_by_inclusion(other, index, len(leaves), path) != root


@given(entries, st.data())
def test_a_tree_that_only_grew_is_consistent_and_a_rewritten_one_is_not(content, data):
    leaves = leaves_of(content)
    first = data.draw(st.integers(1, len(leaves)))
    path = merkle.consistency_path(leaves, first)
    old, new = merkle.root(leaves[:first]), merkle.root(leaves)
    assert merkle.is_consistent(first, old, len(leaves), new, path)
    rewritten = [merkle.leaf_hash(b"rewritten"), *leaves[1:]]
    assume(rewritten != leaves)
    later = merkle.root(rewritten)
    forged = merkle.consistency_path(rewritten, first)
    assert not merkle.is_consistent(first, old, len(leaves), later, forged)


@given(hashes, st.integers(0, 30))
def test_chaining_in_two_batches_is_chaining_at_once(stored, cut):
    whole, all_hashes = ChainState().append(stored)
    part, first = ChainState().append(stored[:cut])
    both, second = part.append(stored[cut:])
    assert (both, first + second) == (whole, all_hashes)


@given(hashes)
def test_an_untouched_trail_has_no_fault(stored):
    state, chain = ChainState().append(stored)
    assert check(rows_of(stored, chain), [state.head(1)]) is None


@given(hashes, st.data())
def test_any_changed_row_is_found_at_its_place(stored, data):
    state, chain = ChainState().append(stored)
    rows = rows_of(stored, chain)
    at = data.draw(st.integers(0, len(rows) - 1))
    changed = bytes(32) if rows[at].stored != bytes(32) else b"\x01" * 32
    rows[at] = ChainedRow(seq=at, actual=changed, stored=rows[at].stored, chain_hash=chain[at])
    fault = check(rows, [state.head(1)])
    assert fault is not None
    assert (fault.seq, fault.kind) == (at, TamperKind.EDITED)


@given(hashes, st.data())
def test_any_missing_row_is_found_at_its_place(stored, data):
    state, chain = ChainState().append(stored)
    rows = rows_of(stored, chain)
    at = data.draw(st.integers(0, len(rows) - 1))
    kind = TamperKind.TRUNCATED if at == len(rows) - 1 else TamperKind.DELETED
    fault = check(rows[:at] + rows[at + 1 :], [state.head(1)])
    assert fault is not None
    assert (fault.seq, fault.kind) == (at, kind)


@given(hashes, st.data())
def test_a_history_rewritten_to_its_end_is_not_what_was_signed(stored, data):
    state, _ = ChainState().append(stored)
    at = data.draw(st.integers(0, len(stored) - 1))
    rewritten = [*stored]
    rewritten[at] = hashlib.sha256(stored[at]).digest()
    _, chain = ChainState().append(rewritten)
    fault = check(rows_of(rewritten, chain), [state.head(1)])
    assert fault is not None
    assert (fault.seq, fault.kind) == (0, TamperKind.RECHAINED)


texts = st.none() | st.text(max_size=5)


@given(texts, texts, st.text(max_size=2), st.binary(max_size=5))
def test_the_row_hash_keeps_neighbouring_columns_and_null_apart(
    person, organization, action, sealed
):
    def hashed(**change):
        row = {
            "pk": 1,
            "recorded_us": 2,
            "person_id": person,
            "organization": organization,
            "action": action,
            "outcome": "0",
            "key_id": 3,
            "sealed": sealed,
        }
        return row_hash(StoredRow(**{**row, **change}))

    original = hashed()
    assert hashed() == original
    assert hashed(person_id=None if person is not None else "") != original
    assert hashed(organization=(organization or "") + "x") != original
    assert hashed(sealed=sealed + b"x") != original
    assert hashed(action=action + "x", outcome="0") != original
