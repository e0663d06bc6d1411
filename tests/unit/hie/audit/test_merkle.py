"""RFC 9162 section 2.1; the eight-leaf tree is the one of Certificate Transparency's own tests."""

import pytest

from hie.audit import merkle

ENTRIES = [
    bytes.fromhex(e)
    for e in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [merkle.leaf_hash(entry) for entry in ENTRIES]


@pytest.mark.parametrize("size", range(9))
def test_the_root_of_every_size_is_the_published_one(size):
    assert merkle.root(LEAVES[:size]).hex() == ROOTS[size]


def test_a_frontier_extended_in_steps_has_the_root_of_one_extended_at_once():
    stepwise = merkle.Frontier()
    for leaf in LEAVES:
        stepwise = stepwise.extend([leaf])
    assert stepwise == merkle.Frontier().extend(LEAVES)
    assert len(stepwise.peaks) == 1  # eight leaves are one perfect tree


def test_an_inclusion_proof_for_a_place_outside_the_tree_leads_nowhere():
    assert merkle.root_by_inclusion(LEAVES[0], 8, 8, ()) is None
    assert merkle.root_by_inclusion(LEAVES[0], -1, 8, ()) is None


def test_an_inclusion_proof_that_is_too_long_or_too_short_leads_nowhere():
    path = merkle.inclusion_path(LEAVES, 2)
    assert merkle.root_by_inclusion(LEAVES[2], 2, 8, path[:-1]) is None
    assert merkle.root_by_inclusion(LEAVES[2], 2, 8, (*path, LEAVES[0])) is None


def test_a_tree_is_consistent_with_itself_by_an_empty_proof_only():
    root = merkle.root(LEAVES)
    assert merkle.is_consistent(8, root, 8, root, ())
    assert not merkle.is_consistent(8, root, 8, root, (root,))


@pytest.mark.parametrize(("first", "second"), [(0, 8), (8, 4), (-1, 8)])
def test_sizes_that_cannot_follow_each_other_are_not_consistent(first, second):
    assert not merkle.is_consistent(first, bytes(32), second, bytes(32), (bytes(32),))


def test_a_consistency_proof_that_is_too_long_or_empty_is_refused():
    path = merkle.consistency_path(LEAVES, 3)
    first, second = merkle.root(LEAVES[:3]), merkle.root(LEAVES)
    assert merkle.is_consistent(3, first, 8, second, path)
    assert not merkle.is_consistent(3, first, 8, second, (*path, bytes(32)))
    assert not merkle.is_consistent(3, first, 8, second, ())
    assert not merkle.is_consistent(3, first, 8, second, (*path, *path, *path))


def test_every_proof_of_every_tree_up_to_seventeen_leaves_holds():
    leaves = [merkle.leaf_hash(bytes([n])) for n in range(17)]
    for size in range(1, 18):
        root = merkle.root(leaves[:size])
        for index in range(size):
            path = merkle.inclusion_path(leaves[:size], index)
            assert merkle.root_by_inclusion(leaves[index], index, size, path) == root
        for first in range(1, size + 1):
            path = merkle.consistency_path(leaves[:size], first)
            assert merkle.is_consistent(first, merkle.root(leaves[:first]), size, root, path)
