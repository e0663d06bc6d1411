"""Who keeps the keys that wrap all others, and how a ring follows."""

import json
from pathlib import Path

import pytest

from hie.crypto import KeyRing
from hie.kernel.errors import Category, HieError
from hie.key_provider import EnvironmentKeys, FileKeys, Keys, MemoryKeys, WrappingKey, provider_of

NOW_US = 1_000_000
SECRET = b"s" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "keys" / "kek.json"
    FileKeys(found).create()
    return found


def test_a_ring_takes_up_the_key_that_another_process_made_current(path) -> None:
    ours, theirs = KeyRing.load(path), KeyRing.load(path)
    before = ours.wrap(SECRET, place="p")
    assert theirs.provider.add(NOW_US) == "k2"
    wrapped = ours.wrap(SECRET, place="p")
    assert wrapped.startswith(b"k2:")
    assert [theirs.unwrap(one, place="p") for one in (before, wrapped)] == [SECRET, SECRET]
    assert ours.since == {"k1": 0, "k2": NOW_US}


def test_a_ring_opens_what_a_newer_key_wrapped_without_a_start(path) -> None:
    ours, theirs = KeyRing.load(path), KeyRing.load(path)
    theirs.provider.add(NOW_US)
    assert ours.unwrap(theirs.wrap(SECRET, place="p"), place="p") == SECRET


def test_an_id_is_never_used_twice(path) -> None:
    keys = FileKeys(path)
    assert keys.add(NOW_US) == "k2"
    assert keys.add(NOW_US) == "k3"
    keys.drop("k2")
    assert keys.add(NOW_US) == "k4"
    assert set(keys.load().wrapping) == {"k1", "k3", "k4"}


def test_a_key_file_of_an_older_hub_is_read(path) -> None:
    stored = json.loads(path.read_text())
    path.write_text(json.dumps({k: stored[k] for k in ("current", "keys", "blind", "audit")}))
    assert KeyRing.load(path).since == {"k1": 0}
    assert FileKeys(path).add(NOW_US) == "k2"


def test_the_keys_of_another_hub_are_not_taken_up(path, tmp_path) -> None:
    ours = KeyRing.load(path)
    FileKeys(tmp_path / "other.json").create()
    (tmp_path / "other.json").replace(path)
    with pytest.raises(HieError, match="another hub") as refused:
        ours.wrap(SECRET, place="p")
    assert refused.value.category is Category.FAULT


def test_a_changed_file_is_readable_by_its_owner_alone(path) -> None:
    FileKeys(path).add(NOW_US)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in path.parent.iterdir()] == ["kek.json"]


@pytest.mark.parametrize(
    "change",
    [{"current": "k9"}, {"keys": {"k1": "short"}}, {"keys": {"k1": "%%%"}}, {"blind": "AAAA"}],
)
def test_a_key_file_that_lacks_something_is_refused(path, change) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(HieError, match=r"kek\.json"):
        KeyRing.load(path)


def test_the_environment_may_hold_the_keys(path) -> None:
    text = path.read_text()
    ring = KeyRing(EnvironmentKeys({"HIE_KEYS": text}))
    assert KeyRing.load(path).unwrap(ring.wrap(SECRET, place="p"), place="p") == SECRET


@pytest.mark.parametrize("environ", [{}, {"HIE_KEYS": "{}"}, {"HIE_KEYS": "secret"}])
def test_an_environment_without_keys_is_named_and_not_repeated(environ) -> None:
    with pytest.raises(HieError, match="HIE_KEYS") as refused:
        KeyRing(EnvironmentKeys(environ))
    assert "secret" not in refused.value.text


@pytest.mark.parametrize("change", [lambda k: k.add(NOW_US), lambda k: k.drop("k1")])
def test_the_environment_is_not_ours_to_change(change) -> None:
    with pytest.raises(HieError, match="anew") as refused:
        change(EnvironmentKeys({}))
    assert refused.value.category is Category.INVALID


class Vault:
    """A provider of a site's own: wrapping keys stay inside, as a hardware module's would."""

    name = "vault"

    def __init__(self) -> None:
        self._inside = MemoryKeys()
        self.opened = 0

    def stamp(self) -> object:
        return self._inside.stamp()

    def load(self) -> Keys:
        keys = self._inside.load()
        kept = {key_id: _Handle(self, key) for key_id, key in keys.wrapping.items()}
        return Keys(current=keys.current, wrapping=kept, blind=keys.blind, audit=keys.audit)

    def add(self, now_us: int) -> str:
        return self._inside.add(now_us)

    def drop(self, key_id: str) -> None:
        self._inside.drop(key_id)


class _Handle:
    def __init__(self, vault: Vault, key: WrappingKey) -> None:
        self._vault, self._key = vault, key

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes:
        return self._key.encrypt(nonce, data, associated_data)

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes:
        self._vault.opened += 1
        return self._key.decrypt(nonce, data, associated_data)


def test_a_site_brings_a_provider_of_its_own(tmp_path) -> None:
    provider = provider_of(f"{__name__}:Vault", tmp_path / "unused")
    ring = KeyRing(provider)
    assert ring.unwrap(ring.wrap(SECRET, place="p"), place="p") == SECRET
    assert isinstance(provider, Vault)
    assert provider.opened == 1
    assert not (tmp_path / "unused").exists()


@pytest.mark.parametrize("named", ["no.such.module:Vault", "json:Vault", "json"])
def test_a_provider_that_is_not_there_is_named(tmp_path, named) -> None:
    with pytest.raises(HieError, match="key_provider"):
        provider_of(named, tmp_path / "unused")
