"""Keys and sealing. Spec: NIST SP 800-38D, DESIGN D12."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hie.crypto import DataKey, KeyRing
from hie.kernel.errors import Category, HieError
from hie.key_provider import provider_of

PLACE = {"table": "resource_version", "column": "body", "row": "Patient/1/1"}


@pytest.fixture
def key() -> DataKey:
    return DataKey(7, b"k" * 32)


@given(st.binary(max_size=2_000))
def test_what_is_sealed_opens_in_its_place(plaintext: bytes) -> None:
    key = DataKey(7, b"k" * 32)
    sealed = key.seal(plaintext, **PLACE)
    assert key.open(sealed, **PLACE) == plaintext
    assert len(sealed) == len(plaintext) + 28  # nonce 12, tag 16


@pytest.mark.parametrize(
    "place",
    [
        {**PLACE, "table": "inbound_message"},
        {**PLACE, "column": "answer"},
        {**PLACE, "row": "Patient/2/1"},
    ],
    ids=["another table", "another column", "another row"],
)
def test_a_ciphertext_moved_to_another_place_does_not_open(key, place) -> None:
    with pytest.raises(HieError) as refused:
        key.open(key.seal(b"secret", **PLACE), **place)
    assert refused.value.category is Category.FAULT


def test_a_ciphertext_does_not_open_under_the_id_of_another_key(key) -> None:
    with pytest.raises(HieError):
        DataKey(8, key.secret).open(key.seal(b"secret", **PLACE), **PLACE)


@pytest.mark.parametrize("position", [0, 12, -1])
def test_one_changed_bit_is_noticed(key, position) -> None:
    sealed = bytearray(key.seal(b"secret", **PLACE))
    sealed[position] ^= 1
    with pytest.raises(HieError):
        key.open(bytes(sealed), **PLACE)


@pytest.mark.parametrize("sealed", [b"", b"short", b"x" * 12])
def test_what_is_no_ciphertext_is_refused(key, sealed) -> None:
    with pytest.raises(HieError):
        key.open(sealed, **PLACE)


def test_the_key_file_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "kek.json"
    KeyRing.create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(HieError, match="readable by others"):
        KeyRing.load(path)


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "kek.json"
    KeyRing.create(path)
    with pytest.raises(FileExistsError):
        KeyRing.create(path)


def test_a_loaded_ring_opens_what_the_created_one_sealed(tmp_path: Path) -> None:
    path = tmp_path / "kek.json"
    made = KeyRing(provider_of("file", path))
    loaded = KeyRing(provider_of("file", path))
    assert loaded.unwrap(made.wrap(b"s" * 32, place="p"), place="p") == b"s" * 32
    assert loaded.blind("mpi", "smith") == made.blind("mpi", "smith")
    assert loaded.audit_signing_key().public_key() == made.audit_signing_key().public_key()


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"current": "k1", "keys": {}}'])
def test_what_is_no_key_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "kek.json"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(HieError, match=r"kek\.json"):
        KeyRing.load(path)


def test_a_data_key_wrapped_by_another_hub_does_not_open() -> None:
    with pytest.raises(HieError):
        KeyRing.ephemeral().unwrap(KeyRing.ephemeral().wrap(b"s" * 32, place="p"), place="p")


def test_a_wrapped_key_moved_to_another_owner_does_not_open() -> None:
    ring = KeyRing.ephemeral()
    with pytest.raises(HieError):
        ring.unwrap(ring.wrap(b"s" * 32, place="data_key|1"), place="data_key|2")


@given(st.lists(st.text(max_size=20), max_size=4), st.lists(st.text(max_size=20), max_size=4))
def test_blind_hashes_meet_only_for_equal_parts(first: list[str], second: list[str]) -> None:
    ring = _RING
    assert (ring.blind("sp", *first) == ring.blind("sp", *second)) == (first == second)
    assert (ring.blind64("sp", *first) == ring.blind64("sp", *second)) == (first == second)


_RING = KeyRing.ephemeral()


def test_blind_hashes_of_two_domains_never_meet() -> None:
    assert _RING.blind("mpi", "smith") != _RING.blind("sp", "smith")


def test_blind_hashes_are_fit_for_fhir_ids() -> None:
    hashed = _RING.blind("id", "x")
    assert len(hashed) == 26
    assert hashed.isalnum()
    assert hashed == hashed.lower()


def test_the_key_file_holds_nothing_but_keys(tmp_path: Path) -> None:
    path = tmp_path / "kek.json"
    KeyRing.create(path)
    assert set(json.loads(path.read_text())) == {
        *("current", "keys", "since", "made", "blind", "audit")
    }
